import type { IncomingMessage, ServerResponse } from 'node:http';
import { Cancellation } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import type { RpcCall } from '../../rpc/server.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import { timeoutMsOf } from '../../rpc/timeout.ts';

/** HTTP headers of this prefix become the call's own, without it. */
const METADATA_PREFIX = 'grpc-metadata-';
/** What else is metadata, by its name there. The token comes as `Authorization`, as etcd's own gateway takes it. */
const OWN_HEADERS: ReadonlyMap<string, string> = new Map([
  ['authorization', 'authorization'],
  ['max-staleness-ms', 'conclave-max-staleness-ms'],
]);
/** The longest timer there is, in milliseconds. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A call that came over HTTP/1.1, for the handlers that serve gRPC. */
export class GatewayCall implements RpcCall {
  readonly path: string;
  readonly peer: string;
  /** As etcd's gateway, which speaks for every client with one certificate: only a token says who calls. */
  readonly certificateName = undefined;
  readonly deadlineMs: number;
  readonly signal = new Cancellation();
  /** Rejects with the signal's reason when the call is over before its handler is. */
  readonly over: Promise<never>;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #timer: NodeJS.Timeout | undefined;

  /** @throws RpcError `invalid-argument` for a timeout that is none */
  constructor(path: string, request: IncomingMessage, response: ServerResponse) {
    this.path = path;
    this.peer = `${request.socket.remoteAddress ?? 'unknown'}:${request.socket.remotePort ?? 0}`;
    this.#request = request;
    this.#response = response;
    const timeoutMs = timeoutOf(request);
    this.deadlineMs = performance.now() + timeoutMs;
    if (timeoutMs <= TIMER_MS_MAX) {
      this.#timer = setTimeout(() => this.abort(new StoreError('deadline-exceeded')), timeoutMs);
    }
    response.once('close', () => this.abort(new StoreError('canceled')));
    this.over = new Promise((_, reject) => {
      this.signal.addEventListener('abort', () => reject(abortError(this.signal)));
    });
    this.over.catch(() => undefined);
  }

  metadata(name: string): string | undefined {
    const { headers } = this.#request;
    const own = headers[METADATA_PREFIX + name] ?? headers[OWN_HEADERS.get(name) ?? ''];
    if (own !== undefined) return Array.isArray(own) ? own[0] : own;
    return name === 'token' ? headers.authorization : undefined;
  }

  /** They go with the first of the answer. */
  sendHeaders(fields: readonly (readonly [string, string])[]): void {
    for (const [name, value] of fields) this.setTrailer(name, value);
  }

  /** HTTP/1.1 clients hardly read trailers: as long as the answer has not begun they are headers of it. */
  setTrailer(name: string, value: string): void {
    if (!this.#response.headersSent) this.#response.setHeader(`Conclave-${name}`, value);
  }

  onOver(listener: () => void): void {
    if (this.signal.aborted) listener();
    else this.signal.addEventListener('abort', listener);
  }

  abort(reason: StoreError): void {
    clearTimeout(this.#timer);
    this.signal.abort(reason);
  }
}

function timeoutOf({ headers }: IncomingMessage): number {
  const header = headers['grpc-timeout'];
  const timeoutMs = timeoutMsOf(header === undefined ? undefined : String(header));
  if (timeoutMs === null)
    throw new RpcError(rpcStatus.invalidArgument, `invalid grpc-timeout: ${String(header)}`);
  return timeoutMs;
}
