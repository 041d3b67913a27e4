import type { Commit } from '../../../src/core/mvcc/event.ts';
import {
  type Compare,
  type CompareTarget,
  type DeleteRangeRequest,
  deleteRequest,
  type KeyValue,
  type PutRequest,
  putRequest,
  type RangeRequest,
  type RequestOp,
  rangeRequest,
  type TxnRequest,
} from '../../../src/core/mvcc/operations.ts';
import type { Row, RowSource } from '../../../src/core/mvcc/row.ts';
import type { AppliedRequest } from '../../../src/core/mvcc/store.ts';
import { Store } from '../../../src/core/mvcc/store.ts';
import type { LeaseView } from '../../../src/core/mvcc/txn.ts';
import { StoreError } from '../../../src/lib/errors.ts';

export function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

export function put(key: string, value = '', options: Partial<PutRequest> = {}): PutRequest {
  return putRequest({ key: bytes(key), value: bytes(value), ...options });
}

export function range(key: string, end = '', options: Partial<RangeRequest> = {}): RangeRequest {
  return rangeRequest({ key: bytes(key), rangeEnd: bytes(end), ...options });
}

export function remove(key: string, end = '', prevKv = false): DeleteRangeRequest {
  return deleteRequest({ key: bytes(key), rangeEnd: bytes(end), prevKv });
}

export function txn(
  compare: readonly Compare[],
  success: readonly RequestOp[],
  failure: readonly RequestOp[] = [],
): TxnRequest {
  return { type: 'txn', compare, success, failure };
}

export function compare(key: string, result: Compare['result'], target: CompareTarget, end = ''): Compare {
  return { ...target, result, key: bytes(key), rangeEnd: bytes(end) };
}

/** Rows as a disk would have them. */
export class MemorySource implements RowSource {
  readonly rows = new Map<string, Row>();
  reads = 0;

  row(main: number, sub: number): Row | undefined {
    this.reads++;
    return this.rows.get(`${main}/${sub}`);
  }
  keep(rows: readonly Row[]): void {
    for (const row of rows) this.rows.set(`${row.main}/${row.sub}`, row);
  }
  discard(revisions: readonly { readonly main: number; readonly sub: number }[]): void {
    for (const { main, sub } of revisions) {
      if (!this.rows.delete(`${main}/${sub}`)) throw new Error(`row ${main}/${sub} discarded twice`);
    }
  }
  /** In revision order. */
  all(): Row[] {
    return [...this.rows.values()].sort((a, b) => a.main - b.main || a.sub - b.sub);
  }
}

/** A store on a memory disk, with the leases it may use. */
export class Harness implements LeaseView {
  readonly source = new MemorySource();
  readonly leases = new Set<bigint>([7n, -9n]);
  store: Store;

  constructor(options: { readonly cacheBytesMax?: number } = {}) {
    this.store = new Store({ source: this.source, ...options });
  }
  has(id: bigint): boolean {
    return this.leases.has(id);
  }
  apply(request: PutRequest | DeleteRangeRequest | TxnRequest): AppliedRequest {
    const applied = this.store.applyTxn(request, this);
    this.source.keep(applied.commit.rows);
    return applied;
  }
  commit(request: PutRequest | DeleteRangeRequest | TxnRequest): Commit {
    return this.apply(request).commit;
  }
  /** Compacts and collects to the end. */
  compact(revision: number): void {
    this.store.compact(revision);
    while (this.store.compactionPending) this.source.discard(this.store.compactionStep(1));
  }
  keys(key = '\0', end = '\0', options: Partial<RangeRequest> = {}): string[] {
    return this.store.range(range(key, end, options)).kvs.map((kv) => kv.key.toString('latin1'));
  }
  get(key: string, options: Partial<RangeRequest> = {}): KeyValue | undefined {
    return this.store.range(range(key, '', options)).kvs[0];
  }
}

export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  }
  return 'no error';
}
