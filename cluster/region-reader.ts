import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { KeyRange, RangeAnswer, RangeOptions } from '../src/client/types.ts';
import { METHODS, rangeAnswer, rangeRequest } from '../src/client/wire.ts';

/** The promises that a read can ask for. */
export const READ_KINDS = ['linearizable', 'serializable', 'bounded'] as const;
export type ReadKind = (typeof READ_KINDS)[number];

/** One read of one member. Times are of this process's clock, in milliseconds. */
export interface TimedRead {
  readonly sentMs: number;
  readonly answeredMs: number;
  /** As the member told it, with a bounded read only. */
  readonly ageMs: number | null;
  /** Where the member that answered is, as far as it told. */
  readonly region: string | null;
  readonly answer: RangeAnswer;
}

export interface TimedReadOptions {
  readonly kind: ReadKind;
  /** Of a bounded read. */
  readonly maxStalenessMs: number;
  readonly timeoutMs: number;
}

/** Reads of one member, none of which goes anywhere else or is tried again. */
export class RegionReader {
  readonly #client: Client;

  /** @param url `http://host:port` */
  constructor(url: string) {
    this.#client = new Client(new URL(url).host, credentials.createInsecure());
  }

  /** @throws ServiceError with gRPC's code */
  read(range: KeyRange, options: TimedReadOptions): Promise<TimedRead> {
    const { kind, maxStalenessMs, timeoutMs } = options;
    const { path, encode, decode } = METHODS.range;
    const request: RangeOptions = { ...range, serializable: kind === 'serializable' };
    const metadata = new Metadata();
    if (kind === 'bounded') metadata.set('max-staleness-ms', String(maxStalenessMs));
    const sentMs = performance.now();
    return new Promise((resolve, reject) => {
      let read: Omit<TimedRead, 'ageMs' | 'region'> | null = null;
      const call = this.#client.makeUnaryRequest(
        path,
        encode,
        decode,
        rangeRequest(request),
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, response) => {
          if (error !== null) reject(error);
          else read = { sentMs, answeredMs: performance.now(), answer: rangeAnswer(response!) };
        },
      );
      // The trailers come right after the callback.
      call.on('status', ({ metadata: trailers }) => {
        if (read === null) return;
        const age = textOf(trailers, 'age-ms');
        resolve({ ...read, ageMs: age === null ? null : Number(age), region: textOf(trailers, 'region') });
      });
    });
  }

  close(): void {
    this.#client.close();
  }
}

function textOf(metadata: Metadata, name: string): string | null {
  const [value] = metadata.get(name);
  return value === undefined ? null : String(value);
}
