import { describe, expect, test } from 'vitest';
import type { Kv, KvWatchRequest } from '../../src/kv/kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { configurationKey } from '../../src/service/keyspace.ts';
import { Projection } from '../../src/service/projection.ts';
import type { Change } from '../../src/service/recent-changes.ts';
import { RECENT_CHANGES_MAX, RecentChanges } from '../../src/service/recent-changes.ts';
import { failure } from './failure.ts';
import { withTxn } from './kv-wrappers.ts';
import { ada, inWorld, named, type World } from './world.ts';

async function put({ service }: World, key: string, json: number): Promise<number> {
  return (await service.configurations.put(ada, { name: named(key), value: { json } })).revision;
}

/** A store whose watches can be held back: nothing is told until they are let go. */
class HeldBack {
  #gate: Promise<void> = Promise.resolve();
  #open = (): void => undefined;
  restarts = 0;

  hold(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  letGo(): void {
    this.#open();
  }

  readonly wrap = (kv: Kv): Kv => {
    const gate = (): Promise<void> => this.#gate;
    const count = (): void => {
      this.restarts += 1;
    };
    return {
      ...withTxn(kv, (perform, request, call) => perform(request, call)),
      async *watch(request: KvWatchRequest, call) {
        count();
        for await (const batch of kv.watch(request, call)) {
          await gate();
          // What was compacted while it was held back is asked for anew.
          yield* [batch];
        }
      },
    };
  };
}

describe('reads', () => {
  test('strong ones wait for what was acknowledged; eventual ones answer at once', async () => {
    const held = new HeldBack();
    await inWorld(
      async (world) => {
        const { service } = world;
        await put(world, 'a', 1);
        await service.projection.catchUp(ada.signal);
        held.hold();
        const revision = await put(world, 'a', 2);
        const eventual = await service.reads.get(ada, { ref: named('a'), consistency: { type: 'eventual' } });
        expect(eventual.result.value.json).toBe(1);
        expect(eventual.revision).toBeLessThan(revision);
        const strong = service.reads.get(ada, { ref: named('a') });
        const bounded = service.reads.get(ada, {
          ref: named('a'),
          consistency: { type: 'bounded', maxStalenessMs: 10 },
        });
        let isAnswered = false;
        void strong.then(() => {
          isAnswered = true;
        });
        await new Promise((resolve) => setImmediate(resolve));
        expect(isAnswered).toBe(false);
        held.letGo();
        expect(await strong).toMatchObject({ revision, result: { value: { json: 2 } } });
        expect((await bounded).result.value.json).toBe(2);
      },
      { wrap: held.wrap },
    );
  });

  test('who gives up waiting is told so, and others go on', async () => {
    const held = new HeldBack();
    await inWorld(
      async (world) => {
        const { service } = world;
        await put(world, 'a', 1);
        await service.projection.catchUp(ada.signal);
        held.hold();
        await put(world, 'a', 2);
        const leaving = new AbortController();
        const left = service.reads.get({ ...ada, signal: leaving.signal }, { ref: named('a') });
        const stays = service.reads.get(ada, { ref: named('a') });
        await new Promise((resolve) => setImmediate(resolve));
        leaving.abort();
        await expect(left).rejects.toEqual(failure('canceled'));
        held.letGo();
        expect((await stays).result.value.json).toBe(2);
      },
      { wrap: held.wrap },
    );
  });
});

test('a change is never refused for what is stale, nor said to change nothing', async () => {
  const held = new HeldBack();
  const memory = new MemoryKv();
  await inWorld(
    async (other) => {
      await put(other, 'a', 1);
      await inWorld(
        async ({ service }) => {
          held.hold();
          await put(other, 'new', 1);
          await put(other, 'a', 2);
          const updated = service.configurations.update(ada, { ref: named('new'), value: { json: 2 } });
          const same = service.configurations.update(ada, { ref: named('a'), value: { json: 1 } });
          await new Promise((resolve) => setImmediate(resolve));
          held.letGo();
          expect((await updated).items[0]).toMatchObject({ type: 'updated', after: { version: 2 } });
          expect((await same).items[0]).toMatchObject({ type: 'updated', after: { version: 3 } });
        },
        { memory, wrap: held.wrap },
      );
    },
    { memory },
  );
});

test('what was compacted before it was read is read anew, in one step, and told as a jump', async () => {
  const held = new HeldBack();
  const memory = new MemoryKv();
  await inWorld(
    async (other) => {
      await inWorld(
        async (world) => {
          const { projection } = world.service;
          const jumps: object[] = [];
          const changes: number[] = [];
          projection.subscribe({
            changed: ({ revision }) => changes.push(revision),
            jumped: (gap) => jumps.push(gap),
          });
          await put(other, 'a', 1);
          await projection.catchUp(ada.signal);
          const from = projection.revision;
          expect(changes).toEqual([from]);
          held.hold();
          // The first of these is on its way already; the rest is gone before it is asked for.
          await put(other, 'a', 2);
          await new Promise((resolve) => setImmediate(resolve));
          await put(other, 'b', 1);
          await other.service.configurations.delete(ada, { ref: named('a') });
          const last = await put(other, 'c', 1);
          memory.compact(last);
          held.letGo();
          await projection.catchUp(ada.signal);
          expect(jumps).toEqual([{ from: from + 1, revision: last }]);
          expect(changes).toEqual([from, from + 1]);
          const list = await world.service.reads.list(ada, { tenant: 'default' });
          expect(list.result.items.map(({ key }) => key)).toEqual(['b', 'c']);
          expect(() => projection.changesAfter(last - 1)).toThrow(failure('gone'));
          expect(projection.changesAfter(last)).toEqual([]);
          await put(other, 'd', 1);
          await projection.catchUp(ada.signal);
          expect(projection.changesAfter(last)).toHaveLength(1);
          // Versions go on where they were.
          const again = await world.service.configurations.create(ada, {
            name: named('a'),
            value: { json: 5 },
          });
          expect(again.items[0]!.after.version).toBe(4);
        },
        { memory, wrap: held.wrap },
      );
    },
    { memory },
  );
});

test('a restart shows what was there before', async () => {
  await inWorld(async (world) => {
    const { service, memory } = world;
    await put(world, 'a', 1);
    await service.environments.create(ada, { tenant: 'default', id: 'qa', parent: 'test' });
    await service.applications.update(ada, { tenant: 'default', name: 'pay', defaults: { x: 1 } });
    await service.configurations.delete(ada, { ref: named('a'), changeSet: 'r1' });
    await inWorld(
      async ({ service: again }) => {
        expect((await again.environments.get(ada, { tenant: 'default', id: 'qa' })).result.parent).toBe(
          'test',
        );
        expect(
          (await again.applications.get(ada, { tenant: 'default', name: 'pay' })).result.defaults,
        ).toEqual({
          x: 1,
        });
        expect(
          (await again.changeSets.get(ada, { tenant: 'default', name: 'r1' })).result.items,
        ).toHaveLength(1);
        const { items } = await again.configurations.undelete(ada, { ref: named('a') });
        expect(items[0]!.after).toMatchObject({ version: 3, value: { json: 1 } });
      },
      { memory },
    );
  });
});

test('a row that cannot be read is left out and counted, and the rest is shown', async () => {
  await inWorld(async (world) => {
    const { service, memory } = world;
    await put(world, 'a', 1);
    await put(world, 'b', 1);
    const { id } = (await service.reads.get(ada, { ref: named('b') })).result;
    await memory.txn(
      {
        compare: [],
        success: [{ type: 'put', key: configurationKey(id), value: Buffer.from('{"format":2}') }],
        failure: [],
      },
      { principal: { type: 'service' }, signal: ada.signal },
    );
    await put(world, 'c', 1);
    await service.projection.catchUp(ada.signal);
    expect(service.status()).toMatchObject({ unreadableRows: 1, isLive: true });
    await inWorld(
      async ({ service: again }) => {
        const list = await again.reads.list(ada, { tenant: 'default' });
        expect(list.result.items.map(({ key }) => key)).toEqual(['a', 'c']);
        expect(again.status().unreadableRows).toBe(1);
      },
      { memory },
    );
  });
});

test('a closed projection answers nobody any more', async () => {
  const memory = new MemoryKv();
  const projection = await Projection.open(memory, { logger: silentLogger, signal: ada.signal });
  const waiting = projection.reach(100, ada.signal);
  await projection.close();
  await expect(waiting).rejects.toEqual(failure('unavailable'));
  await expect(projection.reach(100, ada.signal)).rejects.toEqual(failure('unavailable'));
});

test('recent changes are bounded, and what was forgotten is said to be gone', () => {
  const recent = new RecentChanges();
  recent.reset(10);
  const change = (revision: number) => ({ revision, configurations: [] }) as unknown as Change;
  for (let at = 1; at <= RECENT_CHANGES_MAX + 5; at += 1) recent.add(change(10 + at));
  expect(() => recent.after(14)).toThrow(failure('gone'));
  expect(recent.after(15)).toHaveLength(RECENT_CHANGES_MAX);
  expect(recent.after(10 + RECENT_CHANGES_MAX)).toHaveLength(5);
});
