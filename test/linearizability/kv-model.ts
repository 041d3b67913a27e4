import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResult,
  KeyValue,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  TxnRequest,
  TxnResult,
} from '../../src/core/mvcc/operations.ts';
import { unreachable } from '../../src/lib/assert.ts';
import type { StoreErrorCode } from '../../src/lib/errors.ts';
import type { HistoryEvent, HistoryRequest, HistoryResult } from './history.ts';

/** Keys as latin1 text, whose order is that of their bytes: from `key` up to and without `end`; null = to the last. */
export interface Span {
  readonly key: string;
  readonly end: string | null;
}

/** The store at one revision, as the model reads it. Immutable. */
export interface KvView {
  readonly revision: number;
  /** Below it nothing can be read; -1 before the first compaction. */
  readonly compactRevision: number;
  get(key: string): KeyValue | undefined;
  /** The keys of a span that are there, in byte order. */
  scan(span: Span): readonly KeyValue[];
  /** The same store at an earlier revision, or at its own. */
  at(revision: number): KvView;
  hasLease(id: bigint): boolean;
}

/** What a request does to a view: its answer and what changes, or why it is refused. */
export type Step =
  | { readonly type: 'done'; readonly result: HistoryResult; readonly events: readonly HistoryEvent[] }
  | { readonly type: 'refused'; readonly code: StoreErrorCode };

/**
 * What the store must do, said a second time and in the simplest way. Well-formed requests only: a request that can be
 * refused without looking at the store is not its matter. The revision in the answers of `compact`, `lease-grant` and
 * `lease-revoke` is the earliest one possible.
 */
export function execute(view: KvView, request: HistoryRequest): Step {
  switch (request.type) {
    case 'range':
      return read(view, request);
    case 'serializable-range':
      return read(view, request.range);
    case 'put':
    case 'delete-range':
    case 'txn':
      return write(view, request);
    case 'compact':
      if (request.revision <= view.compactRevision) return refused('compacted');
      if (request.revision > view.revision) return refused('future-revision');
      return { type: 'done', result: { type: 'compact', revision: view.revision }, events: [] };
    case 'lease-grant':
      if (view.hasLease(request.id)) return refused('lease-exists');
      return { type: 'done', result: { type: 'lease-grant', revision: view.revision }, events: [] };
    case 'lease-revoke': {
      if (!view.hasLease(request.id)) return refused('lease-not-found');
      const events = leaseEnd(view, request.id);
      const revision = view.revision + (events.length > 0 ? 1 : 0);
      return { type: 'done', result: { type: 'lease-revoke', revision }, events };
    }
    default:
      return unreachable(request);
  }
}

/** What the end of a lease deletes: its keys in byte order, in one revision. */
export function leaseEnd(view: KvView, id: bigint): HistoryEvent[] {
  return view
    .scan({ key: '', end: null })
    .filter((kv) => kv.lease === id)
    .map((kv) => tombstone(kv.key, view.revision + 1));
}

/** The span that a request's `key` and `rangeEnd` name. */
export function spanOf({ key, rangeEnd }: { readonly key: Buffer; readonly rangeEnd: Buffer }): Span {
  const first = nameOf(key);
  if (rangeEnd.length === 0) return { key: first, end: `${first}\0` };
  return { key: first, end: rangeEnd.length === 1 && rangeEnd[0] === 0 ? null : nameOf(rangeEnd) };
}

export function inSpan(name: string, { key, end }: Span): boolean {
  return name >= key && (end === null || name < end);
}

/** A key as the text that stands for it in this folder. */
export function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

function refused(code: StoreErrorCode): Step {
  return { type: 'refused', code };
}

function read(view: KvView, request: RangeRequest): Step {
  if (request.revision > view.revision) return refused('future-revision');
  if (request.revision > 0 && request.revision < view.compactRevision) return refused('compacted');
  return { type: 'done', result: range(view, request), events: [] };
}

function write(view: KvView, request: PutRequest | DeleteRangeRequest | TxnRequest): Step {
  const plan = planOf(view, request);
  const code = refusal(view, plan);
  if (code !== null) return refused(code);
  const txn = new OpenTxn(view);
  const result = run(txn, plan);
  return { type: 'done', result, events: txn.events };
}

/** An operation whose comparisons are made. */
type Plan =
  | Exclude<RequestOp, TxnRequest>
  | { readonly type: 'branch'; readonly succeeded: boolean; readonly steps: readonly Plan[] };

function planOf(view: KvView, request: RequestOp): Plan {
  if (request.type !== 'txn') return request;
  const succeeded = request.compare.every((compare) => holds(view, compare));
  const ops = succeeded ? request.success : request.failure;
  return { type: 'branch', succeeded, steps: ops.map((op) => planOf(view, op)) };
}

/** Everything is checked on the state before the first change. */
function refusal(view: KvView, plan: Plan): StoreErrorCode | null {
  switch (plan.type) {
    case 'range':
      if (plan.revision > view.revision) return 'future-revision';
      return plan.revision !== 0 && plan.revision < view.compactRevision ? 'compacted' : null;
    case 'put':
      if ((plan.ignoreValue || plan.ignoreLease) && view.get(nameOf(plan.key)) === undefined) {
        return 'key-not-found';
      }
      return plan.lease !== 0n && !view.hasLease(plan.lease) ? 'lease-not-found' : null;
    case 'delete-range':
      return null;
    case 'branch':
      for (const step of plan.steps) {
        const code = refusal(view, step);
        if (code !== null) return code;
      }
      return null;
    default:
      return unreachable(plan);
  }
}

function run(txn: OpenTxn, plan: Plan): RangeResult | PutResult | DeleteRangeResult | TxnResult {
  switch (plan.type) {
    case 'range':
      return range(txn, plan);
    case 'put':
      return txn.put(plan);
    case 'delete-range':
      return txn.delete(plan);
    case 'branch': {
      const responses = plan.steps.map((step) => run(txn, step));
      return { type: 'txn', revision: txn.revision, succeeded: plan.succeeded, responses };
    }
    default:
      return unreachable(plan);
  }
}

/** A view with the changes of a request that is under way. */
class OpenTxn implements KvView {
  readonly events: HistoryEvent[] = [];
  readonly #base: KvView;
  /** Undefined = deleted. */
  readonly #changes = new Map<string, KeyValue | undefined>();

  constructor(base: KvView) {
    this.#base = base;
  }

  get revision(): number {
    return this.#base.revision + (this.events.length > 0 ? 1 : 0);
  }

  get compactRevision(): number {
    return this.#base.compactRevision;
  }

  get(key: string): KeyValue | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#base.get(key);
  }

  scan(span: Span): readonly KeyValue[] {
    const before = this.#base.scan(span);
    if (this.#changes.size === 0) return before;
    const kvs = new Map(before.map((kv) => [nameOf(kv.key), kv]));
    for (const [key, kv] of this.#changes) {
      if (!inSpan(key, span)) continue;
      if (kv === undefined) kvs.delete(key);
      else kvs.set(key, kv);
    }
    return [...kvs].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, kv]) => kv);
  }

  at(revision: number): KvView {
    return revision === this.revision ? this : this.#base.at(revision);
  }

  hasLease(id: bigint): boolean {
    return this.#base.hasLease(id);
  }

  put(request: PutRequest): PutResult {
    const name = nameOf(request.key);
    const old = this.get(name);
    const main = this.#base.revision + 1;
    const kv: KeyValue = {
      key: request.key,
      createRevision: old?.createRevision ?? main,
      modRevision: main,
      version: (old?.version ?? 0) + 1,
      value: request.ignoreValue ? old!.value : request.value,
      lease: request.ignoreLease ? old!.lease : request.lease,
    };
    this.#changes.set(name, kv);
    this.events.push({ type: 'put', kv, prevKv: null });
    return { type: 'put', revision: main, prevKv: request.prevKv ? (old ?? null) : null };
  }

  delete(request: DeleteRangeRequest): DeleteRangeResult {
    const old = this.scan(spanOf(request));
    for (const { key } of old) {
      this.#changes.set(nameOf(key), undefined);
      this.events.push(tombstone(key, this.#base.revision + 1));
    }
    const prevKvs = request.prevKv ? old : [];
    return { type: 'delete-range', revision: this.revision, deleted: old.length, prevKvs };
  }
}

const EMPTY = Buffer.alloc(0);

function tombstone(key: Buffer, modRevision: number): HistoryEvent {
  const kv = { key, createRevision: 0, modRevision, version: 0, value: EMPTY, lease: 0n };
  return { type: 'delete', kv, prevKv: null };
}

// ---- reads ----------------------------------------------------------------------------------------------------

function range(view: KvView, request: RangeRequest): RangeResult {
  const point = request.revision > 0 ? view.at(request.revision) : view;
  const all = point.scan(spanOf(request));
  const head = { type: 'range', revision: view.revision, count: all.length } as const;
  if (request.countOnly) return { ...head, kvs: [], more: false };
  const kvs = ordered(request, candidates(request, all));
  const more = request.limit > 0 && kvs.length > request.limit;
  const shown = more ? kvs.slice(0, request.limit) : kvs;
  return { ...head, more, kvs: request.keysOnly ? shown.map((kv) => ({ ...kv, value: EMPTY })) : shown };
}

/** With a limit and neither order nor bounds, a sort target orders only what the limit lets through, and one more. */
function candidates(request: RangeRequest, all: readonly KeyValue[]): readonly KeyValue[] {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const within = (value: number, min: number, max: number): boolean =>
    (min === 0 || value >= min) && (max === 0 || value <= max);
  const bounds = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
  if (bounds.some((bound) => bound !== 0)) {
    return all.filter(
      (kv) =>
        within(kv.modRevision, minModRevision, maxModRevision) &&
        within(kv.createRevision, minCreateRevision, maxCreateRevision),
    );
  }
  const cut = request.limit > 0 && request.sortOrder === 'none';
  return cut ? all.slice(0, request.limit + 1) : all;
}

function ordered(request: RangeRequest, kvs: readonly KeyValue[]): readonly KeyValue[] {
  const { sortTarget, sortOrder } = request;
  if (sortTarget === 'key' && sortOrder !== 'descend') return kvs;
  const sign = sortOrder === 'descend' ? -1 : 1;
  return kvs.toSorted((a, b) => sign * difference(sortTarget, a, b));
}

function difference(target: RangeRequest['sortTarget'], a: KeyValue, b: KeyValue): number {
  switch (target) {
    case 'key':
      return Buffer.compare(a.key, b.key);
    case 'version':
      return a.version - b.version;
    case 'create':
      return a.createRevision - b.createRevision;
    case 'mod':
      return a.modRevision - b.modRevision;
    case 'value':
      return Buffer.compare(a.value, b.value);
    default:
      return unreachable(target);
  }
}

/** Every key of the range must satisfy it. No key has no value; all else of it counts as 0. */
function holds(view: KvView, compare: Compare): boolean {
  const kvs = view.scan(spanOf(compare));
  if (kvs.length > 0) return kvs.every((kv) => satisfies(compare.result, order(compare, kv)));
  if (compare.target === 'value') return false;
  return satisfies(compare.result, order(compare, NO_KEY));
}

const NO_KEY: KeyValue = {
  key: EMPTY,
  createRevision: 0,
  modRevision: 0,
  version: 0,
  value: EMPTY,
  lease: 0n,
};

function order(compare: Compare, kv: KeyValue): number {
  switch (compare.target) {
    case 'version':
      return kv.version - compare.number;
    case 'create':
      return kv.createRevision - compare.number;
    case 'mod':
      return kv.modRevision - compare.number;
    case 'lease':
      return kv.lease < compare.lease ? -1 : kv.lease > compare.lease ? 1 : 0;
    case 'value':
      return Buffer.compare(kv.value, compare.value);
    default:
      return unreachable(compare);
  }
}

function satisfies(result: Compare['result'], sign: number): boolean {
  switch (result) {
    case 'equal':
      return sign === 0;
    case 'not-equal':
      return sign !== 0;
    case 'greater':
      return sign > 0;
    case 'less':
      return sign < 0;
    default:
      return unreachable(result);
  }
}
