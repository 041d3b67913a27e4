import type { Row, SetHash } from './mvcc/row.ts';
import type { ConfState } from './raft/messages.ts';

/**
 * What the replicated state machine hands to a disk, and gets back from it. Rows and small-table rows are
 * written once; the marker says which applied index a batch brings the state to.
 */

/** A small replicated table, kept whole in memory. One letter on disk each; letters are never reused. */
export type TableName = 'lease' | 'member' | 'alarm' | 'auth' | 'meta';

/** The newest version of one id of a small table, or its removal (`value` null). */
export interface TableRow {
  readonly table: TableName;
  readonly id: Buffer;
  readonly value: Buffer | null;
}

/** The state's identity at an applied index. Equal on every member at equal index, the two `hash*` pairs aside. */
export interface StateMarker {
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly currentRevision: number;
  /** The logical compaction: reads below it fail. 0 or below = never compacted. */
  readonly compactRevision: number;
  /** The compaction whose dropped rows `rowSetHash` and `rowCount` no longer count; <= compactRevision. */
  readonly hashCompactRevision: number;
  readonly confState: ConfState;
  /** Running hash over (index, term, command, outcome) of everything applied. */
  readonly applyHash: SetHash;
  readonly rowSetHash: SetHash;
  readonly rowCount: number;
  /** Set hash over the newest row of every small table. */
  readonly tableSetHash: SetHash;
}

/** One atomic batch for the state store. */
export interface StateBatch {
  readonly rows: readonly Row[];
  readonly tables: readonly TableRow[];
  readonly marker: StateMarker;
}
