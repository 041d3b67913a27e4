import { type Command, encodeCommand, type Operation, type ProposalId } from '../core/command.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import type { Applied } from '../core/state-machine.ts';
import { abortError, StoreError, type StoreErrorCode } from '../lib/errors.ts';
import type { Clock } from './ports.ts';
import type { LeadershipView } from './ready-loop.ts';

/** Proposals a member keeps waiting for their apply; beyond it `too-many-requests`. */
const PENDING_MAX = 50_000;
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
  readonly view: () => LeadershipView;
  /** Carries encoded commands to the leader, once. Rejects with `no-leader` when surely not sent. */
  readonly forward: (leader: MemberId, commands: readonly Buffer[]) => Promise<ForwardAnswer>;
  /** A caller got its outcome, or none. */
  readonly answered: (outcome: 'applied' | 'failed') => void;
  /** Asks for a turn of the loop, in which `flush` runs. */
  readonly schedule: () => void;
}

export interface CallContext {
  readonly signal: AbortSignal;
  readonly user?: string | undefined;
  readonly authRevision?: number | undefined;
}

interface Pending {
  readonly id: ProposalId;
  readonly data: Buffer;
  readonly startedMs: number;
  readonly resolve: (applied: Applied) => void;
  readonly reject: (error: StoreError) => void;
  readonly unlisten: () => void;
  /** The connection broke after the proposal may have left: the outcome is unknown until it is applied. */
  ambiguous: boolean;
}

/**
 * Turns an operation into a log entry and waits for this member's own apply of it. A proposal enters the log at
 * most once: it is handed on again only after an explicit refusal, never after a broken connection.
 */
export class Proposals {
  readonly #options: ProposalsOptions;
  /** By sequence number, oldest first, which is also the order of their deadlines. */
  readonly #pending = new Map<number, Pending>();
  /** Not yet handed to a leader. */
  #queue: Pending[] = [];
  #forwards = 0;
  #nextSeq = 1;
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
      const pending = this.#register(operation, context, { resolve, reject });
      this.#queue.push(pending);
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
      const pending = this.#register(operation, context, { resolve, reject });
      const code = enter(pending.data);
      if (code !== null) this.#settle(pending, new StoreError(code));
    });
  }

  /** Hands everything gathered to the leader: into Raft here, or over the request stream. */
  flush(): void {
    if (this.#queue.length === 0) return;
    const { leader, role } = this.#options.view();
    if (role === 'leader') this.#proposeLocally();
    else if (leader !== 0) this.#forwardTo(leader);
  }

  /** Resolves the waiting caller if the entry came from this member. */
  applied(applied: Applied): void {
    const id = applied.proposal;
    if (id === null || id.member !== this.#options.member || id.incarnation !== this.#options.incarnation)
      return;
    const pending = this.#pending.get(id.seq);
    if (pending === undefined) return;
    this.#pending.delete(id.seq);
    pending.unlisten();
    this.#options.answered('applied');
    pending.resolve(applied);
  }

  leadershipChanged(): void {
    if (this.#options.view().leader === 0) this.#leaderLostMs = this.#options.clock.nowMs();
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
    return this.#pending.size >= PENDING_MAX ? new StoreError('too-many-requests') : null;
  }

  #register(
    operation: Operation,
    context: CallContext,
    settle: { readonly resolve: (applied: Applied) => void; readonly reject: (error: StoreError) => void },
  ): Pending {
    const { member, incarnation, clock } = this.#options;
    const id = { member, incarnation, seq: this.#nextSeq++ };
    const command: Command = {
      id,
      user: context.user ?? '',
      authRevision: context.authRevision ?? 0,
      operation,
    };
    const onAbort = (): void => this.#settle(pending, abortError(context.signal));
    const pending: Pending = {
      id,
      data: encodeCommand(command),
      startedMs: clock.nowMs(),
      ...settle,
      unlisten: () => context.signal.removeEventListener('abort', onAbort),
      ambiguous: false,
    };
    context.signal.addEventListener('abort', onAbort, { once: true });
    this.#pending.set(id.seq, pending);
    return pending;
  }

  #proposeLocally(): void {
    const batch = this.#takeQueue();
    if (batch.length === 0) return;
    const outcome = this.#options.node.propose(batch.map((pending) => pending.data));
    if (!outcome.ok) this.#refused(batch, outcome.reason === 'busy' ? 'busy' : 'refused');
  }

  #forwardTo(leader: MemberId): void {
    let batch: Pending[] = [];
    let bytes = 0;
    const waiting = this.#takeQueue();
    for (const [position, pending] of waiting.entries()) {
      if (batch.length > 0 && bytes + pending.data.length > FORWARD_BYTES_MAX) {
        this.#forwardBatch(leader, batch);
        batch = [];
        bytes = 0;
      }
      if (this.#forwards >= FORWARDS_MAX) {
        this.#queue.push(...waiting.slice(position));
        return;
      }
      batch.push(pending);
      bytes += pending.data.length;
    }
    if (batch.length > 0) this.#forwardBatch(leader, batch);
  }

  #forwardBatch(leader: MemberId, batch: readonly Pending[]): void {
    this.#forwards += 1;
    const done = (): void => {
      this.#forwards -= 1;
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
          if (answer !== 'accepted') this.#refused(batch, answer);
        },
        (error: unknown) => {
          done();
          if (error instanceof StoreError && error.code === 'no-leader') this.#refused(batch, 'refused');
          else for (const pending of batch) pending.ambiguous = true;
        },
      );
  }

  /** Surely not in the log: overload is told to the caller, anything else waits for a leader. */
  #refused(batch: readonly Pending[], answer: 'refused' | 'busy'): void {
    for (const pending of batch) {
      if (answer === 'busy') this.#settle(pending, new StoreError('too-many-requests'));
      else if (this.#pending.has(pending.id.seq)) this.#queue.push(pending);
    }
  }

  /** The queue without those who gave up meanwhile. */
  #takeQueue(): Pending[] {
    const queue = this.#queue.filter((pending) => this.#pending.has(pending.id.seq));
    this.#queue = [];
    return queue;
  }

  #settle(pending: Pending, error: StoreError): void {
    if (!this.#pending.delete(pending.id.seq)) return;
    pending.unlisten();
    this.#options.answered('failed');
    pending.reject(error);
  }

  #timeoutCode(pending: Pending): StoreErrorCode {
    if (pending.ambiguous) return 'timeout-connection-lost';
    return this.#leaderLostMs >= pending.startedMs ? 'timeout-leader-failure' : 'timeout';
  }
}
