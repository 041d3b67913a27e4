import type { StateMarker, TableRow } from '../../core/state.ts';
import { StateMachine } from '../../core/state-machine.ts';
import { TableChanges } from '../../core/table-changes.ts';
import { StoreError } from '../../lib/errors.ts';
import { type InitialCluster, type InitialMember, initialCluster } from '../identity.ts';
import { beginRestore, endRestore, LOG_DIRECTORY, writeActive, writeIdentity } from '../storage/data-dir.ts';
import { readSnapshotFile, type SnapshotFileSummary, StateWriter } from '../storage/snapshot-file.ts';
import { openLog } from '../storage/wal.ts';
import type { OfflinePorts } from './ports.ts';

export interface RestoreRequest {
  /** The backup's bytes from the beginning; called twice. */
  readonly open: () => AsyncIterable<Buffer>;
  readonly name: string;
  readonly initialCluster: readonly InitialMember[];
  readonly initialClusterToken: string;
  /** Added to the current revision, so that no client has seen a later one. */
  readonly bumpRevision: number;
  /** Makes all earlier revisions unreadable: watches that would miss what the backup does not know are cancelled. */
  readonly markCompacted: boolean;
  /** What the first segment of the log is preallocated to; default as in `openLog`. */
  readonly segmentBytes?: number;
}
export interface Restored {
  readonly clusterId: number;
  readonly memberId: number;
  readonly revision: number;
  readonly rowCount: number;
}

const STATE_NAME = 'state-1';
/** Where every restored cluster's log begins, as a bootstrapped one's does. */
const START = { index: 1, term: 1 } as const;

/**
 * Makes the data directory of one member of a new cluster from a backup. Run with the same file, token and initial
 * cluster for every member of it. The new cluster's and its members' ids depend on the file too: they are those of no
 * other cluster, and members made of different files refuse each other. Leases are kept, alarms are not.
 *
 * The directory exists and is empty. The file is read twice: everything in it is verified before anything is written. On failure the caller removes
 * what was written.
 *
 * @throws StoreError `data-dir-corrupt` when the file is damaged, `data-dir-foreign` when it is of a newer version,
 *   `bad-options` when the options contradict each other or the file, `storage`
 */
export async function restoreSnapshot(ports: OfflinePorts, request: RestoreRequest): Promise<Restored> {
  const { summary, tables } = await verify(request);
  const cluster = newCluster(request, summary);
  const self = cluster.members.find((member) => member.name === request.name);
  if (self === undefined)
    throw new StoreError('bad-options', `--initial-cluster does not name ${request.name}`);
  const bootstrap = bootstrapState(cluster);
  const kept = [
    ...bootstrap.tables,
    ...tables.filter((row) => row.table !== 'member' && row.table !== 'alarm'),
  ];
  const marker = startMarker(bootstrap.marker, { request, summary, tables: kept });
  await beginRestore(ports.disk);
  await writeState(ports, request, { marker, tables: kept });
  await writeLog(ports, marker, request);
  const { clusterId } = cluster;
  const identity = { clusterId, memberId: self.id, name: request.name, incarnation: 1, earlier: [] };
  await writeIdentity(ports.disk, identity);
  await endRestore(ports.disk);
  const { memberId } = identity;
  return { clusterId, memberId, revision: marker.currentRevision, rowCount: summary.rowCount };
}

interface Verified {
  readonly summary: SnapshotFileSummary;
  readonly tables: readonly TableRow[];
}

/** Reads the whole file into a state machine, which checks that it is the state that its marker describes. */
async function verify(request: RestoreRequest): Promise<Verified> {
  const machine = new StateMachine({
    source: { row: () => undefined },
    cacheBytesMax: 0,
    bootstrapMembers: [],
  });
  const tables: TableRow[] = [];
  const summary = await readSnapshotFile(request.open(), {
    header: () => {},
    table: ({ table, id, value }) => {
      tables.push({ table, id: Buffer.from(id), value: value === null ? null : Buffer.from(value) });
    },
    row: (row) => machine.row({ ...row, key: Buffer.from(row.key) }),
  });
  // The file has its tables first, a restore takes them last.
  for (const row of tables) machine.table(row);
  machine.finish(summary.marker);
  return { summary, tables };
}

function newCluster(request: RestoreRequest, summary: SnapshotFileSummary): InitialCluster {
  const token = `${request.initialClusterToken} restored from ${summary.sha256.toString('hex')}`;
  return initialCluster(token, request.initialCluster);
}

function bootstrapState({ members }: InitialCluster): {
  readonly marker: StateMarker;
  readonly tables: readonly TableRow[];
} {
  const bootstrapMembers = members.map(({ id, peerUrls }) => ({ id, name: '', peerUrls, clientUrls: [] }));
  const machine = new StateMachine({ source: { row: () => undefined }, cacheBytesMax: 0, bootstrapMembers });
  return { marker: machine.marker(), tables: machine.tableRows() };
}

/** The rows of the backup under the members of the new cluster, with the revision moved on. */
function startMarker(
  bootstrap: StateMarker,
  { request, summary, tables }: Verified & { readonly request: RestoreRequest },
): StateMarker {
  const { rowSetHash, rowCount, compactRevision, hashCompactRevision } = summary.marker;
  const currentRevision = summary.marker.currentRevision + request.bumpRevision;
  if (!Number.isSafeInteger(currentRevision)) {
    throw new StoreError('bad-options', `--bump-revision ${request.bumpRevision} leaves no revisions`);
  }
  const changes = new TableChanges();
  for (const row of tables) changes.restored(row);
  return {
    ...bootstrap,
    appliedIndex: START.index,
    appliedTerm: START.term,
    currentRevision,
    compactRevision: request.markCompacted ? currentRevision : compactRevision,
    // The rows are still those of the backup; the compaction is carried out once the member runs.
    hashCompactRevision,
    rowSetHash,
    rowCount,
    tableSetHash: changes.hash,
  };
}

async function writeState(
  { disk, levels }: OfflinePorts,
  request: RestoreRequest,
  state: { readonly marker: StateMarker; readonly tables: readonly TableRow[] },
): Promise<void> {
  const writer = await StateWriter.create({ disk, levels, name: STATE_NAME });
  try {
    writer.begin(START.index);
    for (const row of state.tables) writer.table(row);
    const receiver = { header: () => {}, table: () => {}, row: writer.row.bind(writer) };
    await readSnapshotFile(paced(request.open(), writer), receiver);
    await writer.finish(state.marker);
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  await writeActive(disk, STATE_NAME);
}

/** Lets the writer's memory drain before more is read. */
async function* paced(chunks: AsyncIterable<Buffer>, writer: StateWriter): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    yield chunk;
    await writer.drained();
  }
}

async function writeLog(
  { disk, random }: OfflinePorts,
  { confState }: StateMarker,
  { segmentBytes }: RestoreRequest,
): Promise<void> {
  const { log } = await openLog({
    disk,
    directory: LOG_DIRECTORY,
    create: true,
    incarnation: 1,
    random,
    ...(segmentBytes !== undefined && { segmentBytes }),
  });
  const { index, term } = START;
  try {
    await log.append({
      hardState: { term, vote: 0, commit: index },
      entries: [],
      snapshot: { index, term, confState, stateName: STATE_NAME },
      sync: true,
    });
  } finally {
    await log.close();
  }
}
