import type { Socket } from 'node:net';

/** What is known of a client's connection. */
export interface ClientConnection {
  /** `address:port` of the client. */
  readonly peer: string;
  /** The common name of the client's certificate, when it was verified. */
  readonly certificateName: string | undefined;
  /** Why every call on it is refused; null = they are served. */
  readonly refusal: string | null;
}

const connections = new WeakMap<Socket, ClientConnection>();

/** Remembers it for HTTP/1.1 requests, which only know their socket. */
export function rememberConnection(socket: Socket, connection: ClientConnection): void {
  connections.set(socket, connection);
}

/** What is known of the client that an HTTP/1.1 request's socket leads to; undefined for a foreign socket. */
export function clientConnectionOf(socket: Socket): ClientConnection | undefined {
  return connections.get(socket);
}
