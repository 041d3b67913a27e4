import type { StoreErrorCode } from '../lib/errors.ts';
import type { Operation } from './command.ts';
import type { MemberTable } from './members.ts';
import { changedConf } from './raft/conf-change.ts';
import type { ConfChange, ConfState } from './raft/messages.ts';

/** The operations that travel in conf-change entries. */
export type MembershipOperation = Extract<
  Operation,
  { readonly type: 'member-add' | 'member-promote' | 'member-remove' }
>;

/** What a membership operation means at its index: a change that Raft accepts, or why there is none. */
export type MembershipDecision =
  | { readonly change: ConfChange }
  | { readonly change: null; readonly code: StoreErrorCode };

export function isMembershipOperation(operation: Operation): operation is MembershipOperation {
  switch (operation.type) {
    case 'member-add':
    case 'member-promote':
    case 'member-remove':
      return true;
    default:
      return false;
  }
}

/**
 * Decides anew at apply what the leader checked before it proposed: since then other changes may have been applied.
 * Every member decides alike from the replicated state.
 *
 * Codes: those of `MemberTable.refusal`; `member-not-found`; `member-not-learner` for a promotion of a voter;
 * `not-enough-started-members` for the removal of the last voter; `unhealthy` while another change is under way.
 */
export function decideMembership(
  operation: MembershipOperation,
  state: { readonly members: MemberTable; readonly confState: ConfState },
): MembershipDecision {
  const code = refusalOf(operation, state);
  if (code !== null) return { change: null, code };
  const change: ConfChange = { steps: [stepOf(operation)] };
  return changedConf(state.confState, change) === null ? { change: null, code: 'unhealthy' } : { change };
}

function refusalOf(
  operation: MembershipOperation,
  { members, confState }: { readonly members: MemberTable; readonly confState: ConfState },
): StoreErrorCode | null {
  if (operation.type === 'member-add') return members.refusal(operation.member);
  if (members.get(operation.id) === undefined) return 'member-not-found';
  if (operation.type === 'member-promote') {
    return confState.voters.includes(operation.id) ? 'member-not-learner' : null;
  }
  const lastVoter = confState.voters.length === 1 && confState.voters[0] === operation.id;
  return lastVoter ? 'not-enough-started-members' : null;
}

function stepOf(operation: MembershipOperation): ConfChange['steps'][number] {
  switch (operation.type) {
    case 'member-add':
      return { type: operation.learner ? 'add-learner' : 'add-voter', id: operation.member.id };
    case 'member-promote':
      return { type: 'add-voter', id: operation.id };
    case 'member-remove':
      return { type: 'remove', id: operation.id };
  }
}
