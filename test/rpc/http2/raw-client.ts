import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodeFields, type Field } from '../../../src/rpc/http2/hpack.ts';
import {
  FRAME_HEAD_BYTES,
  frameFlag,
  frameType,
  PREFACE,
  writeFrameHead,
} from '../../../src/rpc/http2/protocol.ts';

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** A client that sends exactly the frames it is told to, good or bad. */
export class RawClient {
  readonly frames: Frame[] = [];
  readonly #socket: Socket;
  #held: Buffer = Buffer.alloc(0);
  #waiters: (() => void)[] = [];
  closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** Connected, nothing said yet. */
  static async dial(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay(true);
    return new RawClient(socket);
  }

  /** Connected and greeted; `settings` are pairs of number and value. */
  static async open(port: number, settings: readonly (readonly [number, number])[] = []): Promise<RawClient> {
    const client = await RawClient.dial(port);
    client.write(PREFACE);
    client.settings(settings);
    await client.frame((frame) => frame.type === frameType.settings && (frame.flags & frameFlag.ack) !== 0);
    return client;
  }

  write(bytes: Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  send(frame: Omit<Frame, 'payload'> & { readonly payload?: Buffer }): void {
    this.write(frameBytes(frame));
  }

  settings(pairs: readonly (readonly [number, number])[]): void {
    const payload = Buffer.alloc(pairs.length * 6);
    for (const [at, [name, value]] of pairs.entries()) {
      payload.writeUInt16BE(name, at * 6);
      payload.writeUInt32BE(value, at * 6 + 2);
    }
    this.send({ type: frameType.settings, flags: 0, streamId: 0, payload });
  }

  /** A whole unary request. */
  call(
    streamId: number,
    path: string,
    options: { readonly message?: Buffer; readonly fields?: readonly Field[] } = {},
  ): void {
    this.write(
      Buffer.concat([
        headersBytes(streamId, requestFields(path, options.fields)),
        dataBytes(streamId, options.message ?? Buffer.alloc(0)),
      ]),
    );
  }

  windowUpdate(streamId: number, bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(bytes);
    this.send({ type: frameType.windowUpdate, flags: 0, streamId, payload });
  }

  reset(streamId: number): void {
    const payload = Buffer.from([0, 0, 0, 8]);
    this.send({ type: frameType.rstStream, flags: 0, streamId, payload });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The first frame that fits, come or yet to come. */
  async frame(fits: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(fits);
      if (found !== undefined) return found;
      if (this.closed) throw new Error('the connection ended without such a frame');
      await this.#next();
    }
  }

  /** The code of the GOAWAY with which the server ends the connection. */
  async goaway(): Promise<number> {
    const { payload } = await this.frame((frame) => frame.type === frameType.goaway);
    await this.ended();
    return payload.readUInt32BE(4);
  }

  async ended(): Promise<void> {
    while (!this.closed) await this.#next();
  }

  /** The code with which the server reset a stream. */
  async resetCode(streamId: number): Promise<number> {
    const { payload } = await this.frame(
      (frame) => frame.type === frameType.rstStream && frame.streamId === streamId,
    );
    return payload.readUInt32BE(0);
  }

  /** Waits for the last frame of a stream, and returns what it held: DATA, and the text of its trailers. */
  async answer(streamId: number): Promise<{ readonly data: Buffer; readonly trailers: string }> {
    const last = await this.frame(
      (frame) =>
        frame.streamId === streamId &&
        frame.type === frameType.headers &&
        (frame.flags & frameFlag.endStream) !== 0,
    );
    return { data: this.data(streamId), trailers: last.payload.toString('latin1') };
  }

  /** All DATA of a stream so far. */
  data(streamId: number): Buffer {
    const parts = this.frames.filter((frame) => frame.type === frameType.data && frame.streamId === streamId);
    return Buffer.concat(parts.map((frame) => frame.payload));
  }

  /** Waits until everything that was sent has been handled: answers to a PING come in order. */
  async handled(): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(++this.#pings);
    this.send({ type: frameType.ping, flags: 0, streamId: 0, payload });
    await this.frame((frame) => frame.type === frameType.ping && frame.payload.equals(payload));
  }
  #pings = 0;

  destroy(): void {
    this.#socket.destroy();
  }

  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #read(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#held, chunk]);
    while (bytes.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + bytes.readUIntBE(0, 3);
      if (bytes.length < end) break;
      this.frames.push({
        type: bytes[3]!,
        flags: bytes[4]!,
        streamId: bytes.readUInt32BE(5),
        payload: bytes.subarray(FRAME_HEAD_BYTES, end),
      });
      bytes = bytes.subarray(end);
    }
    this.#held = bytes;
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

export function requestFields(path: string, more: readonly Field[] = []): readonly Field[] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'test'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ];
}

export function frameBytes(frame: Omit<Frame, 'payload'> & { readonly payload?: Buffer }): Buffer {
  const payload = frame.payload ?? Buffer.alloc(0);
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + payload.length);
  writeFrameHead(bytes, 0, { ...frame, bytes: payload.length });
  payload.copy(bytes, FRAME_HEAD_BYTES);
  return bytes;
}

export function headersBytes(
  streamId: number,
  fields: readonly Field[],
  flags: number = frameFlag.endHeaders,
): Buffer {
  return frameBytes({ type: frameType.headers, flags, streamId, payload: encodeFields(fields) });
}

/** One message as one DATA frame that ends the request. */
export function dataBytes(streamId: number, message: Buffer, flags: number = frameFlag.endStream): Buffer {
  return frameBytes({ type: frameType.data, flags, streamId, payload: prefixed(message) });
}

export function prefixed(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
