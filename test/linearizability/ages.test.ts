import { expect, test } from 'vitest';
import { type AgedRead, type AgesInput, ageViolations } from './ages.ts';
import type { CommittedRevision, HistoryOp } from './history.ts';

const KEY = Buffer.from('k');

/** Revision r = 2, 3, ... is put at 10 r and acknowledged at 10 r + 5. */
const committed: readonly CommittedRevision[] = [2, 3, 4, 5].map((revision) => ({
  revision,
  events: [{ type: 'put', kv: keyAt(revision), prevKv: null }],
}));
const ops: readonly HistoryOp[] = committed.map(({ revision }) => ({
  client: 0,
  callTime: 10 * revision,
  returnTime: 10 * revision + 5,
  request: {
    type: 'put',
    key: KEY,
    value: valueAt(revision),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  },
  outcome: { type: 'answered', result: { type: 'put', revision, prevKv: null } },
}));

function valueAt(revision: number): Buffer {
  return Buffer.from(`v${revision}`);
}

function keyAt(modRevision: number): CommittedRevision['events'][number]['kv'] {
  return {
    key: KEY,
    value: valueAt(modRevision),
    createRevision: 2,
    modRevision,
    version: modRevision - 1,
    lease: 0n,
  };
}

/** Sent at 100, answered at 110. */
function read(revision: number, more: Partial<AgedRead>): AgedRead {
  return {
    member: 'n1',
    boundMs: 1_000,
    sentMs: 100,
    resumedMs: 0,
    answeredMs: 110,
    ageMs: 0,
    revision,
    kvs: revision < 2 ? [] : [keyAt(revision)],
    ...more,
  };
}

function messages(reads: readonly AgedRead[], more: Partial<AgesInput> = {}): readonly string[] {
  return ageViolations({ reads, ops, committed, silences: [], ...more }).map(({ message }) => message);
}

test('a read of everything acknowledged before it was sent may have any age', () => {
  expect(messages([read(5, {}), read(5, { ageMs: 1 }), read(5, { ageMs: 900 })])).toEqual([]);
});

test('an answer may lack what was acknowledged less than its age before it was sent, and not more', () => {
  // Revision 5 was acknowledged at 55.
  expect(messages([read(4, { ageMs: 45 })])).toEqual([]);
  expect(messages([read(4, { ageMs: 44 })])[0]).toMatch(/revision 5 is missing/);
});

test('nothing is claimed of what was acknowledged while the read was on its way', () => {
  expect(messages([read(4, { sentMs: 50, answeredMs: 200, ageMs: 0 })])).toEqual([]);
});

test('a member that stood still answers after it, and its age covers that', () => {
  const paused = { sentMs: 50, resumedMs: 1_000, answeredMs: 1_001 };
  expect(messages([read(4, { ...paused, ageMs: 950 })])).toEqual([]);
  expect(messages([read(4, { ...paused, ageMs: 900 })])[0]).toMatch(/age understated: revision 5/);
});

test('an age above the bound is the age of a linearizable read', () => {
  expect(messages([read(5, { boundMs: 10, ageMs: 60 })])).toEqual([]);
  expect(messages([read(4, { boundMs: 10, ageMs: 60 })])[0]).toMatch(/not linearizable: revision 5/);
});

test('an age that is not told is a violation', () => {
  expect(messages([read(5, { ageMs: null })])[0]).toMatch(/^age not told/);
});

test('while nothing reaches a member its ages grow', () => {
  const silences = [{ member: 'n1', fromMs: 60, toMs: 200 }];
  expect(messages([read(5, { ageMs: 40 })], { silences })).toEqual([]);
  expect(messages([read(5, { ageMs: 39 })], { silences })[0]).toMatch(/nothing can be known for 40 ms/);
  expect(messages([read(5, { ageMs: 39, member: 'n2' })], { silences })).toEqual([]);
  expect(messages([read(5, { ageMs: 39, answeredMs: 201 })], { silences })).toEqual([]);
});

test('an answer is the whole state at its revision', () => {
  expect(messages([read(5, { kvs: [keyAt(4)] })])[0]).toMatch(/^not the state/);
  expect(messages([read(5, { kvs: [] })])[0]).toMatch(/^not the state/);
  const deleted: CommittedRevision = {
    revision: 6,
    events: [{ type: 'delete', kv: keyAt(6), prevKv: null }],
  };
  expect(messages([read(6, { kvs: [] })], { committed: [...committed, deleted] })).toEqual([]);
});
