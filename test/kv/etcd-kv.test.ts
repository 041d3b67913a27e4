import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { EtcdKv } from '../../src/kv/etcd-kv.ts';
import { KvError } from '../../src/kv/kv.ts';
import { SmallMember, SmallStore } from '../client/small-store.ts';
import { AS_SERVICE, as, codeOf, kvContract } from '../contract/kv.ts';
import { kvAuthContract, ROOT_LOGIN } from '../contract/kv-auth.ts';
import { eventually } from '../support/eventually.ts';
import { MemberWorld } from './member-world.ts';

kvContract('a member over the wire', () =>
  MemberWorld.start(async ({ address }) => new EtcdKv({ endpoints: [address] })),
);

kvAuthContract('a member over the wire', () =>
  MemberWorld.start(async ({ address }) => new EtcdKv({ endpoints: [address], login: ROOT_LOGIN })),
);

const key = Buffer.from('key');
const range = { key, consistency: { type: 'linearizable' } } as const;
const txn = { compare: [], success: [{ type: 'put', key, value: key }], failure: [] } as const;
const readOnly = { compare: [], success: [{ type: 'range', key }], failure: [] } as const;

describe('a member that cannot be relied on', () => {
  let member: SmallMember;
  let kv: EtcdKv;

  beforeEach(async () => {
    member = await new SmallMember(new SmallStore()).start();
    kv = new EtcdKv({ endpoints: [member.address], timeoutMs: 1_000 });
  });
  afterEach(async () => {
    await kv.close();
    await member.stop();
  });

  test('whom nobody answers: a write may have been done, a read was not', async () => {
    member.stalled = true;
    const failures = [kv.txn(txn, AS_SERVICE), kv.txn(readOnly, AS_SERVICE), kv.range(range, AS_SERVICE)];
    expect(await Promise.all(failures.map(codeOf))).toEqual(['ambiguous', 'unavailable', 'unavailable']);
  });

  test('what is under way when the port is closed', async () => {
    member.stalled = true;
    const failures = [kv.txn(txn, AS_SERVICE), kv.range(range, AS_SERVICE)].map(codeOf);
    await eventually('both are there', () => member.calls.length === 2);
    await kv.close();
    expect(await Promise.all(failures)).toEqual(['ambiguous', 'closed']);
  });

  test('a write that was given up may have been done', async () => {
    member.stalled = true;
    const control = new AbortController();
    const failure = codeOf(kv.txn(txn, { ...AS_SERVICE, signal: control.signal }));
    await eventually('it is there', () => member.calls.length === 1);
    control.abort();
    expect(await failure).toBe('canceled');
  });

  test('where nobody is, nothing was done', async () => {
    const [port] = await freePorts(1);
    const nowhere = new EtcdKv({ endpoints: [`127.0.0.1:${port}`] });
    const failures = [nowhere.txn(txn, AS_SERVICE), nowhere.range(range, AS_SERVICE)];
    expect(await Promise.all(failures.map(codeOf))).toEqual(['unavailable', 'unavailable']);
    await nowhere.close();
  });

  test('a watch outlives a lost connection, and tells everything once', async () => {
    member.store.put({ key, value: Buffer.from('1'), lease: 0n });
    const told: string[] = [];
    for await (const { events } of kv.watch({ key, startRevision: 1 }, AS_SERVICE)) {
      told.push(...events.map(({ row }) => row.value.toString()));
      if (told.length === 3) break;
      await member.stop();
      member.store.put({ key, value: Buffer.from(`${told.length + 1}`), lease: 0n });
      await member.start();
    }
    expect(told).toEqual(['1', '2', '3']);
  });
});

test('the limits are those that it was told', async () => {
  const kv = new EtcdKv({ endpoints: ['127.0.0.1:1'], limits: { txnOpsMax: 1, requestBytesMax: 1_000 } });
  const put = (value: string) => ({ type: 'put', key, value: Buffer.from(value) }) as const;
  for (const success of [[put(''), put('')], [put('v'.repeat(1_000))]]) {
    expect(await codeOf(kv.txn({ compare: [], success, failure: [] }, AS_SERVICE))).toBe('too-large');
  }
  await kv.close();
});

test('a signed token says whose it is, to every port; one that is forged is none', async () => {
  const jwt = {
    method: 'HS256',
    publicKey: null,
    privateKey: Buffer.from('secret'),
    ttlMs: 60_000,
    nowMs: () => Date.now(),
  } as const;
  const world = await MemberWorld.start(
    async ({ address }) => new EtcdKv({ endpoints: [address], login: ROOT_LOGIN }),
    { auth: { jwt, tokenTtlMs: 60_000, passwordCost: 4 } },
  );
  const { auth } = world.admin;
  await auth.userAdd({ name: 'root', password: ROOT_LOGIN.password });
  await auth.roleAdd('root');
  await auth.userGrantRole({ user: 'root', role: 'root' });
  await auth.userAdd({ name: 'alice', password: 'alice-password' });
  await auth.enable();

  const kv = await world.connect();
  const other = await world.connect();
  const token = await kv.signIn({ name: 'alice', password: 'alice-password' }, AS_SERVICE);
  const request = { key, access: 'read' } as const;
  expect(await other.permits(request, as({ type: 'token', token }))).toEqual({
    user: 'alice',
    permitted: false,
  });
  const claims = Buffer.from(JSON.stringify({ username: 'root', revision: 1 })).toString('base64url');
  const forged = [token.split('.')[0], claims, token.split('.')[2]].join('.');
  for (const bad of [forged, 'a.b.c', 'a.e30.c']) {
    const failure = await other.permits(request, as({ type: 'token', token: bad })).catch((error) => error);
    expect(failure).toBeInstanceOf(KvError);
    expect(failure).toMatchObject({ code: 'unauthenticated' });
  }
  await kv.close();
  await other.close();
  await world.stop();
});
