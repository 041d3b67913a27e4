import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EMPTY_CONF } from '../../../src/core/raft/conf-change.ts';
import { entryBytes, RaftLog } from '../../../src/core/raft/log.ts';
import { entriesOf } from './builders.ts';

function logOf(terms: readonly number[], compacted = { index: 0, term: 0 }): RaftLog {
  return new RaftLog({ compacted, entries: entriesOf(compacted.index + 1, terms), commit: compacted.index });
}

const ascendingTerms = fc.array(fc.nat({ max: 2 }), { maxLength: 30 }).map((steps) =>
  steps.map(
    (
      (term) => (step: number) =>
        (term += step)
    )(1),
  ),
);

test('a log that starts with a gap or falling terms is refused', () => {
  const entries = entriesOf(3, [1]);
  expect(() => new RaftLog({ compacted: { index: 1, term: 1 }, entries, commit: 1 })).toThrow('gap');
  expect(() => logOf([2, 1])).toThrow('gap');
});

test('a write counts only for entries that were not replaced meanwhile, even by equal ones', () => {
  const log = logOf([1]);
  log.merge(entriesOf(2, [2]));
  const first = log.takeUnstable();
  log.merge(entriesOf(2, [3]));
  const second = log.takeUnstable();
  // Terms fall here as no leader's log does: what matters is that the third part equals the first.
  log.merge(entriesOf(2, [2]));
  const third = log.takeUnstable();
  log.durable(first);
  expect(log.stable).toBe(1);
  log.durable(second);
  expect(log.stable).toBe(1);
  log.durable(third);
  expect(log.stable).toBe(2);
});

test('the part of a write before a truncation still counts', () => {
  const log = logOf([1]);
  log.merge(entriesOf(2, [2, 2, 2]));
  const first = log.takeUnstable();
  log.merge(entriesOf(4, [3]));
  log.durable(first);
  expect(log.stable).toBe(3);
  expect(log.takeUnstable().entries).toMatchObject([{ index: 4, term: 3 }]);
});

test('a snapshot counts only once it is durable, and nothing written before it counts beyond commit', () => {
  const log = logOf([1]);
  log.merge(entriesOf(2, [2, 2]));
  const before = log.takeUnstable();
  log.reset({ index: 9, term: 3, confState: EMPTY_CONF });
  const part = log.takeUnstable();
  expect(part).toMatchObject({ snapshot: { index: 9 }, entries: [] });
  log.durable(before);
  expect(log.stable).toBeLessThan(9);
  expect(log.isRestoreDurable).toBe(false);
  log.durable(part);
  expect(log.stable).toBe(9);
  expect(log.isRestoreDurable).toBe(true);
});

test('truncation at or below commit is a bug', () => {
  const log = logOf([1, 1, 1]);
  log.commitTo(2);
  expect(() => log.merge(entriesOf(2, [2]))).toThrow('a committed entry must never be replaced');
});

test('commit never passes the end of the log and never falls', () => {
  const log = logOf([1, 1]);
  log.commitTo(2);
  log.commitTo(1);
  expect(log.commit).toBe(2);
  expect(() => log.commitTo(3)).toThrow('within the log');
});

test('a compacted log keeps the term of its last compacted position', () => {
  const log = logOf([1, 2, 2, 3]);
  log.commitTo(4);
  log.compact(2);
  expect([log.firstIndex, log.lastIndex, log.term(1), log.term(2), log.term(3)]).toEqual([
    3,
    4,
    undefined,
    2,
    2,
  ]);
  log.compact(4);
  expect([log.firstIndex, log.lastIndex, log.lastTerm]).toEqual([5, 4, 3]);
  expect(() => logOf([1]).compact(1)).toThrow('only durable, committed');
});

test('a slice holds as many entries as fit, and at least one', () => {
  const log = logOf([1, 1, 1]);
  const size = entryBytes(entriesOf(1, [1])[0]!);
  const count = (bytesMax: number) => log.slice({ from: 1, to: 9, bytesMax }).length;
  expect([count(0), count(size), count(2 * size - 1), count(2 * size), count(Infinity)]).toEqual([
    1, 1, 1, 2, 3,
  ]);
  expect(log.slice({ from: 4, to: 9, bytesMax: 1 })).toEqual([]);
});

test('the entries after an index by bytes are as many as fit', () => {
  const log = logOf([1, 1, 1, 1, 1], { index: 10, term: 1 });
  const bytes = entryBytes(log.slice({ from: 11, to: 11, bytesMax: 0 })[0]!);
  expect([0, bytes - 1, 2 * bytes, 5 * bytes - 1, 5 * bytes].map((max) => log.indexBefore(max))).toEqual([
    15, 15, 13, 11, 10,
  ]);
  log.commitTo(13);
  log.compact(13);
  expect(log.indexBefore(5 * bytes)).toBe(13);
  expect(logOf([]).indexBefore(0)).toBe(0);
});

test('the agreement of two positions is the last index whose term is not newer', () => {
  fc.assert(
    fc.property(
      ascendingTerms,
      fc.nat({ max: 40 }),
      fc.nat({ max: 60 }),
      fc.nat({ max: 10 }),
      (terms, index, term, cut) => {
        const log = logOf(terms);
        log.commitTo(Math.min(cut, terms.length));
        log.compact(Math.min(cut, terms.length));
        let expected = Math.min(index, log.lastIndex);
        while (expected >= log.compacted.index && log.term(expected)! > term) expected -= 1;
        expect(log.agreementAt({ index, term }).index).toBe(Math.max(expected, 0));
      },
    ),
  );
});

test('interleaved appends, compactions and reads see one log', () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant('compact' as const), count: fc.nat({ max: 8 }) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const log = logOf([]);
      let first = 1;
      for (const { kind, count } of operations) {
        if (kind === 'append') {
          log.append(
            entriesOf(
              log.lastIndex + 1,
              Array.from({ length: count }, () => 1),
            ),
          );
          log.durable(log.takeUnstable());
          log.commitTo(log.lastIndex);
        } else {
          log.compact(Math.min(log.compacted.index + count, log.commit));
        }
        first = log.firstIndex;
        const indexes = log
          .slice({ from: first, to: Infinity, bytesMax: Infinity })
          .map(({ index }) => index);
        expect(indexes).toEqual(Array.from({ length: log.lastIndex - first + 1 }, (_, at) => first + at));
      }
    }),
  );
});
