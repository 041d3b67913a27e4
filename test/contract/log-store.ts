import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Entry, HardState } from '../../src/core/raft/messages.ts';
import type { Disk, LogRecord } from '../../src/member/ports.ts';
import { type OpenedLog, openLog } from '../../src/member/storage/wal.ts';
import { seededRandom } from '../member/storage/seeded-random.ts';

/** Small enough that a few records fill one. */
const SEGMENT_BYTES = 4096;

export function entry(index: number, term: number, data = `e${index}`): Entry {
  return { index, term, kind: 'normal', data: Buffer.from(data) };
}
export function logRecord(content: Partial<LogRecord>): LogRecord {
  return { hardState: null, entries: [], snapshot: null, sync: true, ...content };
}

/** What the log store does on any disk. `make` gives a disk with an empty root. */
export function logStoreContract(
  name: string,
  make: () => Promise<{ readonly disk: Disk; readonly cleanUp: () => Promise<void> }>,
): void {
  describe(`log store contract on ${name}`, () => {
    let disk: Disk;
    let cleanUp: () => Promise<void>;
    let incarnation = 0;
    let opened: OpenedLog;
    const open = async (create = false): Promise<OpenedLog> => {
      incarnation++;
      const random = seededRandom(incarnation);
      opened = await openLog({
        disk,
        directory: 'wal',
        segmentBytes: SEGMENT_BYTES,
        create,
        incarnation,
        random,
      });
      return opened;
    };
    const reopen = async (): Promise<OpenedLog> => {
      await opened.log.close();
      return open();
    };
    beforeEach(async () => {
      ({ disk, cleanUp } = await make());
      await disk.makeDirectory('');
      await open(true);
    });
    afterEach(async () => {
      await opened.log.close();
      await cleanUp();
    });

    test('a new log is empty, and empty again when reopened', async () => {
      const empty = {
        hardState: { term: 0, vote: 0, commit: 0 },
        compacted: { index: 0, term: 0 },
        entries: [],
      };
      expect(opened.recovered).toMatchObject({ ...empty, snapshot: null, lastSeq: 0, droppedTail: false });
      const { recovered } = await reopen();
      expect(recovered).toMatchObject({ ...empty, snapshot: null, lastSeq: 1, droppedTail: false });
    });

    test('a log is created once and opened only when it exists', async () => {
      await opened.log.close();
      const options = { disk, segmentBytes: SEGMENT_BYTES, incarnation: 9, random: seededRandom(1) };
      await expect(openLog({ ...options, directory: 'wal', create: true })).rejects.toMatchObject({
        code: 'data-dir-exists',
      });
      await expect(openLog({ ...options, directory: 'other', create: false })).rejects.toMatchObject({
        code: 'data-dir-corrupt',
      });
      await open();
    });

    test('hard state and entries come back as they were', async () => {
      const hardState: HardState = { term: 3, vote: 2 ** 53 - 1, commit: 1 };
      const entries: Entry[] = [
        { index: 1, term: 2, kind: 'normal', data: Buffer.alloc(0) },
        { index: 2, term: 3, kind: 'conf-change', data: Buffer.from([0, 255, 7]) },
      ];
      await opened.log.append(logRecord({ hardState, entries }));
      await opened.log.append(logRecord({ entries: [entry(3, 3)] }));
      expect(opened.log.lastSeq).toBe(3);
      const { recovered } = await reopen();
      expect(recovered.hardState).toEqual(hardState);
      expect(recovered.entries).toEqual([...entries, entry(3, 3)]);
      expect(recovered.lastSeq).toBe(3);
    });

    test('an unsynced hard state survives a proper close', async () => {
      const hardState = { term: 1, vote: 1, commit: 0 };
      await opened.log.append(logRecord({ hardState, entries: [entry(1, 1)] }));
      await opened.log.append(logRecord({ hardState: { ...hardState, commit: 1 }, sync: false }));
      expect((await reopen()).recovered.hardState.commit).toBe(1);
    });

    test('entries replace the log from their first index on', async () => {
      await opened.log.append(logRecord({ entries: [entry(1, 1), entry(2, 1), entry(3, 1), entry(4, 1)] }));
      await opened.log.append(logRecord({ entries: [entry(3, 2, 'new')] }));
      const { recovered, log } = await reopen();
      expect(recovered.entries).toEqual([entry(1, 1), entry(2, 1), entry(3, 2, 'new')]);
      await log.append(logRecord({ entries: [entry(1, 3), entry(2, 3)] }));
      expect((await reopen()).recovered.entries).toEqual([entry(1, 3), entry(2, 3)]);
    });

    test('a snapshot replaces the whole log; its entries follow it', async () => {
      const confState = {
        voters: [1, 2],
        votersOutgoing: [3],
        learners: [4],
        learnersNext: [5],
        autoLeave: true,
      };
      const snapshot = { index: 50, term: 4, confState, stateName: 'state-2' };
      await opened.log.append(logRecord({ entries: [entry(1, 1), entry(2, 1)] }));
      await opened.log.append(logRecord({ snapshot, entries: [entry(51, 4)] }));
      const { recovered } = await reopen();
      expect(recovered.snapshot).toEqual(snapshot);
      expect(recovered.compacted).toEqual({ index: 50, term: 4 });
      expect(recovered.entries).toEqual([entry(51, 4)]);
    });

    test('a release keeps the term of its position, and takes a finished snapshot away', async () => {
      const confState = { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
      const snapshot = { index: 5, term: 2, confState, stateName: 'state-1' };
      await opened.log.append(logRecord({ snapshot, entries: [entry(6, 2), entry(7, 3), entry(8, 3)] }));
      await opened.log.release({ index: 5, term: 2 });
      expect((await reopen()).recovered.snapshot).toEqual(snapshot);
      await opened.log.release({ index: 7, term: 3 });
      await opened.log.release({ index: 6, term: 2 });
      const { recovered } = await reopen();
      expect(recovered.compacted).toEqual({ index: 7, term: 3 });
      expect(recovered.entries).toEqual([entry(8, 3)]);
      expect(recovered.snapshot).toBeNull();
    });

    test('the log rolls over segments and deletes those wholly released, keeping the hard state', async () => {
      const hardState = { term: 7, vote: 3, commit: 0 };
      await opened.log.append(logRecord({ hardState }));
      for (let index = 1; index <= 40; index++) {
        await opened.log.append(logRecord({ entries: [entry(index, 7, 'x'.repeat(500))] }));
      }
      const before = (await disk.list('wal')).length;
      expect(before).toBeGreaterThan(5);
      expect(opened.log.sizeBytes).toBeGreaterThanOrEqual(5 * SEGMENT_BYTES);
      await opened.log.release({ index: 38, term: 7 });
      expect((await disk.list('wal')).length).toBeLessThan(4);
      expect(opened.log.sizeBytes).toBeLessThan(4 * SEGMENT_BYTES);
      const { recovered } = await reopen();
      expect(recovered.hardState).toEqual(hardState);
      expect(recovered.compacted).toEqual({ index: 38, term: 7 });
      expect(recovered.entries.map(({ index }) => index)).toEqual([39, 40]);
    });

    test('a record larger than a segment has one of its own', async () => {
      await opened.log.append(logRecord({ entries: [entry(1, 1)] }));
      await opened.log.append(logRecord({ entries: [entry(2, 1, 'y'.repeat(5 * SEGMENT_BYTES))] }));
      await opened.log.append(logRecord({ entries: [entry(3, 1)] }));
      const { recovered } = await reopen();
      expect(recovered.entries.map(({ data }) => data.length)).toEqual([2, 5 * SEGMENT_BYTES, 2]);
    });

    test('a release waits for the append in flight, and the next append for the release', async () => {
      await opened.log.append(logRecord({ entries: [entry(1, 1), entry(2, 1)] }));
      const appending = opened.log.append(logRecord({ entries: [entry(3, 1)] }));
      const releasing = opened.log.release({ index: 1, term: 1 });
      await appending;
      await opened.log.append(logRecord({ entries: [entry(4, 1)] }));
      await releasing;
      const { recovered } = await reopen();
      expect(recovered.compacted.index).toBe(1);
      expect(recovered.entries.map(({ index }) => index)).toEqual([2, 3, 4]);
      expect(recovered.lastSeq).toBe(5);
    });

    test('a record without content writes nothing', async () => {
      await opened.log.append(logRecord({}));
      expect(opened.log.lastSeq).toBe(1);
    });

    test('a second append in flight is a bug', async () => {
      const first = opened.log.append(logRecord({ entries: [entry(1, 1)] }));
      await expect(opened.log.append(logRecord({ entries: [entry(2, 1)] }))).rejects.toThrow(
        'one append in flight',
      );
      await first;
    });

    test('gaps, terms that go back, second votes and released entries are bugs', async () => {
      const misuse = async (record: Partial<LogRecord>, message: string): Promise<void> => {
        await opened.log.append(
          logRecord({ hardState: { term: 2, vote: 1, commit: 0 }, entries: [entry(1, 1)] }),
        );
        await opened.log.release({ index: 1, term: 1 });
        await expect(opened.log.append(logRecord(record))).rejects.toThrow(message);
        await expect(opened.log.append(logRecord({}))).rejects.toThrow(message);
        await opened.log.close();
        await disk.remove('wal');
        await open(true);
      };
      await misuse({ entries: [entry(3, 2)] }, 'gap');
      await misuse({ entries: [entry(1, 2)] }, 'released');
      await misuse({ hardState: { term: 1, vote: 1, commit: 0 } }, 'term');
      await misuse({ hardState: { term: 2, vote: 2, commit: 0 } }, 'vote');
    });

    test('an incarnation that the log already knows means that the identity went back in time', async () => {
      await opened.log.close();
      incarnation--;
      await expect(open()).rejects.toMatchObject({ code: 'data-dir-corrupt' });
      await open();
    });
  });
}
