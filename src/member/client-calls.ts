import type { Principal } from '../core/auth/operations.ts';
import { type AccessState, opRefusal } from '../core/auth/txn-access.ts';
import { authRefusal } from '../core/auth-admission.ts';
import type { Operation } from '../core/command.ts';
import type { RequestOp } from '../core/mvcc/operations.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { Applied, CommandResult, StateMachine } from '../core/state-machine.ts';
import { assert } from '../lib/assert.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { type Access, type ClientContext, permit } from './auth/access.ts';
import type { Freshness } from './freshness.ts';
import type { MemberObserver } from './observer.ts';
import type { CallContext, Proposals } from './proposals.ts';
import type { Reads } from './reads.ts';
import type { ReadyLoop } from './ready-loop.ts';
import type { SlicedReadContext } from './sliced-reads.ts';

export interface Header {
  readonly clusterId: number;
  readonly memberId: MemberId;
  /** The store's revision when the answer was made. */
  readonly revision: number;
  readonly raftTerm: number;
}
export interface Answer<T> {
  readonly header: Header;
  readonly result: T;
  /**
   * Of bounded reads: the answer reflects everything acknowledged more than so many ms before it was made. Whole, never
   * too low.
   */
  readonly ageMs?: number;
}
/** A read's own context; `reserve` waits for room for a large answer. */
export type ReadContext = ClientContext &
  Pick<SlicedReadContext, 'reserve'> & {
    readonly serializable: boolean;
    /** The age that the answer may have, in ms; a read that says so is neither serializable nor linearizable. */
    readonly maxStalenessMs?: number | undefined;
  };

type SlicedRead<T> = (context: SlicedReadContext) => T | Promise<T>;

/** On whose behalf something is done, and how long it may take. */
export interface Caller {
  readonly signal: CancelSignal;
  readonly user: string;
  readonly authRevision: number;
}

export interface ClientCallsOptions {
  readonly clusterId: number;
  readonly memberId: MemberId;
  readonly loop: ReadyLoop;
  readonly access: Access;
  readonly proposals: Pick<Proposals, 'propose'>;
  readonly reads: Pick<Reads, 'linearizable'>;
  readonly freshness: Freshness;
  /** Whether a learner serves reads that are linearizable; etcd's do not. */
  readonly learnerLinearizableReads: boolean;
  readonly observer: Pick<MemberObserver, 'boundedRead'>;
  /** The member must not go on. */
  readonly fatal: (error: unknown) => void;
}

/**
 * What every client's request goes through, whatever it asks for: who asks is found out, whether he may is decided, the
 * work is done by a command in the log or by a read of the state, and the answer gets its header.
 */
export class ClientCalls {
  readonly #options: ClientCallsOptions;

  constructor(options: ClientCallsOptions) {
    this.#options = options;
  }

  /** The state as this member has applied it. */
  get machine(): StateMachine {
    return this.#options.loop.replica.machine;
  }

  header(revision = this.machine.store.currentRevision): Header {
    const { clusterId, memberId, loop } = this.#options;
    return { clusterId, memberId, revision, raftTerm: loop.view.term };
  }

  answer<T>(result: T): Answer<T> {
    return { header: this.header(), result };
  }

  /** @throws StoreError as `Reads.linearizable` */
  linearizable(signal: CancelSignal): Promise<void> {
    return this.#options.reads.linearizable(signal);
  }

  // ---- through the log --------------------------------------------------------------------------------------

  /** A command whose result is the answer. The header's revision is that of its entry. */
  async propose<T extends CommandResult['type']>(
    operation: Operation & { readonly type: T },
    context: ClientContext,
    admit?: () => void,
  ): Promise<Answer<Extract<CommandResult, { type: T }>>> {
    const { type } = operation;
    const { result, revision } = await this.#commanded(operation, context, admit);
    assert(result.type === type, 'a command answers with its own kind of result');
    return { header: this.header(revision), result: result as Extract<CommandResult, { type: T }> };
  }

  /**
   * What is not allowed is refused before it costs a log entry; what counts is decided at the entry's index.
   *
   * @param admit what else is to be checked, of requests that are allowed only
   * @throws StoreError what the command was refused for, beside the codes of a proposal
   */
  async command(
    operation: Operation,
    context: ClientContext,
    admit?: () => void,
  ): Promise<{ readonly result: CommandResult; readonly revision: number }> {
    return this.#commanded(operation, context, admit);
  }

  /** A command on behalf of somebody who is known already. */
  commandFrom(operation: Operation, caller: CallContext): Promise<CommandOutcome> {
    return this.#options.proposals.propose(operation, caller).then(outcomeOf);
  }

  /** As `command`, but it may throw at once. */
  #commanded(operation: Operation, context: ClientContext, admit?: () => void): Promise<CommandOutcome> {
    const { signal } = context;
    return this.#options.access.as(context, (principal) => {
      const { user, revision: authRevision } = principal;
      const refusal = (): StoreErrorCode | null => authRefusal(operation, principal, this.machine.access);
      const enter = (): Promise<CommandOutcome> => {
        admit?.();
        return this.commandFrom(operation, { signal, user, authRevision });
      };
      return refusal() === null ? enter() : this.#permit(refusal, signal).then(enter);
    });
  }

  // ---- from the state ---------------------------------------------------------------------------------------

  /** A row that cannot be read, or is not what was written, ends the member: it must not answer from such a disk. */
  read<T>(read: (machine: StateMachine) => T): T {
    try {
      return read(this.machine);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'storage') this.#options.fatal(error);
      throw error;
    }
  }

  /**
   * A read that may take a while: decided in the step that pins its revision, and anew before any more is read.
   *
   * @throws StoreError `not-supported-for-learner`
   */
  async reading<T extends { readonly revision: number }>(
    request: RequestOp,
    context: ReadContext,
    read: SlicedRead<T>,
  ): Promise<Answer<T>> {
    if (context.maxStalenessMs !== undefined) {
      return this.#boundedRead(context.maxStalenessMs, context.signal, () =>
        this.#read(request, context, read),
      );
    }
    if (!context.serializable) {
      this.#refuseOnLearner();
      await this.linearizable(context.signal);
    }
    return this.#read(request, context, read);
  }

  /**
   * Local when this member can prove that the answer is no older than that at its moment, else after a round. What is
   * read reflects the proof that there was before: a later one says nothing about it.
   */
  async #boundedRead<T>(
    maxStalenessMs: number,
    signal: CancelSignal,
    read: () => Answer<T> | Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    const { freshness, observer } = this.#options;
    freshness.demand();
    let isUpgraded = freshness.atLeastMs() > maxStalenessMs;
    for (;;) {
      if (isUpgraded) await this.linearizable(signal);
      const { proof } = freshness;
      const answer = await read();
      const ageMs = freshness.ageMs(proof);
      if (isUpgraded || ageMs <= maxStalenessMs) {
        observer.boundedRead(isUpgraded ? 'upgraded' : 'local');
        return { ...answer, ageMs: Math.ceil(ageMs) };
      }
      // Reading took long, this process was stopped meanwhile, or the machine has slept.
      isUpgraded = true;
    }
  }

  /** At once, by what is applied here, as etcd's: a learner that is cut off has nobody to ask. */
  #refuseOnLearner(): void {
    const { memberId, learnerLinearizableReads } = this.#options;
    const { learners } = this.machine.confState;
    if (learners.length === 0 || learnerLinearizableReads || !learners.includes(memberId)) return;
    throw new StoreError('not-supported-for-learner');
  }

  #read<T extends { readonly revision: number }>(
    request: RequestOp,
    context: ReadContext,
    read: SlicedRead<T>,
  ): Answer<T> | Promise<Answer<T>> {
    return this.#options.access.as<Answer<T>>(context, (principal) => {
      const result = read(new PermittedRead(this, { request, context, principal }));
      return result instanceof Promise
        ? result.then((whole) => this.#readAnswer(whole))
        : this.#readAnswer(result);
    });
  }

  #readAnswer<T extends { readonly revision: number }>(result: T): Answer<T> {
    return { header: this.header(result.revision), result };
  }

  /** Decides and reads in one step, of one state. */
  asPermitted<T>(
    context: ClientContext,
    refusal: (state: AccessState, principal: Principal) => StoreErrorCode | null,
    read: (machine: StateMachine) => T,
  ): Promise<Answer<T>> {
    return this.#options.access.as(context, async (principal) => {
      if (refusal(this.machine.access, principal) !== null) {
        await this.#caughtUp(context.signal);
        permit(refusal(this.machine.access, principal));
      }
      return this.answer(this.read(read));
    });
  }

  /** For every user there is. */
  asUser<T>(context: ClientContext, read: (machine: StateMachine) => T): Promise<Answer<T>> {
    return this.asPermitted(context, ({ auth }, principal) => auth.userRefusal(principal), read);
  }

  /** For root only, as of now; what goes into the log is decided there again. */
  asRoot<T>(context: ClientContext, work: (caller: Caller) => Promise<T>): Promise<T> {
    return this.#options.access.as(context, async (principal) => {
      await this.#permit(() => this.machine.auth.rootRefusal(principal), context.signal);
      return work({ signal: context.signal, user: principal.user, authRevision: principal.revision });
    });
  }

  /** Nothing but the refusal of everybody but root. */
  forRoot(context: ClientContext): Promise<void> {
    return this.#options.access.ahead(context, (principal) =>
      this.#permit(() => this.machine.auth.rootRefusal(principal), context.signal),
    );
  }

  /**
   * Who asks, and whether that is permitted, as of now: for those who do something else on somebody's behalf.
   *
   * @throws StoreError `auth-token-invalid`, and `user-empty` for nobody
   */
  permits(
    context: ClientContext,
    refusal: (state: AccessState, principal: Principal) => StoreErrorCode | null,
  ): Promise<{ readonly user: string; readonly permitted: boolean }> {
    return this.#options.access.as(context, async (principal) => {
      const { user } = principal;
      if (refusal(this.machine.access, principal) === null) return { user, permitted: true };
      await this.#caughtUp(context.signal);
      const code = refusal(this.machine.access, principal);
      if (code !== null && code !== 'permission-denied') throw new StoreError(code);
      return { user, permitted: code === null };
    });
  }

  async #permit(refusal: () => StoreErrorCode | null, signal: CancelSignal): Promise<void> {
    if (refusal() === null) return;
    await this.#caughtUp(signal);
    permit(refusal());
  }

  /**
   * Before a refusal is told: this member may be behind, and somebody been allowed this in what it has yet to apply.
   * Where nobody leads there is no more to know.
   */
  async #caughtUp(signal: CancelSignal): Promise<void> {
    if (this.#options.loop.view.leader !== 0) await this.linearizable(signal);
  }
}

/** What became of a command that was not refused. */
interface CommandOutcome {
  readonly result: CommandResult;
  readonly revision: number;
  readonly index: number;
}

function outcomeOf({ outcome, revision, index }: Applied): CommandOutcome {
  if (!outcome.ok) throw new StoreError(outcome.code satisfies StoreErrorCode);
  return { result: outcome.result, revision, index };
}

/**
 * A read on behalf of somebody, who may read this or not: the first time as of when he was identified, later as of
 * then, when users and roles may have changed.
 */
class PermittedRead implements SlicedReadContext {
  readonly #calls: ClientCalls;
  readonly #request: RequestOp;
  readonly #context: ReadContext;
  readonly #principal: Principal;
  #isBegun = false;

  constructor(
    calls: ClientCalls,
    read: { readonly request: RequestOp; readonly context: ReadContext; readonly principal: Principal },
  ) {
    this.#calls = calls;
    this.#request = read.request;
    this.#context = read.context;
    this.#principal = read.principal;
  }

  get signal(): CancelSignal {
    return this.#context.signal;
  }

  permit(): void {
    const { access, auth } = this.#calls.machine;
    const principal = this.#isBegun ? auth.renewed(this.#principal) : this.#principal;
    permit(opRefusal(access, principal, this.#request));
    this.#isBegun = true;
  }

  reserve(bytes: number): Promise<void> | undefined {
    return this.#context.reserve?.(bytes);
  }
}
