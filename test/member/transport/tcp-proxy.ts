import { connect, createServer, type Server, type Socket } from 'node:net';
import { FRAME_HEADER_BYTES, FrameDecoder } from '../../../src/member/transport/frame.ts';
import { parsePeerUrl } from '../../../src/member/transport/peer-url.ts';

/** One proxied connection. */
interface Wire {
  readonly near: Socket;
  readonly far: Socket;
  stream: string;
}

const streamNames = ['', 'append', 'heartbeat', 'request', 'snapshot', 'probe'];
/** Magic, version and the packed array's head stand before the hello's first field, the kind of stream. */
const STREAM_TAG_OFFSET = FRAME_HEADER_BYTES + 11;

/** A TCP proxy before a member that can stop passing bytes on, per kind of stream, or break connections. */
export class TcpProxy {
  readonly #server: Server;
  readonly #wires = new Set<Wire>();
  readonly #paused = new Set<string>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async before(targetUrl: string): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server);
    server.on('connection', (near) => proxy.#carry(near, connect(parsePeerUrl(targetUrl))));
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : '';
  }

  count(stream: string): number {
    return [...this.#wires].filter((wire) => wire.stream === stream).length;
  }

  /** Reads nothing more from either side of such connections: half-open, from now on. */
  pause(...streams: readonly string[]): void {
    for (const stream of streams) this.#paused.add(stream);
    for (const wire of this.#wires) this.#apply(wire);
  }

  resume(): void {
    this.#paused.clear();
    for (const wire of this.#wires) {
      wire.near.resume();
      wire.far.resume();
    }
  }

  /** Resets such connections. */
  break(stream: string): void {
    for (const wire of this.#wires) if (wire.stream === stream) wire.near.resetAndDestroy();
  }

  async close(): Promise<void> {
    for (const { near, far } of this.#wires) {
      near.destroy();
      far.destroy();
    }
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #carry(near: Socket, far: Socket): void {
    const wire: Wire = { near, far, stream: '' };
    this.#wires.add(wire);
    near.once('data', (chunk: Buffer) => {
      wire.stream = streamNames[chunk[STREAM_TAG_OFFSET] ?? 0] ?? '';
      this.#apply(wire);
    });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk: Buffer) => to.write(chunk));
      from.on('error', () => {});
      from.on('close', () => {
        to.destroy();
        this.#wires.delete(wire);
      });
    }
  }

  #apply(wire: Wire): void {
    if (!this.#paused.has(wire.stream)) return;
    wire.near.pause();
    wire.far.pause();
  }
}

/** Somebody who speaks raw bytes to a member. */
export class RawClient {
  readonly frames: { readonly kind: number; readonly payload: Buffer }[] = [];
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder(1024 * 1024);
  closed = false;

  constructor(url: string) {
    this.#socket = connect(parsePeerUrl(url));
    this.#socket.on('data', (chunk: Buffer) =>
      this.#decoder.push(chunk, (kind, payload) => this.frames.push({ kind, payload: Buffer.from(payload) })),
    );
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.closed = true;
    });
  }

  write(...parts: readonly Buffer[]): void {
    for (const part of parts) this.#socket.write(part);
  }

  end(): void {
    this.#socket.destroy();
  }
}
