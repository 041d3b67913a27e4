import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeCommand, type Operation } from '../../../src/core/command.ts';
import { deleteRequest, putRequest, rangeRequest } from '../../../src/core/mvcc/operations.ts';
import type { Row } from '../../../src/core/mvcc/row.ts';
import { StateMachine } from '../../../src/core/state-machine.ts';
import { offlinePorts } from '../../../src/member/offline/ports.ts';
import { type RestoreRequest, restoreSnapshot } from '../../../src/member/offline/restore.ts';
import { verifyDataDirectory } from '../../../src/member/offline/verify.ts';
import { openReplica } from '../../../src/member/replica.ts';
import {
  beginRestore,
  readIdentity,
  unfinishedRestore,
  writeQuarantine,
} from '../../../src/member/storage/data-dir.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { MemoryLevelOpener } from '../../../src/member/storage/memory-level.ts';
import { encodeSnapshot, sealSnapshotFile } from '../../../src/member/storage/snapshot-file.ts';
import { systemClock } from '../../../src/member/system.ts';
import { run } from '../../cli/captured-io.ts';
import { seededRandom } from '../storage/seeded-random.ts';

const MEMBERS = [
  { name: 'n1', peerUrls: ['http://h1:2380'] },
  { name: 'n2', peerUrls: ['http://h2:2380'] },
];
const bytes = (text: string): Buffer => Buffer.from(text);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-offline-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

function put(key: string, value: string, lease = 0n): Operation {
  return putRequest({ key: bytes(key), value: bytes(value), lease });
}

/** A backup of a store with a lease, an alarm, a deleted key, and a compaction. */
async function backup(): Promise<Buffer> {
  const old = { id: 99, name: 'old', peerUrls: ['http://old:1'], clientUrls: [] };
  const rows: Row[] = [];
  const source = {
    row: (main: number, sub: number) => rows.find((row) => row.main === main && row.sub === sub),
  };
  const machine = new StateMachine({ source, cacheBytesMax: 1024 * 1024, bootstrapMembers: [old] });
  const operations: Operation[] = [
    { type: 'lease-grant', id: -7n, ttlSeconds: 100 },
    put('a', '1'),
    put('a', '2'),
    put('leased', 'x', -7n),
    put('gone', 'x'),
    deleteRequest({ key: bytes('gone') }),
    { type: 'compact', revision: 3 },
    { type: 'alarm', action: 'activate', member: 99, alarm: 'corrupt' },
  ];
  for (const [at, operation] of operations.entries()) {
    const data = encodeCommand({ id: null, user: '', authRevision: 0, operation });
    machine.apply({ index: at + 1, term: 1, kind: 'normal', data });
  }
  rows.push(...(machine.takeBatch()?.rows ?? []));
  const header = { clusterId: 1234, marker: machine.marker(), tables: machine.tableRows() };
  const stream = (async function* () {
    yield rows;
  })();
  const pieces: Buffer[] = [];
  for await (const piece of sealSnapshotFile(encodeSnapshot(header, stream))) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function restored(file: Buffer, overrides: Partial<RestoreRequest> = {}, into = 'data') {
  const dataDir = join(directory, into);
  await mkdir(dataDir);
  const result = await restoreSnapshot(offlinePorts(dataDir), { ...requestFor(file), ...overrides });
  return { dataDir, result };
}

function requestFor(file: Buffer): RestoreRequest {
  return {
    open: async function* () {
      for (let at = 0; at < file.length; at += 100) yield file.subarray(at, at + 100);
    },
    name: 'n1',
    initialCluster: MEMBERS,
    initialClusterToken: 'token',
    bumpRevision: 1000,
    markCompacted: true,
    segmentBytes: 64 * 1024,
  };
}

async function opened(dataDir: string) {
  const ports = offlinePorts(dataDir);
  const onFatal = (error: unknown): void => {
    throw error;
  };
  return openReplica({ ...ports, clock: systemClock, cacheBytesMax: 1024 * 1024, onFatal }, 'state-1');
}

test('a restored member has the keys and leases of the backup, and the members of the new cluster', async () => {
  const { dataDir, result } = await restored(await backup());
  expect(result.revision).toBe(6 + 1000);
  const { machine, store, marker } = await opened(dataDir);
  expect(marker).toMatchObject({
    appliedIndex: 1,
    appliedTerm: 1,
    currentRevision: 1006,
    compactRevision: 1006,
  });
  const range = rangeRequest({ key: bytes('a'), rangeEnd: bytes('z') });
  const { kvs } = machine.store.range(range);
  expect(kvs.map((kv) => `${kv.key.toString()}=${kv.value.toString()}@${kv.modRevision}`)).toEqual([
    'a=2@3',
    'leased=x@4',
  ]);
  expect(() => machine.store.range({ ...range, revision: 1005 })).toThrow('compacted');
  expect(machine.lessor.list()).toMatchObject([{ id: -7n, ttlSeconds: 100 }]);
  expect(machine.lessor.keys(-7n)).toEqual([bytes('leased')]);
  expect(machine.alarms.list()).toEqual([]);
  const members = machine.memberList();
  expect(new Set(members.flatMap((member) => member.peerUrls))).toEqual(
    new Set(['http://h1:2380', 'http://h2:2380']),
  );
  expect(new Set(marker.confState.voters)).toEqual(new Set(members.map((member) => member.id)));
  expect(members.map((member) => member.id)).toContain(result.memberId);
  await store.close();
});

test('every member restored from one file belongs to one cluster; another file makes another', async () => {
  const file = await backup();
  const one = (await restored(file)).result;
  const two = (await restored(file, { name: 'n2' }, 'two')).result;
  expect(two.clusterId).toBe(one.clusterId);
  expect(two.memberId).not.toBe(one.memberId);
  const token = (await restored(file, { initialClusterToken: 'other' }, 'three')).result;
  expect(token.clusterId).not.toBe(one.clusterId);
  expect(one.clusterId).not.toBe(1234);
});

test('history stays readable when that is asked for', async () => {
  const { dataDir } = await restored(await backup(), { bumpRevision: 0, markCompacted: false });
  const { store, marker } = await opened(dataDir);
  expect(marker).toMatchObject({ currentRevision: 6, compactRevision: 3 });
  await store.close();
});

test('a damaged file is refused before anything is written', async () => {
  const file = await backup();
  for (const at of [20, 200, file.length - 40, file.length - 1]) {
    const damaged = Buffer.from(file);
    damaged[at]! ^= 4;
    await expect(restored(damaged, {}, `at-${at}`)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
    expect(await readIdentity(offlinePorts(join(directory, `at-${at}`)).disk)).toBeNull();
  }
  await expect(restored(file.subarray(0, 300), {}, 'short')).rejects.toMatchObject({
    code: 'data-dir-corrupt',
  });
});

test('a revision beyond what can be counted is refused', async () => {
  const bumpRevision = Number.MAX_SAFE_INTEGER;
  await expect(restored(await backup(), { bumpRevision })).rejects.toMatchObject({ code: 'bad-options' });
});

test('wherever a restore is cut short, no member starts on what it left', async () => {
  const file = await backup();
  const random = seededRandom(1);
  let cut = 0;
  for (let finished = false; !finished; cut++) {
    let operations = 0;
    const disk = new MemoryDisk({
      onOperation: () => {
        if (operations++ === cut) throw new Error('killed');
      },
    });
    const levels = new MemoryLevelOpener();
    finished = await restoreSnapshot({ disk, levels, random }, requestFor(file)).then(
      () => true,
      () => false,
    );
    operations = Number.NEGATIVE_INFINITY;
    disk.crash(random);
    const nothing = !levels.exists('state-1') && !(await disk.exists('wal'));
    expect(nothing || (await readIdentity(disk)) !== null || (await unfinishedRestore(disk)) !== null).toBe(
      true,
    );
    expect(finished && (await unfinishedRestore(disk)) !== null).toBe(false);
  }
  expect(cut).toBeGreaterThan(20);
});

// ---- verify -------------------------------------------------------------------------------------------------

test('a whole directory has no problems', async () => {
  const { dataDir, result } = await restored(await backup());
  const report = await verifyDataDirectory(offlinePorts(dataDir));
  expect(report.problems).toEqual([]);
  expect(report.identity).toMatchObject({ clusterId: result.clusterId, name: 'n1', incarnation: 1 });
  expect(report.state).toMatchObject({ name: 'state-1', keys: 2, leases: 1, memberCount: 2 });
  expect(report.log?.recovered.hardState).toMatchObject({ term: 1, commit: 1 });
});

test('damage anywhere is found and named', async () => {
  const file = await backup();
  const log = await restored(file, {}, 'log');
  const [segment] = await readdir(join(log.dataDir, 'wal'));
  const path = join(log.dataDir, 'wal', segment!);
  const bytesOfLog = await readFile(path);
  bytesOfLog[4]! ^= 1;
  await writeFile(path, bytesOfLog);
  expect((await verifyDataDirectory(offlinePorts(log.dataDir))).problems).toHaveLength(1);

  const identity = await restored(file, {}, 'identity');
  await appendFile(join(identity.dataDir, 'IDENTITY'), 'x');
  expect((await verifyDataDirectory(offlinePorts(identity.dataDir))).problems[0]).toContain('IDENTITY');

  const quarantined = await restored(file, {}, 'quarantined');
  await writeQuarantine(offlinePorts(quarantined.dataDir).disk, 'bit rot');
  expect((await verifyDataDirectory(offlinePorts(quarantined.dataDir))).problems[0]).toContain('bit rot');
});

test('a directory without a member is told apart', async () => {
  const { problems } = await verifyDataDirectory(offlinePorts(directory));
  expect(problems[0]).toContain('there is no IDENTITY');
});

// ---- the commands -------------------------------------------------------------------------------------------

test('status, restore and verify as commands', async () => {
  const file = join(directory, 'backup.db');
  await writeFile(file, await backup());
  const status = await run(['snapshot', 'status', file, '-w', 'json']);
  expect(JSON.parse(status.out)).toMatchObject({ revision: 6, compactRevision: 3, clusterId: 1234 });
  expect((await run(['snapshot', 'status', file])).out).toMatch(/^SHA-256 +CLUSTER +REVISION[^]* 4d2 +6 +3 /);

  const dataDir = join(directory, 'n1');
  const words = ['snapshot', 'restore', file, '--data-dir', dataDir, '--name', 'n1'];
  const cluster = [
    '--initial-cluster',
    'n1=http://h1:2380',
    '--initial-advertise-peer-urls',
    'http://h1:2380',
  ];
  const done = await run([...words, ...cluster]);
  expect({ code: done.code, err: done.err }).toEqual({ code: 0, err: '' });
  expect(done.out).toMatch(
    /^Restored .*n1: member [0-9a-f]+ of the new cluster [0-9a-f]+, revision 1000000006\n$/,
  );

  const again = await run([...words, ...cluster]);
  expect(again).toMatchObject({
    code: 1,
    err: `error: ${dataDir} is not empty; restore into a new directory\n`,
  });
  const verified = await run(['verify', dataDir]);
  expect(verified).toMatchObject({ code: 0 });
  expect(verified.out).toMatch(/member {4}n1[^]*state {5}state-1[^]*everything is whole\n$/);
});

test('the directory of a running member is refused', async () => {
  const { dataDir } = await restored(await backup());
  const { store } = await opened(dataDir);
  const { code, err } = await run(['verify', dataDir]);
  expect({ code, err }).toEqual({
    code: 1,
    err: `error: ${dataDir}/state-1 is in use by another process; stop the member first\n`,
  });
  await store.close();
});

test('what a killed restore left is refused by verify, and by another restore', async () => {
  const file = join(directory, 'backup.db');
  await writeFile(file, await backup());
  const dataDir = join(directory, 'n1');
  await mkdir(dataDir);
  await beginRestore(offlinePorts(dataDir).disk);
  const verified = await run(['verify', dataDir]);
  expect(verified.code).toBe(1);
  expect(verified.out).toContain('PROBLEM');
  expect(verified.out).toContain('holds a restore that did not finish');
  const again = await run(['snapshot', 'restore', file, '--data-dir', dataDir]);
  expect(again).toMatchObject({
    code: 1,
    err: `error: ${dataDir} holds a restore that did not finish; remove it and restore again\n`,
  });
});

test('a restore that fails leaves no directory contents behind', async () => {
  const file = join(directory, 'backup.db');
  const damaged = await backup();
  damaged[300]! ^= 1;
  await writeFile(file, damaged);
  const dataDir = join(directory, 'n1');
  const { code, err } = await run(['snapshot', 'restore', file, '--data-dir', dataDir]);
  expect(code).toBe(1);
  expect(err).toContain('error: the snapshot is damaged');
  const whole = await backup();
  await writeFile(file, whole);
  expect((await run(['snapshot', 'restore', file, '--data-dir', dataDir])).code).toBe(0);
});

test('a cluster that does not name the member is a usage error', async () => {
  const file = join(directory, 'backup.db');
  await writeFile(file, await backup());
  const words = ['snapshot', 'restore', file, '--name', 'n3', '--initial-cluster', 'n1=http://h1:2380'];
  const { code, err } = await run([...words, '--data-dir', join(directory, 'n3')]);
  expect({ code, err }).toEqual({
    code: 2,
    err: 'error: --initial-cluster does not name this member (--name n3)\n',
  });
});
