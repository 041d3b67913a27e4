import fc from 'fast-check';
import { expect, test } from 'vitest';
import { changedConf, EMPTY_CONF, isJoint, membersOf } from '../../../src/core/raft/conf-change.ts';
import type { ConfChangeStep, ConfState } from '../../../src/core/raft/messages.ts';

const THREE: ConfState = { ...EMPTY_CONF, voters: [1, 2, 3], learners: [4] };

function changed(steps: readonly ConfChangeStep[], conf: ConfState = THREE): ConfState | null {
  return changedConf(conf, { steps });
}

test('one step is applied at once', () => {
  expect(changed([{ type: 'add-voter', id: 5 }])).toEqual({ ...THREE, voters: [1, 2, 3, 5] });
  expect(changed([{ type: 'add-learner', id: 5 }])).toEqual({ ...THREE, learners: [4, 5] });
  expect(changed([{ type: 'remove', id: 2 }])).toEqual({ ...THREE, voters: [1, 3] });
  expect(changed([{ type: 'remove', id: 4 }])).toEqual({ ...THREE, learners: [] });
});

test('a learner is promoted and a voter demoted by one step', () => {
  expect(changed([{ type: 'add-voter', id: 4 }])).toEqual({ ...EMPTY_CONF, voters: [1, 2, 3, 4] });
  expect(changed([{ type: 'add-learner', id: 3 }])).toEqual({
    ...EMPTY_CONF,
    voters: [1, 2],
    learners: [3, 4],
  });
});

test('several steps go through a joint configuration and out of it', () => {
  const joint = changed([
    { type: 'add-voter', id: 5 },
    { type: 'remove', id: 1 },
    { type: 'add-learner', id: 2 },
  ])!;
  expect(joint).toEqual({
    voters: [3, 5],
    votersOutgoing: [1, 2, 3],
    learners: [4],
    learnersNext: [2],
    autoLeave: true,
  });
  expect(membersOf(joint)).toEqual([1, 2, 3, 4, 5]);
  expect(changed([], joint)).toEqual({ ...EMPTY_CONF, voters: [3, 5], learners: [2, 4] });
  expect(changed([{ type: 'add-voter', id: 6 }], joint)).toBeNull();
});

test.each<{ name: string; steps: readonly ConfChangeStep[] }>([
  { name: 'leaving what is not joint', steps: [] },
  { name: 'adding a voter that is one', steps: [{ type: 'add-voter', id: 1 }] },
  { name: 'adding a learner that is one', steps: [{ type: 'add-learner', id: 4 }] },
  { name: 'removing a stranger', steps: [{ type: 'remove', id: 9 }] },
  {
    name: 'a member named twice',
    steps: [
      { type: 'add-voter', id: 9 },
      { type: 'remove', id: 9 },
    ],
  },
  { name: 'no id', steps: [{ type: 'add-voter', id: 0 }] },
  { name: 'an id that is no integer', steps: [{ type: 'add-voter', id: 1.5 }] },
  {
    name: 'leaving no voter',
    steps: [
      { type: 'remove', id: 1 },
      { type: 'remove', id: 2 },
      { type: 'add-learner', id: 3 },
    ],
  },
])('$name is invalid', ({ steps }) => {
  expect(changed(steps)).toBeNull();
});

test('lists stay sorted and disjoint, and a simple change moves at most one voter', () => {
  const step = fc.record({
    type: fc.constantFrom('add-voter' as const, 'add-learner' as const, 'remove' as const),
    id: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 30 }), (changes) => {
      let conf = THREE;
      for (const steps of changes) {
        const next = changedConf(conf, { steps });
        if (next === null) continue;
        expect(next.voters.length).toBeGreaterThan(0);
        const settled = [...next.voters, ...next.learners, ...next.learnersNext];
        expect(new Set(settled).size).toBe(settled.length);
        for (const list of [next.voters, next.learners, next.learnersNext]) {
          expect(list).toEqual([...list].sort((a, b) => a - b));
        }
        if (!isJoint(conf) && !isJoint(next)) {
          const before = new Set(conf.voters);
          const moved =
            next.voters.filter((id) => !before.has(id)).length +
            conf.voters.filter((id) => !next.voters.includes(id)).length;
          expect(moved).toBeLessThanOrEqual(1);
        }
        conf = next;
      }
    }),
  );
});
