import { connect, type Socket } from 'node:net';

/** Frames of HTTP/2 (RFC 9113) made by hand: what no well-behaved client sends. */

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const FLAG = { endStream: 1, endHeaders: 4 } as const;
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export interface Frame {
  readonly type: number;
  readonly flags?: number;
  readonly stream?: number;
  readonly payload?: Buffer;
}

export function encodeFrame({ type, flags = 0, stream = 0, payload = Buffer.alloc(0) }: Frame): Buffer {
  const frame = Buffer.alloc(9 + payload.length);
  frame.writeUIntBE(payload.length, 0, 3);
  frame[3] = type;
  frame[4] = flags;
  frame.writeUInt32BE(stream, 5);
  payload.copy(frame, 9);
  return frame;
}

/** A header block of literals that are never indexed (RFC 7541, 6.2.3). */
export function headerBlock(headers: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0x10), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push(0x80 | (rest % 128));
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** The headers of a gRPC call. */
export function callHeaders(
  path: string,
  more: readonly (readonly [string, string])[] = [],
): readonly (readonly [string, string])[] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'a'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ];
}

/** One connection that speaks in frames. */
export class RawHttp2 {
  readonly socket: Socket;
  readonly received: { readonly type: number; readonly stream: number; readonly payload: Buffer }[] = [];
  readonly closed: Promise<void>;
  isClosed = false;
  #held: Buffer = Buffer.alloc(0);

  /** @param greet whether the preface and settings are sent */
  constructor(port: number, greet = true) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        this.isClosed = true;
        resolve();
      });
    });
    this.socket.on('data', (chunk) => this.#take(chunk));
    if (greet)
      this.socket.write(Buffer.concat([Buffer.from(PREFACE), encodeFrame({ type: FRAME.settings })]));
  }

  send(...frames: readonly Frame[]): boolean {
    return this.socket.write(Buffer.concat(frames.map(encodeFrame)));
  }

  /** Opens a call; its request is still to come. */
  open(stream: number, path: string, more: readonly (readonly [string, string])[] = []): void {
    const payload = headerBlock(callHeaders(path, more));
    this.send({ type: FRAME.headers, flags: FLAG.endHeaders, stream, payload });
  }

  /** Resolves once the server has taken most of what was sent, or the connection is closed. */
  async taken(): Promise<void> {
    while (this.socket.writableLength > 262_144 && !this.isClosed) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Error code and text of the server's farewell, or null. */
  get goaway(): { readonly code: number; readonly text: string } | null {
    const frame = this.received.find(({ type }) => type === FRAME.goaway);
    if (frame === undefined) return null;
    return { code: frame.payload.readUInt32BE(4), text: frame.payload.subarray(8).toString('latin1') };
  }

  of(type: number): readonly { readonly stream: number; readonly payload: Buffer }[] {
    return this.received.filter((frame) => frame.type === type);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#held, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      this.received.push({
        type: bytes[3]!,
        stream: bytes.readUInt32BE(5),
        payload: Buffer.from(bytes.subarray(9, end)),
      });
      bytes = bytes.subarray(end);
    }
    this.#held = bytes;
  }
}
