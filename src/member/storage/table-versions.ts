import type { TableRow } from '../../core/state.ts';
import { assert } from '../../lib/assert.ts';
import { tableKey } from './schema.ts';

interface Version {
  readonly appliedIndex: number;
  readonly removed: boolean;
}
interface Identity {
  readonly row: Pick<TableRow, 'table' | 'id'>;
  /** Ascending by applied index, usually one. */
  readonly versions: Version[];
}

/**
 * Which versions of small-table rows lie on disk, so that superseded ones can be deleted without searching for
 * them. Versions above the last barrier that a crash left behind are listed too.
 */
export class TableVersions {
  readonly #identities = new Map<string, Identity>();
  /** Identities that may have garbage: several versions, or a removal. */
  readonly #candidates = new Set<string>();

  add(row: TableRow, appliedIndex: number): void {
    const name = nameOf(row);
    let identity = this.#identities.get(name);
    if (identity === undefined) {
      identity = { row: { table: row.table, id: row.id }, versions: [] };
      this.#identities.set(name, identity);
    }
    const { versions } = identity;
    let position = versions.length;
    while (position > 0 && (versions[position - 1]?.appliedIndex ?? 0) >= appliedIndex) position -= 1;
    const replaced = versions[position]?.appliedIndex === appliedIndex ? 1 : 0;
    versions.splice(position, replaced, { appliedIndex, removed: row.value === null });
    if (versions.length > 1 || row.value === null) this.#candidates.add(name);
  }

  /**
   * Takes the keys that recovery to `appliedIndex` or later no longer needs, and forgets them. They are to be
   * deleted in this order: were a removal gone and an older version still there, the row would come back.
   */
  takeGarbage(appliedIndex: number): Buffer[] {
    const keys: Buffer[] = [];
    for (const name of this.#candidates) {
      const identity = this.#identities.get(name);
      assert(identity !== undefined, 'candidates have versions');
      const newest = identity.versions.findLastIndex((version) => version.appliedIndex <= appliedIndex);
      if (newest < 0) continue;
      const superseded = identity.versions.splice(0, newest);
      for (const version of superseded) keys.push(keyOf(identity, version));
      const [only] = identity.versions;
      if (only === undefined || identity.versions.length > 1) continue;
      this.#candidates.delete(name);
      if (!only.removed) continue;
      keys.push(keyOf(identity, only));
      this.#identities.delete(name);
    }
    return keys;
  }
}

function keyOf({ row }: Identity, { appliedIndex }: Version): Buffer {
  return tableKey({ table: row.table, id: row.id, appliedIndex });
}

function nameOf(row: Pick<TableRow, 'table' | 'id'>): string {
  return `${row.table}:${row.id.toString('latin1')}`;
}
