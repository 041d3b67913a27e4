import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import type { KeyValue } from '../../src/client/types.ts';
import { ALL_FROM } from '../../src/lib/range-end.ts';
import { type CommandResult, etcdctl, run } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';
import { etcdBinary, type Server, startConclave, startEtcd } from './differential/server.ts';

const BINARY = etcdBinary();
const skip = BINARY === null && process.env['CI'] !== 'true';
const MAIN = join(import.meta.dirname, '../../dist/src/main.js');
const LEASE = 0x1234n;
const KEYS = 1_500;

function conclave(server: Server, ...args: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [MAIN, ...args, '--endpoints', server.clientUrl]);
}

/** Everything in a store, without what differs between two: revisions. */
async function contents(server: Server): Promise<readonly string[]> {
  using client = new KvClient({ endpoints: [server.clientUrl] });
  const { kvs } = await client.range({ key: Buffer.alloc(1), rangeEnd: ALL_FROM });
  return kvs.map(line);
}

function line({ key, value, lease }: KeyValue): string {
  return `${key.toString('base64')} ${value.toString('base64')} ${lease}`;
}

async function fill(server: Server): Promise<void> {
  using client = new KvClient({ endpoints: [server.clientUrl] });
  await client.leaseGrant({ id: LEASE, ttlSeconds: 600 });
  for (let first = 0; first < KEYS; first += 100) {
    const success = Array.from({ length: 100 }, (_, i) => {
      const key = `many/${String(first + i).padStart(5, '0')}`;
      return { type: 'put', key, value: `${key} `.repeat(20) } as const;
    });
    await client.txn({ compare: [], success, failure: [] });
  }
  await client.put({ key: 'changed', value: 'old' });
  await client.put({ key: 'changed', value: 'new' });
  await client.put({ key: 'deleted', value: 'x' });
  await client.delete({ key: 'deleted' });
  await client.put({ key: 'leased', value: 'x', lease: LEASE });
  await client.put({ key: Buffer.from([0xff, 0, 0xfe]), value: Buffer.from([0, 0xff]) });
  await client.put({ key: 'empty', value: '' });
  // Longer than a page, so that one runs over into the next.
  await client.put({ key: 'long', value: Buffer.alloc(300_000, 7) });
}

describe.skipIf(skip)('keys come from a real etcd, and go back (needs ETCD_BIN)', () => {
  let directory: string;
  let etcd: Server;
  let snapshot: string;
  let filled: readonly string[];

  beforeAll(async () => {
    if (BINARY === null) throw new Error('no etcd to import from: set ETCD_BIN');
    directory = await mkdtemp(join(tmpdir(), 'conclave-from-etcd-'));
    etcd = await startEtcd(BINARY);
    await fill(etcd);
    filled = await contents(etcd);
    snapshot = join(directory, 'etcd.db');
    expect(await etcdctl(etcd.clientUrl, 'snapshot', 'save', snapshot)).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await etcd?.destroy();
    await rm(directory, { recursive: true, force: true });
  });

  async function withConclave(work: (server: Server) => Promise<void>): Promise<void> {
    const server = await startConclave();
    try {
      await work(server);
    } finally {
      await server.destroy();
    }
  }

  test('a snapshot that etcd made is imported whole, leases too; a second time only over what is there', async () => {
    await withConclave(async (server) => {
      const first = await conclave(server, 'import', 'etcd-snapshot', snapshot, '-w', 'json');
      expect(first).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse(first.stdout)).toEqual({ keys: filled.length, leases: 1 });
      expect(await contents(server)).toEqual(filled);
      using client = new KvClient({ endpoints: [server.clientUrl] });
      const lease = await client.leaseTimeToLive({ id: LEASE, keys: true });
      expect(lease).toMatchObject({ grantedTtlSeconds: 600, keys: [Buffer.from('leased')] });

      await client.leaseRevoke(LEASE);
      const again = await conclave(server, 'import', 'etcd-snapshot', snapshot);
      expect(again.code).toBe(1);
      expect(again.stderr).toContain('exists already');
      // The lease of the attempt that failed is kept.
      expect(await conclave(server, 'import', 'etcd-snapshot', snapshot, '--overwrite')).toMatchObject({
        code: 0,
      });
      expect(await contents(server)).toEqual(filled);
    });
  });

  test('what is exported is imported elsewhere, without leases', async () => {
    const exported = await conclave(etcd, 'export');
    expect(exported).toMatchObject({ code: 0, stderr: '' });
    const file = join(directory, 'keys.jsonl');
    await writeFile(file, exported.stdout);
    await withConclave(async (server) => {
      expect(await conclave(server, 'import', 'keys', file)).toMatchObject({ code: 0 });
      const unleased = filled.map((text) => text.replace(/ \d+$/, ' 0'));
      expect(await contents(server)).toEqual(unleased);
      const part = await conclave(server, 'export', 'many/0000', '--prefix');
      expect(part.stdout.trim().split('\n')).toHaveLength(10);
    });
  });

  test('a damaged or foreign file is refused before anything is written', async () => {
    const bytes = await readFile(snapshot);
    const torn = join(directory, 'torn.db');
    const foreign = join(directory, 'foreign.db');
    await writeFile(torn, bytes.subarray(0, Math.floor(bytes.length / 2)));
    await writeFile(foreign, 'no database');
    await withConclave(async (server) => {
      for (const [file, text] of [
        [torn, 'damaged'],
        [foreign, 'no bbolt database'],
        [join(directory, 'none.db'), 'does not exist'],
      ] as const) {
        const result = await conclave(server, 'import', 'etcd-snapshot', file);
        expect(result.code).toBe(1);
        expect(result.stderr).toContain(text);
      }
      expect(await contents(server)).toEqual([]);
    });
  });

  test('etcdctl make-mirror copies from etcd to Conclave, and from Conclave to etcd, and follows', async () => {
    await withConclave(async (server) => {
      await mirrored(etcd, server);
      const back = await startEtcd(BINARY!);
      try {
        await mirrored(server, back);
      } finally {
        await back.destroy();
      }
    });
  });
});

/** Mirrors until the copy has everything, and one change made meanwhile. */
async function mirrored(from: Server, to: Server): Promise<void> {
  const address = new URL(to.clientUrl).host;
  const mirror = spawn('etcdctl', ['--endpoints', from.clientUrl, 'make-mirror', address], {
    env: { ...process.env, ETCDCTL_API: '3' },
    stdio: 'ignore',
  });
  const exited = new Promise((resolve) => mirror.once('exit', resolve));
  try {
    using client = new KvClient({ endpoints: [from.clientUrl] });
    const values = async (server: Server): Promise<readonly string[]> =>
      (await contents(server)).map((text) => text.replace(/ \d+$/, ''));
    const wanted = await values(from);
    await eventually('the copy is whole', async () => String(await values(to)) === String(wanted));
    await client.put({ key: 'meanwhile', value: to.name });
    await client.delete({ key: 'empty' });
    const after = await values(from);
    expect(after).not.toEqual(wanted);
    await eventually('the copy follows', async () => String(await values(to)) === String(after));
  } finally {
    mirror.kill('SIGKILL');
    await exited;
  }
}
