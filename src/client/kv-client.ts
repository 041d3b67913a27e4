import { AuthClient } from './auth-client.ts';
import { KvCache } from './cache.ts';
import type { CacheOptions } from './cache-options.ts';
import { type CallLimits, Channels, type Method } from './channels.ts';
import { asClientError, ClientError } from './client-error.ts';
import { type ClientTls, parseEndpoint } from './endpoint.ts';
import { type Login, SignIn } from './sign-in.ts';
import type {
  DeleteAnswer,
  DeleteOptions,
  LeaseGrantAnswer,
  LeaseTtlAnswer,
  MemberEntry,
  MembersAnswer,
  PutAnswer,
  PutOptions,
  RangeAnswer,
  RangeOptions,
  ResponseHeader,
  SnapshotSlice,
  StatusAnswer,
  TxnAnswer,
  TxnOptions,
  WatchBatch,
  WatchOptions,
} from './types.ts';
import { watch } from './watch.ts';
import { openWatchStream, type WatchStreamOptions } from './watch-stream.ts';
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
}
/** Bounds of one call. */
export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
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

  /** Connects to nothing yet. @throws ClientError `invalid-argument` for an endpoint that is no address */
  constructor(options: KvClientOptions) {
    this.#options = options;
    this.#channels = new Channels(options.endpoints.map((text) => parseEndpoint(text, options.tls)));
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT;
    this.#signIn = new SignIn(this.#channels, options.login);
    this.auth = new AuthClient((method, request, call) => this.#unary(method, request, call));
  }

  /** `host:port` of every endpoint. */
  get endpoints(): readonly string[] {
    return this.#channels.addresses;
  }

  async range(options: RangeOptions, call: CallOptions = {}): Promise<RangeAnswer> {
    return rangeAnswer(await this.#unary(METHODS.range, rangeRequest(options), call));
  }

  async put(options: PutOptions, call: CallOptions = {}): Promise<PutAnswer> {
    return putAnswer(await this.#unary(METHODS.put, putRequest(options), call));
  }

  async delete(options: DeleteOptions, call: CallOptions = {}): Promise<DeleteAnswer> {
    return deleteAnswer(await this.#unary(METHODS.deleteRange, deleteRequest(options), call));
  }

  /** All operations of one side, at one revision, or none. */
  async txn(options: TxnOptions, call: CallOptions = {}): Promise<TxnAnswer> {
    return txnAnswer(await this.#unary(METHODS.txn, txnRequest(options), call));
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
    return watch({ channels: this.#channels, signIn: this.#signIn, timeoutMs: this.#timeoutMs }, options);
  }

  /** A range in memory, kept up to date, whose age is known; see `KvCache`. To be closed by itself. */
  cache(options: CacheOptions): Promise<KvCache> {
    const connection = { channels: this.#channels, signIn: this.#signIn, timeoutMs: this.#timeoutMs };
    const source = {
      range: (range: RangeOptions, call: CallOptions) => this.range(range, call),
      watch: (watched: WatchStreamOptions) => openWatchStream(connection, watched),
    };
    return KvCache.open({ source, timeoutMs: this.#timeoutMs }, options);
  }

  // ---- leases -----------------------------------------------------------------------------------------------

  /** @param options `id` absent = the cluster chooses one */
  async leaseGrant(
    options: { readonly ttlSeconds: number; readonly id?: bigint },
    call: CallOptions = {},
  ): Promise<LeaseGrantAnswer> {
    const request = { TTL: options.ttlSeconds, ID: options.id ?? 0n };
    const answer = await this.#unary(METHODS.leaseGrant, request, call);
    return { header: header(answer.header), id: BigInt(answer.ID), ttlSeconds: Number(answer.TTL) };
  }

  /** Ends the lease and deletes its keys. */
  async leaseRevoke(id: bigint, call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#unary(METHODS.leaseRevoke, { ID: id }, call)).header);
  }

  /** Renews the lease once. @returns its new remaining time in seconds, 0 when it is gone */
  async leaseKeepAlive(id: bigint, call: CallOptions = {}): Promise<number> {
    const timeout = AbortSignal.timeout(call.timeoutMs ?? this.#timeoutMs);
    const signal = call.signal === undefined ? timeout : AbortSignal.any([call.signal, timeout]);
    return this.#signIn.with({ timeoutMs: this.#timeoutMs, signal }, (token) =>
      this.#keepAliveOnce(id, { signal, timeout, token }),
    );
  }

  async #keepAliveOnce(
    id: bigint,
    {
      signal,
      timeout,
      token,
    }: { readonly signal: AbortSignal; readonly timeout: AbortSignal; readonly token: string | null },
  ): Promise<number> {
    const { stream } = await this.#channels.duplex(METHODS.leaseKeepAlive, { signal, token });
    const onAbort = (): void => stream.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      stream.write({ ID: id });
      for await (const answer of stream as AsyncIterable<{ readonly TTL: number | bigint }>)
        return Number(answer.TTL);
      throw new ClientError('unavailable', 'the member ended the stream without an answer');
    } catch (error) {
      if (timeout.aborted) throw new ClientError('deadline-exceeded', 'the lease was not renewed in time');
      throw asClientError(error);
    } finally {
      signal.removeEventListener('abort', onAbort);
      stream.on('error', () => {});
      stream.cancel();
    }
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
    return this.#signIn.with(limits, async (token) =>
      statusAnswer(await this.#channels.unaryAt(endpoint, METHODS.status, { request: {}, ...limits, token })),
    );
  }

  /** A backup as `endpoint` has it now, slice by slice; without a deadline, since its size is not known. */
  snapshot(endpoint: string, signal?: AbortSignal): AsyncGenerator<SnapshotSlice, void, undefined> {
    const limits = { timeoutMs: this.#timeoutMs, signal };
    return this.#signIn.stream(limits, (token) => this.#slices(endpoint, { signal, token }));
  }

  /** The same client at other endpoints of the cluster; to be closed by itself. */
  at(endpoints: readonly string[]): KvClient {
    return new KvClient({ ...this.#options, endpoints });
  }

  /** Ends all connections and the watches on them. */
  close(): void {
    this.#channels.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *#slices(
    endpoint: string,
    show: Pick<CallLimits, 'signal' | 'token'>,
  ): AsyncGenerator<SnapshotSlice, void, undefined> {
    const { signal } = show;
    const stream = await this.#channels.streamAt(endpoint, METHODS.snapshot, { request: {}, ...show });
    const onAbort = (): void => stream.cancel();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const slice of stream) {
        yield { blob: slice.blob, remainingBytes: Number(slice.remaining_bytes) };
      }
    } catch (error) {
      throw asClientError(error);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      stream.on('error', () => {});
      stream.cancel();
    }
  }

  async #unary<Req, Res>(method: Method<Req, Res>, request: Partial<Req>, call: CallOptions): Promise<Res> {
    const limits = this.#limits(call);
    return this.#signIn.with(limits, (token) => this.#channels.unary(method, request, { ...limits, token }));
  }

  #limits(call: CallOptions): CallLimits {
    return { timeoutMs: call.timeoutMs ?? this.#timeoutMs, signal: call.signal };
  }
}
