import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { HttpListener } from '../../../src/api/http/listener.ts';
import { type OperationsSources, operationsHandler } from '../../../src/api/http/operations.ts';
import { StoreError } from '../../../src/lib/errors.ts';

const open: HttpListener[] = [];
afterEach(async () => {
  for (const listener of open.splice(0)) await listener.close();
});

async function serve(overrides: Partial<OperationsSources> = {}): Promise<string> {
  const listener = await HttpListener.open(
    ['http://127.0.0.1:0'],
    operationsHandler({
      readiness: () => ({ live: true, ready: true, reasons: [] }),
      alarms: () => [],
      read: async () => undefined,
      version: { server: '3.6.0', cluster: '3.6.0', storage: '3.6.0' },
      metrics: { contentType: 'text/plain; version=0.0.4', render: async () => 'a 1\n' },
      ...overrides,
    }),
  );
  open.push(listener);
  return `http://127.0.0.1:${listener.addresses[0]!.port}`;
}

async function get(url: string): Promise<{ status: number; type: string | null; body: string }> {
  const response = await fetch(url);
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}

test('a healthy member answers every probe', async () => {
  const base = await serve();
  expect(await get(`${base}/health`)).toEqual({
    status: 200,
    type: 'application/json',
    body: '{"health":"true","reason":""}',
  });
  expect(await get(`${base}/health?serializable=true`)).toMatchObject({ status: 200 });
  expect(await get(`${base}/livez`)).toMatchObject({ status: 200, body: 'ok\n' });
  expect(await get(`${base}/readyz`)).toMatchObject({ status: 200, body: 'ok\n' });
  expect(await get(`${base}/version`)).toMatchObject({
    body: '{"etcdserver":"3.6.0","etcdcluster":"3.6.0","storage":"3.6.0"}',
  });
  expect(await get(`${base}/metrics`)).toEqual({
    status: 200,
    type: 'text/plain; version=0.0.4',
    body: 'a 1\n',
  });
});

test('a member that lives but is not ready says why', async () => {
  const readiness = () => ({ live: true, ready: false, reasons: ['no leader', 'alarm NOSPACE'] });
  const base = await serve({ readiness });
  expect(await get(`${base}/livez`)).toMatchObject({ status: 200 });
  expect(await get(`${base}/readyz`)).toMatchObject({
    status: 503,
    body: '[-]no leader\n[-]alarm NOSPACE\n',
  });
  const health = await get(`${base}/health`);
  expect(health.status).toBe(503);
  expect(JSON.parse(health.body)).toEqual({ health: 'false', reason: 'RAFT NO LEADER' });
  expect(await get(`${base}/health?serializable=true`)).toMatchObject({ status: 200 });
});

test('health tells of alarms, looks past those excluded, and of a read that fails', async () => {
  const alarms: OperationsSources['alarms'] = () => [{ alarm: 'no-space' }];
  const asked: boolean[] = [];
  const read: OperationsSources['read'] = async ({ serializable }) => {
    asked.push(serializable);
    if (!serializable) throw new StoreError('timeout');
  };
  const base = await serve({ alarms, read });
  const reason = async (query: string) => JSON.parse((await get(`${base}/health${query}`)).body).reason;
  expect(await reason('')).toBe('ALARM NOSPACE');
  expect(await reason('?exclude=CORRUPT')).toBe('ALARM NOSPACE');
  expect(asked).toEqual([]);
  expect(await reason('?exclude=NOSPACE')).toBe('RANGE ERROR:timeout');
  expect(await reason('?exclude=NOSPACE&serializable=true')).toBe('');
  expect(asked).toEqual([false, true]);
});

test('a failing probe without a reason still has a body', async () => {
  const base = await serve({ readiness: () => ({ live: false, ready: false, reasons: [] }) });
  expect(await get(`${base}/livez`)).toMatchObject({ status: 503, body: '[-]not live\n' });
});

test('the answer follows the state, it is not remembered', async () => {
  let ready = false;
  const base = await serve({ readiness: () => ({ live: true, ready, reasons: [] }) });
  expect((await get(`${base}/readyz`)).status).toBe(503);
  ready = true;
  expect((await get(`${base}/readyz`)).status).toBe(200);
});

test('unknown paths and methods are told apart', async () => {
  const base = await serve();
  expect((await get(`${base}/v3/kv/range`)).status).toBe(404);
  const post = await fetch(`${base}/health`, { method: 'POST' });
  expect(post.status).toBe(405);
  expect(post.headers.get('allow')).toBe('GET, HEAD');
  const head = await fetch(`${base}/version`, { method: 'HEAD' });
  expect(head.status).toBe(200);
  expect(await head.text()).toBe('');
});

test('a request may name the server in its target, as proxies are asked', async () => {
  const { hostname, port, host } = new URL(await serve({ alarms: () => [{ alarm: 'no-space' }] }));
  const answer = async (target: string): Promise<string> => {
    const socket = connect(Number(port), hostname);
    socket.write(`GET ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    return (await socket.setEncoding('utf8').toArray()).join('');
  };
  expect(await answer(`http://${host}/version`)).toMatch(/^HTTP\/1\.1 200 [^]*etcdserver/);
  expect(await answer(`http://${host}/health`)).toContain('HTTP/1.1 503 ');
  expect(await answer(`http://${host}/health?exclude=NOSPACE`)).toContain('HTTP/1.1 200 ');
  expect(await answer(`http://${host}`)).toContain('HTTP/1.1 404 ');
});

test('a source that throws becomes a 500 without its words', async () => {
  const base = await serve({
    metrics: { contentType: 'x', render: () => Promise.reject(new Error('secret')) },
  });
  const answer = await get(`${base}/metrics`);
  expect(answer.status).toBe(500);
  expect(answer.body).not.toContain('secret');
});

test('a taken address is refused by name, and nothing stays open', async () => {
  const taken = createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const url = `http://127.0.0.1:${port}`;
  await expect(HttpListener.open(['http://127.0.0.1:0', url], () => {})).rejects.toThrow(
    `bad-options: --listen-http-urls: ${url}: the address is in use by another process`,
  );
  taken.close();
});

test('256 connections are open at a time, further ones are cut', async () => {
  const base = new URL(await serve());
  const sockets = Array.from({ length: 260 }, () => connect(Number(base.port), base.hostname));
  let closed = 0;
  const someClosed = new Promise<void>((resolve) => {
    for (const socket of sockets) {
      socket
        .on('error', () => undefined)
        .on('close', () => {
          closed += 1;
          if (closed === 4) resolve();
        });
    }
  });
  await someClosed;
  const left = sockets.filter(({ destroyed }) => !destroyed);
  expect(left).toHaveLength(256);
  left[0]!.write('GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  expect((await left[0]!.setEncoding('utf8').toArray()).join('')).toContain('ok\n');
  for (const socket of left) socket.destroy();
});

test('closing waits for the answer under way', async () => {
  const rendering = resolvers();
  const asked = resolvers();
  const render = async (): Promise<string> => {
    asked.resolve('');
    return rendering.promise;
  };
  const base = await serve({ metrics: { contentType: 'text/plain', render } });
  const answer = get(`${base}/metrics`);
  await asked.promise;
  const closed = open.pop()!.close();
  rendering.resolve('late 1\n');
  expect((await answer).body).toBe('late 1\n');
  await closed;
  const refused = request(base).end();
  await once(refused, 'error');
});

function resolvers(): { promise: Promise<string>; resolve: (value: string) => void } {
  let resolve!: (value: string) => void;
  const promise = new Promise<string>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
