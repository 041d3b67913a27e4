import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { KvClient } from '../../src/client/kv-client.ts';
import { type Kv, type KvCall, KvError, type KvPermitRequest, type KvWatchRequest } from '../../src/kv/kv.ts';
import { eventually } from '../support/eventually.ts';
import { AS_SERVICE, as, codeOf } from './kv.ts';

/** A store whose service is the user `root`, or more; nobody is a user there yet. */
export interface KvAuthWorld {
  /** A port of its own to the store. Whoever asks closes it. */
  connect(): Promise<Kv>;
  /** A client that will be `root`, by ROOT_LOGIN. */
  readonly admin: KvClient;
  stop(): Promise<void>;
}

export const ROOT_LOGIN = { user: 'root', password: 'root-password' };

const bytes = (text: string): Buffer => Buffer.from(text);
const nobody = as({ type: 'anonymous' });
const prefix = (text: string): { readonly key: Buffer; readonly rangeEnd: Buffer } => ({
  key: bytes(text),
  rangeEnd: bytes(`${text.slice(0, -1)}${String.fromCharCode(text.charCodeAt(text.length - 1) + 1)}`),
});

/** What every implementation must do on a store that wants to know who is asking. */
export function kvAuthContract(name: string, open: () => Promise<KvAuthWorld>): void {
  describe(`kv contract with authentication: ${name}`, () => {
    let world: KvAuthWorld;
    let kv: Kv;

    beforeAll(async () => {
      world = await open();
      const { auth } = world.admin;
      for (const user of [ROOT_LOGIN.user, 'alice', 'bob'])
        await auth.userAdd({ name: user, password: `${user}-password` });
      for (const role of ['root', 'part', 'reader']) await auth.roleAdd(role);
      await auth.roleGrantPermission('part', { type: 'read-write', ...prefix('a/') });
      await auth.roleGrantPermission('part', { type: 'write', ...prefix('a0') });
      await auth.roleGrantPermission('reader', { type: 'read', ...prefix('b/') });
      await auth.userGrantRole({ user: 'root', role: 'root' });
      await auth.userGrantRole({ user: 'alice', role: 'part' });
      await auth.userGrantRole({ user: 'alice', role: 'reader' });
      await auth.enable();
    });
    afterAll(() => world.stop());
    beforeEach(async () => {
      kv = await world.connect();
    });
    afterEach(() => kv.close());

    const signedIn = async (user: string): Promise<KvCall> =>
      as({ type: 'token', token: await kv.signIn({ name: user, password: `${user}-password` }, nobody) });
    const get = (key: string, call: KvCall): ReturnType<Kv['range']> =>
      kv.range({ key: bytes(key), consistency: { type: 'linearizable' } }, call);
    const put = (key: string, call: KvCall): ReturnType<Kv['txn']> =>
      kv.txn(
        { compare: [], success: [{ type: 'put', key: bytes(key), value: bytes(key) }], failure: [] },
        call,
      );
    const first = async (request: KvWatchRequest, call: KvCall): Promise<unknown> => {
      for await (const batch of kv.watch(request, call)) return batch;
      throw new Error('the watch has ended');
    };

    test('the store says that it wants to know', async () => {
      for (const call of [AS_SERVICE, nobody]) expect(await kv.authEnabled(call)).toBe(true);
    });

    test('a name and a password give a token, others do not', async () => {
      expect((await get('a/1', await signedIn('alice'))).count).toBe(0);
      for (const login of [
        { name: 'alice', password: 'wrong' },
        { name: 'nobody', password: 'alice-password' },
      ]) {
        expect(await codeOf(kv.signIn({ ...login, address: '192.0.2.1' }, nobody))).toBe('unauthenticated');
      }
    });

    test('the service keeps its own rows', async () => {
      const lease = await kv.leaseGrant({ ttlSeconds: 60 }, AS_SERVICE);
      const { revision } = await kv.txn(
        {
          compare: [{ key: bytes('s/1'), target: 'create', result: 'equal', number: 0 }],
          success: [{ type: 'put', key: bytes('s/1'), value: bytes('1'), lease }],
          failure: [],
        },
        AS_SERVICE,
      );
      expect((await get('s/1', AS_SERVICE)).rows[0]?.lease).toBe(lease);
      expect(await kv.leaseKeepAlive(lease, AS_SERVICE)).toBe(60);
      expect(await first({ ...prefix('s/'), startRevision: revision }, AS_SERVICE)).toMatchObject({
        events: [{ row: { key: bytes('s/1') } }],
      });
      await kv.leaseRevoke(lease, AS_SERVICE);
      expect((await get('s/1', AS_SERVICE)).count).toBe(0);
    });

    test('a user may do what the roles say', async () => {
      const alice = await signedIn('alice');
      const { revision } = await put('a/1', alice);
      expect((await get('a/1', alice)).count).toBe(1);
      expect(await first({ ...prefix('a/'), startRevision: revision }, alice)).toMatchObject({ revision });
      expect((await get('b/1', alice)).count).toBe(0);
      const refused = [
        put('b/1', alice),
        get('c/1', alice),
        first({ ...prefix('c/'), startRevision: 0 }, alice),
        kv.txn(
          {
            compare: [{ key: bytes('c/1'), target: 'version', result: 'equal', number: 0 }],
            success: [],
            failure: [],
          },
          alice,
        ),
      ];
      const codes = await Promise.all(refused.map(codeOf));
      expect(codes).toEqual(refused.map(() => 'permission-denied'));
    });

    test('nobody may do nothing, and no more does a token that is none', async () => {
      for (const call of [nobody, as({ type: 'token', token: 'none' })]) {
        expect(await codeOf(get('a/1', call))).toBe('unauthenticated');
        expect(await codeOf(put('a/1', call))).toBe('unauthenticated');
        // A real etcd says no more of a watch.
        const watched = await codeOf(first({ ...prefix('a/'), startRevision: 0 }, call));
        expect(['unauthenticated', 'permission-denied']).toContain(watched);
      }
      const unknown = as({ type: 'token', token: 'none' });
      expect(await codeOf(kv.permits({ ...prefix('a/'), access: 'read' }, unknown))).toBe('unauthenticated');
    });

    const permits = (range: Omit<KvPermitRequest, 'access'>, call: KvCall) =>
      Promise.all(
        (['read', 'write'] as const).map(async (access) => {
          const { permitted } = await kv.permits({ ...range, access }, call);
          return permitted;
        }),
      );

    test('it tells who asks, and what is permitted', async () => {
      const alice = await signedIn('alice');
      expect(await kv.permits({ ...prefix('a/'), access: 'write' }, alice)).toEqual({
        user: 'alice',
        permitted: true,
      });
      const table: readonly (readonly [string, string | null, readonly boolean[]])[] = [
        ['a/', null, [true, true]],
        ['a/x', null, [true, true]],
        ['a/', 'a0', [true, true]],
        ['a/b', 'a/c', [true, true]],
        // Where one permission ends the other goes on.
        ['a/', 'a1', [false, true]],
        ['a0', null, [false, true]],
        ['a/', 'a2', [false, false]],
        ['a', 'a0', [false, false]],
        ['a1', null, [false, false]],
        ['b/', 'b0', [true, false]],
        ['a/', '\0', [false, false]],
      ];
      for (const [key, rangeEnd, expected] of table) {
        const range = { key: bytes(key), ...(rangeEnd !== null && { rangeEnd: bytes(rangeEnd) }) };
        expect([key, rangeEnd, await permits(range, alice)]).toEqual([key, rangeEnd, expected]);
      }
      const everything = { key: bytes('\0'), rangeEnd: bytes('\0') };
      expect(await permits(everything, AS_SERVICE)).toEqual([true, true]);
      expect(await permits(everything, await signedIn('root'))).toEqual([true, true]);
      expect(await permits(prefix('a/'), await signedIn('bob'))).toEqual([false, false]);
      expect(await kv.permits({ ...prefix('a/'), access: 'read' }, nobody)).toEqual({
        user: null,
        permitted: false,
      });
    });

    test('a token that another port gave out is as good', async () => {
      const alice = await signedIn('alice');
      const other = await world.connect();
      try {
        for (const [key, permitted] of [
          ['a/', true],
          ['c/', false],
        ] as const) {
          for (const access of ['read', 'write'] as const) {
            const permit = await other.permits({ ...prefix(key), access }, alice);
            expect(permit.permitted).toBe(permitted);
            expect(['alice', null]).toContain(permit.user);
          }
        }
      } finally {
        await other.close();
      }
    });

    test('what is granted and taken is soon heeded', async () => {
      const { auth } = world.admin;
      const bob = await signedIn('bob');
      expect(await permits(prefix('b/'), bob)).toEqual([false, false]);
      await auth.userGrantRole({ user: 'bob', role: 'reader' });
      await eventually('the role is heeded', async () => (await permits(prefix('b/'), bob))[0]);
      await auth.roleGrantPermission('reader', { type: 'read-write', ...prefix('b/') });
      await eventually('the permission is heeded', async () => (await permits(prefix('b/'), bob))[1]);
      await auth.roleRevokePermission('reader', prefix('b/'));
      await eventually('its loss is heeded', async () => !(await permits(prefix('b/'), bob))[0]);
      expect(await codeOf(get('b/1', bob))).toBe('permission-denied');
    });

    test('a token ends with its user', async () => {
      const { auth } = world.admin;
      await auth.userAdd({ name: 'carol', password: 'carol-password' });
      const carol = await signedIn('carol');
      expect(await permits(prefix('a/'), carol)).toEqual([false, false]);
      await auth.userDelete('carol');
      expect(await codeOf(get('a/1', carol))).toBe('unauthenticated');
      await eventually('the end is heeded', async () => {
        const failure = await permits(prefix('a/'), carol).catch((error: unknown) => error);
        return failure instanceof KvError && failure.code === 'unauthenticated';
      });
    });

    test('once it is over everybody may do everything, and a watch of the service goes on all the while', async () => {
      const request = { ...prefix('w/'), startRevision: 0 };
      const watching = kv.watch(request, AS_SERVICE)[Symbol.asyncIterator]();
      await watching.next();
      const alice = await signedIn('alice');
      await world.admin.auth.disable();
      await eventually('it is over', async () => !(await kv.authEnabled(nobody)));
      for (const call of [alice, nobody]) {
        await put('w/1', call);
        expect(await permits(prefix('c/'), call)).toEqual([true, true]);
        expect((await watching.next()).value).toMatchObject({ events: [{ row: { key: bytes('w/1') } }] });
      }
      await world.admin.auth.enable();
      await eventually('it is back', () => kv.authEnabled(nobody));
      await put('w/2', AS_SERVICE);
      expect((await watching.next()).value).toMatchObject({ events: [{ row: { key: bytes('w/2') } }] });
      expect(await codeOf(get('a/1', nobody))).toBe('unauthenticated');
      await watching.return?.();
    });
  });
}
