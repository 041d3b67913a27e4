import { expect, test } from 'vitest';
import { Metrics } from '../../../src/api/http/metrics.ts';
import type { MemberFigures, MemberObserver } from '../../../src/member/observer.ts';

const SAMPLE: MemberFigures = {
  hasLeader: true,
  isLeader: false,
  isLearner: false,
  term: 7,
  commitIndex: 120,
  appliedIndex: 119,
  proposalsPending: 3,
  revision: 55,
  compactRevision: 40,
  keys: 1000,
  dbSizeBytes: 4096,
  dbSizeInUseBytes: 2048,
  quotaBytes: 8192,
  logSizeBytes: 512,
  logFirstIndex: 21,
  leases: 2,
  watchers: 5,
  slowWatchers: 1,
  stateAgeSeconds: Number.NaN,
  freshAnswers: 4,
  connectedPeers: [0x2a],
  region: 'eu-1',
  peers: [
    {
      id: 0x2a,
      region: 'us-2',
      roundTrip: { smoothedMs: 65, maxMs: 80 },
      lagEntries: 4,
    },
    { id: 0x2b, region: '', roundTrip: null, lagEntries: null },
  ],
  timersFit: false,
  auth: { enabled: true, revision: 12, users: 3, roles: 2, tokens: 8 },
};
const IDENTITY = { memberId: 0xabc, version: '0.1.0', etcdVersion: '3.6.0' };

async function lines(metrics: Metrics): Promise<string[]> {
  return (await metrics.render()).split('\n');
}

test('a page shows the member at the moment of the scrape', async () => {
  let sample = SAMPLE;
  const metrics = new Metrics(IDENTITY, () => sample);
  const first = await lines(metrics);
  expect(first).toEqual(
    expect.arrayContaining([
      'etcd_server_has_leader 1',
      'etcd_server_is_leader 0',
      'etcd_server_proposals_committed_total 120',
      'etcd_server_proposals_applied_total 119',
      'etcd_server_proposals_pending 3',
      'etcd_mvcc_db_total_size_in_bytes 4096',
      'etcd_debugging_mvcc_keys_total 1000',
      'etcd_server_id{server_id="abc"} 1',
      'etcd_server_version{server_version="3.6.0"} 1',
      'etcd_network_active_peers{Local="abc",Remote="2a"} 1',
      'conclave_raft_term 7',
      'conclave_member_region{region="eu-1"} 1',
      'conclave_peer_round_trip_seconds{to="2a",region="us-2"} 0.065',
      'conclave_peer_round_trip_max_seconds{to="2a",region="us-2"} 0.08',
      'conclave_peer_lag_entries{to="2a",region="us-2"} 4',
      'conclave_timers_too_short 1',
      'conclave_state_age_seconds Nan',
      'conclave_watch_fresh_answers_total 4',
      'conclave_read_bounded_total{outcome="upgraded"} 0',
      'etcd_debugging_auth_revision 12',
      'conclave_auth_enabled 1',
      'conclave_auth_users 3',
      'conclave_auth_roles 2',
      'conclave_auth_tokens_held 8',
      'conclave_auth_decisions_total{outcome="denied"} 0',
      'conclave_auth_sign_ins_total{outcome="limited"} 0',
      'conclave_build_info{version="0.1.0"} 1',
    ]),
  );
  expect(first.some((line) => line.includes('to="2b"'))).toBe(false);
  sample = {
    ...SAMPLE,
    isLeader: true,
    connectedPeers: [],
    peers: [],
    timersFit: true,
    stateAgeSeconds: 0.25,
  };
  const second = await lines(metrics);
  expect(second).toContain('etcd_server_is_leader 1');
  expect(second).toContain('conclave_state_age_seconds 0.25');
  expect(second.some((line) => /^(etcd_network_active_peers|conclave_peer_.*){/.test(line))).toBe(false);
  expect(second).toContain('conclave_timers_too_short 0');
});

test('what the member reports is counted', async () => {
  const metrics = new Metrics(IDENTITY, () => SAMPLE);
  const observer: MemberObserver = metrics.observer;
  observer.walFsync(0.003, { entries: 4, bytes: 400 });
  observer.walFsync(0.0005, { entries: 1, bytes: 100 });
  observer.stateBarrier(0.02);
  observer.applied(0.001, 5);
  observer.proposal('failed');
  observer.proposal('applied');
  observer.readRound('failed');
  observer.readRound('served');
  observer.boundedRead('local');
  observer.leaderChanged(1);
  observer.leaderChanged(null);
  observer.leaderChanged(2);
  observer.snapshot('sent', 3);
  observer.snapshot('received', 3);
  observer.peerRoundTrip(0x2a, 0.0002);
  observer.accessDecided('allowed');
  observer.accessDecided('denied');
  observer.accessDecided('denied');
  observer.signedIn('refused');
  expect(await lines(metrics)).toEqual(
    expect.arrayContaining([
      'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 1',
      'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 2',
      'etcd_disk_wal_fsync_duration_seconds_count 2',
      'conclave_wal_written_bytes_total 500',
      'etcd_disk_backend_commit_duration_seconds_count 1',
      'conclave_state_barrier_seconds_count 1',
      'conclave_apply_entries_total 5',
      'etcd_server_proposals_failed_total 1',
      'conclave_proposals_answered_total 1',
      'etcd_server_read_indexes_failed_total 1',
      'conclave_read_rounds_total 1',
      'conclave_read_bounded_total{outcome="local"} 1',
      'etcd_server_leader_changes_seen_total 2',
      'etcd_network_snapshot_send_total_duration_seconds_count 1',
      'conclave_snapshot_receive_seconds_count 1',
      'etcd_network_peer_round_trip_time_seconds_count{To="2a"} 1',
      'conclave_auth_decisions_total{outcome="allowed"} 1',
      'conclave_auth_decisions_total{outcome="denied"} 2',
      'conclave_auth_decisions_total{outcome="unknown"} 0',
      'conclave_auth_sign_ins_total{outcome="refused"} 1',
      'conclave_auth_sign_ins_total{outcome="granted"} 0',
    ]),
  );
});

test('the process itself is measured, and two members in one process do not mix', async () => {
  const one = new Metrics(IDENTITY, () => SAMPLE);
  const other = new Metrics({ ...IDENTITY, memberId: 1 }, () => SAMPLE);
  one.observer.proposal('failed');
  expect((await lines(other)).find((line) => line.startsWith('etcd_server_proposals_failed_total'))).toMatch(
    / 0$/,
  );
  expect(await one.render()).toContain('process_resident_memory_bytes');
  expect(one.contentType).toContain('text/plain');
});
