import { changedConf } from '../../src/core/raft/conf-change.ts';
import type { ConfChange, ConfState } from '../../src/core/raft/messages.ts';

/**
 * A change of two members at once in the place of one of one member, or the very same where there is none: no request
 * asks for a joint configuration (thesis 4.3), and Raft must be right in one all the same. Decided from the replicated
 * configuration and the entry's index alone, so that every member makes the same of an entry, whenever it applies it.
 *
 * Nobody who is leaving the cluster takes part: who is removed answers no more, and the outgoing half needs answers.
 */
export function jointChange(conf: ConfState, change: ConfChange, index: number): ConfChange {
  const [step, ...more] = change.steps;
  if (step === undefined || more.length > 0 || step.type === 'remove') return change;
  const others = conf.voters.filter((id) => id !== step.id);
  const demoted = others[index % others.length];
  const learner = conf.learners.find((id) => id !== step.id);
  const isPromotion = conf.learners.includes(step.id);
  // A promotion is a swap; a new voter brings a learner along; a new learner takes a voter's place beside it.
  const second =
    step.type === 'add-voter' && !isPromotion && learner !== undefined
      ? ({ type: 'add-voter', id: learner } as const)
      : isPromotion || conf.voters.length > 3
        ? ({ type: 'add-learner', id: demoted! } as const)
        : null;
  if (second === null || (second.type === 'add-learner' && demoted === undefined)) return change;
  const both = { steps: [step, second] };
  return changedConf(conf, both) === null ? change : both;
}
