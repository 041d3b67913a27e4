import { join } from 'node:path';
import protobuf from 'protobufjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rpcStatus } from '../../../src/rpc/status.ts';
import { Cluster } from '../../support/cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { repositoryRoot } from '../../support/repository-root.ts';
import { type Answer002, Client002, type Configuration002, PROTO_002 } from './client-002.ts';
import { Face } from './face.ts';
import { ON_OFF } from './flag-cases.ts';
import { KeyFile } from './key-file.ts';

const SCOPE = { application: 'grpc', environment: 'DEV' };
let keys: KeyFile;
let cluster: Cluster;
let face: Face;
let clients: readonly Client002[] = [];

beforeAll(async () => {
  keys = new KeyFile();
  cluster = await Cluster.start(3, [keys.flag]);
  await Promise.all(
    cluster.members.map(({ process }) => process!.logged('the configuration service is served')),
  );
  face = await Face.of(cluster.members[1]!.httpUrl);
  clients = cluster.members.map(({ clientUrl }) => new Client002(clientUrl));
  expect(
    (await face.post('/api/v1/applications', { name: 'grpc', defaults: { 'by.default': [1] } })).status,
  ).toBe(201);
});
afterAll(async () => {
  for (const client of clients) client[Symbol.dispose]();
  await cluster?.destroy();
  keys[Symbol.dispose]();
});

async function put(key: string, value: unknown, more: object = {}): Promise<void> {
  const item = { action: 'put', ...SCOPE, key, value, ...more };
  expect(await face.post('/api/v1/bulk', { items: [item] })).toMatchObject({ status: 200 });
}

const get = (key: string, more: object = {}, headers = {}): Promise<Answer002<Configuration002>> =>
  clients[0]!.call('GetConfiguration', { ...SCOPE, key, ...more }, { headers });

describe('the definition', () => {
  const seed = new protobuf.Root().loadSync(PROTO_002, { keepCase: true });
  const ours = new protobuf.Root();
  ours.resolvePath = (_, target) =>
    target.startsWith('/') ? target : join(repositoryRoot(), 'proto', target);
  ours.loadSync(join(repositoryRoot(), 'proto/config/v1/configuration.proto'), { keepCase: true });
  const parts = (root: protobuf.Root) => (root.lookup('config.v1') as protobuf.Namespace).nestedArray;

  test.each(parts(seed).map((part) => [part.name, part] as const))(
    '%s is on the wire what it was',
    (name, part) => {
      const found = parts(ours).find((candidate) => candidate.name === name);
      expect(found?.constructor).toBe(part.constructor);
      if (part instanceof protobuf.Enum) {
        expect((found as protobuf.Enum).values).toEqual(part.values);
      } else if (part instanceof protobuf.Type) {
        const fields = (type: protobuf.Type) =>
          type.fieldsArray.map(({ name: field, id, type: kind, repeated }) => ({
            field,
            id,
            kind,
            repeated,
          }));
        const mine = fields(found as protobuf.Type);
        expect(mine.filter(({ id }) => id < 1_000)).toEqual(fields(part));
      } else if (part instanceof protobuf.Service) {
        const methods = (service: protobuf.Service) =>
          service.methodsArray.map(
            ({ name: method, requestType, responseType, requestStream, responseStream }) =>
              [method, requestType, responseType, requestStream === true, responseStream === true].join(' '),
          );
        expect(methods(found as protobuf.Service)).toEqual(expect.arrayContaining(methods(part)));
      } else throw new Error(`${name} is none of these`);
    },
  );
});

describe('GetConfiguration', () => {
  test.each([
    ['a text', 'a "text"', 'a "text"', 'VALUE_TYPE_STRING'],
    ['an integer', 42, '42', 'VALUE_TYPE_NUMBER'],
    ['a fraction', -0.5, '-0.5', 'VALUE_TYPE_NUMBER'],
    ['a truth', true, 'true', 'VALUE_TYPE_BOOLEAN'],
    ['an object', { a: [null] }, '{"a":[null]}', 'VALUE_TYPE_JSON'],
    ['a list', [1, 'x'], '[1,"x"]', 'VALUE_TYPE_JSON'],
  ])('tells %s, in every field', async (name, value, text, type) => {
    const key = name.replace(' ', '.');
    await put(key, value);
    const { body } = await face.get(`/config/history?key=${key}&application=grpc&environment=DEV`);
    const at = Date.parse(body.versions[0].createdAt);
    const seconds = Math.floor(at / 1_000);
    expect(await get(key)).toEqual({
      code: 0,
      answer: {
        key,
        value: text,
        value_type: type,
        version: 1,
        updated_at: { seconds, nanos: (at - seconds * 1_000) * 1_000_000 },
      },
      metadata: expect.objectContaining({ 'conclave-revision': expect.stringMatching(/^\d+$/) }),
    });
  });

  test('shows a secret, and masks it for who asks for that', async () => {
    await put('key', 'shown over gRPC', { type: 'secret' });
    const secret = { value_type: 'VALUE_TYPE_SECRET' };
    expect(await get('key')).toMatchObject({ answer: { ...secret, value: 'shown over gRPC' } });
    expect(await get('key', {}, { 'conclave-reveal': 'false' })).toMatchObject({
      answer: { ...secret, value: '********' },
    });
  });

  test('takes every spelling of an environment, and tells defaults', async () => {
    await put('spelled', 1);
    for (const environment of ['DEV', 'dev', 'DEVELOPMENT', 'ENVIRONMENT_DEV']) {
      expect(await get('spelled', { environment })).toMatchObject({ answer: { value: '1' } });
    }
    expect(await get('by.default')).toMatchObject({
      answer: { value: '[1]', value_type: 'VALUE_TYPE_JSON', version: 0, updated_at: null },
    });
  });

  test('as fresh as it is asked for', async () => {
    await put('fresh', 1);
    for (const headers of [
      { 'conclave-consistency': 'strong' },
      { 'conclave-consistency': 'bounded' },
      { 'conclave-consistency': 'bounded', 'max-staleness-ms': '0' },
      { 'conclave-consistency': 'eventual' },
    ]) {
      await eventually(JSON.stringify(headers), async () => (await get('fresh', {}, headers)).code === 0);
    }
  });

  test.each<[string, object, Readonly<Record<string, string>>, number, RegExp]>([
    ['no key', { key: '' }, {}, rpcStatus.invalidArgument, /^key: /],
    ['a key that is none', { key: 'a b' }, {}, rpcStatus.invalidArgument, /^key: /],
    ['no environment', { environment: '' }, {}, rpcStatus.invalidArgument, /^environment: /],
    ['an environment that is none', { environment: '!' }, {}, rpcStatus.invalidArgument, /^environment: /],
    ['no application', { application: '' }, {}, rpcStatus.invalidArgument, /^application: /],
    ['an unknown key', {}, {}, rpcStatus.notFound, /never\.made/],
    ['an unknown application', { application: 'nobody' }, {}, rpcStatus.notFound, /nobody/],
    ['an unknown environment', { environment: 'moon' }, {}, rpcStatus.notFound, /moon/],
    ['a tenant that is none', {}, { 'x-conclave-tenant': 'a/b' }, rpcStatus.invalidArgument, /tenant/],
    ['a user too long', {}, { 'x-conclave-user': 'u'.repeat(101) }, rpcStatus.invalidArgument, /user/i],
    [
      'a consistency that is none',
      {},
      { 'conclave-consistency': 'weak' },
      rpcStatus.invalidArgument,
      /consistency/,
    ],
    [
      'a bound that is none',
      {},
      { 'conclave-consistency': 'bounded', 'max-staleness-ms': 'x' },
      rpcStatus.invalidArgument,
      /max-staleness-ms/,
    ],
  ])('refuses %s', async (_, request, headers, code, details) => {
    expect(await get('never.made', request, headers)).toEqual({
      code,
      details: expect.stringMatching(details),
    });
  });
});

describe('GetConfigurations', () => {
  test('tells what there is of many keys', async () => {
    await put('m1', 1);
    await put('m2', 'two');
    const request = { ...SCOPE, keys: ['m2', 'never.made', 'm1', 'by.default'] };
    const result = await clients[2]!.call<{ configurations: Configuration002[] }>(
      'GetConfigurations',
      request,
    );
    if (!('answer' in result)) throw new Error(result.details);
    expect(result.answer.configurations.map(({ key, value, version }) => [key, value, version])).toEqual([
      ['m2', 'two', 1],
      ['m1', '1', 1],
      ['by.default', '[1]', 0],
    ]);
    expect(Number(result.metadata['conclave-revision'])).toBeGreaterThan(0);
  });

  test.each<[string, object, number]>([
    ['a key that is none', { keys: ['m1', 'a b'] }, rpcStatus.invalidArgument],
    ['too many keys', { keys: Array.from({ length: 1_001 }, (_, n) => `k${n}`) }, rpcStatus.invalidArgument],
    ['an unknown application', { keys: ['k'], application: 'nobody' }, rpcStatus.notFound],
    ['an environment that is none', { keys: ['k'], environment: '' }, rpcStatus.invalidArgument],
  ])('refuses %s', async (_, request, code) => {
    expect(await clients[0]!.call('GetConfigurations', { ...SCOPE, ...request })).toMatchObject({ code });
  });
});

describe('CheckFeatureFlag', () => {
  const CHECKED = { ...SCOPE, key: 'checked' };
  const check = (request: object, headers = {}) =>
    clients[1]!.call<object>('CheckFeatureFlag', { ...CHECKED, ...request }, { headers });

  beforeAll(async () => {
    const made = async (key: string, definition: object): Promise<void> => {
      const body = { ...SCOPE, key, definition };
      expect(await face.post('/api/v1/flags', body)).toMatchObject({ status: 201 });
    };
    await made('checked', {
      type: 'object',
      variants: { on: { color: 'red', size: 3 }, off: {} },
      offVariant: 'off',
      fallthrough: { variant: 'off' },
      rules: [
        {
          when: [{ attribute: 'targetingKey', operator: 'IN', values: ['ada'] }],
          serve: { variant: 'on' },
        },
        { when: [{ attribute: 'age', operator: 'GREATER_THAN', values: [64] }], serve: { variant: 'on' } },
      ],
    });
    await made('half', {
      ...ON_OFF,
      rules: [{ rollout: { share: 5_000 }, serve: { variant: 'off' } }],
    });
  });

  test('tells whom a feature is on for, in every field', async () => {
    const on = {
      key: 'checked',
      enabled: true,
      value: { fields: { color: { stringValue: 'red' }, size: { numberValue: 3 } } },
      reason: 'TARGETING_MATCH',
    };
    const metadata = { 'conclave-revision': expect.stringMatching(/^\d+$/) };
    expect(await check({ user_id: 'ada' })).toMatchObject({ code: 0, answer: on, metadata });
    // What is an attribute is a text; operators that compare numbers read it as one.
    expect(await check({ user_id: 'bob', attributes: { age: '70' } })).toMatchObject({ answer: on });
    expect(await check({ user_id: 'bob', environment: 'ENVIRONMENT_DEV' })).toMatchObject({
      answer: { key: 'checked', enabled: false, value: null, reason: 'DEFAULT' },
    });
    expect(await check({ key: 'half' })).toMatchObject({
      answer: { key: 'half', enabled: false, value: null, reason: 'TARGETING_KEY_MISSING' },
    });
  });

  test.each<[string, object, Readonly<Record<string, string>>, number, RegExp]>([
    ['no key', { key: '' }, {}, rpcStatus.invalidArgument, /^key: /],
    ['an unknown flag', { key: 'never-made' }, {}, rpcStatus.notFound, /never-made/],
    ['no application', { application: '' }, {}, rpcStatus.invalidArgument, /^application: /],
    ['an unknown application', { application: 'nobody' }, {}, rpcStatus.notFound, /nobody/],
    ['an unknown environment', { environment: 'moon' }, {}, rpcStatus.notFound, /moon/],
    ['an environment that is none', { environment: '!' }, {}, rpcStatus.invalidArgument, /^environment: /],
    ['a tenant that is none', {}, { 'x-conclave-tenant': 'a/b' }, rpcStatus.invalidArgument, /tenant/],
    [
      'a consistency that is none',
      {},
      { 'conclave-consistency': 'weak' },
      rpcStatus.invalidArgument,
      /consistency/,
    ],
  ])('refuses %s', async (_, request, headers, code, details) => {
    expect(await check(request, headers)).toEqual({ code, details: expect.stringMatching(details) });
  });
});

describe('StreamConfigurationUpdates', () => {
  test('tells what is made, changed and deleted, in every field, of the keys that are asked for', async () => {
    const stream = clients[0]!.stream({ ...SCOPE, keys: ['watched', 'sealed'] });
    await stream.begun;
    await put('watched', 1);
    await put('unwatched', 1);
    await put('watched', { a: 2 });
    await put('sealed', 'streamed under its mask', { type: 'secret' });
    await face.post('/api/v1/bulk', { items: [{ action: 'delete', ...SCOPE, key: 'watched' }] });
    await eventually('four updates', () => stream.updates.length >= 4);
    stream.close();
    const updated_at = { seconds: expect.any(Number), nanos: expect.any(Number) };
    expect(stream.updates).toEqual([
      {
        key: 'watched',
        value: '1',
        value_type: 'VALUE_TYPE_NUMBER',
        version: 1,
        update_type: 'UPDATE_TYPE_CREATED',
        updated_at,
      },
      {
        key: 'watched',
        value: '{"a":2}',
        value_type: 'VALUE_TYPE_JSON',
        version: 2,
        update_type: 'UPDATE_TYPE_UPDATED',
        updated_at,
      },
      {
        key: 'sealed',
        value: '********',
        value_type: 'VALUE_TYPE_SECRET',
        version: 1,
        update_type: 'UPDATE_TYPE_CREATED',
        updated_at,
      },
      {
        key: 'watched',
        value: '',
        value_type: 'VALUE_TYPE_UNSPECIFIED',
        version: 2,
        update_type: 'UPDATE_TYPE_DELETED',
        updated_at,
      },
    ]);
  });

  test.each<[string, object, Readonly<Record<string, string>>, number]>([
    ['an unknown application', { application: 'nobody' }, {}, rpcStatus.notFound],
    ['an unknown environment', { environment: 'moon' }, {}, rpcStatus.notFound],
    ['no environment', { environment: '' }, {}, rpcStatus.invalidArgument],
    ['a key that is none', { keys: ['a b'] }, {}, rpcStatus.invalidArgument],
    [
      'too many keys',
      { keys: Array.from({ length: 1_001 }, (_, n) => `k${n}`) },
      {},
      rpcStatus.invalidArgument,
    ],
    ['a revision that is none', {}, { 'conclave-revision': 'x' }, rpcStatus.invalidArgument],
  ])('refuses %s', async (_, request, headers, code) => {
    const stream = clients[1]!.stream({ ...SCOPE, ...request }, { headers });
    const ended = await Promise.race([
      stream.ended,
      stream.begun.then(
        () => 'it began',
        () => stream.ended,
      ),
    ]);
    stream.close();
    expect(ended).toBe(code);
  });

  test('goes on at another member when its own is killed, with nothing lost and nothing twice', async () => {
    const stream = clients[2]!.stream(SCOPE);
    const begun = await stream.begun;
    await put('before', 1);
    await eventually('the first update', () => stream.updates.length >= 1);
    cluster.members[2]!.process!.signal('SIGKILL');
    expect(await stream.ended).toBe(rpcStatus.unavailable);
    await eventually('a write without it', async () => {
      const item = { action: 'put', ...SCOPE, key: 'after', value: 2 };
      return (
        (await face.post('/api/v1/bulk', { items: [item] }, { 'idempotency-key': 'after' })).status === 200
      );
    });
    const again = clients[0]!.stream(SCOPE, { headers: { 'conclave-revision': String(begun) } });
    expect(await again.begun).toBe(begun);
    await eventually('all of it', () => again.updates.length >= 2);
    again.close();
    expect(again.updates.map(({ key, value }) => `${key}=${value}`)).toEqual(['before=1', 'after=2']);
  });
});
