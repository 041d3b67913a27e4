import { setTimeout as pause } from 'node:timers/promises';
import type { KvCache } from '../../src/client/cache.ts';
import type { KvClient } from '../../src/client/kv-client.ts';
import { bytesOf } from '../chance.ts';
import type { Figure, Question } from '../question.ts';

const KEYS = 10_000;
const KEYS_AT_ONCE = 100;
const VALUE_BYTES = 100;
const PREFIX = 'bench/cached/';
const READS = 20_000_000;
const WARM_UP_READS = 2_000_000;
/** Read without a pause; then the process hears of the world again, for a while. */
const SLICE_READS = 100_000;
const PAUSE_MS = 1;
const MAX_AGE_MS = 5_000;

/** How many reads one core serves from a cache that is held to its freshness lease, beside what no cache can beat. */
export const CACHED_READS: Question = {
  name: 'reads from a cache',
  load: `${READS} synchronous gets of ${KEYS} keys in turn with ${VALUE_BYTES} bytes each, by one thread of a client whose cache holds a freshness lease of ${MAX_AGE_MS} ms (of etcd the age is unknown), after ${WARM_UP_READS}; by turns as many lookups in a bare Map`,
  measure: async ({ cluster, chance, count }) => {
    const client = cluster.client();
    try {
      const keys = await put(client, bytesOf(VALUE_BYTES, chance));
      const cache = await client.cache({
        prefix: PREFIX,
        maxAgeMs: MAX_AGE_MS,
        whenLapsed: 'fail',
        allowUnknownAge: true,
      });
      const map = new Map(cache.entries().map((entry) => [entry.key, entry]));
      const from = { cache, map };
      await readAll(from, { keys, reads: count(WARM_UP_READS) });
      const figures = await readAll(from, { keys, reads: count(READS) });
      cache.close();
      return figures;
    } finally {
      client.close();
    }
  },
};

async function put(client: KvClient, value: Buffer): Promise<readonly string[]> {
  const keys = Array.from({ length: KEYS }, (_, at) => `${PREFIX}service/${at}`);
  for (let at = 0; at < KEYS; at += KEYS_AT_ONCE) {
    const some = keys.slice(at, at + KEYS_AT_ONCE);
    await client.txn({
      compare: [],
      success: some.map((key) => ({ type: 'put', key, value })),
      failure: [],
    });
  }
  return keys;
}

interface Readable {
  get(key: string): unknown;
}

/** @throws Error when a key was not found; ClientError when the lease lapsed */
async function readAll(
  { cache, map }: { readonly cache: KvCache; readonly map: Readable },
  { keys, reads }: { readonly keys: readonly string[]; readonly reads: number },
): Promise<readonly Figure[]> {
  let [cacheMs, mapMs] = [0, 0];
  for (let done = 0; done < reads; done += SLICE_READS) {
    mapMs += readMap(map, keys);
    cacheMs += readCache(cache, keys);
    await pause(PAUSE_MS);
  }
  const slices = Math.ceil(reads / SLICE_READS);
  const perSecond = (ms: number): number => (slices * SLICE_READS) / (ms / 1000);
  return [
    { name: 'gets from the cache', unit: 'req/s', value: perSecond(cacheMs) },
    { name: 'lookups in a bare Map', unit: 'req/s', value: perSecond(mapMs) },
    { name: 'a get, in lookups', unit: 'times', value: cacheMs / mapMs },
  ];
}

// Two functions, so that each is compiled for what it reads from.

function readCache(cache: KvCache, keys: readonly string[]): number {
  const startedMs = performance.now();
  let found = 0;
  for (let at = 0; at < SLICE_READS; at += 1) if (cache.get(keys[at % KEYS]!) !== undefined) found += 1;
  return elapsed(startedMs, found);
}

function readMap(map: Readable, keys: readonly string[]): number {
  const startedMs = performance.now();
  let found = 0;
  for (let at = 0; at < SLICE_READS; at += 1) if (map.get(keys[at % KEYS]!) !== undefined) found += 1;
  return elapsed(startedMs, found);
}

function elapsed(startedMs: number, found: number): number {
  const ms = performance.now() - startedMs;
  if (found !== SLICE_READS) throw new Error(`${found} of ${SLICE_READS} keys were found`);
  return ms;
}
