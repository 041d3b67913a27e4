import { INTERNAL_USER } from '../core/auth/operations.ts';
import { leaseRefusal } from '../core/auth/txn-access.ts';
import type { MemberId } from '../core/raft/messages.ts';
import { type RaftOptions, RawNode } from '../core/raft/raw-node.ts';
import type { Applied } from '../core/state-machine.ts';
import { WatchHub } from '../core/watch/hub.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import { Acquaintances } from './acquaintances.ts';
import { ApplyHashes } from './apply-hashes.ts';
import { type AuthParts, authParts } from './auth/auth-parts.ts';
import { AutoCompaction } from './auto-compaction.ts';
import type { BootedData } from './boot.ts';
import { Condition } from './condition.ts';
import { withDeadline } from './deadline.ts';
import { FRESHNESS_INTERVAL_MS_DEFAULT, Freshness } from './freshness.ts';
import { Housekeeping } from './housekeeping.ts';
import { DEFAULT_PREFERENCE_TIMING, electionPatience, LeaderPreference } from './leader-preference.ts';
import { Leadership } from './leadership.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { Member } from './member.ts';
import type { MemberOptions, MemberPorts } from './member-options.ts';
import { type MemberInfo, Membership } from './membership.ts';
import type { MetPeers } from './met-peers.ts';
import type { MemberObserver } from './observer.ts';
import { type Ask, decodePeerAnswer, encodePeerRequest, type PeerRequest } from './peer-requests.ts';
import { PeerServer } from './peer-server.ts';
import type { Transport } from './ports.ts';
import { type CallContext, Proposals } from './proposals.ts';
import { Reads } from './reads.ts';
import { ReadyLoop, type ReadyLoopListener } from './ready-loop.ts';
import { RemovalCheck } from './removal-check.ts';
import type { Replica, ReplicaOptions } from './replica.ts';
import { Snapshots } from './snapshots.ts';
import { SpaceGuard } from './space-guard.ts';
import { TimerCheck } from './timer-check.ts';
import { Vitals } from './vitals.ts';
import { WatchPump } from './watch-pump.ts';
import { Whereabouts } from './whereabouts.ts';

/** A client is answered within this, besides two election timeouts, or told that it timed out. */
const REQUEST_TIMEOUT_MS = 5_000;
/** A log write outstanding for this many election timeouts ends the process: another member must take over. */
const STALL_ELECTIONS_MAX = 30;
/** A read round without an answer is asked anew after this part of an election timeout. */
const READ_RETRY_PART = 0.5;
/** A member asks whether it was removed after so many election timeouts without a leader. */
const REMOVAL_PATIENCE_ELECTIONS = 5;

export interface RunningOptions {
  readonly options: MemberOptions;
  readonly ports: MemberPorts;
  readonly data: BootedData;
  readonly replicaOptions: ReplicaOptions;
  readonly met: MetPeers;
}

/** Who hears of what the parts have to tell, and what they cannot do by themselves. */
export interface PartsEvents extends ReadyLoopListener {
  /** Settles when the cluster knows this member's name and addresses. */
  readonly published: Promise<void>;
  /** This member is none of the cluster's any more. */
  removed(): void;
  fatal(error: unknown): void;
  close(): Promise<void>;
}

export interface RunningParts extends Omit<AuthParts, 'calls'> {
  readonly observer: MemberObserver;
  readonly ask: Ask;
  readonly loop: ReadyLoop;
  readonly hub: WatchHub;
  readonly pump: WatchPump;
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly freshness: Freshness;
  readonly leases: LeaseKeeper;
  readonly leadership: Leadership;
  readonly snapshots: Snapshots;
  readonly housekeeping: Housekeeping;
  readonly space: SpaceGuard;
  readonly hashes: ApplyHashes;
  readonly compaction: AutoCompaction;
  readonly server: PeerServer;
  readonly acquaintances: Acquaintances;
  readonly removal: RemovalCheck;
  readonly vitals: Vitals;
  readonly timers: TimerCheck;
  readonly preference: LeaderPreference;
  readonly member: Member;
}

/**
 * Makes the parts of a running member and tells each what it needs of the others. What each does stands in its own
 * file.
 *
 * @param signal aborted when the member stops: ends everything it asks or proposes by itself
 */
export function assemble(
  { options, ports, data, replicaOptions, met }: RunningOptions,
  events: PartsEvents,
  signal: CancelSignal,
): RunningParts {
  const { clock, random, transport, logger } = ports;
  const self = data.identity.memberId;
  const observer = ports.observe(self);
  const fatal = (error: unknown): void => events.fatal(error);
  const timeoutMs = REQUEST_TIMEOUT_MS + 2 * options.electionMs;
  const leaderRegions = options.leaderRegions ?? [];
  const node = new RawNode(raftOptions(self, options, ports), data.raft);
  const loop = new ReadyLoop({
    node,
    replica: data.replica,
    log: data.log,
    transport,
    clock,
    tickMs: options.heartbeatMs,
    listener: events,
  });
  const schedule = (): void => loop.schedule();
  const machine = (): Replica['machine'] => loop.replica.machine;
  const members = (): readonly MemberInfo[] => machine().memberList();
  const ask = asker(transport);
  const propose = (operation: Parameters<Proposals['propose']>[0]): Promise<Applied> =>
    proposals.propose(operation, { signal, user: INTERNAL_USER });

  const hub = new WatchHub(machine().store, { onWork: () => pump.wake() });
  const pump = new WatchPump({ hub, clock });
  const proposals = new Proposals({
    node,
    clock,
    member: self,
    incarnation: data.identity.incarnation,
    timeoutMs,
    answered: (outcome) => observer.proposal(outcome),
    forward: ({ id, term }, commands) => ask(id, { type: 'propose', term, commands }, signal),
    schedule,
  });
  const freshness = new Freshness({
    clock,
    probe: () => reads.probe(),
    intervalMs: options.freshnessIntervalMs ?? FRESHNESS_INTERVAL_MS_DEFAULT,
  });
  const reads = new Reads({
    node,
    clock,
    freshness,
    firstContext: 1 + random.integer(2 ** 48 - 1),
    retryMs: Math.max(options.heartbeatMs * 2, options.electionMs * READ_RETRY_PART),
    timeoutMs,
    applied: () => machine().appliedIndex,
    roundEnded: (outcome) => observer.readRound(outcome),
    schedule,
  });
  const leases = new LeaseKeeper({
    clock,
    lessor: () => machine().lessor,
    extendMs: options.electionMs,
    propose: (operation, context: CallContext) => proposals.propose(operation, context),
    linearizable: (signal) => reads.linearizable(signal),
    refusal: (principal, id) => {
      const { access } = machine();
      return access.auth.userRefusal(principal) ?? leaseRefusal(access, principal, id);
    },
  });
  const { tokens, access, watches, calls, accounts } = authParts({
    auth: options.auth,
    clusterId: data.identity.clusterId,
    memberId: self,
    clock,
    random,
    logger,
    loop,
    hub,
    proposals,
    reads,
    freshness,
    learnerLinearizableReads: options.learnerLinearizableReads ?? false,
    timeoutMs,
    observer,
    fatal,
  });
  const leadership = new Leadership({
    self,
    clock,
    transport,
    timeoutMs,
    electionMs: options.electionMs,
    loop: () => loop,
    members,
    leaderRegions,
    ask,
  });
  const preference = new LeaderPreference({
    self,
    region: options.region,
    leaderRegions,
    timing: options.preferenceTiming ?? DEFAULT_PREFERENCE_TIMING,
    clock,
    logger,
    status: () => node.status(),
    isLeader: () => loop.view.role === 'leader',
    members,
    isConnected: (id) => transport.connected(id),
    transfer: (to) =>
      withDeadline(clock, 2 * options.electionMs, (deadline) => leadership.transfer(to, deadline)),
    fatal,
  });
  const membership = new Membership({
    self,
    node,
    clock,
    random,
    transport,
    timeoutMs,
    members,
    proposeWith: (operation, context, enter) => proposals.proposeWith(operation, context, enter),
    handOver: () => leadership.handOver(),
    schedule,
  });
  const snapshots = new Snapshots({
    self,
    clusterId: data.identity.clusterId,
    clock,
    disk: ports.disk,
    transport,
    logger,
    observer,
    replicaOptions,
    loop: () => loop,
    fatal,
  });
  const housekeeping = new Housekeeping({
    node,
    log: data.log,
    clock,
    replica: () => loop.replica,
    snapshotCount: options.snapshotCount,
    catchUpEntries: options.catchUpEntries,
    pinnedIndex: () => snapshots.pinnedIndex(),
    barrierSeconds: (seconds) => observer.stateBarrier(seconds),
    fatal,
  });
  const space = new SpaceGuard({
    self,
    clock,
    disk: ports.disk,
    logger,
    quotaBytes: options.quotaBytes,
    freeBytesMin: options.freeBytesMin,
    machine,
    propose,
  });
  const hashes = new ApplyHashes({
    self,
    clock,
    logger,
    isLeader: () => loop.view.role === 'leader',
    members,
    ask,
    propose,
  });
  const compaction = new AutoCompaction({
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
  const server = new PeerServer({
    loop,
    leases,
    membership,
    hashes,
    signal,
  });
  const whereabouts = new Whereabouts({
    members: () => machine().memberList(),
    wasRemoved: (id) => machine().members.wasRemoved(id),
  });
  whereabouts.read(data.raft.entries.filter(({ index }) => index > machine().appliedIndex));
  const acquaintances = new Acquaintances({
    identity: data.identity,
    met,
    whereabouts,
    transport,
    machine,
    logger,
  });
  const removal = new RemovalCheck({
    ...ports,
    signal,
    self,
    clusterId: data.identity.clusterId,
    hasLeader: () => loop.view.leader !== 0,
    members: () => whereabouts.addresses(),
    initialCluster: options.initialCluster,
    ownUrls: options.peerUrls,
    patienceMs: REMOVAL_PATIENCE_ELECTIONS * options.electionMs,
    removed: () => events.removed(),
    foreign: (reason) => fatal(new StoreError('data-dir-foreign', reason)),
  });
  const vitals = new Vitals({
    loop,
    clock,
    transport,
    observer,
    logger,
    tickMs: options.heartbeatMs,
    electionMs: options.electionMs,
    stallMsMax: STALL_ELECTIONS_MAX * options.electionMs,
    fatal,
  });
  const timers = new TimerCheck({
    self,
    heartbeatMs: options.heartbeatMs,
    electionMs: options.electionMs,
    clock,
    logger,
    transport,
    members,
  });
  const condition = new Condition({
    self,
    region: options.region,
    loop,
    hub,
    proposals,
    freshness,
    quotaBytes: options.quotaBytes,
    diskAnswers: () => vitals.diskAnswers,
    stateBytes: () => vitals.stateBytes,
    logBytes: () => data.log.sizeBytes,
    tokensHeld: () => tokens.held,
    isConnected: (id) => transport.connected(id),
    roundTrip: (id) => transport.roundTrip(id),
    timersFit: () => timers.advice === null,
  });
  const member = new Member({
    id: self,
    clusterId: data.identity.clusterId,
    region: options.region ?? '',
    clock,
    random,
    loop,
    hub,
    freshness,
    calls,
    condition,
    access,
    accounts,
    watches,
    leases,
    leadership,
    membership,
    snapshots,
    housekeeping,
    space,
    leaseTtlSecondsMin: Math.ceil((1.5 * options.electionMs) / 1000),
    published: events.published,
    close: () => events.close(),
  });

  return {
    observer,
    ask,
    loop,
    hub,
    pump,
    proposals,
    reads,
    freshness,
    tokens,
    access,
    accounts,
    watches,
    leases,
    leadership,
    snapshots,
    housekeeping,
    space,
    hashes,
    compaction,
    server,
    acquaintances,
    removal,
    vitals,
    timers,
    preference,
    member,
  };
}

function asker(transport: Transport): Ask {
  return async <T extends PeerRequest>(to: MemberId, request: T, signal: CancelSignal) => {
    const answer = await transport.request(to, encodePeerRequest(request), signal);
    return decodePeerAnswer<T['type']>(request.type, answer);
  };
}

/** Where members have regions a round takes long, and members prove their ages by many: who comes must not wait. */
const READ_ROUNDS_OF_REGIONS = 8;

function raftOptions(id: MemberId, options: MemberOptions, ports: MemberPorts): RaftOptions {
  return {
    id,
    heartbeatTicks: 1,
    electionTicks: Math.max(2, Math.round(options.electionMs / options.heartbeatMs)),
    electionPatience: electionPatience(options.region, options.leaderRegions ?? []),
    maxEntriesPerMessageBytes: 1024 * 1024,
    // 140 ms at 100 MB/s, and as many messages as a busy loop makes meanwhile.
    maxInflightMessages: 1024,
    maxInflightBytes: 16 * 1024 * 1024,
    maxUncommittedBytes: 64 * 1024 * 1024,
    maxApplyBytes: 4 * 1024 * 1024,
    maxReadRounds: options.region === undefined ? 1 : READ_ROUNDS_OF_REGIONS,
    random: (bound) => ports.random.integer(bound),
  };
}
