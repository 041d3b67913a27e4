import type { Kv } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Projection } from '../projection.ts';
import { AuditColumns, AuditWords, PreparedFilter } from './audit-columns.ts';
import type { AuditFilter } from './audit-filter.ts';
import { type ChangeId, idsBefore, readStanding, type StoredChange } from './change-log.ts';

/** The newest changes that are found in memory; what is older is read from the store. */
export const INDEXED_CHANGES_MAX = 500_000;

/** Changes that are read together. */
const CHUNK = 500;

/** What a search found: newest first. */
export interface Found {
  readonly changes: readonly ChangeId[];
  /** Whether the search went through all that the index has. */
  readonly isExhausted: boolean;
  /** The index has everything that came after this revision. */
  readonly after: number;
}

/**
 * What the newest changes are found by, in memory: it hears of new ones from the projection, and reads older ones from
 * the store, newest first, while others already ask it.
 */
export class AuditIndex {
  readonly #kv: Kv;
  readonly #logger: Logger;
  readonly #max: number;
  readonly #stop = new AbortController();
  readonly #unsubscribe: () => void;
  #words = new AuditWords();
  /** In the order in which they were made. */
  #newer = new AuditColumns(this.#words);
  /** Those that were made before the first of `#newer`: newest first. */
  #older = new AuditColumns(this.#words);
  #after: number;
  #isFull = false;
  /** Counts the times that it began anew. */
  #generation = 0;
  #loading: Promise<void> | null = null;

  constructor(
    kv: Kv,
    {
      projection,
      logger,
      changesMax = INDEXED_CHANGES_MAX,
    }: { readonly projection: Projection; readonly logger: Logger; readonly changesMax?: number | undefined },
  ) {
    this.#kv = kv;
    this.#logger = logger;
    this.#max = changesMax;
    this.#after = projection.revision;
    this.#unsubscribe = projection.subscribe({
      changed: ({ revision, record }) => this.#add({ id: record.id, revision, record }),
      jumped: ({ revision }) => this.#beginAnew(revision),
    });
  }

  /** Reads what was made before, unless it is there or on its way; whoever asks meanwhile gets what there is. */
  async load(): Promise<void> {
    if (this.#after === 0 || this.#isFull) return;
    this.#loading ??= this.#tryLoad();
    await this.#loading;
  }

  /** Those before a revision that match, newest first. */
  search(filter: AuditFilter, { before, limit }: { readonly before: number; readonly limit: number }): Found {
    const prepared = new PreparedFilter(filter, this.#words);
    const changes: ChangeId[] = [];
    for (const [columns, index] of this.#before(before)) {
      if (changes.length === limit) return { changes, isExhausted: false, after: this.#after };
      if (columns.matches(index, prepared)) changes.push(columns.at(index));
    }
    return { changes, isExhausted: true, after: this.#after };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#unsubscribe();
    await this.#loading;
  }

  *#before(before: number): Generator<readonly [AuditColumns, number]> {
    for (let at = lowerBound(this.#newer, before) - 1; at >= 0; at -= 1) yield [this.#newer, at];
    for (let at = firstBelow(this.#older, before); at < this.#older.size; at += 1) yield [this.#older, at];
  }

  #add(change: StoredChange): void {
    this.#newer.add(change);
    const surplus = this.#newer.size + this.#older.size - this.#max;
    // The oldest leave many at a time.
    if (surplus > this.#max / 10) this.#forget(surplus);
  }

  #forget(count: number): void {
    this.#isFull = true;
    const older = Math.min(count, this.#older.size);
    const newer = count - older;
    this.#after =
      newer > 0 ? this.#newer.revisionAt(newer - 1) : this.#older.revisionAt(this.#older.size - older);
    this.#older.keep(0, this.#older.size - older);
    this.#newer.keep(newer, this.#newer.size);
  }

  #beginAnew(revision: number): void {
    this.#generation += 1;
    this.#words = new AuditWords();
    this.#newer = new AuditColumns(this.#words);
    this.#older = new AuditColumns(this.#words);
    this.#after = revision;
    this.#isFull = false;
  }

  async #tryLoad(): Promise<void> {
    try {
      await this.#load(this.#generation);
    } catch (error) {
      // The next question tries again.
      if (!this.#stop.signal.aborted)
        this.#logger.warn({ error: String(error) }, 'older changes are not in the index');
    } finally {
      this.#loading = null;
    }
  }

  async #load(generation: number): Promise<void> {
    const { signal } = this.#stop;
    for await (const ids of idsBefore(this.#kv, this.#after + 1, signal)) {
      for (let at = 0; at < ids.length; at += CHUNK) {
        const changes = await readStanding(this.#kv, ids.slice(at, at + CHUNK), signal);
        if (generation !== this.#generation || this.#isFull) return;
        for (const change of changes) {
          if (this.#newer.size + this.#older.size >= this.#max) {
            this.#isFull = true;
            return;
          }
          this.#older.add(change);
          this.#after = change.revision - 1;
        }
      }
    }
    if (generation === this.#generation && !this.#isFull) this.#after = 0;
  }
}

/** How many were made before the revision. */
function lowerBound(columns: AuditColumns, revision: number): number {
  let low = 0;
  let high = columns.size;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (columns.revisionAt(middle) < revision) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where those made before the revision begin, newest first. */
function firstBelow(columns: AuditColumns, revision: number): number {
  let low = 0;
  let high = columns.size;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (columns.revisionAt(middle) >= revision) low = middle + 1;
    else high = middle;
  }
  return low;
}
