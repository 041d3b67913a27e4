import { setTimeout as delay } from 'node:timers/promises';
import { put } from '../load/calls.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { WatchStreams } from '../load/watch-streams.ts';
import { latencyFigures, type Question, type Trial, withUsage } from '../question.ts';
import { type Spread, spread } from '../statistics.ts';

const SHARED_STREAMS = 10;
const EVENTS = 200_000;
/** Between the end of one change's fan-out and the next change. */
const PAUSE_MS = 20;
const KEY = Buffer.from('bench/watched');
const VALUE_BYTES = 256;
const PATIENCE_MS = 60_000;

/** How soon everybody hears of a change, over few streams and over many. */
export const WATCH_FAN_OUT: readonly Question[] = [1_000, 10_000].flatMap((watches) =>
  [SHARED_STREAMS, watches].map((streams) => ({
    name: `watch fan-out, ${watches} watches on ${streams === watches ? 'own streams' : `${streams} shared streams`}`,
    load: `${EVENTS / watches} changes of one key with ${VALUE_BYTES} bytes at the leader, each when all have heard of the last; from the start of the put to each event, and to the last of each change`,
    measure: async (trial: Trial) => {
      const changes = trial.count(EVENTS / watches);
      return withUsage(trial.cluster, async () => {
        const { eachMs, lastMs } = await fanOut(trial.cluster, { watches, streams, changes });
        return [
          ...latencyFigures(eachMs),
          { name: 'to all, p50', unit: 'ms', value: lastMs.p50 } as const,
          { name: 'to all, longest', unit: 'ms', value: lastMs.max } as const,
        ];
      });
    },
  })),
);

/** From the start of each put to each event of it, and to the last. */
export interface FanOut {
  readonly eachMs: Spread;
  readonly lastMs: Spread;
}

/** @throws Error when an event does not come within a minute, comes twice, or a watch ends */
export async function fanOut(
  cluster: Trial['cluster'],
  load: { readonly watches: number; readonly streams: number; readonly changes: number },
): Promise<FanOut> {
  const { leader } = await cluster.roles();
  const connection = await GrpcConnection.open(leader);
  const change = new Change(load.watches);
  const watches = await WatchStreams.open({
    url: leader,
    key: KEY,
    streams: load.streams,
    watchesPerStream: load.watches / load.streams,
    onEvent: (value) => change.heard(value),
    onEnd: (error) => change.fail(error),
  });
  try {
    const eachMs: number[] = [];
    const lastMs: number[] = [];
    for (let number = 0; number < load.changes; number++) {
      const value = Buffer.alloc(VALUE_BYTES);
      value.writeUInt32BE(number);
      const startedMs = performance.now();
      const everybody = change.begin(number);
      await Promise.all([put(connection, KEY, value), everybody]);
      for (const heardMs of change.heardMs) eachMs.push(heardMs - startedMs);
      lastMs.push(change.heardMs.at(-1)! - startedMs);
      await delay(PAUSE_MS);
    }
    return { eachMs: spread(eachMs), lastMs: spread(lastMs) };
  } finally {
    watches.close();
    connection.close();
  }
}

/** The change that is on its way to all watches. */
class Change {
  readonly #watches: number;
  heardMs: number[] = [];
  #number = -1;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(watches: number) {
    this.#watches = watches;
  }

  /** Resolves when every watch has heard of it. */
  begin(number: number): Promise<void> {
    this.#number = number;
    this.heardMs = [];
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.heardMs.length} of ${this.#watches} events came`)),
        PATIENCE_MS,
      );
      this.#resolve = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#reject = (error) => {
        clearTimeout(timer);
        reject(error);
      };
    });
  }

  heard(value: Buffer): void {
    const number = value.readUInt32BE(0);
    if (number !== this.#number || this.heardMs.length === this.#watches) {
      this.fail(new Error(`an event of change ${number} came during change ${this.#number}`));
      return;
    }
    this.heardMs.push(performance.now());
    if (this.heardMs.length === this.#watches) this.#resolve();
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}
