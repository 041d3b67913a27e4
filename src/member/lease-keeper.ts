import type { Principal } from '../core/auth/operations.ts';
import type { Operation } from '../core/command.ts';
import type { Lessor } from '../core/lease/lessor.ts';
import type { Applied } from '../core/state-machine.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { orAborted } from './deadline.ts';
import type { Clock } from './ports.ts';
import type { CallContext } from './proposals.ts';

/** Leases whose expiry one proposal carries, and how often at most a proposal is made: 1,000 a second in all. */
const EXPIRE_BATCH_MAX = 250;
const EXPIRE_INTERVAL_MS = 250;
/** Remaining-time checkpoints of long leases that one proposal carries. */
const CHECKPOINT_BATCH_MAX = 1_000;
const CHECKPOINT_INTERVAL_MS = 10_000;

export interface LeaseKeeperOptions {
  readonly clock: Clock;
  readonly lessor: () => Lessor;
  /** A new leader gives every lease at least this much more: clients may have renewed at the old one. */
  readonly extendMs: number;
  readonly propose: (operation: Operation, context: CallContext) => Promise<Applied>;
  readonly linearizable: (signal: CancelSignal) => Promise<void>;
  /** Why a principal may not keep a lease alive, or null. */
  readonly refusal: (principal: Principal, id: bigint) => StoreErrorCode | null;
}
export interface Renewal {
  readonly id: bigint;
  /** On whose behalf, as a command carries it. */
  readonly user: string;
  readonly authRevision: number;
}

/**
 * Gives leases their time. Only the leader's clock counts: it proposes expiry, fenced by its term, so that a
 * leader that was stalled past its own deposition cannot take a living lease (RELIABILITY P41).
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  /** Ends the proposals of this term: handed on to a next leader, they would speak of an old clock. */
  #abort = new AbortController();
  /** The term in which this member keeps time, or 0. */
  #term = 0;
  /** Settles when the expiry that is proposed now is applied, or can no more be in this term. */
  #expiry: Promise<void> | null = null;
  #checkpointing = false;
  #expiredAtMs = Number.NEGATIVE_INFINITY;
  #checkpointedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /** The leader's no-op of this term is applied: everything granted before is known here. */
  promote(term: number): void {
    this.#term = term;
    this.#abort = new AbortController();
    this.#options.lessor().promote(this.#options.clock.nowMs(), this.#options.extendMs);
  }

  demote(): void {
    if (this.#term === 0) return;
    this.#term = 0;
    this.#expiry = null;
    this.#abort.abort();
    this.#options.lessor().demote();
  }

  /**
   * Renews at the leader. Acknowledged only after a read round begun after the call: the lease existed and this
   * was the leader meanwhile (RELIABILITY L4).
   *
   * @returns the granted time to live in seconds, 0 when the lease is gone
   * @throws StoreError `not-leader`, as a linearizable read, or why this user may not
   */
  async renew({ id, user, authRevision }: Renewal, signal: CancelSignal): Promise<number> {
    const term = this.#term;
    if (term === 0) throw new StoreError('not-leader');
    await this.#options.linearizable(signal);
    // A proposed expiry may still fail: only its outcome says whether the lease is gone.
    while (this.#term === term && this.#expiry !== null && this.#options.lessor().isExpiring(id))
      await orAborted(signal, this.#expiry);
    if (this.#term !== term) throw new StoreError('not-leader');
    const refusal = this.#options.refusal({ user, revision: authRevision }, id);
    if (refusal !== null) throw new StoreError(refusal);
    const lessor = this.#options.lessor();
    const ttlSeconds = lessor.renew(id, this.#options.clock.nowMs());
    if (ttlSeconds > 0 && lessor.needsCheckpointReset(id)) {
      // Otherwise a next leader would start from the old checkpoint and end the lease too early.
      await this.#options.propose(
        { type: 'lease-checkpoint', checkpoints: [{ id, remainingSeconds: 0 }] },
        { signal },
      );
      if (this.#term !== term) throw new StoreError('not-leader');
    }
    return ttlSeconds;
  }

  /** @throws StoreError `not-leader`, or as a linearizable read */
  async remainingSeconds(id: bigint, signal: CancelSignal): Promise<number> {
    if (this.#term === 0) throw new StoreError('not-leader');
    await this.#options.linearizable(signal);
    if (this.#term === 0) throw new StoreError('not-leader');
    return this.#options.lessor().remaining(id, this.#options.clock.nowMs());
  }

  tick(): void {
    if (this.#term === 0) return;
    const nowMs = this.#options.clock.nowMs();
    if (this.#expiry === null && nowMs - this.#expiredAtMs >= EXPIRE_INTERVAL_MS) this.#expire(nowMs);
    if (!this.#checkpointing && nowMs - this.#checkpointedAtMs >= CHECKPOINT_INTERVAL_MS)
      this.#checkpoint(nowMs);
  }

  stop(): void {
    this.#abort.abort();
  }

  #expire(nowMs: number): void {
    this.#expiredAtMs = nowMs;
    const lessor = this.#options.lessor();
    const ids = lessor.expired(nowMs, EXPIRE_BATCH_MAX);
    if (ids.length === 0) return;
    // From here until the expiry is settled a keep-alive of these leases is not acknowledged.
    lessor.markExpiring(ids);
    const term = this.#term;
    this.#expiry = this.#applyExpiry(ids).then(() => {
      if (this.#term !== term) return;
      this.#expiry = null;
      lessor.clearExpiring(ids);
    });
  }

  /**
   * Resolves when the expiry is applied, or the term is over. A proposal that failed may be in the log all the same,
   * and be applied much later: only one after it in the same term says that it was.
   */
  async #applyExpiry(ids: readonly bigint[]): Promise<void> {
    const { clock } = this.#options;
    const term = this.#term;
    while (this.#term === term) {
      const isApplied = await this.#propose({ type: 'lease-expire', term, ids }).then(
        () => true,
        () => false,
      );
      if (isApplied) return;
      await new Promise<void>((resolve) => {
        clock.setTimer(resolve, EXPIRE_INTERVAL_MS);
      });
    }
  }

  #checkpoint(nowMs: number): void {
    this.#checkpointedAtMs = nowMs;
    const checkpoints = this.#options.lessor().dueCheckpoints(nowMs, CHECKPOINT_BATCH_MAX);
    if (checkpoints.length === 0) return;
    this.#checkpointing = true;
    const settled = (): void => {
      this.#checkpointing = false;
    };
    this.#propose({ type: 'lease-checkpoint', checkpoints }).then(settled, settled);
  }

  #propose(operation: Operation): Promise<Applied> {
    return this.#options.propose(operation, { signal: this.#abort.signal });
  }
}
