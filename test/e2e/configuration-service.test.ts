import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import type { Messages } from '../../src/rpc/generated/messages.ts';
import { rpcStatus } from '../../src/rpc/status.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { configCall, configStream } from '../support/config-call.ts';
import { eventually } from '../support/eventually.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const PRELOAD = join(repositoryRoot(), 'test/support/thread-preload.mjs');
const SCOPE = { application: 'pay', environment: 'DEV' };

let directory: string;
let cluster: Cluster;
const member = (at: number): ClusterMember => cluster.members[at]!;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-keys-'));
  const keys = join(directory, 'keys');
  await writeFile(keys, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  cluster = await Cluster.create(3, [`--secret-key-file=${keys}`, '--tenant=quantivista']);
  for (const item of cluster.members) {
    cluster.launch(item, { env: { NODE_OPTIONS: `--import=${PRELOAD}` } });
  }
  await Promise.all(cluster.members.map((item) => served(item)));
});

afterAll(async () => {
  await cluster.destroy();
  await rm(directory, { recursive: true, force: true });
});

describe('the configuration service of a cluster', () => {
  test('what is made at one member, another one tells at once, over HTTP and over gRPC', async () => {
    await created(member(0), { key: 'greeting', value: 'hello' });

    const response = await fetch(`${member(1).httpUrl}/v1/config/services/pay?environment=dev`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ greeting: 'hello' });

    const answer = await configCall(member(2).clientUrl, 'GetConfiguration', { ...SCOPE, key: 'greeting' });
    expect(answer).toMatchObject({ ok: true, answer: { key: 'greeting', value: 'hello', version: 1 } });
    expect(answer.ok && answer.revision).toBeGreaterThan(1);
  });

  test('plain clients find the value under the tenant that the options name', async () => {
    using client = new KvClient({ endpoints: [member(1).clientUrl] });
    const { kvs } = await client.range({ key: '/quantivista/development/pay/greeting' });
    expect(kvs.map(({ value }) => value.toString())).toEqual(['"hello"']);
  });

  test('several keys come at one revision, without those that nobody has', async () => {
    await created(member(0), { key: 'retries', value: '3', valueType: 'NUMBER' });
    type Answer = Messages['config.v1.GetConfigurationsResponse'];
    const keys = ['retries', 'absent', 'greeting'];
    const answer = await configCall<Answer>(member(0).clientUrl, 'GetConfigurations', { ...SCOPE, keys });
    expect(answer.ok && answer.answer.configurations.map(({ key, value }) => `${key}=${value}`)).toEqual([
      'retries=3',
      'greeting=hello',
    ]);
  });

  test('a secret lies sealed, and is shown to whoever asks for its value', async () => {
    await created(member(0), { key: 'password', value: 'correct horse', valueType: 'SECRET' });
    using client = new KvClient({ endpoints: [member(0).clientUrl] });
    const { kvs } = await client.range({ key: '/quantivista/development/pay/password' });
    expect(kvs[0]!.value.toString()).not.toContain('horse');

    const asked = { ...SCOPE, key: 'password' };
    const shown = await configCall(member(1).clientUrl, 'GetConfiguration', asked);
    expect(shown).toMatchObject({ ok: true, answer: { value: 'correct horse', value_type: 5 } });
    const masked = await configCall(member(1).clientUrl, 'GetConfiguration', asked, {
      'conclave-reveal': 'false',
    });
    expect(masked).toMatchObject({ ok: true, answer: { value: '********', value_type: 5 } });
  });

  test('wrong calls are told what is wrong', async () => {
    const call = (request: object) => configCall(member(0).clientUrl, 'GetConfiguration', request);
    expect(await call({ ...SCOPE, key: 'absent' })).toMatchObject({ code: rpcStatus.notFound });
    expect(await call({ ...SCOPE, key: 'a b' })).toMatchObject({ code: rpcStatus.invalidArgument });
    expect(await call({ ...SCOPE, environment: '', key: 'a' })).toMatchObject({
      code: rpcStatus.invalidArgument,
      text: 'environment: must not be empty',
    });
  });

  test('metrics of the service stand beside those of the member, on both addresses', async () => {
    for (const url of [member(0).httpUrl, member(0).clientUrl]) {
      const page = await (await fetch(`${url}/metrics`)).text();
      expect(page).toContain('etcd_server_has_leader 1');
      expect(page).toContain('conclave_service_up 1');
      expect(page).toMatch(/conclave_service_updates_total\{use_case="configurations\.\w+"\} [1-9]/);
      expect(page).toMatch(/conclave_service_propagation_seconds_count [1-9]/);
    }
  });
});

describe('a stream of updates', () => {
  test('tells every change in order, and goes on from a revision at another member', async () => {
    const first = configStream(member(0).clientUrl, SCOPE);
    const begun = await first.begun;
    for (const [at, key] of ['s1', 's2', 's3'].entries()) {
      await created(member(at), { key, value: `value of ${key}` });
    }
    await eventually('three updates', () => first.updates.length >= 3);
    first.close();
    expect(first.updates.map(({ key, value, update_type }) => [key, value, update_type])).toEqual([
      ['s1', 'value of s1', 1],
      ['s2', 'value of s2', 1],
      ['s3', 'value of s3', 1],
    ]);
    const revisions = first.updates.map(({ revision }) => Number(revision));
    expect(revisions).toEqual(revisions.toSorted((left, right) => left - right));
    expect(revisions[0]).toBeGreaterThan(begun);

    const again = configStream(member(1).clientUrl, { ...SCOPE, after_revision: revisions[0] });
    expect(await again.begun).toBe(revisions[0]);
    await eventually('the rest', () => again.updates.length >= 2);
    again.close();
    expect(again.updates.map(({ key }) => key)).toEqual(['s2', 's3']);
  });

  test('keys that are not asked for are left out', async () => {
    const stream = configStream(member(0).clientUrl, { ...SCOPE, keys: ['wanted'] });
    await stream.begun;
    await created(member(0), { key: 'other', value: '1' });
    await created(member(0), { key: 'wanted', value: '2' });
    await eventually('the update', () => stream.updates.length >= 1);
    stream.close();
    expect(stream.updates.map(({ key }) => key)).toEqual(['wanted']);
  });
});

describe('the thread of the service', () => {
  test('comes back when it is ended, and the member does not notice', async () => {
    const target = member(0);
    using client = new KvClient({ endpoints: [target.clientUrl] });
    const before = await client.status(client.endpoints[0]!);
    const stream = configStream(target.clientUrl, SCOPE);
    const begun = await stream.begun;

    target.process!.signal('SIGUSR2');
    await eventually('the end of the stream', () => stream.ended);
    expect(await stream.ended).toBe(rpcStatus.unavailable);
    stream.close();
    // The member serves on, whatever the service does.
    for (let at = 0; at < 20; at += 1)
      await client.put({ key: '/plain', value: String(at) }, { timeoutMs: 2_000 });
    await created(member(1), { key: 'meanwhile', value: 'yes' });

    await eventually('the service', async () => (await metric(target, 'conclave_service_up')) === 1);
    expect(await metric(target, 'conclave_service_restarts_total')).toBe(1);
    const after = await client.status(client.endpoints[0]!);
    expect(after.raftTerm).toBe(before.raftTerm);
    expect(target.process!.running).toBe(true);

    // What came meanwhile is behind what the new projection has in memory: it is read from the store.
    const resumed = configStream(target.clientUrl, { ...SCOPE, after_revision: begun });
    await eventually('what came meanwhile', () => resumed.updates.length >= 1);
    resumed.close();
    expect(resumed.updates.map(({ key, value }) => [key, value])).toEqual([['meanwhile', 'yes']]);
    expect(
      await (await fetch(`${target.httpUrl}/v1/config/services/pay?environment=dev`)).json(),
    ).toMatchObject({
      meanwhile: 'yes',
    });
  });

  test('a stop lets it finish, and ends streams', async () => {
    const target = member(2);
    const stream = configStream(target.clientUrl, SCOPE);
    await stream.begun;
    expect(await target.process!.stop()).toBe(0);
    expect(target.process!.log).not.toContain('it is cut off');
    stream.close();
    cluster.launch(target);
    await served(target);
  });
});

describe('options', () => {
  test('a key file that others can read, or an address that is taken, is refused at the start', async () => {
    const open = join(directory, 'open');
    await writeFile(open, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o644 });
    const other = await Cluster.create(1);
    try {
      const readable = other.launch(other.members[0]!, { flags: [`--secret-key-file=${open}`] });
      expect(await readable.exit()).toBe(1);
      expect(readable.log).toContain('is open to all users');
      const taken = other.launch(other.members[0]!, { httpUrl: member(0).httpUrl });
      expect(await taken.exit()).toBe(1);
      expect(taken.log).toContain('the address is in use by another process');
    } finally {
      await other.destroy();
    }
  });

  test('who must say who they are is refused when they do not', async () => {
    const other = await Cluster.start(1, ['--require-identity']);
    try {
      const { clientUrl } = other.members[0]!;
      await served(other.members[0]!);
      const request = { ...SCOPE, key: 'a' };
      const nobody = await configCall(clientUrl, 'GetConfiguration', request);
      expect(nobody).toMatchObject({ code: rpcStatus.unauthenticated });
      const somebody = await configCall(clientUrl, 'GetConfiguration', request, { 'x-conclave-user': 'eve' });
      expect(somebody).toMatchObject({ code: rpcStatus.notFound });
    } finally {
      await other.destroy();
    }
  });
});

test('with authentication on, REST and gRPC know their callers as users of the store', async () => {
  const other = await Cluster.start(1, ['--bcrypt-cost=4']);
  try {
    const [place] = other.members;
    await served(place!);
    await created(place!, { key: 'k', value: 'v' });
    using client = new KvClient({ endpoints: [place!.clientUrl] });
    await client.auth.userAdd({ name: 'root', password: 'pw' });
    await client.auth.roleAdd('root');
    await client.auth.userGrantRole({ user: 'root', role: 'root' });
    await client.auth.userAdd({ name: 'ada', password: 'pw' });
    await client.auth.enable();
    const status = async (authorization?: string): Promise<number> => {
      const url = `${place!.httpUrl}/configs/lookup?key=k&application=pay&environment=DEV`;
      return (await fetch(url, { headers: authorization === undefined ? {} : { authorization } })).status;
    };
    const basic = (user: string): string => `Basic ${Buffer.from(`${user}:pw`).toString('base64')}`;
    expect(await status()).toBe(401);
    expect(await status(basic('root'))).toBe(200);
    // She may read nothing yet.
    expect(await status(basic('ada'))).toBe(403);
    const token = await client.auth.authenticate({ user: 'ada', password: 'pw' });
    const asked = { ...SCOPE, key: 'k' };
    expect(await configCall(place!.clientUrl, 'GetConfiguration', asked, { token })).toMatchObject({
      code: rpcStatus.permissionDenied,
    });
    expect(await configCall(place!.clientUrl, 'GetConfiguration', asked)).toMatchObject({
      code: rpcStatus.unauthenticated,
    });
  } finally {
    await other.destroy();
  }
});

async function served({ process }: ClusterMember): Promise<void> {
  await process!.ready();
  await process!.logged('the configuration service is served');
}

async function created(
  { httpUrl }: ClusterMember,
  {
    key,
    value,
    valueType = 'STRING',
  }: { readonly key: string; readonly value: string; readonly valueType?: string },
): Promise<void> {
  const response = await fetch(`${httpUrl}/configs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ key, application: 'pay', environment: 'DEV', valueType, value }),
  });
  expect({ key, status: response.status, text: response.ok ? '' : await response.text() }).toEqual({
    key,
    status: 201,
    text: '',
  });
}

async function metric({ clientUrl }: ClusterMember, name: string): Promise<number> {
  const page = await (await fetch(`${clientUrl}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1]);
}
