import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { rpcStatus } from '../../src/rpc/status.ts';
import { configCall, configStream } from '../support/config-call.ts';
import { eventually } from '../support/eventually.ts';
import { ServerProcess } from '../support/server-process.ts';
import { etcdBinary, type Server, startConclave, startEtcd } from './differential/server.ts';

const BINARY = etcdBinary();
const SCOPE = { application: 'pay', environment: 'DEV' };

interface Gateway {
  readonly process: ServerProcess;
  readonly httpUrl: string;
  readonly clientUrl: string;
}

describe.each([
  { name: 'Conclave', start: () => startConclave(), skip: false },
  {
    name: 'a real etcd (needs ETCD_BIN)',
    start: () => startEtcd(BINARY!),
    // In CI it must be there.
    skip: BINARY === null && process.env['CI'] !== 'true',
  },
])('a gateway before $name', ({ start, skip }) => {
  describe.skipIf(skip)('serves what a member would', () => {
    let store: Server;
    let gateways: readonly [Gateway, Gateway];

    beforeAll(async () => {
      store = await start();
      gateways = await Promise.all([startGateway(store.clientUrl), startGateway(store.clientUrl)]);
    });
    afterAll(async () => {
      await Promise.all(gateways.map(({ process }) => process.stop('SIGKILL')));
      await store.destroy();
    });

    test('what is made at one gateway, another one tells at once', async () => {
      expect(await create(gateways[0], { key: 'greeting', value: 'hello' })).toBe(201);
      const response = await fetch(`${gateways[1].httpUrl}/v1/config/services/pay?environment=dev`);
      expect(await response.json()).toMatchObject({ greeting: 'hello' });
      const answer = await configCall(gateways[1].clientUrl, 'GetConfiguration', {
        ...SCOPE,
        key: 'greeting',
      });
      expect(answer).toMatchObject({ ok: true, answer: { value: 'hello', version: 1 } });
    });

    test('a bounded read is answered, whether or not the store knows its age', async () => {
      const answer = await configCall(
        gateways[1].clientUrl,
        'GetConfiguration',
        { ...SCOPE, key: 'greeting' },
        { 'conclave-consistency': 'bounded', 'max-staleness-ms': '500' },
      );
      expect(answer).toMatchObject({ ok: true, answer: { value: 'hello' } });
    });

    test('a stream tells what is changed through another gateway, and goes on behind a compaction', async () => {
      const stream = configStream(gateways[0].clientUrl, SCOPE);
      const begun = await stream.begun;
      expect(await create(gateways[1], { key: 's1', value: 'one' })).toBe(201);
      expect(await create(gateways[1], { key: 's2', value: 'two' })).toBe(201);
      await eventually('two updates', () => stream.updates.length >= 2);
      stream.close();

      using client = new KvClient({ endpoints: [store.clientUrl] });
      const { header } = await client.put({ key: '/compacted', value: '' });
      await client.compact({ revision: header.revision });
      const fresh = await startGateway(store.clientUrl);
      const again = configStream(fresh.clientUrl, { ...SCOPE, after_revision: begun });
      await eventually('the same two', () => again.updates.length >= 2);
      again.close();
      expect(again.updates.map(({ key, value, revision }) => [key, value, revision])).toEqual(
        stream.updates.map(({ key, value, revision }) => [key, value, revision]),
      );
      expect(await fresh.process.stop()).toBe(0);
    });

    test('health, readiness and metrics', async () => {
      const { httpUrl } = gateways[0];
      expect(await (await fetch(`${httpUrl}/health`)).json()).toEqual({ health: 'true', reason: '' });
      expect((await fetch(`${httpUrl}/readyz`)).status).toBe(200);
      const page = await (await fetch(`${httpUrl}/metrics`)).text();
      expect(page).toContain('conclave_build_info');
      expect(page).toContain('conclave_service_projection_live 1');
    });

    test('where the store wants to know who asks, the gateway signs in and its callers show their tokens', async () => {
      using client = new KvClient({ endpoints: [store.clientUrl] });
      await client.auth.userAdd({ name: 'root', password: 'hush-7531' });
      await client.auth.roleAdd('root');
      await client.auth.userGrantRole({ user: 'root', role: 'root' });
      await client.auth.enable();
      const gateway = await startGateway(store.clientUrl, ['--user=root:hush-7531']);
      try {
        const asked = { ...SCOPE, key: 'greeting' };
        const nobody = await configCall(gateway.clientUrl, 'GetConfiguration', asked);
        expect(nobody).toMatchObject({ code: rpcStatus.unauthenticated });
        const token = await client.auth.authenticate({ user: 'root', password: 'hush-7531' });
        const root = await configCall(gateway.clientUrl, 'GetConfiguration', asked, { token });
        expect(root).toMatchObject({ ok: true, answer: { value: 'hello' } });
        expect(gateway.process.log).not.toContain('hush-7531');
      } finally {
        await gateway.process.stop('SIGKILL');
      }
    });
  });
});

test('a gateway waits for a cluster that is not there yet, and says so', async () => {
  const [port] = await freePorts(1);
  const gateway = await launch(`http://127.0.0.1:${port}`);
  try {
    await gateway.process.logged('the configurations cannot be read yet');
    expect((await fetch(`${gateway.httpUrl}/readyz`)).status).toBe(503);
    expect((await fetch(`${gateway.httpUrl}/v1/config/services/pay`)).status).toBe(503);
  } finally {
    expect(await gateway.process.stop()).toBe(0);
  }
});

async function startGateway(endpoint: string, flags: readonly string[] = []): Promise<Gateway> {
  const gateway = await launch(endpoint, flags);
  await gateway.process.ready();
  return gateway;
}

async function launch(endpoint: string, flags: readonly string[] = []): Promise<Gateway> {
  const [http, client] = await freePorts(2);
  const [httpUrl, clientUrl] = [`http://127.0.0.1:${http}`, `http://127.0.0.1:${client}`];
  const words = [
    `--endpoints=${endpoint}`,
    `--listen-http-urls=${httpUrl}`,
    `--listen-client-urls=${clientUrl}`,
    ...flags,
  ];
  return { process: new ServerProcess(words, {}, { command: 'gateway' }), httpUrl, clientUrl };
}

async function create(
  { httpUrl }: Gateway,
  { key, value }: { readonly key: string; readonly value: string },
): Promise<number> {
  const response = await fetch(`${httpUrl}/configs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ key, ...SCOPE, valueType: 'STRING', value }),
  });
  return response.status;
}
