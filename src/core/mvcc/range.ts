import { assert, unreachable } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { checkRange } from './check.ts';
import type { History } from './history.ts';
import type { KeyRange } from './key-index.ts';
import { rangeOf } from './key-range.ts';
import type { KeyValue, RangeRequest, RangeResult } from './operations.ts';
import type { Row } from './row.ts';
import { NIL } from './row-table.ts';

/** Which revisions can be read: from `compactRevision` to `currentRevision`. */
export interface ReadableRevisions {
  readonly currentRevision: number;
  readonly compactRevision: number;
}

const EMPTY_VALUE = Buffer.alloc(0);
/** What a key costs in an answer besides its key and value, about. */
const KEY_OVERHEAD_BYTES = 40;

/**
 * A range read with etcd's rules: revision, then limit or bounds, sort, truncate. `count` is everything in the range
 * at the revision, whatever else is asked.
 *
 * @throws StoreError `empty-key`, `invalid-sort-option`, `compacted`, `future-revision`, `storage`
 */
export function executeRange(
  history: History,
  revisions: ReadableRevisions,
  request: RangeRequest,
): RangeResult {
  const { slots, revision, count } = select(history, revisions, request);
  const { kept, more } = truncate(request, order(history, request, slots));
  return rangeResult(history, request, { revision, count, slots: kept, more });
}

/**
 * As `executeRange`, but an answer above `bytesMax` is only planned: nothing of it is read from the source yet.
 * `loadPage` reads it piece by piece, `finishRange` makes the answer of the pieces.
 *
 * @throws StoreError as `executeRange`
 */
export function beginRange(
  history: History,
  revisions: ReadableRevisions,
  options: { readonly request: RangeRequest; readonly bytesMax: number },
): RangeResult | RangePlan {
  const { request } = options;
  const { slots, revision, main, count } = select(history, revisions, request);
  const sortsLater = request.sortTarget === 'value' && slots.length > 1;
  const loadsValues = sortsLater || !request.keysOnly;
  const { kept, more } = sortsLater
    ? { kept: slots, more: request.limit > 0 && slots.length > request.limit }
    : truncate(request, order(history, request, slots));
  const bytes = answerBytes(history, kept, loadsValues);
  if (bytes <= options.bytesMax) {
    const ordered = sortsLater ? truncate(request, order(history, request, kept)).kept : kept;
    return rangeResult(history, request, { revision, count, slots: ordered, more });
  }
  const { table } = history;
  const keys = kept.map((slot) => table.key(slot));
  return {
    type: 'range-plan',
    revision,
    main,
    count,
    request,
    keys,
    more,
    bytes,
    loadsValues,
    sortsLater,
  };
}

/** What a range will answer, with the keys found and the revision pinned: it outlives changes of the store. */
export interface RangePlan {
  readonly type: 'range-plan';
  readonly request: RangeRequest;
  /** The store's revision when it was made. */
  readonly revision: number;
  /** The revision that is read. */
  readonly main: number;
  /** As latin1 text, in the order of the answer; in key order when it `sortsLater`. */
  readonly keys: readonly string[];
  readonly more: boolean;
  readonly count: number;
  /** Keys and values to be read, with an overhead for each. */
  readonly bytes: number;
  readonly loadsValues: boolean;
  /** To be sorted by value, and then cut to the limit, once all values are there. */
  readonly sortsLater: boolean;
}

/** A piece of a planned range. */
export interface RangePage {
  readonly kvs: readonly KeyValue[];
  /** Where the next piece begins; the number of the plan's keys after the last one. */
  readonly next: number;
}

/** Bounds of one piece; it holds at least one key. */
export interface PageLimits {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

/**
 * Reads the piece of a plan that begins at its key number `from`, as of the plan's revision.
 *
 * @throws StoreError `compacted` when that revision was compacted meanwhile, `storage`
 */
export function loadPage(
  history: History,
  revisions: ReadableRevisions,
  piece: { readonly plan: RangePlan; readonly from: number; readonly limits: PageLimits },
): RangePage {
  const { plan, from, limits } = piece;
  assert(plan.main <= revisions.currentRevision, 'a plan is read from an older store');
  if (plan.main < revisions.compactRevision) throw new StoreError('compacted');
  const kvs: KeyValue[] = [];
  let bytes = 0;
  let at = from;
  while (at < plan.keys.length && kvs.length < limits.rowsMax && bytes < limits.bytesMax) {
    const slot = history.at(history.head(plan.keys[at]!), plan.main);
    assert(slot !== NIL, 'a planned key is there at its revision');
    const kv = plan.loadsValues ? keyValue(history.load(slot)) : keyOnly(history, slot);
    bytes += kv.key.length + kv.value.length + KEY_OVERHEAD_BYTES;
    kvs.push(kv);
    at += 1;
  }
  return { kvs, next: at };
}

/** The answer of a plan from all its pieces, in order. */
export function finishRange(plan: RangePlan, kvs: readonly KeyValue[]): RangeResult {
  const { revision, more, count, request } = plan;
  return { type: 'range', revision, more, count, kvs: plan.sortsLater ? sortedByValue(request, kvs) : kvs };
}

/** A row as a client sees it. Not for tombstones. */
export function keyValue(row: Row): KeyValue {
  return {
    key: row.key,
    createRevision: row.createRevision,
    modRevision: row.main,
    version: row.version,
    value: row.value,
    lease: row.lease,
  };
}

/** Slots of the live rows of a range at the current revision, in key order. */
export function liveSlots(history: History, request: { key: Buffer; rangeEnd: Buffer }): number[] {
  const key = request.key.toString('latin1');
  if (request.rangeEnd.length === 0) {
    const head = history.head(key);
    return head === NIL || history.table.isTombstone(head) ? [] : [head];
  }
  const slots: number[] = [];
  history.index.visit(rangeOf(key, request.rangeEnd), (slot) => {
    if (!history.table.isTombstone(slot)) slots.push(slot);
    return true;
  });
  return slots;
}

interface Selection extends Found {
  /** The store's revision. */
  readonly revision: number;
  /** The revision that is read. */
  readonly main: number;
}

/** What the range holds at its revision, within the bounds, in key order. */
function select(history: History, revisions: ReadableRevisions, request: RangeRequest): Selection {
  checkRange(request);
  const { currentRevision } = revisions;
  const main = request.revision <= 0 ? currentRevision : request.revision;
  if (main > currentRevision) throw new StoreError('future-revision');
  if (main < revisions.compactRevision) throw new StoreError('compacted');
  const { slots, count } = find(history, request, { main, isCurrent: main === currentRevision });
  return { revision: currentRevision, main, count, slots: bounded(history, request, slots) };
}

function truncate(
  { limit }: RangeRequest,
  slots: number[],
): { readonly kept: number[]; readonly more: boolean } {
  const more = limit > 0 && slots.length > limit;
  if (more) slots.length = limit;
  return { kept: slots, more };
}

function rangeResult(
  history: History,
  { keysOnly }: RangeRequest,
  found: Omit<Selection, 'main'> & { readonly more: boolean },
): RangeResult {
  const { revision, more, count } = found;
  const kvs = found.slots.map((slot) => (keysOnly ? keyOnly(history, slot) : keyValue(history.load(slot))));
  return { type: 'range', revision, kvs, more, count };
}

function answerBytes(history: History, slots: readonly number[], withValues: boolean): number {
  const { table } = history;
  let bytes = 0;
  for (const slot of slots) {
    bytes += KEY_OVERHEAD_BYTES + table.key(slot).length + (withValues ? table.valueSize(slot) : 0);
  }
  return bytes;
}

/** Sorting is stable: equal values stay in key order, also when descending. */
function sortedByValue(
  { sortOrder, limit, keysOnly }: RangeRequest,
  kvs: readonly KeyValue[],
): readonly KeyValue[] {
  const sign = sortOrder === 'descend' ? -1 : 1;
  const sorted = [...kvs].sort((left, right) => sign * Buffer.compare(left.value, right.value));
  if (limit > 0 && sorted.length > limit) sorted.length = limit;
  return keysOnly ? sorted.map((kv) => ({ ...kv, value: EMPTY_VALUE })) : sorted;
}

interface Found {
  /** In key order; at most as many as the answer can need. */
  readonly slots: number[];
  readonly count: number;
}
interface ReadPoint {
  readonly main: number;
  /** No row is newer than `main`. */
  readonly isCurrent: boolean;
}

function find(history: History, request: RangeRequest, point: ReadPoint): Found {
  const key = request.key.toString('latin1');
  if (request.rangeEnd.length === 0) {
    const slot = history.at(history.head(key), point.main);
    if (slot === NIL) return { slots: [], count: 0 };
    return { slots: request.countOnly ? [] : [slot], count: 1 };
  }
  const range = rangeOf(key, request.rangeEnd);
  const slotsMax = request.countOnly ? 0 : fetchMax(request);
  return point.isCurrent
    ? findCurrent(history, range, slotsMax)
    : findAt(history, range, point.main, slotsMax);
}

/**
 * How many keys to look at. With a limit but neither order nor bounds only one more than the limit, even if a sort
 * target is given: it then orders just those, as in etcd.
 */
function fetchMax(request: RangeRequest): number {
  const unbounded =
    request.minModRevision === 0 &&
    request.maxModRevision === 0 &&
    request.minCreateRevision === 0 &&
    request.maxCreateRevision === 0;
  return request.limit > 0 && request.sortOrder === 'none' && unbounded ? request.limit + 1 : Infinity;
}

function findCurrent(history: History, range: KeyRange, slotsMax: number): Found {
  const { index, table } = history;
  const slots: number[] = [];
  let cut = slotsMax === 0;
  if (!cut) {
    index.visit(range, (slot) => {
      if (!table.isTombstone(slot)) slots.push(slot);
      cut = slots.length >= slotsMax;
      return !cut;
    });
  }
  return { slots, count: cut ? index.countLive(range) : slots.length };
}

function findAt(history: History, range: KeyRange, main: number, slotsMax: number): Found {
  const slots: number[] = [];
  let count = 0;
  history.index.visit(range, (head) => {
    const slot = history.at(head, main);
    if (slot === NIL) return true;
    if (slots.length < slotsMax) slots.push(slot);
    count++;
    return true;
  });
  return { slots, count };
}

function bounded(history: History, request: RangeRequest, slots: number[]): number[] {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  if (minModRevision === 0 && maxModRevision === 0 && minCreateRevision === 0 && maxCreateRevision === 0) {
    return slots;
  }
  const { table } = history;
  return slots.filter((slot) => {
    const mod = table.main(slot);
    const create = table.createRevision(slot);
    return (
      (minModRevision === 0 || mod >= minModRevision) &&
      (maxModRevision === 0 || mod <= maxModRevision) &&
      (minCreateRevision === 0 || create >= minCreateRevision) &&
      (maxCreateRevision === 0 || create <= maxCreateRevision)
    );
  });
}

/** Sorts; ties stay in key order, also when descending. Slots come in key order. */
function order(history: History, request: RangeRequest, slots: number[]): number[] {
  const { sortTarget, sortOrder } = request;
  if (slots.length < 2) return slots;
  if (sortTarget === 'key') return sortOrder === 'descend' ? slots.reverse() : slots;
  const sign = sortOrder === 'descend' ? -1 : 1;
  const compare = comparator(history, sortTarget);
  return slots.sort((left, right) => sign * compare(left, right));
}

function comparator(
  history: History,
  target: Exclude<RangeRequest['sortTarget'], 'key'>,
): (left: number, right: number) => number {
  const { table } = history;
  switch (target) {
    case 'version':
      return (left, right) => table.version(left) - table.version(right);
    case 'create':
      return (left, right) => table.createRevision(left) - table.createRevision(right);
    case 'mod':
      return (left, right) => table.main(left) - table.main(right);
    case 'value': {
      const values = new Map<number, Buffer>();
      const value = (slot: number): Buffer => {
        const known = values.get(slot) ?? history.load(slot).value;
        values.set(slot, known);
        return known;
      };
      return (left, right) => Buffer.compare(value(left), value(right));
    }
    default:
      return unreachable(target);
  }
}

function keyOnly(history: History, slot: number): KeyValue {
  const { table } = history;
  return {
    key: history.keyBytes(slot),
    createRevision: table.createRevision(slot),
    modRevision: table.main(slot),
    version: table.version(slot),
    value: EMPTY_VALUE,
    lease: table.lease(slot),
  };
}
