import type { EtcdBackend, WatchStream } from '../../../src/api/etcd/backend.ts';
import type { KeyValue, TxnResult } from '../../../src/core/mvcc/operations.ts';
import type { WatchOptions, WatchSink } from '../../../src/core/watch/delivery.ts';
import type { Answer, Header } from '../../../src/member/client-calls.ts';
import type { MemberInfo } from '../../../src/member/membership.ts';

export const HEADER: Header = { clusterId: 11, memberId: 22, revision: 33, raftTerm: 44 };
export const WIRE_HEADER = { cluster_id: 11, member_id: 22, revision: 33, raft_term: 44 };

export const KV: KeyValue = {
  key: Buffer.from('k'),
  createRevision: 5,
  modRevision: 6,
  version: 2,
  value: Buffer.from('v'),
  lease: 2n ** 62n,
};
export const MEMBER: MemberInfo = {
  id: 7,
  name: 'a',
  peerUrls: ['http://h:1'],
  clientUrls: ['http://h:2'],
  isLearner: true,
  region: 'eu-1',
};

/** A face-sized backend for tests of translation: it notes what it is asked and answers with fixed values. */
export class FakeBackend implements EtcdBackend {
  readonly asked: unknown[] = [];
  readonly watchStreams: FakeWatchStream[] = [];
  readonly leaderListeners = new Set<(hasLeader: boolean) => void>();
  /** The next call rejects with it. */
  failure: Error | null = null;
  leader = true;
  txnResult: TxnResult = { type: 'txn', revision: 33, succeeded: true, responses: [] };
  keepAliveGate: Promise<void> = Promise.resolve();
  frames: Buffer[] = [];
  snapshotBytes = 0;
  watchResumes = 0;
  rangePages: (readonly KeyValue[])[] = [[KV], [KV, KV]];

  async #answer<T>(asked: unknown, result: T): Promise<Answer<T>> {
    this.asked.push(asked);
    const failure = this.failure;
    this.failure = null;
    if (failure !== null) throw failure;
    return { header: HEADER, result };
  }

  range: EtcdBackend['range'] = (request, { serializable }) =>
    this.#answer({ request, serializable }, { type: 'range', revision: 33, kvs: [KV], more: true, count: 9 });
  openRange: EtcdBackend['openRange'] = (request, { serializable }) =>
    this.#answer(
      { request, serializable },
      { plan: { revision: 33, more: true, count: 9 }, pages: streamOf(this.rangePages) },
    );
  put: EtcdBackend['put'] = (request) =>
    this.#answer(request, { type: 'put', revision: 33, prevKv: request.prevKv ? KV : null });
  deleteRange: EtcdBackend['deleteRange'] = (request) =>
    this.#answer(request, { type: 'delete-range', revision: 33, deleted: 3, prevKvs: [KV] });
  txn: EtcdBackend['txn'] = (request, { serializable }) =>
    this.#answer({ request, serializable }, this.txnResult);
  compact: EtcdBackend['compact'] = (request) => this.#answer(request, null);
  leaseGrant: EtcdBackend['leaseGrant'] = (request) =>
    this.#answer(request, { id: request.id === 0n ? 99n : request.id, ttlSeconds: request.ttlSeconds });
  leaseRevoke: EtcdBackend['leaseRevoke'] = (request) => this.#answer(request, null);
  leaseKeepAlive: EtcdBackend['leaseKeepAlive'] = async (request) => {
    await this.keepAliveGate;
    return this.#answer(request, { ttlSeconds: request.id === 404n ? 0 : 60 });
  };
  leaseTimeToLive: EtcdBackend['leaseTimeToLive'] = (request) =>
    this.#answer(request, {
      ttlSeconds: request.id === 404n ? -1 : 10,
      grantedTtlSeconds: request.id === 404n ? 0 : 60,
      keys: request.keys ? [Buffer.from('k')] : [],
    });
  leaseLeases: EtcdBackend['leaseLeases'] = () => this.#answer('leases', [1n, -(2n ** 63n)]);
  forRoot: EtcdBackend['forRoot'] = async () => undefined;
  memberList: EtcdBackend['memberList'] = (request) => this.#answer(request, [MEMBER]);
  memberAdd: EtcdBackend['memberAdd'] = (request) =>
    this.#answer(request, { member: MEMBER, members: [MEMBER] });
  memberRemove: EtcdBackend['memberRemove'] = (request) => this.#answer(request, [MEMBER]);
  memberUpdate: EtcdBackend['memberUpdate'] = (request) => this.#answer(request, [MEMBER]);
  memberPromote: EtcdBackend['memberPromote'] = (request) => this.#answer(request, [MEMBER]);
  alarm: EtcdBackend['alarm'] = (request) =>
    this.#answer(request, [
      { member: 7, alarm: 'no-space' },
      { member: 8, alarm: 'corrupt' },
    ]);
  defragment: EtcdBackend['defragment'] = () => this.#answer('defragment', null);
  hash: EtcdBackend['hash'] = () => this.#answer('hash', { hash: 2 ** 32 - 1 });
  hashKv: EtcdBackend['hashKv'] = (request) =>
    this.#answer(request, { hash: 5, compactRevision: 3, revision: 9 });
  moveLeader: EtcdBackend['moveLeader'] = (request) => this.#answer(request, null);

  statusFor: EtcdBackend['statusFor'] = async () => ({
    header: HEADER,
    result: {
      leader: 7,
      raftIndex: 100,
      raftTerm: 44,
      appliedIndex: 99,
      isLearner: false,
      region: 'eu-1',
      roundTrips: [
        { member: 8, ms: 65.4321 },
        { member: 9, ms: 0 },
      ],
      dbSizeBytes: 4096,
      dbSizeInUseBytes: 1024,
      quotaBytes: 2 ** 31,
      alarms: [{ member: 7, alarm: 'no-space' }],
      ageMs: null,
    },
  });

  snapshot: EtcdBackend['snapshot'] = async () => ({
    sizeBytes: this.snapshotBytes,
    frames: streamOf(this.frames),
  });

  readonly accounts: EtcdBackend['accounts'] = {
    enable: () => this.#answer('enable', null),
    disable: () => this.#answer('disable', null),
    status: () => this.#answer('status', { enabled: true, revision: 12 }),
    authenticate: (request) => this.#answer(request, 'letters.5'),
    userAdd: (request) => this.#answer(request, null),
    userChangePassword: (request) => this.#answer(request, null),
    userDelete: (name) => this.#answer({ userDelete: name }, null),
    userGrantRole: (request) => this.#answer({ grant: request }, null),
    userRevokeRole: (request) => this.#answer({ revoke: request }, null),
    userGet: (name) => this.#answer({ userGet: name }, ['a', 'b']),
    userList: () => this.#answer('users', ['u', 'v']),
    roleAdd: (name) => this.#answer({ roleAdd: name }, null),
    roleDelete: (name) => this.#answer({ roleDelete: name }, null),
    roleGrantPermission: (request) => this.#answer(request, null),
    roleRevokePermission: (request) => this.#answer(request, null),
    roleGet: (name) =>
      this.#answer(
        { roleGet: name },
        {
          name,
          permissions: [{ kind: 'read-write', key: Buffer.from('k'), rangeEnd: Buffer.from('l') }],
        },
      ),
    roleList: () => this.#answer('roles', ['r', 's']),
  };

  region = '';
  age = 12;

  async credentialsSettled(): Promise<void> {}

  /** Leases that this member knows of; how asking for others ends is the test's matter. */
  readonly leases = new Set<bigint>();
  settleLease: () => Promise<void> = async () => undefined;

  leaseSettled: EtcdBackend['leaseSettled'] = (lease) => (this.leases.has(lease) ? null : this.settleLease());

  ageMs(): number {
    return this.age;
  }

  openWatch(sink: WatchSink): WatchStream {
    const stream = new FakeWatchStream(sink);
    this.watchStreams.push(stream);
    return stream;
  }

  resumeWatch(): void {
    this.watchResumes += 1;
  }

  header(): Header {
    return HEADER;
  }

  hasLeader(): boolean {
    return this.leader;
  }

  onLeaderChange(listener: (hasLeader: boolean) => void): () => void {
    this.leaderListeners.add(listener);
    return () => this.leaderListeners.delete(listener);
  }

  setLeader(hasLeader: boolean): void {
    this.leader = hasLeader;
    for (const listener of this.leaderListeners) listener(hasLeader);
  }
}

/** Notes what is asked of it; a test delivers to its sink. */
export class FakeWatchStream implements WatchStream {
  readonly sink: WatchSink;
  readonly created: WatchOptions[] = [];
  progressRequests = 0;
  readonly fresh: Parameters<WatchStream['requestFresh']>[0][] = [];
  refusal: string | null = null;
  readonly closed: Promise<void>;
  #close: () => void = () => undefined;

  constructor(sink: WatchSink) {
    this.sink = sink;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  create(options: WatchOptions): string | null {
    if (this.refusal !== null) return this.refusal;
    this.created.push(options);
    return null;
  }

  cancel(watchId: bigint): boolean {
    const index = this.created.findIndex((options) => options.watchId === watchId);
    if (index >= 0) this.created.splice(index, 1);
    return index >= 0;
  }

  requestProgress(): void {
    this.progressRequests += 1;
    this.sink.deliver({ type: 'progress', watchId: -1n, revision: 50, nonce: 0n });
  }

  requestFresh: WatchStream['requestFresh'] = (request) => {
    this.fresh.push(request);
  };

  close(): void {
    this.#close();
  }
}

async function* streamOf<T>(frames: readonly T[]): AsyncGenerator<T> {
  yield* frames;
}
