import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { callHeaders, FLAG, FRAME, headerBlock, RawHttp2 } from '../support/raw-http2.ts';
import { failure, Harness, type HarnessOptions } from './harness.ts';

/** Everything here meets the real port, while an ordinary client is served on a connection of its own. */

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function served(options: HarnessOptions = {}): Promise<Harness> {
  const harness = new Harness(options);
  harness.server.unary('/t.S/Echo', async (request) => request);
  harness.server.unary('/t.S/Never', () => new Promise<Buffer>(() => undefined));
  harness.server.bidi('/t.S/Stream', async (requests, _call, out) => {
    for await (const request of requests) out.write(request);
  });
  await harness.start();
  await others(harness);
  return harness;
}

/** Another client's call is answered. */
async function others(harness: Harness): Promise<void> {
  expect(String(await harness.unaryBytes('/t.S/Echo', Buffer.from('ping')))).toBe('ping');
  expect(harness.bugs).toEqual([]);
}

function raw(harness: Harness, greet = true): RawHttp2 {
  const client = new RawHttp2(harness.portNumber, greet);
  cleanups.push(() => client.destroy());
  return client;
}

/** A gRPC message with its prefix. */
function message(bytes: number): Buffer {
  const framed = Buffer.alloc(5 + bytes);
  framed.writeUInt32BE(bytes, 1);
  return framed;
}

/** `bytes` of a request in frames of the size that every server takes. */
function body(stream: number, bytes: Buffer): { type: number; stream: number; payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at < bytes.length; at += 16_384) {
    frames.push({ type: FRAME.data, stream, payload: bytes.subarray(at, at + 16_384) });
  }
  return frames;
}

test('a client that reads none of what it is answered is cut', async () => {
  await using harness = await served();
  const client = raw(harness);
  client.socket.pause();
  const pings = Array.from({ length: 200 }, () => ({ type: FRAME.ping, payload: Buffer.alloc(8) }));
  const calls = (from: number): { type: number; flags: number; stream: number; payload: Buffer }[] =>
    Array.from({ length: 100 }, (_, at) => ({
      type: FRAME.headers,
      flags: FLAG.endHeaders | FLAG.endStream,
      stream: from + 2 * at,
      payload: headerBlock(callHeaders('/t.S/Unknown')),
    }));
  client.send(...pings);
  for (let stream = 1; stream < 2_000_000 && !client.isClosed && client.socket.writable; stream += 200) {
    client.send(...calls(stream));
    await client.taken();
    if (harness.port.figures.open < 2) break;
  }
  await eventually('the end', () => harness.port.figures.open === 1 || undefined);
  await others(harness);
});

test('requests that do not end are held up to a bound, then refused with RESOURCE_EXHAUSTED', async () => {
  const mib = 1024 * 1024;
  await using harness = await served({
    callLimits: { requestBytesMax: 8 * mib, connectionRequestBytesMax: 6 * mib },
  });
  const hogs = [raw(harness), raw(harness)];
  for (const client of hogs) {
    for (let stream = 1; stream < 40; stream += 2) {
      client.open(stream, '/t.S/Echo');
      client.send({ type: FRAME.windowUpdate, payload: Buffer.of(0, 16, 0, 0) });
      client.send(...body(stream, message(1.9 * mib).subarray(0, 60_000)));
    }
  }
  // Each stream's window is 64 KiB, so so many streams are what it takes.
  for (const client of hogs) {
    for (let stream = 41; stream < 400; stream += 2) {
      client.open(stream, '/t.S/Echo');
      client.send(...body(stream, message(1.9 * mib).subarray(0, 60_000)));
    }
  }
  await eventually('the refusals', () => harness.server.callFigures.refused > 0 || undefined);
  expect(harness.server.callFigures.heldBytes).toBeLessThanOrEqual(8 * mib + 65_536);
  // Who holds little is served: the largest holder gives way.
  await others(harness);
  for (const client of hogs) client.destroy();
  await eventually('the memory is free', () => harness.server.callFigures.heldBytes === 0 || undefined);
  await others(harness);
});

test('one connection cannot take what is meant for all', async () => {
  const mib = 1024 * 1024;
  await using harness = await served({
    callLimits: { requestBytesMax: 64 * mib, connectionRequestBytesMax: mib },
  });
  const hog = raw(harness);
  for (let stream = 1; stream < 400; stream += 2) hog.open(stream, '/t.S/Never');
  await eventually('the refusals', () => harness.server.callFigures.refused > 0 || undefined);
  await eventually('the answers', () => hog.of(FRAME.headers).length > 0 || undefined);
  const refusal = await failure(harness.unaryBytes('/t.S/Echo', Buffer.alloc(1.5 * mib)));
  expect(refusal).toEqual({ code: 8, details: 'etcdserver: too many requests' });
  await others(harness);
});

test('what a stream of requests has handed over is not held against it', async () => {
  await using harness = await served({ callLimits: { requestBytesMax: 512 * 1024 } });
  const client = raw(harness);
  client.open(1, '/t.S/Stream');
  for (let round = 1; round <= 60; round += 1) {
    client.send(
      { type: FRAME.windowUpdate, payload: Buffer.of(0, 1, 0, 0) },
      { type: FRAME.windowUpdate, stream: 1, payload: Buffer.of(0, 1, 0, 0) },
      ...body(1, message(16_000)),
    );
    await eventually('the answer', () => client.of(FRAME.data).length >= round || undefined);
  }
  expect(harness.server.callFigures.refused).toBe(0);
  expect(harness.server.callFigures.heldBytes).toBeLessThan(32 * 1024);
});

test('a request that does not arrive in time ends; a stream of requests may wait', async () => {
  await using harness = await served({ callLimits: { requestTimeoutMs: 100 } });
  const client = raw(harness);
  client.open(1, '/t.S/Stream');
  client.open(3, '/t.S/Echo');
  client.open(5, '/t.S/Never');
  client.send({ type: FRAME.data, flags: FLAG.endStream, stream: 5, payload: message(0) });
  await eventually('the end', () => client.of(FRAME.headers).some(({ stream }) => stream === 3) || undefined);
  client.send(...body(1, message(5)));
  await eventually('an answer', () => client.of(FRAME.data).some(({ stream }) => stream === 1) || undefined);
  const ended = client.received.filter(({ type }) => type === FRAME.reset || type === FRAME.headers);
  expect(ended.some(({ stream }) => stream === 5)).toBe(false);
  await others(harness);
});

test('calls beyond those that a connection may have open are refused by the protocol', async () => {
  await using harness = await served({ concurrentStreamsMax: 10 });
  const client = raw(harness);
  for (let stream = 1; stream < 41; stream += 2) client.open(stream, '/t.S/Never');
  await eventually(
    'the refusals',
    () => client.of(FRAME.reset).length === 10 || client.isClosed || undefined,
  );
  expect(harness.server.callFigures.open).toBeLessThanOrEqual(10);
  await others(harness);
});

test('connections beyond the bound are told so, or cut; an idle one makes room', async () => {
  await using harness = await served({ limits: { connectionsMax: 5, idleMsMin: 2_000 } });
  const busy = Array.from({ length: 3 }, () => raw(harness));
  for (const client of busy) client.open(1, '/t.S/Never');
  await eventually('the calls', () => harness.server.callFigures.open === 3 || undefined);
  const [idle] = [raw(harness)];
  await eventually('the idle one', () => idle!.of(FRAME.settings).length > 0 || undefined);
  expect(harness.port.figures.open).toBe(5);
  const late = raw(harness);
  late.open(1, '/t.S/Echo');
  late.send({ type: FRAME.data, flags: FLAG.endStream, stream: 1, payload: message(0) });
  await eventually('the refusal', () => late.of(FRAME.headers).length > 0 || undefined);
  expect(late.of(FRAME.headers)[0]!.payload.toString('latin1')).toBeDefined();
  expect(harness.port.figures.refused).toBeGreaterThan(0);
  late.destroy();
  await others(harness);
  // Once the idle one has been so for long enough, it gives way to the next.
  await eventually('room', () => {
    const next = raw(harness);
    next.open(1, '/t.S/Never');
    return idle!.isClosed || undefined;
  });
  expect(busy.map((client) => client.isClosed)).toEqual([false, false, false]);
});

test('who was made room for is served, though the idle one has not gone yet', async () => {
  await using harness = new Harness({ limits: { connectionsMax: 1, idleMsMin: 0 } });
  harness.server.unary('/t.S/Echo', async (request) => request);
  await harness.start();
  const idle = raw(harness);
  await eventually('the idle one', () => idle.of(FRAME.settings).length > 0 || undefined);
  // It does not hear that it is to go.
  idle.socket.pause();
  const next = raw(harness);
  next.open(1, '/t.S/Echo');
  next.send({ type: FRAME.data, flags: FLAG.endStream, stream: 1, payload: message(7) });
  await eventually('an answer', () => next.of(FRAME.data)[0] ?? (next.isClosed || undefined));
  expect(next.of(FRAME.data).map(({ payload }) => payload)).toEqual([message(7)]);
});

test('an HTTP/1.1 client beyond the bound gets 503', async () => {
  await using harness = await served({ limits: { connectionsMax: 1, idleMsMin: 60_000 } });
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(harness.portNumber, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.on('close', () => resolve(text));
    socket.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  });
  expect(answer).toMatch(/^HTTP\/1\.1 503 [^]*too many connections$/);
});

test('64 connections beyond the bound may hear that they are too many, further ones are cut', async () => {
  await using harness = await served({ limits: { connectionsMax: 1, idleMsMin: 60_000 } });
  const late = Array.from({ length: 70 }, () => raw(harness, false));
  const left = () => late.filter((client) => !client.isClosed);
  await eventually('the last are gone', () => left().length === 64 || undefined);
  expect(harness.port.figures).toMatchObject({ open: 65, refused: 70 });
  for (const client of left()) client.socket.end('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await eventually('the others', () => left().length === 0 || undefined);
  await others(harness);
});

test('connections that say nothing are cut, the oldest first when they are many', async () => {
  await using harness = await served({ limits: { undecidedMax: 20, firstBytesTimeoutMs: 300 } });
  const silent = Array.from({ length: 60 }, () => raw(harness, false));
  silent[59]!.socket.write('PRI');
  await eventually(
    'the oldest are gone',
    () => silent.filter((client) => client.isClosed).length >= 40 || undefined,
  );
  await others(harness);
  await Promise.all(silent.map((client) => client.closed));
  await others(harness);
});

test('an HTTP/1.1 client that sends its headers or its body one byte at a time is cut', async () => {
  await using harness = await served({
    limits: { headersTimeoutMs: 200, requestTimeoutMs: 400, sweepIntervalMs: 50 },
    http: (request, response) => {
      request.on('end', () => response.end()).resume();
    },
  });
  const slow = (start: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(harness.portNumber, '127.0.0.1');
      cleanups.push(() => socket.destroy());
      let text = '';
      socket.on('data', (chunk) => (text += String(chunk)));
      socket.on('error', () => undefined);
      socket.write(start);
      const timer = setInterval(() => socket.write('a'), 20);
      socket.on('close', () => {
        clearInterval(timer);
        resolve(text);
      });
    });
  const [headers, body] = await Promise.all([
    slow('GET / HTTP/1.1\r\nHost: a\r\nX: '),
    slow('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n'),
  ]);
  expect([headers, body].map((text) => text.slice(0, 12))).toEqual(['HTTP/1.1 408', 'HTTP/1.1 408']);
  await others(harness);
});

test('headers of HTTP/1.1 beyond 16 KiB are refused', async () => {
  await using harness = await served();
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(harness.portNumber, '127.0.0.1');
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.on('close', () => resolve(text));
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`);
  });
  expect(answer.slice(0, 12)).toBe('HTTP/1.1 431');
  await others(harness);
});

test('a handler hears who calls', async () => {
  await using harness = await served();
  const peers: string[] = [];
  harness.server.unary('/t.S/Who', async (request, call) => {
    peers.push(call.peer);
    return request;
  });
  await harness.unaryBytes('/t.S/Who', Buffer.alloc(0), { metadata: { 'conclave-call': '1' } });
  expect(peers[0]).toMatch(/^127\.0\.0\.1:\d+$/);
});
