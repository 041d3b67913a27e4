import { setMaxListeners } from 'node:events';
import { INTERNAL_USER } from '../core/auth/operations.ts';
import { leaseRefusal } from '../core/auth/txn-access.ts';
import type { CommandResult } from '../core/outcome.ts';
import type { Entry, MemberId, Message, SnapshotMeta } from '../core/raft/messages.ts';
import { type RaftOptions, RawNode } from '../core/raft/raw-node.ts';
import type { AppendBatch, ReadState } from '../core/raft/ready.ts';
import type { Applied } from '../core/state-machine.ts';
import { WatchHub } from '../core/watch/hub.ts';
import { AssertionError } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import { ApplyHashes } from './apply-hashes.ts';
import { Access } from './auth/access.ts';
import { Accounts } from './auth/accounts.ts';
import { Attempts } from './auth/attempts.ts';
import { signInParts } from './auth/sign-in.ts';
import type { Tokens } from './auth/tokens.ts';
import { WatchGuard } from './auth/watch-guard.ts';
import { AutoCompaction } from './auto-compaction.ts';
import type { BootedData } from './boot.ts';
import { encodeAccount } from './bootstrap.ts';
import { Housekeeping } from './housekeeping.ts';
import { Leadership } from './leadership.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { Member } from './member.ts';
import type { MemberOptions, MemberPorts } from './member-options.ts';
import { type MemberInfo, Membership } from './membership.ts';
import type { MetPeers } from './met-peers.ts';
import { Newcomers } from './newcomers.ts';
import type { MemberObserver } from './observer.ts';
import { decodePeerAnswer, encodePeerRequest, type PeerAnswer, type PeerRequest } from './peer-requests.ts';
import { PeerServer } from './peer-server.ts';
import type { PeerIdentity, TransportHandlers } from './ports.ts';
import { type CallContext, Proposals } from './proposals.ts';
import { Reads } from './reads.ts';
import { type LeadershipView, ReadyLoop, type ReadyLoopListener } from './ready-loop.ts';
import { RemovalCheck } from './removal-check.ts';
import type { Replica, ReplicaOptions } from './replica.ts';
import { Snapshots } from './snapshots.ts';
import { SpaceGuard } from './space-guard.ts';
import { confirmCutTail } from './tail-check.ts';
import { WatchPump } from './watch-pump.ts';

/** A client is answered within this, besides two election timeouts, or told that it timed out. */
const REQUEST_TIMEOUT_MS = 5_000;
/** A log write outstanding for this many election timeouts ends the process: another member must take over. */
const STALL_ELECTIONS_MAX = 30;
/** A read round without an answer is asked anew after this part of an election timeout. */
const READ_RETRY_PART = 0.5;
/** A member that learns of its removal stays this long, so that answers and messages on their way can leave. */
const REMOVED_LINGER_MS = 500;
/** A member asks whether it was removed after so many election timeouts without a leader. */
const REMOVAL_PATIENCE_ELECTIONS = 5;
const REMOVED = 'this member was removed from the cluster';
/** How often the size of the state on disk is measured. */
const SIZE_INTERVAL_MS = 5_000;

export interface RunningOptions {
  readonly options: MemberOptions;
  readonly ports: MemberPorts;
  readonly data: BootedData;
  readonly replicaOptions: ReplicaOptions;
  readonly met: MetPeers;
  /** Members to talk to until the state says who they are; only for one that has just joined. */
  readonly introductions: readonly MemberInfo[];
}

/**
 * The parts of a running member, wired. What each does stands in its own file; here is only who hears of what.
 */
export class RunningMember implements ReadyLoopListener, TransportHandlers {
  readonly member: Member;
  readonly #ports: MemberPorts;
  readonly #options: MemberOptions;
  readonly #met: MetPeers;
  readonly #self: MemberId;
  readonly #introductions: readonly MemberInfo[];
  readonly #data: BootedData;
  readonly #loop: ReadyLoop;
  readonly #hub: WatchHub;
  readonly #pump: WatchPump;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #tokens: Tokens;
  readonly #access: Access;
  readonly #watches: WatchGuard;
  readonly #leases: LeaseKeeper;
  readonly #leadership: Leadership;
  readonly #membership: Membership;
  readonly #snapshots: Snapshots;
  readonly #housekeeping: Housekeeping;
  readonly #space: SpaceGuard;
  readonly #hashes: ApplyHashes;
  readonly #compaction: AutoCompaction;
  readonly #server: PeerServer;
  readonly #removal: RemovalCheck;
  readonly #newcomers: Newcomers;
  readonly #observer: MemberObserver;
  readonly #abort = new AbortController();
  #appliedWaiters: { readonly index: number; readonly resolve: () => void }[] = [];
  /** The term whose no-op this leader has yet to apply before it keeps time for leases, or 0. */
  #leasesDueInTerm = 0;
  /** A whole state came: who may watch what is to be decided anew, once it is in its place. */
  #recheckDue = false;
  #stateBytes = 0;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #leaving = false;
  #publishedNow: () => void = () => {};
  readonly #published = new Promise<void>((resolve) => {
    this.#publishedNow = resolve;
  });

  constructor({ options, ports, data, replicaOptions, met, introductions }: RunningOptions) {
    const { clock, random, transport, logger } = ports;
    this.#ports = ports;
    // Everything this member asks or proposes by itself listens to it.
    setMaxListeners(0, this.#abort.signal);
    this.#options = options;
    this.#data = data;
    this.#met = met;
    this.#introductions = introductions;
    this.#self = data.identity.memberId;
    const self = this.#self;
    const observer = ports.observe(self);
    this.#observer = observer;
    const timeoutMs = REQUEST_TIMEOUT_MS + 2 * options.electionMs;
    const node = new RawNode(raftOptions(self, options, ports), data.raft);
    const loop = new ReadyLoop({
      node,
      replica: data.replica,
      log: data.log,
      transport,
      clock,
      tickMs: options.heartbeatMs,
      listener: this,
    });
    this.#loop = loop;
    const schedule = (): void => loop.schedule();
    const machine = (): Replica['machine'] => loop.replica.machine;
    const members = (): readonly MemberInfo[] => machine().memberList();
    const ask = this.#ask.bind(this);
    const propose = (operation: Parameters<Proposals['propose']>[0]): Promise<Applied> =>
      this.#proposals.propose(operation, { signal: this.#abort.signal, user: INTERNAL_USER });

    this.#hub = new WatchHub(machine().store, { onWork: () => this.#pump.wake() });
    this.#pump = new WatchPump({ hub: this.#hub, clock });
    this.#proposals = new Proposals({
      node,
      clock,
      member: self,
      incarnation: data.identity.incarnation,
      timeoutMs,
      answered: (outcome) => observer.proposal(outcome),
      forward: ({ id, term }, commands) => ask(id, { type: 'propose', term, commands }, this.#abort.signal),
      schedule,
    });
    this.#reads = new Reads({
      node,
      clock,
      firstContext: 1 + random.integer(2 ** 48 - 1),
      retryMs: Math.max(options.heartbeatMs * 2, options.electionMs * READ_RETRY_PART),
      timeoutMs,
      applied: () => machine().appliedIndex,
      roundEnded: (outcome) => observer.readRound(outcome),
      schedule,
    });
    const reads = this.#reads;
    this.#leases = new LeaseKeeper({
      clock,
      lessor: () => machine().lessor,
      extendMs: options.electionMs,
      propose: (operation, context: CallContext) => this.#proposals.propose(operation, context),
      linearizable: (signal) => reads.linearizable(signal),
      refusal: (principal, id) => {
        const { access } = machine();
        return access.auth.userRefusal(principal) ?? leaseRefusal(access, principal, id);
      },
    });
    const { tokens, passwords } = signInParts(options.auth, ports);
    this.#tokens = tokens;
    this.#access = new Access({
      clock,
      auth: () => machine().auth,
      tokens,
      appliedIndex: () => machine().appliedIndex,
      linearizable: (signal) => reads.linearizable(signal),
      timeoutMs,
      decided: (outcome) => observer.accessDecided(outcome),
    });
    this.#watches = new WatchGuard({ hub: this.#hub, access: this.#access, auth: () => machine().auth });
    const accounts = new Accounts({
      access: this.#access,
      tokens,
      passwords,
      attempts: new Attempts(clock),
      logger,
      machine,
      propose: (operation, context) => this.#proposals.propose(operation, context),
      linearizable: (signal) => reads.linearizable(signal),
      answer: (result) => ({ header: this.member.header(), result }),
      signedIn: (outcome) => observer.signedIn(outcome),
    });
    this.#leadership = new Leadership({
      self,
      clock,
      transport,
      timeoutMs,
      electionMs: options.electionMs,
      loop: () => loop,
      members,
      ask,
    });
    this.#membership = new Membership({
      self,
      node,
      clock,
      random,
      transport,
      timeoutMs,
      members,
      proposeWith: (operation, context, enter) => this.#proposals.proposeWith(operation, context, enter),
      handOver: () => this.#leadership.handOver(),
      schedule,
    });
    this.#snapshots = new Snapshots({
      self,
      clusterId: data.identity.clusterId,
      clock,
      disk: ports.disk,
      transport,
      logger,
      observer,
      replicaOptions,
      loop: () => loop,
      fatal: (error) => this.fatal(error),
    });
    this.#housekeeping = new Housekeeping({
      node,
      log: data.log,
      clock,
      replica: () => loop.replica,
      snapshotCount: options.snapshotCount,
      catchUpEntries: options.catchUpEntries,
      pinnedIndex: () => this.#snapshots.pinnedIndex(),
      barrierSeconds: (seconds) => observer.stateBarrier(seconds),
      fatal: (error) => this.fatal(error),
    });
    this.#space = new SpaceGuard({
      self,
      clock,
      disk: ports.disk,
      logger,
      quotaBytes: options.quotaBytes,
      freeBytesMin: options.freeBytesMin,
      machine,
      propose,
    });
    this.#hashes = new ApplyHashes({
      self,
      clock,
      logger,
      isLeader: () => loop.view.role === 'leader',
      members,
      ask,
      propose,
    });
    this.#compaction = new AutoCompaction({
      policy: options.autoCompaction,
      clock,
      logger,
      isLeader: () => loop.view.role === 'leader',
      currentRevision: () => machine().store.currentRevision,
      compact: async (revision) => {
        const { outcome } = await propose({ type: 'compact', revision });
        if (!outcome.ok) throw new StoreError(outcome.code);
      },
    });
    this.#server = new PeerServer({
      loop,
      leases: this.#leases,
      membership: this.#membership,
      hashes: this.#hashes,
      signal: this.#abort.signal,
    });
    this.#newcomers = new Newcomers({
      ...ports,
      signal: this.#abort.signal,
      clusterId: data.identity.clusterId,
      members,
      learned: () => this.membershipChanged(),
    });
    this.#removal = new RemovalCheck({
      ...ports,
      signal: this.#abort.signal,
      self,
      clusterId: data.identity.clusterId,
      hasLeader: () => loop.view.leader !== 0,
      members,
      initialCluster: options.initialCluster,
      ownUrls: options.peerUrls,
      patienceMs: REMOVAL_PATIENCE_ELECTIONS * options.electionMs,
      removed: () => this.#leave(REMOVED),
      foreign: (reason) => this.fatal(new StoreError('data-dir-foreign', reason)),
    });
    this.member = new Member({
      id: self,
      clusterId: data.identity.clusterId,
      clock,
      random,
      loop,
      hub: this.#hub,
      proposals: this.#proposals,
      reads,
      access: this.#access,
      accounts,
      watches: this.#watches,
      leases: this.#leases,
      leadership: this.#leadership,
      membership: this.#membership,
      snapshots: this.#snapshots,
      housekeeping: this.#housekeeping,
      space: this.#space,
      quotaBytes: options.quotaBytes,
      leaseTtlSecondsMin: Math.ceil((1.5 * options.electionMs) / 1000),
      stallMsMax: STALL_ELECTIONS_MAX * options.electionMs,
      stateBytes: () => this.#stateBytes,
      tokensHeld: () => this.#tokens.held,
      logBytes: () => data.log.sizeBytes,
      isConnected: (id) => transport.connected(id),
      published: this.#published,
      fatal: (error) => this.fatal(error),
      close: () => this.#close(),
    });
  }

  /**
   * Resolves when everything that was committed before the start is applied again: only then may it serve.
   *
   * @throws StoreError `data-dir-foreign`
   */
  async start(): Promise<void> {
    const { ports, data } = { ports: this.#ports, data: this.#data };
    if (this.#isOnlyVoter()) await this.#refuseForeign();
    this.membershipChanged();
    this.#loop.start(() => this.#tick());
    if (data.cutAfterSeq !== null) this.#confirmTail(data.cutAfterSeq);
    if (this.#isOnlyVoter()) this.#loop.run(() => this.#loop.node.campaign());
    await this.#applied(data.raft.hardState.commit);
    this.#publish().then(this.#publishedNow, (error: unknown) => this.fatal(error));
    ports.logger.info(
      {
        memberId: this.#self.toString(16),
        clusterId: data.identity.clusterId.toString(16),
        commit: data.raft.hardState.commit,
      },
      'member started',
    );
  }

  // ---- the loop tells ---------------------------------------------------------------------------------------

  beforeReady(): void {
    this.#proposals.flush();
    this.#reads.flush();
  }

  applied(applied: Applied, entry: Entry): void {
    this.#proposals.termApplied(entry.term);
    if (applied.events.length > 0) this.#hub.notify(applied.revision, applied.events);
    if (applied.outcome.ok) this.#accountsChanged(applied.outcome.result, entry.index);
    this.#hashes.applied(entry.index, this.#loop.replica.machine);
    this.#proposals.applied(applied);
    if (this.#leasesDueInTerm === entry.term) {
      this.#leasesDueInTerm = 0;
      this.#leases.promote(entry.term);
    }
  }

  appliedTo(index: number, slice: { readonly seconds: number; readonly entries: number }): void {
    this.#observer.applied(slice.seconds, slice.entries);
    this.#reads.appliedTo(index);
    this.#access.appliedTo(index);
    if (this.#recheckDue) {
      this.#recheckDue = false;
      this.#watches.recheck();
    }
    const due = this.#appliedWaiters.filter((waiter) => waiter.index <= index);
    if (due.length === 0) return;
    this.#appliedWaiters = this.#appliedWaiters.filter((waiter) => waiter.index > index);
    for (const waiter of due) waiter.resolve();
  }

  readState(state: ReadState): void {
    this.#reads.readState(state);
  }

  snapshotWanted(message: Message & { readonly type: 'snapshot' }): void {
    this.#snapshots.send(message);
  }

  stateNameOf(snapshot: SnapshotMeta): string {
    return this.#snapshots.stateNameOf(snapshot);
  }

  restore(snapshot: SnapshotMeta): Replica {
    const replica = this.#snapshots.restore(snapshot);
    this.#proposals.restored();
    this.#hub.storeReplaced(replica.machine.store);
    this.#recheckDue = true;
    this.#pump.wake();
    return replica;
  }

  roleChanged({ term, role, leader }: LeadershipView): void {
    this.#ports.logger.info({ term, role, leader: leader.toString(16) }, 'role');
    this.#leases.demote();
    this.#leasesDueInTerm = role === 'leader' ? term : 0;
    this.#observer.leaderChanged(leader === 0 ? null : leader);
    this.#proposals.leadershipChanged();
    this.#reads.leadershipChanged();
    this.#leadership.changed(this.#loop.view);
  }

  membershipChanged(): void {
    const members = this.#loop.replica.machine.memberList();
    const known = members.length === 0 ? this.#introductions : members;
    this.#ports.transport.setPeers([...known, ...this.#newcomers.list()]);
    if (members.length === 0 || members.some((member) => member.id === this.#self)) return;
    this.#leave(REMOVED);
  }

  logWritten(seconds: number, batch: AppendBatch): void {
    const bytes = batch.entries.reduce((sum, entry) => sum + entry.data.length, 0);
    this.#observer.walFsync(seconds, { entries: batch.entries.length, bytes });
  }

  fatal(error: unknown): void {
    this.#abort.abort();
    this.#ports.fatal(error);
  }

  // ---- peers tell -------------------------------------------------------------------------------------------

  messages(from: MemberId, messages: readonly Message[]): void {
    this.#loop.run(() => {
      for (const message of messages) {
        // A state comes on a stream of its own; `from` was checked by the handshake, the message must agree.
        if (message.type !== 'snapshot' && message.from === from) this.#loop.node.step(message);
      }
    });
  }

  request(from: MemberId, body: Buffer): Promise<Buffer> {
    return this.#server.serve(from, body).catch((error: unknown) => {
      if (error instanceof AssertionError) this.fatal(error);
      throw error;
    });
  }

  snapshot(from: MemberId, frames: AsyncIterable<Buffer>): Promise<void> {
    return this.#snapshots.receive(from, frames);
  }

  async probe(): Promise<Buffer> {
    const { clusterId } = this.#data.identity;
    const met = [...this.#met.ids(), this.#self];
    const { machine } = this.#loop.replica;
    return encodeAccount({
      clusterId,
      members: machine.memberList(),
      met,
      removed: machine.members.removed(),
    });
  }

  admit(peer: PeerIdentity): string | null {
    const { members } = this.#loop.replica.machine;
    if (members.wasRemoved(peer.memberId)) return 'it was removed from the cluster';
    // Somebody newer than what is applied here: a member that lags must not keep the newcomer out.
    const refusal = this.#met.refusal(peer);
    if (refusal === null) {
      this.#met.note(peer);
      if (members.get(peer.memberId) === undefined) this.#newcomers.met(peer.memberId);
    } else {
      this.#ports.logger.error({ peer: peer.memberId.toString(16) }, refusal);
    }
    return refusal;
  }

  unreachable(id: MemberId): void {
    this.#loop.run(() => this.#loop.node.reportUnreachable(id));
  }

  /** Before the next entry is applied: nobody hears of anything that he may not any more. */
  #accountsChanged(result: CommandResult, index: number): void {
    if (result.type === 'authenticate') this.#tokens.signedIn(result, index);
    else if (result.type === 'auth' && result.narrows) this.#watches.recheck();
  }

  // ---- own affairs ------------------------------------------------------------------------------------------

  #tick(): void {
    this.#watchDisk();
    this.#proposals.tick();
    this.#reads.tick();
    this.#access.tick();
    this.#leases.tick();
    this.#housekeeping.tick();
    this.#space.tick();
    this.#hashes.tick();
    this.#compaction.tick();
    this.#removal.tick();
    this.#newcomers.tick();
    this.#pump.tick();
    this.#measure();
  }

  /** A leader whose disk has stalled must not keep the others waiting (RELIABILITY P8). */
  #watchDisk(): void {
    const stalledMs = this.#loop.diskStalledMs;
    const { electionMs } = this.#options;
    if (stalledMs > STALL_ELECTIONS_MAX * electionMs) {
      this.fatal(new StoreError('storage', `the disk has not answered for ${Math.round(stalledMs)} ms`));
    } else if (stalledMs > electionMs && this.#loop.view.role === 'leader') {
      this.#ports.logger.warn({ stalledMs }, 'the disk has stalled: giving leadership up');
      this.#loop.node.abandonLeadership();
    }
  }

  #measure(): void {
    const { clock, transport } = this.#ports;
    if (clock.nowMs() - this.#measuredMs < SIZE_INTERVAL_MS) return;
    this.#measuredMs = clock.nowMs();
    this.#loop.replica.store.sizeBytes().then(
      (bytes) => {
        this.#stateBytes = bytes;
      },
      (error: unknown) => this.fatal(error),
    );
    for (const { id } of this.#loop.replica.machine.memberList()) {
      const roundTripMs = transport.roundTripMs(id);
      if (roundTripMs !== undefined) this.#observer.peerRoundTrip(id, roundTripMs / 1000);
    }
  }

  /** Tells the cluster this member's name and client addresses, until it is told. */
  async #publish(): Promise<void> {
    const { name, clientUrls } = this.#options;
    const { signal } = this.#abort;
    const isTold = (): boolean => {
      const record = this.#loop.replica.machine.members.get(this.#self);
      return record?.name === name && record.clientUrls.join() === clientUrls.join();
    };
    // A member that has just joined first needs the state that knows it.
    while (!signal.aborted && this.#loop.replica.machine.members.get(this.#self) === undefined) {
      await this.#pause(this.#options.heartbeatMs);
    }
    while (!signal.aborted && !isTold()) {
      try {
        await this.#proposals.propose(
          { type: 'member-publish', id: this.#self, name, clientUrls },
          { signal },
        );
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        await this.#pause(this.#options.electionMs);
      }
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.#ports.clock.setTimer(resolve, delayMs));
  }

  #confirmTail(logSeq: number): void {
    const { clock, logger } = this.#ports;
    const { log, raft } = this.#data;
    confirmCutTail(
      {
        self: this.#self,
        node: this.#loop.node,
        clock,
        logger,
        members: () => this.#loop.replica.machine.memberList(),
        logSeq,
        lastIndex: raft.entries.at(-1)?.index ?? raft.compacted.index,
        confirm: () => log.confirmTail(),
        ask: this.#ask.bind(this),
      },
      this.#abort.signal,
    ).catch((error: unknown) => this.fatal(error));
  }

  /** An only voter is going to serve at once: with data in a wrong place there is nobody to keep it from that. */
  async #refuseForeign(): Promise<void> {
    const reason = await this.#removal.foreignness();
    if (reason !== null) throw new StoreError('data-dir-foreign', reason);
  }

  #isOnlyVoter(): boolean {
    const { voters, votersOutgoing } = this.#loop.replica.machine.confState;
    return votersOutgoing.length === 0 && voters.length === 1 && voters[0] === this.#self;
  }

  #applied(index: number): Promise<void> {
    if (this.#loop.replica.machine.appliedIndex >= index) return Promise.resolve();
    return new Promise((resolve) => this.#appliedWaiters.push({ index, resolve }));
  }

  async #ask<T extends PeerRequest>(
    to: MemberId,
    request: T,
    signal: AbortSignal,
  ): Promise<PeerAnswer<T['type']>> {
    const body = encodePeerRequest(request);
    const answer = await this.#ports.transport.request(to, body, signal);
    return decodePeerAnswer<T['type']>(request.type, answer);
  }

  #leave(reason: string): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#ports.logger.error({}, reason);
    this.#ports.clock.setTimer(() => this.fatal(new StoreError('stopped', reason)), REMOVED_LINGER_MS);
  }

  async #close(): Promise<void> {
    this.#abort.abort();
    this.#proposals.stop();
    this.#reads.stop();
    this.#leases.stop();
    this.#pump.stop();
    await this.#ports.transport.close();
    await this.#loop.stop();
    await this.#housekeeping.stop();
    await this.#snapshots.close();
    await this.#housekeeping.barrier();
    await this.#data.log.close();
    await this.#loop.replica.store.close();
    await this.#met.close();
  }
}

function raftOptions(id: MemberId, options: MemberOptions, ports: MemberPorts): RaftOptions {
  return {
    id,
    heartbeatTicks: 1,
    electionTicks: Math.max(2, Math.round(options.electionMs / options.heartbeatMs)),
    maxEntriesPerMessageBytes: 1024 * 1024,
    maxInflightMessages: 256,
    maxInflightBytes: 8 * 1024 * 1024,
    maxUncommittedBytes: 64 * 1024 * 1024,
    maxApplyBytes: 4 * 1024 * 1024,
    random: (bound) => ports.random.integer(bound),
  };
}
