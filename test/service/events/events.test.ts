import { describe, expect, test } from 'vitest';
import { type Kv, type KvCall, KvError } from '../../../src/kv/kv.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { cursorText, parseCursor } from '../../../src/service/events/cursor.ts';
import type { EventBatch } from '../../../src/service/events/event.ts';
import { EVENT_LIMITS_DEFAULT, EventHub } from '../../../src/service/events/event-hub.ts';
import { Replay } from '../../../src/service/events/replay.ts';
import { Subscription } from '../../../src/service/events/subscription.ts';
import { changeKey } from '../../../src/service/keyspace.ts';
import { openService, type Service } from '../../../src/service/service.ts';
import { ServiceError } from '../../../src/service/service-error.ts';
import { bareKey, prefixedKey } from '../../../src/service/service-prefix.ts';
import { withTxn } from '../kv-wrappers.ts';
import { ada, inWorld, KEYRING, named, TestClock, type World } from '../world.ts';
import { Gate } from './gated-kv.ts';
import { Reader } from './reader.ts';

const { signal } = new AbortController();
const call: KvCall = { principal: { type: 'service' }, signal };
const ALL = { tenant: 'default' };

async function put({ service }: Pick<World, 'service'>, key: string, json: number): Promise<number> {
  const answer = await service.configurations.put(ada, { name: named(key), value: { json } });
  return answer.revision;
}

describe('an event', () => {
  test('has every field of 001, and the revision', async () => {
    await inWorld(
      async ({ service }) => {
        const name = named('risk_threshold', { application: 'portfolio_management_service' });
        const first = await service.configurations.create(ada, { name, value: { json: 0.05 } });
        const reader = await Reader.open(service, ALL, first.revision);
        const { revision } = await service.configurations.update(ada, {
          ref: name,
          value: { json: 0.04 },
          reason: 'Reduce risk exposure due to market volatility',
        });
        await reader.reach(revision);
        expect(reader.events.map(({ payload }) => payload)).toEqual([
          {
            event_id: expect.stringMatching(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/) as unknown,
            timestamp: '2026-03-01T00:00:00.000Z',
            revision,
            cursor: String(revision),
            type: 'updated',
            configuration_updated: {
              config_key: 'portfolio_management.risk_threshold',
              service_name: 'portfolio_management_service',
              environment: 'PRODUCTION',
              old_value: 0.05,
              new_value: 0.04,
              updated_by: 'ada',
              reason: 'Reduce risk exposure due to market volatility',
              version: 2,
              rollback_available: true,
              affected_instances: ['pod-1', 'pod-2'],
            },
          },
        ]);
        await reader.close();
      },
      { instancesOf: () => ['pod-1', 'pod-2'] },
    );
  });

  test('masks secrets, and says nothing of the version before when there was none', async () => {
    await inWorld(async ({ service }) => {
      const reader = await Reader.open(service, ALL, 0);
      const name = named('password');
      await service.configurations.create(ada, { name, value: { json: 'hunter2' }, type: 'secret' });
      await service.configurations.update(ada, { ref: name, value: { json: 'hunter3' } });
      const { revision } = await service.configurations.delete(ada, { ref: name });
      await reader.reach(revision);
      const told = reader.events.map(({ payload: { configuration_updated: each } }) => each);
      expect(told).toMatchObject([
        { old_value: null, new_value: '********', version: 1, rollback_available: false },
        { old_value: '********', new_value: '********', version: 2, rollback_available: true },
        { old_value: '********', new_value: null, version: 2, rollback_available: false },
      ]);
      await reader.close();
    });
  });

  test('goes to the environments that inherit the value, and not to those that have their own', async () => {
    await inWorld(async ({ service }) => {
      const { environments, configurations } = service;
      await environments.update(ada, { tenant: 'default', id: 'staging', parent: 'production' });
      await environments.update(ada, { tenant: 'default', id: 'test', parent: 'staging' });
      await configurations.create(ada, {
        name: named('own', { environment: 'staging' }),
        value: { json: 1 },
      });
      const reader = await Reader.open(service, { ...ALL, environment: 'test' });
      await put({ service }, 'inherited', 1);
      const revision = await put({ service }, 'own', 2);
      await reader.reach(revision);
      expect(reader.events.map(({ payload }) => payload.configuration_updated)).toMatchObject([
        { config_key: 'pay.inherited', environment: 'TEST', old_value: null, new_value: 1 },
      ]);
      await reader.close();
    });
  });

  test('carries its key with the prefix of its service, and takes it off again', () => {
    expect(prefixedKey('pay', 'a.b')).toBe('pay.a.b');
    expect(prefixedKey('pay-service', 'a')).toBe('pay.a');
    expect(bareKey('pay', 'pay.a.b')).toBe('a.b');
    expect(bareKey('pay_service', 'pay.a')).toBe('a');
    expect(bareKey('pay_service', 'pay_service.a')).toBe('a');
    expect(bareKey('pay', 'paying.a')).toBe('paying.a');
  });
});

describe('a cursor', () => {
  test('of the future is gone; text that is none is refused', async () => {
    await inWorld(async ({ service, memory }) => {
      await put({ service }, 'a', 1);
      await expect(Reader.open(service, ALL, 1_000)).rejects.toMatchObject({ code: 'gone' });
      for (const text of ['-1', '1.5', '', 'x', '0-1', '1-', '99999999999999999']) {
        expect(() => parseCursor(text)).toThrow(ServiceError);
      }
      expect(['7', '7-2', '1-1'].map((text) => cursorText(parseCursor(text)))).toEqual(['7', '7-2', '1-1']);
      await expect(Reader.open(service, { ...ALL, keys: [] })).rejects.toMatchObject({ code: 'invalid' });
      // What others put moves the store on, not the service.
      const { revision } = await memory.txn(
        {
          compare: [],
          success: [{ type: 'put', key: Buffer.from('/x'), value: Buffer.alloc(0) }],
          failure: [],
        },
        call,
      );
      const reader = await Reader.open(service, ALL, revision);
      await reader.reach(await put({ service }, 'a', 2));
      expect(reader.events).toHaveLength(1);
      await reader.close();
    });
  });

  test('is gone when a record that came after it is, or a version', async () => {
    const memory = new MemoryKv();
    await inWorld(
      async (world) => {
        const changes: string[] = [];
        for (let at = 0; at < 5; at += 1) {
          const answer = await world.service.configurations.put(ada, {
            name: named('a'),
            value: { json: at },
          });
          changes.push(answer.changeId!);
        }
        await world.service.sealer.seal(signal);
        const key = changeKey(changes[2]!);
        await memory.txn({ compare: [], success: [{ type: 'delete', key }], failure: [] }, call);
      },
      { memory },
    );
    await inWorld(
      async (world) => {
        const { revision } = world.service.projection;
        const late = await Reader.open(world.service, ALL, 1);
        const now = await Reader.open(world.service, ALL, revision);
        await expect(late.reach(revision)).rejects.toMatchObject({ code: 'gone' });
        await now.reach(await put(world, 'a', 77));
        expect(now.events).toHaveLength(1);
        await now.close();
      },
      { memory },
    );
  });
});

test('a cursor is gone when a version that came after it is not kept any more', async () => {
  const memory = new MemoryKv();
  const retention = { keepMs: null, countMax: 2, bytesMax: null };
  let revision = 0;
  const cursors: number[] = [];
  await inWorld(
    async (world) => {
      for (let json = 0; json < 6; json += 1) cursors.push(await put(world, 'a', json));
      await world.service.projection.catchUp(signal);
      revision = world.service.projection.revision;
      await world.service.sweepers.sweepVersions();
    },
    { memory, retention },
  );
  await inWorld(
    async ({ service }) => {
      const kept = await Reader.open(service, ALL, cursors[4]!);
      await kept.reach(revision);
      expect(kept.events.map(({ oldValue, newValue }) => [oldValue, newValue])).toEqual([[4, 5]]);
      const lost = await Reader.open(service, ALL, cursors[3]!);
      await expect(lost.reach(revision)).rejects.toMatchObject({ code: 'gone' });
      await kept.close();
    },
    { memory, eventLimits: { ...EVENT_LIMITS_DEFAULT, warmChanges: 0 } },
  );
});

describe('a subscriber', () => {
  test('that is slow is told everything later, in order, and holds little meanwhile', async () => {
    const limits = { logEvents: 50, warmChanges: 0, bufferedEvents: 10 };
    await inWorld(async (world) => {
      const { service, memory } = world;
      const source = { kv: memory, projection: service.projection, instancesOf: () => [] };
      const hub = new EventHub(source, { logger: silentLogger, limits });
      await hub.start();
      const slow = new Subscription(hub, ALL, { after: service.projection.revision, taken: 0 });
      const taken: number[] = [];
      const batches = slow[Symbol.asyncIterator]();
      const take = async (): Promise<void> => {
        const next = await batches.next();
        if (next.done !== true) taken.push(...next.value.events.map(({ newValue }) => newValue as number));
      };
      for (let json = 0; json < 200; json += 1) {
        await put(world, 'a', json);
        expect(slow.buffered).toBeLessThanOrEqual(10);
        if (json % 40 === 0) {
          await service.projection.catchUp(signal);
          await take();
        }
      }
      await service.projection.catchUp(signal);
      while (taken.length < 200) await take();
      expect(taken).toEqual(Array.from({ length: 200 }, (_, at) => at));
      slow.end();
      expect(await batches.next()).toMatchObject({ done: true });
      expect(hub.subscribers).toBe(0);
      await hub.close();
    });
  });

  test('hears of what was compacted before it was read, also when the store answers late', async () => {
    const memory = new MemoryKv();
    const gate = new Gate();
    let failures = 0;
    const kv: Kv = {
      ...gate.before(memory),
      txn: (request, each) => {
        if (failures === 0) return memory.txn(request, each);
        failures -= 1;
        return Promise.reject(new KvError('unavailable', 'no leader'));
      },
    };
    const [writer, service] = [await open(memory), await open(kv)];
    const reader = await Reader.open(service, ALL);
    const now = await put({ service: writer }, 'a', 1);
    await reader.reach(now);
    gate.shut();
    let revision = 0;
    for (let json = 2; json < 10; json += 1) revision = await put({ service: writer }, 'a', json);
    memory.compact(revision);
    failures = 2;
    gate.open();
    await service.projection.reach(revision, signal);
    revision = await put({ service: writer }, 'a', 10);
    await reader.reach(revision);
    expect(reader.events.map(({ newValue }) => newValue)).toEqual(
      Array.from({ length: 10 }, (_, at) => at + 1),
    );
    expect(failures).toBe(0);
    await service.close();
    await writer.close();
  });

  test('is ended with the reason when the service is closed, and by its own signal', async () => {
    await inWorld(async ({ service }) => {
      const ended = await Reader.open(service, ALL);
      const left = await Reader.open(service, ALL);
      await left.close();
      expect(left.error).toBeNull();
      expect(service.events.subscribers).toBe(1);
      await service.close();
      await expect(ended.reach(1_000)).rejects.toMatchObject({ code: 'unavailable' });
    });
  });

  test('one of many thousands costs the store nothing', async () => {
    await inWorld(async (world) => {
      const { memory, service } = world;
      const { projection } = service;
      await put(world, 'k-0', 0);
      await projection.catchUp(signal);
      let reads = 0;
      const kv = counting(memory, () => (reads += 1));
      const hub = new EventHub({ kv, projection, instancesOf: () => [] }, { logger: silentLogger });
      await hub.start();
      const first = new Subscription(hub, ALL, { after: 0, taken: 0 })[Symbol.asyncIterator]();
      await first.next();
      reads = 0;
      const taken = new Map<number, number>();
      const many = Array.from({ length: 10_000 }, (_, at) => {
        const filter = { ...ALL, environment: 'production', application: 'pay', keys: [`k-${at % 100}`] };
        return new Subscription(hub, filter, { after: projection.revision, taken: 0 });
      });
      const done = many.map(async (each, at) => {
        for await (const { events } of each) taken.set(at, (taken.get(at) ?? 0) + events.length);
      });
      for (let at = 0; at < 100; at += 1) await put(world, `k-${at}`, at + 1);
      while (taken.size < many.length) await new Promise((resolve) => setImmediate(resolve));
      expect(new Set(taken.values())).toEqual(new Set([1]));
      expect(reads).toBe(0);
      await hub.close();
      const ended = await Promise.allSettled(done);
      expect(ended.every(({ status }) => status === 'rejected')).toBe(true);
    });
  });
});

test('a stream tells what its reader may read, and asks again after some time', async () => {
  let prefix = '/default/production/pay/db.';
  const permitting = (kv: Kv): Kv => ({
    ...withTxn(kv, (perform, request, each) => perform(request, each)),
    permits: ({ key, access }) =>
      Promise.resolve({ user: 'ada', permitted: access === 'write' || key.toString().startsWith(prefix) }),
  });
  await inWorld(
    async (world) => {
      const reader = await Reader.open(world.service, ALL);
      const told = async (): Promise<readonly string[]> => {
        await put(world, 'db.a', world.clock.ms);
        await reader.reach(await put(world, 'log', world.clock.ms));
        return reader.events.splice(0).map(({ name }) => name.key);
      };
      expect(await told()).toEqual(['db.a']);
      prefix = '/';
      world.clock.advance(9_999);
      expect(await told()).toEqual(['db.a']);
      world.clock.advance(1);
      expect(await told()).toEqual(['db.a', 'log']);
      prefix = '/none/';
      world.clock.advance(10_000);
      expect(await told()).toEqual([]);
      await reader.close();
    },
    { wrap: permitting },
  );
});

describe('a poll', () => {
  test('waits for one change, or as long as it may, and says where to go on', async () => {
    await inWorld(async (world) => {
      const { events } = world.service;
      const filter = { ...ALL, keys: ['a'] };
      const first = await put(world, 'a', 1);
      const second = await put(world, 'a', 2);
      const known = await events.poll(ada, { filter, cursor: { after: 0, taken: 0 }, waitMs: 60_000 });
      expect(known).toMatchObject({ events: [{ newValue: 1 }], next: first });
      expect(
        await events.poll(ada, { filter, cursor: { after: first, taken: 0 }, waitMs: 60_000 }),
      ).toMatchObject({
        next: second,
      });
      expect(await events.poll(ada, { filter, cursor: { after: 0, taken: 0 }, waitMs: 0 })).toMatchObject({
        next: first,
      });
      const other = await put(world, 'b', 1);
      const none = await events.poll(ada, { filter, cursor: { after: second, taken: 0 }, waitMs: 20 });
      expect(none.events).toEqual([]);
      expect(none.next).toBeGreaterThanOrEqual(second);
      expect(none.next).toBeLessThanOrEqual(other);
      const waiting = events.poll(ada, { filter, cursor: { after: none.next, taken: 0 }, waitMs: 60_000 });
      const third = await put(world, 'a', 3);
      expect(await waiting).toMatchObject({ events: [{ oldValue: 2, newValue: 3 }], next: third });
      await expect(events.poll(ada, { filter, waitMs: 60_001 })).rejects.toMatchObject({ code: 'invalid' });
    });
  });
});

describe('a replay', () => {
  test('ends when the present went on in one step, and another one goes on', async () => {
    const memory = new MemoryKv();
    const gate = new Gate();
    const writer = await open(memory);
    const reader = await open(gate.before(memory));
    const world = { service: writer };
    const expected: number[] = [];
    for (let json = 1; json <= 150; json += 1) {
      await put(world, 'a', json);
      expected.push(json);
    }
    await reader.projection.catchUp(signal);
    const source = { kv: memory as Kv, projection: reader.projection, instancesOf: () => [] };
    const first = new Replay(source, 0, signal);
    const told: number[] = [];
    const tell = ({ events }: EventBatch): number =>
      told.push(...events.map(({ newValue }) => newValue as number));
    const batches = first.batches();
    for (let taken = 0; taken < 30; taken += 1) tell((await batches.next()).value as EventBatch);
    gate.shut();
    await put(world, 'a', 1_000);
    await put(world, 'b', 1_001);
    const revision = await put(world, 'b', 1_002);
    memory.compact(revision);
    gate.open();
    await reader.projection.reach(revision, signal);
    for await (const batch of batches) tell(batch);
    expect(first.reached).toBeLessThan(revision - 3);
    const second = new Replay(source, first.reached, signal);
    for await (const batch of second.batches()) tell(batch);
    expect(told).toEqual([...expected, 1_000, 1_001, 1_002]);
    expect(second.reached).toBe(revision);
    await writer.close();
    await reader.close();
  });
});

function open(kv: Kv): Promise<Service> {
  return openService({
    kv,
    clock: new TestClock(),
    logger: silentLogger,
    keyring: KEYRING,
    sweeps: false,
    eventLimits: EVENT_LIMITS_DEFAULT,
    signal,
  });
}

/** Counts what is asked of the store, changes left out. */
function counting(kv: Kv, count: () => void): Kv {
  return {
    limits: kv.limits,
    range: (request, each) => {
      if (!request.key.toString().endsWith('/head')) count();
      return kv.range(request, each);
    },
    txn: (request, each) => {
      if (request.success.every(({ type }) => type === 'range')) count();
      return kv.txn(request, each);
    },
    watch: (request, each) => kv.watch(request, each),
    leaseGrant: (request, each) => kv.leaseGrant(request, each),
    leaseKeepAlive: (id, each) => kv.leaseKeepAlive(id, each),
    leaseRevoke: (id, each) => kv.leaseRevoke(id, each),
    authEnabled: (each) => kv.authEnabled(each),
    signIn: (login, each) => kv.signIn(login, each),
    permits: (request, each) => kv.permits(request, each),
    close: () => kv.close(),
  };
}
