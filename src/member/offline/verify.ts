import type { StateMarker } from '../../core/state.ts';
import { StateMachine } from '../../core/state-machine.ts';
import { StoreError } from '../../lib/errors.ts';
import {
  type Identity,
  LOG_DIRECTORY,
  readActive,
  readIdentity,
  readQuarantine,
  unfinishedRestore,
} from '../storage/data-dir.ts';
import { recoverState } from '../storage/recovery.ts';
import { inspectLog, type LogInspection } from '../storage/wal-inspect.ts';
import { systemClock } from '../system.ts';
import type { OfflinePorts } from './ports.ts';

/** What lies in a data directory. A part that could not be read is null, and `problems` says why. */
export interface DataDirectoryReport {
  readonly identity: Identity | null;
  readonly log: Extract<LogInspection, { readonly ok: true }> | null;
  readonly state: StateReport | null;
  /** Why a member must not run on it; empty when it may. */
  readonly problems: readonly string[];
}
export interface StateReport {
  readonly name: string;
  /** As of the last durable barrier: where a start begins before it redoes the log. */
  readonly marker: StateMarker;
  readonly keys: number;
  readonly leases: number;
  readonly memberCount: number;
}

/**
 * Reads everything in the data directory of a member that does not run, and checks what a start would check: every
 * checksum, the hashes over all rows, and that log and state belong together. Opening the state makes LevelDB tidy
 * its own files; nothing that was stored changes.
 *
 * @throws StoreError `data-dir-in-use` while a member runs on it, `storage` when the disk does not answer
 */
export async function verifyDataDirectory(ports: OfflinePorts): Promise<DataDirectoryReport> {
  const { disk } = ports;
  const problems: string[] = [];
  const unfinished = await unfinishedRestore(disk);
  if (unfinished !== null) return { identity: null, log: null, state: null, problems: [unfinished] };
  const identity = await noting(problems, async () => readIdentity(disk));
  if (identity === null && problems.length === 0) {
    problems.push(`${disk.root} holds no member's data (there is no IDENTITY)`);
    return { identity, log: null, state: null, problems };
  }
  const quarantine = await noting(problems, async () => readQuarantine(disk));
  if (quarantine !== null) problems.push(`a start has found it damaged before: ${quarantine}`);
  const state = await noting(problems, async () => readState(ports));
  const inspected = await inspectLog({ disk, directory: LOG_DIRECTORY });
  if (!inspected.ok) problems.push(inspected.problem);
  const log = inspected.ok ? inspected : null;
  if (log !== null && state !== null) problems.push(...mismatches(log, state));
  return { identity, log, state: state?.report ?? null, problems };
}

interface ReadState {
  readonly report: StateReport;
  readonly newestAppliedIndex: number;
}

async function readState({ disk, levels }: OfflinePorts): Promise<ReadState> {
  const name = await readActive(disk);
  if (name === null) throw new StoreError('data-dir-corrupt', 'ACTIVE is missing');
  const machine = new StateMachine({
    source: { row: () => undefined },
    cacheBytesMax: 0,
    bootstrapMembers: [],
  });
  const onFatal = (error: Error): void => {
    throw error;
  };
  const options = { name, levels, disk, clock: systemClock, onFatal };
  const { store, marker, newestAppliedIndex } = await recoverState(options, machine);
  await store.close();
  const { lessor, members } = machine;
  const report = {
    name,
    marker,
    keys: machine.store.keyCount,
    leases: lessor.list().length,
    memberCount: members.list().length,
  };
  return { report, newestAppliedIndex };
}

/** The checks between log and state that a start makes. */
function mismatches(log: Extract<LogInspection, { readonly ok: true }>, state: ReadState): readonly string[] {
  const { compacted, entries, snapshot } = log.recovered;
  const { name, marker } = state.report;
  // The log took a newer state over, and the crash came before ACTIVE said so: a start turns to that one.
  if (snapshot !== null && snapshot.stateName !== name && snapshot.index > marker.appliedIndex) return [];
  const lastIndex = entries.at(-1)?.index ?? compacted.index;
  const problems: string[] = [];
  if (compacted.index > marker.appliedIndex) {
    problems.push(`the log begins after ${compacted.index}, but the state ends at ${marker.appliedIndex}`);
  }
  if (lastIndex < state.newestAppliedIndex) {
    problems.push(`the log ends at ${lastIndex}, but the state had applied ${state.newestAppliedIndex}`);
  }
  return problems;
}

/** Notes damage as a problem; a directory in use or a disk that fails is the caller's. */
async function noting<T>(problems: string[], read: () => Promise<T | null>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.code !== 'data-dir-corrupt' && error.code !== 'data-dir-foreign') throw error;
    problems.push(error.message);
    return null;
  }
}
