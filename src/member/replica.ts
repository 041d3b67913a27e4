import type { MemberRecord } from '../core/command.ts';
import type { StateMarker } from '../core/state.ts';
import { StateMachine } from '../core/state-machine.ts';
import { assert } from '../lib/assert.ts';
import type { Clock, Disk, LevelOpener } from './ports.ts';
import { recoverState } from './storage/recovery.ts';
import { createStateStore, type LevelStateStore } from './storage/state-store.ts';

/** What replicas are made from. */
export interface ReplicaOptions {
  readonly disk: Disk;
  readonly levels: LevelOpener;
  readonly clock: Clock;
  /** Budget of rows kept in memory, in bytes. */
  readonly cacheBytesMax: number;
  /** The state's disk failed: the process must stop. */
  readonly onFatal: (error: unknown) => void;
}

/** The replicated state of a member: in memory, and on its disk. A snapshot replaces it whole. */
export interface Replica {
  readonly machine: StateMachine;
  readonly store: LevelStateStore;
}

export interface OpenedReplica extends Replica {
  /** What was recovered: the state at the last durable barrier. */
  readonly marker: StateMarker;
  /** The newest applied index found on disk; the log must reach at least that far. */
  readonly newestAppliedIndex: number;
}

/**
 * Makes the state directory `name` of a member that has none: the bootstrap members at index 1, term 1, which every
 * bootstrap member makes alike, or nothing at index 0 for a member that joins.
 */
export async function createReplica(
  options: ReplicaOptions,
  state: { readonly name: string; readonly bootstrapMembers: readonly MemberRecord[] },
): Promise<StateMarker> {
  const { bootstrapMembers } = state;
  const machine = new StateMachine({ source: { row: () => undefined }, cacheBytesMax: 0, bootstrapMembers });
  const position = bootstrapMembers.length === 0 ? 0 : 1;
  const marker = { ...machine.marker(), appliedIndex: position, appliedTerm: position };
  const rows = { rows: [], tables: machine.tableRows(), marker };
  const store = await createStateStore({ ...options, name: state.name }, rows);
  await store.close();
  return marker;
}

/**
 * Opens the state directory `name` and rebuilds the state machine as of its last barrier, verified.
 *
 * @throws StoreError as `recoverState`
 */
export async function openReplica(options: ReplicaOptions, name: string): Promise<OpenedReplica> {
  let store: LevelStateStore | null = null;
  const machine = new StateMachine({
    source: {
      row(main, sub) {
        assert(store !== null, 'rows are read once the store is open');
        return store.row(main, sub);
      },
    },
    cacheBytesMax: options.cacheBytesMax,
    bootstrapMembers: [],
  });
  const recovered = await recoverState({ ...options, name }, machine);
  store = recovered.store;
  store.discard(machine.takeDroppedAtRestore());
  return { machine, store, marker: recovered.marker, newestAppliedIndex: recovered.newestAppliedIndex };
}
