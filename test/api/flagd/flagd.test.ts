import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readSelector } from '../../../src/api/flagd/selector.ts';
import { objectOf, STRUCT_DEPTH_MAX, structOf } from '../../../src/api/structs.ts';
import { importFlagd } from '../../../src/evaluation/flagd.ts';
import { codec, serviceMethods } from '../../../src/rpc/codec.ts';
import type { Struct } from '../../../src/rpc/generated/google/protobuf/struct.ts';
import type { Messages, Methods } from '../../../src/rpc/generated/messages.ts';
import { rpcStatus } from '../../../src/rpc/status.ts';
import type { Json } from '../../../src/service/model.ts';
import { FLAGS, FlagWorld, SELECTOR } from '../../flags/flag-world.ts';
import { eventually } from '../../support/eventually.ts';

let world: FlagWorld;
let client: Client;

beforeAll(async () => {
  world = await FlagWorld.open();
  client = new Client(`127.0.0.1:${world.grpcPort}`, credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await world[Symbol.asyncDispose]();
  expect(world.bugs).toEqual([]);
});

const streams: ClientReadableStream<unknown>[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.cancel();
});

type Headers = Readonly<Record<string, string>>;
const SHOP: Headers = { 'flagd-selector': SELECTOR };
const NOBODY = structOf({});

type Answer<P extends keyof Methods> = Messages[Methods[P]['response']];

function call<P extends keyof Methods>(
  path: P,
  request: object,
  headers: Headers = SHOP,
): Promise<Answer<P>> {
  const [encode, decode] = codecsOf(path);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      encode,
      decode,
      request,
      metadataOf(headers),
      (error: ServiceError | null, answer) => (error === null ? resolve(answer as Answer<P>) : reject(error)),
    );
  });
}

/** What comes, as it comes. */
function listen<P extends keyof Methods>(path: P, request: object, headers: Headers = SHOP) {
  const [encode, decode] = codecsOf(path);
  const stream = client.makeServerStreamRequest(path, encode, decode, request, metadataOf(headers));
  streams.push(stream);
  const told: Answer<P>[] = [];
  stream.on('data', (message: Answer<P>) => told.push(message));
  const ended = new Promise<number>((resolve) => {
    stream.on('error', (error: ServiceError) => resolve(error.code));
  });
  return { told, ended };
}

function codecsOf(path: keyof Methods) {
  const method = serviceMethods(path.split('/')[1]!).find((candidate) => candidate.path === path)!;
  const encode = (message: object): Buffer => codec(method.request).encode(message);
  const decode = (bytes: Buffer): unknown => codec(method.response).decode(bytes);
  return [encode, decode] as const;
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

const resolve = <V extends 'v1' | 'v2', T extends 'Boolean' | 'String' | 'Float' | 'Int' | 'Object'>(
  version: V,
  type: T,
  key: string,
  context: Struct = NOBODY,
) => call(`/flagd.evaluation.${version}.Service/Resolve${type}` as keyof Methods, { flag_key: key, context });

describe.each(['v1', 'v2'] as const)('evaluation %s', (version) => {
  test('answers every type', async () => {
    expect(await resolve(version, 'Boolean', 'static-on')).toMatchObject({
      value: true,
      reason: 'STATIC',
      variant: 'on',
    });
    expect(await resolve(version, 'Boolean', 'static-off')).toMatchObject({ value: false, variant: 'off' });
    expect(await resolve(version, 'String', 'greeting')).toMatchObject({
      value: 'welcome',
      reason: 'DEFAULT',
    });
    expect(await resolve(version, 'Float', 'half')).toMatchObject({ value: 0.5 });
    expect(await resolve(version, 'Int', 'limit')).toMatchObject({ value: 3 });
    const theme = (await resolve(
      version,
      'Object',
      'theme',
    )) as Messages['flagd.evaluation.v1.ResolveObjectResponse'];
    expect(objectOf(theme.value)).toEqual((FLAGS['theme']!['variants'] as { dark: object }).dark);
    const on = (await resolve(
      version,
      'Boolean',
      'static-on',
    )) as Messages['flagd.evaluation.v1.ResolveBooleanResponse'];
    expect(objectOf(on.metadata)).toEqual(FLAGS['static-on']!['metadata']);
  });

  test.each([
    ['Boolean', 'nothing', rpcStatus.notFound],
    ['Boolean', 'greeting', rpcStatus.invalidArgument],
    ['Int', 'half', rpcStatus.invalidArgument],
    ['String', 'experiment', rpcStatus.unknown],
  ] as const)('%s of %s: status %i', async (type, key, code) => {
    await expect(resolve(version, type, key)).rejects.toMatchObject({ code });
  });

  test('answers all flags that have a value', async () => {
    const path = `/flagd.evaluation.${version}.Service/ResolveAll` as const;
    const { flags } = await call(path, { context: structOf({ email: 'ada@shop.example' }) });
    // One needs a targeting key, one has no value.
    const without = ['experiment', 'valueless'];
    expect(Object.keys(flags).sort()).toEqual(
      Object.keys(FLAGS)
        .filter((key) => !without.includes(key))
        .sort(),
    );
    expect(flags['greeting']).toMatchObject({ string_value: 'hello, colleague', variant: 'staff' });
    expect(flags['limit']).toMatchObject({ double_value: 3 });
    expect(flags['disabled']).toMatchObject({ bool_value: false, reason: 'DISABLED' });
  });

  test('tells that it is ready, and which flags changed', async () => {
    const path = `/flagd.evaluation.${version}.Service/EventStream` as const;
    // The second is how flagd's clients ask: they do not say whose flags.
    const [named, all] = [listen(path, {}), listen(path, {}, {})];
    await eventually('both are ready', () => named.told.length > 0 && all.told.length > 0);
    expect(named.told[0]).toMatchObject({ type: 'provider_ready' });
    const touched = { metadata: { version } };
    await world.put('elsewhere', { ...FLAGS['half']!, ...touched }, { application: 'other' as 'shop' });
    await world.put('limit', { ...FLAGS['limit']!, ...touched });
    await eventually('the change', () => named.told.length > 1 && all.told.length > 2);
    const keysOf = ({ data }: { readonly data: Struct | null }) =>
      Object.keys(objectOf(data)['flags'] as object);
    expect(named.told.slice(1)).toMatchObject([{ type: 'configuration_change' }]);
    expect(keysOf(named.told[1]!)).toEqual(['limit']);
    expect(all.told.slice(1).map(keysOf)).toEqual([['elsewhere'], ['limit']]);
  });
});

test('where there is no value, the second version says so, and the first says that there is no flag', async () => {
  const answer = (await resolve(
    'v2',
    'String',
    'valueless',
  )) as Messages['flagd.evaluation.v2.ResolveStringResponse'];
  expect(answer).toMatchObject({ reason: 'DISABLED' });
  expect([answer.value, answer.variant]).toEqual([null, null]);
  await expect(resolve('v1', 'String', 'valueless')).rejects.toMatchObject({ code: rpcStatus.notFound });
});

test('an object that is nested deeper than messages may be is told as another type, and hides no other flag', async () => {
  const nested = (depth: number): Json => (depth === 0 ? 1 : { a: [nested(depth - 2)] });
  const deep = { 'flagd-selector': 'deep/production' };
  for (const depth of [STRUCT_DEPTH_MAX, STRUCT_DEPTH_MAX + 2]) {
    const definition = { type: 'object', variants: { v: nested(depth) }, fallthrough: { variant: 'v' } };
    await world.put(`deep-${depth}`, definition, { application: 'deep' as 'shop' });
  }
  const { flags } = await call('/flagd.evaluation.v2.Service/ResolveAll', { context: NOBODY }, deep);
  expect(Object.keys(flags)).toEqual([`deep-${STRUCT_DEPTH_MAX}`]);
  expect(objectOf(flags[`deep-${STRUCT_DEPTH_MAX}`]!.object_value!)).toEqual(nested(STRUCT_DEPTH_MAX));
  const asked = { flag_key: `deep-${STRUCT_DEPTH_MAX + 2}`, context: NOBODY };
  await expect(call('/flagd.evaluation.v2.Service/ResolveObject', asked, deep)).rejects.toMatchObject({
    code: rpcStatus.invalidArgument,
  });
});

describe('whose flags', () => {
  const path = '/flagd.evaluation.v2.Service/ResolveBoolean';
  const asked = { flag_key: 'static-on', context: NOBODY };

  test.each([
    { 'flagd-selector': 'shop/production' },
    { 'flagd-selector': 'flagSetId=shop/PROD' },
    { 'flagd-selector': 'source=shop, env=prod' },
    { 'x-conclave-application': 'shop', 'x-conclave-environment': 'PRODUCTION' },
  ])('%j', async (headers) => {
    expect(await call(path, asked, headers as unknown as Headers)).toMatchObject({ value: true });
  });

  test('must be said, and be there', async () => {
    await expect(call(path, asked, {})).rejects.toMatchObject({
      code: rpcStatus.failedPrecondition,
      details: expect.stringContaining('flagd-selector'),
    });
    for (const selector of ['colour=red', 'a/b/c', `app=${'x'.repeat(1_024)}`]) {
      const refused = call(path, asked, { 'flagd-selector': selector });
      await expect(refused, selector).rejects.toMatchObject({ code: rpcStatus.failedPrecondition });
    }
    await expect(call(path, asked, { 'flagd-selector': 'nobodys/production' })).rejects.toMatchObject({
      code: rpcStatus.notFound,
    });
  });

  test('is read from a selector of any form', () => {
    expect(readSelector('')).toEqual({});
    expect(readSelector('shop')).toEqual({ application: 'shop' });
    expect(readSelector('app=a,environment=e,tenant=t')).toEqual({
      application: 'a',
      environment: 'e',
      tenant: 't',
    });
  });
});

test('a request that is larger than anybody needs is refused', async () => {
  const context = structOf({ note: 'x'.repeat(64 * 1024) });
  await expect(resolve('v1', 'Boolean', 'static-on', context)).rejects.toMatchObject({
    code: rpcStatus.failedPrecondition,
  });
});

describe('sync', () => {
  test('gives all flags as a document of flagd, without those that it cannot say', async () => {
    const { flag_configuration: text } = await call('/flagd.sync.v1.FlagSyncService/FetchAllFlags', {});
    const { flags, findings } = importFlagd(JSON.parse(text));
    expect(findings).toEqual([]);
    expect(flags.map(({ key }) => key).sort()).toEqual(
      Object.keys(FLAGS)
        .filter((key) => key !== 'pattern')
        .sort(),
    );
    expect(await call('/flagd.sync.v1.FlagSyncService/GetMetadata', {})).toMatchObject({});
  });

  test('gives it again when a flag has changed, to whoever named them in the request, too', async () => {
    const path = '/flagd.sync.v1.FlagSyncService/SyncFlags';
    const { told } = listen(path, { selector: 'shop/production' }, {});
    await eventually('the flags', () => told.length === 1);
    await world.put('static-off', { ...FLAGS['static-off']!, metadata: { touched: true } });
    await eventually('the change', () => told.length === 2);
    const { flags } = JSON.parse(told[1]!.flag_configuration);
    expect(flags['static-off'].metadata).toEqual({ touched: true });
  });

  test('is refused without an application', async () => {
    const { ended } = listen('/flagd.sync.v1.FlagSyncService/SyncFlags', {}, {});
    expect(await ended).toBe(rpcStatus.failedPrecondition);
  });
});

test('JSON goes over the wire and back as it is', () => {
  const object = { a: null, b: [1, 'x', [true], {}], c: { d: { e: -0.5 } }, f: '' };
  const wire = codec('google.protobuf.Struct');
  expect(objectOf(wire.decode(wire.encode(structOf(object))))).toEqual(object);
  expect(objectOf(null)).toEqual({});
  expect(objectOf({ fields: { n: { number_value: Number.NaN }, nothing: {} } })).toEqual({
    n: null,
    nothing: null,
  });
});
