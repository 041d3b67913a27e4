import type { AlarmKind } from './command.ts';
import type { AlarmRecord } from './outcome.ts';
import type { TableRow } from './state.ts';
import type { TableChanges } from './table-changes.ts';
import { alarmRow, readAlarmRow, removalOf } from './table-rows.ts';

/** Alarms at a time; beyond it only members' own are raised, not those of ids that somebody made up. */
export const ALARMS_MAX = 1_000;

/**
 * The raised alarms: replicated, so that all members refuse the same requests (RELIABILITY K12). The member named
 * in one is who raised it and need not exist.
 */
export class AlarmTable {
  readonly #changes: TableChanges;
  readonly #raised = new Map<string, AlarmRecord>();
  readonly #countOf = new Map<AlarmKind, number>();

  constructor(changes: TableChanges) {
    this.#changes = changes;
  }

  /** Whether any member raised it. */
  active(alarm: AlarmKind): boolean {
    return (this.#countOf.get(alarm) ?? 0) > 0;
  }

  get size(): number {
    return this.#raised.size;
  }

  /** By member, then kind. */
  list(): readonly AlarmRecord[] {
    return [...this.#raised.values()].sort((a, b) => a.member - b.member || (a.alarm < b.alarm ? -1 : 1));
  }

  /** Raising a raised alarm changes nothing. */
  activate(record: AlarmRecord): void {
    if (this.#raised.has(nameOf(record))) return;
    this.#raise(record);
    this.#changes.change(null, alarmRow(record));
  }

  /** Returns false when it was not raised. */
  deactivate(record: AlarmRecord): boolean {
    if (!this.#raised.delete(nameOf(record))) return false;
    this.#count(record, -1);
    const row = alarmRow(record);
    this.#changes.change(row, removalOf(row));
    return true;
  }

  rows(): readonly TableRow[] {
    return this.list().map(alarmRow);
  }

  /** @throws MalformedError */
  restore(row: TableRow): void {
    this.#raise(readAlarmRow(row));
  }

  clear(): void {
    this.#raised.clear();
    this.#countOf.clear();
  }

  #raise(record: AlarmRecord): void {
    if (!this.#raised.has(nameOf(record))) this.#count(record, 1);
    this.#raised.set(nameOf(record), record);
  }

  #count({ alarm }: AlarmRecord, change: number): void {
    this.#countOf.set(alarm, (this.#countOf.get(alarm) ?? 0) + change);
  }
}

function nameOf({ member, alarm }: AlarmRecord): string {
  return `${member}/${alarm}`;
}
