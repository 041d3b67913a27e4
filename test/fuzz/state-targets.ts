import type { Row } from '../../src/core/mvcc/row.ts';
import type { StateMarker, TableRow } from '../../src/core/state.ts';
import { StateMachine } from '../../src/core/state-machine.ts';
import { StoreError } from '../../src/lib/errors.ts';
import type { LevelOp } from '../../src/member/ports.ts';
import { MemoryLevelOpener } from '../../src/member/storage/memory-level.ts';
import { recoverState } from '../../src/member/storage/recovery.ts';
import {
  checkFormat,
  decodeMarker,
  decodeRow,
  decodeTableRow,
  encodeFormat,
  encodeMarker,
  encodeRow,
  encodeTableRow,
  FORMAT_KEY,
  MARKER_KEY_BYTES,
  markerKey,
  ROW_KEY_BYTES,
  rowKey,
  type TableKey,
  tableKey,
} from '../../src/member/storage/schema.ts';
import {
  encodeSnapshot,
  installState,
  readSnapshot,
  readSnapshotFile,
  sealSnapshotFile,
} from '../../src/member/storage/snapshot-file.ts';
import type { SnapshotHeader } from '../../src/member/storage/snapshot-format.ts';
import { createStateStore } from '../../src/member/storage/state-store.ts';
import { MachineHarness } from '../core/machine-fixture.ts';
import { put, remove, txn } from '../core/mvcc/fixture.ts';
import { ManualClock, NO_DISK } from '../member/storage/model-core.ts';
import type { Target } from './fuzz.ts';
import { corrupt } from './log-targets.ts';
import { resealSnapshot, resealSnapshotFile, resealValue } from './seals.ts';

/** The state store: its values, a whole database, and snapshots as stream and as file. */

const CLUSTER = 4242;
const TABLE_ID_BYTES = 8;

// ---- a real state -------------------------------------------------------------------------------------------

interface State {
  readonly marker: StateMarker;
  readonly rows: readonly Row[];
  readonly tables: readonly TableRow[];
}

/** What a real state machine has written: keys of some sizes, leases, alarms, members and a compaction. */
function makeState(): State {
  const harness = new MachineHarness();
  harness.apply({ type: 'lease-grant', id: 5n, ttlSeconds: 60 });
  harness.apply(put('a', '1', { lease: 5n }));
  harness.apply(put('b', 'x'.repeat(300)));
  harness.apply(txn([], [put('c', ''), put('a', '2', { lease: 5n })]));
  harness.apply(remove('b'));
  harness.apply({ type: 'compact', revision: 3 });
  harness.collect();
  harness.apply({ type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' });
  harness.apply({ type: 'member-remove', id: 3 });
  harness.apply(put('d', 'last'));
  harness.flush();
  const tables = [...harness.tables.values()].filter((row) => row.value !== null);
  return { marker: harness.durable!, rows: harness.disk.all(), tables };
}

const STATE = makeState();
const HEADER: SnapshotHeader = { clusterId: CLUSTER, marker: STATE.marker, tables: STATE.tables };

// ---- values -------------------------------------------------------------------------------------------------

/** A key of a fixed length and its value, in one piece. */
function valueTarget<T>(options: {
  readonly name: string;
  readonly keyBytes: number;
  readonly values: readonly T[];
  readonly keyOf: (value: T) => Buffer;
  readonly encode: (key: Buffer, value: T) => Buffer;
  readonly decode: (key: Buffer, value: Buffer) => T;
}): Target<T> {
  const { name, keyBytes, values, keyOf } = options;
  const encode = (value: T): Buffer => {
    const key = keyOf(value);
    return Buffer.concat([key, options.encode(key, value)]);
  };
  return {
    name,
    seeds: values.map(encode),
    decode: (bytes) => options.decode(bytes.subarray(0, keyBytes), bytes.subarray(keyBytes)),
    allows: corrupt,
    encode,
    reseal: (bytes) => resealValue(bytes.subarray(0, keyBytes), bytes.subarray(keyBytes)),
  };
}

const row = valueTarget<Row>({
  name: 'row',
  keyBytes: ROW_KEY_BYTES,
  values: STATE.rows,
  keyOf: ({ main, sub }) => rowKey(main, sub),
  encode: encodeRow,
  decode: decodeRow,
});

const tableRow = valueTarget<TableRow & TableKey>({
  name: 'small-table row',
  keyBytes: 2 + TABLE_ID_BYTES + 8,
  values: [
    ...STATE.tables.filter(({ id }) => id.length === TABLE_ID_BYTES),
    { table: 'auth' as const, id: Buffer.alloc(TABLE_ID_BYTES), value: null },
  ].map((each) => ({ ...each, appliedIndex: 9 })),
  keyOf: tableKey,
  encode: encodeTableRow,
  decode: decodeTableRow,
});

const marker = valueTarget<StateMarker>({
  name: 'marker',
  keyBytes: MARKER_KEY_BYTES,
  values: [
    STATE.marker,
    { ...STATE.marker, hashCompactRevision: -1, applyHash: { a: -1, b: 2 ** 32 - 1 } },
    {
      ...STATE.marker,
      confState: {
        voters: [1, 2, 2 ** 52],
        votersOutgoing: [3],
        learners: [4, 5],
        learnersNext: [6],
        autoLeave: true,
      },
    },
  ],
  keyOf: markerKey,
  encode: encodeMarker,
  decode: decodeMarker,
});

const format: Target<null> = {
  name: 'format of the state store',
  seeds: [encodeFormat()],
  decode(bytes) {
    checkFormat(bytes);
    return null;
  },
  allows: corrupt,
  encode: encodeFormat,
  reseal: (bytes) => resealValue(FORMAT_KEY, bytes),
};

// ---- a whole database ---------------------------------------------------------------------------------------

const NAME = 'state-1';
type Pair = readonly [Buffer, Buffer];

function storeOptions(levels: MemoryLevelOpener) {
  return {
    name: NAME,
    levels,
    disk: NO_DISK,
    clock: new ManualClock(),
    onFatal: (error: Error) => void error,
  };
}

async function pairsOf(state: State): Promise<Pair[]> {
  const levels = new MemoryLevelOpener();
  const store = await createStateStore(storeOptions(levels), state);
  await store.close();
  const level = await levels.open(NAME, { create: false });
  const pairs = await level.scan({ gte: Buffer.of(0), lt: Buffer.of(0xff), limit: 10_000 });
  await level.close();
  return [...pairs];
}

/** Every key with its value: u16 and u32 lengths, then both. */
function joined(pairs: readonly Pair[]): Buffer {
  return Buffer.concat(
    pairs.flatMap(([key, value]) => {
      const lengths = Buffer.alloc(6);
      lengths.writeUInt16BE(key.length, 0);
      lengths.writeUInt32BE(value.length, 2);
      return [lengths, key, value];
    }),
  );
}

function split(bytes: Buffer): Pair[] {
  const pairs: Pair[] = [];
  for (let at = 0; at + 6 <= bytes.length; ) {
    const keyEnd = at + 6 + bytes.readUInt16BE(at);
    const end = keyEnd + bytes.readUInt32BE(at + 2);
    if (end > bytes.length) break;
    if (keyEnd > at + 6) pairs.push([bytes.subarray(at + 6, keyEnd), bytes.subarray(keyEnd, end)]);
    at = end;
  }
  return pairs;
}

/** What a member's recovery makes of a database. */
async function recoveredState(levels: MemoryLevelOpener): Promise<StateMarker> {
  const machine = new StateMachine({
    source: { row: () => undefined },
    cacheBytesMax: 4096,
    bootstrapMembers: [],
  });
  const { store } = await recoverState(storeOptions(levels), machine);
  await store.close();
  return machine.marker();
}

const database: Target<StateMarker> = {
  name: 'whole state store',
  seeds: [joined(await pairsOf(STATE))],
  async decode(bytes) {
    const levels = new MemoryLevelOpener();
    const level = await levels.open(NAME, { create: true });
    const ops = split(bytes).map(([key, value]): LevelOp => ({ type: 'put', key, value }));
    if (ops.length > 0) await level.batch(ops, { sync: true });
    await level.close();
    return recoveredState(levels);
  },
  allows: corrupt,
  reseal: (bytes) => {
    for (const [key, value] of split(bytes)) resealValue(key, value);
  },
  allocationFactor: 64,
};

// ---- snapshots ----------------------------------------------------------------------------------------------

interface Snapshot {
  readonly header: SnapshotHeader;
  readonly rows: readonly Row[];
}

async function* from<T>(...items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function gathered(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

/** Pieces of a size that follows from the bytes. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  const pieceBytes = 1 + (((bytes.at(-1) ?? 0) * 7) % 999);
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function snapshotBy(
  read: typeof readSnapshot | typeof readSnapshotFile,
  bytes: Buffer,
): Promise<Snapshot> {
  const tables: TableRow[] = [];
  const rows: Row[] = [];
  const { clusterId, marker: found } = await read(pieces(bytes), {
    header: () => {},
    table: ({ table, id, value }) =>
      tables.push({ table, id, value: value === null ? null : Buffer.from(value) }),
    row: (each) => rows.push({ ...each, key: Buffer.from(each.key), value: Buffer.from(each.value) }),
  });
  return { header: { clusterId, marker: found, tables }, rows };
}

function snapshotBytes({ header, rows }: Snapshot): Promise<Buffer> {
  return gathered(encodeSnapshot(header, from(rows)));
}

const SNAPSHOTS: readonly Snapshot[] = [
  { header: HEADER, rows: STATE.rows },
  { header: { ...HEADER, tables: [] }, rows: [] },
];

const snapshotStream: Target<Snapshot> = {
  name: 'snapshot',
  seeds: await Promise.all(SNAPSHOTS.map(snapshotBytes)),
  decode: (bytes) => snapshotBy(readSnapshot, bytes),
  allows: corrupt,
  encode: snapshotBytes,
  reseal: resealSnapshot,
};

const fileBytes = ({ header, rows }: Snapshot): Promise<Buffer> =>
  gathered(sealSnapshotFile(encodeSnapshot(header, from(rows))));

const snapshotFile: Target<Snapshot> = {
  name: 'snapshot file',
  seeds: await Promise.all(SNAPSHOTS.map(fileBytes)),
  decode: (bytes) => snapshotBy(readSnapshotFile, bytes),
  allows: corrupt,
  encode: fileBytes,
  reseal: resealSnapshotFile,
};

const install: Target<StateMarker> = {
  name: 'installed snapshot',
  seeds: [await snapshotBytes(SNAPSHOTS[0]!)],
  async decode(bytes) {
    const levels = new MemoryLevelOpener();
    await installState({ name: NAME, levels, disk: NO_DISK, clusterId: CLUSTER }, pieces(bytes));
    return recoveredState(levels);
  },
  allows: (error) => corrupt(error) || (error instanceof StoreError && error.code === 'cluster-id-mismatch'),
  reseal: resealSnapshot,
  allocationFactor: 64,
};

export const STATE_TARGETS: readonly Target<unknown>[] = [
  row,
  tableRow,
  marker,
  format,
  database,
  snapshotStream,
  snapshotFile,
  install,
] as readonly Target<unknown>[];
