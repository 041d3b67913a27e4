import { checkTxn as checkOperations } from '../core/mvcc/check.ts';
import {
  deleteRequest,
  putRequest,
  type RequestOp,
  type ResponseOp,
  rangeRequest,
  type TxnRequest,
} from '../core/mvcc/operations.ts';
import { assert } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import type { ClientContext } from '../member/auth/access.ts';
import type { Accounts } from '../member/auth/accounts.ts';
import type { ReadContext } from '../member/client-calls.ts';
import type { Member } from '../member/member.ts';
import {
  checkKeys,
  checkRange,
  checkTtl,
  checkTxn,
  checkWatch,
  DEFAULT_LIMITS,
  isReadOnly,
} from './check.ts';
import {
  type Kv,
  type KvCall,
  type KvConsistency,
  type KvLimits,
  type KvLogin,
  type KvOp,
  type KvOpAnswer,
  type KvPermit,
  type KvPermitRequest,
  type KvRangeAnswer,
  type KvRangeRequest,
  type KvTxnAnswer,
  type KvTxnRequest,
  type KvWatchBatch,
  type KvWatchRequest,
  type Principal,
} from './kv.ts';
import { LocalWatch } from './local-watch.ts';
import { OpenCalls } from './open-calls.ts';
import { kvErrorOf, watchErrorOf } from './store-errors.ts';

/** The part of a member that is used here. */
export type LocalMember = Pick<
  Member,
  | 'range'
  | 'txn'
  | 'leaseGrant'
  | 'leaseRevoke'
  | 'leaseKeepAlive'
  | 'openWatch'
  | 'resumeWatch'
  | 'credentialsSettled'
  | 'header'
> & { readonly accounts: Pick<Accounts, 'enabled' | 'authenticate' | 'permits'> };

const ONE_KEY = Buffer.alloc(0);
/** The only watch of its stream. */
const WATCH_ID = 1n;

/** A member in this process. The service is the process itself, which may do everything. To be closed before the member. */
export class LocalKv implements Kv {
  readonly limits: KvLimits;
  readonly #member: LocalMember;
  readonly #calls = new OpenCalls(kvErrorOf);

  /** @param limits those that the member's own face heeds */
  constructor(member: LocalMember, limits: KvLimits = DEFAULT_LIMITS) {
    this.#member = member;
    this.limits = limits;
  }

  range(whole: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    const { consistency, ...request } = whole;
    return this.#calls.read(call, async (signal) => {
      checkRange(whole);
      const context = readContext(contextOf(call.principal, signal), consistency);
      const { result, header, ageMs } = await this.#member.range(rangeRequest(request), context);
      const { kvs, more, count } = result;
      const { revision } = header;
      return { revision, rows: kvs, more, count, ...(ageMs !== undefined && { ageMs }) };
    });
  }

  txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer> {
    const work = async (signal: AbortSignal): Promise<KvTxnAnswer> => {
      checkTxn(request, this.limits);
      const txn = transaction(request);
      checkOperations(txn, { opsMax: this.limits.txnOpsMax });
      const context = { ...contextOf(call.principal, signal), serializable: false };
      const { result, header } = await this.#member.txn(txn, context);
      const { succeeded, responses } = result;
      return { revision: header.revision, succeeded, responses: responses.map(operationAnswer) };
    };
    return isReadOnly(request) ? this.#calls.read(call, work) : this.#calls.write(call, work);
  }

  async *watch(request: KvWatchRequest, call: KvCall): AsyncGenerator<KvWatchBatch, void, undefined> {
    if (call.signal.aborted) return;
    checkWatch(request);
    using open = this.#calls.begin(call);
    try {
      yield* this.#follow(request, contextOf(call.principal, open.signal), open.signal);
    } catch (error) {
      if (call.signal.aborted) return;
      throw this.#calls.failureOf(error, call);
    }
    if (!call.signal.aborted) throw this.#calls.failureOf(null, call);
  }

  leaseGrant({ ttlSeconds }: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint> {
    return this.#calls.write(call, async (signal) => {
      checkTtl(ttlSeconds);
      const context = contextOf(call.principal, signal);
      return (await this.#member.leaseGrant({ id: 0n, ttlSeconds }, context)).result.id;
    });
  }

  leaseKeepAlive(id: bigint, call: KvCall): Promise<number> {
    return this.#calls.read(call, async (signal) => {
      const { result } = await this.#member.leaseKeepAlive({ id }, contextOf(call.principal, signal));
      return result.ttlSeconds;
    });
  }

  leaseRevoke(id: bigint, call: KvCall): Promise<void> {
    return this.#calls.write(call, async (signal) => {
      try {
        await this.#member.leaseRevoke({ id }, contextOf(call.principal, signal));
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== 'lease-not-found') throw error;
      }
    });
  }

  authEnabled(call: KvCall): Promise<boolean> {
    return this.#calls.read(call, () => this.#member.accounts.enabled);
  }

  signIn(login: KvLogin, call: KvCall): Promise<string> {
    return this.#calls.read(call, async (signal) => {
      const request = { ...login, address: login.address ?? '' };
      return (await this.#member.accounts.authenticate(request, { signal })).result;
    });
  }

  permits(request: KvPermitRequest, call: KvCall): Promise<KvPermit> {
    return this.#calls.read(call, async (signal) => {
      checkKeys(request);
      const { principal } = call;
      const { accounts } = this.#member;
      if (!accounts.enabled) return { user: null, permitted: true };
      if (principal.type === 'anonymous') return { user: null, permitted: false };
      const { access, key, rangeEnd = ONE_KEY } = request;
      const permit = await accounts.permits({ access, key, rangeEnd }, contextOf(principal, signal));
      return { user: principal.type === 'token' ? permit.user : null, permitted: permit.permitted };
    });
  }

  async close(): Promise<void> {
    this.#calls.close();
  }

  async *#follow(
    request: KvWatchRequest,
    context: ClientContext,
    signal: AbortSignal,
  ): AsyncGenerator<KvWatchBatch, void, undefined> {
    await this.#member.credentialsSettled(context);
    const sink = new LocalWatch(signal, () => this.#member.resumeWatch(sink));
    const stream = this.#member.openWatch(sink, context);
    try {
      const refusal = stream.create({
        watchId: WATCH_ID,
        key: request.key,
        rangeEnd: request.rangeEnd ?? ONE_KEY,
        startRevision: request.startRevision,
        noPut: false,
        noDelete: false,
        prevKv: request.prevKv ?? false,
        progressNotify: true,
      });
      if (refusal !== null) throw watchErrorOf({ reason: refusal, compactRevision: 0 });
      // In the same turn as the creation: nothing has happened between.
      if (request.startRevision === 0) yield { revision: this.#member.header().revision, events: [] };
      for (;;) {
        const batch = await sink.next();
        if (batch === null) return;
        yield batch;
      }
    } finally {
      stream.close();
    }
  }
}

function contextOf(principal: Principal, signal: AbortSignal): ClientContext {
  switch (principal.type) {
    case 'service':
      return { signal, isInternal: true };
    case 'anonymous':
      return { signal };
    case 'token':
      return { signal, credentials: { token: principal.token } };
  }
}

function readContext(context: ClientContext, consistency: KvConsistency): ReadContext {
  const serializable = consistency.type === 'serializable';
  return consistency.type === 'bounded'
    ? { ...context, serializable, maxStalenessMs: consistency.maxStalenessMs }
    : { ...context, serializable };
}

function transaction({ compare, success, failure }: KvTxnRequest): TxnRequest {
  return {
    type: 'txn',
    compare: compare.map((each) => ({ ...each, rangeEnd: ONE_KEY })),
    success: success.map(operation),
    failure: failure.map(operation),
  };
}

function operation(op: KvOp): RequestOp {
  switch (op.type) {
    case 'range':
      return rangeRequest(op);
    case 'put':
      return putRequest({ key: op.key, value: op.value, lease: op.lease ?? 0n });
    case 'delete':
      return deleteRequest({ key: op.key, rangeEnd: op.rangeEnd ?? ONE_KEY });
  }
}

function operationAnswer(answer: ResponseOp): KvOpAnswer {
  assert(answer.type !== 'txn', 'no transaction is within another');
  switch (answer.type) {
    case 'range':
      return { type: 'range', rows: answer.kvs, more: answer.more, count: answer.count };
    case 'put':
      return { type: 'put' };
    case 'delete-range':
      return { type: 'delete', deleted: answer.deleted };
  }
}
