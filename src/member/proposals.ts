import { encodeCommand, type Operation, type ProposalId } from '../core/command.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import type { Applied } from '../core/state-machine.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { SequenceMap } from '../lib/sequence-map.ts';
import type { Clock } from './ports.ts';

/** Proposals a member keeps waiting for their apply, and their bytes; beyond either `too-many-requests`. */
const PENDING_MAX = 50_000;
const PENDING_BYTES_MAX = 256 * 1024 * 1024;
/** Committed entries that this member has yet to apply, above which it takes no more; as in etcd. */
const APPLY_LAG_ENTRIES_MAX = 5_000;
/** Bytes of proposals that one forwarded request carries; a larger single proposal goes alone. */
const FORWARD_BYTES_MAX = 1024 * 1024;
/** Forwarded requests in flight towards the leader. */
const FORWARDS_MAX = 16;

/** The leader's answer to forwarded proposals. `refused`: surely not in the log. */
export type ForwardAnswer = 'accepted' | 'refused' | 'busy';

export interface ProposalsOptions {
  readonly node: RawNode;
  readonly clock: Clock;
  readonly member: MemberId;
  readonly incarnation: number;
  /** After this the caller hears of a timeout; the proposal may still be applied later. */
  readonly timeoutMs: number;
  /**
   * Carries encoded commands to the leader of `term`, once; it refuses them in any other term. Rejects with
   * `no-leader` or `too-many-requests` when surely not sent, with `request-too-large` or `unimplemented` when they
   * never can be; anything else leaves open what became of them.
   */
  readonly forward: (
    leader: { readonly id: MemberId; readonly term: number },
    commands: readonly Buffer[],
  ) => Promise<ForwardAnswer>;
  /** A caller got its outcome, or none. */
  readonly answered: (outcome: 'applied' | 'failed') => void;
  /** Asks for a turn of the loop, in which `flush` runs. */
  readonly schedule: () => void;
}

interface Leader {
  readonly id: MemberId;
  readonly term: number;
}

export interface CallContext {
  readonly signal: CancelSignal;
  readonly user?: string | undefined;
  readonly authRevision?: number | undefined;
}

interface Pending {
  readonly id: ProposalId;
  readonly data: Buffer;
  readonly startedMs: number;
  readonly resolve: (applied: Applied) => void;
  readonly reject: (error: StoreError) => void;
  readonly signal: CancelSignal;
  readonly onAbort: () => void;
  /** The term of the leader it was handed to, or 0 while nobody has it. */
  handedTerm: number;
  /** Whether it may be handed on anew once it is surely lost. */
  readonly repeatable: boolean;
  /** The connection broke after the proposal may have left: the outcome is unknown until it is applied. */
  ambiguous: boolean;
}

/**
 * Turns an operation into a log entry and waits for this member's own apply of it. A proposal takes effect at most
 * once: it is handed on again only when it was refused, or when it is surely lost. It is lost when an entry of a
 * later term is applied than that of the leader it was handed to: terms never go back in a log, and a leader takes a
 * forwarded proposal only in the very term it was meant for.
 */
export class Proposals {
  readonly #options: ProposalsOptions;
  /** By sequence number, oldest first, which is also the order of their deadlines. */
  readonly #pending = new SequenceMap<Pending>(1);
  /** Not yet handed to a leader. */
  #queue: Pending[] = [];
  #pendingBytes = 0;
  /** Forwarded requests without an answer from the leader of `#forwardsTerm`. */
  #forwards = 0;
  #forwardsTerm = 0;
  #appliedTerm = 0;
  #leaderLostMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: ProposalsOptions) {
    this.#options = options;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /**
   * @returns the outcome as this member applied it, a refusal by the state machine included
   * @throws StoreError `too-many-requests`, `timeout`, `timeout-leader-failure`, `timeout-connection-lost`,
   *   `canceled`, `stopped`. After a timeout or a cancel the operation may or may not happen.
   */
  propose(operation: Operation, context: CallContext): Promise<Applied> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(context);
      if (refusal !== null) {
        reject(refusal);
        return;
      }
      this.#queue.push(this.#register(operation, context, { resolve, reject, repeatable: true }));
      this.#options.schedule();
    });
  }

  /** Registers a command that the caller itself brings into the log (a membership change on the leader). */
  proposeWith(
    operation: Operation,
    context: CallContext,
    enter: (data: Buffer) => StoreErrorCode | null,
  ): Promise<Applied> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(context);
      if (refusal !== null) {
        reject(refusal);
        return;
      }
      const pending = this.#register(operation, context, { resolve, reject, repeatable: false });
      pending.handedTerm = this.#options.node.leadership.term;
      const code = enter(pending.data);
      if (code !== null) this.#settle(pending, new StoreError(code));
    });
  }

  /** Hands everything gathered to the leader: into Raft here, or over the request stream. */
  flush(): void {
    if (this.#queue.length === 0) return;
    const { leader, role, term } = this.#options.node.leadership;
    if (role === 'leader') this.#proposeLocally(term);
    else if (leader !== 0) this.#forwardTo({ id: leader, term });
  }

  /** An entry of `term` is about to be applied: what was handed to earlier leaders and is still unapplied is lost. */
  termApplied(term: number): void {
    if (term <= this.#appliedTerm) return;
    this.#appliedTerm = term;
    for (const pending of this.#pending.values()) {
      if (pending.handedTerm === 0 || pending.handedTerm >= term) continue;
      if (pending.repeatable) this.#enqueue(pending);
      else this.#settle(pending, new StoreError('leader-changed'));
    }
    if (this.#queue.length > 0) this.#options.schedule();
  }

  /** A whole state came from the leader: whether it holds what was handed on cannot be told any more. */
  restored(): void {
    for (const pending of this.#pending.values()) {
      if (pending.handedTerm !== 0) this.#settle(pending, new StoreError('timeout-connection-lost'));
    }
  }

  /** Resolves the waiting caller if the entry came from this member. */
  applied(applied: Applied): void {
    const id = applied.proposal;
    if (id === null || id.member !== this.#options.member || id.incarnation !== this.#options.incarnation)
      return;
    const pending = this.#pending.get(id.seq);
    if (pending === undefined) return;
    this.#release(pending);
    this.#options.answered('applied');
    pending.resolve(applied);
  }

  leadershipChanged(): void {
    if (this.#options.node.leadership.leader === 0) this.#leaderLostMs = this.#options.clock.nowMs();
    this.#options.schedule();
  }

  /** Ends what has waited too long. */
  tick(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const pending of this.#pending.values()) {
      if (nowMs - pending.startedMs < this.#options.timeoutMs) break;
      this.#settle(pending, new StoreError(this.#timeoutCode(pending)));
    }
    if (this.#queue.length > 0) this.#options.schedule();
  }

  stop(): void {
    this.#stopped = true;
    for (const pending of this.#pending.values()) this.#settle(pending, new StoreError('stopped'));
  }

  #refusal(context: CallContext): StoreError | null {
    if (this.#stopped) return new StoreError('stopped');
    if (context.signal.aborted) return abortError(context.signal);
    if (this.#options.node.applyLagEntries > APPLY_LAG_ENTRIES_MAX)
      return new StoreError('too-many-requests');
    const isFull = this.#pending.size >= PENDING_MAX || this.#pendingBytes >= PENDING_BYTES_MAX;
    return isFull ? new StoreError('too-many-requests') : null;
  }

  #register(
    operation: Operation,
    context: CallContext,
    caller: Pick<Pending, 'resolve' | 'reject' | 'repeatable'>,
  ): Pending {
    const { member, incarnation, clock } = this.#options;
    const { signal, user = '', authRevision = 0 } = context;
    const id = { member, incarnation, seq: this.#pending.next };
    const pending: Pending = {
      id,
      data: encodeCommand({ id, user, authRevision, operation }),
      startedMs: clock.nowMs(),
      resolve: caller.resolve,
      reject: caller.reject,
      signal,
      onAbort: () => this.#settle(pending, abortError(signal)),
      handedTerm: 0,
      repeatable: caller.repeatable,
      ambiguous: false,
    };
    signal.addEventListener('abort', pending.onAbort);
    this.#pending.push(pending);
    this.#pendingBytes += pending.data.length;
    return pending;
  }

  #proposeLocally(term: number): void {
    const batch = this.#takeQueue(term);
    if (batch.length === 0) return;
    const outcome = this.#options.node.propose(batch.map((pending) => pending.data));
    if (!outcome.ok) this.#refused(batch, term, outcome.reason === 'busy' ? 'busy' : 'refused');
  }

  #forwardTo(leader: Leader): void {
    if (leader.term !== this.#forwardsTerm) {
      // A leader that is cut off may owe its answers for long; its successor must not wait for them.
      this.#forwardsTerm = leader.term;
      this.#forwards = 0;
    }
    let batch: Pending[] = [];
    let bytes = 0;
    const waiting = this.#takeQueue(leader.term);
    for (const [position, pending] of waiting.entries()) {
      if (batch.length > 0 && bytes + pending.data.length > FORWARD_BYTES_MAX) {
        this.#forwardBatch(leader, batch);
        batch = [];
        bytes = 0;
      }
      if (this.#forwards >= FORWARDS_MAX) {
        for (const held of waiting.slice(position)) this.#enqueue(held);
        return;
      }
      batch.push(pending);
      bytes += pending.data.length;
    }
    if (batch.length > 0) this.#forwardBatch(leader, batch);
  }

  #forwardBatch(leader: Leader, batch: readonly Pending[]): void {
    this.#forwards += 1;
    const done = (): void => {
      if (leader.term === this.#forwardsTerm) this.#forwards -= 1;
      if (this.#queue.length > 0) this.#options.schedule();
    };
    this.#options
      .forward(
        leader,
        batch.map((pending) => pending.data),
      )
      .then(
        (answer) => {
          done();
          if (answer !== 'accepted') this.#refused(batch, leader.term, answer);
        },
        (error: unknown) => {
          done();
          this.#forwardFailed(batch, leader.term, error);
        },
      );
  }

  /** Only a connection that broke leaves the outcome open. */
  #forwardFailed(batch: readonly Pending[], term: number, error: unknown): void {
    const code = error instanceof StoreError ? error.code : 'timeout-connection-lost';
    switch (code) {
      case 'no-leader':
      case 'too-many-requests':
        this.#refused(batch, term, 'refused');
        return;
      case 'request-too-large':
      case 'unimplemented':
        for (const pending of batch) {
          if (pending.handedTerm === term) this.#settle(pending, new StoreError(code));
        }
        return;
      default:
        for (const pending of batch) pending.ambiguous = true;
    }
  }

  /** Not in the log of this term's leader: overload is told to the caller, anything else waits for a leader. */
  #refused(batch: readonly Pending[], term: number, answer: 'refused' | 'busy'): void {
    for (const pending of batch) {
      if (pending.handedTerm !== term) continue;
      if (answer === 'busy') this.#settle(pending, new StoreError('too-many-requests'));
      else this.#enqueue(pending);
    }
  }

  #enqueue(pending: Pending): void {
    pending.handedTerm = 0;
    if (this.#pending.get(pending.id.seq) !== undefined) this.#queue.push(pending);
  }

  /** The queue without those who gave up meanwhile, on its way to the leader of `term`. */
  #takeQueue(term: number): Pending[] {
    const queue = this.#queue.filter((pending) => this.#pending.get(pending.id.seq) !== undefined);
    this.#queue = [];
    for (const pending of queue) pending.handedTerm = term;
    return queue;
  }

  #settle(pending: Pending, error: StoreError): void {
    if (this.#pending.get(pending.id.seq) === undefined) return;
    this.#release(pending);
    this.#options.answered('failed');
    pending.reject(error);
  }

  #release(pending: Pending): void {
    this.#pending.delete(pending.id.seq);
    this.#pendingBytes -= pending.data.length;
    pending.signal.removeEventListener('abort', pending.onAbort);
  }

  #timeoutCode(pending: Pending): StoreErrorCode {
    if (pending.ambiguous) return 'timeout-connection-lost';
    return this.#leaderLostMs >= pending.startedMs ? 'timeout-leader-failure' : 'timeout';
  }
}
