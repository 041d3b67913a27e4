import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FlagdProvider } from '@openfeature/flagd-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { FlagClient } from '../../src/client/flag-client.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { runGuide } from '../support/guide-program.ts';
import { ServerProcess } from '../support/server-process.ts';

/** Flags through processes, threads and ports as they are in service. */

const ON_OFF = { type: 'boolean', variants: { on: true, off: false }, offVariant: 'off' };
const NEW_CHECKOUT = { ...ON_OFF, fallthrough: { variant: 'on' } };
const GREETING = {
  type: 'string',
  variants: { staff: 'hello, colleague', all: 'welcome' },
  fallthrough: { variant: 'all' },
  rules: [
    {
      when: [{ attribute: 'email', operator: 'ENDS_WITH', values: ['@shop.example'] }],
      serve: { variant: 'staff' },
    },
  ],
};

let cluster: Cluster;
let directory: string;
let flagdPorts: readonly number[];
const member = (at: number): ClusterMember => cluster.members[at]!;

beforeAll(async () => {
  flagdPorts = await freePorts(1);
  cluster = await Cluster.create(2);
  directory = mkdtempSync(join(tmpdir(), 'conclave-guide-'));
  for (const [at, item] of cluster.members.entries()) {
    const flags = at === 0 ? [`--listen-flagd-urls=http://127.0.0.1:${flagdPorts[0]}`, '--cors=*'] : [];
    cluster.launch(item, { flags });
  }
  for (const { process } of cluster.members) {
    await process!.ready();
    await process!.logged('the configuration service is served');
  }
  await create('new-checkout', NEW_CHECKOUT);
  await create('greeting', GREETING);
});

afterEach(async () => OpenFeature.close());
afterAll(async () => {
  await cluster.destroy();
  rmSync(directory, { recursive: true, force: true });
});

/** At the second member: the first one serves what is evaluated. */
async function create(key: string, definition: object): Promise<void> {
  const response = await fetch(`${member(1).httpUrl}/api/v1/flags`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ application: 'shop', environment: 'PROD', key, definition }),
  });
  expect({ status: response.status, text: response.ok ? '' : await response.text() }).toEqual({
    status: 201,
    text: '',
  });
}

test.each(['rpc', 'in-process'] as const)('flagd %s at its own address', async (resolverType) => {
  const options = { host: '127.0.0.1', port: flagdPorts[0]!, tls: false, resolverType } as const;
  await OpenFeature.setProviderAndWait(new FlagdProvider({ ...options, selector: 'shop/production' }));
  const client = OpenFeature.getClient();
  const context = { targetingKey: 'u', email: 'ada@shop.example' };
  expect(await client.getStringDetails('greeting', '', context)).toMatchObject({ variant: 'staff' });
  const changed = new Promise((resolve) => {
    client.addHandler(ProviderEvents.ConfigurationChanged, (event) => resolve(event?.flagsChanged));
  });
  await create(`made-for-${resolverType}`, NEW_CHECKOUT);
  expect(await changed).toEqual([`made-for-${resolverType}`]);
  expect(await client.getBooleanValue(`made-for-${resolverType}`, false)).toBe(true);
});

test.each([
  ['by query', '/ofrep/v1/events?application=shop&environment=PROD'],
  ['by path', '/flags/shop/PROD/ofrep/v1/events'],
])('events of OFREP, whose flags said %s', async (way, path) => {
  const stop = new AbortController();
  const response = await fetch(member(0).httpUrl + path, { signal: stop.signal });
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const key = `told-${way.replace(' ', '-')}`;
  await create(key, NEW_CHECKOUT);
  let text = '';
  let answer: object = {};
  // What was changed before may be told first.
  while (!('value' in answer)) {
    const { done, value } = await reader.read();
    expect(done).toBe(false);
    text += value;
    const tag = [...text.matchAll(/^data: .*"type":"refetchEvaluation","etag":"([^"]+)".*\n\n/gm)].at(
      -1,
    )?.[1];
    if (tag === undefined) continue;
    const evaluation = `/flags/shop/PROD/ofrep/v1/evaluate/flags/${key}?flagConfigEtag=${tag}`;
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(member(0).httpUrl + evaluation, { method: 'POST', headers, body: '{}' });
    answer = (await response.json()) as object;
  }
  stop.abort();
  expect(answer).toMatchObject({ key, value: true, reason: 'STATIC' });
  const nobody = await fetch(member(0).httpUrl + path.replace('shop', 'nobody'));
  expect([nobody.status, await nobody.json()]).toMatchObject([404, { errorCode: 'GENERAL' }]);
});

test('there is nothing of the store at that address', async () => {
  using client = new KvClient({ endpoints: [`127.0.0.1:${flagdPorts[0]}`] });
  await expect(client.range({ key: 'a' })).rejects.toMatchObject({ code: 'unimplemented' });
});

test('a gateway serves flags as a member does, at all its addresses', async () => {
  const [http, client, flagd] = await freePorts(3);
  const words = [
    `--endpoints=${new URL(member(0).clientUrl).host}`,
    `--listen-http-urls=http://127.0.0.1:${http}`,
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--listen-flagd-urls=http://127.0.0.1:${flagd}`,
    '--cors=https://shop.example',
  ];
  const gateway = new ServerProcess(words, {}, { command: 'gateway' });
  try {
    await gateway.ready();
    const response = await fetch(
      `http://127.0.0.1:${http}/flags/shop/PROD/ofrep/v1/evaluate/flags/greeting`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: 'https://shop.example' },
        body: '{}',
      },
    );
    expect(await response.json()).toMatchObject({ value: 'welcome', reason: 'DEFAULT' });
    expect(response.headers.get('access-control-allow-origin')).toBe('https://shop.example');
    for (const port of [client!, flagd!]) {
      const provider = new FlagdProvider({
        host: '127.0.0.1',
        port,
        tls: false,
        selector: 'shop/production',
      });
      await OpenFeature.setProviderAndWait(`at ${port}`, provider);
      expect(await OpenFeature.getClient(`at ${port}`).getStringValue('greeting', '')).toBe('welcome');
    }
  } finally {
    await OpenFeature.close();
    expect(await gateway.stop()).toBe(0);
  }
});

test('a client of flags moves to another member when its own goes away', async () => {
  const endpoints = [member(1).clientUrl, member(0).clientUrl];
  await using client = await FlagClient.open({ endpoints, application: 'shop', environment: 'PROD' });
  expect(client.boolean('new-checkout', false)).toBe(true);
  const states: string[] = [];
  const back = new Promise<void>((resolve) => {
    client.onState((state) => {
      states.push(state);
      if (state === 'live') resolve();
    });
  });
  await cluster.restart(member(1));
  await back;
  expect(states).toEqual(['stale', 'live']);
  expect(client.boolean('new-checkout', false)).toBe(true);
});

test('the examples of the guide are a program that compiles and runs as a user of the package has it', () => {
  const { output, status } = runGuide({
    guide: 'docs/feature-flags-developers.md',
    directory,
    clientUrls: [member(0).clientUrl],
    places: {
      'http://localhost:8080': member(0).httpUrl,
      'port: 8013': `port: ${flagdPorts[0]}, tls: false`,
    },
  });
  const lines = output.trim().split('\n');
  expect(lines.slice(0, 3)).toEqual(['true', 'staff TARGETING_MATCH', 'true welcome']);
  expect(lines[3]).toMatch(/^Rule 1 matches/);
  expect(lines.slice(4)).toEqual(['hello, colleague', 'hello, colleague']);
  expect(status).toBe(0);
});

test('with authentication on, flags are for those who may read them', async () => {
  const endpoints = [member(0).clientUrl];
  const shop = { endpoints, application: 'shop', environment: 'PROD' } as const;
  using admin = new KvClient({ endpoints });
  await admin.auth.userAdd({ name: 'root', password: 'pw' });
  await admin.auth.roleAdd('root');
  await admin.auth.userGrantRole({ user: 'root', role: 'root' });
  await admin.auth.roleAdd('shop');
  const key = '/default/production/shop/';
  await admin.auth.roleGrantPermission('shop', { type: 'read', key, rangeEnd: prefixEnd(Buffer.from(key)) });
  for (const name of ['ada', 'eve']) await admin.auth.userAdd({ name, password: 'pw' });
  await admin.auth.userGrantRole({ user: 'ada', role: 'shop' });
  await admin.auth.enable();

  const opened = (user: string): Promise<FlagClient> =>
    FlagClient.open({ ...shop, login: { user, password: 'pw' } });
  await using client = await opened('ada');
  expect(client.string('greeting', '')).toBe('welcome');
  await expect(opened('eve')).rejects.toMatchObject({ code: 'permission-denied' });
  await expect(FlagClient.open(shop)).rejects.toMatchObject({ code: 'unauthenticated' });

  const ask = (headers: Readonly<Record<string, string>>): Promise<Response> =>
    fetch(`${member(0).httpUrl}/flags/shop/PROD/ofrep/v1/evaluate/flags/greeting`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{}',
    });
  const tokenOf = (user: string): Promise<string> => admin.auth.authenticate({ user, password: 'pw' });
  expect((await ask({ 'x-api-key': await tokenOf('ada') })).status).toBe(200);
  expect((await ask({ authorization: `Bearer ${await tokenOf('eve')}` })).status).toBe(403);
  expect((await ask({})).status).toBe(401);
});
