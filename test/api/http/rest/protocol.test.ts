import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { HttpListener } from '../../../../src/api/http/listener.ts';
import { OPERATIONS_PATHS } from '../../../../src/api/http/operations.ts';
import { restHandler } from '../../../../src/api/http/rest/app.ts';
import { REST_LIMITS_DEFAULT } from '../../../../src/api/http/rest/limits.ts';
import { serviceErrorMapping } from '../../../../src/api/service-errors.ts';
import { type Kv, KvError } from '../../../../src/kv/kv.ts';
import { withTxn } from '../../../service/kv-wrappers.ts';
import { expectProblem, inRestWorld, type RestWorld, type RestWorldOptions } from './rest-world.ts';

const LIMIT = { key: 'k', application: 'pay', environment: 'PROD', valueType: 'NUMBER', value: '10' };
const JSON_TYPE = { 'content-type': 'application/json' };

describe('bodies', () => {
  test.each([
    ['', ['']],
    ['{', ['']],
    ['{"key": 1, "key": 2}', ['']],
    ['{"value": 12345678901234567890}', ['']],
    ['{"__proto__": {}}', ['']],
    ['[1]', ['']],
    ['null', ['']],
    ['"text"', ['']],
    ['{"a": 1} x', ['']],
    [`${'['.repeat(200)}${']'.repeat(200)}`, ['']],
  ])('%s is refused', async (payload, fields) => {
    await inRestWorld(async ({ call }) => {
      expectProblem(await call('POST', '/configs', { payload, headers: JSON_TYPE }), 400, fields);
    });
  });

  test('bytes that are no UTF-8, and other charsets, are refused', async () => {
    await inRestWorld(async ({ call }) => {
      const payload = Buffer.from([0x22, 0xff, 0x22]);
      expectProblem(await call('POST', '/configs', { payload, headers: JSON_TYPE }), 400, ['']);
      const headers = { 'content-type': 'application/json; charset=iso-8859-1' };
      expectProblem(await call('POST', '/configs', { payload: '{}', headers }), 400, ['Content-Type']);
      const good = { 'content-type': 'application/json; charset="UTF-8"' };
      const answer = await call('POST', '/configs', { payload: JSON.stringify(LIMIT), headers: good });
      expect(answer.status).toBe(201);
    });
  });

  test.each([
    'text/plain',
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'nonsense',
  ])('%s is 415', async (type) => {
    await inRestWorld(async ({ call }) => {
      for (const url of ['/configs', '/api/v1/bulk', '/config/set']) {
        const answer = await call('POST', url, { payload: 'x', headers: { 'content-type': type } });
        expect([answer.status, answer.body.errors]).toEqual([415, []]);
      }
    });
  });

  test('a body without a type, or in an encoding, is 415', async () => {
    await inRestWorld(async ({ call }) => {
      expect((await call('POST', '/configs', { payload: Buffer.from('{}') })).status).toBe(415);
      const headers = { ...JSON_TYPE, 'content-encoding': 'gzip' };
      expect((await call('POST', '/configs', { payload: '{}', headers })).status).toBe(415);
    });
  });

  test('a body over the limit is 413; so is one that says so', async () => {
    await inRestWorld(
      async ({ call }) => {
        const payload = JSON.stringify({ ...LIMIT, description: 'x'.repeat(2_000) });
        expect((await call('POST', '/configs', { payload, headers: JSON_TYPE })).status).toBe(413);
        const text = `a=${'x'.repeat(3_000)}`;
        const types = { 'content-type': 'text/plain' };
        const url = '/api/v1/import?application=pay&environment=dev&format=properties';
        expect((await call('POST', url, { payload: text, headers: types })).status).toBe(200);
        expect((await call('POST', url, { payload: `${text}${text}`, headers: types })).status).toBe(413);
      },
      { rest: { limits: { bodyBytesMax: 1_000, importBytesMax: 4_000 } } },
    );
  });

  test('of a large body the first thing that is wrong is told', async () => {
    await inRestWorld(async ({ post }) => {
      const items = Array.from({ length: 5_000 }, () => ({ action: 'none' }));
      const small = await post('/api/v1/bulk', { items: items.slice(0, 200) });
      expect(small.body.errors).toHaveLength(100);
      expect((await post('/api/v1/bulk', { items })).body.errors).toHaveLength(1);
    });
  });
});

describe('paths and methods', () => {
  test('an unknown path is 404, a known one with another method 405', async () => {
    await inRestWorld(async ({ call }) => {
      const none = await call('GET', '/nothing?x=1');
      expect(none.body).toMatchObject({ status: 404, code: 'not-found', errors: [] });
      expect(none.headers['content-type']).toMatch(/^application\/problem\+json/);
      const wrong = await call('DELETE', '/configs');
      expect([wrong.status, wrong.headers['allow'], Object.keys(wrong.body)]).toEqual([
        405,
        'GET, HEAD, POST',
        ['message', 'errors'],
      ]);
      const put = await call('PUT', '/configs/x/rollback/1');
      expect([put.status, put.headers['allow']]).toEqual([405, 'POST']);
      const own = await call('PATCH', '/api/v1/validate', { body: {} });
      expect(own.body).toMatchObject({ status: 405, code: 'method-not-allowed' });
      expect((await call('OPTIONS', '/api/v1/validate')).status).toBe(405);
      expect((await call('GET', '/configs/')).status).toBe(404);
    });
  });

  test('a path that cannot be decoded is 400, and one with parts too long 414', async () => {
    await inRestWorld(async ({ get }) => {
      expectProblem(await get('/configs/%zz'), 400);
      expectProblem(await get(`/configs/${'x'.repeat(1_001)}`), 414);
      expectProblem(await get(`/configs/${'x'.repeat(1_000)}`), 404, ['configId']);
    });
  });

  test('HEAD is answered as GET, without a body', async () => {
    await inRestWorld(async (world) => {
      await world.post('/configs', LIMIT);
      const got = await world.get('/configs');
      const head = await world.call('HEAD', '/configs');
      expect([head.status, head.text, head.headers['etag']]).toEqual([200, '', got.headers['etag']]);
    });
  });
});

test('every error of the service has its status', async () => {
  const codes = {
    invalid: 400,
    unauthenticated: 401,
    forbidden: 403,
    'not-found': 404,
    exists: 409,
    conflict: 409,
    gone: 410,
    'precondition-failed': 412,
    'too-large': 413,
    'idempotency-mismatch': 422,
    'too-many-requests': 429,
    canceled: 499,
    unavailable: 503,
    ambiguous: 504,
    'no-space': 507,
  } as const;
  for (const [code, status] of Object.entries(codes)) {
    expect(serviceErrorMapping(code as keyof typeof codes).http, code).toBe(status);
  }
});

describe('failures of the store', () => {
  const failing = (error: Error): RestWorldOptions => ({
    wrap: (kv: Kv) => withTxn(kv, async () => Promise.reject(error)),
  });

  test.each([
    ['unavailable', 503, '1', 'safe'],
    ['too-many-requests', 429, '1', 'safe'],
    ['no-space', 507, undefined, 'never'],
    ['too-large', 413, undefined, 'never'],
    ['ambiguous', 504, undefined, 'ambiguous'],
  ] as const)('%s is %i', async (code, status, retryAfter, retryable) => {
    await inRestWorld(
      async ({ post }) => {
        const answer = await post('/config/set', { ...LIMIT });
        expect(answer.body).toMatchObject({ status, retryable });
        expect(answer.headers['retry-after']).toBe(retryAfter);
      },
      failing(new KvError(code, 'the store said so')),
    );
  });

  test('a bug is 500, logged, and tells nothing', async () => {
    const logged: object[] = [];
    const ignore = (): void => undefined;
    const logger = {
      debug: ignore,
      info: ignore,
      warn: ignore,
      error: (fields: object) => logged.push(fields),
    };
    await inRestWorld(
      async ({ post }) => {
        const answer = await post('/config/set', { ...LIMIT });
        expect(answer.body).toMatchObject({ status: 500, code: 'internal', detail: 'internal error' });
        expect(answer.text).not.toContain('hidden');
        expect(logged).toMatchObject([{ err: { message: 'hidden' }, method: 'POST', route: '/config/set' }]);
      },
      { ...failing(new Error('hidden')), rest: { logger } },
    );
  });
});

describe('over sockets', () => {
  test('REST, health and metrics are on one address', async () => {
    await served(async ({ base }) => {
      const made = await fetch(`${base}/configs`, {
        method: 'POST',
        headers: JSON_TYPE,
        body: JSON.stringify(LIMIT),
      });
      expect(made.status).toBe(201);
      const list = await fetch(`${base}/configs?application=pay`, {
        headers: { 'accept-encoding': 'identity' },
      });
      expect(await list.json()).toMatchObject({ totalElements: 1 });
      const again = await fetch(`${base}/configs`, {
        headers: { 'if-none-match': list.headers.get('etag')! },
      });
      expect([again.status, await again.text()]).toEqual([304, '']);
      expect(await (await fetch(`${base}/health`)).text()).toBe('operations /health');
      expect(await (await fetch(`${base}/metrics?x=1`)).text()).toBe('operations /metrics?x=1');
      expect((await fetch(`${base}/healthy`)).status).toBe(404);
      expect((await fetch(`${base}/openapi.json`)).headers.get('content-type')).toMatch(/json/);
    });
  });

  test('a body in pieces is taken, and over the limit cut short', async () => {
    await served(
      async ({ base }) => {
        const send = async (text: string): Promise<number> => {
          const request = httpRequest(`${base}/configs`, { method: 'POST', headers: JSON_TYPE });
          for (const part of text.match(/.{1,100}/gs)!) request.write(part);
          request.end();
          const [response] = (await once(request, 'response')) as [{ statusCode: number; resume(): void }];
          response.resume();
          return response.statusCode;
        };
        expect(await send(JSON.stringify(LIMIT))).toBe(201);
        expect(await send(JSON.stringify({ ...LIMIT, description: 'x'.repeat(5_000) }))).toBe(413);
      },
      { rest: { limits: { bodyBytesMax: 1_000 } } },
    );
  });

  test('headers over the limit are 431, and what is no HTTP 400', async () => {
    await served(async ({ port }) => {
      expect(
        await said(port, `GET /configs HTTP/1.1\r\nhost: x\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`),
      ).toMatch(/^HTTP\/1.1 431/);
      expect(await said(port, 'HELLO\r\n\r\n')).toMatch(/^HTTP\/1.1 400/);
    });
  });

  test('who goes away before the answer ends the call', async () => {
    let aborted: Promise<unknown> | null = null;
    const stuck = (kv: Kv): Kv =>
      withTxn(kv, async (_perform, _request, { signal }) => {
        aborted = once(signal, 'abort');
        await aborted;
        throw new KvError('canceled', 'the caller went away');
      });
    await served(
      async ({ port }) => {
        const socket = connect(port, '127.0.0.1');
        const body = JSON.stringify(LIMIT);
        socket.write(
          `POST /config/set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
        while (aborted === null) await new Promise((resolve) => setImmediate(resolve));
        socket.destroy();
        await aborted;
      },
      { wrap: stuck },
    );
  });

  test('requests and bodies beyond the bounds are refused until others are answered', async () => {
    let release = (): void => undefined;
    const waiting = new Promise<void>((resolve) => {
      release = resolve;
    });
    let held = 0;
    const slow = (kv: Kv): Kv =>
      withTxn(kv, async (perform, request, call) => {
        held += 1;
        await waiting;
        return perform(request, call);
      });
    await inRestWorld(
      async ({ get, post, put }) => {
        const first = post('/config/set', { ...LIMIT });
        while (held === 0) await new Promise((resolve) => setImmediate(resolve));
        expect((await post('/config/set', { ...LIMIT, key: 'other' })).status).toBe(429);
        expect((await get('/configs')).status).toBe(200);
        release();
        expect((await first).status).toBe(201);
        expect((await post('/config/set', { ...LIMIT, key: 'other' })).status).toBe(201);
        void put;
      },
      { wrap: slow, rest: { limits: { heldBytesMax: 150 } } },
    );
    await inRestWorld(async ({ get }) => expect((await get('/configs')).status).toBe(429), {
      rest: { limits: { requestsMax: 0 } },
    });
  });
});

test('the limits have room for the largest values', () => {
  expect(REST_LIMITS_DEFAULT.bodyBytesMax).toBeGreaterThan(6 * 512 * 1024);
});

/** Serves on a free port of this machine, beside operations that say which path was asked for. */
async function served(
  run: (served: { readonly base: string; readonly port: number; readonly world: RestWorld }) => Promise<void>,
  options: RestWorldOptions = {},
): Promise<void> {
  await inRestWorld(async (world) => {
    const handler = restHandler(world.app, {
      paths: OPERATIONS_PATHS,
      handler: (request, response) => response.end(`operations ${request.url}`),
    });
    await using listener = await HttpListener.open(['http://127.0.0.1:0'], handler);
    const { port } = listener.addresses[0]!;
    await run({ base: `http://127.0.0.1:${port}`, port, world });
  }, options);
}

async function said(port: number, text: string): Promise<string> {
  const socket: Socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(text);
  let answer = '';
  for await (const part of socket) {
    answer += String(part);
    if (answer.includes('\r\n')) break;
  }
  socket.destroy();
  return answer;
}
