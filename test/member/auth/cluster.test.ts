import { afterEach, describe, expect, test } from 'vitest';
import type { PermissionKind } from '../../../src/core/auth/permission.ts';
import { type DeleteRangeRequest, deleteRequest } from '../../../src/core/mvcc/operations.ts';
import type { WatchDelivery, WatchSink } from '../../../src/core/watch/hub.ts';
import type { StoreError } from '../../../src/lib/errors.ts';
import type { ClientContext } from '../../../src/member/auth/access.ts';
import type { Member } from '../../../src/member/member.ts';
import type { MemberOptions } from '../../../src/member/member-options.ts';
import { eventually, get, type Place, put, TestCluster, txn } from '../test-cluster.ts';

/** Authentication on whole members: every entry through the log, every decision where it is applied. */

const AUTH = { jwt: null, tokenTtlMs: 300_000, passwordCost: 4 };
let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

function as(token?: string): ClientContext & { readonly serializable: boolean } {
  const { signal } = new AbortController();
  return token === undefined
    ? { signal, serializable: false }
    : { signal, serializable: false, credentials: { token } };
}
async function code(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'ok',
    (error: unknown) => (error as StoreError).code,
  );
}
async function signIn(member: Member, name: string, password = name): Promise<string> {
  return (await member.accounts.authenticate({ name, password, address: '' }, as())).result;
}
function allow(
  member: Member,
  permission: { kind: PermissionKind; key: string; end?: string },
  token?: string,
) {
  const { kind, key, end = '' } = permission;
  const granted = { kind, key: Buffer.from(key), rangeEnd: Buffer.from(end) };
  return member.accounts.roleGrantPermission({ name: 'r', permission: granted }, as(token));
}

/** root and u with the role r, which may read and write [a, b). @returns tokens of both */
async function enabled(
  size: number,
  options: Partial<MemberOptions> = {},
): Promise<{ members: Member[]; root: string; user: string }> {
  cluster = await TestCluster.start(size, { auth: AUTH, ...options });
  const members = cluster.places.map(({ member }) => member!);
  const [one] = members as [Member];
  const { accounts } = one;
  for (const name of ['root', 'u']) {
    await accounts.userAdd({ name, password: name, noPassword: false }, as());
  }
  await accounts.userGrantRole({ name: 'root', role: 'root' }, as());
  await accounts.roleAdd('r', as());
  await accounts.userGrantRole({ name: 'u', role: 'r' }, as());
  await allow(one, { kind: 'read-write', key: 'a', end: 'b' });
  await accounts.enable(as());
  return { members, root: await signIn(one, 'root'), user: await signIn(one, 'u') };
}

class Sink implements WatchSink {
  readonly deliveries: WatchDelivery[] = [];
  writable = true;
  deliver(delivery: WatchDelivery): void {
    this.deliveries.push(delivery);
  }
  get keys(): string[] {
    return this.deliveries.flatMap((delivery) =>
      delivery.type === 'events' ? delivery.events.map(({ event }) => event.row.key.toString()) : [],
    );
  }
  get reasons(): string[] {
    return this.deliveries.flatMap((delivery) => (delivery.type === 'canceled' ? [delivery.reason] : []));
  }
}
const del = (key: string): DeleteRangeRequest => deleteRequest({ key: Buffer.from(key) });
const watchOf = (key: string, rangeEnd = '', startRevision = 0, watchId = 1n) => ({
  watchId,
  key: Buffer.from(key, 'latin1'),
  rangeEnd: Buffer.from(rangeEnd, 'latin1'),
  startRevision,
  noPut: false,
  noDelete: false,
  prevKv: false,
  progressNotify: false,
});
const DENIED = 'rpc error: code = PermissionDenied desc = etcdserver: permission denied';

describe('a request', () => {
  test('is decided by who asks, on every member', async () => {
    const { members, root, user } = await enabled(3);
    for (const member of members) {
      expect(await code(member.put(put('a', '1'), as()))).toBe('user-empty');
      expect(await code(member.put(put('a', '1'), as('nonsense')))).toBe('auth-token-invalid');
      expect(await code(member.put(put('a', '1'), as(user)))).toBe('ok');
      expect(await code(member.put(put('b', '1'), as(user)))).toBe('permission-denied');
      expect(await code(member.put(put('b', '1'), as(root)))).toBe('ok');
      for (const serializable of [false, true]) {
        const context = { ...as(user), serializable };
        expect(await code(member.range(get('a', 'b'), context))).toBe('ok');
        expect(await code(member.range(get('a', 'c'), context))).toBe('permission-denied');
        expect(await code(member.range(get('a', '\0'), context))).toBe('permission-denied');
        expect(await code(member.txn(txn(get('a'), get('b')), context))).toBe('permission-denied');
        expect(await code(member.txn(txn(get('a')), context))).toBe('ok');
      }
      expect(await code(member.txn(txn(put('a1', ''), put('b1', '')), as(user)))).toBe('permission-denied');
    }
    const { result } = await members[0]!.range(get('a', 'c'), as(root));
    expect(result.kvs.map(({ key }) => key.toString())).toEqual(['a', 'b']);
  });

  test("is root's where it concerns the cluster", async () => {
    const { members, root, user } = await enabled(1);
    const [member] = members as [Member];
    const calls: ((context: ReturnType<typeof as>) => Promise<unknown>)[] = [
      (context) => member.compact({ revision: 1, physical: false }, context),
      (context) => member.memberUpdate({ id: member.id, peerUrls: ['http://n1:2380'] }, context),
      (context) => member.alarm({ action: 'activate', member: 7, alarm: 'none' }, context),
      (context) => member.alarm({ action: 'deactivate', member: 7, alarm: 'corrupt' }, context),
      (context) => member.defragment(context),
      (context) => member.hash(context),
      (context) => member.hashKv({ revision: 0 }, context),
      (context) => member.moveLeader({ target: member.id }, context),
      (context) => member.snapshot(context).then(({ frames }) => frames[Symbol.asyncIterator]().return?.()),
      (context) => member.accounts.userList(context),
      (context) => member.accounts.roleList(context),
      (context) => member.accounts.userGet('root', context),
      (context) =>
        member.accounts.roleGet('root', context).catch((error: StoreError) => {
          if (error.code !== 'role-not-found') throw error;
        }),
      (context) => member.accounts.roleAdd(`x${Math.random()}`, context),
    ];
    for (const call of calls) {
      expect(await code(call(as()))).toBe('user-empty');
      expect(await code(call(as(user)))).toBe('permission-denied');
      expect(await code(call(as(root))), String(call)).toMatch(/^(ok|compacted)$/);
    }
    const removal = (context: ClientContext): Promise<unknown> =>
      member.memberRemove({ id: member.id }, context);
    expect(await code(removal(as()))).toBe('user-empty');
    expect(await code(removal(as(user)))).toBe('permission-denied');
    const adding = { peerUrls: ['http://n9:2380'], isLearner: true };
    expect(await code(member.memberAdd(adding, as(user)))).toBe('permission-denied');
    expect(await code(member.memberPromote({ id: 9 }, as(user)))).toBe('permission-denied');
  });

  test('that every user may make is refused to who is none', async () => {
    const { members, user } = await enabled(1);
    const [member] = members as [Member];
    const calls: ((context: ReturnType<typeof as>) => Promise<unknown>)[] = [
      (context) => member.statusFor(context),
      (context) => member.memberList({ linearizable: true }, context),
      (context) => member.alarm({ action: 'get', member: 0, alarm: 'none' }, context),
      (context) => member.leaseGrant({ id: 0n, ttlSeconds: 60 }, context),
      (context) => member.leaseLeases(context),
      (context) => member.leaseTimeToLive({ id: 5n, keys: true }, context),
      (context) => member.leaseKeepAlive({ id: 5n }, context),
      (context) => member.accounts.userGet('u', context),
      (context) => member.accounts.roleGet('r', context),
    ];
    for (const call of calls) {
      expect(await code(call(as()))).toBe('user-empty');
      expect(await code(call(as(user)))).toBe('ok');
    }
    const status = await member.accounts.status(as());
    expect(status.result).toEqual({ enabled: true, revision: 7 });
  });

  test('is tried anew when roles change under it, and never done on old terms', async () => {
    const { members, root, user } = await enabled(3);
    const changes = (async () => {
      // As often as a request is tried anew: each time it needs another change to fail.
      for (let i = 0; i < 10; i++) await members[0]!.accounts.roleAdd(`role ${i}`, as(root));
    })();
    const puts = Array.from({ length: 60 }, (_, i) => members[i % 3]!.put(put(`a${i}`, ''), as(user)));
    await Promise.all([changes, ...puts]);
    const { result } = await members[1]!.range(get('a', 'b'), as(user));
    expect(result.count).toBe(60);
  });

  test('that is refused costs the cluster nothing: no entry in the log, and no alarm at the quota', async () => {
    const { members, user } = await enabled(1, { quotaBytes: 5_000 });
    const [member] = members as [Member];
    const { raftIndex } = member.status().result;
    const large = put('b', 'x'.repeat(6_000));
    for (const [context, refusal] of [
      [as(), 'user-empty'],
      [as(user), 'permission-denied'],
    ] as const) {
      expect(await code(member.put(large, context))).toBe(refusal);
      expect(await code(member.txn(txn(large), context))).toBe(refusal);
      expect(await code(member.deleteRange(del('b'), context))).toBe(refusal);
      expect(await code(member.compact({ revision: 1, physical: false }, context))).toBe(refusal);
      expect(await code(member.accounts.roleAdd('x', context))).toBe(refusal);
    }
    expect(member.status().result).toMatchObject({ alarms: [], raftIndex });
    expect(await code(member.put(put('a', 'x'.repeat(6_000)), as(user)))).toBe('no-space');
    await eventually(() => member.status().result.alarms.length === 1);
  });

  test('about himself is answered to who is still the one that signed in', async () => {
    const jwt = {
      method: 'HS256',
      publicKey: null,
      privateKey: Buffer.from('secret'),
      ttlMs: 60_000,
      nowMs: Date.now,
    } as const;
    const { members, root, user } = await enabled(1, { auth: { ...AUTH, jwt } });
    const { accounts } = (members as [Member])[0];
    expect(await code(accounts.userGet('u', as(user)))).toBe('ok');
    expect(await code(accounts.roleGet('r', as(user)))).toBe('ok');
    await accounts.userDelete('u', as(root));
    expect(await code(accounts.userGet('u', as(user)))).toBe('user-not-found');
    await accounts.userAdd({ name: 'u', password: 'another', noPassword: false }, as(root));
    await accounts.userGrantRole({ name: 'u', role: 'r' }, as(root));
    expect(await code(accounts.userGet('u', as(user)))).toBe('auth-revision-old');
    expect(await code(accounts.roleGet('r', as(user)))).toBe('auth-revision-old');
    const again = as(await signIn(members[0]!, 'u', 'another'));
    expect((await accounts.userGet('u', again)).result).toEqual(['r']);
    expect(await code(accounts.roleGet('r', again))).toBe('ok');
  });

  test('of somebody who was just allowed to is not refused by a member that has yet to hear of it', async () => {
    const { root, user } = await enabled(3);
    const leader = await cluster.leader();
    const behind = cluster.places.find((place) => place !== leader)!;
    behind.stalling.stall();
    const { accounts } = leader.member!;
    await accounts.userGrantRole({ name: 'u', role: 'root' }, as(root));
    const calls = [
      behind.member!.hash(as(user)),
      behind.member!.put(put('z', ''), as(user)),
      behind.member!.statusFor(as(user)),
      behind.member!.accounts.userList(as(user)),
      behind.member!.memberAdd({ peerUrls: ['http://n9:2380'], isLearner: true }, as(user)),
    ].map(code);
    behind.stalling.goOn();
    expect(await Promise.all(calls)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
  });

  test('a forwarded change of members is decided on the leader for who asked', async () => {
    const { members, root, user } = await enabled(3);
    const leader = (await cluster.leader()).member;
    const follower = members.find((member) => member !== leader)!;
    const adding = { peerUrls: ['http://n9:2380'], isLearner: true };
    expect(await code(follower.memberAdd(adding, as(user)))).toBe('permission-denied');
    expect(await code(follower.memberAdd(adding, as(root)))).toBe('ok');
  });
});

describe('a large answer', () => {
  const VALUE = 'x'.repeat(700_000);
  /** Three pieces; `meanwhile` happens when it has begun and nothing of it was gathered. */
  const kinds: readonly [
    string,
    (member: Member, token: string | undefined, meanwhile: () => Promise<unknown>) => Promise<unknown>,
  ][] = [
    [
      'range',
      (member, token, meanwhile) =>
        member.range(get('a', 'b'), { ...as(token), reserve: async () => void (await meanwhile()) }),
    ],
    [
      'transaction',
      (member, token, meanwhile) =>
        member.txn(txn(get('a', 'b')), { ...as(token), reserve: async () => void (await meanwhile()) }),
    ],
    [
      'open range',
      async (member, token, meanwhile) => {
        const { result } = await member.openRange(get('a', 'b'), as(token));
        await meanwhile();
        for await (const page of result.pages) expect(page.length).toBeGreaterThan(0);
      },
    ],
  ];
  const range = { key: Buffer.from('a'), rangeEnd: Buffer.from('b') };

  test.each(kinds)('(%s) is held to what its reader may', async (name, read) => {
    const { members, root, user } = await enabled(1);
    const [member] = members as [Member];
    const { accounts } = member;
    for (const key of ['a1', 'a2', 'a3']) await member.put(put(key, VALUE), as(user));
    await member.put(put('c', VALUE), as(root));
    expect(await code(read(member, user, async () => undefined))).toBe('ok');
    expect(await code(read(member, undefined, async () => undefined))).toBe('user-empty');
    expect(await code(read(member, 'nonsense', async () => undefined))).toBe('auth-token-invalid');
    // What else changes does not end it.
    let changes = 0;
    const unrelated = (): Promise<unknown> => accounts.roleAdd(`unrelated ${(changes += 1)}`, as(root));
    expect(await code(read(member, user, unrelated))).toBe('ok');
    expect(changes).toBe(1);

    const revoke = (): Promise<unknown> => accounts.roleRevokePermission({ name: 'r', ...range }, as(root));
    expect(await code(read(member, user, revoke))).toBe('permission-denied');
    expect(await code(read(member, user, async () => undefined))).toBe('permission-denied');

    await allow(member, { kind: 'read', key: 'a', end: 'b' }, root);
    const change = (): Promise<unknown> =>
      accounts.userChangePassword({ name: 'u', password: 'u' }, as(root)).catch(() => undefined);
    expect(await code(read(member, user, change))).toBe(
      name === 'open range' ? 'auth-revision-old' : 'auth-token-invalid',
    );
    const again = await signIn(member, 'u');
    const remove = (): Promise<unknown> => accounts.userDelete('u', as(root)).catch(() => undefined);
    expect(await code(read(member, again, remove))).toMatch(/^auth-(revision-old|token-invalid)$/);

    await accounts.disable(as(root));
    const enable = (): Promise<unknown> => accounts.enable(as());
    expect(await code(read(member, undefined, enable))).toBe('user-empty');
  });

  test('begun before authentication was enabled goes on for whoever has shown who he is', async () => {
    const { members, root } = await enabled(1);
    const [member] = members as [Member];
    const { accounts } = member;
    for (const key of ['a1', 'a2', 'a3']) await member.put(put(key, VALUE), as(root));
    await accounts.disable(as(root));
    const { signal } = new AbortController();
    const context = { signal, serializable: false, credentials: { certificateName: 'u' } };
    const reserve = async (): Promise<void> => void (await accounts.enable(as()).catch(() => undefined));
    expect(await code(member.range(get('a', 'b'), { ...context, reserve }))).toBe('ok');
    expect(await code(member.range(get('a', 'd'), { ...context, reserve }))).toBe('permission-denied');
  });
});

test('automatic compaction needs nobody', async () => {
  const policy = { mode: 'periodic', periodMs: 200 } as const;
  const { members, root, user } = await enabled(1, { autoCompaction: policy });
  const [member] = members as [Member];
  const before = member.figures().compactRevision;
  await member.put(put('a', '1'), as(user));
  await member.put(put('a', '2'), as(user));
  await eventually(() => member.figures().compactRevision > before);
  expect(await code(member.compact({ revision: 1, physical: false }, as(user)))).toBe('permission-denied');
  expect(await code(member.compact({ revision: 1, physical: false }, as(root)))).toBe('compacted');
});

describe('a lease', () => {
  test('and its keys are hidden from, and kept from, who may not have them', async () => {
    const { members, root, user } = await enabled(3);
    const leader = (await cluster.leader()).member;
    const follower = members.find((member) => member !== leader)!;
    for (const member of [leader!, follower]) {
      const { id } = (await member.leaseGrant({ id: 0n, ttlSeconds: 600 }, as(user))).result;
      await member.put(put('a', '', id), as(user));
      expect(await code(member.leaseKeepAlive({ id }, as(user)))).toBe('ok');
      const told = await member.leaseTimeToLive({ id, keys: true }, as(user));
      expect(told.result.keys.map(String)).toEqual(['a']);
      await member.put(put('z', '', id), as(root));
      expect(await code(member.leaseKeepAlive({ id }, as(user)))).toBe('permission-denied');
      expect(await code(member.leaseRevoke({ id }, as(user)))).toBe('permission-denied');
      expect(await code(member.put(put('a2', '', id), as(user)))).toBe('permission-denied');
      expect(await code(member.leaseTimeToLive({ id, keys: true }, as(user)))).toBe('permission-denied');
      expect(await code(member.leaseTimeToLive({ id, keys: false }, as(user)))).toBe('ok');
      expect(await code(member.leaseLeases(as(user)))).toBe('permission-denied');
      expect(await code(member.leaseLeases(as(root)))).toBe('ok');
      expect(await code(member.leaseRevoke({ id }, as(root)))).toBe('ok');
    }
  });
});

describe('a watch', () => {
  test('is refused unless all of its range may be read (GHSA-xg4h-6gfc-h4m8)', async () => {
    const { members, root, user } = await enabled(1);
    const [member] = members as [Member];
    await allow(member, { kind: 'read', key: 'k' }, root);
    await allow(member, { kind: 'write', key: 'w' }, root);
    const sink = new Sink();
    const stream = member.openWatch(sink, as(user));
    for (const [key, end] of [
      ['k', '\0'],
      ['k', 'l'],
      ['k', 'k\0\0'],
      ['', '\0'],
      ['\0', '\0'],
      ['', ''],
      ['w', ''],
      ['a', 'b\0'],
    ] as const) {
      expect(stream.create(watchOf(key, end)), `${key} ${end}`).toBe(DENIED);
    }
    expect(stream.create(watchOf('k', ''))).toBeNull();
    await member.put(put('k', '1'), as(root));
    await member.put(put('k1', '1'), as(root));
    await member.put(put('k', '2'), as(root));
    expect(sink.keys).toEqual(['k', 'k']);

    // Of two mistakes etcd tells of the first: who may not, then what is empty.
    expect(stream.create(watchOf('m', 'l'))).toBe(DENIED);
    expect(stream.create(watchOf('k', 'a'))).toBe('mvcc: watcher range is empty');

    const nobody = member.openWatch(new Sink(), as());
    for (const end of ['', 'a']) {
      expect(nobody.create(watchOf('k', end))).toBe(
        'rpc error: code = InvalidArgument desc = etcdserver: user name is empty',
      );
    }
    const wrong = member.openWatch(new Sink(), as('wrong.1'));
    expect(wrong.create(watchOf('k'))).toBe(
      'rpc error: code = Unauthenticated desc = etcdserver: invalid auth token',
    );
  });

  const revocations: readonly [string, (member: Member, root: string) => Promise<unknown>][] = [
    [
      'its permission',
      (member, root) =>
        member.accounts.roleRevokePermission(
          { name: 'r', key: Buffer.from('a'), rangeEnd: Buffer.from('b') },
          as(root),
        ),
    ],
    ['its role', (member, root) => member.accounts.roleDelete('r', as(root))],
    ["its user's role", (member, root) => member.accounts.userRevokeRole({ name: 'u', role: 'r' }, as(root))],
    ['its user', (member, root) => member.accounts.userDelete('u', as(root))],
    [
      'the kind of its permission',
      (member, root) => allow(member, { kind: 'write', key: 'a', end: 'b' }, root),
    ],
  ];
  test.each(revocations)('ends with %s, and hears of nothing after it', async (_name, revoke) => {
    const { members, root, user } = await enabled(1);
    const [member] = members as [Member];
    const [mine, roots, slow] = [new Sink(), new Sink(), new Sink()];
    expect(member.openWatch(mine, as(user)).create(watchOf('a1'))).toBeNull();
    expect(member.openWatch(roots, as(root)).create(watchOf('a', 'c'))).toBeNull();
    expect(member.openWatch(slow, as(user)).create(watchOf('a', 'b'))).toBeNull();
    await member.put(put('a1', '1'), as(root));
    slow.writable = false;
    // All in one go: the revocation stands between two writes of one batch.
    await Promise.all([
      member.put(put('a1', '2'), as(root)),
      revoke(member, root),
      member.put(put('a1', '3'), as(root)),
    ]);
    slow.writable = true;
    member.resumeWatch(slow);
    await member.put(put('b', '4'), as(root));
    await eventually(() => roots.keys.length === 4);
    expect(mine.reasons).toEqual([DENIED]);
    expect(mine.keys).toEqual(['a1', 'a1']);
    expect(slow.reasons).toEqual([DENIED]);
    expect(slow.keys).toEqual(['a1']);
    expect(roots.reasons).toEqual([]);
  });

  test('of nobody ends when authentication is enabled; one of a user whose password changes, too', async () => {
    const { members, root, user } = await enabled(1);
    const [member] = members as [Member];
    await member.accounts.disable(as(root));
    const sink = new Sink();
    expect(member.openWatch(sink, as()).create(watchOf('a'))).toBeNull();
    await member.accounts.enable(as());
    expect(sink.reasons).toEqual(['rpc error: code = InvalidArgument desc = etcdserver: user name is empty']);
    expect(await code(member.range(get('a'), as(user)))).toBe('auth-token-invalid');

    const [again, rootAgain] = [await signIn(member, 'u'), await signIn(member, 'root')];
    const second = new Sink();
    expect(member.openWatch(second, as(again)).create(watchOf('a'))).toBeNull();
    await member.accounts.roleAdd('unrelated', as(rootAgain));
    expect(second.reasons).toEqual([]);
    await member.accounts.userChangePassword({ name: 'u', password: 'new' }, as(rootAgain));
    expect(second.reasons).toEqual([
      'rpc error: code = Unauthenticated desc = etcdserver: invalid auth token',
    ]);
    expect(await code(member.range(get('a'), as(again)))).toBe('auth-token-invalid');
    expect(await code(signIn(member, 'u'))).toBe('auth-failed');
    expect(await code(signIn(member, 'u', 'new'))).toBe('ok');
  });
});

describe('signing in', () => {
  test('is guessed no faster by guessing all at once', async () => {
    const { members } = await enabled(1);
    const { accounts } = (members as [Member])[0];
    const guess = (): Promise<string> =>
      code(accounts.authenticate({ name: 'root', password: 'guess', address: '192.0.2.1' }, as()));
    const outcomes = await Promise.all(Array.from({ length: 60 }, guess));
    const failed = outcomes.filter((outcome) => outcome === 'auth-failed').length;
    expect(failed).toBeGreaterThanOrEqual(20);
    expect(failed).toBeLessThan(30);
    expect(outcomes.filter((outcome) => outcome === 'too-many-requests')).toHaveLength(60 - failed);
    const elsewhere = { name: 'root', password: 'root', address: '192.0.2.2' };
    expect(await code(accounts.authenticate(elsewhere, as()))).toBe('ok');
  });

  test('needs a user and his password', async () => {
    cluster = await TestCluster.start(1, { auth: AUTH });
    const member = cluster.places[0]!.member!;
    const { accounts } = member;
    expect(await code(signIn(member, 'root'))).toBe('auth-not-enabled');
    await accounts.userAdd({ name: 'root', password: 'p', noPassword: false }, as());
    await accounts.userAdd({ name: 'cert', password: '', noPassword: true }, as());
    await accounts.userGrantRole({ name: 'root', role: 'root' }, as());
    await accounts.enable(as());
    expect(await code(signIn(member, 'root', 'q'))).toBe('auth-failed');
    expect(await code(signIn(member, 'nobody', ''))).toBe('auth-failed');
    expect(await code(signIn(member, 'cert', ''))).toBe('auth-failed');
    expect(await code(signIn(member, 'root', 'p'))).toBe('ok');
    const wrong = { name: 'root', password: 'q', address: '192.0.2.1' };
    const attempts = [];
    for (let i = 0; i < 21; i++) attempts.push(await code(accounts.authenticate(wrong, as())));
    expect(attempts.filter((each) => each === 'auth-failed')).toHaveLength(20);
    expect(attempts.at(-1)).toBe('too-many-requests');
    expect(await code(signIn(member, 'root', 'p'))).toBe('ok');
  });

  test('by a certificate makes its common name the user, behind a token', async () => {
    const { members, root, user } = await enabled(1);
    const [member] = members as [Member];
    const by = (certificateName: string, token?: string) => ({
      ...as(),
      credentials: { certificateName, token },
    });
    expect(await code(member.put(put('a', ''), by('u')))).toBe('ok');
    expect(await code(member.put(put('b', ''), by('u')))).toBe('permission-denied');
    expect(await code(member.put(put('b', ''), by('root')))).toBe('ok');
    expect(await code(member.put(put('b', ''), by('root', user)))).toBe('permission-denied');
    expect(await code(member.put(put('b', ''), by('u', root)))).toBe('ok');
    expect(await code(member.put(put('b', ''), by('nobody')))).toBe('permission-denied');
    expect(await code(member.put(put('b', ''), by('\0')))).toBe('user-empty');
  });
});

describe('members', () => {
  const hashes = async (places: readonly Place[], root: string): Promise<Set<number>> => {
    const all = new Set<number>();
    for (const { member } of places) {
      await member!.range(get('a'), as(root));
      all.add((await member!.hash(as(root))).result.hash);
    }
    return all;
  };

  test('that restart, and that install a snapshot, hold the same users and roles', async () => {
    cluster = await TestCluster.start(3, { auth: AUTH, snapshotCount: 20, catchUpEntries: 5 });
    const [one, , three] = cluster.places as [Place, Place, Place];
    const { accounts } = one.member!;
    await accounts.userAdd({ name: 'root', password: 'root', noPassword: false }, as());
    await accounts.userGrantRole({ name: 'root', role: 'root' }, as());
    await accounts.enable(as());
    let root = await signIn(one.member!, 'root');
    await cluster.stop(three);
    for (let i = 0; i < 30; i++) {
      await accounts.userAdd({ name: `u${i}`, password: '', noPassword: true }, as(root));
      await accounts.roleAdd(`r${i}`, as(root));
      await one.member!.put(put(`k${i}`, ''), as(root));
    }
    await accounts.userDelete('u3', as(root));
    await cluster.start(three);
    await three.member!.ready(new AbortController().signal);
    root = await signIn(three.member!, 'root');
    const { result } = await three.member!.accounts.userList(as(root));
    expect(result).toHaveLength(30);
    expect((await hashes(cluster.places, root)).size).toBe(1);

    for (const place of cluster.places) {
      await cluster.stop(place);
      await cluster.start(place);
      await place.member!.ready(new AbortController().signal);
    }
    root = await signIn(one.member!, 'root');
    expect((await one.member!.accounts.userList(as(root))).result).toHaveLength(30);
    expect((await hashes(cluster.places, root)).size).toBe(1);
    expect(await code(one.member!.put(put('a', ''), as()))).toBe('user-empty');
  });

  test('agree while authentication is enabled and disabled under load (etcd #14571)', async () => {
    const { members, root } = await enabled(3);
    let token = root;
    for (let round = 0; round < 3; round++) {
      const load = Array.from({ length: 30 }, (_, i) =>
        code(members[i % 3]!.put(put(`a${i}`, String(round)), as(i % 2 === 0 ? token : undefined))),
      );
      await members[round]!.accounts.disable(as(token));
      await members[(round + 1) % 3]!.accounts.enable(as());
      await Promise.all(load);
      token = await signIn(members[0]!, 'root');
    }
    expect((await hashes(cluster.places, token)).size).toBe(1);
    expect(cluster.places.map(({ fatal }) => fatal)).toEqual([null, null, null]);
  });
});
