import type { AlarmKind } from './command.ts';
import type { AlarmRecord } from './outcome.ts';
import type { TableRow } from './state.ts';
import type { TableChanges } from './table-changes.ts';
import { alarmRow, readAlarmRow, removalOf } from './table-rows.ts';

/**
 * The raised alarms: replicated, so that all members refuse the same requests (RELIABILITY K12). The member named
 * in one is who raised it and need not exist.
 */
export class AlarmTable {
  readonly #changes: TableChanges;
  readonly #raised = new Map<string, AlarmRecord>();

  constructor(changes: TableChanges) {
    this.#changes = changes;
  }

  /** Whether any member raised it. */
  active(alarm: AlarmKind): boolean {
    if (this.#raised.size === 0) return false;
    return [...this.#raised.values()].some((record) => record.alarm === alarm);
  }

  /** By member, then kind. */
  list(): readonly AlarmRecord[] {
    return [...this.#raised.values()].sort((a, b) => a.member - b.member || (a.alarm < b.alarm ? -1 : 1));
  }

  /** Raising a raised alarm changes nothing. */
  activate(record: AlarmRecord): void {
    if (this.#raised.has(nameOf(record))) return;
    this.#raised.set(nameOf(record), record);
    this.#changes.change(null, alarmRow(record));
  }

  /** Returns false when it was not raised. */
  deactivate(record: AlarmRecord): boolean {
    if (!this.#raised.delete(nameOf(record))) return false;
    const row = alarmRow(record);
    this.#changes.change(row, removalOf(row));
    return true;
  }

  rows(): readonly TableRow[] {
    return this.list().map(alarmRow);
  }

  /** @throws MalformedError */
  restore(row: TableRow): void {
    const record = readAlarmRow(row);
    this.#raised.set(nameOf(record), record);
  }

  clear(): void {
    this.#raised.clear();
  }
}

function nameOf({ member, alarm }: AlarmRecord): string {
  return `${member}/${alarm}`;
}
