import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Kv } from '../../src/kv/kv.ts';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { HELD_BYTES_MAX, HELD_EVENTS_MAX } from '../../src/kv/local-watch.ts';
import { AS_SERVICE, as, codeOf, kvContract } from '../contract/kv.ts';
import { kvAuthContract, ROOT_LOGIN } from '../contract/kv-auth.ts';
import { eventually, TestCluster } from '../member/test-cluster.ts';
import { MemberWorld } from './member-world.ts';

const start = (): Promise<MemberWorld> => MemberWorld.start(async ({ member }) => new LocalKv(member));

kvContract('a member in this process', start);
kvAuthContract('a member in this process', start);

const key = Buffer.from('key');
const range = { key, consistency: { type: 'linearizable' } } as const;
const put = (kv: Kv, value: Buffer) =>
  kv.txn({ compare: [], success: [{ type: 'put', key, value }], failure: [] }, AS_SERVICE);

test('a watch that is not read is held back by the member, and then told everything from history', async () => {
  const world = await start();
  const kv = await world.connect();
  const watch = kv.watch({ key, startRevision: 2 }, AS_SERVICE)[Symbol.asyncIterator]();
  await put(kv, Buffer.alloc(HELD_BYTES_MAX));
  expect((await watch.next()).value).toMatchObject({ revision: 2 });
  const revisions = 12;
  for (let i = 0; i < revisions; i += 1) await put(kv, Buffer.alloc(HELD_BYTES_MAX / 4, i));
  await eventually(() => world.member.figures().slowWatchers === 1);

  const told: number[] = [];
  while (told.length < revisions) {
    const { value } = (await watch.next()) as IteratorYieldResult<{
      readonly events: readonly { readonly row: { readonly modRevision: number; readonly value: Buffer } }[];
    }>;
    const bytes = value.events.reduce((sum, { row }) => sum + row.value.length, 0);
    expect(bytes).toBeLessThanOrEqual(2 * HELD_BYTES_MAX);
    told.push(...value.events.map(({ row }) => row.modRevision));
  }
  expect(told).toEqual(Array.from({ length: revisions }, (_, i) => 3 + i));
  await eventually(() => world.member.figures().slowWatchers === 0);
  await watch.return?.();
  await eventually(() => world.member.figures().watchers === 0);
  await kv.close();
  await world.stop();
});

test('a watch that waits too long finds its history gone', async () => {
  const world = await start();
  const kv = await world.connect();
  const watch = kv.watch({ key, startRevision: 2 }, AS_SERVICE)[Symbol.asyncIterator]();
  await put(kv, key);
  await watch.next();
  for (let i = 0; i <= HELD_EVENTS_MAX; i += 128) {
    await Promise.all(Array.from({ length: 128 }, () => put(kv, key)));
  }
  const { revision } = await put(kv, key);
  await eventually(() => world.member.figures().slowWatchers === 1);
  await world.compact(revision);
  // What was held already is still told.
  const failure = (async () => {
    for (;;) await watch.next();
  })();
  expect(await failure.catch((error: unknown) => error)).toMatchObject({
    code: 'compacted',
    compactRevision: revision,
  });
  await kv.close();
  await world.stop();
});

test('without a majority a write may yet be done, a read is not', async () => {
  const cluster = await TestCluster.start(3);
  const [first, ...others] = cluster.places;
  const kv = new LocalKv(first!.member!);
  await put(kv, key);
  for (const place of others) await cluster.stop(place);
  const failures = [put(kv, key), kv.range(range, AS_SERVICE), kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE)];
  expect(await Promise.all(failures.map(codeOf))).toEqual(['ambiguous', 'unavailable', 'ambiguous']);
  const local = await kv.range({ key, consistency: { type: 'serializable' } }, AS_SERVICE);
  expect(local.count).toBe(1);
  await kv.close();
  await cluster.stopAll();
});

test('the service of every member may do everything, wherever the leader is', async () => {
  const auth = { jwt: null, tokenTtlMs: 60_000, passwordCost: 4 };
  const cluster = await TestCluster.start(3, { auth });
  const leader = await cluster.leader();
  const { accounts } = leader.member!;
  const { signal } = AS_SERVICE;
  await accounts.userAdd({ name: 'root', password: 'root-password', noPassword: false }, { signal });
  await accounts.roleAdd('root', { signal });
  await accounts.userGrantRole({ name: 'root', role: 'root' }, { signal });
  await accounts.enable({ signal });
  for (const { member } of cluster.places) {
    await eventually(() => member!.accounts.enabled);
    const kv = new LocalKv(member!);
    const watch = kv.watch({ key, startRevision: 0 }, AS_SERVICE)[Symbol.asyncIterator]();
    await watch.next();
    const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
    const success = [{ type: 'put', key, value: key, lease }] as const;
    const { revision } = await kv.txn({ compare: [], success, failure: [] }, AS_SERVICE);
    expect((await watch.next()).value).toMatchObject({ revision, events: [{ row: { key, lease } }] });
    expect((await kv.range(range, AS_SERVICE)).count).toBe(1);
    expect(await kv.leaseKeepAlive(lease, AS_SERVICE)).toBe(60);
    await kv.leaseRevoke(lease, AS_SERVICE);
    expect((await watch.next()).value).toMatchObject({ events: [{ type: 'delete' }] });
    for (const call of [as({ type: 'anonymous' }), as({ type: 'token', token: '\0' })]) {
      expect(await codeOf(kv.txn({ compare: [], success, failure: [] }, call))).toBe('unauthenticated');
    }
    await watch.return?.();
    await kv.close();
  }
  await cluster.stopAll();
});

test('a bounded read says how old it may be', async () => {
  const world = await start();
  const kv = await world.connect();
  const bounded = { key, consistency: { type: 'bounded', maxStalenessMs: 60_000 } } as const;
  const { ageMs } = await kv.range(bounded, AS_SERVICE);
  expect(ageMs).toBeGreaterThanOrEqual(0);
  expect(ageMs).toBeLessThanOrEqual(60_000);
  await kv.close();
  await world.stop();
});

test('a token that was not used for long is none any more', async () => {
  const auth = { jwt: null, tokenTtlMs: 500, passwordCost: 4 };
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member), { auth });
  const { admin } = world;
  await admin.auth.userAdd({ name: 'root', password: ROOT_LOGIN.password });
  await admin.auth.roleAdd('root');
  await admin.auth.userGrantRole({ user: 'root', role: 'root' });
  await admin.auth.enable();
  const kv = await world.connect();
  const login = { name: 'root', password: ROOT_LOGIN.password };
  const call = as({ type: 'token', token: await kv.signIn(login, AS_SERVICE) });
  await delay(1_500);
  expect(await codeOf(kv.permits({ key, access: 'read' }, call))).toBe('unauthenticated');
  expect(await codeOf(kv.range(range, call))).toBe('unauthenticated');
  await kv.close();
  await world.stop();
});
