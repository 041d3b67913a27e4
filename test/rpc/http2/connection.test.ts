import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Field } from '../../../src/rpc/http2/hpack.ts';
import { Outbox } from '../../../src/rpc/http2/outbox.ts';
import { errorCode, frameFlag, frameType, setting } from '../../../src/rpc/http2/protocol.ts';
import type { RpcWriter } from '../../../src/rpc/server.ts';
import { Harness } from '../harness.ts';
import { ECHO, RawConnections, RECEIVE_BYTES_MAX, WAIT } from './fixture.ts';
import { dataBytes, frameBytes, headersBytes, prefixed, RawClient, requestFields } from './raw-client.ts';

const connections = new RawConnections();
let harness: Harness;
beforeEach(() => {
  harness = connections.harness;
});

const open = (settings: readonly (readonly [number, number])[] = []): Promise<RawClient> =>
  connections.open(settings);

describe('requests', () => {
  test('are answered with headers, a message and trailers', async () => {
    const client = await open();
    client.call(1, ECHO, { message: Buffer.from('hello') });
    const { data, trailers } = await client.answer(1);
    expect(data).toEqual(prefixed(Buffer.from('hello')));
    expect(trailers).toContain('grpc-status');
    const kinds = client.frames.filter((frame) => frame.streamId === 1).map((frame) => frame.type);
    expect(kinds).toEqual([frameType.headers, frameType.data, frameType.headers]);
  });

  test('come cut into single bytes, padded, with priorities, continued, and between unknown frames', async () => {
    const client = await open();
    const block = headersBytes(1, requestFields(ECHO)).subarray(9);
    const padded = Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 7]), block.subarray(0, 4), Buffer.alloc(3)]);
    const body = prefixed(Buffer.from('abc'));
    const bytes = Buffer.concat([
      frameBytes({ type: 0xbe, flags: 0xff, streamId: 77, payload: Buffer.alloc(9) }),
      frameBytes({ type: frameType.priority, flags: 0, streamId: 9, payload: Buffer.alloc(5) }),
      frameBytes({
        type: frameType.headers,
        flags: frameFlag.padded | frameFlag.priority,
        streamId: 1,
        payload: padded,
      }),
      frameBytes({ type: frameType.continuation, flags: 0, streamId: 1, payload: block.subarray(4, 7) }),
      frameBytes({
        type: frameType.continuation,
        flags: frameFlag.endHeaders,
        streamId: 1,
        payload: block.subarray(7),
      }),
      frameBytes({ type: frameType.data, flags: 0, streamId: 1, payload: body.subarray(0, 2) }),
      frameBytes({
        type: frameType.data,
        flags: frameFlag.padded,
        streamId: 1,
        payload: Buffer.concat([Buffer.from([200]), body.subarray(2), Buffer.alloc(200)]),
      }),
      // Trailers end the request.
      headersBytes(1, [['x', 'y']], frameFlag.endHeaders | frameFlag.endStream),
    ]);
    for (const byte of bytes) client.write(Buffer.from([byte]));
    expect((await client.answer(1)).data).toEqual(body);
  });

  const GZIP = requestFields(ECHO, [['grpc-encoding', 'gzip']]);
  const compressed = (message: Buffer): Buffer =>
    Buffer.concat([Buffer.of(1), prefixed(gzipSync(message)).subarray(1)]);
  const two = Buffer.concat([prefixed(Buffer.from('a')), prefixed(Buffer.from('b'))]);

  test.each<[string, string, readonly Field[], Buffer]>([
    [
      'larger than allowed, once decompressed',
      'larger than max',
      GZIP,
      compressed(Buffer.alloc(RECEIVE_BYTES_MAX + 1)),
    ],
    ['compressed, and are not', 'failed to decompress', GZIP, Buffer.of(1, 0, 0, 0, 3, 97, 98, 99)],
    [
      'compressed without saying how',
      'compressed flag set',
      requestFields(ECHO),
      compressed(Buffer.from('x')),
    ],
    [
      'compressed in a way that is not known',
      'Decompressor is not installed',
      requestFields(ECHO, [['grpc-encoding', 'br']]),
      compressed(Buffer.from('x')),
    ],
    ['of a unary method and have no message', 'no request', requestFields(ECHO), Buffer.alloc(0)],
    ['cut short within a message', 'within a message', requestFields(ECHO), Buffer.of(0, 0, 0, 0, 9, 1)],
    ['of a unary method and have two messages', 'second request', requestFields(ECHO), two],
  ])('that are %s fail: %s', async (_, text, fields, payload) => {
    const client = await open();
    client.write(headersBytes(1, fields));
    client.send({ type: frameType.data, flags: frameFlag.endStream, streamId: 1, payload });
    expect((await client.answer(1)).trailers).toContain(text);
    // Nothing else does.
    client.write(headersBytes(3, GZIP));
    const good = compressed(Buffer.from('squeezed'));
    client.send({ type: frameType.data, flags: frameFlag.endStream, streamId: 3, payload: good });
    expect((await client.answer(3)).data.subarray(5).toString()).toBe('squeezed');
  });

  test.each([
    [
      'another method',
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', ECHO],
      ],
      '405',
    ],
    [
      'another content type',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', ECHO],
        ['content-type', 'text/html'],
      ],
      '415',
    ],
    [
      'no content type',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', ECHO],
      ],
      '415',
    ],
  ] as const)('with %s are refused as HTTP', async (_, fields, status) => {
    const client = await open();
    client.write(headersBytes(1, fields, frameFlag.endHeaders | frameFlag.endStream));
    expect((await client.answer(1)).trailers).toContain(status);
  });

  test.each([
    [
      'no path',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
      ],
    ],
    [
      'a pseudo field after the others',
      [
        [':method', 'POST'],
        ['a', 'b'],
        [':scheme', 'http'],
        [':path', ECHO],
      ],
    ],
    ['an unknown pseudo field', [...requestFields(ECHO).slice(0, 4), [':status', '200']]],
    ['a pseudo field twice', [[':path', ECHO], ...requestFields(ECHO)]],
    ['capitals in a name', [...requestFields(ECHO), ['Upper', 'x']]],
    ['a field of HTTP/1.1', [...requestFields(ECHO), ['connection', 'close']]],
    ['a line feed in a value', [...requestFields(ECHO), ['a', 'x\ny']]],
  ] as const)('with %s lose their stream only', async (_, fields) => {
    const client = await open();
    client.write(headersBytes(1, fields, frameFlag.endHeaders | frameFlag.endStream));
    expect(await client.resetCode(1)).toBe(errorCode.protocolError);
    client.call(3, ECHO, { message: Buffer.from('x') });
    await client.answer(3);
  });

  test('that end with their head have no message', async () => {
    const client = await open();
    client.write(headersBytes(1, requestFields(ECHO), frameFlag.endHeaders | frameFlag.endStream));
    expect((await client.answer(1)).trailers).toContain('no request');
  });

  test('with DATA after their end lose their stream', async () => {
    const client = await open();
    client.call(1, WAIT);
    client.write(dataBytes(1, Buffer.from('more'), 0));
    expect(await client.resetCode(1)).toBe(errorCode.streamClosed);
    // What still comes for a stream that is over was on its way.
    client.write(dataBytes(1, Buffer.from('more'), 0));
    client.windowUpdate(1, 5);
    client.reset(1);
    client.call(3, ECHO);
    await client.answer(3);
  });

  test('carry header fields as any client encodes them, however often', async () => {
    harness.server.unary('/t.S/Fields', async (_, call) =>
      Buffer.from(`${call.metadata('token')}/${call.metadata('odd')}`),
    );
    const client = connectHttp2(`http://${harness.address}`);
    try {
      for (let i = 0; i < 5; i++) {
        const stream = client.request({
          ':method': 'POST',
          ':path': '/t.S/Fields',
          'content-type': 'application/grpc',
          token: 'T'.repeat(100 * i),
          odd: '~!@#$ %^&*()'.repeat(i),
        });
        stream.end(prefixed(Buffer.alloc(0)));
        const parts: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => parts.push(chunk));
        await once(stream, 'end');
        expect(Buffer.concat(parts).subarray(5).toString()).toBe(
          `${'T'.repeat(100 * i)}/${'~!@#$ %^&*()'.repeat(i)}`,
        );
      }
    } finally {
      client.destroy();
    }
  });
});

describe('flow control', () => {
  test('an answer larger than the windows comes as they open, in frames no larger than the client takes', async () => {
    const answer = Buffer.alloc(200_000, 'v');
    harness.server.unary('/t.S/Large', async () => answer);
    const client = await open([[setting.initialWindowSize, 1_000]]);
    client.call(1, '/t.S/Large');
    await client.handled();
    expect(client.data(1)).toHaveLength(1_000);
    client.windowUpdate(1, 500);
    await client.handled();
    expect(client.data(1)).toHaveLength(1_500);
    // A change of the initial window counts for streams that are open (RFC 9113, 6.9.2).
    client.settings([[setting.initialWindowSize, 101_000]]);
    await client.handled();
    expect(client.data(1)).toHaveLength(65_535);
    client.windowUpdate(0, 1_000_000);
    await client.handled();
    expect(client.data(1)).toHaveLength(101_500);
    client.settings([[setting.initialWindowSize, 1_000]]);
    client.windowUpdate(1, 90_000);
    await client.handled();
    expect(client.data(1)).toHaveLength(101_500);
    client.windowUpdate(1, 1_000_000);
    expect((await client.answer(1)).data).toEqual(prefixed(answer));
    expect(Math.max(...client.frames.map((frame) => frame.payload.length))).toBeLessThanOrEqual(16_384);
  });

  test('small messages keep their place behind a large one that waits for its window', async () => {
    const messages = [Buffer.from('a'), Buffer.alloc(5_000, 'b'), Buffer.from('c'), Buffer.alloc(0)];
    harness.server.serverStream('/t.S/Several', async (_request, _call, out) => {
      for (const message of messages) out.write(message);
    });
    const client = await open([[setting.initialWindowSize, 1_000]]);
    client.call(1, '/t.S/Several');
    await client.handled();
    expect(client.data(1)).toHaveLength(1_000);
    client.windowUpdate(1, 5);
    await client.handled();
    expect(client.data(1)).toHaveLength(1_005);
    client.windowUpdate(1, 1_000_000);
    expect((await client.answer(1)).data).toEqual(Buffer.concat(messages.map(prefixed)));
  });

  test('larger frames are sent to clients that take them', async () => {
    harness.server.unary('/t.S/Large', async () => Buffer.alloc(60_000));
    const client = await open([[setting.maxFrameSize, 65_536]]);
    client.call(1, '/t.S/Large');
    await client.answer(1);
    expect(Math.max(...client.frames.map((frame) => frame.payload.length))).toBe(60_005);
  });

  test('a request larger than the first window is taken, as its window is opened again', async () => {
    const client = await open();
    const body = prefixed(Buffer.alloc(1_900_000, 'r'));
    client.write(headersBytes(1, requestFields(ECHO)));
    // Half of the window that a stream has at first, so that nothing is sent beyond it.
    const step = 8_192;
    for (let at = 0; at < body.length; at += step) {
      if (at > 0 && at % (64 * step) === 0) await client.handled();
      const payload = body.subarray(at, at + step);
      const flags = at + step >= body.length ? frameFlag.endStream : 0;
      client.send({ type: frameType.data, flags, streamId: 1, payload });
    }
    client.windowUpdate(0, 10_000_000);
    client.windowUpdate(1, 10_000_000);
    expect((await client.answer(1)).data).toHaveLength(body.length);
  });

  test('a stream whose requests nobody takes is held back, then fails when the client ignores that', async () => {
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    let taken = 0;
    harness.server.bidi('/t.S/Slow', async (requests) => {
      await gate;
      for await (const request of requests) taken += request.length;
    });
    const client = await open();
    client.write(headersBytes(1, requestFields('/t.S/Slow')));
    const message = Buffer.alloc(16_379);
    const sent = 150;
    for (let i = 0; i < sent; i++) client.write(dataBytes(1, message, 0));
    expect(await client.resetCode(1)).toBe(errorCode.flowControlError);
    go();
    expect(taken).toBe(0);
  });

  test('a client that does not read makes its own calls fail, and no others', async () => {
    harness.server.unary('/t.S/Large', async () => Buffer.alloc(8_000_000));
    const client = await open([[setting.initialWindowSize, 0]]);
    for (let i = 0; i < 10; i++) client.call(1 + 2 * i, '/t.S/Large');
    await client.handled();
    client.call(101, '/t.S/Large');
    expect((await client.answer(101)).trailers).toContain('does not read its answers');
    await connections.expectServing();
  });

  test('a stream window that overflows ends the stream', async () => {
    const client = await open();
    client.call(1, WAIT);
    client.windowUpdate(1, 2 ** 31 - 1);
    expect(await client.resetCode(1)).toBe(errorCode.flowControlError);
    client.call(3, WAIT);
    client.windowUpdate(3, 0);
    expect(await client.resetCode(3)).toBe(errorCode.protocolError);
  });
});

describe('the end', () => {
  test('of the server: no new streams, the open ones finish, then the connection closes', async () => {
    let finish = (): void => {};
    const entered = new Promise<void>((resolve) => {
      harness.server.unary('/t.S/Slow', async (request) => {
        resolve();
        await new Promise<void>((done) => {
          finish = done;
        });
        return request;
      });
    });
    const client = await open();
    client.call(1, '/t.S/Slow', { message: Buffer.from('x') });
    await entered;
    const closed = harness.port.close({ graceMs: 10_000 });
    await client.frame((frame) => frame.type === frameType.goaway);
    client.call(3, ECHO);
    expect(await client.resetCode(3)).toBe(errorCode.refusedStream);
    finish();
    expect((await client.answer(1)).data.subarray(5).toString()).toBe('x');
    await client.ended();
    await closed;
  });

  test('of a client: streams are canceled, however it goes', async () => {
    const reasons: Promise<unknown>[] = [];
    let entered: () => void = () => {};
    harness.server.unary('/t.S/Noted', async (_, call) => {
      reasons.push(
        new Promise((resolve) => call.signal.addEventListener('abort', () => resolve(call.signal.reason))),
      );
      entered();
      await reasons.at(-1);
      return Buffer.alloc(0);
    });
    const goes: readonly ((client: RawClient) => void)[] = [
      (client) => client.destroy(),
      (client) => client.reset(1),
      (client) => client.send({ type: frameType.headers, flags: 4, streamId: 2 }),
    ];
    for (const go of goes) {
      const client = await open();
      const inside = new Promise<void>((resolve) => {
        entered = resolve;
      });
      client.call(1, '/t.S/Noted');
      await inside;
      go(client);
      expect(await reasons.at(-1)).toMatchObject({ code: 'canceled' });
    }
  });

  test('streams beyond the allowed number are refused', async () => {
    await using narrow = await new Harness({ concurrentStreamsMax: 2 }).start();
    const writers: RpcWriter[] = [];
    narrow.server.bidi('/t.S/Chat', async (requests, _, out) => {
      writers.push(out);
      for await (const request of requests) out.write(request);
    });
    const client = await RawClient.open(narrow.portNumber);
    connections.adopt(client);
    for (const streamId of [1, 3, 5]) client.write(headersBytes(streamId, requestFields('/t.S/Chat')));
    expect(await client.resetCode(5)).toBe(errorCode.refusedStream);
    expect(writers).toHaveLength(2);
    client.send({ type: frameType.data, flags: frameFlag.endStream, streamId: 1 });
    await client.answer(1);
    client.write(headersBytes(7, requestFields('/t.S/Chat')));
    client.write(dataBytes(7, Buffer.from('in')));
    expect((await client.answer(7)).data.subarray(5).toString()).toBe('in');
  });

  test('a client that is silent is pinged, and cut when it does not answer', async () => {
    await using strict = await new Harness({ keepaliveIntervalMs: 1, keepaliveTimeoutMs: 1 }).start();
    const client = await RawClient.open(strict.portNumber);
    connections.adopt(client);
    await client.frame((frame) => frame.type === frameType.ping && frame.flags === 0);
    await client.ended();
  });
});

describe('a connection costs others no more than it is worth', () => {
  test('changes of the window on thousands of streams count for as many frames', async () => {
    harness.server.unary('/t.S/Never', () => new Promise<Buffer>(() => undefined));
    const client = await open();
    for (let i = 0; i < 1_900; i++) client.call(1 + 2 * i, '/t.S/Never');
    await client.handled();
    // Each frame changes it 2,700 times.
    for (let frame = 0; frame < 300; frame++) {
      client.settings(
        Array.from({ length: 2_700 }, (_, i) => [setting.initialWindowSize, 70_000 + frame + i] as const),
      );
    }
    // Of frames alone there were far too few for that.
    expect(await client.goaway()).toBe(errorCode.enhanceYourCalm);
  });

  test('what it leaves unread keeps nothing alive that was sent to others', async () => {
    const socket = new Unread();
    const stuck = new Outbox(socket);
    const other = new Outbox(new Unread());
    for (let i = 0; i < 1_000; i++) {
      for (const outbox of [stuck, other]) {
        const offset = outbox.reserve(outbox === stuck ? 17 : 30_000);
        outbox.room.fill(i, offset, offset + 17);
      }
      await setImmediate();
    }
    socket.read();
    const sent = Buffer.concat(socket.chunks);
    expect(sent).toHaveLength(17_000);
    for (let i = 0; i < 1_000; i++) expect(sent[i * 17]).toBe(i % 256);
    const backing = new Set(socket.chunks.map((chunk) => chunk.buffer));
    const pinnedBytes = [...backing].reduce((bytes, buffer) => bytes + buffer.byteLength, 0);
    expect(pinnedBytes).toBeLessThan(256 * 1024);
  });
});

/** A socket whose other end reads nothing until it is told to. */
class Unread extends Writable {
  readonly chunks: Buffer[] = [];
  #taken: (() => void) | null = null;

  override write(chunk: Buffer, ...rest: []): boolean {
    this.chunks.push(chunk);
    return super.write(chunk, ...rest);
  }

  override _write(_chunk: Buffer, _encoding: string, taken: () => void): void {
    this.#taken = taken;
  }

  override _writev(_chunks: unknown, taken: () => void): void {
    this.#taken = taken;
  }

  /** Takes everything. */
  read(): void {
    for (let taken = this.#taken; taken !== null; taken = this.#taken) {
      this.#taken = null;
      taken();
    }
  }
}
