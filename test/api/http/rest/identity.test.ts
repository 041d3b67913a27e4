import { expect, test } from 'vitest';
import { restApp } from '../../../../src/api/http/rest/app.ts';
import type { IdentityOptions } from '../../../../src/api/identity.ts';
import type { Kv } from '../../../../src/kv/kv.ts';
import { LocalKv } from '../../../../src/kv/local-kv.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { openService } from '../../../../src/service/service.ts';
import { ROOT_LOGIN } from '../../../contract/kv-auth.ts';
import { MemberWorld } from '../../../kv/member-world.ts';
import { withTxn } from '../../../service/kv-wrappers.ts';
import { KEYRING } from '../../../service/world.ts';
import { type Answered, answeredOf, expectProblem, inRestWorld } from './rest-world.ts';

const LIMIT = { key: 'limit', application: 'pay', environment: 'PROD', valueType: 'NUMBER', value: '10' };

test('a caller names itself, and is anonymous else', async () => {
  await inRestWorld(async ({ post, get }) => {
    expect((await post('/configs', LIMIT)).body.createdBy).toBe('anonymous');
    const named = await post('/configs', { ...LIMIT, key: 'b' }, { 'x-conclave-user': 'ada' });
    expect(named.body.createdBy).toBe('ada');
    const umlaut = Buffer.from('Jörg').toString('latin1');
    const other = await post('/configs', { ...LIMIT, key: 'c' }, { 'x-conclave-user': umlaut });
    expect(other.body.createdBy).toBe('Jörg');
    expectProblem(await get('/configs', { 'x-conclave-user': 'u'.repeat(101) }), 400, ['X-Conclave-User']);
    expectProblem(await get('/configs', { 'x-conclave-user': 'a\tb' }), 400, ['X-Conclave-User']);
    // Nobody checks them while the store does not authenticate: they do not count.
    const basic = { authorization: `Basic ${Buffer.from('root:x').toString('base64')}` };
    expect((await post('/configs', { ...LIMIT, key: 'd' }, basic)).body.createdBy).toBe('anonymous');
  });
});

test('with requireIdentity a call without a name is 401, on every path', async () => {
  await inRestWorld(
    async ({ call, app }) => {
      const document = app.swagger() as { readonly paths: Readonly<Record<string, object>> };
      for (const [path, item] of Object.entries(document.paths)) {
        for (const method of Object.keys(item)) {
          const url = path.replaceAll(/\{[^}]+\}/g, 'x');
          const answer = await call(method.toUpperCase() as 'GET', url);
          expect([answer.status, answer.headers['www-authenticate']], url).toEqual([401, expect.any(String)]);
        }
      }
      const { body } = await call('GET', '/configs');
      expect(body).toEqual({ message: expect.stringMatching(/^Authentication required/), errors: [] });
      expect((await call('GET', '/configs', { headers: { 'x-conclave-user': 'ada' } })).status).toBe(200);
      for (const open of ['/openapi.json', '/docs']) expect((await call('GET', open)).status).toBe(200);
    },
    { identity: { requireIdentity: true } },
  );
});

/** A REST face on a real member that wants to know who asks: ada may do everything below /default/production/pay/. */
async function withAuth(
  run: (
    call: (url: string, headers?: object, body?: object) => Promise<Answered>,
    counts: { signIns: number },
  ) => Promise<void>,
): Promise<void> {
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  const { auth } = world.admin;
  const kv: Kv = await world.connect();
  const counts = { signIns: 0 };
  const counted: IdentityOptions['kv'] = {
    authEnabled: async (call) => kv.authEnabled(call),
    permits: async (request, call) => kv.permits(request, call),
    signIn: async (login, call) => {
      counts.signIns += 1;
      return kv.signIn(login, call);
    },
  };
  await auth.userAdd({ name: 'root', password: ROOT_LOGIN.password });
  await auth.userAdd({ name: 'ada', password: 'lovelace' });
  await auth.roleAdd('root');
  await auth.roleAdd('pay');
  const range = {
    key: Buffer.from('/default/production/pay/'),
    rangeEnd: Buffer.from('/default/production/pay0'),
  };
  await auth.roleGrantPermission('pay', { type: 'read-write', ...range });
  await auth.userGrantRole({ user: 'root', role: 'root' });
  await auth.userGrantRole({ user: 'ada', role: 'pay' });
  const { signal } = new AbortController();
  const service = await openService({ kv, keyring: KEYRING, logger: silentLogger, sweeps: false, signal });
  const app = await restApp({
    service,
    identity: { kv: counted, requireIdentity: false },
    logger: silentLogger,
  });
  const call = async (url: string, headers: object = {}, body?: object): Promise<Answered> => {
    const response = await app.inject({
      method: body === undefined ? 'GET' : 'POST',
      url,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { payload: JSON.stringify(body) }),
    });
    return answeredOf(response.statusCode, response.headers, response.body);
  };
  try {
    await auth.enable();
    await run(call, counts);
  } finally {
    await app.close();
    await service.close();
    await kv.close();
    await world.stop();
  }
}

const basic = (login: string) => ({ authorization: `Basic ${Buffer.from(login).toString('base64')}` });

test('with authentication on, callers are users of the store', async () => {
  await withAuth(async (call, counts) => {
    expectProblem(await call('/configs'), 401);
    expectProblem(await call('/configs', { 'x-conclave-user': 'root' }), 401);
    expectProblem(await call('/configs', basic('ada:wrong')), 401);
    expectProblem(await call('/configs', basic('nobody:x')), 401);
    expectProblem(await call('/configs', basic('ada')), 401);
    expectProblem(await call('/configs', { authorization: 'Bearer none' }), 401);
    expectProblem(await call('/configs', { authorization: 'Digest x' }), 401);
    counts.signIns = 0;
    const claims = { ...basic('ada:lovelace'), 'x-conclave-user': 'root' };
    const made = await call('/configs', claims, LIMIT);
    expect([made.status, made.body.createdBy]).toEqual([201, 'ada']);
    expect((await call(`/configs/${made.body.id}`, basic('ada:lovelace'))).status).toBe(200);
    const many = Array.from({ length: 5 }, async () =>
      call('/configs', basic(`root:${ROOT_LOGIN.password}`)),
    );
    for (const answer of await Promise.all(many)) expect(answer.status).toBe(200);
    // A password is checked once, not with every request.
    expect(counts.signIns).toBe(2);
    expectProblem(await call('/configs', basic('ada:lovelace'), { ...LIMIT, application: 'ship' }), 403);
    expect(
      (await call('/configs', basic(`root:${ROOT_LOGIN.password}`), { ...LIMIT, application: 'ship' }))
        .status,
    ).toBe(201);
    expectProblem(await call('/configs?application=ship', basic('ada:lovelace')), 403);
  });
});

test('with authentication on, everybody sees the environments and applications that they may read of', async () => {
  await withAuth(async (call) => {
    const root = basic(`root:${ROOT_LOGIN.password}`);
    const ada = basic('ada:lovelace');
    const makes = async (application: string, environment: string): Promise<void> => {
      const made = await call('/configs', root, { ...LIMIT, application, environment });
      expect(made.status).toBe(201);
    };
    await makes('pay', 'PROD');
    await makes('ship', 'PROD');
    await makes('ship', 'DEV');
    await call('/api/v1/applications', root, { name: 'hidden' });
    const idsOf = async (path: string, who: object): Promise<readonly string[]> =>
      (await call(path, who)).body.items.map(({ id, name }: Record<string, string>) => id ?? name);
    for (const path of ['/api/v1/environments', '/environments/control']) {
      expect(await idsOf(path, root)).toHaveLength(4);
      expect((await call(path, ada)).body.items).toHaveLength(1);
    }
    expect(await idsOf('/api/v1/environments', ada)).toEqual(['production']);
    expect(await idsOf('/api/v1/applications', ada)).toEqual(['pay']);
    expect(await idsOf('/api/v1/applications', root)).toEqual(['hidden', 'pay', 'ship']);
    expect((await call('/api/v1/applications/pay', ada)).status).toBe(200);
    expect((await call('/api/v1/environments/production', ada)).status).toBe(200);
    expectProblem(await call('/api/v1/applications/ship', ada), 403);
    expectProblem(await call('/api/v1/environments/test', ada), 403);
    expectProblem(await call('/environments/control/test', ada), 403);
    // So is the audit, and so are instances.
    const { items } = (await call('/api/v1/audit', ada)).body;
    expect(items.map((entry: { items: { key: string }[] }) => entry.items.map(({ key }) => key))).toEqual([
      ['limit'],
    ]);
    expect((await call('/api/v1/audit', root)).body.items).toHaveLength(4);
    expectProblem(await call('/api/v1/audit/seal', ada), 403);
    expectProblem(await call('/api/v1/instances/DEV/ship/pod', ada), 403);
    expect((await call('/api/v1/instances', ada)).body).toEqual({ items: [], next: null });
  });
});

test('one key that may be read shows its environment and its application', async () => {
  const seen = ['/default/test/pay/limit', '/default/test/ship/'];
  await inRestWorld(
    async ({ post, get }) => {
      for (const application of ['pay', 'ship', 'bill']) {
        for (const environment of ['DEV', 'TEST'])
          await post('/configs', { ...LIMIT, application, environment });
      }
      const { body: environments } = await get('/api/v1/environments');
      expect(environments.items.map(({ id }: { id: string }) => id)).toEqual(['test']);
      const { body: applications } = await get('/api/v1/applications');
      expect(applications.items.map(({ name }: { name: string }) => name)).toEqual(['pay', 'ship']);
    },
    {
      wrap: (kv) => ({
        ...withTxn(kv, async (perform, request, call) => perform(request, call)),
        permits: async ({ key, access }) => ({
          user: 'ada',
          permitted: access === 'write' || seen.includes(key.toString()),
        }),
      }),
    },
  );
});
