import { type IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** A connection whose client wants it to be something else from now on. */
export interface Upgrade {
  readonly socket: Duplex;
  /** What came behind the request. */
  readonly head: Buffer;
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/**
 * Lets a request that wants an upgrade be answered as any other, by routes that take the upgrade or do not; then the
 * connection ends with the answer.
 */
export function routeUpgrade(
  route: RequestListener,
  { request, socket, head }: Upgrade & { readonly request: IncomingMessage },
): void {
  socket.on('error', () => socket.destroy());
  // Its body will never come.
  if (request.method !== 'GET') {
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    return;
  }
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as Socket);
  response.on('finish', () => socket.end());
  if (request.headers.upgrade?.toLowerCase() === 'websocket') upgrades.set(request, { socket, head });
  route(request, response);
}

/** The upgrade that the request wants, if it is one to a WebSocket. */
export function upgradeOf(request: IncomingMessage): Upgrade | null {
  return upgrades.get(request) ?? null;
}
