import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../../src/lib/errors.ts';
import { serviceMethods } from '../../../src/rpc/codec.ts';
import { failure } from '../../rpc/harness.ts';
import { WIRE_HEADER } from './fake-backend.ts';
import { EtcdHarness } from './harness.ts';

const KEEP_ALIVE = '/etcdserverpb.Lease/LeaseKeepAlive';
const MINIMUM = -(2n ** 63n);
const CLUSTER_HEADER = { ...WIRE_HEADER, revision: 0 };
const WIRE_MEMBER = {
  ID: 7,
  name: 'a',
  peerURLs: ['http://h:1'],
  clientURLs: ['http://h:2'],
  isLearner: true,
  region: 'eu-1',
};

let etcd: EtcdHarness;
beforeEach(async () => {
  etcd = new EtcdHarness();
  await etcd.start();
});
afterEach(async () => {
  expect(etcd.bugs).toEqual([]);
  await etcd[Symbol.asyncDispose]();
});

describe('leases', () => {
  test('are granted, revoked, looked up and listed with exact ids', async () => {
    const granted = await etcd.unary('/etcdserverpb.Lease/LeaseGrant', { ID: MINIMUM, TTL: 60 });
    expect(granted).toMatchObject({ header: WIRE_HEADER, ID: MINIMUM, TTL: 60, error: '' });
    expect((await etcd.unary('/etcdserverpb.Lease/LeaseGrant', { TTL: 2n ** 60n })).ID).toBe(99);
    await etcd.unary('/etcdserverpb.Lease/LeaseRevoke', { ID: -1 });
    const found = await etcd.unary('/etcdserverpb.Lease/LeaseTimeToLive', { ID: MINIMUM, keys: true });
    expect(found).toMatchObject({ ID: MINIMUM, TTL: 10, grantedTTL: 60, keys: [Buffer.from('k')] });
    const unknown = await etcd.unary('/etcdserverpb.Lease/LeaseTimeToLive', { ID: 404 });
    expect(unknown).toMatchObject({ ID: 404, TTL: -1, grantedTTL: 0, keys: [] });
    const { leases } = await etcd.unary('/etcdserverpb.Lease/LeaseLeases', {});
    expect(leases.map(({ ID }) => ID)).toEqual([1, MINIMUM]);
    expect(etcd.backend.asked).toEqual([
      { id: MINIMUM, ttlSeconds: 60 },
      { id: 0n, ttlSeconds: Number.MAX_SAFE_INTEGER },
      { id: -1n },
      { id: MINIMUM, keys: true },
      { id: 404n, keys: false },
      'leases',
    ]);
  });

  test('are kept alive, several at a time; one that is gone is an answer', async () => {
    let open = (): void => undefined;
    etcd.backend.keepAliveGate = new Promise((resolve) => {
      open = resolve;
    });
    const stream = etcd.stream(KEEP_ALIVE);
    for (const ID of [1n, 404n, MINIMUM]) stream.send({ ID });
    open();
    const answers = [await stream.next(), await stream.next(), await stream.next()];
    expect(answers.map(({ ID, TTL }) => [ID, TTL])).toEqual([
      [1, 60],
      [404, 0],
      [MINIMUM, 60],
    ]);
    expect(answers[0]!.header).toMatchObject(WIRE_HEADER);
    stream.call.end();
    expect((await stream.status).code).toBe(0);
  });

  test('a failed renewal ends the stream with its status', async () => {
    etcd.backend.failure = new StoreError('timeout');
    const stream = etcd.stream(KEEP_ALIVE);
    stream.send({ ID: 1 });
    expect(await stream.status).toMatchObject({ code: 14, details: 'etcdserver: request timed out' });
  });

  test('the stream fails when the leader is lost and the client insists on one', async () => {
    const stream = etcd.stream(KEEP_ALIVE, { hasleader: 'true' });
    stream.send({ ID: 1 });
    await stream.next();
    etcd.backend.setLeader(false);
    expect(await stream.status).toMatchObject({ code: 14, details: 'etcdserver: no leader' });
    expect(etcd.backend.leaderListeners.size).toBe(0);
  });
});

describe('members', () => {
  test('are listed, added, updated, promoted and removed', async () => {
    const list = await etcd.unary('/etcdserverpb.Cluster/MemberList', { linearizable: true });
    expect(list).toMatchObject({ header: CLUSTER_HEADER, members: [WIRE_MEMBER] });
    const added = await etcd.unary('/etcdserverpb.Cluster/MemberAdd', {
      peerURLs: ['http://10.0.0.1:2380', 'https://[::1]:2380'],
      isLearner: true,
    });
    expect(added).toMatchObject({ member: WIRE_MEMBER, members: [WIRE_MEMBER] });
    await etcd.unary('/etcdserverpb.Cluster/MemberUpdate', { ID: 7, peerURLs: ['http://b:1'] });
    await etcd.unary('/etcdserverpb.Cluster/MemberPromote', { ID: 2n ** 64n - 1n });
    await etcd.unary('/etcdserverpb.Cluster/MemberRemove', { ID: 9 });
    expect(etcd.backend.asked).toEqual([
      { linearizable: true },
      { peerUrls: ['http://10.0.0.1:2380', 'https://[::1]:2380'], isLearner: true },
      { id: 7, peerUrls: ['http://b:1'] },
      { id: Number.MAX_SAFE_INTEGER },
      { id: 9 },
    ]);
  });

  test.each([[[]], [['nonsense']], [['http://a']], [['http://a:1/path']], [['http://a:1', 'ftp://b:1']]])(
    'cannot be added with the URLs %j',
    async (peerURLs) => {
      expect(await failure(etcd.unary('/etcdserverpb.Cluster/MemberAdd', { peerURLs }))).toEqual({
        code: 3,
        details: 'etcdserver: given member URLs are invalid',
      });
    },
  );
});

describe('maintenance', () => {
  test('status', async () => {
    expect(await etcd.unary('/etcdserverpb.Maintenance/Status', {})).toMatchObject({
      header: WIRE_HEADER,
      version: '3.6.0',
      storageVersion: '3.6.0',
      dbSize: 4096,
      dbSizeInUse: 1024,
      dbSizeQuota: 2 ** 31,
      leader: 7,
      raftIndex: 100,
      raftAppliedIndex: 99,
      raftTerm: 44,
      errors: ['memberID:7 alarm:NOSPACE '],
      isLearner: false,
      region: 'eu-1',
      roundTrips: [
        { memberID: 8, micros: 65_432 },
        { memberID: 9, micros: 0 },
      ],
      ageMs: null,
    });
  });

  test('alarms', async () => {
    const { alarms } = await etcd.unary('/etcdserverpb.Maintenance/Alarm', {
      action: 2,
      memberID: 7,
      alarm: 1,
    });
    expect(alarms).toMatchObject([
      { memberID: 7, alarm: 1 },
      { memberID: 8, alarm: 2 },
    ]);
    await etcd.unary('/etcdserverpb.Maintenance/Alarm', {});
    expect(etcd.backend.asked).toEqual([
      { action: 'deactivate', member: 7, alarm: 'no-space' },
      { action: 'get', member: 0, alarm: 'none' },
    ]);
  });

  test('hashes, defragment, move leader', async () => {
    expect((await etcd.unary('/etcdserverpb.Maintenance/Hash', {})).hash).toBe(2 ** 32 - 1);
    expect(await etcd.unary('/etcdserverpb.Maintenance/HashKV', { revision: 9 })).toMatchObject({
      hash: 5,
      compact_revision: 3,
      hash_revision: 9,
    });
    // Like etcd's, these two answers have no header.
    expect((await etcd.unary('/etcdserverpb.Maintenance/Defragment', {})).header).toBeNull();
    const moved = await etcd.unary('/etcdserverpb.Maintenance/MoveLeader', { targetID: 8 });
    expect(moved.header).toBeNull();
    expect(etcd.backend.asked).toEqual(['hash', { revision: 9 }, 'defragment', { target: 8 }]);
  });

  test.each([3_000_000, 4_000_000, 9_000_000])(
    'a snapshot arrives whole; only its last blob says that nothing remains (estimated at %i bytes)',
    async (estimate) => {
      etcd.backend.frames = Array.from({ length: 40 }, (_, index) => Buffer.alloc(100_000, index));
      etcd.backend.snapshotBytes = estimate;
      const stream = etcd.stream('/etcdserverpb.Maintenance/Snapshot');
      stream.send({});
      stream.call.end();
      const remaining: number[] = [];
      for (const frame of etcd.backend.frames) {
        const answer = await stream.next();
        expect(answer.blob.equals(frame)).toBe(true);
        expect(answer.version).toBe('3.6.0');
        remaining.push(Number(answer.remaining_bytes));
      }
      expect((await stream.status).code).toBe(0);
      expect(remaining[0]).toBe(estimate - 100_000);
      expect(remaining.slice(0, -1).every((value) => value > 0)).toBe(true);
      expect(remaining.at(-1)).toBe(0);
    },
  );
});

test('every method of etcd is there, and none is refused', async () => {
  const services = ['KV', 'Watch', 'Lease', 'Cluster', 'Maintenance', 'Auth'].map(
    (name) => `etcdserverpb.${name}`,
  );
  const methods = [...services, 'v3lockpb.Lock', 'v3electionpb.Election'].flatMap(serviceMethods);
  expect(etcd.server.paths().toSorted()).toEqual(methods.map((method) => method.path).toSorted());
  for (const { path, kind } of methods) {
    // These wait; others ask for them by name.
    if (kind !== 'unary' || /Lock\/Lock|Campaign/.test(path)) continue;
    const refusal = await etcd.unaryBytes(path, Buffer.alloc(0)).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(refusal).not.toContain('is not supported by this server');
  }
});
