import { describe, expect, test } from 'vitest';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { RETENTION_DEFAULT, type Retention } from '../../src/service/sweepers/retention.ts';
import { underLock } from '../../src/service/sweepers/sweep-lock.ts';
import { failure } from './failure.ts';
import { ambiguous, type Fate, interleaving } from './kv-wrappers.ts';
import { ada, inWorld, named, plainValue, TestClock, type World } from './world.ts';

const NAME = named('a');
const DAY_MS = 86_400_000;
const { signal } = ada;

describe('expiry', () => {
  test('makes tombstones of what has expired, once, with a record', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(
      async ({ service }) => {
        await inWorld(
          async ({ service: other }) => {
            for (let at = 0; at < 45; at += 1) {
              const name = named(`k${at}`);
              await service.configurations.create(ada, { name, value: { json: at }, ttlSeconds: 60 + at });
            }
            expect(await service.sweepers.sweepExpired()).toBe(0);
            await service.projection.catchUp(signal);
            const { revision } = service.projection;
            clock.advance(104_000);
            await other.projection.catchUp(signal);
            const counts = await Promise.all([
              service.sweepers.sweepExpired(),
              other.sweepers.sweepExpired(),
            ]);
            expect(counts[0] + counts[1]).toBe(45);
            expect(await plainValue(memory, '/default/production/pay/k1')).toBeNull();
            await service.projection.catchUp(signal);
            const changes = service.projection.changesAfter(revision);
            expect(changes.map(({ record }) => [record.operation, record.actor.name])).toEqual([
              ['expire', 'conclave'],
              ['expire', 'conclave'],
            ]);
            const { result } = await service.history.versions(ada, { ref: named('k1') });
            expect(result.items.map(({ isDeleted }) => isDeleted)).toEqual([true, false]);
          },
          { memory, clock },
        );
      },
      { memory, clock },
    );
  });

  test('leaves alone what somebody prolonged just before', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    const intruders: (() => Promise<unknown>)[] = [];
    await inWorld(
      async (other) => {
        await other.service.configurations.create(ada, { name: NAME, value: { json: 1 }, ttlSeconds: 60 });
        await inWorld(
          async ({ service }) => {
            clock.advance(60_000);
            // The first transaction takes the lock, the second one would make the tombstone.
            intruders.push(
              async () => undefined,
              () => other.service.configurations.create(ada, { name: NAME, value: { json: 2 } }),
            );
            expect(await service.sweepers.sweepExpired()).toBe(0);
            expect((await service.reads.get(ada, { ref: NAME })).result).toMatchObject({ version: 2 });
          },
          { memory, clock, wrap: (kv) => interleaving(kv, intruders) },
        );
      },
      { memory, clock },
    );
  });
});

/** Longer than a lock lives without its holder. */
const HELD_UP_MS = 31_000;

/**
 * A sweeper is held up just before one of its transactions, so long that it loses its lock and another one does all the
 * work meanwhile.
 *
 * @param before the number of that transaction, the first of which takes the lock
 */
async function overtaken(
  { before, retention }: { readonly before: number; readonly retention?: Retention },
  run: (worlds: {
    readonly slow: World;
    readonly other: World;
    /** From now on transactions count. @returns what the other one did */
    readonly holdUp: (sweep: (world: World) => Promise<number>) => () => number;
  }) => Promise<void>,
): Promise<void> {
  let nowMs = 0;
  const memory = new MemoryKv({ nowMs: () => nowMs });
  const clock = new TestClock();
  const intruders: (() => Promise<unknown>)[] = [];
  const shared = { memory, clock, ...(retention === undefined ? {} : { retention }) };
  await inWorld(
    (other) =>
      inWorld(
        (slow) =>
          run({
            slow,
            other,
            holdUp: (sweep) => {
              let done = 0;
              for (let at = 1; at < before; at += 1) intruders.push(async () => undefined);
              intruders.push(async () => {
                nowMs += HELD_UP_MS;
                await other.service.projection.catchUp(signal);
                done = await sweep(other);
              });
              return () => done;
            },
          }),
        { ...shared, wrap: (kv) => interleaving(kv, intruders) },
      ),
    shared,
  );
}

describe('who loses the lock', () => {
  test('ends nothing more, and what has expired is ended once', async () => {
    await overtaken({ before: 3 }, async ({ slow, other, holdUp }) => {
      for (let at = 0; at < 45; at += 1) {
        const name = named(`k${at}`);
        await slow.service.configurations.create(ada, { name, value: { json: at }, ttlSeconds: 60 });
      }
      slow.clock.advance(60_000);
      const { revision } = slow.service.projection;
      const byOther = holdUp(({ service }) => service.sweepers.sweepExpired());
      expect(await slow.service.sweepers.sweepExpired()).toBe(40);
      expect(byOther()).toBe(5);
      await other.service.projection.catchUp(signal);
      const items = other.service.projection.changesAfter(revision).flatMap(({ record }) => record.items);
      expect(new Set(items.map((item) => item.type))).toEqual(new Set(['deleted']));
      expect(new Set(items.map((item) => ('key' in item ? item.key : null))).size).toBe(45);
      expect(items).toHaveLength(45);
    });
  });

  test('deletes no more versions, and the next one goes on', async () => {
    const retention = { keepMs: null, countMax: 1, bytesMax: null };
    await overtaken({ before: 3, retention }, async ({ slow, holdUp }) => {
      for (let at = 1; at <= 250; at += 1) {
        await slow.service.configurations.put(ada, { name: NAME, value: { json: at } });
      }
      const byOther = holdUp(({ service }) => service.sweepers.sweepVersions());
      expect(await slow.service.sweepers.sweepVersions()).toBe(0);
      // The hundred that went before the lock did were not counted.
      expect(byOther()).toBe(149);
      const { result } = await slow.service.history.versions(ada, { ref: NAME, size: 1_000 });
      expect(result.items.map(({ version }) => version)).toEqual([250]);
      expect(await slow.service.sweepers.sweepVersions()).toBe(0);
    });
  });
});

describe('retention', () => {
  async function versions({ service, clock }: World, count: number): Promise<void> {
    for (let at = 1; at <= count; at += 1) {
      await service.configurations.put(ada, { name: NAME, value: { json: at } });
      clock.advance(DAY_MS);
    }
  }
  const kept = async ({ service }: World): Promise<readonly number[]> =>
    (await service.history.versions(ada, { ref: NAME, size: 1_000 })).result.items.map(
      ({ version }) => version,
    );
  const keeping = (retention: Partial<Retention>): Retention => ({
    keepMs: null,
    countMax: null,
    bytesMax: null,
    ...retention,
  });

  test('keeps versions for a year after they were replaced, the present one always, and says what is gone', async () => {
    await inWorld(
      async (world) => {
        const { service, clock } = world;
        await versions(world, 4);
        await service.configurations.create(ada, { name: named('b'), value: { json: 1 } });
        clock.advance(364 * DAY_MS);
        expect(await service.sweepers.sweepVersions()).toBe(2);
        expect(await kept(world)).toEqual([4, 3]);
        clock.advance(1_000 * DAY_MS);
        expect(await service.sweepers.sweepVersions()).toBe(1);
        expect(await kept(world)).toEqual([4]);
        expect(await service.sweepers.sweepVersions()).toBe(0);
        await expect(service.history.version(ada, { ref: NAME, version: 3 })).rejects.toEqual(
          failure('not-found', 'version'),
        );
        const at = { time: '2026-03-02T12:00:00Z' };
        await expect(service.history.asOf(ada, { ref: NAME, at })).rejects.toEqual(failure('gone'));
        const next = await service.configurations.put(ada, { name: NAME, value: { json: 5 } });
        expect(next.items[0]!.after.version).toBe(5);
      },
      { retention: RETENTION_DEFAULT },
    );
  });

  test('by number, by bytes, or not at all', async () => {
    await inWorld(
      async (world) => {
        await versions(world, 130);
        expect(await world.service.sweepers.sweepVersions()).toBe(127);
        expect(await kept(world)).toEqual([130, 129, 128]);
      },
      { retention: keeping({ countMax: 3 }) },
    );
    await inWorld(
      async (world) => {
        await versions(world, 5);
        expect(await world.service.sweepers.sweepVersions()).toBe(4);
        expect(await kept(world)).toEqual([5]);
      },
      { retention: keeping({ bytesMax: 1 }) },
    );
    await inWorld(
      async (world) => {
        await versions(world, 5);
        world.clock.advance(10_000 * DAY_MS);
        expect(await world.service.sweepers.sweepVersions()).toBe(0);
      },
      { retention: keeping({}) },
    );
  });
});

test('a lock is held by one, and passes on when it is given back or its holder is gone', async () => {
  let nowMs = 0;
  const kv = new MemoryKv({ nowMs: () => nowMs });
  const lock = { name: 'x', signal };
  const inner = await underLock(kv, lock, () => underLock(kv, lock, () => Promise.resolve('both')));
  expect(inner).toBeNull();
  expect(await underLock(kv, lock, () => Promise.resolve('again'))).toBe('again');
  const taken = await underLock(kv, lock, async (held) => {
    nowMs += 31_000;
    const other = await underLock(kv, lock, () => Promise.resolve('other'));
    return { other, isHeld: await held.renew() };
  });
  expect(taken).toEqual({ other: 'other', isHeld: false });
});

test.each<Fate>(['done', 'lost'])(
  'a lock of which it is not known whether it was taken (%s) is given back',
  async (fate) => {
    const fates: Fate[] = [fate];
    const kv = ambiguous(new MemoryKv(), fates);
    const lock = { name: 'x', signal };
    await expect(underLock(kv, lock, () => Promise.resolve('one'))).rejects.toMatchObject({
      code: 'ambiguous',
    });
    expect(await underLock(kv, lock, () => Promise.resolve('next'))).toBe('next');
  },
);
