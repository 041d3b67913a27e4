import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { HTTP_CONNECTIONS_MAX, HttpFace, httpConnectionsMax } from '../../../src/api/http/http-face.ts';
import type { HttpLimits } from '../../../src/api/http/http-limits.ts';
import { silentLogger } from '../../../src/lib/logger.ts';

/** More than the buffers of a connection hold. */
const LARGE = Buffer.alloc(64 * 1024 * 1024);
const GET = 'GET /livez HTTP/1.1\r\nhost: a\r\n\r\n';

const faces: HttpFace[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const face of faces.splice(0)) await face.close();
});

/** @returns the port */
async function serve(limits: Partial<HttpLimits>, handler: RequestListener): Promise<number> {
  const face = await HttpFace.open({
    urls: ['http://127.0.0.1:0'],
    operations: handler,
    tls: null,
    logger: silentLogger,
    limits,
  });
  faces.push(face);
  return face.addresses[0]!.port;
}

/** A client that reads nothing until it is told to. */
async function client(port: number, sends = ''): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  sockets.push(socket);
  await once(socket, 'connect');
  socket.pause();
  socket.write(sends);
  return socket;
}

const small: RequestListener = (_, response) => response.end('ok');
const large: RequestListener = (_, response) => response.end(LARGE);

/** Everything until the other side closes. */
async function heard(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('data', (part) => parts.push(part)).resume();
  await once(socket, 'close');
  return Buffer.concat(parts).toString('latin1');
}

test('as many connections are open at a time as are allowed, and one more when one ends', async () => {
  expect(HTTP_CONNECTIONS_MAX).toBe(20_000);
  const port = await serve({ connectionsMax: 3 }, small);
  const three = [await client(port, GET), await client(port, GET), await client(port, GET)];
  for (const socket of three) await once(socket.resume(), 'data');
  const fourth = await client(port, GET);
  expect(await heard(fourth)).toBe('');
  three[0]!.end();
  await once(three[0]!, 'close');
  const [answer] = (await once((await client(port, GET)).resume(), 'data')) as [Buffer];
  expect(answer.toString()).toContain('200 OK');
});

test('fewer connections are taken where the process may have few files open', () => {
  const max = (descriptors: number | null, addresses = 1): number =>
    httpConnectionsMax({ descriptors, addresses });
  expect(max(null)).toBe(HTTP_CONNECTIONS_MAX);
  expect(max(524_288, 3)).toBe(HTTP_CONNECTIONS_MAX);
  expect(max(20_000)).toBe(8_000);
  expect(max(20_000, 2)).toBe(4_000);
  expect(max(1_024)).toBe(256);
});

describe('a client that takes its time', () => {
  test.each([
    ['with its headers', { headersMs: 20, checkMs: 10 }, 'GET /livez HTTP/1.1\r\nhost: a\r\n'],
    [
      'with its body',
      { headersMs: 20, requestMs: 40, checkMs: 10 },
      'POST /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc',
    ],
  ])('%s is told, and cut', async (_, limits, sends) => {
    const port = await serve(limits, (request, response) => {
      request.on('error', () => undefined).on('end', () => response.end('too late'));
      request.resume();
    });
    expect(await heard(await client(port, sends))).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('with its next request is cut', async () => {
    const port = await serve({ idleMs: 20 }, small);
    expect(await heard(await client(port, GET))).toContain('200 OK');
  });

  test('with an answer is cut, and others get theirs whole', async () => {
    const asked: (() => void)[] = [];
    const cut = new Promise<void>((resolve) => asked.push(resolve));
    const port = await serve({ takeMs: 20 }, (request, response) => {
      response.on('close', () => asked.pop()?.());
      large(request, response);
    });
    await client(port, GET);
    await cut;
    const patient = await serve({}, large);
    const whole = await heard(
      await client(patient, GET.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')),
    );
    expect(whole.length).toBeGreaterThan(LARGE.length);
  });
});

test('who leaves most unread is cut as soon as it is too much together', async () => {
  const cut: (string | undefined)[] = [];
  let onCut = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    onCut = resolve;
  });
  const port = await serve({ unreadBytesMax: 1.5 * LARGE.length }, (request, response) => {
    response.on('close', () => {
      cut.push(request.url);
      onCut();
    });
    response.end(request.url === '/livez?most' ? Buffer.concat([LARGE, LARGE]) : LARGE);
  });
  const other = await client(port, GET);
  await client(port, GET.replace('/livez', '/livez?most'));
  await first;
  expect(cut).toEqual(['/livez?most']);
  expect(other.destroyed).toBe(false);
});
