import { STREAM_WATCH_ID } from '../core/watch/delivery.ts';
import type { NonceRequest, WatchStream } from '../core/watch/stream.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import type { Freshness } from './freshness.ts';
import type { Clock } from './ports.ts';
import type { Reads } from './reads.ts';

/** When nothing can be proven it is tried again after so long. */
const RETRY_MS = 100;

/** Progress by nonce, told with the age that this member can prove. */
export interface FreshRequest extends NonceRequest {
  /** The answer includes everything acknowledged before the request came in. */
  readonly linearizable: boolean;
}

export interface WatchProofsOptions {
  readonly clock: Clock;
  readonly freshness: Pick<Freshness, 'proof' | 'demand'>;
  readonly reads: Pick<Reads, 'linearizable'>;
  readonly stream: Pick<WatchStream, 'requestNonce' | 'watchers' | 'open'>;
  /** As `WatchLimits.noncesMax`: of each watch, and of the whole stream, the latest so many wait. */
  readonly noncesMax: number;
  /** Aborted when the stream ends. */
  readonly signal: CancelSignal;
}

/**
 * The proofs that fresh progress of one stream waits for. All requests that come while one is under way share the next:
 * however many there are, one waits.
 */
export class WatchProofs {
  readonly #options: WatchProofsOptions;
  /** Nonces that wait for a proof begun after they came in, by watch, oldest first. */
  #waiting = new Map<bigint, readonly bigint[]>();
  #proving = false;

  constructor(options: WatchProofsOptions) {
    this.#options = options;
  }

  request({ watchId, nonce, linearizable }: FreshRequest): void {
    const { freshness, stream } = this.#options;
    if (watchId !== STREAM_WATCH_ID && !stream.watchers.has(watchId)) return;
    freshness.demand();
    if (!linearizable && freshness.proof !== null) {
      stream.requestNonce({ watchId, nonce });
      return;
    }
    this.#wait(watchId, [nonce]);
    if (!this.#proving) void this.#prove();
  }

  async #prove(): Promise<void> {
    const { reads, stream, signal } = this.#options;
    this.#proving = true;
    while (this.#waiting.size > 0 && stream.open && !signal.aborted) {
      const batch = this.#waiting;
      this.#waiting = new Map();
      const isProven = await reads.linearizable(signal).then(
        () => true,
        () => false,
      );
      if (!stream.open) break;
      for (const [watchId, nonces] of batch) {
        if (isProven) for (const nonce of nonces) stream.requestNonce({ watchId, nonce });
        else this.#wait(watchId, nonces, 'first');
      }
      if (!isProven) await this.#pause();
    }
    this.#proving = false;
  }

  #wait(watchId: bigint, nonces: readonly bigint[], place: 'first' | 'last' = 'last'): void {
    // The watch may have been canceled meanwhile; a client that makes and cancels many leaves nothing behind.
    if (watchId !== STREAM_WATCH_ID && !this.#options.stream.watchers.has(watchId)) return;
    const others = this.#waiting.get(watchId) ?? [];
    const all = place === 'first' ? [...nonces, ...others] : [...others, ...nonces];
    this.#waiting.set(watchId, all.slice(-this.#options.noncesMax));
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimer(resolve, RETRY_MS);
    });
  }
}
