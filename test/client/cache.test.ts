import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CacheState, CacheUpdate, KvCache } from '../../src/client/cache.ts';
import type { CacheOptions } from '../../src/client/cache-options.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
/** Longer than any test takes. */
const LONG_MS = 3_600_000;
let store: SmallStore;
let one: SmallMember;
let two: SmallMember;
let client: KvClient;
const caches: KvCache[] = [];

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  two = await new SmallMember(store).start();
  one.freshness = two.freshness = { ageMs: 40, region: 'c' };
  client = new KvClient({ endpoints: [one.address, two.address] });
});
afterEach(async () => {
  for (const cache of caches.splice(0)) cache.close();
  client.close();
  await one.stop();
  await two.stop();
});

const put = (key: string, value: string): void => {
  store.put({ key: bytes(key), value: bytes(value), lease: 0n });
};

async function opened(options: Partial<CacheOptions> = {}): Promise<KvCache> {
  const cache = await client.cache({ prefix: 'a/', maxAgeMs: LONG_MS, whenLapsed: 'fail', ...options });
  caches.push(cache);
  return cache;
}

const contents = (cache: KvCache): Record<string, string> =>
  Object.fromEntries(cache.entries().map(({ key, text }) => [key, text]));

function updatesOf(cache: KvCache): string[] {
  const told: string[] = [];
  cache.onChange(({ revision, changes }: CacheUpdate) => {
    const words = changes.map((change) =>
      change.type === 'put'
        ? `${change.before === undefined ? 'new' : 'put'} ${change.entry.key}=${change.entry.text}`
        : `delete ${change.before.key}`,
    );
    told.push(`${revision}: ${words.join(', ')}`);
  });
  return told;
}

test('a cache has what is there, and what comes, whole revisions at a time', async () => {
  put('a/1', 'x');
  put('b', 'other');
  const cache = await opened();
  expect(cache.revision).toBe(3);
  expect(cache.get('a/1')).toMatchObject({ key: 'a/1', text: 'x', modRevision: 2, version: 1, lease: 0n });
  expect(cache.get(bytes('a/1'))).toBe(cache.get('a/1'));
  expect(cache.get('a/2')).toBeUndefined();
  const told = updatesOf(cache);
  store.atOnce({ 'a/1': null, 'a/2': 'y', 'a/3': 'z', c: 'other' });
  put('a/2', 'w');
  await expect.poll(() => cache.revision).toBe(5);
  expect(contents(cache)).toEqual({ 'a/2': 'w', 'a/3': 'z' });
  const [first] = told;
  // Both revisions may have come in one step; neither came in two.
  if (told.length === 1) expect(first).toBe('5: delete a/1, new a/2=w, new a/3=z');
  else expect(told).toEqual(['4: delete a/1, new a/2=y, new a/3=z', '5: put a/2=w']);
});

test('a large range is read in pages at one revision, though it changes meanwhile', async () => {
  for (let n = 0; n < 2_500; n += 1) put(`a/${String(n).padStart(4, '0')}`, 'before');
  const { revision } = store;
  let pages = 0;
  one.failing = (path) => {
    if (path === '/etcdserverpb.KV/Range' && (pages += 1) === 2)
      store.atOnce({ 'a/0001': 'after', 'a/2001': 'after', 'a/1500': null });
    return null;
  };
  const cache = await opened();
  const [first, ...others] = one.rangeRequests;
  expect(first).toMatchObject({ revision: 0, serializable: false, limit: 1000 });
  expect(others.length).toBeGreaterThan(0);
  for (const other of others) expect(other).toMatchObject({ revision, serializable: true });
  await expect.poll(() => cache.revision).toBe(revision + 1);
  expect(cache.size).toBe(2_499);
  expect(cache.get('a/0001')!.text).toBe('after');
  expect(cache.get('a/2001')!.text).toBe('after');
});

test('the first read is linearizable unless the cache wants it otherwise', async () => {
  await opened({ load: 'serializable' });
  expect(one.rangeRequests[0]).toMatchObject({ serializable: true });
});

test('while the lease holds the cache is fresh, and its age is the member’s and what has passed', async () => {
  put('a/1', 'x');
  one.provenAgeMs = 40;
  const cache = await opened({ whenLapsed: 'fail' });
  expect(cache.isFresh()).toBe(true);
  expect(cache.state).toBe('fresh');
  expect(cache.ageMs()).toBeGreaterThanOrEqual(40);
  cache.get('a/1');
  cache.get('a/1');
  cache.get('a/2');
  expect(cache.metrics()).toMatchObject({
    hits: 2,
    misses: 1,
    hitRatio: 2 / 3,
    staleServes: 0,
    lapses: 0,
    reloads: 0,
    losses: 0,
    keys: 1,
    revision: 2,
  });
  expect(cache.metrics().bytes).toBeGreaterThan(4);
});

test('the lease is renewed again and again', async () => {
  const cache = await opened({ maxAgeMs: 150 });
  const asked = (): number => one.watchRequests.filter((request) => request.progress_request !== null).length;
  await expect.poll(asked).toBeGreaterThan(10);
  expect(cache.ageMs()).toBeLessThan(LONG_MS);
});

test('a member that nobody asked for long has to prove its state anew: the cache opens fresh', async () => {
  one.freshness = { ageMs: 3_600_000, region: 'c' };
  const cache = await opened({ maxAgeMs: 60_000 });
  expect(cache.isFresh()).toBe(true);
  expect(cache.ageMs()).toBeLessThan(60_000);
});

test('a member that tells of an old state is asked to prove it anew as soon as the lease has lapsed', async () => {
  const cache = await opened({ maxAgeMs: 500 });
  const states: CacheState[] = [];
  cache.onState((state) => states.push(state));
  one.freshness = { ageMs: 3_600_000, region: 'c' };
  await expect.poll(() => states.slice(0, 2)).toEqual(['lapsed', 'fresh']);
  expect(cache.metrics().losses).toBe(0);
});

test('a member that says nothing any more lets the lease lapse: `fail` throws, and says so at once', async () => {
  put('a/1', 'x');
  const cache = await opened({ maxAgeMs: 500 });
  const states: CacheState[] = [];
  cache.onState((state) => states.push(state));
  one.isSilent = two.isSilent = true;
  await expect.poll(() => states.at(-1)).toBe('lapsed');
  expect(cache.isFresh()).toBe(false);
  expect(cache.ageMs()).toBeGreaterThanOrEqual(500);
  const refusal = { code: 'unavailable', message: 'the cache is not known to be at most 500 ms old' };
  expect(() => cache.get('a/1')).toThrow(expect.objectContaining(refusal));
  expect(() => cache.entries()).toThrow(expect.objectContaining(refusal));
  expect(cache.metrics().lapses).toBeGreaterThanOrEqual(1);
  one.isSilent = two.isSilent = false;
  await expect.poll(() => states.at(-1)).toBe('fresh');
  await expect.poll(() => cache.get('a/1')!.text).toBe('x');
});

test('`serve-stale` reads on, and counts it', async () => {
  put('a/1', 'x');
  const cache = await opened({ maxAgeMs: 500, whenLapsed: 'serve-stale' });
  one.isSilent = two.isSilent = true;
  await expect.poll(() => cache.isFresh()).toBe(false);
  expect(cache.get('a/1')!.text).toBe('x');
  expect(cache.entries()).toHaveLength(1);
  expect(cache.metrics().staleServes).toBe(2);
});

test('`getFresh` waits until the lease holds again, so long as it may', async () => {
  put('a/1', 'x');
  const cache = await opened({ maxAgeMs: 500, whenLapsed: 'wait' });
  one.isSilent = two.isSilent = true;
  await expect.poll(() => cache.isFresh()).toBe(false);
  expect(() => cache.get('a/1')).toThrow('not known to be at most');
  await expect(cache.getFresh('a/1', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
  const aborted = cache.getFresh('a/1', { signal: AbortSignal.abort() });
  await expect(aborted).rejects.toMatchObject({ code: 'canceled' });
  const waiting = cache.getFresh('a/1', { timeoutMs: 60_000 });
  one.isSilent = two.isSilent = false;
  expect((await waiting)!.text).toBe('x');
});

test('a `getFresh` that was given up is not finished later', async () => {
  put('a/1', 'x');
  const cache = await opened({ maxAgeMs: 500, whenLapsed: 'wait' });
  one.isSilent = two.isSilent = true;
  await expect.poll(() => cache.isFresh()).toBe(false);
  const control = new AbortController();
  const attempts = Array.from({ length: 20 }, (_, n) =>
    cache.getFresh('a/1', n % 2 === 0 ? { timeoutMs: 1 } : { signal: control.signal }),
  );
  control.abort();
  const codes = (await Promise.allSettled(attempts)).map(
    (settled) => settled.status === 'rejected' && settled.reason.code,
  );
  expect(new Set(codes)).toEqual(new Set(['deadline-exceeded', 'canceled']));
  one.isSilent = two.isSilent = false;
  await cache.getFresh('a/1', { timeoutMs: 60_000 });
  expect(cache.metrics()).toMatchObject({ hits: 1, misses: 0 });
});

test('a `getFresh` that ends leaves nothing behind at its signal, however it ends', async () => {
  put('a/1', 'x');
  const cache = await opened({ maxAgeMs: 500, whenLapsed: 'wait' });
  const shared = new AbortController();
  const listeners = (): number => getEventListeners(shared.signal, 'abort').length;
  await cache.getFresh('a/1', { signal: shared.signal, timeoutMs: Infinity });
  await cache.linearize({ signal: shared.signal, timeoutMs: Infinity });
  expect(listeners()).toBe(0);
  one.isSilent = two.isSilent = true;
  await expect.poll(() => cache.isFresh()).toBe(false);
  const { hits } = cache.metrics();
  const late = { signal: shared.signal, timeoutMs: 1 };
  await expect(cache.getFresh('a/1', late)).rejects.toMatchObject({ code: 'deadline-exceeded' });
  await expect(cache.linearize(late)).rejects.toMatchObject({ code: 'deadline-exceeded' });
  expect(listeners()).toBe(0);
  const canceled = cache.getFresh('a/1', { signal: shared.signal, timeoutMs: Infinity });
  const patient = cache.getFresh('a/1', { timeoutMs: 60_000 });
  expect(listeners()).toBe(1);
  shared.abort();
  await expect(canceled).rejects.toMatchObject({ code: 'canceled' });
  one.isSilent = two.isSilent = false;
  expect((await patient)!.text).toBe('x');
  // Though the cache is fresh again: who has given up is told nothing, and it is no hit.
  await expect(cache.getFresh('a/1', { signal: shared.signal })).rejects.toMatchObject({ code: 'canceled' });
  expect(listeners()).toBe(0);
  expect(cache.metrics().hits).toBe(hits + 1);
});

test('a member that is silent is left for another, and the lease is had from that one', async () => {
  one.isSilent = true;
  const cache = await opened({ maxAgeMs: 200 });
  expect(cache.metrics().losses).toBeGreaterThan(0);
  await expect.poll(() => cache.isFresh()).toBe(true);
  expect(two.calls).toContain('/etcdserverpb.Watch/Watch');
});

test('after a loss the cache goes on behind what it has, and the lease until its end', async () => {
  put('a/1', '1');
  const cache = await opened();
  two.isSilent = true;
  await one.stop();
  await expect.poll(() => cache.metrics().losses).toBeGreaterThan(0);
  put('a/1', '2');
  put('a/2', '1');
  await expect.poll(() => cache.revision).toBe(4);
  expect(contents(cache)).toEqual({ 'a/1': '2', 'a/2': '1' });
  // The new member has not answered, so this is the old lease.
  expect(cache.isFresh()).toBe(true);
  const [watch] = two.watchRequests;
  expect(watch!.create_request).toMatchObject({ start_revision: 3 });
});

test('when history is gone the range is read anew, and readers go over to it in one step', async () => {
  store.atOnce({ 'a/1': '1', 'a/2': '2', 'a/3': '3' });
  const cache = await opened();
  const told = updatesOf(cache);
  const kept = cache.get('a/3');
  two.failing = (path) =>
    path.endsWith('/Watch') && store.revision < 5
      ? new RpcError(rpcStatus.unavailable, 'etcdserver: no leader')
      : null;
  await one.stop();
  store.atOnce({ 'a/1': null, 'a/2': 'new', 'a/0': '0' });
  put('a/4', '4');
  store.delete(bytes('a/4'), Buffer.alloc(0));
  store.compactRevision = store.revision;
  await expect.poll(() => cache.metrics().reloads).toBe(1);
  expect(told).toEqual(['5: new a/0=0, delete a/1, put a/2=new']);
  expect(cache.get('a/3')).toBe(kept);
  put('a/5', '5');
  await expect.poll(() => cache.get('a/5')?.text).toBe('5');
});

test('a linearizable point is asked of the member on the watch, once for all who wait', async () => {
  const cache = await opened();
  put('a/1', 'x');
  await cache.linearize();
  expect(cache.get('a/1')!.text).toBe('x');
  await Promise.all(Array.from({ length: 20 }, () => cache.linearize()));
  const asked = one.watchRequests.filter((request) => request.progress_request?.linearizable === true);
  // The first of them was for the lease.
  expect(asked).toHaveLength(4);
  expect(one.rangeRequests).toHaveLength(1);
});

test('a linearizable point outlives the member it was asked of, or its time runs out', async () => {
  const cache = await opened();
  one.isSilent = two.isSilent = true;
  await expect(cache.linearize({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
  two.isSilent = false;
  const point = cache.linearize({ timeoutMs: 60_000 });
  await one.stop();
  put('a/1', 'x');
  await point;
  await cache.linearize({ timeoutMs: 60_000 });
  expect(cache.get('a/1')!.text).toBe('x');
});

test('of a real etcd the age is unknown: as lapsed, unless that is allowed', async () => {
  one.freshness = two.freshness = null;
  put('a/1', 'x');
  const cache = await opened();
  expect(cache.state).toBe('unknown');
  expect(cache.ageMs()).toBeUndefined();
  expect(cache.isFresh()).toBe(false);
  const refusal = { code: 'failed-precondition', message: 'no member has told how old the cache is' };
  expect(() => cache.get('a/1')).toThrow(expect.objectContaining(refusal));
  await expect(cache.getFresh('a/1')).rejects.toMatchObject(refusal);
  const trusting = await opened({ allowUnknownAge: true });
  expect(trusting.get('a/1')!.text).toBe('x');
  expect((await trusting.getFresh('a/1'))!.text).toBe('x');
  expect(trusting.metrics()).toMatchObject({ staleServes: 0, hits: 2, ageMs: undefined });
  expect(trusting.isFresh()).toBe(false);
});

test('a linearizable point on a real etcd: its revision by a linearizable read, and the watch up to it', async () => {
  one.freshness = two.freshness = null;
  const cache = await opened({ whenLapsed: 'serve-stale' });
  put('a/1', 'x');
  put('b', 'other');
  await cache.linearize();
  expect(cache.get('a/1')!.text).toBe('x');
  expect(cache.revision).toBe(3);
  expect(one.rangeRequests.at(-1)).toMatchObject({ count_only: true, serializable: false });
});

test('keys are in the order of their bytes, and those that are no text are found by them', async () => {
  const keys = [bytes('a/z'), bytes('a/ä'), bytes('a/\ufffd'), bytes('a/😀'), Buffer.from('612fff', 'hex')];
  for (const key of keys.toReversed()) store.put({ key, value: key, lease: 0n });
  const cache = await opened();
  expect(cache.entries().map(({ keyBytes }) => keyBytes)).toEqual(keys);
  expect(cache.entries('a/ä').map(({ key }) => key)).toEqual(['a/ä']);
  const some = cache.range({ key: 'a/z', rangeEnd: 'a/😀' });
  expect(some.map(({ key }) => key)).toEqual(['a/z', 'a/ä', 'a/\ufffd']);
  expect(cache.range({ key: 'a/ä' })).toHaveLength(1);
  expect(cache.get('a/ä')!.text).toBe('a/ä');
  expect(cache.get(keys[4]!)!.value).toEqual(keys[4]);
  // The text of the broken key is that of another one.
  expect(cache.get('a/\ufffd')!.value).toEqual(keys[2]);
  store.delete(keys[2]!, Buffer.alloc(0));
  store.delete(keys[4]!, Buffer.alloc(0));
  await expect.poll(() => cache.size).toBe(3);
  expect(cache.get('a/\ufffd')).toBeUndefined();
  expect(cache.get(keys[4]!)).toBeUndefined();
});

test('what lies outside of the cached range is not said to be absent', async () => {
  put('b', 'x');
  const cache = await opened();
  const refusal = expect.objectContaining({ code: 'invalid-argument' });
  expect(() => cache.get('b')).toThrow(refusal);
  expect(() => cache.entries('')).toThrow(refusal);
  expect(() => cache.range({ key: 'a/', rangeEnd: 'b' })).toThrow(refusal);
  const all = await client.cache({ prefix: '', maxAgeMs: LONG_MS, whenLapsed: 'fail' });
  caches.push(all);
  expect(all.get('b')!.text).toBe('x');
  expect(all.get('a/1')).toBeUndefined();
  const range = { key: 'b', maxAgeMs: LONG_MS, whenLapsed: 'fail' } as const;
  const single = await client.cache(range);
  caches.push(single);
  expect(single.entries().map(({ text }) => text)).toEqual(['x']);
  expect(() => single.get('b1')).toThrow(refusal);
});

test('a range that is too large is refused, and one that becomes so ends the cache', async () => {
  put('a/1', 'x');
  put('a/2', 'x');
  await expect(opened({ keysMax: 1 })).rejects.toMatchObject({
    code: 'resource-exhausted',
    message: 'the cached range has more than 1 keys',
  });
  await expect(opened({ bytesMax: 600 })).rejects.toMatchObject({
    code: 'resource-exhausted',
    message: 'the cached range takes more than 600 bytes',
  });
  const cache = await opened({ keysMax: 2, whenLapsed: 'serve-stale' });
  const states: CacheState[] = [];
  cache.onState((state) => states.push(state));
  put('a/3', 'x');
  await expect.poll(() => states).toEqual(['ended']);
  expect(() => cache.get('a/1')).toThrow('the cached range has more than 2 keys');
  await expect(cache.linearize()).rejects.toMatchObject({ code: 'resource-exhausted' });
  await expect.poll(() => store.watchCount).toBe(0);
});

test('options out of bounds are refused', async () => {
  for (const wrong of [{ maxAgeMs: 9 }, { maxAgeMs: 86_400_001 }, { maxAgeMs: Number.NaN }, { keysMax: 0 }]) {
    await expect(opened(wrong)).rejects.toMatchObject({ code: 'invalid-argument' });
  }
  const policy = 'never' as CacheOptions['whenLapsed'];
  await expect(opened({ whenLapsed: policy })).rejects.toMatchObject({ code: 'invalid-argument' });
});

test('a closed cache is no more: reads throw, waits end, and the server knows', async () => {
  const control = new AbortController();
  const cache = await opened({ signal: control.signal });
  one.isSilent = two.isSilent = true;
  const point = cache.linearize();
  control.abort();
  await expect(point).rejects.toMatchObject({ code: 'canceled' });
  expect(() => cache.get('a/1')).toThrow('the cache is closed');
  await expect(cache.getFresh('a/1')).rejects.toMatchObject({ code: 'canceled' });
  expect(cache.state).toBe('ended');
  await expect.poll(() => store.watchCount).toBe(0);
  await expect(opened({ signal: control.signal })).rejects.toMatchObject({ code: 'canceled' });
});

test('a cache ends with its client', async () => {
  const cache = await opened({ whenLapsed: 'serve-stale' });
  client.close();
  expect(cache.state).toBe('ended');
  expect(() => cache.get('a/1')).toThrow('the cache is closed');
  await expect.poll(() => store.watchCount).toBe(0);
});

test('what the load fails with is told; a refusal later ends the cache, a loss does not', async () => {
  const denied = new RpcError(rpcStatus.permissionDenied, 'etcdserver: permission denied');
  one.failing = two.failing = () => denied;
  await expect(opened()).rejects.toMatchObject({ code: 'permission-denied' });
  one.failing = two.failing = null;
  const cache = await opened({ whenLapsed: 'serve-stale' });
  one.failing = two.failing = () =>
    new RpcError(rpcStatus.resourceExhausted, 'etcdserver: too many requests');
  await one.stop();
  await expect.poll(() => two.calls.filter((path) => path.endsWith('/Watch')).length).toBeGreaterThan(1);
  expect(cache.get('a/1')).toBeUndefined();
  two.failing = () => denied;
  await expect.poll(() => cache.state).toBe('ended');
  expect(() => cache.get('a/1')).toThrow('permission denied');
});

test('a member of another cluster ends the cache', async () => {
  const cache = await opened({ whenLapsed: 'serve-stale' });
  two.clusterId = 0x99;
  await one.stop();
  await expect.poll(() => cache.state).toBe('ended');
  expect(() => cache.get('a/1')).toThrow('another cluster');
});

test('a listener that throws harms neither the cache nor other listeners', async () => {
  const cache = await opened();
  const thrown: unknown[] = [];
  const keep = (error: unknown): void => void thrown.push(error);
  const others = process.rawListeners('uncaughtException') as ((error: Error) => void)[];
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', keep);
  try {
    const off = cache.onChange(() => {
      throw new Error('mine');
    });
    const told = updatesOf(cache);
    put('a/1', 'x');
    await expect.poll(() => told).toHaveLength(1);
    await expect.poll(() => thrown).toEqual([expect.objectContaining({ message: 'mine' })]);
    off();
    put('a/2', 'x');
    await expect.poll(() => told).toHaveLength(2);
    expect(thrown).toHaveLength(1);
  } finally {
    process.removeListener('uncaughtException', keep);
    for (const other of others) process.on('uncaughtException', other);
  }
});
