import { once } from 'node:events';
import { createServer } from 'node:net';
import { OpenFeature, ProviderEvents, ProviderStatus } from '@openfeature/server-sdk';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FlagClient, type FlagUpdate } from '../../src/client/flag-client.ts';
import { FLAG_COUNTS_MAX, FlagCounts } from '../../src/client/flag-counts.ts';
import type { KvClientOptions } from '../../src/client/kv-client.ts';
import { type Kv, KvError } from '../../src/kv/kv.ts';
import { ConclaveProvider } from '../../src/openfeature/provider.ts';
import { ada } from '../service/world.ts';
import { eventually } from '../support/eventually.ts';
import { FLAGS, FlagWorld, SCOPE } from './flag-world.ts';

const SHOP = { application: 'shop', environment: 'PROD' } as const;
const ON_OFF = { type: 'boolean', variants: { on: true, off: false } } as const;

let world: FlagWorld;
const endpoints = (): KvClientOptions['endpoints'] => [`127.0.0.1:${world.grpcPort}`];

beforeEach(async () => {
  world = await FlagWorld.open();
});

afterEach(async () => {
  await OpenFeature.close();
  await world[Symbol.asyncDispose]();
  expect(world.bugs).toEqual([]);
});

/** A port where nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  server.close();
  await once(server, 'close');
  return port;
}

describe('the client of flags', () => {
  test('evaluates as the service does, and explains', async () => {
    await using client = await FlagClient.open({ endpoints: endpoints(), ...SHOP });
    expect(client.state).toBe('live');
    expect(client.keys()).toEqual(Object.keys(FLAGS).sort());
    for (const context of [{}, { targetingKey: 'u', email: 'ada@shop.example' }, { targetingKey: 'v' }]) {
      for (const key of [...client.keys(), 'nothing']) {
        const { result } = await world.service.flagReads.evaluate(ada, { scope: SCOPE, key, context });
        expect(client.evaluate(key, context)).toEqual(result);
      }
    }
    expect(client.boolean('static-on', false)).toBe(true);
    expect(client.string('greeting', '')).toBe('welcome');
    expect(client.number('limit', 0)).toBe(3);
    expect(client.object('theme', null)).toMatchObject({ background: '#000' });
    expect(client.string('static-on', 'mine')).toBe('mine');
    expect(client.explain('disabled').lines.join(' ')).toContain('The flag is disabled.');
  });

  test('adds its own attributes to contexts that have others', async () => {
    const attributes = { email: 'bot@shop.example' };
    await using client = await FlagClient.open({ endpoints: endpoints(), ...SHOP, attributes });
    expect(client.evaluate('greeting').variant).toBe('staff');
    expect(client.evaluate('greeting', { email: 'ada@else.example' }).variant).toBe('all');
  });

  test('counts what flags answer, and tells it now and then and when it is closed', async () => {
    const attributes = { service: 'web' };
    const client = await FlagClient.open({ endpoints: endpoints(), ...SHOP, attributes, countsMs: 100 });
    const counted = async () => {
      const lines = await world.service.usageReports.report(ada, { scope: SCOPE });
      return lines.map(({ flag, variant, reason, service, count }) => [
        flag,
        variant,
        reason,
        service,
        count,
      ]);
    };
    for (let n = 0; n < 3; n += 1) client.boolean('static-on', false);
    client.boolean('static-on', false, { service: 'mail' });
    client.string('experiment', '');
    client.string('nothing', '');
    const all = [
      ['experiment', null, 'ERROR', 'web', 1],
      ['static-on', 'on', 'STATIC', 'mail', 1],
      ['static-on', 'on', 'STATIC', 'web', 3],
    ];
    await eventually('the counts', async () => (await counted()).length === all.length);
    expect(await counted()).toEqual(all);
    client.boolean('static-on', false);
    await client.close();
    expect((await counted()).at(-1)).toEqual(['static-on', 'on', 'STATIC', 'web', 4]);
  });

  test('counts nothing where it is not to', async () => {
    const client = await FlagClient.open({ endpoints: endpoints(), ...SHOP, countsMs: 0 });
    expect(client.boolean('static-on', false)).toBe(true);
    await client.close();
    expect(await world.service.usageReports.report(ada, { scope: SCOPE })).toEqual([]);
  });

  test('counts within bounds', () => {
    const counts = new FlagCounts();
    const evaluation = { value: true, variant: 'on', reason: 'STATIC', flagMetadata: {} } as const;
    for (let n = 0; n < FLAG_COUNTS_MAX + 10; n += 1) counts.add(`flag-${n}`, {}, evaluation as never);
    counts.add('flag-0', {}, evaluation as never);
    const taken = counts.take();
    expect(taken).toHaveLength(FLAG_COUNTS_MAX);
    expect(taken[0]).toEqual({ flag: 'flag-0', variant: 'on', reason: 'STATIC', service: '', count: 2 });
    expect(counts.take()).toEqual([]);
  });

  test('tells which flags changed, those that refer to others included', async () => {
    const name = { ...SCOPE, kind: 'segment', key: 'insiders' } as const;
    await world.service.features.put(ada, { name, definition: { included: ['ada'] } });
    const when = [{ segment: 'insiders' }];
    await world.put('by-segment', {
      ...ON_OFF,
      fallthrough: { variant: 'off' },
      rules: [{ when, serve: { variant: 'on' } }],
    });
    await world.put('dependent', {
      ...ON_OFF,
      fallthrough: { variant: 'on' },
      offVariant: 'off',
      prerequisites: [{ flag: 'by-segment', variants: ['on'] }],
    });
    await using client = await FlagClient.open({ endpoints: endpoints(), ...SHOP });
    const updates: FlagUpdate[] = [];
    client.onUpdate((update) => updates.push(update));
    expect(client.boolean('dependent', false, { targetingKey: 'bob' })).toBe(false);
    await world.service.features.put(ada, { name, definition: { included: ['ada', 'bob'] } });
    await eventually('the change', () => updates.length > 0);
    expect(updates[0]!.keys).toEqual(['by-segment', 'dependent']);
    expect(client.boolean('dependent', false, { targetingKey: 'bob' })).toBe(true);
    const { revision } = await world.service.features.delete(ada, {
      ref: { ...SCOPE, kind: 'flag', key: 'dependent' },
    });
    await eventually('the deletion', () => client.revision >= revision);
    expect(updates.at(-1)).toEqual({ revision, keys: ['dependent'] });
    expect(client.evaluate('dependent').errorCode).toBe('FLAG_NOT_FOUND');
  });

  test('tells of what changes by itself when its time has come', async () => {
    await using client = await FlagClient.open({ endpoints: endpoints(), ...SHOP });
    const keys: string[] = [];
    client.onUpdate((update) => keys.push(...update.keys));
    const at = new Date(Date.now() + 2_000).toISOString();
    const schedule = [{ at, set: { enabled: false } }];
    await world.put('soon', { ...ON_OFF, fallthrough: { variant: 'on' }, offVariant: 'off', schedule });
    await eventually('its making and its end', () => keys.length === 2);
    expect(keys).toEqual(['soon', 'soon']);
    expect(client.evaluate('soon')).toMatchObject({ value: false, reason: 'DISABLED' });
  });

  test('opens while the cluster has no leader, with the flags that its member knows', async () => {
    await world[Symbol.asyncDispose]();
    const store = { hasLeader: true };
    world = await FlagWorld.open({ wrap: (kv) => leaderless(kv, store) });
    store.hasLeader = false;
    await using client = await FlagClient.open({ endpoints: endpoints(), ...SHOP });
    expect(client.boolean('static-on', false)).toBe(true);
    store.hasLeader = true;
  });

  test('says why it cannot open', async () => {
    const away = [`127.0.0.1:${await freePort()}`];
    await expect(FlagClient.open({ endpoints: away, ...SHOP, startTimeoutMs: 50 })).rejects.toMatchObject({
      name: 'ClientError',
    });
    const nameless = { endpoints: endpoints(), application: '', environment: 'PROD' };
    await expect(FlagClient.open(nameless)).rejects.toMatchObject({ code: 'failed-precondition' });
    const signal = AbortSignal.abort();
    await expect(FlagClient.open({ endpoints: away, ...SHOP, signal })).rejects.toMatchObject({
      code: 'canceled',
    });
  });

  test('starts empty where that is wished, and has the defaults', async () => {
    const away = [`127.0.0.1:${await freePort()}`];
    const options = { endpoints: away, ...SHOP, startTimeoutMs: 50, whenAway: 'start-empty' } as const;
    await using client = await FlagClient.open(options);
    expect(client.state).toBe('empty');
    expect(client.boolean('static-on', false)).toBe(false);
    expect(client.failure).toBeInstanceOf(Error);
  });
});

describe('the provider for OpenFeature', () => {
  const provider = (more: object = {}): ConclaveProvider =>
    new ConclaveProvider({ endpoints: endpoints(), ...SHOP, ...more });

  test('is stale while the cluster is away, answers as before, and is ready again', async () => {
    const own = provider();
    await OpenFeature.setProviderAndWait('d', own);
    const client = OpenFeature.getClient('d');
    const events: string[] = [];
    for (const type of [ProviderEvents.Stale, ProviderEvents.Ready]) {
      client.addHandler(type, () => events.push(type));
    }
    await world.restartPort();
    await eventually('the end', () => events.includes(ProviderEvents.Stale));
    expect(await client.getBooleanValue('static-on', false)).toBe(true);
    await eventually('the return', () => client.providerStatus === ProviderStatus.READY);
    expect(await client.getBooleanValue('static-on', false)).toBe(true);
  });

  test('is ready by itself once it has the flags for the first time', async () => {
    const application = 'later';
    const own = provider({ application, startTimeoutMs: 100 });
    await expect(OpenFeature.setProviderAndWait('d', own)).rejects.toThrow('later');
    const client = OpenFeature.getClient('d');
    expect(await client.getBooleanDetails('new', true)).toMatchObject({
      value: true,
      errorCode: 'PROVIDER_NOT_READY',
    });
    await world.put(
      'new',
      { ...ON_OFF, fallthrough: { variant: 'off' } },
      { application: application as 'shop' },
    );
    await eventually('the flags', () => client.providerStatus === ProviderStatus.READY);
    expect(await client.getBooleanValue('new', true)).toBe(false);
  });

  test('tells flags which service asks, unless the context says another', async () => {
    await world.put('for-pay', {
      ...ON_OFF,
      fallthrough: { variant: 'on' },
      offVariant: 'off',
      targetServices: ['pay'],
    });
    await OpenFeature.setProviderAndWait('d', provider({ service: 'pay' }));
    const client = OpenFeature.getClient('d');
    expect(await client.getBooleanValue('for-pay', false)).toBe(true);
    expect(await client.getBooleanValue('for-pay', false, { service: 'mail' })).toBe(false);
  });

  test('without the right to read the flags nothing else is tried', async () => {
    await world[Symbol.asyncDispose]();
    world = await FlagWorld.open({ wrap: locked, flags: {} });
    await expect(OpenFeature.setProviderAndWait('d', provider())).rejects.toThrow();
    expect(OpenFeature.getClient('d').providerStatus).toBe(ProviderStatus.FATAL);
  });

  test('ends its connections when it is closed', async () => {
    const own = provider();
    await OpenFeature.setProviderAndWait('d', own);
    await OpenFeature.close();
    expect(await own.resolveBooleanEvaluation('static-on', false, {})).toMatchObject({
      value: false,
      errorCode: 'PROVIDER_NOT_READY',
    });
  });
});

/** A store that answers what it has, and nothing that a leader has to say. */
function leaderless(kv: Kv, store: { readonly hasLeader: boolean }): Kv {
  return new Proxy<Kv>(kv, {
    get: (target, name) => {
      if (name === 'range') {
        const range: Kv['range'] = async (request, call) => {
          if (!store.hasLeader && request.consistency.type === 'linearizable')
            throw new KvError('unavailable', 'no leader');
          return target.range(request, call);
        };
        return range;
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

/** A store that wants to know who asks. */
function locked(kv: Kv): Kv {
  return new Proxy<Kv>(kv, {
    get: (target, name) => {
      if (name === 'authEnabled') return async () => true;
      if (name === 'permits') {
        const permits: Kv['permits'] = async (_request, { principal }) => {
          if (principal.type === 'token') throw new KvError('unauthenticated', 'who is that?');
          return { user: null, permitted: principal.type === 'service' };
        };
        return permits;
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
