import type { Raft } from '../../src/core/raft/raft.ts';
import type { Prng } from './prng.ts';

/** Limits of a leader's windows that a run may set low, so that what they part happens with little data too. */
export interface RaftLimits {
  readonly maxEntriesPerMessageBytes: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  readonly maxApplyBytes: number;
}

/** Of one run in two; null leaves them as they are in production. */
export function raftLimitsOf(random: Prng): RaftLimits | null {
  if (random.chance(50)) return null;
  return {
    maxEntriesPerMessageBytes: random.pick([1, 1, 200, 2_000]),
    maxInflightMessages: random.pick([2, 5, 20, 256]),
    maxInflightBytes: random.pick([100, 5_000, 8 * 2 ** 20]),
    maxApplyBytes: random.pick([1, 1_000, 4 * 2 ** 20]),
  };
}

/** Gives a Raft that has just been made these limits. */
export function setRaftLimits(raft: Raft, limits: RaftLimits): void {
  Object.assign(raft, { options: { ...raft.options, ...limits } });
}
