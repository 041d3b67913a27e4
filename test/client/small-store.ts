import { operationsHandler } from '../../src/api/http/operations.ts';
import { ClientPort } from '../../src/rpc/client-port.ts';
import type * as pb from '../../src/rpc/generated/etcdserverpb/rpc.ts';
import { RangeRequest_SortOrder, RangeRequest_SortTarget } from '../../src/rpc/generated/etcdserverpb/rpc.ts';
import type * as mvccpb from '../../src/rpc/generated/mvccpb/kv.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import type { RpcCall } from '../../src/rpc/server.ts';
import { bidi, type MessageWriter, serverStream, unary } from '../../src/rpc/service.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';

const GONE = { create_revision: 0, version: 0, lease: 0, value: Buffer.alloc(0) };

/**
 * A small store behind the real gRPC server, for tests of clients: puts, deletes and gets of literal keys and ranges,
 * watches from history, scripted failures. One store may stand behind several ports, as a cluster does.
 */
export class SmallStore {
  readonly events: mvccpb.Event[] = [];
  readonly members: pb.Member[] = [];
  readonly transactions: pb.TxnRequest[] = [];
  readonly #watches = new Set<() => void>();
  /** What a renewed lease has, and those that have ended. */
  ttlSeconds = 10;
  readonly revoked = new Set<bigint>();
  revision = 1;
  compactRevision = 0;
  snapshotBytes: Buffer = Buffer.alloc(0);

  /** Every key of [key, rangeEnd) as it stood at a revision, in key order. */
  range(key: Buffer, rangeEnd: Buffer, revision = Infinity): mvccpb.KeyValue[] {
    const newest = new Map<string, mvccpb.Event>();
    for (const event of this.events) {
      if (Number(event.kv!.mod_revision) <= revision) newest.set(event.kv!.key.toString('latin1'), event);
    }
    return [...newest.values()]
      .filter((event) => event.type === 0 && covers({ key, rangeEnd }, event.kv!.key))
      .map((event) => event.kv!)
      .sort((a, b) => a.key.compare(b.key));
  }

  put(request: Pick<pb.PutRequest, 'key' | 'value' | 'lease'>): mvccpb.KeyValue | null {
    this.revision += 1;
    return this.#put(request);
  }

  /** Puts and deletions of one transaction. */
  atOnce(puts: Readonly<Record<string, string | null>>): void {
    this.revision += 1;
    for (const [text, value] of Object.entries(puts)) {
      const key = Buffer.from(text);
      if (value === null) this.#happened(1, { key, mod_revision: this.revision, ...GONE });
      else this.#put({ key, value: Buffer.from(value), lease: 0n });
    }
  }

  #put(request: Pick<pb.PutRequest, 'key' | 'value' | 'lease'>): mvccpb.KeyValue | null {
    const before = this.range(request.key, Buffer.alloc(0))[0] ?? null;
    this.#happened(0, {
      key: request.key,
      value: request.value,
      lease: request.lease,
      create_revision: before?.create_revision ?? this.revision,
      mod_revision: this.revision,
      version: Number(before?.version ?? 0) + 1,
    });
    return before;
  }

  delete(key: Buffer, rangeEnd: Buffer): mvccpb.KeyValue[] {
    const found = this.range(key, rangeEnd);
    if (found.length > 0) this.revision += 1;
    for (const { key: gone } of found) this.#happened(1, { key: gone, mod_revision: this.revision, ...GONE });
    return found;
  }

  /** Watches that are open now. */
  get watchCount(): number {
    return this.#watches.size;
  }

  onChange(listener: () => void): () => void {
    this.#watches.add(listener);
    return () => this.#watches.delete(listener);
  }

  #happened(type: 0 | 1, kv: mvccpb.KeyValue): void {
    this.events.push({ type, kv, prev_kv: null });
    queueMicrotask(() => {
      for (const listener of this.#watches) listener();
    });
  }
}

/** One member: a port over the store. `failing` answers a call before the store sees it. */
export class SmallMember {
  readonly store: SmallStore;
  readonly calls: string[] = [];
  /** The calls that came with a token. */
  readonly shown: string[] = [];
  failing: ((path: string) => RpcError | null) | null = null;
  /** Takes calls and never answers, as a process that was stopped. */
  stalled = false;
  /** How far away it is. */
  delayMs = 0;
  /** What this member can prove of its age, and with what region it signs; null = as a real etcd, which knows neither. */
  freshness: { ageMs: number; region: string } | null = null;
  /** How old a proof is that is made anew. */
  provenAgeMs = 0;
  /** Questions for progress stay unanswered, as on a member that is stopped or cannot prove any age. */
  isSilent = false;
  /** Every range, as it came. */
  readonly rangeRequests: pb.RangeRequest[] = [];
  /** The bounds that reads came with. */
  readonly stalenessAsked: (string | undefined)[] = [];
  /** Every watch and every question for progress, as they came. */
  readonly watchRequests: pb.WatchRequest[] = [];
  /** Split what a watch tells into messages of so many events, when the watch allows it. */
  eventsPerFragment = Infinity;
  hasLeaderAsked: (string | undefined)[] = [];
  memberId = 0x20;
  clusterId = 0x10;
  /** Over what it answers when asked for its status. */
  status: Partial<pb.StatusResponse> = {};
  #port: ClientPort | null = null;
  #address = '127.0.0.1:0';

  constructor(store: SmallStore) {
    this.store = store;
  }

  /** `host:port`, the same after a restart. */
  get address(): string {
    return this.#address;
  }

  async start(): Promise<this> {
    const grpc = new GrpcServer({
      errorStatus: (error) =>
        error instanceof RpcError ? error : new RpcError(rpcStatus.unknown, String(error)),
      onBug: () => {},
    });
    this.#register(grpc);
    const http = operationsHandler({
      readiness: () => ({ live: true, ready: true, reasons: [] }),
      alarms: () => [],
      read: async () => undefined,
      version: { server: '3.6.0', cluster: '3.6.0', storage: '3.6.0' },
      metrics: { contentType: 'text/plain', render: async () => '' },
    });
    this.#port = new ClientPort({ grpc, http });
    const [listening] = await this.#port.listen([`http://${this.#address}`]);
    this.#address = `127.0.0.1:${listening!.port}`;
    return this;
  }

  /** Cuts every connection. */
  async stop(): Promise<void> {
    await this.#port?.close({ graceMs: 0 });
    this.#port = null;
  }

  header(): pb.ResponseHeader {
    return {
      cluster_id: this.clusterId,
      member_id: this.memberId,
      revision: this.store.revision,
      raft_term: 3,
    };
  }

  async #enter(call: RpcCall): Promise<void> {
    this.calls.push(call.path);
    if (call.metadata('token') !== undefined) this.shown.push(call.path);
    const failure = this.failing?.(call.path) ?? null;
    if (failure !== null) throw failure;
    if (this.stalled) {
      await new Promise<void>((resolve) =>
        call.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
    }
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
  }

  #register(server: GrpcServer): void {
    const { store } = this;
    unary(server, '/etcdserverpb.KV/Range', async (request, call) => {
      await this.#enter(call);
      this.#prove(call);
      this.rangeRequests.push(request);
      const all = this.#select(request);
      const kvs = request.limit === 0 ? all : all.slice(0, Number(request.limit));
      return { header: this.header(), kvs, more: kvs.length < all.length, count: all.length };
    });
    unary(server, '/etcdserverpb.KV/Put', async (request, call) => {
      await this.#enter(call);
      const before = store.put(request);
      return { header: this.header(), prev_kv: request.prev_kv ? before : null };
    });
    unary(server, '/etcdserverpb.KV/DeleteRange', async (request, call) => {
      await this.#enter(call);
      const gone = store.delete(request.key, request.range_end);
      return { header: this.header(), deleted: gone.length, prev_kvs: request.prev_kv ? gone : [] };
    });
    unary(server, '/etcdserverpb.KV/Txn', async (request, call) => {
      await this.#enter(call);
      this.#prove(call);
      store.transactions.push(request);
      const responses = request.success.map((op) => this.#perform(op));
      return { header: this.header(), succeeded: true, responses };
    });
    unary(server, '/etcdserverpb.KV/Compact', async (request, call) => {
      await this.#enter(call);
      store.compactRevision = Number(request.revision);
      return { header: this.header() };
    });
    this.#registerCluster(server);
    this.#registerStreams(server);
  }

  #prove(call: RpcCall): void {
    const asked = call.metadata('max-staleness-ms');
    this.stalenessAsked.push(asked);
    if (asked === undefined || this.freshness === null) return;
    call.setTrailer('age-ms', String(this.freshness.ageMs));
    call.setTrailer('region', this.freshness.region);
  }

  /** In key order, or by create revision. */
  #select(request: pb.RangeRequest): mvccpb.KeyValue[] {
    const all = this.store.range(request.key, request.range_end, Number(request.revision) || Infinity);
    const createdUntil = Number(request.max_create_revision) || Infinity;
    const kvs = all.filter(({ create_revision }) => Number(create_revision) <= createdUntil);
    if (request.sort_target !== RangeRequest_SortTarget.CREATE) return kvs;
    const sign = request.sort_order === RangeRequest_SortOrder.DESCEND ? -1 : 1;
    return kvs.sort((a, b) => sign * (Number(a.create_revision) - Number(b.create_revision)));
  }

  #perform(op: pb.RequestOp): pb.ResponseOp {
    const { store } = this;
    if (op.request_put) {
      store.put(op.request_put);
      return { response_put: { header: this.header(), prev_kv: null } };
    }
    if (op.request_delete_range) {
      const gone = store.delete(op.request_delete_range.key, op.request_delete_range.range_end);
      return { response_delete_range: { header: this.header(), deleted: gone.length, prev_kvs: [] } };
    }
    const kvs = this.#select(op.request_range!);
    return { response_range: { header: this.header(), kvs, more: false, count: kvs.length } };
  }

  #registerCluster(server: GrpcServer): void {
    const { members } = this.store;
    const find = (id: number | bigint): pb.Member => {
      const member = members.find((candidate) => BigInt(candidate.ID) === BigInt(id));
      if (member === undefined) throw new RpcError(rpcStatus.notFound, 'etcdserver: member not found');
      return member;
    };
    unary(server, '/etcdserverpb.Cluster/MemberList', async (_, call) => {
      await this.#enter(call);
      return { header: this.header(), members };
    });
    unary(server, '/etcdserverpb.Cluster/MemberAdd', async ({ peerURLs, isLearner }, call) => {
      await this.#enter(call);
      const member = { ID: 0xabcden + BigInt(members.length), name: '', peerURLs, clientURLs: [], isLearner };
      members.push(member);
      return { header: this.header(), member, members };
    });
    unary(server, '/etcdserverpb.Cluster/MemberRemove', async ({ ID }, call) => {
      await this.#enter(call);
      members.splice(members.indexOf(find(ID)), 1);
      return { header: this.header(), members };
    });
    unary(server, '/etcdserverpb.Cluster/MemberUpdate', async ({ ID, peerURLs }, call) => {
      await this.#enter(call);
      find(ID).peerURLs = peerURLs;
      return { header: this.header(), members };
    });
    unary(server, '/etcdserverpb.Cluster/MemberPromote', async ({ ID }, call) => {
      await this.#enter(call);
      find(ID).isLearner = false;
      return { header: this.header(), members };
    });
    unary(server, '/etcdserverpb.Auth/Authenticate', async (_, call) => {
      await this.#enter(call);
      return { header: this.header(), token: 'token' };
    });
    unary(server, '/etcdserverpb.Maintenance/Status', async (_, call) => {
      await this.#enter(call);
      const header = this.header();
      return {
        header,
        version: '3.6.0',
        leader: 0x20n,
        raftTerm: 3,
        raftIndex: 9,
        raftAppliedIndex: 8,
        dbSize: 4096,
        ...this.status,
      };
    });
    unary(server, '/etcdserverpb.Lease/LeaseGrant', async ({ TTL, ID }, call) => {
      await this.#enter(call);
      return { header: this.header(), ID: BigInt(ID) === 0n ? -77n : ID, TTL };
    });
    unary(server, '/etcdserverpb.Lease/LeaseRevoke', async ({ ID }, call) => {
      await this.#enter(call);
      this.store.revoked.add(BigInt(ID));
      return { header: this.header() };
    });
    unary(server, '/etcdserverpb.Lease/LeaseTimeToLive', async ({ ID }, call) => {
      await this.#enter(call);
      return { header: this.header(), ID, TTL: 5, grantedTTL: 10, keys: [Buffer.from('k')] };
    });
  }

  #registerStreams(server: GrpcServer): void {
    bidi(server, '/etcdserverpb.Lease/LeaseKeepAlive', async (requests, call, out) => {
      await this.#enter(call);
      for await (const { ID } of requests) {
        const TTL = this.store.revoked.has(BigInt(ID)) ? 0 : this.store.ttlSeconds;
        out.write({ header: this.header(), ID, TTL });
      }
    });
    bidi(server, '/etcdserverpb.Watch/Watch', async (requests, call, out) => {
      await this.#enter(call);
      this.hasLeaderAsked.push(call.metadata('hasleader'));
      for await (const request of requests) {
        this.watchRequests.push(request);
        if (request.create_request) this.#watch(request.create_request, call, out);
        else if (request.progress_request) this.#progress(request.progress_request, out);
      }
    });
    serverStream(server, '/etcdserverpb.Maintenance/Snapshot', async (_, call, out) => {
      await this.#enter(call);
      const bytes = this.store.snapshotBytes;
      for (let at = 0; at < bytes.length; at += 1000) {
        const blob = bytes.subarray(at, at + 1000);
        out.write({
          header: this.header(),
          remaining_bytes: bytes.length - at - blob.length,
          blob,
          version: '3.6.0',
        });
      }
    });
  }

  #watch(request: pb.WatchCreateRequest, call: RpcCall, out: MessageWriter<Partial<pb.WatchResponse>>): void {
    const { store } = this;
    const { watch_id, filters } = request;
    out.write({ header: this.header(), watch_id, created: true });
    let next = Number(request.start_revision) || store.revision + 1;
    if (next < store.compactRevision) {
      const compact_revision = store.compactRevision;
      out.write({ header: this.header(), watch_id, canceled: true, compact_revision });
      return;
    }
    const send = (): void => {
      const range = { key: request.key, rangeEnd: request.range_end };
      const events = store.events.filter(
        ({ type, kv }) =>
          Number(kv!.mod_revision) >= next && covers(range, kv!.key) && !filters.includes(type),
      );
      next = store.revision + 1;
      const size = request.fragment ? this.eventsPerFragment : Infinity;
      while (events.length > 0) {
        const part = events.splice(0, size);
        out.write({ header: this.header(), watch_id, events: part, fragment: events.length > 0 });
      }
    };
    send();
    call.signal.addEventListener('abort', store.onChange(send), { once: true });
  }

  /** In its place among the events: what was put before is told before. */
  #progress(request: pb.WatchProgressRequest, out: MessageWriter<Partial<pb.WatchResponse>>): void {
    const { freshness } = this;
    if (this.isSilent) return;
    queueMicrotask(() => {
      const header = this.header();
      if (freshness === null) return out.write({ header, watch_id: -1 });
      const age_ms = request.linearizable === true ? this.provenAgeMs : freshness.ageMs;
      out.write({ header, watch_id: request.watch_id, nonce: request.nonce, age_ms });
    });
  }
}

function covers(range: { readonly key: Buffer; readonly rangeEnd: Buffer }, key: Buffer): boolean {
  if (range.rangeEnd.length === 0) return key.equals(range.key);
  const everything = range.rangeEnd.length === 1 && range.rangeEnd[0] === 0;
  return key.compare(range.key) >= 0 && (everything || key.compare(range.rangeEnd) < 0);
}
