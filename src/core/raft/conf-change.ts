import type { ConfChange, ConfState, MemberId } from './messages.ts';

/** Raft without members: the configuration of a member that has yet to be told of its cluster. */
export const EMPTY_CONF: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** Whether decisions need the majorities of two configurations at once (thesis 4.3). */
export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0;
}

/** Every member of a configuration, sorted: voters of both halves and learners. */
export function membersOf(conf: ConfState): readonly MemberId[] {
  return sorted(new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners, ...conf.learnersNext]));
}

/**
 * The configuration after a change, or null when the change is invalid there. Deterministic, so that every member
 * decides alike at the entry's index. One step is applied at once; several steps enter a joint configuration that
 * the leader leaves by itself; no steps leave it.
 *
 * Invalid is: any step inside a joint configuration; leaving outside of one; a member named twice; a step without
 * effect (adding a voter that is one, removing a stranger); a result without voters.
 */
export function changedConf(conf: ConfState, change: ConfChange): ConfState | null {
  if (change.steps.length === 0) return isJoint(conf) ? leaveJoint(conf) : null;
  if (isJoint(conf)) return null;
  const sets = takeSteps(conf, change);
  if (sets === null || sets.voters.size === 0) return null;
  return change.steps.length === 1 ? simpleConf(sets) : jointConf(conf, sets);
}

interface MemberSets {
  readonly voters: Set<MemberId>;
  readonly learners: Set<MemberId>;
}

function takeSteps(conf: ConfState, change: ConfChange): MemberSets | null {
  const voters = new Set(conf.voters);
  const learners = new Set(conf.learners);
  const named = new Set<MemberId>();
  for (const { type, id } of change.steps) {
    if (!Number.isSafeInteger(id) || id <= 0 || named.has(id)) return null;
    named.add(id);
    const wasVoter = voters.delete(id);
    const wasLearner = learners.delete(id);
    switch (type) {
      case 'add-voter':
        if (wasVoter) return null;
        voters.add(id);
        break;
      case 'add-learner':
        if (wasLearner) return null;
        learners.add(id);
        break;
      case 'remove':
        if (!wasVoter && !wasLearner) return null;
        break;
      default:
        // The change was decoded from bytes: an unknown step is invalid everywhere alike.
        return null;
    }
  }
  return { voters, learners };
}

function simpleConf(sets: MemberSets): ConfState {
  return { ...EMPTY_CONF, voters: sorted(sets.voters), learners: sorted(sets.learners) };
}

/** A voter on its way to learner still votes in the outgoing half, so it becomes a learner only on leaving. */
function jointConf(conf: ConfState, sets: MemberSets): ConfState {
  const outgoing = new Set(conf.voters);
  const learners = sorted(sets.learners);
  return {
    voters: sorted(sets.voters),
    votersOutgoing: conf.voters,
    learners: learners.filter((id) => !outgoing.has(id)),
    learnersNext: learners.filter((id) => outgoing.has(id)),
    autoLeave: true,
  };
}

function leaveJoint(conf: ConfState): ConfState {
  return {
    ...EMPTY_CONF,
    voters: conf.voters,
    learners: sorted(new Set([...conf.learners, ...conf.learnersNext])),
  };
}

function sorted(ids: ReadonlySet<MemberId>): readonly MemberId[] {
  return [...ids].sort((a, b) => a - b);
}
