import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  hasQuorum,
  isVoter,
  type JointVoters,
  quorumValue,
  voteOutcome,
} from '../../../src/core/raft/quorum.ts';

const half = fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 7 });
const conf: fc.Arbitrary<JointVoters> = fc.record({
  voters: fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 7 }),
  votersOutgoing: half,
});
const values = fc.array(fc.nat({ max: 5 }), { minLength: 9, maxLength: 9 });

function isMajority(voters: readonly number[], holds: (id: number) => boolean): boolean {
  return voters.length === 0 || voters.filter(holds).length * 2 > voters.length;
}

test('the quorum value is the largest that a majority of each half has reached', () => {
  fc.assert(
    fc.property(conf, values, (joint, reached) => {
      const value = quorumValue(joint, (id) => reached[id]!);
      const isReached = (at: number) =>
        isMajority(joint.voters, (id) => reached[id]! >= at) &&
        isMajority(joint.votersOutgoing, (id) => reached[id]! >= at);
      expect(isReached(value)).toBe(true);
      expect(isReached(value + 1)).toBe(false);
    }),
  );
});

test('two quorums of one configuration always meet', () => {
  fc.assert(
    fc.property(conf, fc.uniqueArray(fc.integer({ min: 1, max: 8 })), (joint, some) => {
      const inside = hasQuorum(joint, (id) => some.includes(id));
      const outside = hasQuorum(joint, (id) => !some.includes(id));
      expect(inside && outside).toBe(false);
    }),
  );
});

test('an election is lost exactly when the votes still out cannot win it', () => {
  fc.assert(
    fc.property(
      conf,
      fc.array(fc.constantFrom(true, false, null), { minLength: 9, maxLength: 9 }),
      (joint, cast) => {
        const votes = new Map(cast.flatMap((vote, id) => (vote === null ? [] : [[id, vote] as const])));
        const wins = (holds: (id: number) => boolean) =>
          isMajority(joint.voters, holds) && isMajority(joint.votersOutgoing, holds);
        const expected = wins((id) => cast[id] === true)
          ? 'won'
          : wins((id) => cast[id] !== false)
            ? 'pending'
            : 'lost';
        expect(voteOutcome(joint, votes)).toBe(expected);
      },
    ),
  );
});

test('a configuration without voters decides nothing', () => {
  const nobody = { voters: [], votersOutgoing: [] };
  expect(quorumValue(nobody, () => 9)).toBe(0);
  expect(voteOutcome(nobody, new Map([[1, true]]))).toBe('lost');
});

test('voters of either half are voters', () => {
  const joint = { voters: [1, 2], votersOutgoing: [2, 3] };
  expect([1, 2, 3, 4].map((id) => isVoter(joint, id))).toEqual([true, true, true, false]);
});
