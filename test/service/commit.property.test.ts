import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { idOf } from '../../src/service/keyspace.ts';
import type { Json } from '../../src/service/model.ts';
import { ServiceError } from '../../src/service/service-error.ts';
import { checkServiceRows, type ServiceRows, serviceRows } from '../support/service-rows.ts';
import { ambiguous, type Fate } from './kv-wrappers.ts';
import { ada, inWorld, named, type World } from './world.ts';

/**
 * Two servers change the same few keys at once, and any transaction may be refused, or its outcome be unknown: done, lost, or
 * done later. Each change adds a field of its own, so that none can hide another one.
 */

const KEYS = ['a', 'b', 'c'];

/** One request: fields of one name are added to all of its keys, or to none. */
interface Change {
  readonly server: 0 | 1;
  readonly keys: readonly string[];
  /** When its outcome is unknown, the same request is sent to the other server. */
  readonly isRepeated: boolean;
}

/** What is asked for at once, and what becomes of the transactions of each server. */
interface Round {
  readonly changes: readonly Change[];
  readonly fates: readonly [readonly Fate[], readonly Fate[]];
}

const server = fc.constantFrom(0 as const, 1 as const);
const fates = fc.array(fc.constantFrom<Fate[]>('fine', 'lost', 'done', 'late', 'refused'), { maxLength: 5 });
const change: fc.Arbitrary<Change> = fc.record({
  server,
  keys: fc.subarray(KEYS, { minLength: 1 }),
  isRepeated: fc.boolean(),
});
const round: fc.Arbitrary<Round> = fc.record({
  changes: fc.array(change, { minLength: 1, maxLength: 4 }),
  fates: fc.tuple(fates, fates),
});

/** What was answered; `unknown`: whether it was done is not known. */
type Answer = 'done' | 'not-done' | 'unknown';
type Outcome = { readonly name: string; readonly keys: readonly string[]; readonly is: Answer };

test('whatever becomes of its transactions, a change is made once and whole, with its record, and read by all', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 8 }), async (rounds) => {
      const memory = new MemoryKv();
      const coming: [Fate[], Fate[]] = [[], []];
      await inWorld(
        (first) =>
          inWorld(
            async (second) => {
              const outcomes = await carryOut([first, second], { rounds, coming });
              await flush([first, second]);
              const rows = await everything(memory);
              expect(checkServiceRows(rows)).toEqual([]);
              for (const outcome of outcomes) checkOutcome(outcome, rows);
            },
            { memory, wrap: (kv) => ambiguous(kv, coming[1]) },
          ),
        { memory, wrap: (kv) => ambiguous(kv, coming[0]) },
      );
    }),
    { numRuns: 60 },
  );
});

type Worlds = readonly [World, World];

async function carryOut(
  worlds: Worlds,
  { rounds, coming }: { readonly rounds: readonly Round[]; readonly coming: readonly [Fate[], Fate[]] },
): Promise<readonly Outcome[]> {
  await create(worlds[0]);
  const outcomes: Outcome[] = [];
  for (const [at, { changes, fates: next }] of rounds.entries()) {
    coming[0].push(...next[0]);
    coming[1].push(...next[1]);
    const made = await Promise.all(
      changes.map(async (asked, n) => {
        const name = `f${at}x${n}`;
        return { asked, name, answer: await ask(worlds[asked.server], { ...asked, name }) };
      }),
    );
    for (const fatesLeft of coming) fatesLeft.length = 0;
    for (const { asked, name, answer } of made) {
      const isRepeated = answer !== 'done' && asked.isRepeated;
      if (isRepeated) expect(await ask(worlds[asked.server === 0 ? 1 : 0], { ...asked, name })).toBe('done');
      outcomes.push({ name, keys: asked.keys, is: isRepeated ? 'done' : answer });
    }
    for (const world of worlds) await checkRead(world, outcomes);
  }
  return outcomes;
}

/** Every server changes all keys once: what was to come before its next transaction has come. */
async function flush(worlds: Worlds): Promise<void> {
  for (const [at, world] of worlds.entries())
    expect(await ask(world, { keys: KEYS, name: `end${at}` })).toBe('done');
}

async function create({ service }: World): Promise<void> {
  const items = KEYS.map((key) => ({ action: 'create' as const, ref: named(key), value: { json: {} } }));
  await service.configurations.bulk(ada, { tenant: 'default', items });
}

async function ask(
  { service }: World,
  { keys, name }: { readonly keys: readonly string[]; readonly name: string },
): Promise<Answer> {
  const items = keys.map((key) => ({
    action: 'update' as const,
    ref: named(key),
    mergePatch: { [name]: 1 },
  }));
  try {
    await service.configurations.bulk(ada, { tenant: 'default', items, idempotencyKey: name });
    return 'done';
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'ambiguous') return 'unknown';
    if (error instanceof ServiceError && error.code === 'unavailable') return 'not-done';
    throw error;
  }
}

/** What was acknowledged by either server is read at both. */
async function checkRead({ service }: World, outcomes: readonly Outcome[]): Promise<void> {
  const { result } = await service.reads.getMany(ada, {
    scope: { tenant: 'default', environment: 'production', application: 'pay' },
    keys: KEYS,
  });
  const fields = new Map(
    result.items.map(({ key, value }) => [key, value.json as { readonly [name: string]: Json }]),
  );
  for (const { name, keys, is } of outcomes) {
    if (is === 'done') for (const key of keys) expect(fields.get(key)).toHaveProperty(name);
  }
}

function checkOutcome({ name, keys, is }: Outcome, { changes, byKey }: ServiceRows): void {
  const id = idOf(['change', 'ada', 'bulk', name]);
  const records = changes.filter(({ record }) => record.id === id);
  const holding = KEYS.filter((key) => {
    const plain = byKey.get(`/default/production/pay/${key}`)!;
    return Object.hasOwn(JSON.parse(plain.value.toString()) as object, name);
  });
  if (is !== 'unknown') expect(records).toHaveLength(is === 'done' ? 1 : 0);
  expect(holding).toEqual(records.length === 1 ? keys : []);
}

async function everything(memory: MemoryKv): Promise<ServiceRows> {
  const key = Buffer.from('/');
  const { rows } = await memory.range(
    { key, rangeEnd: prefixEnd(key), consistency: { type: 'linearizable' } },
    { principal: { type: 'service' }, signal: ada.signal },
  );
  return serviceRows(rows);
}
