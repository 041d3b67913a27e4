import type { RawNode } from '../core/raft/raw-node.ts';
import type { ReadState } from '../core/raft/ready.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError } from '../lib/errors.ts';
import type { Clock } from './ports.ts';

/** Reads a member keeps waiting; beyond it `too-many-requests`. */
const WAITING_MAX = 100_000;

export interface ReadsOptions {
  readonly node: RawNode;
  readonly clock: Clock;
  /** A number that no earlier incarnation of this member has used as a context; counted up from there. */
  readonly firstContext: number;
  /** A round without an answer for this long is asked anew, under a new context. */
  readonly retryMs: number;
  readonly timeoutMs: number;
  readonly applied: () => number;
  /** A round was confirmed, or has to be asked again. */
  readonly roundEnded: (outcome: 'served' | 'failed') => void;
  readonly schedule: () => void;
}

/** A read that waits. It listens to its signal itself: hundreds wait at once, and closures would be most of each. */
class Waiter {
  readonly startedMs: number;
  readonly #signal: CancelSignal;
  readonly #resolve: () => void;
  readonly #reject: (error: StoreError) => void;
  readonly #onDone: () => void;
  done = false;

  constructor(options: {
    readonly startedMs: number;
    readonly signal: CancelSignal;
    readonly resolve: () => void;
    readonly reject: (error: StoreError) => void;
    readonly onDone: () => void;
  }) {
    this.startedMs = options.startedMs;
    this.#signal = options.signal;
    this.#resolve = options.resolve;
    this.#reject = options.reject;
    this.#onDone = options.onDone;
    this.#signal.addEventListener('abort', this);
  }

  resolve(): void {
    if (this.#finish()) this.#resolve();
  }

  reject(error: StoreError): void {
    if (this.#finish()) this.#reject(error);
  }

  handleEvent(): void {
    this.reject(abortError(this.#signal));
  }

  #finish(): boolean {
    if (this.done) return false;
    this.done = true;
    this.#signal.removeEventListener('abort', this);
    this.#onDone();
    return true;
  }
}
interface Round {
  readonly askedMs: number;
  readonly waiters: readonly Waiter[];
}

/**
 * Linearizable reads by ReadIndex (thesis 6.4): every read that waits when a round begins shares it. A read is
 * answered once this member has applied the index that a quorum confirmed after the read had arrived.
 */
export class Reads {
  readonly #options: ReadsOptions;
  #gathering: Waiter[] = [];
  readonly #rounds = new Map<number, Round>();
  /** Confirmed, waiting for apply; by index. */
  #confirmed: { readonly index: number; readonly waiters: readonly Waiter[] }[] = [];
  #nextContext: number;
  #waitingCount = 0;
  readonly #onDone = (): void => {
    this.#waitingCount -= 1;
  };
  #retryHeld = false;
  #stopped = false;

  constructor(options: ReadsOptions) {
    this.#options = options;
    this.#nextContext = options.firstContext;
  }

  /**
   * Resolves when the local state includes everything acknowledged before the call.
   *
   * @throws StoreError `timeout`, `canceled`, `too-many-requests`, `stopped`
   */
  linearizable(signal: CancelSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped || signal.aborted) {
        reject(this.#stopped ? new StoreError('stopped') : abortError(signal));
        return;
      }
      if (this.#waitingCount >= WAITING_MAX) {
        reject(new StoreError('too-many-requests'));
        return;
      }
      const startedMs = this.#options.clock.nowMs();
      const waiter = new Waiter({ startedMs, signal, resolve, reject, onDone: this.#onDone });
      this.#waitingCount += 1;
      this.#gathering.push(waiter);
      this.#options.schedule();
    });
  }

  /** Asks for a round on behalf of all gathered reads. After a refusal it waits for the next tick. */
  flush(): void {
    if (this.#gathering.length === 0 || this.#retryHeld) return;
    const waiters = this.#gathering.filter((waiter) => !waiter.done);
    this.#gathering = [];
    if (waiters.length === 0) return;
    const context = this.#nextContext++;
    this.#rounds.set(context, { askedMs: this.#options.clock.nowMs(), waiters });
    this.#options.node.readIndex(context);
  }

  readState(state: ReadState): void {
    const round = this.#rounds.get(state.context);
    if (round === undefined) return;
    this.#rounds.delete(state.context);
    this.#options.roundEnded(state.index >= 0 ? 'served' : 'failed');
    if (state.index >= 0) {
      this.#confirmed.push({ index: state.index, waiters: round.waiters });
      this.appliedTo(this.#options.applied());
      return;
    }
    this.#gathering = this.#gathering.concat(round.waiters);
    this.#retryHeld = true;
  }

  appliedTo(index: number): void {
    if (this.#confirmed.length === 0) return;
    const ready = this.#confirmed.filter((confirmed) => confirmed.index <= index);
    if (ready.length === 0) return;
    this.#confirmed = this.#confirmed.filter((confirmed) => confirmed.index > index);
    for (const confirmed of ready) for (const waiter of confirmed.waiters) waiter.resolve();
  }

  /** A new leader may answer what the old one could not. */
  leadershipChanged(): void {
    this.#retryHeld = false;
    if (this.#gathering.length > 0) this.#options.schedule();
  }

  tick(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#retryHeld = false;
    for (const [context, round] of this.#rounds) {
      if (nowMs - round.askedMs < this.#options.retryMs) break;
      this.#rounds.delete(context);
      this.#gathering = this.#gathering.concat(round.waiters);
    }
    this.#expire(this.#gathering, nowMs);
    for (const confirmed of this.#confirmed) this.#expire(confirmed.waiters, nowMs);
    if (this.#gathering.length > 0) this.#options.schedule();
  }

  stop(): void {
    this.#stopped = true;
    const rounds = [...this.#rounds.values(), ...this.#confirmed, { waiters: this.#gathering }];
    for (const { waiters } of rounds) for (const waiter of waiters) waiter.reject(new StoreError('stopped'));
  }

  #expire(waiters: readonly Waiter[], nowMs: number): void {
    for (const waiter of waiters) {
      if (nowMs - waiter.startedMs >= this.#options.timeoutMs) waiter.reject(new StoreError('timeout'));
    }
  }
}
