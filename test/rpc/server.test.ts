import { type EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import type grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import type { RpcCall, RpcWriter } from '../../src/rpc/server.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { failure, Harness } from './harness.ts';

const EMPTY = Buffer.alloc(0);
const identity = (bytes: Buffer): Buffer => bytes;

let harness: Harness;
beforeEach(async () => {
  harness = new Harness({
    receiveBytesMax: 100_000,
    http: (request, response) => {
      response.setHeader('content-type', 'text/plain');
      response.end(`${request.method} ${request.url}`);
    },
  });
  await harness.start();
});
afterEach(async () => {
  await harness[Symbol.asyncDispose]();
});

/** Resolves with the reason once the call's signal aborts. */
function aborted(call: RpcCall): Promise<StoreError> {
  return new Promise((resolve) => {
    call.signal.addEventListener('abort', () => resolve(call.signal.reason as StoreError), { once: true });
  });
}

describe('unary calls', () => {
  test('carry bytes, headers and trailers', async () => {
    harness.server.unary('/t.S/Echo', async (request, call) => {
      call.setTrailer('age-ms', '12');
      return Buffer.concat([request, Buffer.from(call.metadata('token') ?? 'none'), Buffer.from(call.path)]);
    });
    let trailers: unknown;
    const answer = await harness.unaryBytes('/t.S/Echo', Buffer.from('a'), {
      metadata: { token: 'T' },
      onCall: (call) => call.on('status', (status) => (trailers = status.metadata.get('age-ms'))),
    });
    expect(answer.toString()).toBe('aT/t.S/Echo');
    expect(trailers).toEqual(['12']);
    expect(harness.server.paths()).toEqual(['/t.S/Echo']);
  });

  test('fail with the status of an RpcError, of a StoreError, and of a bug', async () => {
    const bug = new Error('secret');
    harness.server.unary('/t.S/Fail', async (request) => {
      if (request.toString() === 'rpc') throw new RpcError(rpcStatus.notFound, 'naïve text');
      throw request.toString() === 'store' ? new StoreError('compacted', 'detail') : bug;
    });
    const fail = (how: string): Promise<unknown> =>
      failure(harness.unaryBytes('/t.S/Fail', Buffer.from(how)));
    expect(await fail('rpc')).toEqual({ code: 5, details: 'naïve text' });
    expect(await fail('store')).toEqual({
      code: 11,
      details: 'etcdserver: mvcc: required revision has been compacted',
    });
    expect(harness.bugs).toEqual([]);
    expect(await fail('bug')).toEqual({ code: 13, details: 'etcdserver: internal error' });
    expect(harness.bugs).toEqual([bug]);
  });

  test('abort their signal when the client goes away', async () => {
    let reason: Promise<StoreError> | undefined;
    const calls: { cancel(): void }[] = [];
    harness.server.unary('/t.S/Wait', async (_request, call) => {
      reason = aborted(call);
      calls[0]!.cancel();
      throw await reason;
    });
    const call = harness.unaryBytes('/t.S/Wait', EMPTY, { onCall: (made) => calls.push(made) });
    expect((await failure(call)).code).toBe(rpcStatus.canceled);
    expect((await reason)?.code).toBe('canceled');
  });

  test('are not ended early by a wall clock that jumps', async () => {
    let release!: () => void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const taken = new Promise<void>((resolve) => {
      harness.server.unary('/t.S/Held', async () => {
        resolve();
        await held;
        return EMPTY;
      });
    });
    harness.server.unary('/t.S/Late', async (_request, call) => {
      throw await aborted(call);
    });
    const answer = harness.unaryBytes('/t.S/Held', EMPTY, { deadlineMs: 60_000 });
    await taken;
    const { now } = Date;
    Date.now = () => now() + 3_600_000;
    try {
      const late = await failure(harness.unaryBytes('/t.S/Late', EMPTY, { deadlineMs: 100 }));
      expect(late.code).toBe(rpcStatus.deadlineExceeded);
    } finally {
      Date.now = now;
    }
    release();
    expect(await answer).toEqual(EMPTY);
  });

  test('abort their signal at the deadline', async () => {
    const reasons: Promise<StoreError>[] = [];
    harness.server.unary('/t.S/Wait', async (_request, call) => {
      expect(call.deadlineMs).toBeGreaterThan(performance.now() - 1000);
      reasons.push(aborted(call));
      throw await reasons[0]!;
    });
    // The client waits longer than the server: what it sees is the server's clock.
    const answer = await failure(harness.unaryBytes('/t.S/Wait', EMPTY, { metadata: {}, deadlineMs: 100 }));
    expect(answer.code).toBe(rpcStatus.deadlineExceeded);
    expect(['deadline-exceeded', 'canceled']).toContain((await reasons[0]!).code);
  });

  test('of an unknown method are unimplemented', async () => {
    const { code } = await failure(harness.unaryBytes('/t.S/Nothing', EMPTY));
    expect(code).toBe(rpcStatus.unimplemented);
  });

  test('larger than the limit are refused', async () => {
    harness.server.unary('/t.S/Echo', async (request) => request);
    expect(await harness.unaryBytes('/t.S/Echo', Buffer.alloc(100_000))).toHaveLength(100_000);
    const { code } = await failure(harness.unaryBytes('/t.S/Echo', Buffer.alloc(100_001)));
    expect(code).toBe(rpcStatus.resourceExhausted);
  });
});

describe('streams', () => {
  const open = (path: string): grpc.ClientDuplexStream<Buffer, Buffer> =>
    harness.client.makeBidiStreamRequest(path, identity, identity);
  const statusOf = (call: EventEmitter): Promise<grpc.StatusObject> => {
    call.on('error', () => undefined);
    return new Promise((resolve) => call.on('status', resolve));
  };

  test('answer while they are asked, and end with OK when the handler is done', async () => {
    harness.server.bidi('/t.S/Chat', async (requests, _call, out) => {
      for await (const request of requests) out.write(Buffer.from(`<${request.toString()}>`));
      out.write(Buffer.from('bye'));
    });
    const call = open('/t.S/Chat');
    const status = statusOf(call);
    call.write(Buffer.from('a'));
    const [first] = await once(call, 'data');
    call.write(Buffer.from('b'));
    const [second] = await once(call, 'data');
    call.end();
    const [third] = await once(call, 'data');
    expect([first, second, third].map(String)).toEqual(['<a>', '<b>', 'bye']);
    expect(await status).toMatchObject({ code: 0 });
  });

  test('a handler may stop reading early and still give its status', async () => {
    harness.server.bidi('/t.S/Chat', async (requests, call, out) => {
      for await (const request of requests) {
        out.write(request);
        break;
      }
      call.setTrailer('why', 'enough');
      throw new StoreError('no-leader');
    });
    const call = open('/t.S/Chat');
    const status = statusOf(call);
    call.write(Buffer.from('a'));
    const [first] = await once(call, 'data');
    expect(String(first)).toBe('a');
    const { code, details, metadata } = await status;
    expect({ code, details }).toEqual({ code: 14, details: 'etcdserver: no leader' });
    expect(metadata.get('why')).toEqual(['enough']);
  });

  test('a client that goes away aborts the signal and ends the requests', async () => {
    const ended = new Promise<string>((resolve) => {
      harness.server.bidi('/t.S/Chat', async (requests, call, out) => {
        const reason = aborted(call);
        for await (const request of requests) out.write(request);
        resolve((await reason).code);
      });
    });
    const call = open('/t.S/Chat');
    call.on('error', () => undefined);
    call.write(Buffer.from('a'));
    await once(call, 'data');
    call.cancel();
    expect(await ended).toBe('canceled');
  });

  test('a slow client makes the writer unwritable; it drains when the client reads', async () => {
    let writer: RpcWriter | undefined;
    let drains = 0;
    let written = 0;
    const blocked = new Promise<void>((resolve) => {
      harness.server.serverStream('/t.S/Flood', async (_request, _call, out) => {
        writer = out;
        out.onDrain(() => {
          drains += 1;
        });
        const block = Buffer.alloc(64 * 1024);
        while (out.writable) {
          out.write(block);
          written += 1;
        }
        resolve();
        await out.drained();
        expect(out.writable).toBe(true);
      });
    });
    const call = harness.client.makeServerStreamRequest('/t.S/Flood', identity, identity, EMPTY);
    const status = statusOf(call);
    await blocked;
    expect(writer!.writable).toBe(false);
    // Bounded: not more than the writer's bound and one message.
    expect(written).toBeLessThanOrEqual(18);
    let received = 0;
    call.on('data', () => {
      received += 1;
    });
    expect(await status).toMatchObject({ code: 0 });
    expect(received).toBe(written);
    expect(drains).toBe(1);
  });

  test('messages of no size are bounded by their number', async () => {
    let written = 0;
    const blocked = new Promise<void>((resolve) => {
      harness.server.serverStream('/t.S/Flood', async (_request, _call, out) => {
        for (; out.writable; written += 1) out.write(EMPTY);
        resolve();
        await out.drained();
      });
    });
    const call = harness.client.makeServerStreamRequest('/t.S/Flood', identity, identity, EMPTY);
    const status = statusOf(call);
    await blocked;
    // What the client's first window takes, five bytes each, has left; the bound and one wait.
    expect(written).toBe(Math.floor(65_535 / 5) + 32 * 1024 + 1);
    call.cancel();
    expect(await status).toMatchObject({ code: 1 });
  });

  test('closing the port ends streams as stopped and lets unary calls finish', async () => {
    let finish = (): void => undefined;
    const entered = new Promise<void>((resolve) => {
      harness.server.unary('/t.S/Slow', async (request) => {
        const gate = new Promise<void>((open) => {
          finish = open;
        });
        resolve();
        await gate;
        return request;
      });
    });
    harness.server.bidi('/t.S/Chat', async (requests, _call, out) => {
      for await (const request of requests) out.write(request);
    });
    const call = open('/t.S/Chat');
    const status = statusOf(call);
    call.write(Buffer.from('a'));
    await once(call, 'data');
    const slow = harness.unaryBytes('/t.S/Slow', Buffer.from('x'));
    await entered;
    const closed = harness.port.close({ graceMs: 10_000 });
    const { code, details } = await status;
    expect({ code, details }).toEqual({ code: 14, details: 'etcdserver: server stopped' });
    finish();
    expect((await slow).toString()).toBe('x');
    await closed;
  });
});

function http2Frame(frame: {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload?: string;
}): Buffer {
  const payload = Buffer.from(frame.payload ?? '', 'hex');
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = frame.type;
  head[4] = frame.flags;
  head.writeUInt32BE(frame.stream, 5);
  return Buffer.concat([head, payload]);
}

describe('the port', () => {
  test('serves HTTP/1.1 beside gRPC', async () => {
    harness.server.unary('/t.S/Echo', async (request) => request);
    const url = `http://${harness.address}`;
    expect(await (await fetch(`${url}/version`)).text()).toBe('GET /version');
    expect(await (await fetch(`${url}/health`, { method: 'POST', body: 'x' })).text()).toBe('POST /health');
    // Begins as HTTP/2's preface does.
    expect(await (await fetch(`${url}/p`, { method: 'PUT', body: 'x' })).text()).toBe('PUT /p');
    expect((await harness.unaryBytes('/t.S/Echo', Buffer.from('y'))).toString()).toBe('y');
  });

  test('tells protocols apart however the first bytes are cut', async () => {
    const socket = connect(harness.portNumber, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay(true);
    for (const part of ['P', 'AT', 'CH /split HTTP/1.1\r\n', 'host: a\r\nconnection: close\r\n\r\n']) {
      await new Promise((resolve) => socket.write(part, resolve));
    }
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toContain('PATCH /split');
  });

  test('a client that takes its request back in the same breath harms nobody', async () => {
    harness.server.unary('/t.S/Echo', async (request) => request);
    const socket = connect(harness.portNumber, '127.0.0.1');
    await once(socket, 'connect');
    const parts = [
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      http2Frame({ type: 4, flags: 0, stream: 0 }),
    ];
    for (let stream = 1; stream < 200; stream += 2) {
      // POST, http, /, authority a: of no content type. Then a reset.
      parts.push(http2Frame({ type: 1, flags: 4, stream, payload: '838684410161' }));
      parts.push(http2Frame({ type: 3, flags: 0, stream, payload: '00000008' }));
    }
    // A ping: what came before it was taken when it is answered.
    parts.push(http2Frame({ type: 6, flags: 0, stream: 0, payload: '0102030405060708' }));
    socket.write(Buffer.concat(parts));
    let heard = Buffer.alloc(0);
    for await (const chunk of socket) {
      heard = Buffer.concat([heard, chunk as Buffer]);
      if (heard.includes(Buffer.from('0102030405060708', 'hex'))) break;
    }
    socket.destroy();
    expect((await harness.unaryBytes('/t.S/Echo', Buffer.from('y'))).toString()).toBe('y');
  });

  test('a connection that closes without a word harms nobody', async () => {
    const socket = connect(harness.portNumber, '127.0.0.1');
    await once(socket, 'connect');
    socket.end();
    await once(socket, 'close');
    expect(await (await fetch(`http://${harness.address}/a`)).text()).toBe('GET /a');
  });

  test('names the address that is taken, and listens on none then', async () => {
    const second = new Harness();
    const error = await second.port
      .listen(['http://127.0.0.1:0', `http://${harness.address}`])
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StoreError);
    expect((error as StoreError).code).toBe('bad-options');
    expect((error as StoreError).message).toContain(`http://${harness.address}`);
    expect((error as StoreError).message).toContain('in use');
  });

  test.each(['127.0.0.1:2379', 'ftp://a:1', 'http://a', 'http://a:99999', 'http://a:1/path'])(
    'refuses the address %s',
    async (url) => {
      await expect(new Harness().port.listen([url])).rejects.toThrow(/bad-options.*is not an address/);
    },
  );

  test('https needs a certificate', async () => {
    await expect(new Harness().port.listen(['https://127.0.0.1:0'])).rejects.toThrow(/certificate/);
  });

  test('closing does not wait for connections that are idle or silent', async () => {
    harness.server.unary('/t.S/Echo', async (request) => request);
    await harness.unaryBytes('/t.S/Echo', EMPTY);
    const socket = connect(harness.portNumber, '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    // The answer's connection stays open for the next request.
    await (await fetch(`http://${harness.address}/a`)).text();
    await harness.port.close({ graceMs: 600_000 });
    await closed;
    await expect(fetch(`http://${harness.address}/a`)).rejects.toThrow();
  });
});
