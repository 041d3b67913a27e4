import { INTERNAL_USER } from '../core/auth/operations.ts';
import { encodeCommand, type Operation } from '../core/command.ts';
import { changedConf, isJoint } from '../core/raft/conf-change.ts';
import type { Entry, MemberId } from '../core/raft/messages.ts';
import type { StateMachine } from '../core/state-machine.ts';
import { StoreError } from '../lib/errors.ts';
import type { MemberPorts } from './member-options.ts';
import { openReplica, type ReplicaOptions } from './replica.ts';
import { type Identity, LOG_DIRECTORY, nextIncarnation, readActive } from './storage/data-dir.ts';
import { openLog } from './storage/wal.ts';

/**
 * The last resort after a majority is lost for good: this member goes on alone. Entries that were not committed are
 * dropped; removals of everybody else are written into the log as committed, and so are applied like any other.
 * What the lost majority had committed and this member had not heard of is gone.
 *
 * @returns the identity with the incarnation that this work counted as
 * @throws StoreError `data-dir-corrupt`, or `bad-options` when the member's state has no place for it
 */
export async function forceNewCluster(
  ports: MemberPorts,
  replicaOptions: ReplicaOptions,
  identity: Identity,
): Promise<Identity> {
  const { disk, random, logger } = ports;
  const active = await readActive(disk);
  if (active === null) throw new StoreError('data-dir-corrupt', 'ACTIVE is missing');
  const { machine, store, marker } = await openReplica(replicaOptions, active);
  const next = await nextIncarnation(disk, identity, random);
  const { log, recovered } = await openLog({
    disk,
    directory: LOG_DIRECTORY,
    create: false,
    incarnation: next.incarnation,
    random,
  });
  try {
    const commit = Math.max(recovered.hardState.commit, marker.appliedIndex);
    for (const entry of recovered.entries) {
      if (entry.index > marker.appliedIndex && entry.index <= commit) replay(machine, entry);
    }
    const term = Math.max(recovered.hardState.term, marker.appliedTerm);
    const entries = departures(machine, identity.memberId).map(
      (data, i): Entry => ({ index: commit + 1 + i, term, kind: 'conf-change', data }),
    );
    const last = entries.at(-1)?.index ?? commit;
    const hardState = { term, vote: recovered.hardState.vote, commit: last };
    await log.append({ hardState, entries, snapshot: null, sync: true });
    logger.warn({ removed: entries.length, commit }, 'forced a new cluster of this member alone');
    return next;
  } finally {
    await log.close();
    await store.close();
  }
}

/** Brings the machine forward, without Raft, only to learn who the members are. Nothing of it is kept. */
function replay(machine: StateMachine, entry: Entry): void {
  const { confChange } = machine.apply(entry);
  if (entry.kind !== 'conf-change') return;
  const conf =
    confChange === null || confChange === undefined ? null : changedConf(machine.confState, confChange);
  machine.confStateChanged(conf ?? machine.confState);
}

/** The entries after which `self` is the only member: out of a joint configuration, promoted, the others gone. */
function departures(machine: StateMachine, self: MemberId): Buffer[] {
  const members = machine.memberList();
  const own = members.find((member) => member.id === self);
  if (own === undefined)
    throw new StoreError('bad-options', 'this member was removed: it cannot go on alone');
  const datas: Buffer[] = isJoint(machine.confState) ? [Buffer.alloc(0)] : [];
  const add = (operation: Operation): void => {
    datas.push(encodeCommand({ id: null, user: INTERNAL_USER, authRevision: 0, operation }));
  };
  if (own.isLearner) add({ type: 'member-promote', id: self });
  for (const member of members) if (member.id !== self) add({ type: 'member-remove', id: member.id });
  return datas;
}
