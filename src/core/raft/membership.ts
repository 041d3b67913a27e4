import { assert } from '../../lib/assert.ts';
import { changedConf, isJoint } from './conf-change.ts';
import { type ConfChange, type ConfState, NO_MEMBER } from './messages.ts';
import { isVoter } from './quorum.ts';
import type { Raft } from './raft.ts';
import { confirmReads } from './read-index.ts';
import { advanceCommit } from './replication.ts';

export type ConfChangeRefusal = 'conf-change-pending' | 'conf-change-invalid';

/**
 * Why a membership change cannot be proposed now, or null. Changes are activated when they are applied, which is safe
 * because at most one is ever unapplied: the next one waits until everything this leader inherited, its own no-op and
 * every earlier change are applied. By then the commit index that covers the earlier change travels, and is made
 * durable, no later than the entry of the next.
 */
export function confChangeRefusal(raft: Raft, change: ConfChange): ConfChangeRefusal | null {
  if (raft.applied < raft.pendingConfIndex) return 'conf-change-pending';
  if (isJoint(raft.conf) && change.steps.length > 0) return 'conf-change-pending';
  return changedConf(raft.conf, change) === null ? 'conf-change-invalid' : null;
}

/** Appends a membership change; empty `data` leaves a joint configuration. */
export function appendConfChange(raft: Raft, data: Buffer): number {
  const index = raft.appendOwn('conf-change', [data]);
  raft.pendingConfIndex = index;
  return index;
}

/**
 * Activates the change at `index`, the same on every member. One that is invalid there changes nothing. A leader that
 * is no longer a voter steps down; what the change lets it commit or confirm, it does.
 */
export function applyConfChange(
  raft: Raft,
  applied: { readonly change: ConfChange | null; readonly index: number },
): ConfState {
  const next = applied.change === null ? null : changedConf(raft.conf, applied.change);
  raft.activateConf(next ?? raft.conf, applied.index);
  if (raft.role !== 'leader') return raft.conf;
  if (!isVoter(raft.conf, raft.id)) {
    raft.becomeFollower(raft.term, NO_MEMBER);
    return raft.conf;
  }
  if (raft.transferee !== NO_MEMBER && !raft.conf.voters.includes(raft.transferee)) raft.abortTransfer();
  raft.replicationDue = true;
  advanceCommit(raft);
  confirmReads(raft);
  return raft.conf;
}

/**
 * A leader leaves a joint configuration by itself as soon as it has applied it, whichever leader entered it. The
 * pending index keeps it from proposing that twice.
 */
export function leaveJointWhenDue(raft: Raft): void {
  if (raft.role !== 'leader' || raft.transferee !== NO_MEMBER) return;
  if (!raft.conf.autoLeave || raft.applied < raft.pendingConfIndex) return;
  assert(isJoint(raft.conf), 'only a joint configuration is left');
  appendConfChange(raft, Buffer.alloc(0));
}
