import { METHODS } from '../../src/client/wire.ts';
import { codec } from '../../src/rpc/codec.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { readWatchMessage } from './watch-message.ts';

/** A server may refuse more streams on one connection; ours takes 2,000. */
const STREAMS_PER_CONNECTION = 1_000;
const OPEN_TIMEOUT_MS = 60_000;

export interface WatchStreamsOptions {
  readonly url: string;
  readonly key: Buffer;
  readonly streams: number;
  readonly watchesPerStream: number;
  /** Told of every event that any watch is sent; the value is valid until the call returns. */
  readonly onEvent: (value: Buffer) => void;
  /** A stream or a watch has ended, which none may. */
  readonly onEnd: (error: Error) => void;
}

/** Many watches of one key, the same for every contestant. */
export class WatchStreams {
  readonly #options: WatchStreamsOptions;
  readonly #connections: GrpcConnection[] = [];
  #created = 0;
  #allCreated: () => void = () => {};
  #closed = false;

  private constructor(options: WatchStreamsOptions) {
    this.#options = options;
  }

  /** Resolves when the server has confirmed every watch. @throws Error when it has not within a minute */
  static async open(options: WatchStreamsOptions): Promise<WatchStreams> {
    const streams = new WatchStreams(options);
    let timer: NodeJS.Timeout | undefined;
    const created = new Promise<void>((resolve, reject) => {
      streams.#allCreated = resolve;
      timer = setTimeout(() => reject(new Error(`${streams.#created} watches were made`)), OPEN_TIMEOUT_MS);
    });
    try {
      for (let opened = 0; opened < options.streams; opened += STREAMS_PER_CONNECTION) {
        const connection = await GrpcConnection.open(options.url);
        streams.#connections.push(connection);
        const count = Math.min(STREAMS_PER_CONNECTION, options.streams - opened);
        for (let i = 0; i < count; i++) streams.#openStream(connection);
      }
      await created;
      return streams;
    } catch (error) {
      streams.close();
      created.catch(() => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#connections) connection.close();
  }

  #openStream(connection: GrpcConnection): void {
    const send = connection.stream(METHODS.watch.path, {
      message: (bytes) => this.#read(bytes),
      end: (status) => this.#end(`a watch stream ended with status ${status}`),
    });
    const { key, watchesPerStream } = this.#options;
    const create = codec('etcdserverpb.WatchRequest').encode({ create_request: { key } } as never);
    for (let i = 0; i < watchesPerStream; i++) send(create);
  }

  #read(message: Buffer): void {
    const { created, canceled, values } = readWatchMessage(message);
    if (canceled) this.#end('a watch was canceled');
    if (created) {
      this.#created += 1;
      const { streams, watchesPerStream } = this.#options;
      if (this.#created === streams * watchesPerStream) this.#allCreated();
    }
    for (const value of values) this.#options.onEvent(value);
  }

  #end(what: string): void {
    if (!this.#closed) this.#options.onEnd(new Error(what));
  }
}
