import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  connectivityState,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { ClientError, canceled, clientClosed, statusError } from './client-error.ts';
import { channelCredentials, type EndpointAddress, tlsFailure } from './endpoint.ts';

/** How long one endpoint may take to accept a connection before the next is tried. */
const CONNECT_TIMEOUT_MS = 2000;
/** The same for an endpoint whose last attempt failed: grpc-js then shows nothing before it succeeds. */
const RECONNECT_TIMEOUT_MS = 400;

const CHANNEL_OPTIONS = {
  // A range over everything is one message; etcd's own clients take the same.
  'grpc.max_receive_message_length': 2 ** 31 - 1,
  'grpc.max_send_message_length': 2 ** 31 - 1,
  // A peer that vanished without a word is noticed, by whoever waits for it; servers allow a ping every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.service_config_disable_resolution': 1,
  // Members are reached directly, whatever the environment says of web proxies.
  'grpc.enable_http_proxy': 0,
};

/** A method with its codec; `mutating` calls are never sent a second time. */
export interface Method<Req, Res> {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly encode: (request: Partial<Req>) => Buffer;
  readonly decode: (response: Buffer) => Res;
  readonly mutating: boolean;
}

/** What a call shows to the server, beside its request. */
export interface CallHeaders {
  readonly signal?: AbortSignal | undefined;
  /** Shown to the server: who is asking. */
  readonly token?: string | null;
  /** Of a read: how old its answer may be. */
  readonly maxStalenessMs?: number | undefined;
}

/** What comes with the status of an answer; undefined = there is no such entry. */
export type Trailers = (name: string) => string | undefined;

/** Bounds of one call. */
export interface CallLimits extends CallHeaders {
  readonly timeoutMs: number;
  /** Called once before the answer is given, when there is one. */
  readonly onTrailers?: ((trailers: Trailers) => void) | undefined;
}

/** The same with the moment at which it is over, on the clock of `Date.now()`. */
type BoundCall = Omit<CallLimits, 'timeoutMs'> & { readonly deadlineMs: number };

/** One endpoint's connection, made when first needed and made again when it was lost. */
export class Connection {
  readonly address: string;
  readonly #endpoint: EndpointAddress;
  readonly #client: Client;
  /** What was sent and is not over. */
  readonly #open = new Set<{ cancel(): void }>();
  #isCut = false;
  /** Under way. */
  #diagnosis: Promise<string | null> | null = null;

  /** @throws ClientError `invalid-argument` for certificates that cannot be used */
  constructor(endpoint: EndpointAddress) {
    this.address = endpoint.address;
    this.#endpoint = endpoint;
    this.#client = new Client(endpoint.address, channelCredentials(endpoint.tls), CHANNEL_OPTIONS);
  }

  /** Whether what is said here is encrypted. */
  get isEncrypted(): boolean {
    return this.#endpoint.tls !== null;
  }

  /** One request, one answer. @throws ClientError `unsent` when the endpoint cannot be reached */
  async unary<Req, Res>(method: Method<Req, Res>, request: Partial<Req>, call: BoundCall): Promise<Res> {
    await this.ready(call);
    this.#check(call.signal);
    return new Promise((resolve, reject) => {
      const { onTrailers, signal } = call;
      let answer: Res;
      const done = (error: ServiceError | null, response?: Res): void => {
        this.#open.delete(sent);
        signal?.removeEventListener('abort', onAbort);
        if (error !== null) reject(this.#failure(error, { mutating: method.mutating, signal }));
        else if (onTrailers === undefined) resolve(response!);
        else answer = response!;
      };
      const { path, encode, decode } = method;
      const options = { deadline: call.deadlineMs };
      const sent = this.#client.makeUnaryRequest(path, encode, decode, request, shown(call), options, done);
      const onAbort = (): void => sent.cancel();
      this.#open.add(sent);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (onTrailers === undefined) return;
      // It comes after the answer, or after the failure, which has then settled this.
      sent.on('status', ({ code, metadata }) => {
        if (code === 0) onTrailers((name) => metadata.get(name)[0]?.toString());
        resolve(answer);
      });
    });
  }

  /**
   * Opens a two-way stream, which the signal cancels. The member ends it when it loses its leader.
   *
   * @param headers `connectMs`: how long it may take to connect; at most, and by default, 2000
   * @throws ClientError
   */
  async duplex<Req, Res>(
    method: Method<Req, Res>,
    headers: CallHeaders & { readonly connectMs?: number },
  ): Promise<ClientDuplexStream<Partial<Req>, Res>> {
    await this.ready({ ...headers, deadlineMs: Date.now() + (headers.connectMs ?? CONNECT_TIMEOUT_MS) });
    this.#check(headers.signal);
    const metadata = shown(headers);
    metadata.set('hasleader', 'true');
    const { path, encode, decode } = method;
    return this.#opened(this.#client.makeBidiStreamRequest(path, encode, decode, metadata), headers.signal);
  }

  /** Opens a stream of answers, which the signal cancels. @throws ClientError */
  async serverStream<Req, Res>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    headers: CallHeaders,
  ): Promise<ClientReadableStream<Res>> {
    await this.ready({ ...headers, deadlineMs: Infinity });
    this.#check(headers.signal);
    const { path, encode, decode } = method;
    const stream = this.#client.makeServerStreamRequest(path, encode, decode, request, shown(headers));
    return this.#opened(stream, headers.signal);
  }

  #opened<S extends Pick<ClientReadableStream<unknown>, 'cancel' | 'on'>>(
    stream: S,
    signal: AbortSignal | undefined,
  ): S {
    const onAbort = (): void => stream.cancel();
    this.#open.add(stream);
    signal?.addEventListener('abort', onAbort, { once: true });
    stream.on('status', () => {
      this.#open.delete(stream);
      signal?.removeEventListener('abort', onAbort);
    });
    // A cancellation comes back as an error, which whoever has left the stream does not wait for.
    stream.on('error', () => {});
    return stream;
  }

  /**
   * Waits until the endpoint is connected: only then is something sent, so a failure here means that nothing was.
   * An attempt that fails ends the wait at once; grpc-js alone would go on trying until the deadline.
   *
   * @throws ClientError `unavailable`, `canceled` by the signal, or when this is cut
   */
  async ready({ deadlineMs, signal }: Pick<BoundCall, 'deadlineMs' | 'signal'>): Promise<void> {
    const channel = this.#client.getChannel();
    const failing = channel.getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE;
    const patienceMs = failing ? RECONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    const untilMs = Math.min(deadlineMs, Date.now() + patienceMs);
    for (let changes = 0; ; changes += 1) {
      this.#check(signal);
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return;
      const failed = state === connectivityState.TRANSIENT_FAILURE && changes > 0;
      if (failed || !(await this.#changed(state, { untilMs, signal }))) {
        if (signal?.aborted) throw canceled();
        throw this.#unreached(await this.#diagnosed());
      }
    }
  }

  /** Takes no further calls. Those on their way come to their end. */
  close(): void {
    this.#client.close();
  }

  /** Takes no further calls, and cancels those on their way. */
  cut(): void {
    this.#isCut = true;
    this.close();
    for (const call of this.#open) call.cancel();
  }

  /** To be done in the same step in which something is sent. @throws ClientError `canceled`, `unavailable` */
  #check(signal: AbortSignal | undefined): void {
    if (this.#isCut) throw clientClosed();
    if (signal?.aborted) throw canceled();
    const state = this.#client.getChannel().getConnectivityState(false);
    if (state === connectivityState.SHUTDOWN) throw this.#unreached(null);
  }

  #failure(
    error: ServiceError,
    call: { readonly mutating: boolean; readonly signal: AbortSignal | undefined },
  ): ClientError {
    const { mutating, signal } = call;
    const by = this.#isCut ? clientClosed() : signal?.aborted === true ? canceled() : null;
    if (by === null || error.code !== status.CANCELLED) return statusError(error, { cause: error, mutating });
    return new ClientError('canceled', by.message, { cause: error, uncertain: mutating });
  }

  /** One look serves all calls that fail meanwhile. */
  #diagnosed(): Promise<string | null> {
    this.#diagnosis ??= tlsFailure(this.#endpoint).finally(() => {
      this.#diagnosis = null;
    });
    return this.#diagnosis;
  }

  #unreached(reason: string | null): ClientError {
    const detail = reason === null ? '' : `: ${reason}`;
    return new ClientError('unavailable', `cannot connect to ${this.address}${detail}`, { unsent: true });
  }

  async #changed(
    state: connectivityState,
    { untilMs, signal }: { readonly untilMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<boolean> {
    return new Promise((resolve) => {
      const onAbort = (): void => resolve(false);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#client.getChannel().watchConnectivityState(state, untilMs, (error) => {
        signal?.removeEventListener('abort', onAbort);
        resolve(error === undefined);
      });
    });
  }
}

function shown({ token, maxStalenessMs }: CallHeaders): Metadata {
  const metadata = new Metadata();
  if (token !== null && token !== undefined) metadata.set('token', token);
  if (maxStalenessMs !== undefined) metadata.set('max-staleness-ms', String(maxStalenessMs));
  return metadata;
}
