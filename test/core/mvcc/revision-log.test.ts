import { expect, test } from 'vitest';
import { LOG_PAGE_SLOTS, RevisionLog } from '../../../src/core/mvcc/revision-log.ts';
import { RowTable } from '../../../src/core/mvcc/row-table.ts';

/** Two rows for every main revision from 1 on. */
function logOf(mains: number): { table: RowTable; log: RevisionLog } {
  const table = new RowTable();
  const log = new RevisionLog(table);
  for (let main = 1; main <= mains; main++) {
    for (const sub of [0, 1]) {
      const key = Buffer.from('k');
      const row = { main, sub, tombstone: false, createRevision: 1, version: 1, lease: 0n, key, value: key };
      log.append(table.add(row, 'k', { a: 0, b: 0 }));
    }
  }
  return { table, log };
}

function mainsFrom(log: RevisionLog, table: RowTable, main: number): number[] {
  const mains: number[] = [];
  log.visit({ main, sub: 0 }, (slot) => mains.push(table.main(slot)) > 0);
  return mains;
}

test('rows are found by revision and visited in order from any revision', () => {
  const { table, log } = logOf(2000);
  for (const main of [1, 256, 257, 1999, 2000]) {
    expect(table.main(log.find(main, 1)!)).toBe(main);
    expect(table.sub(log.find(main, 1)!)).toBe(1);
  }
  expect([log.find(0, 0), log.find(3, 2), log.find(2001, 0)]).toEqual([null, null, null]);
  expect(mainsFrom(log, table, 1999)).toEqual([1999, 1999, 2000, 2000]);
  expect(mainsFrom(log, table, 2001)).toEqual([]);
  expect(mainsFrom(log, table, -5)).toHaveLength(4000);
});

test('a sliced compaction asks each row up to its revision once, whatever is appended meanwhile', () => {
  const { table, log } = logOf(3000);
  const asked: number[] = [];
  let fromPage: number | null = 0;
  let slices = 0;
  while (fromPage !== null) {
    const options: { fromPage: number; main: number; rowsMax: number } = { fromPage, main: 2500, rowsMax: 1 };
    fromPage = log.compact(options, (slot) => {
      const main = table.main(slot);
      if (main <= 2500) asked.push(main);
      return main > 2500 || main % 100 === 0;
    });
    slices++;
    const key = Buffer.from('k');
    const row = {
      main: 3000 + slices,
      sub: 0,
      tombstone: false,
      createRevision: 1,
      version: 1,
      lease: 0n,
      key,
      value: key,
    };
    log.append(table.add(row, 'k', { a: 0, b: 0 }));
  }
  expect(asked).toEqual(Array.from({ length: 5000 }, (_, i) => 1 + (i >>> 1)));
  expect(slices).toBe(Math.ceil(5000 / LOG_PAGE_SLOTS));
  const left = mainsFrom(log, table, 0);
  expect(left.slice(0, 4)).toEqual([100, 100, 200, 200]);
  expect(left).toHaveLength(50 + 1000 + slices);
  expect(log.find(200, 1)).not.toBeNull();
  expect(log.find(201, 1)).toBeNull();
});

test('freed slots are used again', () => {
  const { table, log } = logOf(1);
  const slot = log.find(1, 0)!;
  table.free(slot);
  const key = Buffer.from('k');
  const row = { main: 9, sub: 0, tombstone: true, createRevision: 0, version: 0, lease: 0n, key, value: key };
  expect(table.add(row, 'k', { a: 1, b: 2 })).toBe(slot);
  expect([table.main(slot), table.isTombstone(slot), table.hash(slot)]).toEqual([9, true, { a: 1, b: 2 }]);
});
