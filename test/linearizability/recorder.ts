import { errorMapping } from '../../src/api/errors.ts';
import { ClientError } from '../../src/client/client-error.ts';
import type { KvClient } from '../../src/client/kv-client.ts';
import type * as client from '../../src/client/types.ts';
import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResult,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResult,
} from '../../src/core/mvcc/operations.ts';
import { assert } from '../../src/lib/assert.ts';
import type { StoreErrorCode } from '../../src/lib/errors.ts';
import {
  type HistoryOp,
  type HistoryOutcome,
  type HistoryRequest,
  type HistoryResult,
  STATE_CODES,
} from './history.ts';

/** How long the leases are that recorded clients are granted, unless they say otherwise: longer than any test. */
const LEASE_TTL_SECONDS_DEFAULT = 36_000;

/**
 * One history of any number of real clients of this process. Times are of this process's monotonic clock, in
 * milliseconds: a call is timed before it is sent and a return after the answer is there, never the other way.
 */
export class Recorder {
  readonly #ops: HistoryOp[] = [];
  #clients = 0;

  /** Everything that has returned, or was given up, so far. */
  get ops(): readonly HistoryOp[] {
    return this.#ops;
  }

  /** A client whose operations become part of the history. It does not close `remote`. */
  client(remote: KvClient, options: { readonly leaseTtlSeconds?: number } = {}): RecordedClient {
    const id = this.#clients++;
    const ttlSeconds = options.leaseTtlSeconds ?? LEASE_TTL_SECONDS_DEFAULT;
    return new RecordedClient({ id, remote, ttlSeconds, record: (op) => this.#ops.push(op) });
  }
}

interface RecordedClientOptions {
  readonly id: number;
  readonly remote: KvClient;
  readonly ttlSeconds: number;
  readonly record: (op: HistoryOp) => void;
}

/** One client, which does one thing after the other. */
export class RecordedClient {
  readonly #options: RecordedClientOptions;
  #busy = false;

  constructor(options: RecordedClientOptions) {
    this.#options = options;
  }

  /**
   * Asks, and records what came of it. An error after which a change may have been made all the same is an outcome
   * of its own, `unknown`; every other failure of the client is `refused`. A lease is granted by its id, not 0.
   */
  async perform(request: HistoryRequest): Promise<HistoryOutcome> {
    const { id, record } = this.#options;
    assert(!this.#busy, 'operations of one client do not overlap');
    this.#busy = true;
    try {
      const callTime = performance.now();
      const outcome = await this.#outcome(request);
      const returnTime = outcome.type === 'unknown' ? Infinity : performance.now();
      record({ client: id, callTime, returnTime, request, outcome });
      return outcome;
    } finally {
      this.#busy = false;
    }
  }

  async #outcome(request: HistoryRequest): Promise<HistoryOutcome> {
    try {
      return { type: 'answered', result: await this.#ask(request) };
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      if (error.uncertain) return { type: 'unknown' };
      return { type: 'refused', code: CODE_OF_TEXT.get(error.message) ?? null };
    }
  }

  async #ask(request: HistoryRequest): Promise<HistoryResult> {
    const { remote, ttlSeconds } = this.#options;
    switch (request.type) {
      case 'range':
        return rangeResult(await remote.range(rangeOptions(request)));
      case 'serializable-range':
        return rangeResult(await remote.range({ ...rangeOptions(request.range), serializable: true }));
      case 'put':
        return putResult(await remote.put(request));
      case 'delete-range':
        return deleteResult(await remote.delete(deleteOptions(request)));
      case 'txn':
        return txnResult(await remote.txn(txnOptions(request)));
      case 'compact':
        return { type: 'compact', revision: (await remote.compact({ revision: request.revision })).revision };
      case 'lease-grant': {
        assert(request.id !== 0n, 'the client chooses the id of its lease');
        const { header } = await remote.leaseGrant({ ttlSeconds, id: request.id });
        return { type: 'lease-grant', revision: header.revision };
      }
      case 'lease-revoke':
        return { type: 'lease-revoke', revision: (await remote.leaseRevoke(request.id)).revision };
    }
  }
}

/** Codes do not travel, their texts do. */
const CODE_OF_TEXT: ReadonlyMap<string, StoreErrorCode> = new Map(
  [...STATE_CODES].map((code) => [errorMapping(code).text, code]),
);

// ---- requests -----------------------------------------------------------------------------------------------

function rangeOptions({ type: _type, rangeEnd, ...rest }: RangeRequest): client.RangeOptions {
  const bounds = [rest.minModRevision, rest.maxModRevision, rest.minCreateRevision, rest.maxCreateRevision];
  assert(
    bounds.every((bound) => bound === 0),
    'the client has no bounds on revisions',
  );
  return { ...rest, ...endOf(rangeEnd) };
}

function deleteOptions({ key, rangeEnd, prevKv }: DeleteRangeRequest): client.DeleteOptions {
  return { key, prevKv, ...endOf(rangeEnd) };
}

function txnOptions({ compare, success, failure }: TxnRequest): client.TxnOptions {
  return { compare: compare.map(compareOption), success: success.map(txnOp), failure: failure.map(txnOp) };
}

function compareOption({ rangeEnd, ...rest }: Compare): client.Compare {
  return { ...rest, ...endOf(rangeEnd) };
}

function txnOp(op: RequestOp): client.TxnOp {
  switch (op.type) {
    case 'range':
      return { type: 'range', ...rangeOptions(op) };
    case 'put':
      return op;
    case 'delete-range':
      return { type: 'delete', ...deleteOptions(op) };
    case 'txn':
      throw new TypeError('the client sends no nested transactions');
  }
}

function endOf(rangeEnd: Buffer): { readonly rangeEnd?: Buffer } {
  return rangeEnd.length === 0 ? {} : { rangeEnd };
}

// ---- answers ------------------------------------------------------------------------------------------------

function rangeResult({ header, kvs, more, count }: client.RangeAnswer): RangeResult {
  return { type: 'range', revision: header.revision, kvs, more, count };
}

function putResult({ header, prevKv }: client.PutAnswer): PutResult {
  return { type: 'put', revision: header.revision, prevKv };
}

function deleteResult({ header, deleted, prevKvs }: client.DeleteAnswer): DeleteRangeResult {
  return { type: 'delete-range', revision: header.revision, deleted, prevKvs };
}

function txnResult({ header, succeeded, responses }: client.TxnAnswer): TxnResult {
  return { type: 'txn', revision: header.revision, succeeded, responses: responses.map(responseOp) };
}

function responseOp(response: client.TxnAnswer['responses'][number]): ResponseOp {
  switch (response.type) {
    case 'range':
      return rangeResult(response);
    case 'put':
      return putResult(response);
    case 'delete':
      return deleteResult(response);
    case 'txn':
      return txnResult(response);
  }
}
