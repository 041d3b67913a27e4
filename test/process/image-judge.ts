import { changedConf } from '../../src/core/raft/conf-change.ts';
import type { Entry } from '../../src/core/raft/messages.ts';
import type { StateMarker } from '../../src/core/state.ts';
import type { StateMachine } from '../../src/core/state-machine.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type BootedData, bootFromDisk } from '../../src/member/boot.ts';
import type { MemberOptions, MemberPorts } from '../../src/member/member-options.ts';
import { offlinePorts } from '../../src/member/offline/ports.ts';
import { verifyDataDirectory } from '../../src/member/offline/verify.ts';
import { openReplica } from '../../src/member/replica.ts';
import { LOG_DIRECTORY, readIdentity } from '../../src/member/storage/data-dir.ts';
import { inspectLog, type LogInspection } from '../../src/member/storage/wal-inspect.ts';
import { systemClock } from '../../src/member/system.ts';
import { TcpTransport } from '../../src/member/transport/transport.ts';
import { type CrashJournal, positionOf } from './crash-journal.ts';

const COMPACTION_ROWS_PER_SLICE = 2_000;
const CACHE_BYTES_MAX = 64 * 1024 * 1024;
const SEGMENT_BYTES = 16 * 1024;

export type InspectedLog = Extract<LogInspection, { readonly ok: true }>;

/** What an image has to hold. */
export interface Claims {
  /** The log when nothing is lost, and when everything is lost that was not synced. */
  readonly full: InspectedLog;
  readonly least: InspectedLog;
  readonly journal: CrashJournal;
  /** The newest revision that a client had been told of. */
  readonly acknowledgedRevision: number;
  /** The only member: whatever is in its log is committed. */
  readonly isAlone: boolean;
}

/** What recovering one image amounted to. */
export interface ImageVerdict {
  readonly problems: readonly string[];
  readonly torn: boolean;
  readonly entriesReplayed: number;
  /** States that were compared with what the process itself had written down. */
  readonly markersCompared: number;
}

/** @throws Error when the log is damaged */
export async function inspectImage(dataDir: string): Promise<InspectedLog> {
  const inspected = await inspectLog({ disk: offlinePorts(dataDir).disk, directory: LOG_DIRECTORY });
  if (!inspected.ok) throw new Error(inspected.problem);
  return inspected;
}

/** Recovers an image as a start would, redoes its log on the real stores, and says what is wrong. */
export async function judgeImage(dataDir: string, claims: Claims): Promise<ImageVerdict> {
  const report = await verifyDataDirectory(offlinePorts(dataDir));
  if (report.problems.length > 0 || report.log === null) {
    return { problems: report.problems, torn: false, entriesReplayed: 0, markersCompared: 0 };
  }
  const problems = logProblems(report.log, claims);
  const fatal: unknown[] = [];
  const ports = memberPorts(dataDir, (error) => fatal.push(error));
  const replicaOptions = { ...ports, cacheBytesMax: CACHE_BYTES_MAX, onFatal: ports.fatal };
  const identity = await readIdentity(ports.disk);
  const booted = await bootFromDisk(ports, OPTIONS, replicaOptions, identity!);
  try {
    if (booted.replica.marker.appliedIndex < claims.journal.barrier) {
      problems.push(
        `the state returns to ${booted.replica.marker.appliedIndex}, barrier ${claims.journal.barrier} was durable`,
      );
    }
    const redo = new Redo(booted, claims);
    problems.push(...redo.carryOut());
    const { machine, store } = booted.replica;
    if (machine.store.currentRevision < claims.acknowledgedRevision) {
      problems.push(
        `ends at revision ${machine.store.currentRevision}, ${claims.acknowledgedRevision} was acknowledged`,
      );
    }
    await store.barrier();
    const last = machine.marker();
    await booted.log.close();
    await store.close();
    const again = await openReplica(replicaOptions, store.name);
    problems.push(...differences('opened again', again.machine.marker(), last));
    await again.store.close();
    problems.push(...fatal.map(String));
    return { problems, torn: report.log.torn, entriesReplayed: redo.entries, markersCompared: redo.compared };
  } finally {
    await booted.log.close();
    await booted.replica.store.close();
  }
}

/** The log must go on from what is durable and hold nothing that was never written. */
function logProblems({ recovered }: InspectedLog, { full, least }: Claims): string[] {
  const problems: string[] = [];
  const { lastSeq } = recovered;
  if (lastSeq < least.recovered.lastSeq || lastSeq > full.recovered.lastSeq) {
    problems.push(
      `the log ends at record ${lastSeq}, not in ${least.recovered.lastSeq} to ${full.recovered.lastSeq}`,
    );
  }
  problems.push(
    ...missingEntries('synced', least.recovered.entries, recovered.entries, recovered.compacted.index),
  );
  problems.push(
    ...missingEntries('recovered', recovered.entries, full.recovered.entries, full.recovered.compacted.index),
  );
  const { hardState } = recovered;
  if (
    hardState.term < least.recovered.hardState.term ||
    hardState.commit < least.recovered.hardState.commit
  ) {
    problems.push(`the hard state ${JSON.stringify(hardState)} is older than what was synced`);
  }
  return problems;
}

function missingEntries(
  what: string,
  entries: readonly Entry[],
  all: readonly Entry[],
  releasedIndex: number,
): readonly string[] {
  const byIndex = new Map(all.map((entry) => [entry.index, entry]));
  return entries.flatMap(({ index, term, data }) => {
    if (index <= releasedIndex) return [];
    // Terms only rise in a log: with a later one up to here a new leader's entries have replaced this one.
    if (all.some((other) => other.index <= index && other.term > term)) return [];
    const found = byIndex.get(index);
    return found?.term === term && found.data.equals(data)
      ? []
      : [`${what} entry ${index} of term ${term} is not there`];
  });
}

/** Applies the log behind the barrier, and compares with what the process had made of the same entries. */
class Redo {
  entries = 0;
  compared = 0;
  readonly #booted: BootedData;
  readonly #journal: CrashJournal;
  readonly #isAlone: boolean;

  constructor(booted: BootedData, { journal, isAlone }: Claims) {
    this.#booted = booted;
    this.#journal = journal;
    this.#isAlone = isAlone;
  }

  carryOut(): readonly string[] {
    const { replica, raft } = this.#booted;
    const { machine, store } = replica;
    const problems = [...this.#compare(machine)];
    for (const entry of raft.entries) {
      if (entry.index <= raft.applied) continue;
      if (!this.#isAlone && entry.index > raft.hardState.commit) break;
      apply(machine, entry);
      this.entries += 1;
      const batch = machine.takeBatch();
      if (batch !== null) store.apply(batch);
      problems.push(...this.#compare(machine));
      while (machine.store.compactionPending) {
        store.discard(machine.store.compactionStep(COMPACTION_ROWS_PER_SLICE));
        const end = machine.takeBatch();
        if (end !== null) store.apply(end);
      }
      problems.push(...this.#compare(machine));
    }
    return problems;
  }

  #compare(machine: StateMachine): readonly string[] {
    const marker = machine.marker();
    const live = this.#journal.markers.get(positionOf(marker));
    if (live === undefined) return [];
    this.compared += 1;
    return differences('redone', marker, live);
  }
}

function apply(machine: StateMachine, entry: Entry): void {
  const { confChange } = machine.apply(entry);
  if (entry.kind !== 'conf-change') return;
  const conf =
    confChange === null || confChange === undefined ? null : changedConf(machine.confState, confChange);
  machine.confStateChanged(conf ?? machine.confState);
}

function differences(what: string, own: StateMarker, other: StateMarker): readonly string[] {
  const [left, right] = [own, other].map(describeMarker);
  return left === right ? [] : [`${what}: ${left}, was ${right}`];
}

function describeMarker(marker: StateMarker): string {
  const entries = Object.entries(marker).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(entries, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));
}

const OPTIONS: MemberOptions = {
  name: 'n1',
  peerUrls: [],
  clientUrls: [],
  initialCluster: [],
  initialClusterToken: '',
  initialClusterState: 'new',
  heartbeatMs: 100,
  electionMs: 1_000,
  snapshotCount: 100,
  catchUpEntries: 100,
  quotaBytes: Number.MAX_SAFE_INTEGER,
  cacheBytesMax: CACHE_BYTES_MAX,
  freeBytesMin: 0,
  ballastBytes: 0,
  autoCompaction: null,
  logSegmentBytes: SEGMENT_BYTES,
  forceNewCluster: false,
};

/** The real ones; the transport is never started. */
function memberPorts(dataDir: string, fatal: (error: unknown) => void): MemberPorts {
  const { disk, levels, random } = offlinePorts(dataDir);
  const logger = silentLogger;
  return {
    disk,
    levels,
    random,
    logger,
    clock: systemClock,
    transport: new TcpTransport({ listenUrls: [], clock: systemClock, random, logger }),
    observe: () => {
      throw new Error('nobody measures a recovery');
    },
    fatal,
  };
}
