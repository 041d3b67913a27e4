import { setTimeout as delay } from 'node:timers/promises';
import type { RegionMember } from '../../cluster/region-layout.ts';
import { type ReadKind, RegionReader } from '../../cluster/region-reader.ts';
import { put } from '../load/calls.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { paced } from '../load/paced.ts';
import { WatchStreams } from '../load/watch-streams.ts';
import { urlOf } from './regional-bench.ts';

const KEY = Buffer.from('bench/regions');
/** Of the clock of this process, in microseconds. */
const VALUE_BYTES = 8;
const TIMEOUT_MS = 10_000;
/** Puts of others while latencies are measured: there is something to be stale of. */
const BACKGROUND_PER_SECOND = 20;
/** By then members know that somebody relies on their freshness. */
const WARM_UP_READS = 20;
const WATCH_PAUSE_MS = 20;

/** Runs `work` while somebody writes at `member`. */
export async function withWrites<T>(member: RegionMember, work: () => Promise<T>): Promise<T> {
  const connection = await GrpcConnection.open(urlOf(member));
  const enough = new AbortController();
  const load = paced({
    perSecond: BACKGROUND_PER_SECOND,
    count: Number.POSITIVE_INFINITY,
    signal: enough.signal,
    send: async () => put(connection, KEY, Buffer.alloc(VALUE_BYTES)),
  });
  try {
    return await work();
  } finally {
    enough.abort();
    await load;
    connection.close();
  }
}

/** Reads of one client, one after the other. @returns how long each took, in milliseconds */
export async function readLatencies(
  member: RegionMember,
  options: { readonly kind: ReadKind; readonly maxStalenessMs: number; readonly reads: number },
): Promise<readonly number[]> {
  const reader = new RegionReader(urlOf(member));
  const latenciesMs: number[] = [];
  try {
    for (let i = -WARM_UP_READS; i < options.reads; i++) {
      const { sentMs, answeredMs } = await reader.read({ key: KEY }, { ...options, timeoutMs: TIMEOUT_MS });
      if (i >= 0) latenciesMs.push(answeredMs - sentMs);
    }
    return latenciesMs;
  } finally {
    reader.close();
  }
}

/** Puts of one client, one after the other. @returns how long each took, in milliseconds */
export async function putLatencies(member: RegionMember, puts: number): Promise<readonly number[]> {
  const connection = await GrpcConnection.open(urlOf(member));
  const latenciesMs: number[] = [];
  try {
    for (let i = 0; i < puts; i++) {
      const sentMs = performance.now();
      await put(connection, KEY, Buffer.alloc(VALUE_BYTES));
      latenciesMs.push(performance.now() - sentMs);
    }
    return latenciesMs;
  } finally {
    connection.close();
  }
}

/** From the start of each put at `writer` to its event from `watched`, in milliseconds. */
export async function watchLatencies(members: {
  readonly writer: RegionMember;
  readonly watched: RegionMember;
  readonly puts: number;
}): Promise<readonly number[]> {
  const { writer, watched, puts } = members;
  const key = Buffer.from('bench/regions/watched');
  const latenciesMs: number[] = [];
  let failure: Error | null = null;
  const watches = await WatchStreams.open({
    url: urlOf(watched),
    key,
    streams: 1,
    watchesPerStream: 1,
    onEvent: (value) => latenciesMs.push(performance.now() - value.readDoubleBE()),
    onEnd: (error) => {
      failure = error;
    },
  });
  const connection = await GrpcConnection.open(urlOf(writer));
  try {
    for (let i = 0; i < puts; i++) {
      const value = Buffer.alloc(VALUE_BYTES);
      value.writeDoubleBE(performance.now());
      await put(connection, key, value);
      await delay(WATCH_PAUSE_MS);
    }
    const deadlineMs = performance.now() + TIMEOUT_MS;
    while (latenciesMs.length < puts) {
      if (failure !== null) throw failure;
      if (performance.now() > deadlineMs) throw new Error(`${puts - latenciesMs.length} events did not come`);
      await delay(WATCH_PAUSE_MS);
    }
    return latenciesMs;
  } finally {
    connection.close();
    watches.close();
  }
}
