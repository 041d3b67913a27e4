import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { codec } from '../src/rpc/codec.ts';

const WATCH_PATH = '/etcdserverpb.Watch/Watch';
const MESSAGE_HEAD_BYTES = 5;
const response = codec('etcdserverpb.WatchResponse');
const request = codec('etcdserverpb.WatchRequest');

export interface WatchStreamsOptions {
  readonly url: string;
  readonly key: Buffer;
  readonly streams: number;
  readonly watchesPerStream: number;
  /** Told of every event that any watch is sent. */
  readonly onEvent: (value: Buffer) => void;
}

/** Many watches of one key, the same for every contestant: Node's HTTP/2 client, one connection. */
export class WatchStreams {
  readonly #session: ClientHttp2Session;
  readonly #options: WatchStreamsOptions;
  #created = 0;
  #allCreated: () => void = () => {};

  private constructor(session: ClientHttp2Session, options: WatchStreamsOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** Resolves when the server has confirmed every watch. */
  static async open(options: WatchStreamsOptions): Promise<WatchStreams> {
    const session = connect(options.url);
    await once(session, 'connect');
    const streams = new WatchStreams(session, options);
    const created = new Promise<void>((resolve) => {
      streams.#allCreated = resolve;
    });
    for (let i = 0; i < options.streams; i++) streams.#openStream();
    await created;
    return streams;
  }

  close(): void {
    this.#session.destroy();
  }

  #openStream(): void {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': WATCH_PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => {});
    readMessages(stream, (message) => this.#read(message));
    const create = request.encode({ create_request: { key: this.#options.key } } as never);
    for (let i = 0; i < this.#options.watchesPerStream; i++) stream.write(framed(create));
  }

  #read(message: Buffer): void {
    const { created, events } = response.decode(message);
    if (created) {
      this.#created += 1;
      const { streams, watchesPerStream } = this.#options;
      if (this.#created === streams * watchesPerStream) this.#allCreated();
    }
    for (const event of events) this.#options.onEvent(Buffer.from(event.kv!.value));
  }
}

function readMessages(stream: ClientHttp2Stream, take: (message: Buffer) => void): void {
  let held: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    let bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    while (bytes.length >= MESSAGE_HEAD_BYTES) {
      const end = MESSAGE_HEAD_BYTES + bytes.readUInt32BE(1);
      if (bytes.length < end) break;
      take(bytes.subarray(MESSAGE_HEAD_BYTES, end));
      bytes = bytes.subarray(end);
    }
    held = bytes;
  });
}

function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
