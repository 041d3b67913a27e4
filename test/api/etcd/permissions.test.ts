import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GATEWAY_ROUTES } from '../../../src/api/etcd/gateway-routes.ts';
import type { Member } from '../../../src/member/member.ts';
import { serviceMethods } from '../../../src/rpc/codec.ts';
import type { Methods } from '../../../src/rpc/generated/messages.ts';
import { TestCluster } from '../../member/test-cluster.ts';
import { type CallOptions, failure } from '../../rpc/harness.ts';
import { eventually } from '../../support/eventually.ts';
import { FaceHarness } from './harness.ts';

/** Every way in, over gRPC and JSON, to a real member that has authentication enabled. */

const bytes = (text: string): Buffer => Buffer.from(text);
const base64 = (text: string): string => bytes(text).toString('base64');

let cluster: TestCluster;
let face: FaceHarness<Member>;
let root: string;
/** May read and write [a, b); nothing else. */
let user: string;

beforeAll(async () => {
  cluster = await TestCluster.start(1, { auth: { jwt: null, tokenTtlMs: 300_000, passwordCost: 4 } });
  face = new FaceHarness(cluster.places[0]!.member!);
  await face.start();
  for (const name of ['root', 'u', 'w']) await call('/etcdserverpb.Auth/UserAdd', { name, password: name });
  for (const role of ['r', 's']) await call('/etcdserverpb.Auth/RoleAdd', { name: role });
  await call('/etcdserverpb.Auth/UserGrantRole', { user: 'root', role: 'root' });
  await call('/etcdserverpb.Auth/UserGrantRole', { user: 'u', role: 'r' });
  await call('/etcdserverpb.Auth/UserGrantRole', { user: 'w', role: 's' });
  await allow('r', undefined);
  await call('/etcdserverpb.Auth/AuthEnable', {});
  root = await signIn('root');
  user = await signIn('u');
});
afterAll(async () => {
  expect(face.bugs).toEqual([]);
  await face[Symbol.asyncDispose]();
  await cluster.stopAll();
});

function call<P extends keyof Methods>(path: P, request: object, token?: string, options: CallOptions = {}) {
  const metadata = token === undefined ? {} : { token };
  return face.unary(path, request as never, { ...options, metadata });
}
async function signIn(name: string): Promise<string> {
  return (await call('/etcdserverpb.Auth/Authenticate', { name, password: name })).token;
}
function allow(role: string, token: string | undefined = root): Promise<unknown> {
  const perm = { permType: 2, key: bytes('a'), range_end: bytes('b') };
  return call('/etcdserverpb.Auth/RoleGrantPermission', { name: role, perm }, token);
}
function revoke(role: string): Promise<unknown> {
  const range = { key: bytes('a'), range_end: bytes('b') };
  return call('/etcdserverpb.Auth/RoleRevokePermission', { role, ...range }, root);
}
function put(key: string, value: string, token = root): Promise<unknown> {
  return call('/etcdserverpb.KV/Put', { key: bytes(key), value: bytes(value) }, token);
}
async function grant(token: string): Promise<number | bigint> {
  return (await call('/etcdserverpb.Lease/LeaseGrant', { TTL: 600 }, token)).ID;
}
function queued(prefix: string, count: number): Promise<unknown> {
  return eventually(`${count} in ${prefix}`, async () => {
    const range = { key: bytes(`${prefix}/`), range_end: bytes(`${prefix}0`) };
    return (await call('/etcdserverpb.KV/Range', range, root)).kvs.length === count;
  });
}

const NOBODY = 'etcdserver: user name is empty';
const DENIED = 'etcdserver: permission denied';
const WRONG = 'etcdserver: invalid auth token';

/** Of methods whose empty request is refused for its form, one that is not. */
const REQUESTS: Readonly<Record<string, object>> = {
  '/etcdserverpb.KV/Range': { key: base64('a') },
  '/etcdserverpb.KV/RangeStream': { key: base64('a') },
  '/etcdserverpb.KV/Put': { key: base64('a') },
  '/etcdserverpb.KV/DeleteRange': { key: base64('a') },
  '/etcdserverpb.KV/Txn': { success: [{ request_range: { key: base64('a') } }] },
  '/etcdserverpb.KV/Compact': { revision: 1 },
  '/etcdserverpb.Watch/Watch': { create_request: { key: base64('a') } },
  '/etcdserverpb.Lease/LeaseGrant': { TTL: 60 },
  '/etcdserverpb.Cluster/MemberAdd': { peerURLs: ['http://n9:2380'] },
  '/etcdserverpb.Cluster/MemberUpdate': { ID: 9, peerURLs: ['http://n9:2380'] },
  '/etcdserverpb.Maintenance/Alarm': { action: 'ACTIVATE', alarm: 'NOSPACE' },
  '/etcdserverpb.Maintenance/Downgrade': { version: '3.5' },
  // Without a name it is about nobody, who may hear that there is no such user.
  '/etcdserverpb.Auth/UserGet': { name: 'u' },
  '/etcdserverpb.Auth/UserAdd': { name: 'new', password: 'new' },
  '/etcdserverpb.Auth/RoleGrantPermission': { name: 'r', perm: { key: base64('k') } },
  '/v3lockpb.Lock/Lock': { name: base64('k') },
  '/v3lockpb.Lock/Unlock': { key: base64('k') },
  '/v3electionpb.Election/Campaign': { name: base64('k') },
  '/v3electionpb.Election/Proclaim': { leader: { name: base64('k'), key: base64('k/1') } },
  '/v3electionpb.Election/Resign': { leader: { name: base64('k'), key: base64('k/1') } },
  '/v3electionpb.Election/Leader': { name: base64('k') },
  '/v3electionpb.Election/Observe': { name: base64('k') },
};
/** What anybody may ask: whether to sign in, and to do so. */
const OPEN = ['/etcdserverpb.Auth/AuthStatus', '/etcdserverpb.Auth/Authenticate'];

describe('without a token', () => {
  test.each([...GATEWAY_ROUTES].filter(([, rpc]) => !OPEN.includes(rpc)))(
    '%s is refused over HTTP',
    async (path, rpc) => {
      const body = REQUESTS[rpc] ?? {};
      const leave = new AbortController();
      const shown = async (headers: Record<string, string>): Promise<string> => {
        const response = await fetch(`http://${face.address}${path}`, {
          method: 'POST',
          headers,
          body: JSON.stringify(body),
          signal: leave.signal,
        });
        return response.text();
      };
      expect(await shown({})).toContain(NOBODY);
      expect(await shown({ authorization: 'wrong.1' })).toContain(WRONG);
    },
  );

  test('what is left is open', async () => {
    expect(GATEWAY_ROUTES.size).toBeGreaterThan(40);
    const status = await face.post('/v3/auth/status', {});
    expect(await status.json()).toMatchObject({ enabled: true });
    const wrong = await face.post('/v3/auth/authenticate', { name: 'u', password: 'wrong' });
    expect(wrong.status).toBe(400);
    const good = await face.post('/v3/auth/authenticate', { name: 'u', password: 'u' });
    expect(await good.json()).toHaveProperty('token');
  });

  test('every method is refused over gRPC, too', async () => {
    const services = ['KV', 'Watch', 'Lease', 'Cluster', 'Maintenance', 'Auth'].map(
      (name) => `etcdserverpb.${name}`,
    );
    const methods = [...services, 'v3lockpb.Lock', 'v3electionpb.Election'].flatMap(serviceMethods);
    for (const { path, kind } of methods) {
      if (OPEN.includes(path)) continue;
      const request = asBytes(REQUESTS[path] ?? {}) as never;
      if (kind === 'unary') {
        const refused = await failure(call(path as keyof Methods, request));
        expect({ path, details: refused.details }).toEqual({ path, details: NOBODY });
      } else if (!path.endsWith('/Watch')) {
        const stream = face.stream(path as '/etcdserverpb.KV/RangeStream');
        stream.send(request);
        stream.call.end();
        const [first] = await Promise.allSettled([stream.next()]);
        expect({ path, status: first.status }).toEqual({ path, status: 'rejected' });
        expect({ path, details: (await stream.status).details }).toEqual({ path, details: NOBODY });
      }
    }
  });
});

/** The same request for gRPC: every text of base64 as bytes. */
function asBytes(request: object): object {
  const entries = Object.entries(request).map(([field, value]: [string, unknown]) => {
    if (['key', 'name'].includes(field) && typeof value === 'string') {
      return [field, field === 'name' && !isBase64(value) ? value : Buffer.from(value, 'base64')];
    }
    if (Array.isArray(value)) return [field, value.map((item) => asItem(item))];
    return [field, asItem(value)];
  });
  return Object.fromEntries(entries) as object;
}
function asItem(value: unknown): unknown {
  if (value === 'ACTIVATE' || value === 'NOSPACE') return 1;
  return typeof value === 'object' && value !== null ? asBytes(value) : value;
}
function isBase64(text: string): boolean {
  return text.endsWith('=');
}

describe('over HTTP with a token', () => {
  const as = (token: string) => ({ authorization: token });

  test('a user may what his roles allow, in any form of the header', async () => {
    for (const headers of [
      as(user),
      as(`Bearer ${user}`),
      { 'grpc-metadata-token': user },
      { 'grpc-metadata-authorization': user },
    ]) {
      const written = await face.post('/v3/kv/put', { key: base64('a') }, headers);
      expect(written.status).toBe(200);
      const denied = await face.post('/v3/kv/put', { key: base64('k') }, headers);
      expect(denied.status).toBe(403);
      expect(await denied.json()).toEqual({ error: DENIED, message: DENIED, code: 7 });
    }
    const wrong = await face.post('/v3/kv/put', { key: base64('a') }, as('wrong.1'));
    expect(wrong.status).toBe(401);
    expect(await wrong.json()).toMatchObject({ code: 16, message: WRONG });
  });

  test('users are told apart on one connection', async () => {
    const keys = ['a', 'k'].map((key) => ({ key: base64(key) }));
    const statuses: number[] = [];
    for (const token of [user, root, user]) {
      for (const key of keys) statuses.push((await face.post('/v3/kv/range', key, as(token))).status);
    }
    expect(statuses).toEqual([200, 403, 200, 200, 200, 403]);
  });

  test('a watch is refused outside of them', async () => {
    const response = await face.post('/v3/watch', { create_request: { key: base64('k') } }, as(user));
    expect(await response.text()).toContain(DENIED);
  });

  test('locks, elections and matters of root go by it', async () => {
    const lock = async (name: string) =>
      (await face.post('/v3/lock/lock', { name: base64(name) }, as(user))).text();
    expect(await lock('a-lock')).toContain('"key":');
    expect(await lock('k')).toContain(DENIED);
    for (const path of ['/v3/maintenance/snapshot', '/v3/maintenance/defragment', '/v3/auth/user/list']) {
      expect(await (await face.post(path, {}, as(user))).text()).toContain(DENIED);
      expect(await (await face.post(path, {}, as(root))).text()).not.toContain(DENIED);
    }
  });
});

describe('RangeStream', () => {
  const ranged = async (key: string, end: string, token?: string) => {
    const stream = face.stream('/etcdserverpb.KV/RangeStream', token === undefined ? {} : { token });
    stream.send({ key: bytes(key), range_end: bytes(end) });
    stream.call.end();
    return stream;
  };

  test('is within what may be read', async () => {
    await put('a1', '1');
    const { range_response: all } = await (await ranged('a', 'b', user)).next();
    expect(all!.kvs.map(({ key }) => key.toString())).toContain('a1');
    for (const [key, end, token, text] of [
      ['a', 'c', user, DENIED],
      ['k', '', user, DENIED],
      ['a', 'b', undefined, NOBODY],
      ['a', 'b', 'wrong.1', WRONG],
    ] as const) {
      const stream = await ranged(key, end, token);
      await expect(stream.next()).rejects.toThrow();
      expect((await stream.status).details).toBe(text);
    }
  });

  test('ends with its permission, however much was begun', async () => {
    // Far more than what is sent before the client reads.
    for (let i = 0; i < 24; i++) await put(`a-large-${i}`, 'x'.repeat(1_000_000));
    await allow('s');
    const stream = await ranged('a', 'b', await signIn('w'));
    expect((await stream.next()).range_response!.kvs.length).toBeGreaterThan(0);
    await revoke('s');
    const read = async (): Promise<void> => {
      for (;;) await stream.next();
    };
    await expect(read()).rejects.toThrow();
    expect(await stream.status).toMatchObject({ code: 7, details: DENIED });
    await call('/etcdserverpb.KV/DeleteRange', { key: bytes('a-large'), range_end: bytes('a-largf') }, root);
  });
});

describe('locks and elections', () => {
  const lock = (name: string, lease: number | bigint, token?: string) =>
    call('/v3lockpb.Lock/Lock', { name: bytes(name), lease }, token);
  const campaign = (name: string, lease: number | bigint, token?: string) =>
    call('/v3electionpb.Election/Campaign', { name: bytes(name), lease, value: bytes('v') }, token);
  /** As in etcd, what fails inside keeps its text only. */
  const inside = (details: string) => ({ code: 2, details });

  test('are where their keys may be read and written', async () => {
    const [first, second] = [await grant(user), await grant(user)];
    const { key } = await lock('a-mine', first, user);
    expect((await campaign('a-race', second, user)).leader!.key.toString()).toContain('a-race/');
    for (const [token, text] of [
      [user, DENIED],
      [undefined, NOBODY],
      ['wrong.1', WRONG],
    ] as const) {
      expect(await failure(lock('k', 0, token))).toEqual(inside(text));
      expect(await failure(campaign('k', 0, token))).toEqual(inside(text));
      const leader = call('/v3electionpb.Election/Leader', { name: bytes('k') }, token);
      expect(await failure(leader)).toEqual(inside(text));
    }
    const unlock = (token?: string) => call('/v3lockpb.Lock/Unlock', { key }, token);
    expect(await failure(unlock())).toEqual(inside(NOBODY));
    expect(await failure(unlock(await signIn('w')))).toEqual(inside(DENIED));
    await unlock(user);
    await queued('a-mine', 0);
  });

  test('are not had by who loses the permission while waiting, and its place goes with its lease', async () => {
    await allow('s');
    const other = await signIn('w');
    const held = await lock('a-waited', await grant(user), user);
    const led = await campaign('a-led', await grant(user), user);
    const leases = [await grant(other), await grant(other)] as const;
    const waiting = [lock('a-waited', leases[0], other), campaign('a-led', leases[1], other)].map(failure);
    await queued('a-waited', 2);
    await queued('a-led', 2);
    await revoke('s');
    expect(await Promise.all(waiting)).toEqual([inside(DENIED), inside(DENIED)]);
    for (const ID of leases) await call('/etcdserverpb.Lease/LeaseRevoke', { ID }, root);
    await queued('a-waited', 1);
    await call('/v3lockpb.Lock/Unlock', { key: held.key }, user);
    await call('/v3electionpb.Election/Resign', { leader: led.leader! }, user);
  });

  test('a place that is given up is left on behalf of who had it', async () => {
    await lock('a-left', await grant(user), user);
    const request = { name: bytes('a-left'), lease: await grant(user) };
    const late = call('/v3lockpb.Lock/Lock', request, user, { deadlineMs: 300 });
    expect((await failure(late)).code).toBe(4);
    await queued('a-left', 1);
  });

  test('an observation ends with its permission', async () => {
    await allow('s');
    const stream = face.stream('/v3electionpb.Election/Observe', { token: await signIn('w') });
    stream.send({ name: bytes('a-seen') });
    stream.call.end();
    const { leader } = await campaign('a-seen', await grant(user), user);
    expect((await stream.next()).kv!.value.toString()).toBe('v');
    await revoke('s');
    await expect(stream.next()).rejects.toThrow();
    expect(await stream.status).toMatchObject(inside(DENIED));
    await call('/v3electionpb.Election/Resign', { leader: leader! }, user);
  });

  test('one of an election that nobody leads yet, too', async () => {
    await allow('s');
    const stream = face.stream('/v3electionpb.Election/Observe', { token: await signIn('w') });
    stream.send({ name: bytes('a-empty') });
    stream.call.end();
    await eventually('it watches', () => face.backend.figures().watchers > 0);
    await revoke('s');
    await expect(stream.next()).rejects.toThrow();
    expect(await stream.status).toMatchObject(inside(DENIED));
  });
});

test('Downgrade is for root, before anything of it is looked at', async () => {
  for (const request of [{ version: '3.5' }, { version: 'old' }, { action: 2 }]) {
    const asked = (token?: string) => failure(call('/etcdserverpb.Maintenance/Downgrade', request, token));
    expect((await asked()).details).toBe(NOBODY);
    expect((await asked(user)).details).toBe(DENIED);
  }
});

test('Downgrade is for users', async () => {
  const asked = (token?: string) =>
    failure(call('/etcdserverpb.Maintenance/Downgrade', { version: '3.5' }, token));
  expect((await asked()).details).toBe(NOBODY);
  expect((await asked(root)).details).toBe('etcdserver: invalid downgrade target version');
});
