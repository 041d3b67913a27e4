import { expect, test } from 'vitest';
import { MemberTable } from '../../src/core/members.ts';
import type { ConfState } from '../../src/core/raft/messages.ts';
import { TableChanges } from '../../src/core/table-changes.ts';

const conf = (voters: readonly number[], learners: readonly number[]): ConfState => ({
  voters,
  votersOutgoing: [],
  learners,
  learnersNext: [],
  autoLeave: false,
});
const record = (id: number) => ({ id, name: `m${id}`, peerUrls: [`http://m${id}:1`], clientUrls: [] });

test('the list of members is made once for each change of the members or of their configuration', () => {
  const table = new MemberTable(new TableChanges());
  table.set(record(2));
  table.set(record(1));
  const both = conf([1, 2], []);
  const first = table.views(both);
  expect(first.map(({ id, isLearner }) => [id, isLearner])).toEqual([
    [1, false],
    [2, false],
  ]);
  expect(table.views(both)).toBe(first);

  const demoted = table.views(conf([1], [2]));
  expect(demoted.map(({ isLearner }) => isLearner)).toEqual([false, true]);

  table.set({ ...record(2), clientUrls: ['http://m2:2'] });
  expect(table.views(both)[1]?.clientUrls).toEqual(['http://m2:2']);
  table.remove(1);
  expect(table.views(both).map(({ id }) => id)).toEqual([2]);
  expect(table.list().map(({ id }) => id)).toEqual([2]);
  table.clear();
  expect(table.views(both)).toEqual([]);
});
