import { compareRevisions, type Revision } from '../../core/mvcc/row.ts';
import { assert } from '../../lib/assert.ts';

/** Twelve bytes a revision: a compaction may drop millions. */
interface Group {
  readonly mains: Float64Array;
  readonly subs: Uint32Array;
  next: number;
  /** The compaction that a durable barrier's hash must reflect first; null until the next batch tells. */
  compactRevision: number | null;
}

/**
 * Rows that compactions dropped and that wait for their physical removal, first in, first out, ascending within a
 * group: of one key's rows the older ones always go first. Were a tombstone gone and an older put still there,
 * recovery would see that put as the key's newest row. The queue is bounded by the rows on disk.
 */
export class DiscardQueue {
  #groups: Group[] = [];

  add(revisions: readonly Revision[]): void {
    if (revisions.length === 0) return;
    const sorted = revisions.toSorted(compareRevisions);
    this.#groups.push({
      mains: Float64Array.from(sorted, (revision) => revision.main),
      subs: Uint32Array.from(sorted, (revision) => revision.sub),
      next: 0,
      compactRevision: null,
    });
  }

  /**
   * A batch was applied whose marker knows every compaction that dropped what is queued so far. Not taken from
   * the batch before: the caller may hand over dropped rows ahead of the batch with the compaction itself.
   */
  batchApplied(compactRevision: number): void {
    for (let i = this.#groups.length - 1; i >= 0; i--) {
      const group = this.#groups[i];
      assert(group !== undefined, 'the queue has no gaps');
      if (group.compactRevision !== null) return;
      group.compactRevision = compactRevision;
    }
  }

  /** Takes up to `max` revisions whose removal no recovery to a barrier at `hashCompactRevision` would notice. */
  take({ max, hashCompactRevision }: { max: number; hashCompactRevision: number }): Revision[] {
    const taken: Revision[] = [];
    while (taken.length < max) {
      const group = this.#groups[0];
      if (group === undefined) break;
      if (group.compactRevision === null || group.compactRevision > hashCompactRevision) break;
      const end = Math.min(group.mains.length, group.next + max - taken.length);
      for (; group.next < end; group.next++) {
        taken.push({ main: group.mains[group.next]!, sub: group.subs[group.next]! });
      }
      if (group.next === group.mains.length) this.#groups.shift();
    }
    return taken;
  }
}
