import { setMaxListeners } from 'node:events';
import type { ClientDuplexStream, ClientReadableStream } from '@grpc/grpc-js';
import { ClientError } from './client-error.ts';
import { type CallHeaders, type CallLimits, Connection, type Method } from './connection.ts';
import type { EndpointAddress } from './endpoint.ts';
import { LinkedSignal } from './linked-signal.ts';
import { type Backoff, backoffMs, pause } from './pause.ts';
import { type CallKind, inOrder, isHomecoming, type Preference, type Route } from './routes.ts';

/** Rounds over all endpoints, none of which could be reached, before a call fails. */
const UNREACHED_ROUNDS_MAX = 2;
const ROUND_PAUSE: Backoff = { firstMs: 100, longestMs: 1000 };
/** What one member is given at least, as long as the call has it. */
const ATTEMPT_MS_MIN = 100;

/** A call as it is routed. */
export interface RoutedCall extends CallLimits {
  /** Default: `write` for what mutates, else `quorum`. */
  readonly kind?: CallKind;
}

/** An endpoint with its connection. */
export interface ConnectedRoute extends Route {
  readonly connection: Connection;
  /** Named by the user, and kept whatever the cluster says; others were found. */
  readonly isGiven: boolean;
}

/** Who keeps an eye on the endpoints: see `Survey`. */
export interface Attendant {
  /** A call or a stream begins. */
  used(): void;
  /** An endpoint failed. */
  failed(): void;
}

const AS_GIVEN: Preference = { region: undefined, leaderFirst: false };

/**
 * Connections to all endpoints, made when first needed. Calls go to the best of them until it fails or does not answer
 * in time, then to the next; the call that failed goes there, too, unless it may have been sent and is a mutating one.
 */
export class Channels {
  #routes: readonly ConnectedRoute[];
  readonly #preference: Preference;
  #attendant: Attendant | null = null;
  readonly #onSurvey = new Set<() => void>();
  #failures = 0;
  readonly #closing = new AbortController();

  /** @param endpoints at least one; of one address the last counts @throws ClientError `invalid-argument` */
  constructor(endpoints: readonly EndpointAddress[], preference: Preference = AS_GIVEN) {
    if (endpoints.length === 0)
      throw new ClientError('invalid-argument', 'no endpoint is given', { unsent: true });
    this.#preference = preference;
    // As many wait for it as there are calls.
    setMaxListeners(0, this.#closing.signal);
    const once = new Map(endpoints.map((endpoint) => [endpoint.address, endpoint]));
    this.#routes = [...once.values()].map((endpoint) => route(new Connection(endpoint), true));
  }

  /** `host:port` of every endpoint, in the order in which they were given, then found. */
  get addresses(): readonly string[] {
    return this.#routes.map(({ address }) => address);
  }

  get routes(): readonly ConnectedRoute[] {
    return this.#routes;
  }

  /** One request, one answer, from whichever endpoint serves it. @throws ClientError */
  async unary<Req, Res>(method: Method<Req, Res>, request: Partial<Req>, limits: RoutedCall): Promise<Res> {
    this.#attendant?.used();
    const kind = limits.kind ?? (method.mutating ? 'write' : 'quorum');
    const deadlineMs = Date.now() + limits.timeoutMs;
    let failure: ClientError | null = null;
    let unreached = 0;
    for (let round = 0; unreached < UNREACHED_ROUNDS_MAX; round += 1) {
      if (round > 0) await this.#betweenRounds(round, { deadlineMs, signal: limits.signal });
      unreached += 1;
      const tried = new Set<ConnectedRoute>();
      for (;;) {
        const next = this.#ordered(kind).find((candidate) => !tried.has(candidate));
        if (next === undefined) break;
        tried.add(next);
        try {
          const untilMs = method.mutating ? deadlineMs : attemptUntil(deadlineMs, this.#routes.length);
          return await next.connection.unary(method, request, { ...limits, deadlineMs: untilMs });
        } catch (error) {
          const found = error as ClientError;
          if (limits.signal?.aborted === true || this.#closing.signal.aborted) throw found;
          if (!found.unsent) unreached = 0;
          // What was refused after being sent tells more than that another endpoint is not there, or says nothing. That
          // a change may have been made must not be lost behind an attempt that was not sent.
          if (failure === null || found.uncertain || !(found.unsent || isMute(found))) failure = found;
          // Whatever becomes of this call, the next one need not wait for the same member.
          const again = mayRepeat(found, method);
          if (again || isSilent(found)) this.fail(next.address);
          if (!again || Date.now() >= deadlineMs) throw failure;
        }
      }
      if (Date.now() >= deadlineMs) break;
    }
    throw failure!;
  }

  /** One request to one endpoint, tried once: for what is asked of a member rather than of the cluster. */
  async unaryAt<Req, Res>(
    address: string,
    method: Method<Req, Res>,
    call: { readonly request: Partial<Req> } & CallLimits,
  ): Promise<Res> {
    const deadlineMs = Date.now() + call.timeoutMs;
    return this.#at(address).connection.unary(method, call.request, { ...call, deadlineMs });
  }

  /**
   * Opens a two-way stream on the best endpoint that is there. The member ends it when it loses its leader.
   *
   * @param headers `connectMs`: how long one endpoint may take to connect; at most, and by default, 2000
   * @throws ClientError `unavailable` when none is there, `canceled` by the signal
   */
  async duplex<Req, Res>(
    method: Method<Req, Res>,
    headers: CallHeaders & { readonly kind?: CallKind; readonly connectMs?: number },
  ): Promise<{ readonly address: string; readonly stream: ClientDuplexStream<Partial<Req>, Res> }> {
    return this.#opened(headers.kind ?? 'quorum', (connection) => connection.duplex(method, headers));
  }

  /** Opens a stream of answers at the best endpoint that is there. @throws ClientError as `duplex` */
  async stream<Req, Res>(
    method: Method<Req, Res>,
    call: { readonly request: Partial<Req> } & CallHeaders,
  ): Promise<{ readonly address: string; readonly stream: ClientReadableStream<Res> }> {
    return this.#opened('local', (connection) => connection.serverStream(method, call.request, call));
  }

  /** Opens a stream of answers at one endpoint. @throws ClientError */
  async streamAt<Req, Res>(
    address: string,
    method: Method<Req, Res>,
    call: { readonly request: Partial<Req> } & CallHeaders,
  ): Promise<ClientReadableStream<Res>> {
    return this.#at(address).connection.serverStream(method, call.request, call);
  }

  /** Calls turn to other endpoints, as long as there are any that are well or failed longer ago. */
  fail(address: string): void {
    const failed = this.#routes.find((candidate) => candidate.address === address);
    if (failed === undefined) return;
    this.#failures += 1;
    failed.failedAt = this.#failures;
    this.#attendant?.failed();
  }

  /** Whether a watch at `address` could be served in its own region, and is not. */
  isAway(address: string): boolean {
    const current = this.#routes.find((candidate) => candidate.address === address);
    return isHomecoming({ current, best: this.#ordered('local')[0]! }, this.#preference.region);
  }

  // ---- for the survey ---------------------------------------------------------------------------------------

  attend(attendant: Attendant): void {
    this.#attendant = attendant;
  }

  /** Adds an endpoint that was found. The connection is closed with the others. */
  add(connection: Connection): ConnectedRoute {
    const added = route(connection, false);
    if (this.#closing.signal.aborted) connection.close();
    else this.#routes = [...this.#routes, added];
    return added;
  }

  /** Removes an endpoint that was found; calls on their way there still come to their end. */
  remove(gone: ConnectedRoute): void {
    this.#routes = this.#routes.filter((candidate) => candidate !== gone);
    gone.connection.close();
  }

  /** Everything there is to know has been noted. */
  surveyed(): void {
    for (const listener of this.#onSurvey) listener();
  }

  /** Calls back after each survey. @returns ends it */
  onSurvey(listener: () => void): () => void {
    this.#onSurvey.add(listener);
    return () => this.#onSurvey.delete(listener);
  }

  /** Calls and streams end as `canceled`, those that come as well. */
  close(): void {
    this.#closing.abort();
    for (const { connection } of this.#routes) connection.cut();
  }

  #ordered(kind: CallKind): readonly ConnectedRoute[] {
    return inOrder(this.#routes, kind, this.#preference);
  }

  #at(address: string): ConnectedRoute {
    const found = this.#routes.find((candidate) => candidate.address === address);
    if (found !== undefined) return found;
    throw new ClientError('invalid-argument', `${address} is not one of the endpoints`, { unsent: true });
  }

  /** At the first endpoint, in the order for such calls, where it can be opened. */
  async #opened<Stream>(
    kind: CallKind,
    open: (connection: Connection) => Promise<Stream>,
  ): Promise<{ readonly address: string; readonly stream: Stream }> {
    this.#attendant?.used();
    let failure: unknown;
    for (const { address, connection } of this.#ordered(kind)) {
      try {
        return { address, stream: await open(connection) };
      } catch (error) {
        if ((error as ClientError).code === 'canceled') throw error;
        failure = error;
        this.fail(address);
      }
    }
    throw failure;
  }

  async #betweenRounds(
    round: number,
    { deadlineMs, signal }: { readonly deadlineMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<void> {
    const pauseMs = Math.min(backoffMs(round, ROUND_PAUSE), Math.max(0, deadlineMs - Date.now()));
    using link = new LinkedSignal([signal, this.#closing.signal]);
    await pause(pauseMs, link.signal);
  }
}

function route(connection: Connection, isGiven: boolean): ConnectedRoute {
  return { address: connection.address, connection, isGiven, facts: null, failedAt: 0 };
}

/** A read that may go elsewhere waits for one member only half of its time: that one may be cut off. */
function attemptUntil(deadlineMs: number, endpoints: number): number {
  const nowMs = Date.now();
  if (endpoints === 1) return deadlineMs;
  return Math.min(deadlineMs, nowMs + Math.max(ATTEMPT_MS_MIN, (deadlineMs - nowMs) / 2));
}

/** Etcd's learners answer reads of their own state only, and refuse the rest before they look at it. */
const NOT_BY_LEARNERS = 'rpc not supported for learner';

/** Whether the call did nothing, or does nothing but read, and may find an answer elsewhere. */
function mayRepeat(error: ClientError, { mutating }: Pick<Method<never, never>, 'mutating'>): boolean {
  if (error.unsent) return error.code !== 'canceled';
  if (error.message.endsWith(NOT_BY_LEARNERS)) return true;
  return !mutating && isSilent(error);
}

/** Whether a member serves nobody now, or may be cut off. */
function isSilent({ code }: ClientError): boolean {
  return code === 'unavailable' || code === 'deadline-exceeded';
}

/** Whether nothing came back. */
function isMute({ code }: ClientError): boolean {
  return code === 'deadline-exceeded';
}
