import { describe, expect, test } from 'vitest';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { PREFIXES } from '../../src/service/keyspace.ts';
import { failure } from './failure.ts';
import { ambiguous, type Fate, interleaving } from './kv-wrappers.ts';
import { ada, callerOf, inWorld, named, type World } from './world.ts';

const NAME = named('a');
const bob = callerOf('bob');

/** How many change records there are. */
async function recordsOf(memory: MemoryKv): Promise<number> {
  const key = Buffer.from(PREFIXES.change);
  const answer = await memory.range(
    { key, rangeEnd: prefixEnd(key), countOnly: true, consistency: { type: 'linearizable' } },
    { principal: { type: 'service' }, signal: ada.signal },
  );
  return answer.count;
}

describe('races', () => {
  /** A second service on the same store does something just before the first one's transaction. */
  async function raced(
    intrusion: (other: World) => Promise<unknown>,
    run: (world: World) => Promise<void>,
  ): Promise<void> {
    const memory = new MemoryKv();
    const intruders: (() => Promise<unknown>)[] = [];
    await inWorld(
      async (other) => {
        await other.service.configurations.create(ada, { name: NAME, value: { json: { n: 1 } } });
        await inWorld(
          async (world) => {
            intruders.push(() => intrusion(other));
            await run(world);
          },
          { memory, wrap: (kv) => interleaving(kv, intruders) },
        );
      },
      { memory },
    );
  }
  const putN = ({ service }: World, json: object) =>
    service.configurations.update(bob, { ref: NAME, value: { json: json as never } });

  test('who comes second goes on from what the first one left', async () => {
    await raced(
      (other) => putN(other, { n: 2, m: 2 }),
      async ({ service }) => {
        const { items } = await service.configurations.update(ada, { ref: NAME, mergePatch: { n: 3 } });
        expect(items[0]).toMatchObject({
          before: { version: 2, value: { json: { n: 2, m: 2 } } },
          after: { version: 3, value: { json: { n: 3, m: 2 } } },
        });
      },
    );
  });

  test('unless it named the version, or the value, that it meant', async () => {
    await raced(
      (other) => putN(other, { n: 2 }),
      async ({ service }) => {
        const { result } = await service.reads.get(ada, { ref: NAME });
        const request = { ref: NAME, value: { json: 1 }, ifMatch: [result.etag] };
        await expect(service.configurations.update(ada, request)).rejects.toEqual(
          failure('precondition-failed'),
        );
      },
    );
    await raced(
      (other) => putN(other, { n: 2 }),
      async ({ service }) => {
        const request = { ref: NAME, value: { json: 1 }, oldValue: { n: 1 } };
        await expect(service.configurations.update(ada, request)).rejects.toEqual(
          failure('conflict', 'oldValue'),
        );
      },
    );
  });

  test('of two creations one says that it is there already', async () => {
    await raced(
      (other) => other.service.configurations.create(bob, { name: named('b'), value: { json: 1 } }),
      async ({ service }) => {
        const request = { name: named('b'), value: { json: 2 } };
        await expect(service.configurations.create(ada, request)).rejects.toEqual(failure('exists', 'key'));
      },
    );
  });

  test('an update does not bring back what was deleted meanwhile', async () => {
    await raced(
      (other) => other.service.configurations.delete(bob, { ref: NAME }),
      async ({ service }) => {
        await expect(service.configurations.update(ada, { ref: NAME, value: { json: 2 } })).rejects.toEqual(
          failure('not-found'),
        );
      },
    );
  });

  test('a lock of the environment that comes first holds', async () => {
    await raced(
      (other) =>
        other.service.environments.update(bob, {
          tenant: 'default',
          id: 'production',
          rules: { locked: true },
        }),
      async ({ service }) => {
        await expect(service.configurations.update(ada, { ref: NAME, value: { json: 2 } })).rejects.toEqual(
          failure('conflict'),
        );
      },
    );
  });

  test('who never comes first gives up, having changed nothing', async () => {
    const memory = new MemoryKv();
    await inWorld(
      async (other) => {
        await other.service.configurations.create(ada, { name: NAME, value: { json: 0 } });
        let n = 0;
        const endless = Array.from({ length: 100 }, () => async () => {
          n += 1;
          await other.service.configurations.update(bob, { ref: NAME, value: { json: n } });
        });
        await inWorld(
          async ({ service }) => {
            await expect(
              service.configurations.update(ada, { ref: NAME, value: { json: -1 } }),
            ).rejects.toEqual(failure('unavailable'));
            const { result } = await service.reads.get(ada, { ref: NAME });
            expect(result.value.json).toBe(n);
          },
          { memory, wrap: (kv) => interleaving(kv, endless) },
        );
      },
      { memory },
    );
  });

  test('many writers of one key each make a version of their own', async () => {
    await inWorld(async ({ service }) => {
      await service.configurations.create(ada, { name: NAME, value: { json: {} } });
      const writers = Array.from({ length: 12 }, (_, at) =>
        service.configurations.update(ada, { ref: NAME, mergePatch: { [`w${at}`]: at } }),
      );
      const done = await Promise.all(writers);
      expect(done.map(({ items }) => items[0]!.after.version).sort((x, y) => x - y)).toEqual(
        Array.from({ length: 12 }, (_, at) => at + 2),
      );
      const { result } = await service.reads.get(ada, { ref: NAME });
      expect(Object.keys(result.value.json as object)).toHaveLength(12);
    });
  });
});

describe('outcomes that are unknown at first', () => {
  const UPDATE = { ref: NAME, mergePatch: { n: 2 } };

  test.each<readonly [string, Fate[]]>([
    ['it was not done', ['lost']],
    ['it was done', ['done']],
    ['it is done while it is repeated', ['late']],
    ['it was not done, twice', ['lost', 'lost']],
    ['it comes late, twice', ['late', 'late']],
    ['the repetition was done', ['lost', 'done']],
    ['the repetition comes before', ['late', 'done']],
  ])('%s: it is done once', async (_, fates) => {
    const next: Fate[] = [];
    await inWorld(
      async ({ service, memory }) => {
        await service.configurations.create(ada, { name: NAME, value: { json: { n: 1 } } });
        next.push(...fates);
        const done = await service.configurations.update(ada, UPDATE);
        expect(done.items[0]).toMatchObject({
          type: 'updated',
          before: { version: 1 },
          after: { version: 2 },
        });
        const { result } = await service.reads.get(ada, { ref: NAME });
        expect(result).toMatchObject({ version: 2, modRevision: done.revision });
        expect(await recordsOf(memory)).toBe(2);
      },
      { wrap: (kv) => ambiguous(kv, next) },
    );
  });

  test('one that nothing settles is told, and settled by the same request under its idempotency key', async () => {
    const next: Fate[] = [];
    await inWorld(
      async ({ service, memory }) => {
        await service.configurations.create(ada, { name: NAME, value: { json: { n: 1 } } });
        next.push('lost', 'lost', 'lost', 'late');
        const request = { ...UPDATE, idempotencyKey: 'k' };
        await expect(service.configurations.update(ada, request)).rejects.toEqual(failure('ambiguous'));
        next.length = 0;
        expect(await service.configurations.update(ada, request)).toMatchObject({
          isRepeated: true,
          items: [{ after: { version: 2 } }],
        });
        expect(await recordsOf(memory)).toBe(2);
      },
      { wrap: (kv) => ambiguous(kv, next) },
    );
  });

  test('a creation that was done does not say that it is there already', async () => {
    const next: Fate[] = ['done'];
    await inWorld(
      async ({ service }) => {
        const made = await service.configurations.create(ada, { name: NAME, value: { json: 1 } });
        expect(made.items[0]).toMatchObject({ type: 'created', after: { version: 1 } });
      },
      { wrap: (kv) => ambiguous(kv, next) },
    );
  });
});
