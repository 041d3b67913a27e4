import { afterEach, beforeEach, expect, test } from 'vitest';
import { registerConfiguration } from '../../../src/api/config/register.ts';
import { type Kv, KvError } from '../../../src/kv/kv.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { Messages } from '../../../src/rpc/generated/messages.ts';
import { rpcStatus } from '../../../src/rpc/status.ts';
import type { Actor } from '../../../src/service/model.ts';
import { openService, type Service } from '../../../src/service/service.ts';
import { Harness } from '../../rpc/harness.ts';
import { ada, KEYRING, named } from '../../service/world.ts';
import { configCall, configStream } from '../../support/config-call.ts';
import { eventually } from '../../support/eventually.ts';

const SCOPE = { application: 'pay', environment: 'ENVIRONMENT_PROD' };

let harness: Harness;
let service: Service;
let url: string;
let auth: { enabled: boolean };

/** The store, which may want to know who asks: `good` is ada's token. */
function authenticated(kv: MemoryKv): Kv {
  return new Proxy<Kv>(kv, {
    get: (target, name) => {
      if (name === 'authEnabled') return async () => auth.enabled;
      if (name === 'permits' && auth.enabled) return permits;
      if (name === 'signIn' && auth.enabled) return signIn;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

const permits: Kv['permits'] = async ({ access }, { principal }) => {
  if (principal.type !== 'token') return { user: null, permitted: false };
  if (principal.token !== 'good') throw new KvError('unauthenticated', 'who is that?');
  return { user: 'ada', permitted: access === 'read' };
};

const signIn: Kv['signIn'] = async ({ name, password }) => {
  if (name === 'ada' && password === 'love:lace') return 'good';
  throw new KvError('unauthenticated', 'wrong name or password');
};

beforeEach(async () => {
  auth = { enabled: false };
  const kv = authenticated(new MemoryKv());
  const { signal } = new AbortController();
  service = await openService({ kv, logger: silentLogger, keyring: KEYRING, sweeps: false, signal });
  harness = new Harness();
  registerConfiguration(harness.server, { service, kv, tenant: 'default', requireIdentity: false });
  await harness.start();
  url = `http://${harness.address}`;
});

afterEach(async () => {
  await harness[Symbol.asyncDispose]();
  await service.close();
  expect(harness.bugs).toEqual([]);
});

test.each([
  ['string', 'as it is', 'as it is', 1],
  ['integer', 7, '7', 2],
  ['float', 0.5, '0.5', 2],
  ['boolean', true, 'true', 3],
  ['json', { a: [1] }, '{"a":[1]}', 4],
  ['array', [1, 2], '[1,2]', 4],
  ['secret', 'hush', 'hush', 5],
] as const)('a value of type %s is text, with its type and time', async (type, json, value, wireType) => {
  await service.configurations.put(ada, { name: named('k'), type, value: { json } });
  const answer = await configCall(url, 'GetConfiguration', { ...SCOPE, key: 'k' });
  expect(answer).toMatchObject({ ok: true, answer: { key: 'k', value, value_type: wireType, version: 1 } });
  const time = answer.ok ? answer.answer.updated_at! : { seconds: 0, nanos: 0 };
  const at = new Date(Number(time.seconds) * 1_000 + time.nanos / 1_000_000).toISOString();
  const { result } = await service.reads.lookup(ada, { name: named('k') });
  expect(at).toBe(result.updatedAt);
});

test('a default has no version and no time', async () => {
  await service.applications.create(ada, { tenant: 'default', name: 'pay', defaults: { k: 1 } });
  const answer = await configCall(url, 'GetConfiguration', { ...SCOPE, key: 'k' });
  expect(answer).toMatchObject({ ok: true, answer: { value: '1', version: 0, updated_at: null } });
});

test('another tenant is asked for by a header', async () => {
  await service.configurations.put(ada, { name: named('k', { tenant: 'acme' }), value: { json: 1 } });
  const asked = { ...SCOPE, key: 'k' };
  expect(await configCall(url, 'GetConfiguration', asked)).toMatchObject({ code: rpcStatus.notFound });
  const answer = await configCall(url, 'GetConfiguration', asked, { 'x-conclave-tenant': 'acme' });
  expect(answer).toMatchObject({ ok: true });
});

test('a secret that is shown is recorded with who asked', async () => {
  await service.configurations.put(ada, { name: named('k'), type: 'secret', value: { json: 'hush' } });
  const records: Actor[] = [];
  service.projection.subscribe({
    changed: ({ record }) => {
      if (record.operation === 'reveal') records.push(record.actor);
    },
    jumped: () => undefined,
  });
  const headers = { 'x-conclave-user': 'eve' };
  await configCall(
    url,
    'GetConfiguration',
    { ...SCOPE, key: 'k' },
    { ...headers, 'conclave-reveal': 'false' },
  );
  await configCall(url, 'GetConfiguration', { ...SCOPE, key: 'k' }, headers);
  await eventually('the record', () => records.length > 0);
  expect(records).toEqual([
    {
      name: 'eve',
      isAuthenticated: false,
      claimed: null,
      address: '127.0.0.1',
      agent: expect.stringContaining('grpc'),
    },
  ]);
});

test('how fresh an answer is can be chosen; what is no such choice is refused', async () => {
  await service.configurations.put(ada, { name: named('k'), value: { json: 1 } });
  const ask = (headers: Readonly<Record<string, string>>) =>
    configCall(url, 'GetConfiguration', { ...SCOPE, key: 'k' }, headers);
  expect(await ask({ 'conclave-consistency': 'eventual' })).toMatchObject({ ok: true });
  expect(await ask({ 'conclave-consistency': 'bounded', 'max-staleness-ms': '100' })).toMatchObject({
    ok: true,
  });
  const wrong = { code: rpcStatus.invalidArgument };
  expect(await ask({ 'conclave-consistency': 'lucky' })).toMatchObject(wrong);
  expect(await ask({ 'conclave-consistency': 'bounded', 'max-staleness-ms': '-1' })).toMatchObject(wrong);
});

test('where the store authenticates, a token says who asks, and what they may', async () => {
  await service.configurations.put(ada, { name: named('k'), value: { json: 1 } });
  auth.enabled = true;
  const ask = (headers: Readonly<Record<string, string>>) =>
    configCall(url, 'GetConfiguration', { ...SCOPE, key: 'k' }, headers);
  expect(await ask({})).toMatchObject({ code: rpcStatus.unauthenticated });
  expect(await ask({ 'x-conclave-user': 'ada' })).toMatchObject({ code: rpcStatus.unauthenticated });
  expect(await ask({ token: 'bad' })).toMatchObject({ code: rpcStatus.unauthenticated });
  expect(await ask({ token: 'good' })).toMatchObject({ ok: true });
  expect(await ask({ authorization: 'Bearer good' })).toMatchObject({ ok: true });
  expect(await ask({ authorization: 'good' })).toMatchObject({ ok: true });
  const basic = (login: string) => ({ authorization: `Basic ${Buffer.from(login).toString('base64')}` });
  expect(await ask(basic('ada:love:lace'))).toMatchObject({ ok: true });
  expect(await ask(basic('ada:wrong'))).toMatchObject({ code: rpcStatus.unauthenticated });
});

test('a stream says after which revision it begins, and each update with which to go on', async () => {
  const { revision } = await service.configurations.put(ada, { name: named('k'), value: { json: 1 } });
  const stream = configStream(url, SCOPE);
  expect(await stream.begun).toBe(revision);
  await service.configurations.delete(ada, { ref: named('k') });
  await eventually('the update', () => stream.updates.length > 0);
  stream.close();
  const [update] = stream.updates;
  expect(update).toMatchObject({
    key: 'k',
    value: '',
    value_type: 0,
    update_type: 3,
    version: 1,
    cursor: String(update!.revision),
  });
  // By the header as well as by the field.
  const again = configStream(url, SCOPE, { 'conclave-revision': String(revision) });
  await eventually('the same', () => again.updates.length > 0);
  again.close();
  expect(again.updates[0]).toEqual(update);
});

test('streams that ask for too much, or nothing that is there, fail', async () => {
  await service.configurations.put(ada, { name: named('k'), value: { json: 1 } });
  const status = async (request: object, headers = {}): Promise<number> => {
    const stream = configStream(url, request, headers);
    const code = await stream.ended;
    stream.close();
    return code;
  };
  expect(await status({ ...SCOPE, application: 'none' })).toBe(rpcStatus.notFound);
  expect(await status({ ...SCOPE, keys: Array.from({ length: 1_001 }, (_, at) => `k${at}`) })).toBe(
    rpcStatus.invalidArgument,
  );
  expect(await status({ ...SCOPE, after_revision: -1 })).toBe(rpcStatus.invalidArgument);
  expect(await status(SCOPE, { 'conclave-revision': 'x' })).toBe(rpcStatus.invalidArgument);
  expect(await status({ ...SCOPE, environment: 'qa' })).toBe(rpcStatus.notFound);
});

test('several keys: each once, those without a value left out', async () => {
  await service.configurations.put(ada, { name: named('a'), value: { json: 1 } });
  await service.configurations.put(ada, { name: named('b'), type: 'secret', value: { json: 'hush' } });
  type Answer = Messages['config.v1.GetConfigurationsResponse'];
  const answer = await configCall<Answer>(url, 'GetConfigurations', {
    ...SCOPE,
    keys: ['b', 'none', 'a', 'b'],
  });
  expect(answer.ok && answer.answer.configurations.map(({ key, value }) => [key, value])).toEqual([
    ['b', 'hush'],
    ['a', '1'],
  ]);
});

test('a feature is on for whom its flag lets in, with its additional values', async () => {
  const name = {
    kind: 'flag',
    tenant: 'default',
    environment: 'production',
    application: 'pay',
    key: 'f',
  } as const;
  const definition = {
    type: 'object',
    variants: { on: { limit: 3 } },
    fallthrough: { variant: null },
    rules: [
      { when: [{ attribute: 'plan', operator: 'EQUALS', values: ['gold'] }], serve: { variant: 'on' } },
      { when: [], rollout: { share: 1 }, serve: { variant: 'on' } },
    ],
  };
  await service.features.create(ada, { name, definition });
  const check = (more: object) =>
    configCall(url, 'CheckFeatureFlag', { ...SCOPE, key: 'f', user_id: '', attributes: {}, ...more });
  const on = { key: 'f', enabled: true, reason: 'TARGETING_MATCH', variant: 'on' };
  expect(await check({ user_id: 'ada', attributes: { plan: 'gold' } })).toMatchObject({
    ok: true,
    answer: { ...on, value: { fields: { limit: { number_value: 3 } } } },
  });
  expect(await check({ user_id: 'ada' })).toMatchObject({
    ok: true,
    answer: { enabled: false, value: null, reason: 'DEFAULT', variant: '' },
  });
  expect(await check({})).toMatchObject({ answer: { enabled: false, reason: 'TARGETING_KEY_MISSING' } });
  expect(await check({ key: 'no' })).toMatchObject({ ok: false, code: rpcStatus.notFound });
  expect(await check({ environment: '' })).toMatchObject({ ok: false, code: rpcStatus.invalidArgument });
});
