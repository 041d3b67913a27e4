import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CacheUpdate, KvCache } from '../../src/client/cache.ts';
import type { CacheSource } from '../../src/client/cache-feed.ts';
import type { CacheOptions } from '../../src/client/cache-options.ts';
import { ClientError } from '../../src/client/client-error.ts';
import type { WatchStreamHandle, WatchStreamItem } from '../../src/client/watch-stream.ts';
import { CacheWorld, type WorldOptions, type Write } from './cache-world.ts';

/** The lease's bound, in true time. */
const MAX_AGE_MS = 300;

type Step =
  | { readonly type: 'write'; readonly write: Write; readonly ackAfterMs: number }
  | { readonly type: 'replicate'; readonly member: number; readonly count: number }
  | { readonly type: 'cut'; readonly member: number; readonly isCutOff: boolean }
  | { readonly type: 'compact'; readonly back: number }
  | { readonly type: 'lose' }
  | { readonly type: 'history gone'; readonly writes: readonly Write[] }
  | { readonly type: 'slow'; readonly latencyMs: number }
  | { readonly type: 'cautious'; readonly caution: number }
  | { readonly type: 'linearize' }
  | { readonly type: 'stall'; readonly durationMs: number }
  | { readonly type: 'pass'; readonly durationMs: number };

const keys = fc.constantFrom('a', 'a/1', 'a/2', 'b', 'c', 'd', 'e');
const write: fc.Arbitrary<Write> = fc.dictionary(keys, fc.option(fc.string({ maxLength: 3 })), {
  minKeys: 1,
  maxKeys: 4,
  noNullPrototype: true,
});
const member = fc.nat({ max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('write' as const), write, ackAfterMs: fc.nat({ max: 30 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('replicate' as const),
      member,
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cut' as const), member, isCutOff: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('compact' as const), back: fc.nat({ max: 2 }) }) },
  { weight: 2, arbitrary: fc.constant({ type: 'lose' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('history gone' as const),
      writes: fc.array(write, { minLength: 2, maxLength: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('slow' as const), latencyMs: fc.nat({ max: 200 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('cautious' as const), caution: fc.nat({ max: 400 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ type: 'linearize' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('stall' as const), durationMs: fc.nat({ max: 800 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant('pass' as const), durationMs: fc.nat({ max: 200 }) }),
  },
);
const load = fc.constantFrom('linearizable' as const, 'serializable' as const);
const options: fc.Arbitrary<WorldOptions> = fc.record({
  clockRate: fc.constantFrom(0.9991, 1, 1.0009),
  isPlain: fc.oneof(
    { weight: 5, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
  members: fc.integer({ min: 1, max: 3 }),
});

test('no read is torn, none goes back, no age is understated, and a linearizable point is one', async () => {
  await fc.assert(
    fc.asyncProperty(
      options,
      load,
      fc.array(step, { minLength: 5, maxLength: 60 }),
      async (chosen, loaded, steps) => {
        const world = new CacheWorld(chosen);
        world.write({ a: 'first', c: 'first' }, 0);
        world.replicate(0, 1);
        const witness = await Witness.of(world, loaded);
        for (const taken of steps) await witness.take(taken);
        await witness.recovers();
      },
    ),
    { numRuns: 150 },
  );
});

test('history that stays gone though the range is read anew is asked for less and less often', async () => {
  const world = new CacheWorld({ clockRate: 1, isPlain: false, members: 1 });
  let watches = 0;
  const source: CacheSource = {
    range: (wanted) => world.range(wanted),
    watchStream: () => {
      watches += 1;
      return new GoneWatch(world.committed + 1);
    },
  };
  const opening = KvCache.open(
    { source, timeoutMs: 1_000, clock: world },
    { prefix: '', maxAgeMs: MAX_AGE_MS, whenLapsed: 'serve-stale' },
  );
  await world.run(20_000, () => {});
  using cache = await opening;
  expect(watches).toBeLessThan(20);
  expect(cache.metrics().reloads).toBeGreaterThan(5);
});

test('a key that is read while the lease lapses and the watch is lost is refused until it is fresh again', async () => {
  const world = new CacheWorld({ clockRate: 1, isPlain: false, members: 2 });
  world.write({ a: 'before' }, 0);
  world.heal();
  const opening = KvCache.open(
    { source: world, timeoutMs: 1_000, clock: world },
    { prefix: '', maxAgeMs: MAX_AGE_MS, whenLapsed: 'fail' },
  );
  await world.run(100, () => {});
  using cache = await opening;
  const states: string[] = [];
  cache.onState((state) => states.push(state));
  const seen: string[] = [];
  const read = (): void => {
    let answer: string;
    try {
      answer = cache.get('a')!.text;
      // Whatever is served may miss only what was acknowledged within the bound.
      expect(world.ageOf(cache.revision)).toBeLessThanOrEqual(MAX_AGE_MS);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      answer = error.code;
    }
    if (seen.at(-1) !== answer) seen.push(answer);
  };
  await world.run(100, read);
  world.cut(0, true);
  world.cut(1, true);
  world.loseStreams();
  world.write({ a: 'meanwhile' }, 0);
  await world.run(2_000, read);
  expect(seen).toEqual(['before', 'unavailable']);
  const waiting = cache.getFresh('a', { timeoutMs: 10_000 });
  world.heal();
  await world.run(2_000, read);
  expect((await waiting)!.text).toBe('meanwhile');
  expect(seen).toEqual(['before', 'unavailable', 'meanwhile']);
  expect(states).toEqual(['lapsed', 'fresh']);
});

test('nothing is told after the end, though it had come in before', async () => {
  const world = new CacheWorld({ clockRate: 1, isPlain: false, members: 1 });
  const header = { clusterId: world.header(0).clusterId, memberId: 1n, revision: 9, raftTerm: 1 };
  const kv = {
    key: Buffer.from('a'),
    value: Buffer.from('x'),
    createRevision: 9,
    modRevision: 9,
    version: 1,
    lease: 0n,
  };
  const watch = new DeafWatch([{ type: 'events', header, events: [{ type: 'put', kv, prevKv: null }] }]);
  const source: CacheSource = { range: (wanted) => world.range(wanted), watchStream: () => watch };
  const opening = KvCache.open(
    { source, timeoutMs: 1_000, clock: world },
    { prefix: '', maxAgeMs: MAX_AGE_MS, whenLapsed: 'serve-stale' },
  );
  await world.run(2_000, () => {});
  const cache = await opening;
  const told: unknown[] = [];
  cache.onChange((update) => told.push(update));
  cache.close();
  await watch.speak();
  expect(told).toEqual([]);
});

/** A watch that says what it has to say when it is told to, closed or not. */
class DeafWatch implements WatchStreamHandle {
  readonly #items: readonly WatchStreamItem[];
  #speak = (): void => {};
  readonly #isToSpeak = new Promise<void>((resolve) => {
    this.#speak = resolve;
  });

  constructor(items: readonly WatchStreamItem[]) {
    this.#items = items;
  }

  /** Resolves when everything has been heard that will be. */
  async speak(): Promise<void> {
    this.#speak();
    await new Promise((resolve) => setImmediate(resolve));
  }

  requestProgress(): boolean {
    return false;
  }

  move(): void {}

  close(): void {}

  [Symbol.dispose](): void {}

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchStreamItem, void, undefined> {
    await this.#isToSpeak;
    for (const item of this.#items) yield item;
  }
}

/** A watch that no member takes. */
class GoneWatch implements WatchStreamHandle {
  readonly #compactRevision: number;

  constructor(compactRevision: number) {
    this.#compactRevision = compactRevision;
  }

  requestProgress(): boolean {
    return false;
  }

  move(): void {}

  close(): void {}

  [Symbol.dispose](): void {}

  [Symbol.asyncIterator](): AsyncIterator<WatchStreamItem, void, undefined> {
    const failure = new ClientError('out-of-range', 'compacted', { compactRevision: this.#compactRevision });
    return { next: () => Promise.reject(failure) };
  }
}

/** Looks at a cache after whatever happens, and compares what it claims with what the world knows. */
class Witness {
  readonly #world: CacheWorld;
  readonly #cache: KvCache;
  /** What somebody has who follows the updates. */
  readonly #followed = new Map<string, string>();
  readonly #points: Promise<void>[] = [];
  #broken: unknown = null;
  #lastRevision = 0;

  private constructor(world: CacheWorld, cache: KvCache) {
    this.#world = world;
    this.#cache = cache;
    for (const { key, text } of cache.entries()) this.#followed.set(key, text);
    cache.onChange((update) => this.#follow(update));
  }

  static async of(world: CacheWorld, loaded: CacheOptions['load'] & string): Promise<Witness> {
    const opening = KvCache.open(
      { source: world, timeoutMs: 1_000, clock: world },
      { prefix: '', maxAgeMs: MAX_AGE_MS, whenLapsed: 'serve-stale', load: loaded },
    );
    await world.run(2_000, () => {});
    return new Witness(world, await opening);
  }

  async take(step: Step): Promise<void> {
    const world = this.#world;
    const look = (): void => this.#look();
    switch (step.type) {
      case 'write':
        world.write(step.write, step.ackAfterMs);
        break;
      case 'replicate':
        world.replicate(step.member, step.count);
        break;
      case 'cut':
        world.cut(step.member, step.isCutOff);
        break;
      case 'compact':
        world.compact(step.back);
        break;
      case 'lose':
        world.loseStreams();
        break;
      case 'history gone':
        world.loseStreams();
        for (const each of step.writes) world.write(each, 0);
        world.compact(0);
        break;
      case 'slow':
        world.latencyMs = step.latencyMs;
        break;
      case 'cautious':
        world.caution = step.caution;
        break;
      case 'linearize':
        this.#linearize();
        break;
      case 'stall':
        await world.stall(step.durationMs, look);
        break;
      case 'pass':
        await world.run(step.durationMs, look);
        break;
    }
    this.#look();
  }

  /** With everything well again the cache is there soon, and so are all points that were asked for. */
  async recovers(): Promise<void> {
    const world = this.#world;
    world.latencyMs = 5;
    world.caution = 0;
    world.heal();
    await world.run(20_000, () => this.#look());
    await Promise.all(this.#points);
    if (this.#broken !== null) throw this.#broken;
    expect(this.#cache.revision).toBe(world.committed);
    expect(this.#cache.isFresh()).toBe(!world.options.isPlain);
    this.#cache.close();
    expect(() => this.#cache.get('a')).toThrow('the cache is closed');
  }

  #linearize(): void {
    const acked = this.#world.ackedBefore(this.#world.trueMs);
    const point = this.#cache.linearize({ timeoutMs: 100_000 }).then(() => {
      expect(this.#cache.revision).toBeGreaterThanOrEqual(acked);
    });
    this.#points.push(point.catch((error: unknown) => this.#break(error)));
  }

  #look(): void {
    const world = this.#world;
    const { revision } = this.#cache;
    const seen = new Map(this.#cache.entries().map(({ key, text }) => [key, text]));
    expect([...seen]).toEqual([...world.stateAt(revision)]);
    expect(new Map([...this.#followed].sort(([a], [b]) => (a < b ? -1 : 1)))).toEqual(seen);
    expect(revision).toBeGreaterThanOrEqual(this.#lastRevision);
    this.#lastRevision = revision;
    const ageMs = this.#cache.ageMs();
    if (ageMs !== undefined) expect(world.ageOf(revision)).toBeLessThanOrEqual(ageMs + 1e-6);
    if (world.options.isPlain) expect(ageMs).toBeUndefined();
    if (!this.#cache.isFresh()) return;
    expect(ageMs).toBeLessThanOrEqual(MAX_AGE_MS);
    expect(world.ageOf(revision)).toBeLessThanOrEqual(MAX_AGE_MS);
  }

  #follow({ revision, changes }: CacheUpdate): void {
    for (const change of changes) {
      const before = this.#followed.get(change.type === 'put' ? change.entry.key : change.before.key);
      if (change.before?.text !== before) this.#break(new Error('an update replaces what was not there'));
      if (change.type === 'put') this.#followed.set(change.entry.key, change.entry.text);
      else this.#followed.delete(change.before.key);
    }
    if (revision !== this.#cache.revision) this.#break(new Error('an update is of another revision'));
  }

  #break(error: unknown): void {
    this.#broken ??= error;
  }
}
