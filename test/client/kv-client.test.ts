import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientError } from '../../src/client/client-error.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { ALL_FROM, prefixEnd } from '../../src/lib/range-end.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
let store: SmallStore;
let one: SmallMember;
let two: SmallMember;
let client: KvClient;

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  two = await new SmallMember(store).start();
  client = new KvClient({ endpoints: [one.address, `http://${two.address}`] });
});
afterEach(async () => {
  client.close();
  await one.stop();
  await two.stop();
});

async function failureOf(call: Promise<unknown>): Promise<ClientError> {
  const failure = await call.then(
    () => null,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(ClientError);
  return failure as ClientError;
}

test('what is put can be got, with its revisions', async () => {
  const put = await client.put({ key: bytes('a'), value: bytes('1'), lease: -5n });
  expect(put).toMatchObject({
    type: 'put',
    prevKv: null,
    header: { clusterId: 0x10n, memberId: 0x20n, revision: 2 },
  });
  await client.put({ key: bytes('a'), value: bytes('2') });
  const again = await client.put({ key: bytes('a'), value: bytes('3'), prevKv: true });
  expect(again.prevKv?.value.toString()).toBe('2');
  const { kvs, count, more } = await client.range({ key: bytes('a') });
  expect({ count, more }).toEqual({ count: 1, more: false });
  expect(kvs[0]).toEqual({
    key: bytes('a'),
    value: bytes('3'),
    createRevision: 2,
    modRevision: 4,
    version: 3,
    lease: 0n,
  });
  expect(store.events[0]!.kv!.lease).toBe(-5);
});

test('text stands for its UTF-8', async () => {
  await client.put({ key: 'ключ', value: 'значение' });
  const { kvs } = await client.range({ key: bytes('ключ') });
  expect(kvs[0]?.value.toString()).toBe('значение');
});

test('ranges, limits and deletes', async () => {
  for (const key of ['a', 'p1', 'p2', 'p3', 'q']) await client.put({ key: bytes(key), value: bytes('') });
  const prefix = { key: bytes('p'), rangeEnd: prefixEnd(bytes('p')) };
  const page = await client.range({ ...prefix, limit: 2 });
  expect(page.kvs.map((kv) => kv.key.toString())).toEqual(['p1', 'p2']);
  expect(page).toMatchObject({ more: true, count: 3 });
  expect(await client.delete({ ...prefix, prevKv: true })).toMatchObject({
    deleted: 3,
    prevKvs: { length: 3 },
  });
  const rest = await client.range({ key: bytes('a'), rangeEnd: ALL_FROM });
  expect(rest.kvs.map((kv) => kv.key.toString())).toEqual(['a', 'q']);
});

test('the end of a prefix skips bytes that cannot be raised', () => {
  expect(prefixEnd(bytes('ab'))).toEqual(bytes('ac'));
  expect(prefixEnd(Buffer.from([1, 0xff, 0xff]))).toEqual(Buffer.from([2]));
  expect(prefixEnd(Buffer.from([0xff]))).toEqual(ALL_FROM);
  expect(prefixEnd(Buffer.alloc(0))).toEqual(ALL_FROM);
});

test('a transaction carries every kind of comparison and operation', async () => {
  const answer = await client.txn({
    compare: [
      { key: bytes('a'), target: 'version', result: 'greater', number: 1 },
      { key: bytes('a'), target: 'create', result: 'less', number: 2 },
      { key: bytes('a'), target: 'mod', result: 'not-equal', number: 3 },
      { key: bytes('a'), target: 'value', result: 'equal', value: bytes('v') },
      { key: bytes('a'), rangeEnd: bytes('b'), target: 'lease', result: 'equal', lease: -(2n ** 63n) },
    ],
    success: [
      { type: 'put', key: bytes('a'), value: bytes('1') },
      { type: 'range', key: bytes('a') },
      { type: 'delete', key: bytes('a') },
    ],
    failure: [{ type: 'range', key: bytes('b') }],
  });
  expect(answer.succeeded).toBe(true);
  expect(answer.responses.map((response) => response.type)).toEqual(['put', 'range', 'delete']);
  const [sent] = store.transactions;
  expect(sent!.compare.map(({ target, result }) => [target, result])).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 0],
    [4, 0],
  ]);
  expect(sent!.compare[4]).toMatchObject({ lease: -(2n ** 63n), range_end: bytes('b') });
  expect(sent!.failure[0]!.request_range!.key).toEqual(bytes('b'));
});

test('leases: chosen ids over the whole range, renewal, time to live', async () => {
  expect(await client.leaseGrant({ ttlSeconds: 7 })).toMatchObject({ id: -77n, ttlSeconds: 7 });
  expect(await client.leaseGrant({ ttlSeconds: 7, id: 2n ** 62n })).toMatchObject({ id: 2n ** 62n });
  expect(await client.leaseKeepAlive(-77n)).toBe(10);
  expect(await client.leaseTimeToLive({ id: 1n, keys: true })).toMatchObject({
    ttlSeconds: 5,
    grantedTtlSeconds: 10,
  });
  expect((await client.leaseRevoke(1n)).revision).toBe(1);
});

test('members are added, updated, promoted, removed', async () => {
  const { member } = await client.memberAdd({ peerUrls: ['http://h:1'], isLearner: true });
  expect(member).toMatchObject({ id: 0xabcden, isLearner: true, peerUrls: ['http://h:1'] });
  await client.memberUpdate({ id: member.id, peerUrls: ['http://h:2'] });
  expect((await client.memberPromote(member.id)).members).toMatchObject([
    { isLearner: false, peerUrls: ['http://h:2'] },
  ]);
  await client.memberRemove(member.id);
  expect((await client.memberList()).members).toEqual([]);
  const failure = await failureOf(client.memberRemove(member.id));
  expect(failure).toMatchObject({
    code: 'not-found',
    message: 'etcdserver: member not found',
    unsent: false,
  });
});

test('status and snapshot are asked of one endpoint', async () => {
  store.snapshotBytes = Buffer.alloc(2500, 7);
  expect(await client.status(two.address)).toMatchObject({
    version: '3.6.0',
    leader: 0x20n,
    raftAppliedIndex: 8,
  });
  expect(one.calls).toEqual([]);
  const slices = [];
  for await (const slice of client.snapshot(two.address)) slices.push(slice);
  expect(slices.map((slice) => slice.remainingBytes)).toEqual([1500, 500, 0]);
  expect(Buffer.concat(slices.map((slice) => slice.blob))).toEqual(store.snapshotBytes);
  expect(await failureOf(client.status('elsewhere:1'))).toMatchObject({ code: 'invalid-argument' });
});

test('when an endpoint is not there, any call goes to the next, and later calls start there', async () => {
  await one.stop();
  await client.put({ key: bytes('a'), value: bytes('1') });
  await client.put({ key: bytes('b'), value: bytes('1') });
  expect(two.calls).toHaveLength(2);
  expect(store.events).toHaveLength(2);
});

test('a read that failed on one member is repeated on the next', async () => {
  one.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: no leader');
  await client.range({ key: bytes('a') });
  expect([one.calls.length, two.calls.length]).toEqual([1, 1]);
});

test('a read goes on to the next member when one says nothing, within its time', async () => {
  one.stalled = true;
  await client.range({ key: bytes('a') }, { timeoutMs: 3_000 });
  expect([one.calls.length, two.calls.length]).toEqual([1, 1]);
});

test('a read waits for a leader as long as it may', async () => {
  const noLeader = new RpcError(rpcStatus.unavailable, 'etcdserver: no leader');
  let refusals = 5;
  one.failing = two.failing = () => (refusals-- > 0 ? noLeader : null);
  await client.range({ key: bytes('a') }, { timeoutMs: 30_000 });
  refusals = Infinity;
  const failure = await failureOf(client.range({ key: bytes('a') }, { timeoutMs: 1_000 }));
  expect(failure).toMatchObject({ code: 'unavailable', message: 'etcdserver: no leader' });
});

test('what a learner refuses goes to another member, though it changes something', async () => {
  one.failing = () => new RpcError(rpcStatus.failedPrecondition, 'etcdserver: rpc not supported for learner');
  await client.put({ key: bytes('a'), value: bytes('1') });
  expect(two.calls).toHaveLength(1);
  expect(store.events).toHaveLength(1);
});

test('a write whose outcome is not known is not repeated', async () => {
  one.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: request timed out');
  const failure = await failureOf(client.put({ key: bytes('a'), value: bytes('1') }));
  expect(failure).toMatchObject({
    code: 'unavailable',
    message: 'etcdserver: request timed out',
    unsent: false,
  });
  expect(two.calls).toEqual([]);
});

test('a refusal is final', async () => {
  one.failing = () => new RpcError(rpcStatus.invalidArgument, 'etcdserver: key is not provided');
  expect(await failureOf(client.range({ key: bytes('') }))).toMatchObject({ code: 'invalid-argument' });
  expect(two.calls).toEqual([]);
});

test('with no endpoint there, the failure says that nothing was sent', async () => {
  await one.stop();
  await two.stop();
  const failure = await failureOf(client.put({ key: bytes('a'), value: bytes('1') }));
  expect(failure).toMatchObject({ code: 'unavailable', unsent: true });
  expect(failure.message).toMatch(/^cannot connect to 127\.0\.0\.1:\d+$/);
});

test('a write that was sent may have been made, whatever became of attempts before it', async () => {
  await one.stop();
  two.stalled = true;
  const failure = await failureOf(client.put({ key: bytes('a'), value: bytes('1') }, { timeoutMs: 1_000 }));
  expect(two.calls).toEqual(['/etcdserverpb.KV/Put']);
  expect(failure).toMatchObject({ code: 'deadline-exceeded', unsent: false, uncertain: true });
});

test('a member that takes a connection and says nothing runs into the deadline', async () => {
  const sockets = new Set<{ destroy(): void }>();
  const silent = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  using lone = new KvClient({ endpoints: [`127.0.0.1:${port}`], timeoutMs: 300 });
  expect(['unavailable', 'deadline-exceeded']).toContain(
    (await failureOf(lone.range({ key: bytes('a') }))).code,
  );
  for (const socket of sockets) socket.destroy();
  silent.close();
});

test('after a write that a member did not answer for the next call goes elsewhere', async () => {
  one.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: request timed out');
  const failure = await failureOf(client.put({ key: bytes('a'), value: bytes('1') }));
  expect(failure).toMatchObject({ code: 'unavailable', uncertain: true });
  await client.put({ key: bytes('a'), value: bytes('2') });
  expect(two.calls).toHaveLength(1);
});

test('a call can be canceled', async () => {
  const control = new AbortController();
  control.abort();
  const failure = await failureOf(client.range({ key: bytes('a') }, { signal: control.signal }));
  expect(failure.code).toBe('canceled');
});

test('a call that is canceled on its way says so', async () => {
  one.stalled = true;
  const control = new AbortController();
  const call = failureOf(client.put({ key: 'a', value: '1' }, { signal: control.signal }));
  await expect.poll(() => one.calls.length).toBe(1);
  control.abort();
  expect(await call).toMatchObject({ code: 'canceled', message: 'the call was canceled', uncertain: true });
});

test('an endpoint that is given twice is one', async () => {
  await one.stop();
  using twice = new KvClient({ endpoints: [one.address, `http://${one.address}/`, two.address] });
  expect(twice.endpoints).toEqual([one.address, two.address]);
  await twice.range({ key: 'a' });
  expect(two.calls).toHaveLength(1);
});

test('calls that fail together look for the reason of a failed TLS connection once', async () => {
  let connections = 0;
  const plain = createServer((socket) => {
    connections += 1;
    socket.end('this is no TLS\n');
  }).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const { port } = plain.address() as { port: number };
  using secret = new KvClient({ endpoints: [`https://127.0.0.1:${port}`], timeoutMs: 10_000 });
  const failures = await Promise.all(Array.from({ length: 50 }, () => failureOf(secret.range({ key: 'a' }))));
  for (const { code, message } of failures) {
    expect(code).toBe('unavailable');
    expect(message).toMatch(/^cannot connect to 127\.0\.0\.1:\d+: .*(?:wrong version|packet length|SSL)/);
  }
  expect(connections).toBeLessThan(25);
  plain.close();
});

test('endpoints that are no addresses are refused by name', () => {
  for (const endpoint of [
    'localhost',
    'unix://localhost:2379',
    'http://localhost:2379/path',
    'h:99999',
    '',
  ]) {
    expect(() => new KvClient({ endpoints: [endpoint] })).toThrow(`endpoint '${endpoint}'`);
  }
  expect(() => new KvClient({ endpoints: [] })).toThrow('no endpoint is given');
  using client6 = new KvClient({ endpoints: ['http://[::1]:2379/'] });
  expect(client6.endpoints).toEqual(['[::1]:2379']);
});
