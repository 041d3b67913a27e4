import type { Principal } from '../core/auth/operations.ts';
import { type AccessState, leaseReadRefusal, opRefusal } from '../core/auth/txn-access.ts';
import type { AlarmKind, Operation } from '../core/command.ts';
import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  TxnRequest,
  TxnResult,
} from '../core/mvcc/operations.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { Applied, CommandResult } from '../core/state-machine.ts';
import type { WatchHub, WatchSink } from '../core/watch/hub.ts';
import { assert } from '../lib/assert.ts';
import { abortError, StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { type Access, type ClientContext, permit } from './auth/access.ts';
import type { Accounts } from './auth/accounts.ts';
import type { GuardedStream, WatchGuard } from './auth/watch-guard.ts';
import type { Housekeeping } from './housekeeping.ts';
import type { Leadership } from './leadership.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import { checkPeerUrls, type MemberInfo, type Membership } from './membership.ts';
import type { MemberFigures } from './observer.ts';
import type { Clock, Random } from './ports.ts';
import type { Proposals } from './proposals.ts';
import type { Reads } from './reads.ts';
import type { ReadyLoop } from './ready-loop.ts';
import { type OpenRange, type SlicedReadContext, SlicedReads } from './sliced-reads.ts';
import type { Backup, Snapshots } from './snapshots.ts';
import type { SpaceGuard } from './space-guard.ts';

/** Rows hashed before others get their turn. */
const HASH_ROWS_PER_SLICE = 2_000;
/** What a row costs beside its key and value, for the quota. */
const ROW_OVERHEAD_BYTES = 64;

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
}
/** A read's own context; `reserve` waits for room for a large answer. */
export type ReadContext = ClientContext &
  Pick<SlicedReadContext, 'reserve'> & { readonly serializable: boolean };

export interface AlarmRequest {
  readonly action: 'get' | 'activate' | 'deactivate';
  readonly member: MemberId;
  readonly alarm: AlarmKind | 'none';
}
export interface MemberAlarm {
  readonly member: MemberId;
  readonly alarm: AlarmKind;
}
export interface MemberStatus {
  readonly leader: MemberId;
  readonly raftIndex: number;
  readonly raftTerm: number;
  readonly appliedIndex: number;
  readonly isLearner: boolean;
  readonly dbSizeBytes: number;
  readonly dbSizeInUseBytes: number;
  readonly quotaBytes: number;
  readonly alarms: readonly MemberAlarm[];
}
export interface Readiness {
  readonly live: boolean;
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

/** The parts of a running member, assembled by `openMember`. */
export interface MemberParts {
  readonly id: MemberId;
  readonly clusterId: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly loop: ReadyLoop;
  readonly hub: WatchHub;
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly access: Access;
  readonly accounts: Accounts;
  readonly watches: WatchGuard;
  readonly leases: LeaseKeeper;
  readonly leadership: Leadership;
  readonly membership: Membership;
  readonly snapshots: Snapshots;
  readonly housekeeping: Housekeeping;
  readonly space: SpaceGuard;
  readonly quotaBytes: number;
  /** Shortest time to live a lease gets: clients need an election's time to renew elsewhere. */
  readonly leaseTtlSecondsMin: number;
  /** A log write outstanding for this long means the member is not live. */
  readonly stallMsMax: number;
  readonly stateBytes: () => number;
  readonly tokensHeld: () => number;
  readonly logBytes: () => number;
  readonly isConnected: (id: MemberId) => boolean;
  /** Settles when the cluster knows this member's name and addresses, or when it stops. */
  readonly published: Promise<void>;
  /** The member must not go on. */
  readonly fatal: (error: unknown) => void;
  readonly close: () => Promise<void>;
}

/**
 * One running member, as the faces use it. Every method may fail with the StoreError codes of a proposal
 * (`too-many-requests`, `timeout*`, `canceled`, `stopped`) or of a read; what more it can fail with is said there.
 *
 * With authentication enabled each may also fail with `auth-token-invalid`, `user-empty`, `permission-denied`,
 * `user-not-found` (root's methods) and `auth-revision-old`: whoever asks is known by the context's credentials.
 */
export class Member {
  readonly id: MemberId;
  readonly clusterId: number;
  /** Users, roles, signing in. */
  readonly accounts: Accounts;
  readonly #parts: MemberParts;
  readonly #sliced: SlicedReads;
  #stopped: Promise<void> | null = null;
  #isLeaving = false;

  constructor(parts: MemberParts) {
    this.id = parts.id;
    this.clusterId = parts.clusterId;
    this.accounts = parts.accounts;
    this.#parts = parts;
    this.#sliced = new SlicedReads({ clock: parts.clock, read: (read) => this.#read(read) });
  }

  // ---- keys -------------------------------------------------------------------------------------------------

  /** @throws StoreError `compacted`, `future-revision` */
  async range(request: RangeRequest, context: ReadContext): Promise<Answer<RangeResult>> {
    return this.#reading(request, context, (read) => this.#sliced.range(request, read));
  }

  /**
   * A range in ascending order of keys, whose pages are read as they are asked for, at one revision. Asking for a
   * page fails with `compacted` when that revision is compacted meanwhile, and as a read does when who asks may not
   * read it any more.
   *
   * @throws StoreError `compacted`, `future-revision`
   */
  async openRange(request: RangeRequest, context: ReadContext): Promise<Answer<OpenRange>> {
    const open = async (read: SlicedReadContext) => {
      const range = this.#sliced.openRange(request, read);
      return { range, revision: range.plan.revision };
    };
    const { header, result } = await this.#reading(request, context, open);
    return { header, result: result.range };
  }

  /** @throws StoreError `lease-not-found`, `key-not-found`, `no-space`, `corrupt` */
  async put(request: PutRequest, context: ClientContext): Promise<Answer<PutResult>> {
    this.#parts.space.admit(bytesAdded(request));
    return this.#propose(request, 'put', context);
  }

  /** @throws StoreError `corrupt` */
  async deleteRange(request: DeleteRangeRequest, context: ClientContext): Promise<Answer<DeleteRangeResult>> {
    return this.#propose(request, 'delete-range', context);
  }

  /**
   * A transaction without writes takes the read path; `serializable` then says that all its reads are.
   *
   * @throws StoreError as put, range and deleteRange
   */
  async txn(request: TxnRequest, context: ReadContext): Promise<Answer<TxnResult>> {
    if (isReadOnly(request)) {
      return this.#reading(request, context, (read) => this.#sliced.txn(request, read));
    }
    this.#parts.space.admit(bytesAdded(request));
    return this.#propose(request, 'txn', context);
  }

  /** With `physical` it answers when the dropped rows have left the index. @throws StoreError `compacted`, `future-revision` */
  async compact(
    request: { readonly revision: number; readonly physical: boolean },
    context: ClientContext,
  ): Promise<Answer<null>> {
    await this.#command({ type: 'compact', revision: request.revision }, context);
    if (request.physical) await this.#parts.housekeeping.compaction();
    return this.#answer(null);
  }

  // ---- leases -----------------------------------------------------------------------------------------------

  /** @throws StoreError `lease-exists`, `lease-ttl-too-large`, `no-space` */
  async leaseGrant(
    request: { readonly id: bigint; readonly ttlSeconds: number },
    context: ClientContext,
  ): Promise<Answer<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    const id = request.id === 0n ? this.#randomLeaseId() : request.id;
    const ttlSeconds = Math.max(request.ttlSeconds, this.#parts.leaseTtlSecondsMin);
    await this.#command({ type: 'lease-grant', id, ttlSeconds }, context);
    return this.#answer({ id, ttlSeconds });
  }

  /** @throws StoreError `lease-not-found` */
  async leaseRevoke(request: { readonly id: bigint }, context: ClientContext): Promise<Answer<null>> {
    await this.#command({ type: 'lease-revoke', id: request.id }, context);
    return this.#answer(null);
  }

  /** Answers 0 seconds when the lease is gone. */
  async leaseKeepAlive(
    request: { readonly id: bigint },
    context: ClientContext,
  ): Promise<Answer<{ readonly ttlSeconds: number }>> {
    const { access, leadership, leases } = this.#parts;
    return access.as(context, async ({ user, revision }) => {
      const renewal = { id: request.id, user, authRevision: revision };
      const ttlSeconds = await leadership.atLeader(
        { type: 'lease-renew', ...renewal },
        () => leases.renew(renewal, context.signal),
        context.signal,
      );
      return this.#answer({ ttlSeconds });
    });
  }

  /** Answers -1 seconds for an unknown lease. */
  async leaseTimeToLive(
    request: { readonly id: bigint; readonly keys: boolean },
    context: ClientContext,
  ): Promise<
    Answer<{
      readonly ttlSeconds: number;
      readonly grantedTtlSeconds: number;
      readonly keys: readonly Buffer[];
    }>
  > {
    const remaining = await this.#parts.leadership.atLeader(
      { type: 'lease-remaining', id: request.id },
      () => this.#parts.leases.remainingSeconds(request.id, context.signal),
      context.signal,
    );
    await this.#parts.reads.linearizable(context.signal);
    return this.#asPermitted(
      context,
      (state, principal) =>
        state.auth.userRefusal(principal) ??
        (request.keys ? leaseReadRefusal(state, principal, request.id) : null),
      ({ lessor }) => {
        const lease = lessor.get(request.id);
        if (lease === undefined || remaining < 0) return { ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] };
        const keys = request.keys ? lessor.keys(request.id) : [];
        return { ttlSeconds: remaining, grantedTtlSeconds: lease.ttlSeconds, keys };
      },
    );
  }

  /** @throws StoreError `permission-denied` also when any lease has a key that the user may not read */
  async leaseLeases(context: ClientContext): Promise<Answer<readonly bigint[]>> {
    await this.#parts.reads.linearizable(context.signal);
    const ids = (): readonly bigint[] => this.#machine.lessor.list().map((lease) => lease.id);
    return this.#asPermitted(
      context,
      (state, principal) => {
        const refusal = state.auth.userRefusal(principal);
        if (refusal !== null || state.auth.rootRefusal(principal) === null) return refusal;
        for (const id of ids()) {
          const found = leaseReadRefusal(state, principal, id);
          if (found !== null) return found;
        }
        return null;
      },
      ids,
    );
  }

  // ---- watch ------------------------------------------------------------------------------------------------

  /** A watch on it is refused, and one that is there ended, with a reason, while its user may not read all of it. */
  openWatch(sink: WatchSink, context: ClientContext): GuardedStream {
    return this.#parts.watches.open(sink, context);
  }

  /** Resolves once this member can judge the credentials: to be awaited before a watch is created. */
  credentialsSettled(context: ClientContext): Promise<void> {
    return this.#parts.access.settled(context);
  }

  /** The sink can take deliveries again. */
  resumeWatch(sink: WatchSink): void {
    this.#parts.hub.resume(sink);
  }

  // ---- members ----------------------------------------------------------------------------------------------

  async memberList(
    request: { readonly linearizable: boolean },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    if (request.linearizable) await this.#parts.reads.linearizable(context.signal);
    return this.#asUser(context, () => this.members());
  }

  /** The members this member has applied. */
  members(): readonly MemberInfo[] {
    return this.#machine.memberList();
  }

  /** @throws StoreError as `Membership.add` */
  async memberAdd(
    request: { readonly peerUrls: readonly string[]; readonly isLearner: boolean },
    context: ClientContext,
  ): Promise<Answer<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>> {
    const { leadership, membership, reads } = this.#parts;
    const id = await this.#asRoot(context, (caller) =>
      leadership.atLeader(
        { type: 'member-add', ...request, ...callerOf(caller) },
        () => membership.add(request, caller),
        context.signal,
      ),
    );
    // Where the change was forwarded it is yet to be applied. Where it was, nothing may wait for a quorum any more:
    // a cluster of one has none again before the second member has started.
    if (!this.members().some((member) => member.id === id)) await reads.linearizable(context.signal);
    const members = this.members();
    const member = members.find((candidate) => candidate.id === id);
    if (member === undefined) throw new StoreError('member-not-found');
    return this.#answer({ member, members });
  }

  /** @throws StoreError as `Membership.remove` */
  async memberRemove(
    request: { readonly id: MemberId },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    const { leadership, membership } = this.#parts;
    await this.#asRoot(context, (caller) =>
      leadership.atLeader(
        { type: 'member-remove', id: request.id, ...callerOf(caller) },
        () => membership.remove(request.id, caller).then(() => null),
        context.signal,
      ),
    );
    if (request.id !== this.id) await this.#parts.reads.linearizable(context.signal);
    return this.#answer(this.members());
  }

  /** @throws StoreError as `Membership.promote` */
  async memberPromote(
    request: { readonly id: MemberId },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    const { leadership, membership, reads } = this.#parts;
    await this.#asRoot(context, (caller) =>
      leadership.atLeader(
        { type: 'member-promote', id: request.id, ...callerOf(caller) },
        () => membership.promote(request.id, caller).then(() => null),
        context.signal,
      ),
    );
    await reads.linearizable(context.signal);
    return this.#answer(this.members());
  }

  /** @throws StoreError `member-not-found`, `peer-url-exists`, `member-bad-urls` */
  async memberUpdate(
    request: { readonly id: MemberId; readonly peerUrls: readonly string[] },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    checkPeerUrls(request.peerUrls);
    await this.#command({ type: 'member-update', id: request.id, peerUrls: request.peerUrls }, context);
    return this.#answer(this.members());
  }

  // ---- maintenance ------------------------------------------------------------------------------------------

  /** `member` 0 means this one for activate; get lists every member's, as etcd. */
  async alarm(request: AlarmRequest, context: ClientContext): Promise<Answer<readonly MemberAlarm[]>> {
    const { action, alarm } = request;
    const before = this.#machine.alarms.list();
    switch (action) {
      case 'get':
        return this.#asUser(context, () => before.filter((item) => alarm === 'none' || item.alarm === alarm));
      case 'activate': {
        const member = request.member === 0 ? this.id : request.member;
        if (alarm === 'none') return this.#asRoot(context, async () => this.#answer([]));
        await this.#command({ type: 'alarm', action, member, alarm }, context);
        return this.#answer([{ member, alarm }]);
      }
      case 'deactivate': {
        await this.#asRoot(context, async () => null);
        if (alarm === 'none') return this.#answer([]);
        const cleared = before.filter((item) => item.alarm === alarm && item.member === request.member);
        for (const item of cleared) {
          await this.#command({ type: 'alarm', action, member: item.member, alarm }, context);
        }
        return this.#answer(cleared);
      }
    }
  }

  /** The raised alarms, as this member has applied them. */
  alarms(): readonly MemberAlarm[] {
    return this.#machine.alarms.list();
  }

  /**
   * Fails when reads would: for health checks, which nobody signs in for and which learn nothing else.
   *
   * @throws StoreError as a read
   */
  async check(options: { readonly serializable: boolean; readonly signal: AbortSignal }): Promise<void> {
    if (!options.serializable) await this.#parts.reads.linearizable(options.signal);
  }

  /** For clients: every user may ask. */
  statusFor(context: ClientContext): Promise<Answer<MemberStatus>> {
    return this.#asUser(context, () => this.status().result);
  }

  /** For those who run this member. */
  status(): Answer<MemberStatus> {
    const { loop, quotaBytes } = this.#parts;
    const status = loop.node.status();
    return this.#answer({
      leader: status.leader,
      raftIndex: status.commit,
      raftTerm: status.term,
      appliedIndex: status.applied,
      isLearner: this.#isLearner(),
      dbSizeBytes: this.#parts.stateBytes(),
      dbSizeInUseBytes: this.#machine.store.logicalBytes,
      quotaBytes,
      alarms: this.#machine.alarms.list(),
    });
  }

  async defragment(context: ClientContext): Promise<Answer<null>> {
    await this.#asRoot(context, async () => null);
    await this.#parts.housekeeping.barrier();
    await this.#parts.loop.replica.store.defragment();
    return this.#answer(null);
  }

  /** A hash over the live rows at `revision` (0 = now), equal on every member at equal revisions. */
  async hashKv(
    request: { readonly revision: number },
    context: ClientContext,
  ): Promise<Answer<{ readonly hash: number; readonly compactRevision: number; readonly revision: number }>> {
    await this.#asRoot(context, async () => null);
    const walk = this.#machine.store.hashKv(request.revision, HASH_ROWS_PER_SLICE);
    for (;;) {
      const step = this.#read(() => walk.next());
      if (step.done === true) return this.#answer(step.value);
      await new Promise<void>((resolve) => this.#parts.clock.setImmediate(resolve));
      if (context.signal.aborted) throw abortError(context.signal);
    }
  }

  /** A hash over this member's whole state at its applied index. */
  async hash(context: ClientContext): Promise<Answer<{ readonly hash: number }>> {
    await this.#asRoot(context, async () => null);
    const { rowSetHash, tableSetHash } = this.#machine.marker();
    return this.#answer({ hash: (rowSetHash.a ^ rowSetHash.b ^ tableSetHash.a ^ tableSetHash.b) >>> 0 });
  }

  /** The whole state as a backup file. Where there is no leader it is what this member has: the last resort. */
  async snapshot(context: ClientContext): Promise<Backup> {
    if (this.hasLeader()) await this.#parts.reads.linearizable(context.signal);
    await this.#asRoot(context, async () => null);
    return this.#parts.snapshots.backup();
  }

  /** To be asked of the leader. @throws StoreError `not-leader`, `bad-leader-transferee`, `timeout` */
  async moveLeader(request: { readonly target: MemberId }, context: ClientContext): Promise<Answer<null>> {
    await this.#asRoot(context, async () => null);
    await this.#parts.leadership.transfer(request.target, context.signal);
    return this.#answer(null);
  }

  // ---- state ------------------------------------------------------------------------------------------------

  header(): Header {
    return {
      clusterId: this.clusterId,
      memberId: this.id,
      revision: this.#machine.store.currentRevision,
      raftTerm: this.#parts.loop.view.term,
    };
  }

  hasLeader(): boolean {
    return this.#parts.loop.view.leader !== 0;
  }

  isLeader(): boolean {
    return this.#parts.loop.view.leader === this.id;
  }

  /**
   * Resolves once there is a leader and the cluster knows this member's name and addresses.
   *
   * @throws StoreError why `signal` was aborted
   */
  async ready(signal: AbortSignal): Promise<void> {
    await orAborted(
      signal,
      this.#leaderKnown().then(() => this.#parts.published),
    );
  }

  /** @returns a function that ends the listening */
  onLeaderChange(listener: (hasLeader: boolean) => void): () => void {
    return this.#parts.leadership.listen(listener);
  }

  readiness(): Readiness {
    const reasons: string[] = [];
    const live = this.#parts.loop.diskStalledMs < this.#parts.stallMsMax;
    if (!live) reasons.push('the disk does not answer');
    if (!this.hasLeader()) reasons.push('no leader');
    for (const item of this.#machine.alarms.list()) reasons.push(`alarm ${item.alarm}`);
    if (this.#isLeaving) reasons.push('stopping');
    return { live, ready: reasons.length === 0, reasons };
  }

  /** What metrics show, as of now. Cheap enough for a scrape, not for a request. */
  figures(): MemberFigures {
    const { loop, hub, proposals, quotaBytes } = this.#parts;
    const { store, lessor, auth } = this.#machine;
    const { watchers, slow, unsynced } = hub.stats;
    const status = loop.node.status();
    return {
      hasLeader: this.hasLeader(),
      isLeader: this.isLeader(),
      isLearner: this.#isLearner(),
      term: status.term,
      commitIndex: status.commit,
      appliedIndex: status.applied,
      proposalsPending: proposals.pendingCount,
      revision: store.currentRevision,
      compactRevision: store.compactRevision,
      keys: store.keyCount,
      dbSizeBytes: this.#parts.stateBytes(),
      dbSizeInUseBytes: store.logicalBytes,
      quotaBytes,
      logSizeBytes: this.#parts.logBytes(),
      logFirstIndex: status.firstIndex,
      leases: lessor.size,
      watchers,
      slowWatchers: slow + unsynced,
      connectedPeers: this.members()
        .map((member) => member.id)
        .filter((id) => this.#parts.isConnected(id)),
      auth: {
        enabled: auth.enabled,
        revision: auth.revision,
        ...auth.counts,
        tokens: this.#parts.tokensHeld(),
      },
    };
  }

  /** Before a stop: another member shall lead, if there is one that can. Not ready any more from here on. */
  async handOver(): Promise<void> {
    this.#isLeaving = true;
    await this.#parts.leadership.handOver();
  }

  /** Makes the state durable and releases everything. Idempotent. */
  stop(): Promise<void> {
    this.#isLeaving = true;
    this.#stopped ??= this.#parts.close();
    return this.#stopped;
  }

  async #leaderKnown(): Promise<void> {
    if (this.hasLeader()) return;
    await new Promise<void>((resolve) => {
      const unlisten = this.onLeaderChange((hasLeader) => {
        if (!hasLeader) return;
        unlisten();
        resolve();
      });
    });
  }

  #isLearner(): boolean {
    return this.members().some((member) => member.id === this.id && member.isLearner);
  }

  get #machine(): ReadyLoop['replica']['machine'] {
    return this.#parts.loop.replica.machine;
  }

  /** A row that cannot be read, or is not what was written, ends the member: it must not answer from such a disk. */
  #read<T>(read: (machine: ReadyLoop['replica']['machine']) => T): T {
    try {
      return read(this.#machine);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'storage') this.#parts.fatal(error);
      throw error;
    }
  }

  #answer<T>(result: T): Answer<T> {
    return { header: this.header(), result };
  }

  async #propose<T extends CommandResult['type']>(
    operation: Operation,
    type: T,
    context: ClientContext,
  ): Promise<Answer<Extract<CommandResult, { type: T }>>> {
    const { result, revision } = await this.#command(operation, context);
    assert(result.type === type, 'a command answers with its own kind of result');
    return {
      header: { ...this.header(), revision },
      result: result as Extract<CommandResult, { type: T }>,
    };
  }

  async #command(
    operation: Operation,
    context: ClientContext,
  ): Promise<{ readonly result: CommandResult; readonly revision: number }> {
    const { signal } = context;
    return this.#parts.access.as(context, async ({ user, revision }) => {
      const caller = { signal, user, authRevision: revision };
      const applied: Applied = await this.#parts.proposals.propose(operation, caller);
      if (!applied.outcome.ok) throw new StoreError(applied.outcome.code satisfies StoreErrorCode);
      return { result: applied.outcome.result, revision: applied.revision };
    });
  }

  /** A read that may take a while: decided in the step that pins its revision, and anew before any more is read. */
  async #reading<T extends { readonly revision: number }>(
    request: RequestOp,
    context: ReadContext,
    read: (context: SlicedReadContext) => Promise<T>,
  ): Promise<Answer<T>> {
    if (!context.serializable) await this.#parts.reads.linearizable(context.signal);
    return this.#parts.access.as(context, async (principal) => {
      const result = await read({ ...context, permit: this.#permitting(request, principal) });
      return { header: { ...this.header(), revision: result.revision }, result };
    });
  }

  /**
   * A check that throws when who asks may not read this: the first time as of when he was identified, later as of
   * then, when users and roles may have changed.
   */
  #permitting(request: RequestOp, principal: Principal): () => void {
    let asOfNow = (): Principal => principal;
    return () => {
      const { access } = this.#machine;
      permit(opRefusal(access, asOfNow(), request));
      asOfNow = () => this.#machine.auth.renewed(principal);
    };
  }

  /** Decides and reads in one step, of one state. */
  #asPermitted<T>(
    context: ClientContext,
    refusal: (state: AccessState, principal: Principal) => StoreErrorCode | null,
    read: (machine: ReadyLoop['replica']['machine']) => T,
  ): Promise<Answer<T>> {
    return this.#parts.access.as(context, async (principal) => {
      permit(refusal(this.#machine.access, principal));
      return this.#answer(this.#read(read));
    });
  }

  #asUser<T>(context: ClientContext, read: () => T): Promise<Answer<T>> {
    return this.#asPermitted(context, ({ auth }, principal) => auth.userRefusal(principal), read);
  }

  /** For root only, as of now; what goes into the log is decided there again. */
  #asRoot<T>(context: ClientContext, work: (caller: Caller) => Promise<T>): Promise<T> {
    return this.#parts.access.as(context, async (principal) => {
      permit(this.#machine.auth.rootRefusal(principal));
      return work({ signal: context.signal, user: principal.user, authRevision: principal.revision });
    });
  }

  #randomLeaseId(): bigint {
    const { random } = this.#parts;
    return (BigInt(random.integer(2 ** 31)) << 32n) | BigInt(1 + random.integer(2 ** 32 - 1));
  }
}

interface Caller {
  readonly signal: AbortSignal;
  readonly user: string;
  readonly authRevision: number;
}

function callerOf({ user, authRevision }: Caller): Pick<Caller, 'user' | 'authRevision'> {
  return { user, authRevision };
}

/** Settles as `work` does, or rejects with why `signal` was aborted. */
async function orAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(abortError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function isReadOnly(txn: TxnRequest): boolean {
  const reads = (op: RequestOp): boolean => op.type === 'range' || (op.type === 'txn' && isReadOnly(op));
  return txn.success.every(reads) && txn.failure.every(reads);
}

function bytesAdded(op: RequestOp): number {
  switch (op.type) {
    case 'put':
      return op.key.length + op.value.length + ROW_OVERHEAD_BYTES;
    case 'txn':
      return Math.max(sum(op.success), sum(op.failure));
    case 'range':
    case 'delete-range':
      return 0;
  }
}

function sum(ops: readonly RequestOp[]): number {
  return ops.reduce((bytes, op) => bytes + bytesAdded(op), 0);
}
