import { describe, expect, test } from 'vitest';
import type { Kv, KvCall, KvEvent } from '../../../src/kv/kv.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { prefixEnd } from '../../../src/lib/range-end.ts';
import type { InstanceInfo } from '../../../src/service/delivery/instance.ts';
import { INSTANCES_MAX } from '../../../src/service/delivery/instances.ts';
import { SHARDS } from '../../../src/service/delivery/shards.ts';
import { AFFECTED_INSTANCES_MAX } from '../../../src/service/events/event.ts';
import { PREFIXES } from '../../../src/service/keyspace.ts';
import { openService, type Service } from '../../../src/service/service.ts';
import { Reader } from '../events/reader.ts';
import { ada, inWorld, KEYRING, named, TestClock } from '../world.ts';

const { signal } = new AbortController();
const call: KvCall = { principal: { type: 'service' }, signal };
const SCOPE = { tenant: 'default', environment: 'production', application: 'pay' };
const ROWS = { key: Buffer.from(PREFIXES.instance), rangeEnd: prefixEnd(Buffer.from(PREFIXES.instance)) };

function pod(id: string, rest: Partial<InstanceInfo> = {}): InstanceInfo {
  return { ...SCOPE, id, version: '1.4.2', region: 'eu', ...rest };
}

/** As long as nobody ends it. */
function watched(): { readonly signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

async function rowCount(memory: MemoryKv): Promise<number> {
  return (await memory.range({ ...ROWS, consistency: { type: 'linearizable' } }, call)).count;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('delivery', () => {
  test('says for a change who has it, who lags and who rejected it, and why', async () => {
    await inWorld(async ({ service }) => {
      const name = named('a');
      await service.configurations.put(ada, { name, value: { json: 1 } });
      const [has, lags, rejects, ahead] = await Promise.all(
        ['has', 'lags', 'rejects', 'ahead'].map((id) => service.delivery.register(ada, pod(id), watched())),
      );
      const { revision } = await service.configurations.put(ada, { name, value: { json: 2 } });
      has!.applied(revision);
      lags!.applied(revision - 1);
      rejects!.applied(revision - 1);
      rejects!.rejected(revision, 'not a prime');
      ahead!.rejected(revision, 'not yet');
      ahead!.applied(revision + 5);
      const expected = {
        revision,
        operation: 'update',
        counts: { applied: 2, lagging: 1, rejected: 1 },
        instances: [
          {
            id: 'rejects',
            state: 'rejected',
            reason: 'not a prime',
            applied: revision - 1,
            version: '1.4.2',
          },
          { id: 'lags', state: 'lagging', reason: null, region: 'eu' },
          { id: 'ahead', state: 'applied', applied: revision + 5 },
          { id: 'has', state: 'applied' },
        ],
      };
      expect(await service.delivery.report(ada, { tenant: 'default', revision })).toMatchObject(expected);
      expect(await service.delivery.report(ada, { configuration: name })).toMatchObject(expected);
      // It thought better of it.
      rejects!.applied(revision);
      expect((await service.delivery.report(ada, { configuration: name })).counts.rejected).toBe(0);
    });
  });

  test('counts those that inherit the value, and no others', async () => {
    await inWorld(async ({ service }) => {
      const { environments, delivery, configurations, applications } = service;
      await environments.update(ada, { tenant: 'default', id: 'staging', parent: 'production' });
      await environments.update(ada, { tenant: 'default', id: 'test', parent: 'staging' });
      await configurations.put(ada, { name: named('own', { environment: 'staging' }), value: { json: 1 } });
      for (const environment of ['production', 'staging', 'test', 'development']) {
        await delivery.register(ada, pod(`in-${environment}`, { environment }), watched());
      }
      await delivery.register(ada, pod('other', { application: 'ship' }), watched());
      const reached = async (key: string): Promise<readonly string[]> => {
        await configurations.put(ada, { name: named(key), value: { json: 2 } });
        const { instances } = await delivery.report(ada, { configuration: named(key) });
        return instances.map(({ id }) => id);
      };
      expect(await reached('own')).toEqual(['in-production']);
      expect((await reached('shared')).toSorted()).toEqual(['in-production', 'in-staging', 'in-test']);
      const defaults = await applications.update(ada, { tenant: 'default', name: 'pay', defaults: { x: 1 } });
      const ofDefaults = await delivery.report(ada, { tenant: 'default', revision: defaults.revision });
      expect(ofDefaults.counts.lagging).toBe(4);
      const parent = await environments.update(ada, { tenant: 'default', id: 'staging', parent: null });
      const ofParent = await delivery.report(ada, { tenant: 'default', revision: parent.revision });
      expect(ofParent.instances.map(({ id }) => id).toSorted()).toEqual(['in-staging', 'in-test']);
    });
  });

  test('of nothing, or of another tenant, is not found; a wrong instance is refused by field', async () => {
    await inWorld(async ({ service }) => {
      const { delivery, configurations } = service;
      const { revision } = await configurations.put(ada, { name: named('a'), value: { json: 1 } });
      const notFound = { code: 'not-found' };
      await expect(delivery.report(ada, { tenant: 'default', revision: revision + 1 })).rejects.toMatchObject(
        notFound,
      );
      await expect(delivery.report(ada, { tenant: 'other', revision })).rejects.toMatchObject(notFound);
      await expect(delivery.report(ada, { configuration: named('b') })).rejects.toMatchObject(notFound);
      await expect(delivery.report(ada, { tenant: 'default', revision: 0 })).rejects.toMatchObject({
        code: 'invalid',
      });
      await expect(
        delivery.register(ada, pod('', { environment: 'PROD', version: 'v'.repeat(101) }), watched()),
      ).rejects.toMatchObject({
        code: 'invalid',
        problems: [{ field: 'environment' }, { field: 'id' }, { field: 'version' }],
      });
      await expect(delivery.register(ada, pod('a'), { ttlMs: 1 })).rejects.toMatchObject({ code: 'invalid' });
    });
  });

  test('events name the instances that a change affects', async () => {
    await inWorld(async ({ service }) => {
      await service.delivery.register(ada, pod('pod-2'), watched());
      await service.delivery.register(ada, pod('pod-1'), watched());
      await service.delivery.register(ada, pod('pod-3', { environment: 'test' }), watched());
      await service.delivery.register(ada, pod('x'), { ttlMs: 1_000 }).then((each) => each.close());
      const reader = await Reader.open(service, { tenant: 'default' });
      const { revision } = await service.configurations.put(ada, { name: named('a'), value: { json: 1 } });
      await reader.reach(revision);
      expect(reader.events.map(({ affectedInstances }) => affectedInstances)).toEqual([['pod-1', 'pod-2']]);
      for (let at = 0; at < AFFECTED_INSTANCES_MAX; at += 1) {
        service.instances.register(pod(`pod-${at}`), watched());
      }
      await reader.reach(
        (await service.configurations.put(ada, { name: named('a'), value: { json: 2 } })).revision,
      );
      const ids = service.instances.idsOf(SCOPE);
      expect(ids).toEqual([...ids].sort());
      expect(reader.events.at(-1)!.affectedInstances).toEqual(ids.slice(0, AFFECTED_INSTANCES_MAX));
      await reader.close();
    });
  });
});

describe('an instance', () => {
  test('goes with its watch, or when its time is over; one that registers again stays', async () => {
    await inWorld(async ({ service, clock }) => {
      const { delivery, instances } = service;
      const watch = new AbortController();
      await delivery.register(ada, pod('watching'), { signal: watch.signal });
      const polling = await delivery.register(ada, pod('polling'), { ttlMs: 10_000 });
      clock.advance(9_999);
      await instances.write();
      expect(instances.idsOf(SCOPE)).toEqual(['polling', 'watching']);
      polling.renew();
      clock.advance(9_999);
      await instances.write();
      expect(instances.idsOf(SCOPE)).toEqual(['polling', 'watching']);
      clock.advance(1);
      await instances.write();
      expect(instances.idsOf(SCOPE)).toEqual(['watching']);
      polling.applied(5);
      expect(instances.idsOf(SCOPE)).toEqual(['watching']);

      await delivery.register(ada, pod('watching', { version: '2' }), watched());
      watch.abort();
      expect(instances.of(SCOPE)).toMatchObject([{ id: 'watching', version: '2' }]);
    });
  });

  test('is known to all servers, wherever it is connected, and leaves nothing behind', async () => {
    const memory = new MemoryKv();
    const [first, second] = [await open(memory), await open(memory)];
    const here = await first.delivery.register(ada, pod('here'), watched());
    await second.delivery.register(ada, pod('there'), watched());
    here.applied(7);
    await first.instances.write();
    await second.instances.write();
    await until(() => [first, second].every(({ instances }) => instances.idsOf(SCOPE).length === 2));
    expect(second.instances.of(SCOPE)).toMatchObject([
      { id: 'here', applied: 7, region: 'eu' },
      { id: 'there' },
    ]);
    // It moves: the server where it registered last knows better.
    const moved = await second.delivery.register(ada, pod('here'), watched());
    moved.applied(9);
    await second.instances.write();
    await until(() => first.instances.of(SCOPE)[0]!.applied === 9);
    here.close();
    await first.instances.write();
    expect(second.instances.idsOf(SCOPE)).toEqual(['here', 'there']);
    await second.close();
    await until(() => first.instances.idsOf(SCOPE).length === 0);
    await first.close();
    expect(await rowCount(memory)).toBe(0);
  });

  test('is seen by a server that comes later, and by one that history was compacted for', async () => {
    const memory = new MemoryKv();
    const first = await open(memory);
    await first.delivery.register(ada, pod('a'), watched());
    await first.instances.write();
    const { revision } = await memory.range(
      { key: Buffer.from('x'), consistency: { type: 'linearizable' } },
      call,
    );
    memory.compact(revision);
    const second = await open(memory);
    await until(() => second.instances.idsOf(SCOPE).length === 1);
    await first.close();
    await until(() => second.instances.idsOf(SCOPE).length === 0);
    await second.close();
  });

  test('is written in a shard with few others, once for all that was said, and not when nothing was', async () => {
    await inWorld(async ({ service, memory }) => {
      const { delivery, instances } = service;
      expect(await rowCount(memory)).toBe(0);
      const events: KvEvent[] = [];
      const stop = new AbortController();
      const watching = (async () => {
        for await (const batch of memory.watch(
          { ...ROWS, startRevision: 1 },
          { ...call, signal: stop.signal },
        )) {
          events.push(...batch.events);
        }
      })();
      const pods = await Promise.all(
        Array.from({ length: 500 }, (_, at) => delivery.register(ada, pod(`pod-${at}`), watched())),
      );
      await instances.write();
      expect(await rowCount(memory)).toBe(SHARDS);
      await until(() => events.length === SHARDS);
      for (let revision = 1; revision < 50; revision += 1) pods[0]!.applied(revision);
      await instances.write();
      await instances.write();
      await until(() => events.length === SHARDS + 1);
      expect(new Set(events.map(({ row }) => row.modRevision)).size).toBe(2);
      for (const each of pods) each.close();
      await instances.write();
      expect(await rowCount(memory)).toBe(0);
      stop.abort();
      await watching;
    });
  });

  test('comes back when the lease of its server was lost', async () => {
    let nowMs = 0;
    const memory = new MemoryKv({ nowMs: () => nowMs });
    const first = await open(memory);
    const registration = await first.delivery.register(ada, pod('a'), watched());
    await first.instances.write();
    expect(await rowCount(memory)).toBe(1);
    nowMs = 60_000;
    memory.expireLeases();
    expect(await rowCount(memory)).toBe(0);
    registration.applied(3);
    await expect(first.instances.write()).rejects.toMatchObject({ code: 'lease-not-found' });
    await first.instances.write();
    expect(await rowCount(memory)).toBe(1);
    await first.close();
  });

  test('is one of so many on a server', async () => {
    await inWorld(async ({ service: { instances } }) => {
      for (let at = 0; at < INSTANCES_MAX; at += 1) instances.register(pod(`pod-${at}`), watched());
      expect(() => instances.register(pod('one more'), watched())).toThrow('keeps 20000 instances');
      instances.register(pod('pod-0'), watched());
    });
  });
});

function open(kv: Kv): Promise<Service> {
  return openService({
    kv,
    clock: new TestClock(),
    logger: silentLogger,
    keyring: KEYRING,
    sweeps: false,
    signal,
  });
}
