import {
  type KvCompare,
  KvError,
  type KvEvent,
  type KvOpAnswer,
  type KvRangeRequest,
  type KvRow,
} from './kv.ts';

/** A range of keys as latin1 text, whose order is that of the bytes. `end` null = to the end of all keys. */
interface Span {
  readonly key: string;
  readonly end: string | null;
}

/** One change of one key: the row it made, or a tombstone, whose version is 0. */
interface Change {
  readonly key: string;
  readonly row: KvRow;
  readonly previous: KvRow | null;
}

type RangeOf = Omit<KvRangeRequest, 'consistency'>;

/**
 * The revisions of a store in memory: every change in order, and for each key its rows since the last compaction. It
 * starts at revision 1, as etcd does.
 */
export class MemoryHistory {
  /** Of the newest change. */
  revision = 1;
  /** The oldest revision that can be read, and watched from. */
  compactRevision = 0;
  /** Every key that has rows, in order. */
  #keys: string[] = [];
  readonly #rows = new Map<string, KvRow[]>();
  #changes: Change[] = [];

  /** Whether a range at this revision can be answered. @throws KvError `future-revision`, `compacted` */
  checkRevision(revision: number): void {
    this.#readable(revision);
  }

  /** @throws KvError `future-revision`, `compacted` */
  range(request: RangeOf): Extract<KvOpAnswer, { type: 'range' }> {
    const at = this.#readable(request.revision ?? 0);
    const rows: KvRow[] = [];
    let count = 0;
    for (const key of this.#keysOf(spanOf(request))) {
      const row = this.#rowAt(key, at);
      if (row === null) continue;
      count += 1;
      if (row.modRevision >= (request.minModRevision ?? 0)) rows.push(row);
    }
    if (request.countOnly === true) return { type: 'range', rows: [], more: false, count };
    const limit = request.limit ?? 0;
    const shown = limit > 0 ? rows.slice(0, limit) : rows;
    return {
      type: 'range',
      rows: request.keysOnly === true ? shown.map((row) => ({ ...row, value: Buffer.alloc(0) })) : shown,
      more: shown.length < rows.length,
      count,
    };
  }

  /** Puts at `revision`, which is that of the whole transaction. @returns the lease that the key had */
  put(
    put: { readonly key: Buffer; readonly value: Buffer; readonly lease: bigint },
    revision: number,
  ): bigint {
    const key = put.key.toString('latin1');
    const previous = this.#rowAt(key, Infinity);
    const row: KvRow = {
      key: Buffer.from(put.key),
      value: Buffer.from(put.value),
      createRevision: previous?.createRevision ?? revision,
      modRevision: revision,
      version: (previous?.version ?? 0) + 1,
      lease: put.lease,
    };
    this.#add({ key, row, previous });
    return previous?.lease ?? 0n;
  }

  /** @returns the rows that were deleted */
  delete(range: Pick<RangeOf, 'key' | 'rangeEnd'>, revision: number): readonly KvRow[] {
    const deleted: KvRow[] = [];
    for (const key of this.#keysOf(spanOf(range))) {
      const previous = this.#rowAt(key, Infinity);
      if (previous === null) continue;
      deleted.push(previous);
      this.#add({ key, previous, row: tombstone(previous.key, revision) });
    }
    return deleted;
  }

  holds(compare: KvCompare): boolean {
    const row = this.#rowAt(compare.key.toString('latin1'), Infinity);
    if (row === null && compare.target === 'value') return false;
    const order = difference(compare, row ?? tombstone(compare.key, 0));
    switch (compare.result) {
      case 'equal':
        return order === 0;
      case 'not-equal':
        return order !== 0;
      case 'greater':
        return order > 0;
      case 'less':
        return order < 0;
    }
  }

  /** The changes of a range from a revision on: whole revisions, and as many as fill `eventsMax` at least. */
  changesFrom(
    range: Pick<RangeOf, 'key' | 'rangeEnd'>,
    { revision, eventsMax }: { readonly revision: number; readonly eventsMax: number },
  ): { readonly revision: number; readonly events: KvEvent[] } {
    const span = spanOf(range);
    const events: KvEvent[] = [];
    let at = lowerBound(this.#changes, (change) => change.row.modRevision < revision);
    for (; at < this.#changes.length; at += 1) {
      const { key, row, previous } = this.#changes[at]!;
      const last = events.at(-1)?.row.modRevision ?? row.modRevision;
      if (events.length >= eventsMax && row.modRevision !== last) {
        return { revision: row.modRevision - 1, events };
      }
      if (!within(span, key)) continue;
      const isKnown = row.modRevision > this.compactRevision;
      const type = row.version === 0 ? 'delete' : 'put';
      events.push({ type, row, previous: isKnown ? previous : null });
    }
    return { revision: this.revision, events };
  }

  /** Forgets what nobody who reads at `revision` or later can see. @throws KvError `compacted`, `future-revision` */
  compact(revision: number): void {
    if (revision <= this.compactRevision) throw this.compacted();
    this.#readable(revision);
    this.compactRevision = revision;
    const firstKept = lowerBound(this.#changes, (change) => change.row.modRevision < revision);
    this.#changes = this.#changes.slice(firstKept).filter((change) => !this.#isGone(change.row));
    for (const [key, rows] of this.#rows) {
      const newest = lowerBound(rows, (row) => row.modRevision <= revision) - 1;
      const kept = rows.slice(Math.max(0, newest)).filter((row) => !this.#isGone(row));
      if (kept.length > 0) this.#rows.set(key, kept);
      else this.#rows.delete(key);
    }
    this.#keys = this.#keys.filter((key) => this.#rows.has(key));
  }

  /** Why what lies before the compaction cannot be read. */
  compacted(): KvError {
    return new KvError('compacted', 'revision has been compacted', { compactRevision: this.compactRevision });
  }

  /** A deletion goes with what it deleted; one at the very revision is still told by a watch from there. */
  #isGone(row: KvRow): boolean {
    return row.version === 0 && row.modRevision < this.compactRevision;
  }

  #readable(revision: number): number {
    if (revision <= 0) return Infinity;
    if (revision > this.revision) throw new KvError('future-revision', 'revision is a future revision');
    if (revision < this.compactRevision) throw this.compacted();
    return revision;
  }

  #add(change: Change): void {
    const rows = this.#rows.get(change.key);
    if (rows === undefined) {
      this.#rows.set(change.key, [change.row]);
      this.#keys.splice(this.#indexOf(change.key), 0, change.key);
    } else {
      rows.push(change.row);
    }
    this.#changes.push(change);
  }

  #rowAt(key: string, revision: number): KvRow | null {
    const rows = this.#rows.get(key) ?? [];
    const row = rows[lowerBound(rows, (each) => each.modRevision <= revision) - 1];
    return row === undefined || row.version === 0 ? null : row;
  }

  #keysOf({ key, end }: Span): readonly string[] {
    const last = end === null ? this.#keys.length : this.#indexOf(end);
    return this.#keys.slice(this.#indexOf(key), last);
  }

  #indexOf(key: string): number {
    return lowerBound(this.#keys, (each) => each < key);
  }
}

function spanOf({ key, rangeEnd }: Pick<RangeOf, 'key' | 'rangeEnd'>): Span {
  const from = key.toString('latin1');
  if (rangeEnd === undefined || rangeEnd.length === 0) return { key: from, end: `${from}\0` };
  return { key: from, end: rangeEnd.length === 1 && rangeEnd[0] === 0 ? null : rangeEnd.toString('latin1') };
}

function within({ key, end }: Span, candidate: string): boolean {
  return candidate >= key && (end === null || candidate < end);
}

function tombstone(key: Buffer, modRevision: number): KvRow {
  return { key, value: Buffer.alloc(0), createRevision: 0, modRevision, version: 0, lease: 0n };
}

/** How the row stands to what it is compared with: below, at or above 0. */
function difference(compare: KvCompare, row: KvRow): number {
  switch (compare.target) {
    case 'value':
      return Buffer.compare(row.value, compare.value);
    case 'lease':
      return row.lease < compare.lease ? -1 : Number(row.lease > compare.lease);
    case 'version':
      return row.version - compare.number;
    case 'create':
      return row.createRevision - compare.number;
    case 'mod':
      return row.modRevision - compare.number;
  }
}

/** How many of the first items the condition holds for; it must hold for none behind them. */
function lowerBound<T>(items: readonly T[], isBefore: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}
