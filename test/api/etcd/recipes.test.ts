import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_ETCD_LIMITS } from '../../../src/api/etcd/limits.ts';
import { registerEtcd } from '../../../src/api/etcd/register.ts';
import type { Member } from '../../../src/member/member.ts';
import type { Methods } from '../../../src/rpc/generated/messages.ts';
import { TestCluster } from '../../member/test-cluster.ts';
import { type CallOptions, failure, Harness } from '../../rpc/harness.ts';
import { eventually } from '../../support/eventually.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

/** Locks and elections over a real member of a cluster of one. */
let cluster: TestCluster;
let member: Member;
let server: Harness;
beforeAll(async () => {
  cluster = await TestCluster.start(1);
  member = cluster.places[0]!.member!;
  server = new Harness();
  registerEtcd(server.server, member, { ...DEFAULT_ETCD_LIMITS, leaderLossGraceMs: 0 });
  await server.start();
});
afterAll(async () => {
  expect(server.bugs).toEqual([]);
  await server[Symbol.asyncDispose]();
  await cluster.stopAll();
});

function call<P extends keyof Methods>(path: P, request: object, options: CallOptions = {}) {
  return server.unary(path, request as never, options);
}

const lock = (name: string, lease: number | bigint, options: CallOptions = {}) =>
  call('/v3lockpb.Lock/Lock', { name: bytes(name), lease }, options);
const unlock = (key: Buffer) => call('/v3lockpb.Lock/Unlock', { key });
const campaign = (name: string, lease: number | bigint, value: string, options: CallOptions = {}) =>
  call('/v3electionpb.Election/Campaign', { name: bytes(name), lease, value: bytes(value) }, options);
const leaderOf = (name: string) => call('/v3electionpb.Election/Leader', { name: bytes(name) });

async function grant(id = 0n): Promise<number | bigint> {
  return (await call('/etcdserverpb.Lease/LeaseGrant', { ID: id === 0n ? 0 : id, TTL: 600 })).ID;
}

/** The keys below a prefix, by age. */
async function keys(prefix: string): Promise<string[]> {
  const { kvs } = await call('/etcdserverpb.KV/Range', {
    key: bytes(`${prefix}/`),
    range_end: bytes(`${prefix}0`),
    sort_order: 1,
    sort_target: 2,
  });
  return kvs.map(({ key }) => key.toString());
}

function queued(prefix: string, count: number): Promise<unknown> {
  return eventually(`${count} in ${prefix}`, async () => (await keys(prefix)).length === count);
}

describe('a lock', () => {
  test('has a key of its lease, in hexadecimal, below its name', async () => {
    const lease = await grant(0x1abcn);
    const { key, header } = await lock('form', lease);
    expect(key.toString()).toBe('form/1abc');
    expect(header!.revision).toBeGreaterThan(1);
    const negative = await lock('negative', await grant(-255n));
    expect(negative.key.toString()).toBe('negative/-ff');
  });

  test('without a lease gets one of its own', async () => {
    const { key } = await lock('own', 0);
    const id = BigInt(`0x${key.toString().split('/')[1]!}`);
    const { grantedTTL } = await call('/etcdserverpb.Lease/LeaseTimeToLive', { ID: id });
    expect(grantedTTL).toBe(60);
  });

  test('is given to who comes first, then to the next in order, with growing revisions', async () => {
    const order: number[] = [];
    const revisions: number[] = [];
    const leases = await Promise.all([1, 2, 3].map(() => grant()));
    const held = await lock('queue', leases[0]!);
    const waiting: Promise<void>[] = [];
    for (const [index, lease] of [leases[1]!, leases[2]!].entries()) {
      const turn = lock('queue', lease).then(async ({ key }) => {
        order.push(index);
        const { kvs } = await call('/etcdserverpb.KV/Range', { key });
        revisions.push(Number(kvs[0]!.create_revision));
        await unlock(key);
      });
      waiting.push(turn);
      await queued('queue', index + 2);
    }
    expect(order).toEqual([]);
    await unlock(held.key);
    await Promise.all(waiting);
    expect(order).toEqual([0, 1]);
    expect(revisions[1]).toBeGreaterThan(revisions[0]!);
    expect(await keys('queue')).toEqual([]);
  });

  test('asked for again by its own lease is the same', async () => {
    const lease = await grant();
    const first = await lock('again', lease);
    expect((await lock('again', lease)).key).toEqual(first.key);
  });

  test('goes to the next when its lease ends', async () => {
    const [first, second] = [await grant(), await grant()];
    await lock('ended', first);
    const next = lock('ended', second);
    await queued('ended', 2);
    await call('/etcdserverpb.Lease/LeaseRevoke', { ID: first });
    expect((await next).key.toString()).toContain('ended/');
  });

  test('is not given to who waits with a lease that ends', async () => {
    const [first, second] = [await grant(), await grant()];
    const held = await lock('lost', first);
    const waiting = failure(lock('lost', second));
    await queued('lost', 2);
    await call('/etcdserverpb.Lease/LeaseRevoke', { ID: second });
    await unlock(held.key);
    expect(await waiting).toEqual({ code: 2, details: 'mutex: session is expired' });
  });

  test('that is no longer waited for leaves no place behind', async () => {
    const [first, second] = [await grant(), await grant()];
    const held = await lock('gone', first);
    const waiting = failure(lock('gone', second, { deadlineMs: 300 }));
    expect((await waiting).code).toBe(4);
    await queued('gone', 1);
    expect(await keys('gone')).toEqual([held.key.toString()]);
  });

  test('is waited for over a compaction', async () => {
    const [first, second] = [await grant(), await grant()];
    const held = await lock('compacted', first);
    const next = lock('compacted', second);
    await queued('compacted', 2);
    const { header } = await call('/etcdserverpb.KV/Put', { key: bytes('x') });
    await call('/etcdserverpb.KV/Compact', { revision: header!.revision, physical: true });
    await unlock(held.key);
    expect((await next).key.toString()).toContain('compacted/');
  });

  test('fails in the words and with the code of etcd', async () => {
    expect(await failure(lock('bad', 4711))).toEqual({
      code: 2,
      details: 'etcdserver: requested lease not found',
    });
    expect(await failure(unlock(Buffer.alloc(0)))).toEqual({
      code: 2,
      details: 'etcdserver: key is not provided',
    });
  });
});

describe('an election', () => {
  test('is won by who campaigns first; the next waits until it resigns', async () => {
    const [first, second] = [await grant(), await grant()];
    const won = await campaign('e', first, 'one');
    expect(won.leader).toMatchObject({ name: bytes('e'), lease: first });
    expect(won.leader!.key.toString()).toBe(`e/${BigInt(first).toString(16)}`);
    expect((await leaderOf('e')).kv).toMatchObject({ value: bytes('one'), create_revision: won.leader!.rev });
    const next = campaign('e', second, 'two');
    await queued('e', 2);
    await call('/v3electionpb.Election/Resign', { leader: won.leader! });
    expect((await next).leader!.rev).toBeGreaterThan(Number(won.leader!.rev));
    expect((await leaderOf('e')).kv!.value.toString()).toBe('two');
  });

  test('campaigning again with the same lease proclaims the new value', async () => {
    const lease = await grant();
    const first = await campaign('anew', lease, 'old');
    const second = await campaign('anew', lease, 'new');
    expect(second.leader!.rev).toBe(first.leader!.rev);
    expect((await leaderOf('anew')).kv!.value.toString()).toBe('new');
  });

  test('only the leader proclaims; resigning twice does no harm', async () => {
    const lease = await grant();
    const { leader } = await campaign('p', lease, 'one');
    await call('/v3electionpb.Election/Proclaim', { leader: leader!, value: bytes('two') });
    expect((await leaderOf('p')).kv!.value.toString()).toBe('two');
    await call('/v3electionpb.Election/Resign', { leader: leader! });
    await call('/v3electionpb.Election/Resign', { leader: leader! });
    const late = call('/v3electionpb.Election/Proclaim', { leader: leader!, value: bytes('three') });
    expect(await failure(late)).toEqual({ code: 2, details: 'election: not leader' });
    expect(await failure(leaderOf('p'))).toEqual({ code: 2, details: 'election: no leader' });
    for (const method of ['Proclaim', 'Resign'] as const) {
      expect(await failure(call(`/v3electionpb.Election/${method}`, {}))).toEqual({
        code: 2,
        details: '"leader" field must be provided',
      });
    }
  });

  test('a candidate that goes away leaves no place behind', async () => {
    const [first, second] = [await grant(), await grant()];
    const { leader } = await campaign('candidate', first, 'one');
    expect((await failure(campaign('candidate', second, 'two', { deadlineMs: 300 }))).code).toBe(4);
    await queued('candidate', 1);
    expect(await keys('candidate')).toEqual([leader!.key.toString()]);
  });

  test('is observed: who leads, what it proclaims, who follows', async () => {
    const observer = server.stream('/v3electionpb.Election/Observe');
    observer.send({ name: bytes('seen') });
    observer.call.end();
    const heard = async () => (await observer.next()).kv!.value.toString();
    const first = await campaign('seen', await grant(), 'one');
    expect(await heard()).toBe('one');
    const next = campaign('seen', await grant(), 'three');
    await queued('seen', 2);
    await call('/v3electionpb.Election/Proclaim', { leader: first.leader!, value: bytes('two') });
    expect(await heard()).toBe('two');
    await call('/v3electionpb.Election/Resign', { leader: first.leader! });
    const second = await next;
    expect(await heard()).toBe('three');
    await call('/v3electionpb.Election/Resign', { leader: second.leader! });
    await campaign('seen', await grant(), 'four');
    expect(await heard()).toBe('four');
    observer.call.cancel();
  });
});
