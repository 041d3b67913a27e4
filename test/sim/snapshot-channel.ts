import { abortError, StoreError } from '../../src/lib/errors.ts';
import type { SimConnection } from './connection.ts';
import type { SimNetwork } from './network.ts';
import type { SimTransport } from './transport.ts';

/**
 * A snapshot on its way: one frame at a time, each taking the time its bytes need, the next one read from the source
 * only once the receiver has taken the last.
 */
export class SnapshotChannel {
  readonly #network: SimNetwork;
  readonly #connection: SimConnection;
  readonly #from: SimTransport;
  readonly #to: SimTransport;
  readonly #frames: AsyncIterator<Buffer>;
  readonly #signal: AbortSignal;
  /** What the receiver has not read yet: a frame, the end, or the failure. */
  #arrived: { readonly frame: Buffer | null } | null = null;
  #failed = false;
  #wakeReceiver: (() => void) | null = null;
  #taken: (() => void) | null = null;

  constructor(options: {
    readonly network: SimNetwork;
    readonly connection: SimConnection;
    readonly from: SimTransport;
    readonly to: SimTransport;
    readonly frames: AsyncIterable<Buffer>;
    readonly signal: AbortSignal;
  }) {
    this.#network = options.network;
    this.#connection = options.connection;
    this.#from = options.from;
    this.#to = options.to;
    this.#frames = options.frames[Symbol.asyncIterator]();
    this.#signal = options.signal;
  }

  /** Resolves when the receiver has taken it whole. @throws StoreError `timeout-connection-lost`, `unhealthy` */
  send(receive: (frames: AsyncIterable<Buffer>) => Promise<void>): Promise<void> {
    const connection = this.#connection;
    return new Promise<void>((resolve, reject) => {
      const fail = (error: unknown): void => {
        unlisten();
        this.#signal.removeEventListener('abort', abort);
        this.#frames.return?.().catch(() => {});
        reject(error);
      };
      const abort = (): void => {
        this.#tellReceiver(() => this.#fail());
        fail(abortError(this.#signal));
      };
      const unlisten = connection.onBreak(this.#from, () =>
        fail(new StoreError('timeout-connection-lost', 'the connection broke')),
      );
      connection.onBreak(this.#to, () => this.#fail());
      this.#signal.addEventListener('abort', abort, { once: true });
      const done = (settle: () => void): void =>
        connection.carry(this.#to, { stream: 'snapshot', inOrder: true }, () => {
          unlisten();
          this.#signal.removeEventListener('abort', abort);
          settle();
        });
      this.#tellReceiver(() => {
        receive(this.#receive()).then(
          () => done(resolve),
          (error: unknown) => {
            const message = error instanceof Error ? error.message : 'unknown';
            done(() => fail(new StoreError('unhealthy', `the peer refused: ${message}`)));
          },
        );
      });
      this.#pump().catch((error: unknown) => {
        this.#tellReceiver(() => this.#fail());
        fail(error);
      });
    });
  }

  async #pump(): Promise<void> {
    for (;;) {
      const next = await this.#frames.next();
      const frame = next.done === true ? null : Buffer.from(next.value);
      const extraMs = (frame?.length ?? 0) / this.#network.rules.bulkBytesPerMs;
      const taken = new Promise<void>((resolve) => {
        this.#taken = resolve;
      });
      this.#connection.carry(this.#from, { stream: 'snapshot', inOrder: true, extraMs }, () => {
        this.#arrived = { frame };
        this.#wakeReceiver?.();
      });
      if (frame === null) return;
      await taken;
    }
  }

  #tellReceiver(action: () => void): void {
    this.#connection.carry(this.#from, { stream: 'snapshot', inOrder: true }, action);
  }

  #fail(): void {
    this.#failed = true;
    this.#wakeReceiver?.();
  }

  async *#receive(): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      while (this.#arrived === null && !this.#failed) {
        await new Promise<void>((resolve) => {
          this.#wakeReceiver = resolve;
        });
      }
      if (this.#failed) throw new StoreError('timeout-connection-lost', 'the connection broke');
      const { frame } = this.#arrived!;
      this.#arrived = null;
      if (frame === null) return;
      this.#connection.carry(this.#to, { stream: 'snapshot-taken', inOrder: true }, () => this.#taken?.());
      yield frame;
    }
  }
}
