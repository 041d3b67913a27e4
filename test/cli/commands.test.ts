import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from '../client/small-store.ts';
import { type Run, type RunInput, run } from './captured-io.ts';

let store: SmallStore;
let member: SmallMember;
let directory: string;

beforeEach(async () => {
  store = new SmallStore();
  member = await new SmallMember(store).start();
  directory = await mkdtemp(join(tmpdir(), 'conclave-cli-'));
});
afterEach(async () => {
  await member.stop();
  await rm(directory, { recursive: true });
});

async function conclave(words: readonly string[], input: RunInput = {}): Promise<Run> {
  return run(['--endpoints', member.address, ...words], input);
}

async function lines(words: readonly string[], input: RunInput = {}): Promise<string[]> {
  const { code, out, err } = await conclave(words, input);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out.split('\n').slice(0, -1);
}

// ---- kv -----------------------------------------------------------------------------------------------------

test('put, get and del print what etcd tools print', async () => {
  expect(await lines(['kv', 'put', 'a', '1'])).toEqual(['OK']);
  expect(await lines(['kv', 'put', 'a', '2', '--prev-kv'])).toEqual(['OK', 'a', '1']);
  expect(await lines(['kv', 'put', 'b'], { stdin: 'from stdin' })).toEqual(['OK']);
  expect(await lines(['kv', 'put', '--', 'c', '-5'])).toEqual(['OK']);
  expect(await lines(['kv', 'get', 'a'])).toEqual(['a', '2']);
  expect(await lines(['kv', 'get', 'nothing'])).toEqual([]);
  expect(await lines(['kv', 'get', '', '--prefix', '--keys-only'])).toEqual(['a', 'b', 'c']);
  expect(await lines(['kv', 'get', 'b', '--from-key', '--print-value-only'])).toEqual(['from stdin', '-5']);
  expect(await lines(['kv', 'get', 'a', 'c', '--count-only'])).toEqual(['2']);
  expect(await lines(['kv', 'del', 'a', '--prev-kv'])).toEqual(['1', 'a', '2']);
  expect(await lines(['kv', 'del', '', '--prefix'])).toEqual(['2']);
});

test('JSON has the names of the wire, base64 bytes and exact 64-bit numbers', async () => {
  await lines(['kv', 'put', 'a', '1', '--lease', 'ffffffffffffffff']);
  const [get] = await lines(['kv', 'get', 'a', '-w', 'json']);
  expect(get).toBe(
    '{"header":{"cluster_id":16,"member_id":32,"revision":2,"raft_term":3},"kvs":[{"key":"YQ==",' +
      '"create_revision":2,"mod_revision":2,"version":1,"value":"MQ==","lease":-1}],"count":1}',
  );
  const [del] = await lines(['--write-out', 'json', 'kv', 'del', 'a']);
  expect(JSON.parse(del!)).toMatchObject({ deleted: 1, header: { revision: 3 } });
});

test('a value that is no text comes out as it is', async () => {
  const value = Buffer.from([0, 255, 10, 128]);
  store.put({ key: Buffer.from('bin'), value, lease: 0n });
  const parts: Buffer[] = [];
  const { code } = await run(['--endpoints', member.address, 'kv', 'get', 'bin', '-w', 'json'], {
    onOut: (text) => parts.push(Buffer.from(text)),
  });
  expect(code).toBe(0);
  const [kv] = (JSON.parse(parts.at(-1)!.toString()) as { kvs: { value: string }[] }).kvs;
  expect(Buffer.from(kv!.value, 'base64')).toEqual(value);
});

test('a transaction is read from standard input or a file', async () => {
  const text = 'mod("a") > "0"\nvalue("b") = "x y"\n\nput a 1\nget a\n\nget b --prefix\n';
  expect(await lines(['kv', 'txn'], { stdin: text })).toEqual(['SUCCESS', '', 'OK', '', 'a', '1']);
  const file = join(directory, 'txn');
  await writeFile(file, text);
  expect(await lines(['kv', 'txn', file])).toHaveLength(6);
  expect(store.transactions).toHaveLength(2);
  const { code, err } = await conclave(['kv', 'txn'], { stdin: 'nonsense' });
  expect(code).toBe(2);
  expect(err).toContain("line 1 ('nonsense') is not a comparison");
});

test('a watch prints changes until it is interrupted', async () => {
  store.put({ key: Buffer.from('a'), value: Buffer.from('1'), lease: 0n });
  const interruption = new AbortController();
  const { code, out } = await conclave(['kv', 'watch', 'a', '--rev', '1'], {
    interruption,
    onOut: (text) => {
      if (text.includes('DELETE')) interruption.abort();
      else store.delete(Buffer.from('a'), Buffer.alloc(0));
    },
  });
  expect(out).toBe('PUT\na\n1\nDELETE\na\n');
  expect(code).toBe(130);
});

test('a watch of forgotten history fails with the reason', async () => {
  store.compactRevision = 9;
  const { code, err } = await conclave(['kv', 'watch', 'a', '--rev', '2']);
  expect(code).toBe(1);
  expect(err).toBe('error: etcdserver: mvcc: required revision has been compacted\n');
});

test('compaction', async () => {
  expect(await lines(['kv', 'compact', '7'])).toEqual(['compacted revision 7']);
  expect(store.compactRevision).toBe(7);
});

test('the text of the server is what the person reads', async () => {
  member.failing = () => new RpcError(rpcStatus.invalidArgument, 'etcdserver: key is not provided');
  const { code, err } = await conclave(['kv', 'get', '']);
  expect({ code, err }).toEqual({ code: 1, err: 'error: etcdserver: key is not provided\n' });
});

test('a write whose outcome is not known says so', async () => {
  member.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: request timed out');
  const { code, err } = await conclave(['kv', 'put', 'a', '1']);
  expect(code).toBe(1);
  expect(err).toContain('error: etcdserver: request timed out\nIt is not known whether the change was made');
});

test('endpoints come from the environment when none are given', async () => {
  const { code, out } = await run(['kv', 'put', 'a', '1'], { env: { CONCLAVE_ENDPOINTS: member.address } });
  expect({ code, out }).toEqual({ code: 0, out: 'OK\n' });
});

// ---- members, status ----------------------------------------------------------------------------------------

test('a member is added, listed, updated, promoted and removed', async () => {
  store.members.push({
    ID: 1n,
    name: 'n1',
    peerURLs: ['http://h1:1'],
    clientURLs: ['http://h1:2'],
    isLearner: false,
    region: 'eu-1',
  });
  const added = await lines(['member', 'add', 'n2', '--peer-urls', 'http://h2:1', '--learner']);
  expect(added[0]).toBe('Member abcdf added to cluster 10.');
  expect(added.join('\n')).toContain('--initial-cluster n1=http://h1:1,n2=http://h2:1');
  expect(added.join('\n')).toContain('--initial-cluster-state existing');
  const list = await lines(['member', 'list']);
  expect(list[0]).toMatch(/^ID +STATUS +NAME +PEER URLS +CLIENT URLS +LEARNER +REGION$/);
  expect(list[1]).toMatch(/^1 +started +n1 +http:\/\/h1:1 +http:\/\/h1:2 +false +eu-1$/);
  expect(list[2]).toMatch(/^abcdf +unstarted +http:\/\/h2:1 +true +-$/);
  expect(await lines(['member', 'update', 'abcdf', '--peer-urls', 'http://h2:9'])).toEqual([
    'Member abcdf updated.',
  ]);
  expect(await lines(['member', 'promote', 'abcdf'])).toEqual(['Member abcdf promoted.']);
  const [json] = await lines(['member', 'list', '-w', 'json']);
  expect(JSON.parse(json!)).toMatchObject({
    members: [
      { ID: 1, region: 'eu-1' },
      { ID: 0xabcdf, peerURLs: ['http://h2:9'] },
    ],
  });
  expect(await lines(['member', 'remove', 'abcdf'])).toEqual(['Member abcdf removed.']);
  const { code, err } = await conclave(['member', 'remove', 'abcdf']);
  expect({ code, err }).toEqual({ code: 1, err: 'error: etcdserver: member not found\n' });
});

test('status shows every endpoint and fails when one does not answer', async () => {
  const [heading, row] = await lines(['status']);
  expect(heading).toMatch(/^ENDPOINT +ID +VERSION +DB SIZE +ROLE/);
  expect(row).toMatch(new RegExp(`^${member.address} +20 +3.6.0 +4.0 KiB +leader +3 +9 +8 +- +0 +- +-$`));
  const both = `${member.address},127.0.0.1:1`;
  const { code, out, err } = await run(['status', '--endpoints', both, '-w', 'json']);
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject([
    { Endpoint: member.address, Status: { leader: 32, dbSize: 4096 } },
    { Endpoint: '127.0.0.1:1', Error: 'cannot connect to 127.0.0.1:1' },
  ]);
  expect(err).toBe('error: 1 of 2 endpoints are not well\n');
});

test('status --cluster asks the members, whichever endpoint was given', async () => {
  const other = await new SmallMember(store).start();
  for (const [at, { address }] of [member, other].entries()) {
    const clientURLs = [`http://${address}`];
    store.members.push({ ID: at + 1, name: `n${at}`, peerURLs: [], clientURLs, isLearner: false });
  }
  const rows = await lines(['status', '--cluster']);
  expect(rows).toHaveLength(3);
  expect(other.calls).toEqual(['/etcdserverpb.Maintenance/Status']);
  await other.stop();
});

test('status tells regions, lag, round trips and ages where members do', async () => {
  const far = await new SmallMember(store).start();
  far.memberId = 0x30;
  far.status = {
    region: 'eu-1',
    raftAppliedIndex: 5,
    roundTrips: [
      { memberID: 0x20, micros: 65_400 },
      { memberID: 0x31, micros: 420 },
    ],
    ageMs: 0,
  };
  const both = `${member.address},${far.address}`;
  const [heading, , row] = await lines(['status', '--endpoints', both]);
  expect(heading).toMatch(/APPLIED +REGION +LAG +ROUND TRIPS +AGE/);
  expect(row).toMatch(/ follower +3 +9 +5 +eu-1 +3 +20 65 ms, 31 0.4 ms +0.0 ms$/);
  const { out } = await run(['status', '--endpoints', both, '-w', 'json']);
  expect(JSON.parse(out)).toMatchObject([
    { Lag: 0 },
    {
      Lag: 3,
      Status: {
        region: 'eu-1',
        ageMs: 0,
        roundTrips: [{ memberID: 0x20, micros: 65_400 }, { memberID: 0x31 }],
      },
    },
  ]);
  // Without the leader nobody knows how far behind the others are.
  expect((await lines(['status', '--endpoints', far.address]))[1]).toMatch(/ 5 +eu-1 +- +20 65 ms/);
  await far.stop();
});

// ---- snapshot save ------------------------------------------------------------------------------------------

function sealed(blocks: number): Buffer {
  const body = Buffer.alloc(blocks * 512, 'backup');
  return Buffer.concat([body, createHash('sha256').update(body).digest()]);
}

test('a backup is saved whole, for its owner only', async () => {
  store.snapshotBytes = sealed(9);
  const file = join(directory, 'backup.db');
  expect(await lines(['snapshot', 'save', file])).toEqual([
    `Saved 4.5 KiB from ${member.address} to ${file}`,
  ]);
  expect(await readFile(file)).toEqual(store.snapshotBytes);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['backup.db']);
});

test('a backup that ends early or is damaged leaves nothing, and what was there stays', async () => {
  const file = join(directory, 'backup.db');
  await writeFile(file, 'yesterday');
  store.snapshotBytes = sealed(9).subarray(0, 2000);
  expect((await conclave(['snapshot', 'save', file])).err).toBe(
    'error: the backup ended early, after 2000 bytes\n',
  );
  const damaged = sealed(9);
  damaged[100]! ^= 1;
  store.snapshotBytes = damaged;
  const { code, err } = await conclave(['snapshot', 'save', file]);
  expect({ code, err }).toEqual({ code: 1, err: 'error: the backup fails its checksum\n' });
  expect(await readdir(directory)).toEqual(['backup.db']);
  expect(await readFile(file, 'utf8')).toBe('yesterday');
});

test('a file that is not there is named', async () => {
  const file = join(directory, 'none');
  for (const words of [
    ['snapshot', 'status', file],
    ['snapshot', 'restore', file],
    ['verify', file],
    ['kv', 'txn', file],
  ]) {
    const { code, err } = await run(words);
    expect({ code, err }).toEqual({ code: 1, err: `error: ${file} does not exist\n` });
  }
});
