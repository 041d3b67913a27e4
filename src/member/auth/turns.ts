import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';

/** Who waits: where he is, and for how long it is worth while. */
export interface Asker {
  /** Empty = not known; all of those count as one. */
  readonly address?: string;
  readonly signal?: CancelSignal;
  /** Asked when the turn has come; what it throws ends it. */
  readonly check?: () => void;
}

interface Waiter {
  readonly begin: () => void;
  readonly refuse: () => void;
}

/**
 * Lets a few at a time do something costly. The others wait, each address in a line of its own, and the lines are served
 * in turn: nobody waits for all that another has asked for. When all places are taken, the longest line gives one up.
 */
export class Turns {
  readonly #concurrentMax: number;
  readonly #waitingMax: number;
  /** By address; the one whose turn it is comes first. No line is empty. */
  readonly #lines = new Map<string, Set<Waiter>>();
  #waiting = 0;
  #running = 0;

  constructor(limits: { readonly concurrentMax: number; readonly waitingMax: number }) {
    this.#concurrentMax = limits.concurrentMax;
    this.#waitingMax = limits.waitingMax;
  }

  /** @throws StoreError `too-many-requests`, why the signal was aborted, and what `check` and `work` throw */
  async take<T>(asker: Asker, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#concurrentMax) this.#running += 1;
    else await this.#wait(asker);
    try {
      asker.check?.();
      return await work();
    } finally {
      if (!this.#beginNext()) this.#running -= 1;
    }
  }

  async #wait({ address = '', signal }: Asker): Promise<void> {
    if (signal?.aborted) throw abortError(signal);
    if (this.#waiting >= this.#waitingMax) this.#makeRoom(address);
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        signal?.removeEventListener('abort', onAbort);
        this.#remove(address, waiter);
      };
      const onAbort = (): void => {
        settle();
        reject(abortError(signal!));
      };
      const waiter: Waiter = {
        begin: () => {
          settle();
          resolve();
        },
        refuse: () => {
          settle();
          reject(new StoreError('too-many-requests'));
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#add(address, waiter);
    });
  }

  /** The place that ends goes over to the next: nobody comes in between. */
  #beginNext(): boolean {
    for (const [address, line] of this.#lines) {
      this.#lines.delete(address);
      this.#lines.set(address, line);
      for (const waiter of line) {
        waiter.begin();
        return true;
      }
    }
    return false;
  }

  /** @throws StoreError `too-many-requests` when no other line is longer than this address's would be */
  #makeRoom(address: string): void {
    let longest: ReadonlySet<Waiter> = new Set();
    for (const line of this.#lines.values()) if (line.size > longest.size) longest = line;
    const own = this.#lines.get(address)?.size ?? 0;
    const last = [...longest].at(-1);
    if (last === undefined || longest.size <= own + 1) throw new StoreError('too-many-requests');
    last.refuse();
  }

  #add(address: string, waiter: Waiter): void {
    const line = this.#lines.get(address) ?? new Set();
    this.#lines.set(address, line.add(waiter));
    this.#waiting += 1;
  }

  #remove(address: string, waiter: Waiter): void {
    const line = this.#lines.get(address);
    if (line?.delete(waiter) !== true) return;
    this.#waiting -= 1;
    if (line.size === 0) this.#lines.delete(address);
  }
}
