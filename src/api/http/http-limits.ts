/** What clients of HTTP addresses may take. */
export interface HttpLimits {
  /** Connections of one address at a time; further ones are cut. */
  readonly connectionsMax: number;
  /** How long a client may take to send a request's headers, and a request; looked after every `checkMs`. */
  readonly headersMs: number;
  readonly requestMs: number;
  readonly checkMs: number;
  /** Between two requests of a connection. */
  readonly idleMs: number;
  /** How long a client may take to read an answer that is whole; then its connection is cut. */
  readonly takeMs: number;
  /** Bytes of whole answers that clients have not read, together; beyond it the one with most of them is cut. */
  readonly unreadBytesMax: number;
}

/** Few connections: probes and scrapers need no more. */
export const HTTP_LIMITS_DEFAULT: HttpLimits = {
  connectionsMax: 256,
  headersMs: 10_000,
  requestMs: 20_000,
  checkMs: 2_000,
  idleMs: 5_000,
  takeMs: 60_000,
  unreadBytesMax: 256 * 1024 * 1024,
};
