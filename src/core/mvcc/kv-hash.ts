import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { isDropped } from './compaction.ts';
import { chainHash, rowHash } from './hash.ts';
import type { History } from './history.ts';
import type { ReadableRevisions } from './range.ts';

/** A hash over the rows live at (`revision`, `compactRevision`); comparable only where both are equal. */
export interface KvHash {
  /** Unsigned 32-bit. */
  readonly hash: number;
  readonly revision: number;
  readonly compactRevision: number;
}

/** See `Store.hashKv`. */
export function* kvHash(
  history: History,
  revisions: ReadableRevisions,
  options: { readonly revision: number; readonly rowsPerSlice: number },
): Generator<void, KvHash> {
  assert(options.rowsPerSlice > 0, 'a hash in slices of no rows');
  const revision = options.revision <= 0 ? revisions.currentRevision : options.revision;
  if (revision > revisions.currentRevision) throw new StoreError('future-revision');
  for (;;) {
    const { compactRevision } = revisions;
    if (revision < compactRevision) throw new StoreError('compacted');
    const range = { compactRevision, revision };
    let slice: Slice = { hash: 0, main: 0, sub: 0, done: false };
    while (!slice.done && revisions.compactRevision === compactRevision) {
      slice = hashSlice(history, range, slice, options.rowsPerSlice);
      if (!slice.done) yield;
    }
    // A compaction in between may have dropped rows that this pass had still to read: start over with it.
    if (slice.done) return { hash: slice.hash, revision, compactRevision };
  }
}

interface Slice {
  readonly hash: number;
  /** The first row not hashed yet. */
  readonly main: number;
  readonly sub: number;
  readonly done: boolean;
}

function hashSlice(
  history: History,
  range: { readonly revision: number; readonly compactRevision: number },
  from: Slice,
  rowsMax: number,
): Slice {
  const { table } = history;
  let { hash } = from;
  let next: Slice | null = null;
  let rows = 0;
  history.log.visit(from, (slot) => {
    if (table.main(slot) > range.revision) return false;
    if (rows++ === rowsMax) {
      next = { hash, main: table.main(slot), sub: table.sub(slot), done: false };
      return false;
    }
    if (isLive(history, slot, range.compactRevision)) hash = chainHash(hash, rowHash(history.read(slot)));
    return true;
  });
  return next ?? { hash, main: 0, sub: 0, done: true };
}

/** The tombstone at the compact revision does not count, as in etcd, where not every version keeps it. */
function isLive(history: History, slot: number, compactRevision: number): boolean {
  if (isDropped(history, slot, compactRevision)) return false;
  return !(history.table.isTombstone(slot) && history.table.main(slot) === compactRevision);
}
