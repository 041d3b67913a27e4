import { Counter, collectDefaultMetrics, exponentialBuckets, Gauge, Histogram, Registry } from 'prom-client';
import {
  ACCESS_OUTCOMES,
  BOUNDED_READ_OUTCOMES,
  type MemberFigures,
  type MemberObserver,
  SIGN_IN_OUTCOMES,
} from '../../member/observer.ts';
import { type NetworkFigures, networkMetrics } from './network-metrics.ts';
import { type WorkerFigures, workerMetrics } from './worker-metrics.ts';

/** Identifies the process in constant labels. */
export interface MetricsIdentity {
  readonly memberId: number;
  readonly version: string;
  /** The etcd release told to clients. */
  readonly etcdVersion: string;
}

/** Where the configuration service's part comes from. */
export interface ServiceMetricsSource {
  readonly figures: WorkerFigures;
  /** In the text format; empty when it does not answer. */
  metrics(): Promise<string>;
}

/** etcd's own bounds, so that dashboards and alerts made for it fit. */
const DISK_SECONDS = exponentialBuckets(0.001, 2, 14);
const ROUND_TRIP_SECONDS = exponentialBuckets(0.0001, 2, 16);
const SNAPSHOT_SECONDS = exponentialBuckets(0.1, 2, 12);
const BATCH_ENTRIES = exponentialBuckets(1, 2, 13);

/**
 * All metrics of one member: etcd's well-known names where they mean the same, `conclave_<area>_<thing>_<unit>`
 * for the rest, and the process's own. The member reports durations to `observer`; the rest is sampled when scraped.
 */
export class Metrics {
  readonly #registry = new Registry();

  /** What the member is given. */
  readonly observer: MemberObserver = observer(this.#registry);

  readonly #sample: () => MemberFigures;
  readonly #take: (sample: MemberFigures) => void;
  readonly #network: () => void;
  readonly #service: () => Promise<string>;

  /** @param sample asked once for every page, as are `network` and `service` */
  constructor(
    identity: MetricsIdentity,
    sample: () => MemberFigures,
    network?: () => NetworkFigures,
    service?: ServiceMetricsSource,
  ) {
    collectDefaultMetrics({ register: this.#registry });
    identify(this.#registry, identity);
    this.#sample = sample;
    this.#take = sampler(this.#registry, identity);
    const takeNetwork = network === undefined ? null : networkMetrics(this.#registry);
    this.#network = () => takeNetwork?.(network!());
    const takeWorker = service === undefined ? null : workerMetrics(this.#registry);
    this.#service = async () => {
      takeWorker?.(service!.figures);
      return (await service?.metrics()) ?? '';
    };
  }

  /** Value of the Content-Type header that belongs to `render()`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The whole page in the Prometheus text format. */
  async render(): Promise<string> {
    this.#take(this.#sample());
    this.#network();
    const service = await this.#service();
    return (await this.#registry.metrics()) + service;
  }
}

function identify(registry: Registry, identity: MetricsIdentity): void {
  const registers = [registry];
  const id = identity.memberId.toString(16);
  new Gauge({
    name: 'etcd_server_id',
    help: 'Member id, in hexadecimal',
    labelNames: ['server_id'],
    registers,
  })
    .labels(id)
    .set(1);
  new Gauge({
    name: 'etcd_server_version',
    help: 'The etcd release whose API is served',
    labelNames: ['server_version'],
    registers,
  })
    .labels(identity.etcdVersion)
    .set(1);
  new Gauge({
    name: 'conclave_build_info',
    help: 'Version of this program',
    labelNames: ['version'],
    registers,
  })
    .labels(identity.version)
    .set(1);
}

// ---- sampled ------------------------------------------------------------------------------------------------

type Reading = readonly [name: string, help: string, read: (sample: MemberFigures) => number];

const READINGS: readonly Reading[] = [
  ['etcd_server_has_leader', 'Whether a leader is known', (s) => Number(s.hasLeader)],
  ['etcd_server_is_leader', 'Whether this member is the leader', (s) => Number(s.isLeader)],
  ['etcd_server_is_learner', 'Whether this member is a learner', (s) => Number(s.isLearner)],
  ['etcd_server_proposals_committed_total', 'Index of the last committed entry', (s) => s.commitIndex],
  ['etcd_server_proposals_applied_total', 'Index of the last applied entry', (s) => s.appliedIndex],
  ['etcd_server_proposals_pending', 'Proposals waiting for their outcome', (s) => s.proposalsPending],
  ['etcd_server_quota_backend_bytes', 'Size of the data at which writes are refused', (s) => s.quotaBytes],
  ['etcd_mvcc_db_total_size_in_bytes', 'Size of the data on disk', (s) => s.dbSizeBytes],
  ['etcd_mvcc_db_total_size_in_use_in_bytes', 'Size of the data in use', (s) => s.dbSizeInUseBytes],
  ['etcd_debugging_mvcc_keys_total', 'Keys at the current revision', (s) => s.keys],
  ['etcd_debugging_mvcc_current_revision', 'Current revision', (s) => s.revision],
  [
    'etcd_debugging_mvcc_compact_revision',
    'Revision of the last compaction',
    (s) => Math.max(s.compactRevision, 0),
  ],
  ['etcd_debugging_mvcc_watcher_total', 'Watches on this member', (s) => s.watchers],
  ['etcd_debugging_mvcc_slow_watcher_total', 'Watches that are behind', (s) => s.slowWatchers],
  ['conclave_raft_term', 'Current term', (s) => s.term],
  ['conclave_lease_leases', 'Leases granted and not ended', (s) => s.leases],
  ['conclave_wal_size_bytes', 'Size of the log on disk', (s) => s.logSizeBytes],
  [
    'conclave_wal_first_index',
    'First entry the log still holds; a follower behind it needs a snapshot',
    (s) => s.logFirstIndex,
  ],
  ['etcd_debugging_auth_revision', 'Revision of users, roles and settings', (s) => s.auth.revision],
  [
    'conclave_state_age_seconds',
    'The state reflects everything acknowledged more than so long ago; not a number when nothing is proven',
    (s) => s.stateAgeSeconds,
  ],
  ['conclave_watch_fresh_answers_total', 'Requests for fresh progress answered', (s) => s.freshAnswers],
  ['conclave_auth_enabled', 'Whether requests must say who asks', (s) => Number(s.auth.enabled)],
  ['conclave_auth_users', 'Users', (s) => s.auth.users],
  ['conclave_auth_roles', 'Roles', (s) => s.auth.roles],
  [
    'conclave_timers_too_short',
    'Whether heartbeat interval or election timeout are too short for the round trips',
    (s) => Number(!s.timersFit),
  ],
  ['conclave_auth_tokens_held', 'Simple tokens this member knows; some may be over', (s) => s.auth.tokens],
];

/** Answers a function that sets all sampled gauges from one sample, so that a page shows one moment. */
function sampler(registry: Registry, identity: MetricsIdentity): (sample: MemberFigures) => void {
  const registers = [registry];
  const gauges = READINGS.map(([name, help, read]) => [new Gauge({ name, help, registers }), read] as const);
  const local = identity.memberId.toString(16);
  const peers = new Gauge({
    name: 'etcd_network_active_peers',
    help: 'Connected members',
    labelNames: ['Local', 'Remote'],
    registers,
  });
  const setRegions = regionSampler(registry);
  return (sample) => {
    for (const [gauge, read] of gauges) gauge.set(read(sample));
    setRegions(sample);
    peers.reset();
    for (const peer of sample.connectedPeers) peers.labels(local, peer.toString(16)).set(1);
  };
}

/** Where members run, how far away they are and how far behind. Those that have left are not shown any more. */
function regionSampler(registry: Registry): (sample: MemberFigures) => void {
  const perPeer = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['to', 'region'], registers: [registry] });
  const region = new Gauge({
    name: 'conclave_member_region',
    help: 'Where this member runs; no line when it does not say',
    labelNames: ['region'],
    registers: [registry],
  });
  const roundTrip = perPeer('conclave_peer_round_trip_seconds', 'Smoothed round trip to another member');
  const longest = perPeer(
    'conclave_peer_round_trip_max_seconds',
    'Longest round trip to another member in the last minute',
  );
  const lag = perPeer(
    'conclave_peer_lag_entries',
    'Committed entries that another member is not known to hold; shown by the leader',
  );
  return (sample) => {
    for (const gauge of [region, roundTrip, longest, lag]) gauge.reset();
    if (sample.region !== undefined) region.labels(sample.region).set(1);
    for (const peer of sample.peers) {
      const labels = [peer.id.toString(16), peer.region] as const;
      if (peer.roundTrip !== null) {
        roundTrip.labels(...labels).set(peer.roundTrip.smoothedMs / 1_000);
        longest.labels(...labels).set(peer.roundTrip.maxMs / 1_000);
      }
      if (peer.lagEntries !== null) lag.labels(...labels).set(peer.lagEntries);
    }
  };
}

// ---- observed -----------------------------------------------------------------------------------------------

function observer(registry: Registry): MemberObserver {
  const registers = [registry];
  const seconds = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers });
  const count = (name: string, help: string) => new Counter({ name, help, registers });

  const walFsync = seconds('etcd_disk_wal_fsync_duration_seconds', 'Time of one log fsync', DISK_SECONDS);
  const walEntries = seconds(
    'conclave_wal_batch_entries',
    'Entries made durable by one fsync',
    BATCH_ENTRIES,
  );
  const walBytes = count('conclave_wal_written_bytes_total', 'Bytes appended to the log');
  const commit = seconds(
    'etcd_disk_backend_commit_duration_seconds',
    'Time of one durable barrier',
    DISK_SECONDS,
  );
  const barrier = seconds('conclave_state_barrier_seconds', 'Time of one durable barrier', DISK_SECONDS);
  const apply = seconds(
    'conclave_apply_slice_seconds',
    'Time of applying one slice of entries',
    DISK_SECONDS,
  );
  const applied = count('conclave_apply_entries_total', 'Entries applied since the start');
  const failed = count('etcd_server_proposals_failed_total', 'Proposals answered with an error');
  const answered = count('conclave_proposals_answered_total', 'Proposals of this member that were applied');
  const rounds = count('conclave_read_rounds_total', 'Rounds of linearizable reads served');
  const failedReads = count('etcd_server_read_indexes_failed_total', 'Rounds of linearizable reads given up');
  const changes = count('etcd_server_leader_changes_seen_total', 'Leader changes seen by this member');
  const sent = seconds(
    'etcd_network_snapshot_send_total_duration_seconds',
    'Time to send one',
    SNAPSHOT_SECONDS,
  );
  const received = seconds(
    'conclave_snapshot_receive_seconds',
    'Time to receive one snapshot',
    SNAPSHOT_SECONDS,
  );
  const roundTrip = new Histogram({
    name: 'etcd_network_peer_round_trip_time_seconds',
    help: 'Round trip to another member',
    labelNames: ['To'],
    buckets: ROUND_TRIP_SECONDS,
    registers,
  });
  const decided = byOutcome(registry, ACCESS_OUTCOMES, {
    name: 'conclave_auth_decisions_total',
    help: 'Requests and watches of clients while authentication was enabled, by what was decided',
  });
  const bounded = byOutcome(registry, BOUNDED_READ_OUTCOMES, {
    name: 'conclave_read_bounded_total',
    help: 'Reads of bounded staleness, by whether the proven age sufficed or a round was needed',
  });
  const signedIn = byOutcome(registry, SIGN_IN_OUTCOMES, {
    name: 'conclave_auth_sign_ins_total',
    help: 'Names and passwords shown, by what became of it',
  });

  return {
    walFsync: (duration, written) => {
      walFsync.observe(duration);
      walEntries.observe(written.entries);
      walBytes.inc(written.bytes);
    },
    stateBarrier: (duration) => {
      commit.observe(duration);
      barrier.observe(duration);
    },
    applied: (duration, entries) => {
      apply.observe(duration);
      applied.inc(entries);
    },
    proposal: (outcome) => (outcome === 'failed' ? failed : answered).inc(),
    readRound: (outcome) => (outcome === 'failed' ? failedReads : rounds).inc(),
    boundedRead: (outcome) => bounded.inc({ outcome }),
    leaderChanged: (leaderId) => {
      // As in etcd, a leader lost is counted when the next one is found.
      if (leaderId !== null) changes.inc();
    },
    snapshot: (direction, duration) => (direction === 'sent' ? sent : received).observe(duration),
    peerRoundTrip: (peerId, duration) => roundTrip.labels(peerId.toString(16)).observe(duration),
    accessDecided: (outcome) => decided.inc({ outcome }),
    signedIn: (outcome) => signedIn.inc({ outcome }),
  };
}

/** Counts every outcome from zero on: what has not happened yet shows, so that its first time is seen as a rise. */
function byOutcome(
  registry: Registry,
  outcomes: readonly string[],
  what: { readonly name: string; readonly help: string },
): Counter<'outcome'> {
  const counter = new Counter({ ...what, labelNames: ['outcome'], registers: [registry] });
  for (const outcome of outcomes) counter.inc({ outcome }, 0);
  return counter;
}
