import { setTimeout as delay } from 'node:timers/promises';
import type { ServerCluster } from '../server-cluster.ts';
import { type Spread, spread } from '../statistics.ts';
import { put } from './calls.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { WatchStreams } from './watch-streams.ts';

/** Between the end of one change's fan-out and the next change. */
const PAUSE_MS = 20;
const KEY = Buffer.from('bench/watched');
const PATIENCE_MS = 60_000;

export const CHANGE_BYTES = 256;

/** From the start of each put to each event of it, and to the last. */
export interface FanOut {
  readonly eachMs: Spread;
  readonly lastMs: Spread;
}

/** Changes the watched key so often, each time when all have heard of the last. */
export type MakeChanges = (changes: number) => Promise<FanOut>;

/**
 * Opens watches of one key at the leader, and closes them after `work`.
 *
 * @throws Error when an event does not come within a minute, comes twice or out of turn, or a watch ends
 */
export async function withWatches<T>(
  cluster: ServerCluster,
  load: { readonly watches: number; readonly streams: number },
  work: (makeChanges: MakeChanges) => Promise<T>,
): Promise<T> {
  const { leader } = await cluster.roles();
  const connection = await GrpcConnection.open(leader);
  const hearing = new Hearing(load.watches);
  try {
    const watches = await WatchStreams.open({
      url: leader,
      key: KEY,
      streams: load.streams,
      watchesPerStream: load.watches / load.streams,
      onEvent: (value) => hearing.heard(value.readUInt32BE(0)),
      onEnd: (error) => hearing.fail(error),
    });
    try {
      return await work((changes) => makeChanges(connection, { hearing, changes }));
    } finally {
      watches.close();
    }
  } finally {
    connection.close();
  }
}

async function makeChanges(
  connection: GrpcConnection,
  { hearing, changes }: { readonly hearing: Hearing; readonly changes: number },
): Promise<FanOut> {
  const eachMs: number[] = [];
  const lastMs: number[] = [];
  for (let made = 0; made < changes; made++) {
    const value = Buffer.alloc(CHANGE_BYTES);
    const startedMs = performance.now();
    const everybody = hearing.begin();
    value.writeUInt32BE(hearing.change);
    await Promise.all([put(connection, KEY, value), everybody]);
    for (const heardMs of hearing.heardMs) eachMs.push(heardMs - startedMs);
    lastMs.push(hearing.heardMs.at(-1)! - startedMs);
    // What comes twice comes now.
    await delay(PAUSE_MS);
    hearing.check();
  }
  return { eachMs: spread(eachMs), lastMs: spread(lastMs) };
}

/** Who has heard of the change that is on its way to all watches. */
export class Hearing {
  readonly #watches: number;
  /** Since the last `begin`, in milliseconds of this process's clock. */
  heardMs: number[] = [];
  /** Its number, from 0; -1 before the first. */
  change = -1;
  #failure: Error | null = null;
  #settle: () => void = () => {};

  constructor(watches: number) {
    this.#watches = watches;
  }

  /** The next change. Resolves when every watch has heard of it. @throws Error after a minute, or as `check` does */
  begin(): Promise<void> {
    this.change += 1;
    this.heardMs = [];
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.fail(new Error(`${this.heardMs.length} of ${this.#watches} events came`));
      }, PATIENCE_MS);
      this.#settle = () => {
        clearTimeout(timer);
        if (this.#failure === null) resolve();
        else reject(this.#failure);
      };
      if (this.#failure !== null) this.#settle();
    });
  }

  /** A watch was told of a change. */
  heard(change: number): void {
    if (change !== this.change || this.heardMs.length === this.#watches) {
      this.fail(
        new Error(`an event of change ${change} came after ${this.heardMs.length} of ${this.change}`),
      );
      return;
    }
    this.heardMs.push(performance.now());
    if (this.heardMs.length === this.#watches) this.#settle();
  }

  /** The first failure counts. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#settle();
  }

  /** @throws Error when something has gone wrong until now */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}
