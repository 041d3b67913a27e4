import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { beginRestore } from '../../src/member/storage/data-dir.ts';
import { NodeDisk } from '../../src/member/storage/disk.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { run } from '../support/etcdctl.ts';

/** What a server must not start on, or must not start with: each a clear error and a non-zero exit code. */

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');
const FAILED = 1;
const WRONG_USAGE = 2;
/** Shorter than the defaults, for tests that wait until a member despairs of its leader. */
const IMPATIENT = ['--heartbeat-interval=50', '--election-timeout=300'];

const clusters: Cluster[] = [];
afterEach(async () => {
  await Promise.all(clusters.splice(0).map((cluster) => cluster.destroy()));
});

async function started(size: number, flags: readonly string[] = []): Promise<Cluster> {
  const cluster = await Cluster.create(size, flags);
  clusters.push(cluster);
  await cluster.startAll();
  return cluster;
}

describe('wrong options', () => {
  test.each([
    ['--no-such-option=1', 'no-such-option'],
    ['--cert-file=server.pem', 'cert-file'],
    ['--client-cert-auth', 'client-cert-auth'],
    ['--peer-trusted-ca-file=ca.pem', 'peer-trusted-ca-file'],
    ['--listen-client-urls=https://127.0.0.1:2379', 'needs --cert-file and --key-file, or --auto-tls'],
    ['--listen-http-urls=http://0.0.0.0:8080', 'would leave this machine unencrypted'],
    ['--listen-client-urls=127.0.0.1', 'is not of the form http://host:port'],
    ['--listen-peer-urls=http://127.0.0.1', 'has no port'],
    ['--listen-peer-urls=http://0.0.0.0:2380', '--initial-advertise-peer-urls is needed'],
    ['--initial-cluster=other=http://localhost:2380', 'does not name this member (--name default)'],
    ['--initial-cluster=default=http://localhost:9', 'but --initial-advertise-peer-urls is'],
    ['--initial-cluster=nonsense', 'is not of the form name=http://host:port'],
    ['--initial-cluster-state=old', "'old' is none of new, existing"],
    ['--election-timeout=100', 'less than 5 times --heartbeat-interval'],
    ['--max-txn-ops=many', 'is not a whole number'],
    ['--name=a,b', 'is not a member name'],
    ['--data-dir', '--data-dir needs a value'],
    ['server', 'is not a flag'],
  ])('%s', async (flag, words) => {
    const directory = await mkdtemp(join(tmpdir(), 'conclave-flags-'));
    try {
      const env = { CONCLAVE_DATA_DIR: join(directory, 'data') };
      const result = await run(process.execPath, [MAIN, 'server', flag], env);
      expect(result, result.stderr).toMatchObject({ code: WRONG_USAGE, stdout: '' });
      expect(result.stderr).toMatch(/^error: .*\n$/);
      expect(result.stderr).toContain(words);
      expect(await readdir(directory)).toEqual([]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('a wrong variable and a wrong line of the file are named as such', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'conclave-flags-'));
    try {
      const variable = await run(process.execPath, [MAIN, 'server'], { CONCLAVE_ELECTION_TIMEOUT: 'soon' });
      expect(variable).toMatchObject({ code: WRONG_USAGE });
      expect(variable.stderr).toContain('CONCLAVE_ELECTION_TIMEOUT');
      const path = join(directory, 'conclave.yaml');
      await writeFile(path, 'name: n1\ntls: true\n');
      const file = await run(process.execPath, [MAIN, 'server', `--config-file=${path}`]);
      expect(file).toMatchObject({ code: WRONG_USAGE });
      expect(file.stderr).toContain(`'tls' in ${path}`);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe('a taken port', () => {
  test.each(['clientUrl', 'peerUrl', 'httpUrl'] as const)('%s', async (use) => {
    const cluster = await Cluster.create(1);
    clusters.push(cluster);
    const member = cluster.members[0]!;
    const other = await occupy(member[use]);
    expect(await cluster.launch(member).exit()).toBe(FAILED);
    expect(errorOf(member)).toMatchObject({ code: 'bad-options' });
    expect(errorOf(member).msg).toContain(member[use]);
    expect(errorOf(member).msg).toMatch(/is (already )?in use/);
    await new Promise((resolve) => other.close(resolve));
    await cluster.launch(member).ready();
  });
});

describe('a directory that is not free', () => {
  test('in use by another process: refused, and the other goes on', async () => {
    const cluster = await started(1);
    const member = cluster.members[0]!;
    const second = { ...(await cluster.addPlace('second')), name: member.name, dataDir: member.dataDir };
    const intruder = cluster.launch(second, { initialCluster: `${member.name}=${second.peerUrl}` });
    expect(await intruder.exit()).toBe(FAILED);
    expect(errorOf(second)).toMatchObject({ code: 'data-dir-in-use' });
    expect(errorOf(second).msg).toContain(`${member.dataDir}/state-1 is in use by another process`);
    await put(member, 'still', 'writable');
    await cluster.restart(member);
    expect(await get(member, 'still')).toBe('writable');
  });

  test('left by a restore that was killed: refused, not taken for an empty one', async () => {
    const cluster = await Cluster.create(1);
    clusters.push(cluster);
    const member = cluster.members[0]!;
    await mkdir(member.dataDir);
    await beginRestore(new NodeDisk(member.dataDir));
    expect(await cluster.launch(member).exit()).toBe(FAILED);
    expect(errorOf(member).msg).toContain(`${member.dataDir} holds a restore that did not finish`);
    await rm(member.dataDir, { recursive: true });
    await cluster.launch(member).ready();
  });
});

describe('a damaged directory', () => {
  test('a bit flipped within the log: refused, set aside, and the member can be replaced', async () => {
    const cluster = await started(3);
    await fill(cluster, 'k', 200);
    const [, , member] = cluster.members;
    await member!.process?.stop('SIGKILL');
    const path = await onlySegment(member!);
    const middle = Math.floor((await usedBytes(path)) / 2);
    await flip(path, middle);
    expect(await cluster.launch(member!).exit()).toBe(FAILED);
    expect(errorOf(member!)).toMatchObject({ code: 'data-dir-corrupt' });
    expect(errorOf(member!).msg).toMatch(/wal\/\d+\.wal at \d+: an invalid record/);

    await flip(path, middle);
    expect(await cluster.launch(member!).exit()).toBe(FAILED);
    expect(errorOf(member!).msg).toContain('was found damaged before');
    await replace(cluster, member!);
    await fill(cluster, 'more', 10);
    expect(await get(member!, 'k/150')).toBe('value 150');
  });

  test('a log cut short: refused', async () => {
    const cluster = await started(1);
    await fill(cluster, 'k', 200);
    const member = cluster.members[0]!;
    await member.process?.stop();
    const path = await onlySegment(member);
    await truncate(path, Math.floor((await usedBytes(path)) / 2));
    expect(await cluster.launch(member).exit()).toBe(FAILED);
    expect(errorOf(member)).toMatchObject({ code: 'data-dir-corrupt' });
    expect(errorOf(member).msg).toMatch(/the log ends at \d+, the state had applied \d+/);
  });

  test('a table of the state overwritten: refused, set aside', async () => {
    const cluster = await started(1);
    await fill(cluster, 'k', 2_000);
    const member = cluster.members[0]!;
    // LevelDB turns its own log into a table when it is opened again.
    await cluster.restart(member);
    await member.process?.stop();
    await flip(await largestTable(member), 'middle');
    expect(await cluster.launch(member).exit()).toBe(FAILED);
    expect(errorOf(member)).toMatchObject({ code: 'data-dir-corrupt' });
    expect(await cluster.launch(member).exit()).toBe(FAILED);
    expect(errorOf(member).msg).toContain('was found damaged before');
  });

  test('a small file overwritten: refused, and the file named', async () => {
    const cluster = await started(3);
    await cluster.stopAll();
    for (const [i, file] of ['IDENTITY', 'ACTIVE', 'PEERS'].entries()) {
      const member = cluster.members[i]!;
      await writeFile(join(member.dataDir, file), 'nonsense');
      expect(await cluster.launch(member).exit()).toBe(FAILED);
      expect(errorOf(member)).toMatchObject({ code: 'data-dir-corrupt' });
      expect(errorOf(member).msg).toContain(`${file}: checksum mismatch`);
    }
  });
});

describe('a member in the wrong place', () => {
  test.each([1, 3])('the data of another cluster, of %i: refused, and neither is touched', async (size) => {
    const [ours, theirs] = [await started(3, IMPATIENT), await started(size)];
    await fill(ours, 'ours', 10);
    await fill(theirs, 'theirs', 10);
    await theirs.stopAll();
    const member = ours.members[0]!;
    await member.process?.stop();
    const kept = `${member.dataDir}-kept`;
    await cp(member.dataDir, kept, { recursive: true });
    await rm(member.dataDir, { recursive: true });
    await cp(theirs.members[0]!.dataDir, member.dataDir, { recursive: true });
    expect(await ours.launch(member).exit()).toBe(FAILED);
    expect(errorOf(member)).toMatchObject({ code: 'data-dir-foreign' });
    expect(errorOf(member).msg).toContain('the directory is in the wrong place');

    await rm(member.dataDir, { recursive: true });
    await cp(kept, member.dataDir, { recursive: true });
    await ours.launch(member).ready();
    expect(await get(member, 'ours/5')).toBe('value 5');
    expect(await get(member, 'theirs/5')).toBeUndefined();
    await theirs.startAll();
    expect(await get(theirs.members[0]!, 'theirs/5')).toBe('value 5');
  });

  test('another token: refused', async () => {
    const cluster = await started(3, ['--initial-cluster-token=right']);
    const member = cluster.members[0]!;
    await member.process?.stop();
    await rm(member.dataDir, { recursive: true });
    const flags = ['--initial-cluster-token=wrong'];
    expect(await cluster.launch(member, { flags }).exit()).toBe(FAILED);
    expect(errorOf(member)).toMatchObject({ code: 'cluster-id-mismatch' });
    expect(errorOf(member).msg).toContain('--initial-cluster-token must be the same on every member');
  });

  test('an emptied disk under the old name: refused, as new and as existing', async () => {
    const cluster = await started(3);
    await fill(cluster, 'k', 10);
    const member = cluster.members[0]!;
    await member.process?.stop('SIGKILL');
    await rm(member.dataDir, { recursive: true });
    for (const state of ['new', 'existing']) {
      expect(await cluster.launch(member, { state }).exit()).toBe(FAILED);
      expect(errorOf(member)).toMatchObject({ code: 'member-data-lost' });
      expect(errorOf(member).msg).toContain('remove the member from the cluster and add it anew');
    }
    await replace(cluster, member);
    expect(await get(member, 'k/5')).toBe('value 5');
  });

  test('a member that was never added: refused', async () => {
    const cluster = await started(1);
    const stranger = await cluster.addPlace('stranger');
    expect(await cluster.launch(stranger, { state: 'existing' }).exit()).toBe(FAILED);
    expect(errorOf(stranger)).toMatchObject({ code: 'member-not-found' });
    expect(errorOf(stranger).msg).toContain('add it first');
  });
});

/** The last thing a member said before it ended: an error with a code and words for a person. */
function errorOf(member: ClusterMember): { readonly code: string; readonly msg: string } {
  const errors = member
    .process!.log.split('\n')
    .map(
      (line) => JSON.parse(line) as { readonly level: number; readonly code: string; readonly msg: string },
    )
    .filter(({ level }) => level >= 50);
  expect(errors, member.process!.log).toHaveLength(1);
  return errors[0]!;
}

async function occupy(url: string): Promise<Server> {
  const server = createServer();
  const { hostname, port } = new URL(url);
  await new Promise<void>((resolve) => server.listen({ host: hostname, port: Number(port) }, resolve));
  return server;
}

async function put(member: ClusterMember, key: string, value: string): Promise<void> {
  using client = new KvClient({ endpoints: [member.clientUrl] });
  await client.put({ key: Buffer.from(key), value: Buffer.from(value) });
}

async function get(member: ClusterMember, key: string): Promise<string | undefined> {
  using client = new KvClient({ endpoints: [member.clientUrl] });
  const { kvs } = await client.range({ key: Buffer.from(key) });
  return kvs[0]?.value.toString();
}

/** Writes `prefix/0`, `prefix/1`, ... with the values `value 0`, .... */
async function fill(cluster: Cluster, prefix: string, count: number): Promise<void> {
  const running = cluster.members.filter((member) => member.process?.running === true);
  using client = new KvClient({ endpoints: running.map((member) => member.clientUrl) });
  for (let from = 0; from < count; from += 100) {
    const numbers = Array.from({ length: Math.min(100, count - from) }, (_, i) => from + i);
    await Promise.all(
      numbers.map((i) =>
        client.put({ key: Buffer.from(`${prefix}/${i}`), value: Buffer.from(`value ${i}`) }),
      ),
    );
  }
}

async function onlySegment(member: ClusterMember): Promise<string> {
  const directory = join(member.dataDir, 'wal');
  const [name] = (await readdir(directory)).filter((item) => item.endsWith('.wal'));
  return join(directory, name!);
}

/** Without the zeros that a segment is preallocated with. */
async function usedBytes(path: string): Promise<number> {
  return (await readFile(path)).findLastIndex((byte) => byte !== 0) + 1;
}

async function largestTable(member: ClusterMember): Promise<string> {
  const directory = join(member.dataDir, 'state-1');
  const names = (await readdir(directory)).filter((name) => name.endsWith('.ldb'));
  const tables = await Promise.all(
    names.map(async (name) => ({ name, sizeBytes: (await readFile(join(directory, name))).length })),
  );
  const [largest] = tables.toSorted((left, right) => right.sizeBytes - left.sizeBytes);
  return join(directory, largest!.name);
}

/** Turns every bit of 16 bytes over; done twice, they are as before. */
async function flip(path: string, where: number | 'middle'): Promise<void> {
  const content = await readFile(path);
  const offset = where === 'middle' ? Math.floor(content.length / 2) : where;
  for (let i = offset; i < offset + 16; i++) content[i]! ^= 0xff;
  await writeFile(path, content);
}

/** What the error tells the operator to do: remove the member, clear its directory, add it anew. */
async function replace(cluster: Cluster, member: ClusterMember): Promise<void> {
  const others = cluster.members.filter((other) => other !== member);
  using client = new KvClient({ endpoints: others.map((other) => other.clientUrl) });
  const { members } = await client.memberList();
  await client.memberRemove(members.find(({ name }) => name === member.name)!.id);
  await rm(member.dataDir, { recursive: true, force: true });
  await client.memberAdd({ peerUrls: [member.peerUrl], isLearner: false });
  await cluster.launch(member, { state: 'existing' }).ready();
}
