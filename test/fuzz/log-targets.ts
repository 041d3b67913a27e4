import type { Entry } from '../../src/core/raft/messages.ts';
import { StoreError } from '../../src/lib/errors.ts';
import type { RecoveredLog } from '../../src/member/ports.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { openLog } from '../../src/member/storage/wal.ts';
import {
  checkRecord,
  decodeRecord,
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  recordSizeBytes,
  SEGMENT_HEADER_BYTES,
  type WalRecord,
} from '../../src/member/storage/wal-format.ts';
import { inspectLog } from '../../src/member/storage/wal-inspect.ts';
import { listSegments } from '../../src/member/storage/wal-recovery.ts';
import { segmentName } from '../../src/member/storage/wal-segment.ts';
import { seededRandom } from '../member/storage/seeded-random.ts';
import type { Target } from './fuzz.ts';
import { resealLog, resealRecord, resealSegmentHeader } from './seals.ts';

/** The write-ahead log: its segment headers, its records, and the recovery of a whole log. */

const SEGMENT_BYTES = 4096;
const TAG = 0x1234_5678;

export const corrupt = (error: unknown): boolean =>
  error instanceof StoreError && (error.code === 'data-dir-corrupt' || error.code === 'data-dir-foreign');

/** What is no header or record at all is null for the decoders; here it counts as refused. */
function present<T>(value: T | null): T {
  if (value === null) throw new StoreError('data-dir-corrupt', 'nothing there');
  return value;
}

interface SegmentHeader {
  readonly tag: number;
  readonly firstSeq: number;
}

function segmentHeaderBytes(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  encodeSegmentHeader(bytes, header);
  return bytes;
}

const segmentHeader: Target<SegmentHeader> = {
  name: 'segment header',
  seeds: [segmentHeaderBytes({ tag: TAG, firstSeq: 1 }), segmentHeaderBytes({ tag: 1, firstSeq: 2 ** 50 })],
  decode: (bytes) => present(decodeSegmentHeader(bytes)),
  allows: corrupt,
  encode: segmentHeaderBytes,
  reseal: resealSegmentHeader,
};

// ---- records ------------------------------------------------------------------------------------------------

const confState = {
  voters: [1, 2, 3],
  votersOutgoing: [1],
  learners: [4],
  learnersNext: [],
  autoLeave: true,
};
const hardState = { term: 7, vote: 2 ** 52, commit: 9 };
const snapshot = { index: 40, term: 6, confState, stateName: 'state-12' };
const nothing: WalRecord = {
  seq: 5,
  durableSeq: 4,
  previousChecksum: 77,
  checkpoint: null,
  hardState: null,
  position: null,
  incarnation: null,
  snapshot: null,
  entries: [],
};

function entries(first: number, sizes: readonly number[], term = 7): Entry[] {
  return sizes.map((bytes, i) => ({
    index: first + i,
    term,
    kind: i % 3 === 2 ? 'conf-change' : 'normal',
    data: Buffer.alloc(bytes, i),
  }));
}

const RECORDS: readonly WalRecord[] = [
  nothing,
  { ...nothing, hardState, entries: entries(10, [0, 40, 3]) },
  { ...nothing, position: { index: 5, term: 3 }, incarnation: 2 ** 21 },
  { ...nothing, snapshot, hardState },
  {
    ...nothing,
    checkpoint: { hardState, position: { index: 3, term: 2 }, lastIndex: 12, incarnation: 2 ** 22, snapshot },
    entries: entries(13, [100]),
  },
];

function recordBytes(record: WalRecord): Buffer {
  const bytes = Buffer.alloc(recordSizeBytes(record));
  encodeRecord(bytes, record, TAG);
  return bytes;
}

const record: Target<WalRecord> = {
  name: 'log record',
  seeds: RECORDS.map(recordBytes),
  decode: (bytes) => decodeRecord(bytes, 0, present(checkRecord(bytes, 0, TAG))),
  allows: corrupt,
  encode: recordBytes,
  reseal: (bytes) => void resealRecord(bytes, 0),
};

// ---- a whole log --------------------------------------------------------------------------------------------

/** A log made of several segments, with everything that a member writes into one. */
async function makeLog(seed: number): Promise<Buffer> {
  const disk = new MemoryDisk();
  await disk.makeDirectory('');
  const random = seededRandom(seed);
  const open = (create: boolean, incarnation: number) =>
    openLog({ disk, directory: 'wal', segmentBytes: SEGMENT_BYTES, create, incarnation, random });
  let { log } = await open(true, 1);
  const none = { hardState: null, entries: [], snapshot: null, sync: true };
  for (let index = 1; index < 40; index += 3) {
    const more = entries(index, [200, 100, 30], 1);
    await log.append({ ...none, hardState: { term: 1, vote: 1, commit: index - 1 }, entries: more });
  }
  await log.append({ ...none, hardState: { term: 2, vote: 0, commit: 30 }, entries: entries(38, [10], 2) });
  if (seed > 1) await log.release({ index: 20, term: 1 });
  if (seed > 2)
    await log.append({ ...none, snapshot: { ...snapshot, index: 60 }, entries: entries(61, [9, 9]) });
  await log.close();
  ({ log } = await open(false, 2 ** 21));
  await log.append({ ...none, sync: false, hardState: { term: 8, vote: 3, commit: 38 } });
  await log.close();
  const names = await listSegments(disk, 'wal');
  return Buffer.concat(await Promise.all(names.map((name) => disk.readFile(`wal/${name}`))));
}

/** A disk with the segments that the bytes are; each has the name that its header asks for. */
async function diskOf(bytes: Buffer): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.makeDirectory('wal');
  for (let start = 0, seq = 1; start < bytes.length; start += SEGMENT_BYTES, seq++) {
    const content = bytes.subarray(start, start + SEGMENT_BYTES);
    const claimed = content.length < SEGMENT_HEADER_BYTES ? 0 : Number(content.readBigUInt64LE(16));
    const name = segmentName(claimed > 0 && claimed < 10 ** 15 ? claimed : seq);
    if (await disk.exists(`wal/${name}`)) continue;
    const file = await disk.open(`wal/${name}`, 'create');
    await file.write(content, 0);
    await file.datasync();
    await file.close();
  }
  return disk;
}

type Recovery = Omit<RecoveredLog, 'lastSeq' | 'droppedTail'>;

/** What recovery finds; and finds again after the log was opened, written to and closed. */
async function recovered(bytes: Buffer): Promise<Recovery> {
  const disk = await diskOf(bytes);
  const inspection = await inspectLog({ disk, directory: 'wal' });
  if (!inspection.ok) throw new StoreError(inspection.code, inspection.problem);
  const first = meaningOf(inspection.recovered);
  const random = seededRandom(1);
  // An identity is at most as new as a safe integer, and newer than its log.
  for (
    let incarnation = inspection.incarnation + 1;
    incarnation <= inspection.incarnation + 2;
    incarnation++
  ) {
    if (!Number.isSafeInteger(incarnation)) return first;
    const opened = await openLog({
      disk,
      directory: 'wal',
      segmentBytes: SEGMENT_BYTES,
      create: false,
      incarnation,
      random,
    });
    await opened.log.close();
    if (JSON.stringify(meaningOf(opened.recovered)) !== JSON.stringify(first)) {
      throw new Error('recovery changed what the log says');
    }
  }
  return first;
}

function meaningOf({
  hardState: hard,
  compacted,
  entries: list,
  snapshot: installed,
}: RecoveredLog): Recovery {
  return { hardState: hard, compacted, entries: list, snapshot: installed };
}

const wholeLog: Target<Recovery> = {
  name: 'whole log',
  seeds: await Promise.all([1, 2, 3].map(makeLog)),
  decode: recovered,
  allows: corrupt,
  reseal: (bytes) => resealLog(bytes, SEGMENT_BYTES),
  // Recovery rewrites what may not be durable, three times over, onto zeros that are filled in anew.
  allocationFactor: 64,
  share: 0.4,
};

export const LOG_TARGETS: readonly Target<unknown>[] = [
  segmentHeader,
  record,
  wholeLog,
] as readonly Target<unknown>[];
