import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodeFields, HpackDecoder } from '../../src/rpc/http2/hpack.ts';
import { MESSAGE_HEAD_BYTES, MessageReader } from '../../src/rpc/http2/message-reader.ts';
import {
  FRAME_BYTES_MAX,
  FRAME_HEAD_BYTES,
  frameFlag,
  frameType,
  PREFACE,
  setting,
  WINDOW_BYTES_DEFAULT,
  WINDOW_BYTES_MAX,
  writeFrameHead,
} from '../../src/rpc/http2/protocol.ts';

/** One answer at most; loads ask for small ones. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
const HEADER_LIST_BYTES_MAX = 64 * 1024;
/** Header blocks of answers whose meaning is remembered: a server has few different ones. */
const BLOCKS_KEPT = 1_000;
/** The server may send on while this much of what it sent has not been granted anew. */
const GRANT_BYTES = 1024 * 1024 * 1024;
const OK = 0;

/** What a stream tells its opener. */
export interface StreamListener {
  /** One message of the server, valid until the call returns. */
  message(bytes: Buffer): void;
  /** The server has ended the stream, or the connection is gone: a gRPC status, or null without one. */
  end(status: number | null): void;
}

interface OpenStream {
  /** 0 = the server takes no more streams yet. */
  id: number;
  readonly path: string;
  readonly listener: StreamListener;
  readonly reader: MessageReader;
  window: number;
  readonly waiting: { readonly payload: Buffer; readonly last: boolean }[];
}

/** A call that the server answered with another status than OK, or not at all. */
export class CallFailed extends Error {
  override readonly name = 'CallFailed';
  /** gRPC's number; null when the connection ended first, or the server reset the call. */
  readonly status: number | null;

  constructor(status: number | null) {
    super(status === null ? 'the call was cut off' : `the call ended with status ${status}`);
    this.status = status;
  }
}

/**
 * A gRPC client for load: one connection, a few microseconds a message, so that what is measured is the server. It
 * grants the server all the window there is, and asks for header blocks that stand alone.
 */
export class GrpcConnection {
  readonly #socket: Socket;
  readonly #authority: string;
  readonly #headers = new Map<string, Buffer>();
  readonly #decoder = new HpackDecoder({ listBytesMax: HEADER_LIST_BYTES_MAX });
  readonly #statuses = new Map<string, number | null>();
  readonly #streams = new Map<number, OpenStream>();
  /** Of streams that wait for the connection's window, in order. */
  #blocked: OpenStream[] = [];
  #window = WINDOW_BYTES_DEFAULT;
  #streamWindow = WINDOW_BYTES_DEFAULT;
  #receivedBytes = 0;
  #nextId = 1;
  /** At a time, as the server says. */
  #streamsMax = Number.POSITIVE_INFINITY;
  readonly #unopened: OpenStream[] = [];
  #held: Buffer = Buffer.alloc(0);
  #corked = false;
  #closed = false;

  private constructor(socket: Socket, authority: string) {
    this.#socket = socket;
    this.#authority = authority;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#fail());
  }

  /** @param url `http://host:port` @throws Error when nothing listens there */
  static async open(url: string): Promise<GrpcConnection> {
    const { hostname, port, host } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    const connection = new GrpcConnection(socket, host);
    connection.#greet();
    return connection;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** One request, one answer. @throws CallFailed */
  call(path: string, message: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let answer: Buffer | null = null;
      const listener: StreamListener = {
        message: (bytes) => {
          answer = Buffer.from(bytes);
        },
        end: (status) => {
          if (status === OK && answer !== null) resolve(answer);
          else reject(new CallFailed(status));
        },
      };
      this.#send(this.#open(path, listener), { payload: payloadOf(message), last: true });
    });
  }

  /** Opens a stream of messages both ways. @returns what sends one */
  stream(path: string, listener: StreamListener): (message: Buffer) => void {
    const open = this.#open(path, listener);
    return (message) => this.#send(open, { payload: payloadOf(message), last: false });
  }

  /** One request, many answers. */
  answers(path: string, message: Buffer, listener: StreamListener): void {
    this.#send(this.#open(path, listener), { payload: payloadOf(message), last: true });
  }

  close(): void {
    this.#socket.destroy();
  }

  #greet(): void {
    const settings = Buffer.alloc(3 * 6);
    const values = [
      [setting.headerTableSize, 0],
      [setting.enablePush, 0],
      [setting.initialWindowSize, WINDOW_BYTES_MAX],
    ] as const;
    for (const [at, [name, value]] of values.entries()) {
      settings.writeUInt16BE(name, at * 6);
      settings.writeUInt32BE(value, at * 6 + 2);
    }
    this.#write(PREFACE);
    this.#write(frame(frameType.settings, { payload: settings }));
    this.#grant(WINDOW_BYTES_MAX - WINDOW_BYTES_DEFAULT);
  }

  /** Streams beyond the server's limit wait until others have ended. */
  #open(path: string, listener: StreamListener): OpenStream {
    const reader = new MessageReader({
      bytesMax: ANSWER_BYTES_MAX,
      compressed: false,
      // What a load asks for, it has room for.
      admit: () => undefined,
      take: (bytes) => listener.message(bytes),
    });
    const open: OpenStream = { id: 0, path, listener, reader, window: 0, waiting: [] };
    if (this.#closed) process.nextTick(() => listener.end(null));
    else if (this.#streams.size < this.#streamsMax) this.#start(open);
    else this.#unopened.push(open);
    return open;
  }

  #start(open: OpenStream): void {
    open.id = this.#nextId;
    this.#nextId += 2;
    open.window = this.#streamWindow;
    this.#streams.set(open.id, open);
    const payload = this.#headersOf(open.path);
    this.#write(frame(frameType.headers, { flags: frameFlag.endHeaders, streamId: open.id, payload }));
    this.#flush(open);
  }

  #headersOf(path: string): Buffer {
    let block = this.#headers.get(path);
    if (block === undefined) {
      block = encodeFields([
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', path],
        [':authority', this.#authority],
        ['content-type', 'application/grpc'],
        ['te', 'trailers'],
      ]);
      this.#headers.set(path, block);
    }
    return block;
  }

  /** Sends a DATA frame once the stream is open and both windows are. */
  #send(stream: OpenStream, data: OpenStream['waiting'][number]): void {
    stream.waiting.push(data);
    if (stream.waiting.length === 1) this.#flush(stream);
  }

  #flush(stream: OpenStream): void {
    const { id: streamId, waiting } = stream;
    while (streamId !== 0 && waiting.length > 0) {
      const { payload, last } = waiting[0]!;
      if (payload.length > stream.window) return;
      if (payload.length > this.#window) {
        if (!this.#blocked.includes(stream)) this.#blocked.push(stream);
        return;
      }
      stream.window -= payload.length;
      this.#window -= payload.length;
      waiting.shift();
      this.#write(frame(frameType.data, { flags: last ? frameFlag.endStream : 0, streamId, payload }));
    }
  }

  /** What one turn of the loop writes goes out in one system call. */
  #write(bytes: Buffer): void {
    if (this.#closed) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(bytes);
  }

  #grant(bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(bytes);
    this.#write(frame(frameType.windowUpdate, { payload }));
  }

  #take(chunk: Buffer): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    let at = 0;
    while (bytes.length - at >= FRAME_HEAD_BYTES) {
      const end = at + FRAME_HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (bytes.length < end) break;
      this.#frame(bytes[at + 3]!, {
        flags: bytes[at + 4]!,
        streamId: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + FRAME_HEAD_BYTES, end),
      });
      at = end;
    }
    this.#held = at === bytes.length ? Buffer.alloc(0) : bytes.subarray(at);
  }

  #frame(type: number, rest: Required<FrameRest>): void {
    const { flags, streamId, payload } = rest;
    const stream = this.#streams.get(streamId);
    if (type === frameType.data) this.#data(stream, payload);
    else if (type === frameType.headers) this.#headersCame(rest);
    else if (type === frameType.windowUpdate) this.#windowUpdate(stream, { streamId, payload });
    else if (type === frameType.settings) this.#settings(flags, payload);
    else if (type === frameType.ping && (flags & frameFlag.ack) === 0) {
      this.#write(frame(frameType.ping, { flags: frameFlag.ack, payload: Buffer.from(payload) }));
    }
    const ended =
      type === frameType.rstStream ||
      ((type === frameType.data || type === frameType.headers) && (flags & frameFlag.endStream) !== 0);
    // Trailers have ended it already when they carried a status.
    if (ended) this.#end(streamId, null);
  }

  #data(stream: OpenStream | undefined, payload: Buffer): void {
    this.#receivedBytes += payload.length;
    if (this.#receivedBytes >= GRANT_BYTES) {
      this.#grant(this.#receivedBytes);
      this.#receivedBytes = 0;
    }
    if (stream === undefined) return;
    // Most frames hold one message: no view of it but the one that is handed over.
    if (!stream.reader.isPartial && payload[0] === 0 && isWhole(payload)) {
      stream.listener.message(payload.subarray(MESSAGE_HEAD_BYTES));
    } else stream.reader.push(payload);
  }

  /** @throws Error for a block in pieces: no server has that much to say here */
  #headersCame({ flags, streamId, payload }: Required<FrameRest>): void {
    if ((flags & frameFlag.endHeaders) === 0) throw new Error('a header block in pieces');
    const status = this.#statusIn(payload);
    if ((flags & frameFlag.endStream) !== 0) this.#end(streamId, status);
  }

  /** The gRPC status that a header block carries. */
  #statusIn(block: Buffer): number | null {
    const key = block.toString('latin1');
    const known = this.#decoder.stateless ? this.#statuses.get(key) : undefined;
    if (known !== undefined) return known;
    const text = this.#decoder.decode(block).find(([name]) => name === 'grpc-status')?.[1];
    const status = text === undefined ? null : Number(text);
    if (this.#decoder.stateless && this.#statuses.size < BLOCKS_KEPT) this.#statuses.set(key, status);
    return status;
  }

  #windowUpdate(stream: OpenStream | undefined, update: { streamId: number; payload: Buffer }): void {
    const bytes = update.payload.readUInt32BE(0);
    if (update.streamId !== 0) {
      if (stream === undefined) return;
      stream.window += bytes;
      this.#flush(stream);
      return;
    }
    this.#window += bytes;
    const blocked = this.#blocked;
    this.#blocked = [];
    for (const waiting of blocked) this.#flush(waiting);
  }

  #settings(flags: number, payload: Buffer): void {
    if ((flags & frameFlag.ack) !== 0) return;
    for (let at = 0; at < payload.length; at += 6) {
      const name = payload.readUInt16BE(at);
      const value = payload.readUInt32BE(at + 2);
      if (name === setting.maxConcurrentStreams) this.#streamsMax = value;
      if (name === setting.initialWindowSize) this.#resizeWindows(value - this.#streamWindow);
    }
    this.#write(frame(frameType.settings, { flags: frameFlag.ack }));
  }

  #resizeWindows(change: number): void {
    this.#streamWindow += change;
    for (const stream of this.#streams.values()) {
      stream.window += change;
      this.#flush(stream);
    }
  }

  #end(streamId: number, status: number | null): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#streams.delete(streamId);
    if (!this.#closed && this.#unopened.length > 0) this.#start(this.#unopened.shift()!);
    stream.listener.end(status);
  }

  #fail(): void {
    this.#closed = true;
    for (const id of this.#streams.keys()) this.#end(id, null);
    for (const { listener } of this.#unopened.splice(0)) listener.end(null);
  }
}

function isWhole(payload: Buffer): boolean {
  return (
    payload.length >= MESSAGE_HEAD_BYTES && payload.readUInt32BE(1) === payload.length - MESSAGE_HEAD_BYTES
  );
}

interface FrameRest {
  readonly flags?: number;
  readonly streamId?: number;
  readonly payload?: Buffer;
}

function frame(type: number, { flags = 0, streamId = 0, payload = Buffer.alloc(0) }: FrameRest): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + payload.length);
  writeFrameHead(bytes, 0, { bytes: payload.length, type, flags, streamId });
  payload.copy(bytes, FRAME_HEAD_BYTES);
  return bytes;
}

/** @throws Error when the message is larger than a frame: loads of large messages take another client */
function payloadOf(message: Buffer): Buffer {
  const payload = framed(message);
  if (payload.length > FRAME_BYTES_MAX) throw new Error('a message larger than a frame');
  return payload;
}

/** A message as it stands in the body of a gRPC request: not compressed, its length before it. */
export function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
