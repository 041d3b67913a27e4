import { assert } from '../../lib/assert.ts';
import { addHash, EMPTY_SET_HASH } from './hash.ts';
import type { History } from './history.ts';
import type { Revision } from './row.ts';
import { NIL } from './row-table.ts';

/**
 * Finds what the compaction at one revision drops, in slices, while writes go on. Per key the newest row at or below
 * the revision stays if it is a put, or if it is a tombstone exactly at the revision (a watch from there must still
 * see the delete); everything older goes. Rows that come in between are above the revision and stay.
 *
 * It walks in revision order, so that a key's rows always go from the oldest on.
 */
export class CompactionWalk {
  readonly revision: number;
  readonly #history: History;
  #nextPage: number | null = 0;
  #rows = 0;
  #bytes = 0;
  #hash = EMPTY_SET_HASH;

  constructor(history: History, revision: number) {
    this.#history = history;
    this.revision = revision;
  }

  get done(): boolean {
    return this.#nextPage === null;
  }

  /** Drops what it finds among about the next `rowsMax` rows, and returns it in revision order. */
  step(rowsMax: number): Revision[] {
    assert(this.#nextPage !== null, 'a step of a finished compaction');
    assert(rowsMax > 0, 'a compaction step over no rows');
    const dropped: Revision[] = [];
    const position = { fromPage: this.#nextPage, main: this.revision, rowsMax };
    this.#nextPage = this.#history.log.compact(position, (slot) => {
      if (!isDropped(this.#history, slot, this.revision)) return true;
      dropped.push(this.#drop(slot));
      return false;
    });
    return dropped;
  }

  /** Takes everything dropped out of the totals, at once: until then they are those of the last compaction. */
  settle(): void {
    assert(this.done, 'an unfinished compaction settled');
    this.#history.settle({ rows: this.#rows, bytes: this.#bytes, hash: this.#hash });
  }

  #drop(slot: number): Revision {
    const { table } = this.#history;
    const revision = { main: table.main(slot), sub: table.sub(slot) };
    this.#rows++;
    this.#hash = addHash(this.#hash, table.hash(slot));
    this.#bytes += this.#history.drop(slot);
    return revision;
  }
}

/** Whether the compaction at `main` drops this row, given the rows that are there now. */
export function isDropped(history: History, slot: number, main: number): boolean {
  const { table } = history;
  const newer = table.newer(slot);
  if (newer !== NIL && table.main(newer) <= main) return true;
  return table.isTombstone(slot) && table.main(slot) < main;
}
