import { ClientError } from '../client/client-error.ts';
import { type CallOptions, KvClient, type KvClientOptions } from '../client/kv-client.ts';
import type { TxnAnswer, WatchEvent } from '../client/types.ts';
import {
  checkKeys,
  checkRange,
  checkTtl,
  checkTxn,
  checkWatch,
  DEFAULT_LIMITS,
  isReadOnly,
} from './check.ts';
import { EtcdAccess } from './etcd-access.ts';
import { kvErrorOf } from './etcd-errors.ts';
import {
  type Kv,
  type KvCall,
  KvError,
  type KvEvent,
  type KvLimits,
  type KvLogin,
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
import { OpenCalls } from './open-calls.ts';

/** Which cluster, and what it takes: a server does not tell its limits. */
export interface EtcdKvOptions extends KvClientOptions {
  /** Default: those of etcd as it comes. */
  readonly limits?: KvLimits;
}

/**
 * Any etcd v3 cluster, over the wire. The service is the login of the options; without one it is nobody, which is enough
 * where authentication is off. A real etcd does not know the age of its answers: there a bounded read is linearizable.
 */
export class EtcdKv implements Kv {
  readonly limits: KvLimits;
  readonly #client: KvClient;
  readonly #access: EtcdAccess;
  readonly #calls = new OpenCalls(kvErrorOf);

  /** Connects to nothing yet. @throws ClientError `invalid-argument` for an endpoint that is no address */
  constructor({ limits, ...options }: EtcdKvOptions) {
    this.limits = limits ?? DEFAULT_LIMITS;
    this.#client = new KvClient(options);
    this.#access = new EtcdAccess(this.#client, options.login);
  }

  range(whole: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    const { consistency, ...request } = whole;
    return this.#calls.read(call, async (signal) => {
      checkRange(whole);
      const options = {
        ...request,
        serializable: consistency.type === 'serializable',
        ...(consistency.type === 'bounded' && { maxStalenessMs: consistency.maxStalenessMs }),
      };
      const { header, kvs, more, count, ageMs } = await this.#as(call, signal, (limits) =>
        this.#client.range(options, limits),
      );
      const { revision } = header;
      return { revision, rows: kvs, more, count, ...(ageMs !== undefined && { ageMs }) };
    });
  }

  txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer> {
    const work = async (signal: AbortSignal): Promise<KvTxnAnswer> => {
      checkTxn(request, this.limits);
      const { header, succeeded, responses } = await this.#as(call, signal, (limits) =>
        this.#client.txn(request, limits),
      );
      return { revision: header.revision, succeeded, responses: responses.map(operationAnswer) };
    };
    return isReadOnly(request) ? this.#calls.read(call, work) : this.#calls.write(call, work);
  }

  async *watch(request: KvWatchRequest, call: KvCall): AsyncGenerator<KvWatchBatch, void, undefined> {
    if (call.signal.aborted) return;
    checkWatch(request);
    using open = this.#calls.begin(call);
    let isTold = request.startRevision > 0;
    try {
      const { signal } = open;
      const { token } = on(call, signal);
      const lasting = { progressNotify: true, failuresMax: Infinity };
      const options = { ...request, ...lasting, signal, ...(token !== undefined && { token }) };
      for await (const item of this.#client.watchStream(options)) {
        if (item.type === 'events') yield batchOf(item.events);
        else if (item.type === 'progress') yield { revision: item.header.revision, events: [] };
        else if (item.type === 'created' && !isTold) {
          isTold = true;
          yield { revision: item.next - 1, events: [] };
        }
      }
    } catch (error) {
      if (call.signal.aborted) return;
      throw this.#calls.failureOf(error, call);
    }
    // It ended without an error: so it does where it was told to.
    if (this.#calls.closed && !call.signal.aborted) throw this.#calls.failureOf(null, call);
  }

  leaseGrant({ ttlSeconds }: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint> {
    return this.#calls.write(call, async (signal) => {
      checkTtl(ttlSeconds);
      const grant = (limits: CallOptions) => this.#client.leaseGrant({ ttlSeconds }, limits);
      return (await this.#as(call, signal, grant)).id;
    });
  }

  leaseKeepAlive(id: bigint, call: KvCall): Promise<number> {
    return this.#calls.read(call, (signal) =>
      this.#as(call, signal, (limits) => this.#client.leaseKeepAlive(id, limits)),
    );
  }

  leaseRevoke(id: bigint, call: KvCall): Promise<void> {
    return this.#calls.write(call, async (signal) => {
      try {
        await this.#as(call, signal, (limits) => this.#client.leaseRevoke(id, limits));
      } catch (error) {
        if (!(error instanceof ClientError) || error.code !== 'not-found') throw error;
      }
    });
  }

  authEnabled(call: KvCall): Promise<boolean> {
    return this.#calls.read(call, (signal) => this.#access.isEnabled(signal));
  }

  signIn(login: KvLogin, call: KvCall): Promise<string> {
    return this.#calls.read(call, (signal) => this.#access.signIn(login, signal));
  }

  permits(request: KvPermitRequest, call: KvCall): Promise<KvPermit> {
    return this.#calls.read(call, (signal) => {
      checkKeys(request);
      return this.#access.permits(request, call.principal, signal);
    });
  }

  async close(): Promise<void> {
    this.#calls.close();
    this.#client.close();
  }

  /** Calls on behalf of whoever calls. */
  async #as<T>(call: KvCall, signal: AbortSignal, work: (limits: CallOptions) => Promise<T>): Promise<T> {
    const limits = on(call, signal);
    try {
      return await work(limits);
    } catch (error) {
      // A real etcd refuses a token that it does not know even where nobody is asked.
      const isRefused = error instanceof ClientError && error.code === 'unauthenticated';
      if (!isRefused || call.principal.type !== 'token' || (await this.#access.isEnabled(signal)))
        throw error;
      return work({ signal, token: null });
    }
  }
}

/** A call of the client on behalf of whoever calls. */
function on({ principal }: { readonly principal: Principal }, signal: AbortSignal): CallOptions {
  if (principal.type === 'service') return { signal };
  return { signal, token: principal.type === 'token' ? principal.token : null };
}

function operationAnswer(answer: TxnAnswer['responses'][number]): KvOpAnswer {
  switch (answer.type) {
    case 'range':
      return { type: 'range', rows: answer.kvs, more: answer.more, count: answer.count };
    case 'put':
      return { type: 'put' };
    case 'delete':
      return { type: 'delete', deleted: answer.deleted };
    case 'txn':
      throw new KvError('internal', 'a transaction answered for a transaction that was not in it');
  }
}

/** The header of a batch may be of later than its last event, and of what is yet to be told. */
function batchOf(events: readonly WatchEvent[]): KvWatchBatch {
  const revision = events.at(-1)!.kv.modRevision;
  return {
    revision,
    events: events.map(({ type, kv, prevKv }): KvEvent => ({ type, row: kv, previous: prevKv })),
  };
}
