import { leaseReadRefusal, leasesReadRefusal } from '../core/auth/txn-access.ts';
import type { AlarmKind } from '../core/command.ts';
import {
  type DeleteRangeRequest,
  type DeleteRangeResult,
  isReadOnly,
  type PutRequest,
  type PutResult,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
} from '../core/mvcc/operations.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { StateMachine } from '../core/state-machine.ts';
import type { WatchHub, WatchSink } from '../core/watch/hub.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError } from '../lib/errors.ts';
import type { Access, ClientContext } from './auth/access.ts';
import type { Accounts } from './auth/accounts.ts';
import type { GuardedStream, WatchGuard } from './auth/watch-guard.ts';
import type { Answer, Caller, ClientCalls, Header, ReadContext } from './client-calls.ts';
import type { Condition, MemberAlarm, MemberStatus, Readiness } from './condition.ts';
import { orAborted } from './deadline.ts';
import type { Freshness } from './freshness.ts';
import type { Housekeeping } from './housekeeping.ts';
import type { Leadership } from './leadership.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import { checkPeerUrls, type MemberInfo, type Membership } from './membership.ts';
import type { MemberFigures } from './observer.ts';
import type { Clock, Random } from './ports.ts';
import type { ReadyLoop } from './ready-loop.ts';
import { type OpenRange, type SlicedReadContext, SlicedReads } from './sliced-reads.ts';
import type { Backup, Snapshots } from './snapshots.ts';
import type { SpaceGuard } from './space-guard.ts';

/** Rows hashed before others get their turn. */
const HASH_ROWS_PER_SLICE = 2_000;

export interface AlarmRequest {
  readonly action: 'get' | 'activate' | 'deactivate';
  readonly member: MemberId;
  readonly alarm: AlarmKind | 'none';
}

/** The parts of a running member, assembled by `openMember`. */
export interface MemberParts {
  readonly id: MemberId;
  readonly clusterId: number;
  readonly region: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly loop: ReadyLoop;
  readonly hub: WatchHub;
  readonly freshness: Freshness;
  readonly calls: ClientCalls;
  readonly condition: Condition;
  readonly access: Access;
  readonly accounts: Accounts;
  readonly watches: WatchGuard;
  readonly leases: LeaseKeeper;
  readonly leadership: Leadership;
  readonly membership: Membership;
  readonly snapshots: Snapshots;
  readonly housekeeping: Housekeeping;
  readonly space: SpaceGuard;
  /** Shortest time to live a lease gets: clients need an election's time to renew elsewhere. */
  readonly leaseTtlSecondsMin: number;
  /** Settles when the cluster knows this member's name and addresses, or when it stops. */
  readonly published: Promise<void>;
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
  /** Where it runs; empty when nobody said. */
  readonly region: string;
  /** Users, roles, signing in. */
  readonly accounts: Accounts;
  readonly #parts: MemberParts;
  readonly #calls: ClientCalls;
  readonly #sliced: SlicedReads;
  #stopped: Promise<void> | null = null;
  #isLeaving = false;

  constructor(parts: MemberParts) {
    this.id = parts.id;
    this.clusterId = parts.clusterId;
    this.region = parts.region;
    this.accounts = parts.accounts;
    this.#parts = parts;
    this.#calls = parts.calls;
    this.#sliced = new SlicedReads({ clock: parts.clock, read: (read) => this.#calls.read(read) });
  }

  // ---- keys -------------------------------------------------------------------------------------------------

  /** @throws StoreError `compacted`, `future-revision` */
  range(request: RangeRequest, context: ReadContext): Promise<Answer<RangeResult>> {
    return this.#calls.reading(request, context, (read) => this.#sliced.range(request, read));
  }

  /**
   * A range in ascending order of keys, whose pages are read as they are asked for, at one revision. Asking for a
   * page fails with `compacted` when that revision is compacted meanwhile, and as a read does when who asks may not
   * read it any more.
   *
   * @throws StoreError `compacted`, `future-revision`
   */
  async openRange(request: RangeRequest, context: ReadContext): Promise<Answer<OpenRange>> {
    const open = (read: SlicedReadContext) => {
      const range = this.#sliced.openRange(request, read);
      return { range, revision: range.plan.revision };
    };
    const { result, ...answer } = await this.#calls.reading(request, context, open);
    return { ...answer, result: result.range };
  }

  /** @throws StoreError `lease-not-found`, `key-not-found`, `no-space`, `corrupt` */
  put(request: PutRequest, context: ClientContext): Promise<Answer<PutResult>> {
    return this.#calls.propose(request, context, () => this.#parts.space.admit(request));
  }

  /** @throws StoreError `corrupt` */
  deleteRange(request: DeleteRangeRequest, context: ClientContext): Promise<Answer<DeleteRangeResult>> {
    return this.#calls.propose(request, context);
  }

  /**
   * A transaction without writes takes the read path; `serializable` then says that all its reads are.
   *
   * @throws StoreError as put, range and deleteRange
   */
  txn(request: TxnRequest, context: ReadContext): Promise<Answer<TxnResult>> {
    if (isReadOnly(request)) {
      return this.#calls.reading(request, context, (read) => this.#sliced.txn(request, read));
    }
    return this.#calls.propose(request, context, () => this.#parts.space.admit(request));
  }

  /** With `physical` it answers when the dropped rows have left the index. @throws StoreError `compacted`, `future-revision` */
  async compact(
    request: { readonly revision: number; readonly physical: boolean },
    context: ClientContext,
  ): Promise<Answer<null>> {
    await this.#calls.command({ type: 'compact', revision: request.revision }, context);
    if (request.physical) await this.#parts.housekeeping.compaction();
    return this.#calls.answer(null);
  }

  // ---- leases -----------------------------------------------------------------------------------------------

  /** @throws StoreError `lease-exists`, `lease-ttl-too-large`, `no-space`, `too-many-requests` at LEASES_MAX */
  async leaseGrant(
    request: { readonly id: bigint; readonly ttlSeconds: number },
    context: ClientContext,
  ): Promise<Answer<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    const id = request.id === 0n ? this.#randomLeaseId() : request.id;
    const ttlSeconds = Math.max(request.ttlSeconds, this.#parts.leaseTtlSecondsMin);
    await this.#calls.command({ type: 'lease-grant', id, ttlSeconds }, context, () =>
      this.#machine.checkLeaseRoom(),
    );
    return this.#calls.answer({ id, ttlSeconds });
  }

  /** @throws StoreError `lease-not-found` */
  async leaseRevoke(request: { readonly id: bigint }, context: ClientContext): Promise<Answer<null>> {
    await this.#calls.command({ type: 'lease-revoke', id: request.id }, context);
    return this.#calls.answer(null);
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
      return this.#calls.answer({ ttlSeconds });
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
    await this.#calls.linearizable(context.signal);
    return this.#calls.asPermitted(
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
    await this.#calls.linearizable(context.signal);
    const ids = (): readonly bigint[] => this.#machine.lessor.list().map(({ id }) => id);
    return this.#calls.asPermitted(
      context,
      (state, principal) => state.auth.userRefusal(principal) ?? leasesReadRefusal(state, principal, ids),
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

  /**
   * To be awaited before a watch is bound to the lease: resolves once this member would know of it, if there is one; null
   * when it does.
   *
   * @throws StoreError as `Reads.linearizable`
   */
  leaseSettled(lease: bigint, context: ClientContext): Promise<void> | null {
    return this.#machine.lessor.has(lease) ? null : this.#calls.linearizable(context.signal);
  }

  /** How old the state may be now, in ms: whole, never too low, Infinity when nothing is proven. */
  ageMs(): number {
    return Math.ceil(this.#parts.freshness.ageMs());
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
    if (request.linearizable) await this.#calls.linearizable(context.signal);
    return this.#calls.asUser(context, () => this.members());
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
    const { leadership, membership } = this.#parts;
    const id = await this.#calls.asRoot(context, (caller) =>
      leadership.atLeader(
        { type: 'member-add', ...request, ...callerOf(caller) },
        () => membership.add(request, caller),
        context.signal,
      ),
    );
    // Where the change was forwarded it is yet to be applied. Where it was, nothing may wait for a quorum any more:
    // a cluster of one has none again before the second member has started.
    if (!this.members().some((member) => member.id === id)) await this.#calls.linearizable(context.signal);
    const members = this.members();
    const member = members.find((candidate) => candidate.id === id);
    if (member === undefined) throw new StoreError('member-not-found');
    return this.#calls.answer({ member, members });
  }

  /** @throws StoreError as `Membership.remove` */
  async memberRemove(
    request: { readonly id: MemberId },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    const { leadership, membership } = this.#parts;
    await this.#calls.asRoot(context, (caller) =>
      leadership.atLeader(
        { type: 'member-remove', id: request.id, ...callerOf(caller) },
        () => membership.remove(request.id, caller).then(() => null),
        context.signal,
      ),
    );
    if (request.id !== this.id) await this.#calls.linearizable(context.signal);
    return this.#calls.answer(this.members());
  }

  /** @throws StoreError as `Membership.promote` */
  async memberPromote(
    request: { readonly id: MemberId },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    const { leadership, membership } = this.#parts;
    await this.#calls.asRoot(context, (caller) =>
      leadership.atLeader(
        { type: 'member-promote', id: request.id, ...callerOf(caller) },
        () => membership.promote(request.id, caller).then(() => null),
        context.signal,
      ),
    );
    await this.#calls.linearizable(context.signal);
    return this.#calls.answer(this.members());
  }

  /** @throws StoreError `member-not-found`, `peer-url-exists`, `member-bad-urls` */
  async memberUpdate(
    request: { readonly id: MemberId; readonly peerUrls: readonly string[] },
    context: ClientContext,
  ): Promise<Answer<readonly MemberInfo[]>> {
    checkPeerUrls(request.peerUrls);
    await this.#calls.command({ type: 'member-update', id: request.id, peerUrls: request.peerUrls }, context);
    return this.#calls.answer(this.members());
  }

  /** Only refuses: whoever is not root. */
  forRoot(context: ClientContext): Promise<void> {
    return this.#calls.forRoot(context);
  }

  // ---- maintenance ------------------------------------------------------------------------------------------

  /** `member` 0 means this one for activate; get lists every member's, as etcd. */
  async alarm(request: AlarmRequest, context: ClientContext): Promise<Answer<readonly MemberAlarm[]>> {
    const { action, alarm } = request;
    const before = this.#machine.alarms.list();
    switch (action) {
      case 'get':
        return this.#calls.asUser(context, () =>
          before.filter((item) => alarm === 'none' || item.alarm === alarm),
        );
      case 'activate': {
        const member = request.member === 0 ? this.id : request.member;
        if (alarm === 'none') return this.#calls.asRoot(context, async () => this.#calls.answer([]));
        await this.#calls.command({ type: 'alarm', action, member, alarm }, context);
        return this.#calls.answer([{ member, alarm }]);
      }
      case 'deactivate': {
        await this.#calls.forRoot(context);
        if (alarm === 'none') return this.#calls.answer([]);
        const cleared = before.filter((item) => item.alarm === alarm && item.member === request.member);
        for (const item of cleared) {
          await this.#calls.command({ type: 'alarm', action, member: item.member, alarm }, context);
        }
        return this.#calls.answer(cleared);
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
  async check(options: { readonly serializable: boolean; readonly signal: CancelSignal }): Promise<void> {
    if (!options.serializable) await this.#calls.linearizable(options.signal);
  }

  /** For clients: every user may ask. */
  statusFor(context: ClientContext): Promise<Answer<MemberStatus>> {
    return this.#calls.asUser(context, () => this.#parts.condition.status());
  }

  /** For those who run this member. */
  status(): Answer<MemberStatus> {
    return this.#calls.answer(this.#parts.condition.status());
  }

  async defragment(context: ClientContext): Promise<Answer<null>> {
    await this.#calls.forRoot(context);
    await this.#parts.housekeeping.barrier();
    await this.#parts.loop.replica.store.defragment();
    return this.#calls.answer(null);
  }

  /** A hash over the live rows at `revision` (0 = now), equal on every member at equal revisions. */
  async hashKv(
    request: { readonly revision: number },
    context: ClientContext,
  ): Promise<Answer<{ readonly hash: number; readonly compactRevision: number; readonly revision: number }>> {
    await this.#calls.forRoot(context);
    const walk = this.#machine.store.hashKv(request.revision, HASH_ROWS_PER_SLICE);
    for (;;) {
      const step = this.#calls.read(() => walk.next());
      if (step.done === true) return this.#calls.answer(step.value);
      await new Promise<void>((resolve) => this.#parts.clock.setImmediate(resolve));
      if (context.signal.aborted) throw abortError(context.signal);
    }
  }

  /** A hash over this member's whole state at its applied index. */
  async hash(context: ClientContext): Promise<Answer<{ readonly hash: number }>> {
    await this.#calls.forRoot(context);
    const { rowSetHash, tableSetHash } = this.#machine.marker();
    return this.#calls.answer({
      hash: (rowSetHash.a ^ rowSetHash.b ^ tableSetHash.a ^ tableSetHash.b) >>> 0,
    });
  }

  /** The whole state as a backup file. Where there is no leader it is what this member has: the last resort. */
  async snapshot(context: ClientContext): Promise<Backup> {
    if (this.hasLeader()) await this.#calls.linearizable(context.signal);
    await this.#calls.forRoot(context);
    return this.#parts.snapshots.backup();
  }

  /** To be asked of the leader. @throws StoreError `not-leader`, `bad-leader-transferee`, `timeout` */
  async moveLeader(request: { readonly target: MemberId }, context: ClientContext): Promise<Answer<null>> {
    await this.#calls.forRoot(context);
    await this.#parts.leadership.transfer(request.target, context.signal);
    return this.#calls.answer(null);
  }

  // ---- state ------------------------------------------------------------------------------------------------

  header(): Header {
    return this.#calls.header();
  }

  hasLeader(): boolean {
    return this.#parts.condition.hasLeader();
  }

  isLeader(): boolean {
    return this.#parts.condition.isLeader();
  }

  /**
   * Resolves once there is a leader and the cluster knows this member's name and addresses.
   *
   * @throws StoreError why `signal` was aborted
   */
  async ready(signal: CancelSignal): Promise<void> {
    await this.#parts.leadership.known(signal);
    await orAborted(signal, this.#parts.published);
  }

  /** @returns a function that ends the listening */
  onLeaderChange(listener: (hasLeader: boolean) => void): () => void {
    return this.#parts.leadership.listen(listener);
  }

  readiness(): Readiness {
    return this.#parts.condition.readiness({ isLeaving: this.#isLeaving });
  }

  /** What metrics show, as of now. Cheap enough for a scrape, not for a request. */
  figures(): MemberFigures {
    return this.#parts.condition.figures();
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

  get #machine(): StateMachine {
    return this.#calls.machine;
  }

  #randomLeaseId(): bigint {
    const { random } = this.#parts;
    return (BigInt(random.integer(2 ** 31)) << 32n) | BigInt(1 + random.integer(2 ** 32 - 1));
  }
}

function callerOf({ user, authRevision }: Caller): Pick<Caller, 'user' | 'authRevision'> {
  return { user, authRevision };
}
