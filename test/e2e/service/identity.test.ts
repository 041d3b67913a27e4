import { afterAll, beforeAll, expect, test } from 'vitest';
import { KvClient } from '../../../src/client/kv-client.ts';
import { rpcStatus } from '../../../src/rpc/status.ts';
import { Cluster } from '../../support/cluster.ts';
import { configCall } from '../../support/config-call.ts';
import { type DocumentedOperation, Face } from './face.ts';

const SCOPE = { application: 'pay', environment: 'production' };
const LOOKUP = '/configs/lookup?key=limit&application=pay&environment=PROD';
const ann = { 'x-conclave-user': 'ann' };

let cluster: Cluster;
let face: Face;
let store: KvClient;
let grpc: string;

/** Nobody may be unknown here, and there is no key for secrets. */
beforeAll(async () => {
  cluster = await Cluster.start(1, ['--require-identity', '--bcrypt-cost=4']);
  const [member] = cluster.members;
  await member!.process!.logged('the configuration service is served');
  face = await Face.of(member!.httpUrl);
  grpc = member!.clientUrl;
  store = new KvClient({ endpoints: [grpc] });
});
afterAll(async () => {
  store?.close();
  await cluster?.destroy();
});

/** A call of an operation that is refused before anything else of it is looked at. */
async function statusOf({ method, path }: DocumentedOperation, headers: Readonly<Record<string, string>>) {
  const answer = await face.call(method, path.replaceAll(/\{\w+\}/g, 'x'), { headers });
  expect({ path, text: answer.text }).toMatchObject({
    text: expect.stringMatching(/Authentication required/),
  });
  return answer;
}

async function allUnknown(headers: Readonly<Record<string, string>>): Promise<void> {
  for (const operation of face.operations) {
    const { status, headers: answered } = await statusOf(operation, headers);
    expect({ id: operation.id, status }).toEqual({ id: operation.id, status: 401 });
    expect(answered['www-authenticate'], operation.id).toMatch(/^Basic /);
  }
}

test('without a key for secrets none is taken, and nothing is half done', async () => {
  const secret = { ...SCOPE, key: 'password', value: 'x', type: 'secret' };
  const wrong = {
    status: 400,
    body: { errors: [{ field: expect.any(String), message: expect.stringMatching(/key/) }] },
  };
  expect(await face.post('/api/v1/configurations', secret, ann)).toMatchObject(wrong);
  expect(await face.post('/configs', { ...secret, valueType: 'SECRET' }, ann)).toMatchObject(wrong);
  expect(
    await face.put(
      '/api/v1/config/pay/password?environment=PROD',
      { new_value: 'x', is_encrypted: true },
      ann,
    ),
  ).toMatchObject(wrong);
  const items = [
    { action: 'put', ...SCOPE, key: 'a', value: 1 },
    { action: 'put', ...secret },
  ];
  expect(await face.post('/api/v1/bulk', { items }, ann)).toMatchObject({ status: 400 });
  const imported = '/api/v1/import?application=pay&environment=PROD&secretKeys=password';
  expect(await face.post(imported, { a: 1, password: 'x' }, ann)).toMatchObject({ status: 400 });
  expect((await face.get('/configs', ann)).body.totalElements).toBe(0);
});

test('whoever does not say who they are is refused, by every operation', async () => {
  await allUnknown({});
  expect(await configCall(grpc, 'GetConfiguration', { ...SCOPE, key: 'limit' })).toMatchObject({
    code: rpcStatus.unauthenticated,
  });
  const made = await face.put('/api/v1/config/pay/limit?environment=PROD', { new_value: 1 }, ann);
  expect(made.status).toBe(201);
  expect((await face.get('/configs?application=pay', ann)).body.totalElements).toBe(1);
  const named = await configCall(grpc, 'GetConfiguration', { ...SCOPE, key: 'limit' }, ann);
  expect(named).toMatchObject({ ok: true, answer: { value: '1' } });
});

test('with authentication on, callers are users of the store, and do what their permissions let them', async () => {
  await store.auth.userAdd({ name: 'root', password: 'pw' });
  await store.auth.roleAdd('root');
  await store.auth.userGrantRole({ user: 'root', role: 'root' });
  await store.auth.userAdd({ name: 'ada', password: 'pw' });
  await store.auth.roleAdd('reader');
  const range = { key: '/default/production/pay/', rangeEnd: '/default/production/pay0' };
  await store.auth.roleGrantPermission('reader', { ...range, type: 'read' });
  await store.auth.enable();

  const basic = (user: string, password = 'pw') => ({
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  });
  // What a caller names itself counts no longer.
  await allUnknown(ann);
  const wrong = /invalid user ID or password/;
  for (const [headers, message] of [
    [basic('root', 'wrong'), wrong],
    [basic('nobody'), wrong],
    [{ authorization: 'Bearer of.nothing' }, /invalid auth token/],
  ] as const) {
    expect(await face.get(LOOKUP, headers)).toMatchObject({
      status: 401,
      body: { message: expect.stringMatching(message) },
    });
  }
  const token = await store.auth.authenticate({ user: 'root', password: 'pw' });
  for (const headers of [basic('root'), { authorization: `Bearer ${token}` }]) {
    expect(await face.get(LOOKUP, headers)).toMatchObject({ status: 200, body: { value: '1' } });
  }
  const update = (headers: Readonly<Record<string, string>>, value: number) =>
    face.put('/api/v1/config/pay/limit?environment=PROD', { new_value: value }, { ...headers, ...ann });
  expect(await update(basic('root'), 2)).toMatchObject({ status: 200 });
  const history = await face.get('/config/history?key=limit&application=pay&environment=PROD', basic('root'));
  expect(history.body.versions).toMatchObject([{ createdBy: 'root' }, { createdBy: 'ann' }]);

  const ada = basic('ada');
  const adas = await store.auth.authenticate({ user: 'ada', password: 'pw' });
  const asked = { ...SCOPE, key: 'limit' };
  expect(await face.get(LOOKUP, ada)).toMatchObject({ status: 403 });
  expect(await configCall(grpc, 'GetConfiguration', asked, { token: adas })).toMatchObject({
    code: rpcStatus.permissionDenied,
  });
  using root = new KvClient({ endpoints: [grpc], login: { user: 'root', password: 'pw' } });
  await root.auth.userGrantRole({ user: 'ada', role: 'reader' });
  expect(await face.get(LOOKUP, ada)).toMatchObject({ status: 200, body: { value: '2' } });
  const fresh = await store.auth.authenticate({ user: 'ada', password: 'pw' });
  expect(await configCall(grpc, 'GetConfiguration', asked, { token: fresh })).toMatchObject({ ok: true });
  for (const refused of [
    await update(ada, 3),
    await face.post('/configs', { ...SCOPE, key: 'new', valueType: 'STRING', value: 'x' }, ada),
    await face.get('/v1/config/services/pay?environment=staging', ada),
    await face.post('/api/v1/promotions', { application: 'pay', from: 'PROD', to: 'STAGING' }, ada),
    await face.put('/api/v1/environments/production', { description: 'hers' }, ada),
    await face.post('/api/v1/applications', { name: 'hers' }, ada),
  ]) {
    expect({ text: refused.text, status: refused.status }).toMatchObject({ status: 403 });
  }
  expect((await face.get(LOOKUP, basic('root'))).body.value).toBe('2');
});
