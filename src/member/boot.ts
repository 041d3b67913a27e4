import type { MemberRecord } from '../core/command.ts';
import type { HardState, MemberId } from '../core/raft/messages.ts';
import type { RaftInitialState } from '../core/raft/raw-node.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import { confirmNeverMet, findOwnPlace } from './bootstrap.ts';
import { initialCluster } from './identity.ts';
import type { MemberOptions, MemberPorts } from './member-options.ts';
import { createReplica, type OpenedReplica, openReplica, type ReplicaOptions } from './replica.ts';
import {
  dropBallast,
  ensureBallast,
  type Identity,
  LOG_DIRECTORY,
  nextIncarnation,
  readActive,
  readIdentity,
  readQuarantine,
  unfinishedRestore,
  writeActive,
  writeIdentity,
  writeQuarantine,
} from './storage/data-dir.ts';
import { type OpenedLog, openLog, type WriteAheadLog } from './storage/wal.ts';

/** Everything a member's disk gave, ready to run. */
export interface BootedData {
  readonly identity: Identity;
  readonly log: WriteAheadLog;
  readonly replica: OpenedReplica;
  readonly raft: RaftInitialState;
  /** The last sequence number that the log held after a torn record was cut, or null when none was. */
  readonly cutAfterSeq: number | null;
}

/** Names of state directories: `state-1` first, then counted up with each installed snapshot. */
export const FIRST_STATE = 'state-1';

/**
 * Opens an existing data directory.
 *
 * @throws StoreError `data-dir-corrupt` (the directory is quarantined), `data-dir-foreign`, `data-dir-in-use`
 */
export async function bootFromDisk(
  ports: MemberPorts,
  options: MemberOptions,
  replicaOptions: ReplicaOptions,
  identity: Identity,
): Promise<BootedData> {
  const { disk } = ports;
  const quarantine = await readQuarantine(disk);
  if (quarantine !== null) {
    throw new StoreError(
      'data-dir-corrupt',
      `${disk.root} was found damaged before (${quarantine}): replace the member`,
    );
  }
  if (await dropBallast(disk, options))
    ports.logger.warn({}, 'the disk is nearly full: gave the ballast file up');
  try {
    const active = await readActive(disk);
    if (active === null) throw new StoreError('data-dir-corrupt', 'ACTIVE is missing');
    // The state is opened first: its lock keeps a second process out before anything is written.
    const opened = await openActiveState(ports, replicaOptions, { options, active, identity });
    await ensureBallast(disk, { freeBytesMin: options.freeBytesMin, sizeBytes: options.ballastBytes });
    return opened;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'data-dir-corrupt')
      await writeQuarantine(disk, error.message);
    throw error;
  }
}

async function openActiveState(
  ports: MemberPorts,
  replicaOptions: ReplicaOptions,
  found: { readonly options: MemberOptions; readonly active: string; readonly identity: Identity },
): Promise<BootedData> {
  const { disk, random } = ports;
  const { options, active, identity } = found;
  let replica = await openReplica(replicaOptions, active);
  const next = await nextIncarnation(disk, identity, random);
  const opened = await openLog({
    disk,
    directory: LOG_DIRECTORY,
    create: false,
    incarnation: next.incarnation,
    random,
    ...segmentSize(options),
  });
  const { snapshot } = opened.recovered;
  if (snapshot !== null && snapshot.stateName !== active && snapshot.index > replica.marker.appliedIndex) {
    // The log had taken an installed state over; the crash came before ACTIVE said so.
    await replica.store.close();
    replica = await openReplica(replicaOptions, snapshot.stateName);
    await writeActive(disk, snapshot.stateName);
  }
  await removeOtherStates(ports, replica.store.name);
  const raft = initialRaftState(opened, replica);
  const cutAfterSeq = opened.recovered.droppedTail ? opened.recovered.lastSeq : null;
  return { identity: next, log: opened.log, replica, raft, cutAfterSeq };
}

/**
 * Recovery's cross-checks, and Raft's start: applied is the barrier, commit at least that.
 *
 * @throws StoreError `data-dir-corrupt` when log and state do not belong together
 */
function initialRaftState({ recovered }: OpenedLog, replica: OpenedReplica): RaftInitialState {
  const { marker, newestAppliedIndex } = replica;
  const { compacted, entries } = recovered;
  const lastIndex = entries.at(-1)?.index ?? compacted.index;
  if (compacted.index > marker.appliedIndex) {
    throw new StoreError(
      'data-dir-corrupt',
      `the log begins after ${compacted.index}, the state ends at ${marker.appliedIndex}`,
    );
  }
  if (lastIndex < newestAppliedIndex) {
    throw new StoreError(
      'data-dir-corrupt',
      `the log ends at ${lastIndex}, the state had applied ${newestAppliedIndex}`,
    );
  }
  const commit = Math.max(recovered.hardState.commit, marker.appliedIndex);
  const term = Math.max(recovered.hardState.term, marker.appliedTerm);
  const hardState: HardState = {
    term,
    vote: term === recovered.hardState.term ? recovered.hardState.vote : 0,
    commit,
  };
  return { hardState, confState: marker.confState, applied: marker.appliedIndex, compacted, entries };
}

/** State directories that no install finished, or that one replaced. */
async function removeOtherStates(ports: MemberPorts, active: string): Promise<void> {
  for (const name of await ports.disk.list('')) {
    if (name.startsWith('state-') && name !== active) await ports.levels.destroy(name);
  }
}

/**
 * Makes the data directory of a member that has none, once its peers have confirmed that it may.
 *
 * @throws StoreError as `confirmNeverMet` and `findOwnPlace`; `bad-options`
 */
export async function createDataDirectory(
  ports: MemberPorts,
  options: MemberOptions,
  replicaOptions: ReplicaOptions,
  place: OwnPlace,
): Promise<Identity> {
  const { disk, random } = ports;
  for (const name of await disk.list('')) {
    if (name.startsWith('state-')) await ports.levels.destroy(name);
    if (name === LOG_DIRECTORY) await disk.remove(name);
  }
  const initial = await createReplica(replicaOptions, {
    name: FIRST_STATE,
    bootstrapMembers: place.bootstrapMembers,
  });
  await writeActive(disk, FIRST_STATE);
  const { log } = await openLog({
    disk,
    directory: LOG_DIRECTORY,
    create: true,
    incarnation: 1,
    random,
    ...segmentSize(options),
  });
  if (initial.appliedIndex > 0) {
    const { appliedIndex: index, appliedTerm: term, confState } = initial;
    const hardState = { term, vote: 0, commit: index };
    const snapshot = { index, term, confState, stateName: FIRST_STATE };
    await log.append({ hardState, entries: [], snapshot, sync: true });
  }
  await log.close();
  const identity = {
    clusterId: place.clusterId,
    memberId: place.memberId,
    name: options.name,
    incarnation: 1,
    earlier: [],
  };
  await writeIdentity(disk, identity);
  return identity;
}

/** Who a member without data is. */
export interface OwnPlace {
  readonly clusterId: number;
  readonly memberId: MemberId;
  /** Empty for a member that joins: it gets everything as a snapshot. */
  readonly bootstrapMembers: readonly MemberRecord[];
}

/** For `--initial-cluster-state new`: what the flags say. @throws StoreError `bad-options` */
export function placeFromFlags(options: MemberOptions): OwnPlace {
  const cluster = initialCluster(options.initialClusterToken, options.initialCluster);
  const self = cluster.members.find((member) => member.name === options.name);
  if (self === undefined)
    throw new StoreError('bad-options', `--initial-cluster does not name ${options.name}`);
  const bootstrapMembers = cluster.members.map(({ id, peerUrls }) => ({
    id,
    name: '',
    peerUrls,
    clientUrls: [],
  }));
  return { clusterId: cluster.clusterId, memberId: self.id, bootstrapMembers };
}

/** Waits until the peers allow a `new` member to start. */
export async function confirmNew(
  ports: MemberPorts,
  options: MemberOptions,
  place: OwnPlace,
  {
    told,
    signal,
  }: { readonly told: ReadonlyMap<MemberId, readonly string[]>; readonly signal: CancelSignal },
): Promise<void> {
  const cluster = initialCluster(options.initialClusterToken, options.initialCluster);
  await confirmNeverMet({ ...ports, signal }, cluster, { self: place.memberId, told });
}

/** For `--initial-cluster-state existing`: what the running cluster says. */
export async function placeFromCluster(
  ports: MemberPorts,
  options: MemberOptions,
  signal: CancelSignal,
): Promise<OwnPlace> {
  const request = { ownUrls: options.peerUrls, otherUrls: otherPeerUrls(options) };
  const place = await findOwnPlace({ ...ports, signal }, request);
  return { ...place, bootstrapMembers: [] };
}

function segmentSize({ logSegmentBytes }: MemberOptions): { readonly segmentBytes?: number } {
  return logSegmentBytes === undefined ? {} : { segmentBytes: logSegmentBytes };
}

function otherPeerUrls(options: MemberOptions): readonly string[] {
  return options.initialCluster
    .filter((member) => member.name !== options.name)
    .flatMap((member) => member.peerUrls);
}

/**
 * The identity in an existing data directory, or null when there is none.
 *
 * @throws StoreError `data-dir-corrupt` when a restore into it was cut short
 */
export async function existingIdentity(ports: MemberPorts): Promise<Identity | null> {
  await ports.disk.makeDirectory('');
  const unfinished = await unfinishedRestore(ports.disk);
  if (unfinished !== null) throw new StoreError('data-dir-corrupt', unfinished);
  return readIdentity(ports.disk);
}
