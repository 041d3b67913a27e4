import { setMaxListeners } from 'node:events';
import { AuthClient } from './auth-client.ts';
import { type ProvenAge, readWithin } from './bounded-read.ts';
import { KvCache } from './cache.ts';
import type { CacheOptions } from './cache-options.ts';
import { Channels, type RoutedCall } from './channels.ts';
import { asClientError, ClientError } from './client-error.ts';
import { SleepAwareClock } from './clock.ts';
import type { CallHeaders, CallLimits, Method } from './connection.ts';
import { Election, type ElectionCalls } from './election.ts';
import { type ClientTls, parseEndpoint } from './endpoint.ts';
import { grantLease, type Lease, type LeaseCalls, type LeaseOptions } from './lease.ts';
import { renewLease } from './lease-renewal.ts';
import { LinkedSignal } from './linked-signal.ts';
import { acquireLock, type Lock, tryLock } from './lock.ts';
import type { PlaceOptions } from './place.ts';
import { type Login, SignIn } from './sign-in.ts';
import { SURVEY_INTERVAL_MS, Survey } from './survey.ts';
import { isReadOnly, TxnBuilder } from './txn.ts';
import type {
  Bytes,
  DeleteAnswer,
  DeleteOptions,
  LeaseGrantAnswer,
  LeaseTtlAnswer,
  MemberEntry,
  MembersAnswer,
  PutAnswer,
  PutOptions,
  RangeAnswer,
  ReadOptions,
  ResponseHeader,
  SnapshotSlice,
  StatusAnswer,
  TxnAnswer,
  TxnOptions,
  WatchBatch,
  WatchOptions,
} from './types.ts';
import { watch } from './watch.ts';
import {
  openWatchStream,
  type WatchConnection,
  type WatchStreamHandle,
  type WatchStreamOptions,
} from './watch-stream.ts';
import {
  deleteAnswer,
  deleteRequest,
  header,
  METHODS,
  memberEntry,
  membersAnswer,
  putAnswer,
  putRequest,
  rangeAnswer,
  rangeRequest,
  repeatable,
  statusAnswer,
  txnAnswer,
  txnRequest,
} from './wire.ts';

/** How to reach a cluster. */
export interface KvClientOptions {
  /**
   * `https://host:port`, `http://host:port` or `host:port` of one or more members; the first that answers is used.
   * Without a scheme it is TLS when `tls` is given.
   */
  readonly endpoints: readonly string[];
  readonly tls?: ClientTls;
  /** How long a call may take unless it says otherwise; default 5000. */
  readonly timeoutMs?: number;
  /** Who is asking, where the cluster wants to know; tokens are got and renewed as needed. */
  readonly login?: Login | undefined;
  /**
   * Where this client runs: members of the same region are asked first, then the nearest by measured round trip. Absent
   * = the endpoints are used in the order given, each until it fails.
   */
  readonly region?: string;
  /** Where writes go first; default `nearest`, which passes them on to the leader. */
  readonly routing?: 'nearest' | 'leader';
  /**
   * Whether the cluster is asked for its members, and their client URLs are used as endpoints, too. Default: with a
   * `region`. A URL is used only where the member that it belongs to answers.
   */
  readonly discovery?: boolean;
  /** How often members are looked at, with `region`, `discovery` or `routing: 'leader'`; default 30000. */
  readonly surveyIntervalMs?: number;
}

/** Bounds of one call. */
export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Who is asking, in the place of the client's own login; null = nobody who signed in. */
  readonly token?: string | null;
}

const TIMEOUT_MS_DEFAULT = 5000;

/**
 * A client of the store, or of any etcd v3 cluster. When an endpoint fails, reads go to the next; a mutating call goes
 * there only if it surely was not sent, and otherwise fails with `unavailable`, its outcome unknown. Every method
 * throws ClientError.
 */
export class KvClient {
  /** Users, roles and permissions. */
  readonly auth: AuthClient;
  readonly #options: KvClientOptions;
  readonly #channels: Channels;
  readonly #signIn: SignIn;
  readonly #timeoutMs: number;
  readonly #survey: Survey | null = null;
  readonly #closing = new AbortController();
  readonly #clock = new SleepAwareClock();

  /** Connects to nothing yet. @throws ClientError `invalid-argument` for an endpoint that is no address */
  constructor(options: KvClientOptions) {
    // As many wait for it as there are watches, locks and leases.
    setMaxListeners(0, this.#closing.signal);
    this.#options = options;
    const { region, tls, endpoints } = options;
    const leaderFirst = options.routing === 'leader';
    this.#channels = new Channels(
      endpoints.map((text) => parseEndpoint(text, tls)),
      { region, leaderFirst },
    );
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT;
    this.#signIn = new SignIn(this.#channels, options.login);
    const discovery = options.discovery ?? region !== undefined;
    if (discovery || leaderFirst || region !== undefined) {
      const intervalMs = options.surveyIntervalMs ?? SURVEY_INTERVAL_MS;
      const [channels, signIn] = [this.#channels, this.#signIn];
      this.#survey = new Survey({ channels, signIn, discovery, intervalMs, tls });
    }
    this.auth = new AuthClient((method, request, call) => this.#unary(method, request, call));
  }

  /** `host:port` of every endpoint. */
  get endpoints(): readonly string[] {
    return this.#channels.addresses;
  }

  /** Keys with their values. With `maxStalenessMs` the answer says how old it may be. */
  async range(options: ReadOptions, call: CallOptions = {}): Promise<RangeAnswer & ProvenAge> {
    return readWithin(options, async (read) =>
      rangeAnswer(await this.#unary(METHODS.range, rangeRequest(options), { ...call, ...read })),
    );
  }

  async put(options: PutOptions, call: CallOptions = {}): Promise<PutAnswer> {
    return putAnswer(await this.#unary(METHODS.put, putRequest(options), call));
  }

  async delete(options: DeleteOptions, call: CallOptions = {}): Promise<DeleteAnswer> {
    return deleteAnswer(await this.#unary(METHODS.deleteRange, deleteRequest(options), call));
  }

  /** Begins a transaction: `client.txn().when(...).do(...).otherwise(...).commit()`. */
  txn(): TxnBuilder;
  /** All operations of one side, at one revision, or none. One that only reads may be repeated and bounded. */
  txn(options: TxnOptions, call?: CallOptions): Promise<TxnAnswer & ProvenAge>;
  txn(options?: TxnOptions, call: CallOptions = {}): TxnBuilder | Promise<TxnAnswer & ProvenAge> {
    const commit = (txn: TxnOptions, limits: CallOptions): Promise<TxnAnswer & ProvenAge> =>
      isReadOnly(txn)
        ? readWithin(txn, async (read) => this.#txn(repeatable(METHODS.txn), txn, { ...limits, ...read }))
        : this.#txn(METHODS.txn, txn, limits);
    if (options !== undefined) return commit(options, call);
    return new TxnBuilder(commit, { compare: [], success: [], failure: [] });
  }

  /** Forgets all history below `revision`; `physical` waits until its space is free. */
  async compact(
    options: { readonly revision: number; readonly physical?: boolean },
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const request = { revision: options.revision, physical: options.physical ?? false };
    return header((await this.#unary(METHODS.compact, request, call)).header);
  }

  /** Every change in order, each once, resumed after failures; see `watch`. */
  watch(options: WatchOptions): AsyncGenerator<WatchBatch, void, undefined> {
    return watch(this.#watching(), options);
  }

  /** A watch with its progress, losses and moves, for caches: see `WatchStreamHandle`. */
  watchStream(options: WatchStreamOptions): WatchStreamHandle {
    return openWatchStream(this.#watching(), options);
  }

  // ---- locks and elections ----------------------------------------------------------------------------------

  /** Waits for the lock of this name. */
  async lock(name: Bytes, options: PlaceOptions = {}): Promise<Lock> {
    return acquireLock(this.#recipes, name, options);
  }

  /** The lock of this name, or null when somebody else has it. */
  async tryLock(name: Bytes, options: PlaceOptions = {}): Promise<Lock | null> {
    return tryLock(this.#recipes, name, options);
  }

  /** The election of this name. */
  election(name: Bytes): Election {
    return new Election(this.#recipes, name);
  }

  /** A range in memory, kept up to date, whose age is known; see `KvCache`. It ends with this client, or before. */
  cache(options: CacheOptions): Promise<KvCache> {
    const surroundings = { source: this, timeoutMs: this.#timeoutMs, closing: this.#closing.signal };
    return KvCache.open({ ...surroundings, clock: this.#clock }, options);
  }

  // ---- leases -----------------------------------------------------------------------------------------------

  /** Grants a lease that renews itself. When an answer is lost, another one is asked for, unless `id` is given. */
  async lease(options: LeaseOptions, call: CallOptions = {}): Promise<Lease> {
    return grantLease(this.#leaseCalls, options, call);
  }

  /** @param options `id` absent = the cluster chooses one */
  async leaseGrant(
    options: { readonly ttlSeconds: number; readonly id?: bigint },
    call: CallOptions = {},
  ): Promise<LeaseGrantAnswer> {
    return this.#leaseGrant(METHODS.leaseGrant, options, call);
  }

  /** Ends the lease and deletes its keys. */
  async leaseRevoke(id: bigint, call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#unary(METHODS.leaseRevoke, { ID: id }, call)).header);
  }

  /** Renews the lease once. @returns its new remaining time in seconds, 0 when it is gone */
  async leaseKeepAlive(id: bigint, call: CallOptions = {}): Promise<number> {
    using link = new LinkedSignal([call.signal, this.#closing.signal]);
    const limits = { ...this.#limits(call), signal: link.signal };
    const signIn = { with: this.#as(call) };
    return await renewLease({ channels: this.#channels, signIn }, id, limits);
  }

  async leaseTimeToLive(
    options: { readonly id: bigint; readonly keys?: boolean },
    call: CallOptions = {},
  ): Promise<LeaseTtlAnswer> {
    const request = { ID: options.id, keys: options.keys ?? false };
    const answer = await this.#unary(METHODS.leaseTimeToLive, request, call);
    return {
      header: header(answer.header),
      ttlSeconds: Number(answer.TTL),
      grantedTtlSeconds: Number(answer.grantedTTL),
      keys: answer.keys,
    };
  }

  // ---- cluster ----------------------------------------------------------------------------------------------

  async memberList(call: CallOptions = {}): Promise<MembersAnswer> {
    return membersAnswer(await this.#unary(METHODS.memberList, { linearizable: true }, call));
  }

  async memberAdd(
    options: { readonly peerUrls: readonly string[]; readonly isLearner: boolean },
    call: CallOptions = {},
  ): Promise<MembersAnswer & { readonly member: MemberEntry }> {
    const request = { peerURLs: [...options.peerUrls], isLearner: options.isLearner };
    const answer = await this.#unary(METHODS.memberAdd, request, call);
    if (answer.member === null)
      throw new ClientError('internal', 'the answer does not say which member was added');
    return { ...membersAnswer(answer), member: memberEntry(answer.member) };
  }

  async memberRemove(id: bigint, call: CallOptions = {}): Promise<MembersAnswer> {
    return membersAnswer(await this.#unary(METHODS.memberRemove, { ID: id }, call));
  }

  async memberUpdate(
    options: { readonly id: bigint; readonly peerUrls: readonly string[] },
    call: CallOptions = {},
  ): Promise<MembersAnswer> {
    const request = { ID: options.id, peerURLs: [...options.peerUrls] };
    return membersAnswer(await this.#unary(METHODS.memberUpdate, request, call));
  }

  /** Makes a learner that has caught up a voter. */
  async memberPromote(id: bigint, call: CallOptions = {}): Promise<MembersAnswer> {
    return membersAnswer(await this.#unary(METHODS.memberPromote, { ID: id }, call));
  }

  // ---- one member -------------------------------------------------------------------------------------------

  /** @param endpoint one of `endpoints` */
  async status(endpoint: string, call: CallOptions = {}): Promise<StatusAnswer> {
    const limits = this.#limits(call);
    return this.#as(call)(limits, async (shown) =>
      statusAnswer(
        await this.#channels.unaryAt(endpoint, METHODS.status, { request: {}, ...limits, ...shown }),
      ),
    );
  }

  /** A backup as `endpoint` has it now, slice by slice; without a deadline, since its size is not known. */
  snapshot(endpoint: string, signal?: AbortSignal): AsyncGenerator<SnapshotSlice, void, undefined> {
    const limits = { timeoutMs: this.#timeoutMs, signal };
    return this.#signIn.stream(limits, (token) => this.#slices(endpoint, { signal, token }));
  }

  /** The same client at other endpoints of the cluster; to be closed by itself. */
  at(endpoints: readonly string[]): KvClient {
    return new KvClient({ ...this.#options, endpoints, discovery: false });
  }

  /**
   * Ends all connections, calls, snapshots and waits for locks and elections as `canceled` (a change that was sent may
   * have been made), watches without an error, and the renewal of leases: these end by their time.
   */
  close(): void {
    this.#closing.abort();
    this.#survey?.close();
    this.#channels.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *#slices(endpoint: string, show: CallHeaders): AsyncGenerator<SnapshotSlice, void, undefined> {
    const stream = await this.#channels.streamAt(endpoint, METHODS.snapshot, { request: {}, ...show });
    try {
      for await (const slice of stream) {
        yield { blob: slice.blob, remainingBytes: Number(slice.remaining_bytes) };
      }
    } catch (error) {
      throw asClientError(error);
    } finally {
      stream.cancel();
    }
  }

  readonly #leaseCalls: LeaseCalls = {
    clock: this.#clock,
    closing: this.#closing.signal,
    // Whoever is given a second lease in place of the first loses nothing: that one ends unused.
    grant: (options, call) =>
      this.#leaseGrant(
        options.id === undefined ? repeatable(METHODS.leaseGrant) : METHODS.leaseGrant,
        options,
        call,
      ),
    renew: (id, call) => this.leaseKeepAlive(id, call),
    revoke: async (id, call) =>
      header((await this.#unary(repeatable(METHODS.leaseRevoke), { ID: id }, call)).header),
  };

  readonly #recipes: ElectionCalls = {
    closing: this.#closing.signal,
    range: (options, call) => this.range(options, call),
    watch: (options) => this.watch(options),
    lease: (options, call) => this.lease(options, call),
    insist: (txn, call) => this.#txn(repeatable(METHODS.txn), txn, call),
    once: (txn, call) => this.txn(txn, call),
  };

  async #leaseGrant(
    method: typeof METHODS.leaseGrant,
    options: { readonly ttlSeconds: number; readonly id?: bigint },
    call: CallOptions,
  ): Promise<LeaseGrantAnswer> {
    const request = { TTL: options.ttlSeconds, ID: options.id ?? 0n };
    const answer = await this.#unary(method, request, call);
    return { header: header(answer.header), id: BigInt(answer.ID), ttlSeconds: Number(answer.TTL) };
  }

  #watching(): WatchConnection {
    const closing = this.#closing.signal;
    return { channels: this.#channels, signIn: this.#signIn, timeoutMs: this.#timeoutMs, closing };
  }

  async #txn(method: typeof METHODS.txn, txn: TxnOptions, call: CallOptions): Promise<TxnAnswer> {
    return txnAnswer(await this.#unary(method, txnRequest(txn), call));
  }

  async #unary<Req, Res>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    call: CallOptions & Omit<RoutedCall, keyof CallLimits>,
  ): Promise<Res> {
    const limits = { ...call, ...this.#limits(call) };
    return this.#as(call)(limits, (shown) => this.#channels.unary(method, request, { ...limits, ...shown }));
  }

  /** Calls with the token that the call was given, else with that of this client's login. */
  #as({ token }: CallOptions): SignIn['with'] {
    if (token === undefined) return (limits, work) => this.#signIn.with(limits, work);
    return ({ timeoutMs }, work) => work({ token, timeoutMs });
  }

  #limits(call: CallOptions): CallLimits {
    return { timeoutMs: call.timeoutMs ?? this.#timeoutMs, signal: call.signal };
  }
}
