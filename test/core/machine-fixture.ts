import { type Command, encodeCommand, type MemberRecord, type Operation } from '../../src/core/command.ts';
import { changedConf } from '../../src/core/raft/conf-change.ts';
import type { Entry } from '../../src/core/raft/messages.ts';
import type { StateBatch, StateMarker, TableRow } from '../../src/core/state.ts';
import { type Applied, type CommandResult, StateMachine } from '../../src/core/state-machine.ts';
import { MemorySource } from './mvcc/fixture.ts';

export function member(id: number, options: Partial<MemberRecord> = {}): MemberRecord {
  return { id, name: `m${id}`, peerUrls: [`http://m${id}:2380`], clientUrls: [], ...options };
}

export function command(operation: Operation, options: Partial<Command> = {}): Buffer {
  return encodeCommand({ id: null, user: '', authRevision: 0, operation, ...options });
}

/** Makes the entries of one log, without gaps. */
export class LogMaker {
  readonly entries: Entry[] = [];
  term = 1;

  add(operation: Operation | null, kind: Entry['kind'] = kindOf(operation)): Entry {
    const data = operation === null ? Buffer.alloc(0) : command(operation);
    const entry = { index: this.entries.length + 1, term: this.term, kind, data };
    this.entries.push(entry);
    return entry;
  }
}

function kindOf(operation: Operation | null): Entry['kind'] {
  const types: readonly string[] = ['member-add', 'member-promote', 'member-remove'];
  return operation !== null && types.includes(operation.type) ? 'conf-change' : 'normal';
}

/** A state machine on a memory disk, with a log of its own. */
export class MachineHarness {
  readonly disk = new MemorySource();
  readonly tables = new Map<string, TableRow>();
  readonly log = new LogMaker();
  readonly machine: StateMachine;
  durable: StateMarker | null = null;

  constructor(
    bootstrapMembers: readonly MemberRecord[] = [member(1), member(2), member(3)],
    options: { readonly leasesMax?: number } = {},
  ) {
    this.machine = new StateMachine({
      source: this.disk,
      cacheBytesMax: 4_096,
      bootstrapMembers,
      ...options,
    });
  }
  /** Applies one more entry as a member does, Raft's part included. */
  apply(operation: Operation | null, kind?: Entry['kind']): Applied {
    return this.replay(this.log.add(operation, kind));
  }
  replay(entry: Entry): Applied {
    const applied = this.machine.apply(entry);
    if (applied.confChange !== undefined && applied.confChange !== null) {
      const { confState } = this.machine;
      this.machine.confStateChanged(changedConf(confState, applied.confChange) ?? confState);
    }
    return applied;
  }
  ok(operation: Operation | null, kind?: Entry['kind']): CommandResult {
    const { outcome } = this.apply(operation, kind);
    if (!outcome.ok) throw new Error(`failed with ${outcome.code}`);
    return outcome.result;
  }
  /** The code of a failure, after making sure that nothing but the applied index moved. */
  refused(operation: Operation): string {
    const before = this.machine.marker();
    const rows = JSON.stringify(this.machine.tableRows());
    const { outcome, events, confChange } = this.apply(operation);
    if (outcome.ok) return 'ok';
    const after = this.machine.marker();
    const { appliedIndex, appliedTerm, applyHash } = after;
    const moved = { ...before, appliedIndex, appliedTerm, applyHash };
    if (JSON.stringify(moved) !== JSON.stringify(after)) throw new Error('a failure changed the state');
    if (rows !== JSON.stringify(this.machine.tableRows())) throw new Error('a failure changed a table');
    if (events.length > 0 || (confChange ?? null) !== null) throw new Error('a failure had effects');
    return outcome.code;
  }
  /** Hands what was written to the disk. */
  flush(): StateBatch | null {
    const batch = this.machine.takeBatch();
    if (batch === null) return null;
    this.disk.keep(batch.rows);
    for (const row of batch.tables) this.tables.set(`${row.table}/${row.id.toString('hex')}`, row);
    this.durable = batch.marker;
    return batch;
  }
  /** Collects what a compaction dropped, to the end. */
  collect(): void {
    this.flush();
    while (this.machine.store.compactionPending) this.disk.discard(this.machine.store.compactionStep(3));
    this.flush();
  }
  /** A member that starts on what this one's disk holds. */
  restart(): MachineHarness {
    const other = new MachineHarness();
    for (const row of this.disk.all()) {
      other.machine.row(row);
      other.disk.keep([row]);
    }
    for (const [name, row] of this.tables) {
      if (row.value === null) continue;
      other.machine.table(row);
      other.tables.set(name, row);
    }
    other.machine.finish(this.durable!);
    other.disk.discard(other.machine.takeDroppedAtRestore());
    other.durable = this.durable;
    return other;
  }
}
