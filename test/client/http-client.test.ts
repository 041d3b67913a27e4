import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { HTTP_ANSWER_BYTES_MAX, HttpClient, type HttpClientOptions } from '../../src/client/http-client.ts';
import { ProblemError } from '../../src/client/problem.ts';
import { TestAuthority } from '../support/certificates.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
function client(endpoints: readonly string[], options: Partial<HttpClientOptions> = {}): HttpClient {
  return new HttpClient({ endpoints, timeoutMs: 60_000, ...options });
}
const NOBODY = 'http://127.0.0.1:1';
const GET = { method: 'GET', path: '/a' } as const;
const POST = { method: 'POST', path: '/a', body: '{}' } as const;

test('queries, bodies and headers go out as they are, those that are undefined not at all', async () => {
  const heard: unknown[] = [];
  const endpoint = await serve((request, response) => {
    heard.push([
      request.method,
      request.url,
      request.headers['content-type'],
      request.headers['content-length'],
    ]);
    heard.push(Buffer.from(request.headers['x-conclave-user'] as string, 'latin1').toString());
    response.end('{}');
  });
  const http = client([endpoint], {
    headers: { 'x-conclave-user': 'Zoë' },
    login: { user: 'a', password: 'ü' },
  });
  const query = { key: 'a b&c', n: 1, flag: true, none: undefined };
  expect((await http.call({ ...GET, query })).status).toBe(200);
  await http.call({ ...POST, body: '{"ü":1}', headers: { 'if-match': undefined } });
  expect(heard).toEqual([
    ['GET', '/a?key=a+b%26c&n=1&flag=true', undefined, undefined],
    'Zoë',
    ['POST', '/a', 'application/json', '8'],
    'Zoë',
  ]);
  expect(http.headers['authorization']).toBe(`Basic ${Buffer.from('a:ü').toString('base64')}`);
});

test('a path is asked for as it is, names like ".." too', async () => {
  const heard: unknown[] = [];
  const endpoint = await serve((request, response) => {
    heard.push(request.url);
    response.end('{}');
  });
  const http = client([endpoint]);
  await http.call({ ...GET, path: '/api/v1/environments/..' });
  await http.call({ ...GET, path: '//other.example/a' });
  await http.call({ ...GET, path: '/a/%2e%2e', query: { b: '..' } });
  expect(heard).toEqual(['/api/v1/environments/..', '//other.example/a', '/a/%2e%2e?b=..']);
});

test('a redirection is a failure, and is not followed', async () => {
  let followed = 0;
  const elsewhere = await serve((_request, response) => {
    followed += 1;
    response.end('{}');
  });
  const endpoint = await serve((_request, response) =>
    response.writeHead(302, { location: elsewhere }).end(),
  );
  const http = client([endpoint], { login: { user: 'a', password: 'b' } });
  await expect(http.call(GET)).rejects.toMatchObject({ status: 302, message: 'the server answered 302' });
  await expect(http.stream(GET)).rejects.toMatchObject({ status: 302 });
  expect(followed).toBe(0);
});

test('a member that is not there is passed over, and remembered', async () => {
  let calls = 0;
  const endpoint = await serve((_request, response) => {
    calls += 1;
    response.end();
  });
  const http = client([NOBODY, endpoint]);
  await http.call(POST);
  await http.call(POST);
  expect(calls).toBe(2);
  await expect(client([NOBODY, NOBODY]).call(GET)).rejects.toMatchObject({
    code: 'unavailable',
    unsent: true,
    uncertain: false,
  });
});

test('what a member may have done is asked of another one only when it may be done twice', async () => {
  let second = 0;
  const cut = await serve((request) => request.socket.destroy());
  const other = await serve((_request, response) => {
    second += 1;
    response.end();
  });
  await expect(client([cut, other]).call(POST)).rejects.toMatchObject({
    code: 'unavailable',
    unsent: false,
    uncertain: true,
  });
  expect(second).toBe(0);
  await client([cut, other]).call({ ...POST, isRepeatable: true });
  await client([cut, other]).call(GET);
  expect(second).toBe(2);
});

test('a member that is alone is asked again when it cut the call off, so long as that may be', async () => {
  let calls = 0;
  const endpoint = await serve((request, response) => {
    calls += 1;
    if (calls % 2 === 1) request.socket.destroy();
    else response.end();
  });
  await client([endpoint]).call(GET);
  await client([endpoint]).call({ ...POST, isRepeatable: true });
  expect(calls).toBe(4);
  await expect(client([endpoint]).call(POST)).rejects.toMatchObject({ code: 'unavailable' });
  expect(calls).toBe(5);
});

test('a member that cannot answer now is passed over; a refusal is told', async () => {
  const busy = await serve((_request, response) => response.writeHead(503).end());
  const refusing = await serve((_request, response) => {
    response.writeHead(409, { 'content-type': 'application/problem+json' });
    response.end(
      JSON.stringify({
        type: 'urn:conclave:problem:conflict',
        title: 'no',
        detail: 'it is locked',
        code: 'conflict',
        errors: [{ field: 'environment', message: 'is locked' }],
      }),
    );
  });
  await expect(client([busy, refusing]).call(GET)).rejects.toMatchObject({
    name: 'ProblemError',
    status: 409,
    code: 'conflict',
    message: 'it is locked',
    fields: [{ field: 'environment', message: 'is locked' }],
  });
  await expect(client([busy, refusing]).call(POST)).rejects.toMatchObject({ status: 503 });
  await expect(client([busy]).stream(GET)).rejects.toBeInstanceOf(ProblemError);
});

test('the forms in which failures are told', async () => {
  const bodies = [
    ['application/json', '{"message":"wrong","errors":["a is missing",7]}'],
    ['application/json', '[1]'],
    ['text/html', '{"message":"wrong"}'],
    ['application/json', '{"type":"about:blank#x","title":"Gone"}'],
  ] as const;
  let at = 0;
  const endpoint = await serve((_request, response) => {
    const [type, body] = bodies[at]!;
    at += 1;
    response.writeHead(400, { 'content-type': type }).end(body);
  });
  const told: unknown[] = [];
  for (const _ of bodies) {
    const error = await client([endpoint])
      .call(GET)
      .catch((failure: unknown) => failure as ProblemError);
    const { message, fields } = error as ProblemError;
    told.push([message, fields]);
  }
  expect(told).toEqual([
    ['wrong', [{ field: '', message: 'a is missing' }]],
    ['the server answered 400', []],
    ['the server answered 400', []],
    ['Gone', []],
  ]);
});

test('a call has its time, and can be called off', async () => {
  const endpoint = await serve(() => {});
  await expect(client([endpoint]).call({ ...GET, timeoutMs: 20 })).rejects.toMatchObject({
    code: 'deadline-exceeded',
  });
  const control = new AbortController();
  const calling = client([endpoint, endpoint]).call({ ...GET, signal: control.signal });
  setImmediate(() => control.abort());
  await expect(calling).rejects.toMatchObject({ code: 'canceled' });
});

test('an answer that is too large is not read to its end', async () => {
  const piece = Buffer.alloc(1024 * 1024);
  const endpoint = await serve((_request, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(piece));
    };
    response.on('drain', more);
    more();
  });
  await expect(client([endpoint]).call(GET)).rejects.toMatchObject({ code: 'resource-exhausted' });
  let bytes = 0;
  const control = new AbortController();
  const { body } = await client([endpoint]).stream({ ...GET, signal: control.signal });
  const reading = (async () => {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > HTTP_ANSWER_BYTES_MAX) control.abort();
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: 'canceled' });
});

test('over TLS a member must prove who it is, and is told who asks', async () => {
  const authority = new TestAuthority();
  const own = authority.issue('member');
  const asking = authority.issue('client');
  const server = createTlsServer(
    { cert: own.cert, key: own.key, ca: authority.cert, requestCert: true, rejectUnauthorized: true },
    (_request, response) => response.end('{}'),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const [ca, cert, key] = [authority.cert, asking.cert, asking.key].map((text) => Buffer.from(text)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  expect((await client([endpoint], { tls: { ca, cert, key } }).call(GET)).status).toBe(200);
  const careless = client([endpoint], { tls: { cert, key, insecureSkipVerify: true } });
  expect((await careless.call(GET)).status).toBe(200);
  for (const tls of [{ ca }, { cert, key }, undefined])
    await expect(client([endpoint], { tls }).call(GET)).rejects.toMatchObject({ code: 'unavailable' });
});

test('what is no address is refused', () => {
  for (const endpoint of ['', 'localhost', 'ftp://x', 'http://'])
    expect(() => client([endpoint])).toThrow('is not of the form http://host:port');
  expect(() => client([])).toThrow('there is no HTTP endpoint');
});
