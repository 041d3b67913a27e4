import type { IncomingMessage, RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { descriptorsMax } from '../../lib/descriptors.ts';
import type { Logger } from '../../lib/logger.ts';
import type { TlsEndpoint } from '../../tls/endpoint.ts';
import type { HttpLimits } from './http-limits.ts';
import { HttpListener } from './listener.ts';
import { isOperation } from './operations.ts';

/** The configuration service over HTTP, as it is served here. */
export interface ServiceFace {
  readonly request: RequestListener;
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Ends streams, and waits for the requests under way. */
  close(): Promise<void>;
}

/** Connections of one address at a time: clients that watch hold one each. Further ones are refused. */
export const HTTP_CONNECTIONS_MAX = 20_000;

/**
 * Files and connections of everything else: 10,000 clients, other members, the store. A store that cannot open a file
 * ends its member, so that they must not be taken by HTTP connections.
 */
const DESCRIPTORS_RESERVED = 12_000;
/** As many there always are. */
const CONNECTIONS_MIN = 256;

/** Connections that each of the addresses may have when the process may have so many files open; null = not known. */
export function httpConnectionsMax({
  descriptors,
  addresses,
}: {
  readonly descriptors: number | null;
  readonly addresses: number;
}): number {
  if (descriptors === null) return HTTP_CONNECTIONS_MAX;
  const each = Math.floor((descriptors - DESCRIPTORS_RESERVED) / Math.max(1, addresses));
  return Math.max(CONNECTIONS_MIN, Math.min(HTTP_CONNECTIONS_MAX, each));
}

const OPENING = JSON.stringify({
  type: 'urn:conclave:problem:unavailable',
  title: 'The store does not answer',
  status: 503,
  detail: 'the configuration service is starting',
  code: 'unavailable',
  retryable: 'safe',
  errors: [],
});

interface Served {
  face: ServiceFace | null;
  /** Connections that are no longer HTTP, which the listener knows nothing of. */
  readonly upgraded: Set<Duplex>;
}

/**
 * The HTTP addresses. The operations face is served from the start, everything else by the configuration service as soon
 * as it is there, and answered with 503 until then.
 */
export class HttpFace {
  readonly #listener: HttpListener;
  readonly #served: Served;

  private constructor(listener: HttpListener, served: Served) {
    this.#listener = listener;
    this.#served = served;
  }

  /**
   * Listens on all addresses or on none.
   *
   * @throws StoreError `bad-options` naming the address that cannot be listened on
   */
  static async open(options: {
    readonly urls: readonly string[];
    readonly operations: RequestListener;
    /** Needed for https. */
    readonly tls: TlsEndpoint | null;
    readonly logger: Logger;
    /** In the place of `httpConnectionsMax` and the listener's defaults. */
    readonly limits?: Partial<HttpLimits>;
  }): Promise<HttpFace> {
    const descriptors = descriptorsMax();
    const connectionsMax = httpConnectionsMax({ descriptors, addresses: options.urls.length });
    if (options.urls.length > 0 && connectionsMax < HTTP_CONNECTIONS_MAX) {
      options.logger.warn(
        { descriptors, connectionsMax },
        'this process may have few files open: fewer HTTP connections are taken',
      );
    }
    const served: Served = { face: null, upgraded: new Set() };
    const listener = await HttpListener.open(
      options.urls,
      {
        request: (request, response) => {
          if (isOperation(request.url)) options.operations(request, response);
          else if (served.face !== null) served.face.request(request, response);
          else {
            const headers = { 'content-type': 'application/problem+json', 'retry-after': '1' };
            response.writeHead(503, headers).end(OPENING);
          }
        },
        upgrade: (request, socket, head) => {
          if (served.face === null) {
            socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
            return;
          }
          served.upgraded.add(socket);
          socket.once('close', () => served.upgraded.delete(socket));
          served.face.upgrade(request, socket, head);
        },
      },
      options.tls,
      { connectionsMax, ...options.limits },
    );
    return new HttpFace(listener, served);
  }

  /** Where it listens really, in the order of the URLs. */
  get addresses(): readonly AddressInfo[] {
    return this.#listener.addresses;
  }

  /** From now on the service answers. */
  serve(face: ServiceFace): void {
    this.#served.face = face;
  }

  /** Ends streams, finishes the answers under way, for a bounded time, and ends all connections. */
  async close(): Promise<void> {
    const closed = this.#listener.close();
    const { face, upgraded } = this.#served;
    await face?.close();
    for (const socket of upgraded) socket.destroy();
    await closed;
  }
}
