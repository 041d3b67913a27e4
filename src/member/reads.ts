import type { RawNode } from '../core/raft/raw-node.ts';
import type { ReadState } from '../core/raft/ready.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError } from '../lib/errors.ts';
import type { Freshness, Instant } from './freshness.ts';
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
  /** Learns what the rounds prove. */
  readonly freshness: Pick<Freshness, 'asked' | 'proven'>;
  /** A round was confirmed, or has to be asked again. */
  readonly roundEnded: (outcome: 'served' | 'failed') => void;
  readonly schedule: () => void;
}

/** Confirmed rounds that wait for apply; beyond it those that no read waits for are forgotten. */
const CONFIRMED_MAX = 1_000;

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
  readonly asked: Instant;
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
  #confirmed: (Round & { readonly index: number })[] = [];
  #nextContext: number;
  #waitingCount = 0;
  readonly #onDone = (): void => {
    this.#waitingCount -= 1;
  };
  #retryHeld = false;
  #probeDue = false;
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

  /** Begins a round soon, whether or not a read waits for it. One that fails is not asked again. */
  probe(): void {
    if (this.#stopped) return;
    this.#probeDue = true;
    this.#options.schedule();
  }

  /** Asks for a round on behalf of all gathered reads. After a refusal it waits for the next tick. */
  flush(): void {
    if ((this.#gathering.length === 0 && !this.#probeDue) || this.#retryHeld) return;
    const waiters = this.#gathering.filter((waiter) => !waiter.done);
    this.#gathering = [];
    if (waiters.length === 0 && !this.#probeDue) return;
    this.#probeDue = false;
    const context = this.#nextContext++;
    this.#rounds.set(context, { asked: this.#options.freshness.asked(), waiters });
    this.#options.node.readIndex(context);
  }

  readState(state: ReadState): void {
    const round = this.#rounds.get(state.context);
    if (round === undefined) return;
    this.#rounds.delete(state.context);
    this.#options.roundEnded(state.index >= 0 ? 'served' : 'failed');
    if (state.index >= 0) {
      if (round.waiters.length > 0 || this.#confirmed.length < CONFIRMED_MAX) {
        this.#confirmed.push({ ...round, index: state.index });
      }
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
    for (const { asked } of ready) this.#options.freshness.proven(asked);
    for (const { waiters } of ready) for (const waiter of waiters) waiter.resolve();
  }

  /** A new leader may answer what the old one could not. */
  leadershipChanged(): void {
    this.#retryHeld = false;
    if (this.#gathering.length > 0 || this.#probeDue) this.#options.schedule();
  }

  tick(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#retryHeld = false;
    for (const [context, round] of this.#rounds) {
      if (nowMs - round.asked.nowMs < this.#options.retryMs) break;
      this.#rounds.delete(context);
      this.#gathering = this.#gathering.concat(round.waiters);
    }
    this.#expire(this.#gathering, nowMs);
    for (const confirmed of this.#confirmed) this.#expire(confirmed.waiters, nowMs);
    if (this.#gathering.length > 0 || this.#probeDue) this.#options.schedule();
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
