import type { ProvenAge } from '../src/client/bounded-read.ts';
import { KvClient } from '../src/client/kv-client.ts';
import type { KeyRange, RangeAnswer } from '../src/client/types.ts';

/** The promises that a read can ask for. */
export const READ_KINDS = ['linearizable', 'serializable', 'bounded'] as const;
export type ReadKind = (typeof READ_KINDS)[number];

/** One read of one member. Times are of this process's clock, in milliseconds. */
export interface TimedRead {
  readonly sentMs: number;
  readonly answeredMs: number;
  readonly answer: RangeAnswer & ProvenAge;
}

export interface TimedReadOptions {
  readonly kind: ReadKind;
  /** Of a bounded read. */
  readonly maxStalenessMs: number;
  readonly timeoutMs: number;
}

/** Reads of one member. */
export class RegionReader {
  readonly #client: KvClient;

  /** @param url `http://host:port` */
  constructor(url: string) {
    this.#client = new KvClient({ endpoints: [url] });
  }

  /** @throws ClientError */
  async read(range: KeyRange, options: TimedReadOptions): Promise<TimedRead> {
    const { kind, maxStalenessMs, timeoutMs } = options;
    const promise = {
      linearizable: {},
      serializable: { serializable: true },
      bounded: { maxStalenessMs },
    }[kind];
    const sentMs = performance.now();
    const answer = await this.#client.range({ ...range, ...promise }, { timeoutMs });
    return { sentMs, answeredMs: performance.now(), answer };
  }

  close(): void {
    this.#client.close();
  }
}
