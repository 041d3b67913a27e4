import { setTimeout as delay } from 'node:timers/promises';
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  connectivityState,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { ClientError, statusError } from './client-error.ts';
import { channelCredentials, type EndpointAddress, tlsFailure } from './endpoint.ts';

/** How long one endpoint may take to accept a connection before the next is tried. */
const CONNECT_TIMEOUT_MS = 2000;
/** The same for an endpoint whose last attempt failed: grpc-js then shows nothing before it succeeds. */
const RECONNECT_TIMEOUT_MS = 400;
/** How often a call goes round all endpoints before it fails. */
const ROUNDS_MAX = 2;
const ROUND_PAUSE_MS = 100;

const CHANNEL_OPTIONS = {
  // A range over everything is one message; etcd's own clients take the same.
  'grpc.max_receive_message_length': 2 ** 31 - 1,
  'grpc.max_send_message_length': 2 ** 31 - 1,
  // A peer that vanished without a word is noticed; servers allow a ping every 5 s.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
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

/** Bounds of one call. */
export interface CallLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Shown to the server: who is asking. */
  readonly token?: string | null;
}

interface Endpoint extends EndpointAddress {
  readonly client: Client;
}

/**
 * Connections to all endpoints, made when first needed. Calls go to one of them until it fails or does not answer in
 * time, then to the next; the call that failed goes there, too, unless it may have been sent and is a mutating one.
 */
export class Channels {
  readonly #endpoints: readonly Endpoint[];
  #current = 0;

  /** @param endpoints at least one @throws ClientError `invalid-argument` */
  constructor(endpoints: readonly EndpointAddress[]) {
    if (endpoints.length === 0)
      throw new ClientError('invalid-argument', 'no endpoint is given', { unsent: true });
    this.#endpoints = endpoints.map((endpoint) => ({
      ...endpoint,
      client: new Client(endpoint.address, channelCredentials(endpoint.tls), CHANNEL_OPTIONS),
    }));
  }

  get addresses(): readonly string[] {
    return this.#endpoints.map((endpoint) => endpoint.address);
  }

  /** One request, one answer, from whichever endpoint serves it. @throws ClientError */
  async unary<Req, Res>(method: Method<Req, Res>, request: Partial<Req>, limits: CallLimits): Promise<Res> {
    const deadlineMs = Date.now() + limits.timeoutMs;
    let failure: ClientError | null = null;
    for (let attempt = 0; attempt < ROUNDS_MAX * this.#endpoints.length; attempt += 1) {
      if (attempt > 0) await this.#beforeRetry(attempt, limits.signal);
      const endpoint = this.#endpoints[this.#current]!;
      try {
        await ready(endpoint, Math.min(deadlineMs, Date.now() + CONNECT_TIMEOUT_MS), limits.signal);
        return await invoke(endpoint, method, request, { ...limits, deadlineMs });
      } catch (error) {
        const found = error as ClientError;
        const again = found.unsent || (!method.mutating && found.code === 'unavailable');
        // What was refused after being sent tells more than that another endpoint is not there.
        if (failure === null || !found.unsent) failure = found;
        // Whatever becomes of this call, the next one need not wait for the same member.
        if (again || isSilent(found)) this.fail(endpoint.address);
        if (!again || Date.now() >= deadlineMs) throw failure;
      }
    }
    throw failure!;
  }

  /** One request to one endpoint, tried once: for what is asked of a member rather than of the cluster. */
  async unaryAt<Req, Res>(
    address: string,
    method: Method<Req, Res>,
    call: { readonly request: Partial<Req> } & CallLimits,
  ): Promise<Res> {
    const endpoint = this.#at(address);
    const deadlineMs = Date.now() + call.timeoutMs;
    await ready(endpoint, Math.min(deadlineMs, Date.now() + CONNECT_TIMEOUT_MS), call.signal);
    return invoke(endpoint, method, call.request, { ...call, deadlineMs });
  }

  /**
   * Opens a two-way stream on the first endpoint that is there. The member ends it when it loses its leader.
   *
   * @throws ClientError `unavailable` when none is there, `canceled` by the signal
   */
  async duplex<Req, Res>(
    method: Method<Req, Res>,
    { signal, token }: Pick<CallLimits, 'signal' | 'token'>,
  ): Promise<{ readonly address: string; readonly stream: ClientDuplexStream<Partial<Req>, Res> }> {
    let failure: unknown;
    for (let tried = 0; tried < this.#endpoints.length; tried += 1) {
      const endpoint = this.#endpoints[this.#current]!;
      try {
        await ready(endpoint, Date.now() + CONNECT_TIMEOUT_MS, signal);
        const metadata = shown(token);
        metadata.set('hasleader', 'true');
        const { path, encode, decode } = method;
        const stream = endpoint.client.makeBidiStreamRequest(path, encode, decode, metadata);
        return { address: endpoint.address, stream };
      } catch (error) {
        if ((error as ClientError).code === 'canceled') throw error;
        failure = error;
        this.fail(endpoint.address);
      }
    }
    throw failure;
  }

  /** Opens a stream of answers at one endpoint. @throws ClientError */
  async streamAt<Req, Res>(
    address: string,
    method: Method<Req, Res>,
    call: { readonly request: Partial<Req> } & Pick<CallLimits, 'signal' | 'token'>,
  ): Promise<ClientReadableStream<Res>> {
    const endpoint = this.#at(address);
    await ready(endpoint, Date.now() + CONNECT_TIMEOUT_MS, call.signal);
    const { path, encode, decode } = method;
    return endpoint.client.makeServerStreamRequest(path, encode, decode, call.request, shown(call.token));
  }

  /** Turns to the next endpoint, unless another call has already turned away from this one. */
  fail(address: string): void {
    if (this.#endpoints[this.#current]!.address !== address) return;
    this.#current = (this.#current + 1) % this.#endpoints.length;
  }

  close(): void {
    for (const { client } of this.#endpoints) client.close();
  }

  #at(address: string): Endpoint {
    const endpoint = this.#endpoints.find((candidate) => candidate.address === address);
    if (endpoint !== undefined) return endpoint;
    throw new ClientError('invalid-argument', `${address} is not one of the endpoints`, { unsent: true });
  }

  async #beforeRetry(attempt: number, signal: AbortSignal | undefined): Promise<void> {
    if (attempt % this.#endpoints.length === 0) await pause(ROUND_PAUSE_MS, signal);
  }
}

/** Whether a member serves nobody now, or may be cut off. */
function isSilent({ code }: ClientError): boolean {
  return code === 'unavailable' || code === 'deadline-exceeded';
}

/** @throws ClientError `canceled` */
export async function pause(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(durationMs, undefined, signal === undefined ? {} : { signal });
  } catch {
    throw canceled();
  }
}

function canceled(): ClientError {
  return new ClientError('canceled', 'the call was canceled', { unsent: true });
}

/**
 * Waits until the endpoint is connected: only then is something sent, so a failure here means that nothing was.
 * An attempt that fails ends the wait at once; grpc-js alone would go on trying until the deadline.
 */
async function ready(endpoint: Endpoint, deadlineMs: number, signal: AbortSignal | undefined): Promise<void> {
  const channel = endpoint.client.getChannel();
  const failing = channel.getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE;
  const untilMs = failing ? Math.min(deadlineMs, Date.now() + RECONNECT_TIMEOUT_MS) : deadlineMs;
  for (let changes = 0; ; changes += 1) {
    if (signal?.aborted) throw canceled();
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return;
    const failed = state === connectivityState.TRANSIENT_FAILURE && changes > 0;
    const gone = failed || state === connectivityState.SHUTDOWN;
    if (gone || !(await changed(endpoint, state, { deadlineMs: untilMs, signal }))) {
      if (signal?.aborted) throw canceled();
      const reason = await tlsFailure(endpoint);
      const detail = reason === null ? '' : `: ${reason}`;
      throw new ClientError('unavailable', `cannot connect to ${endpoint.address}${detail}`, {
        unsent: true,
      });
    }
  }
}

async function changed(
  endpoint: Endpoint,
  state: connectivityState,
  until: { readonly deadlineMs: number; readonly signal: AbortSignal | undefined },
): Promise<boolean> {
  return new Promise((resolve) => {
    const onAbort = (): void => resolve(false);
    until.signal?.addEventListener('abort', onAbort, { once: true });
    endpoint.client.getChannel().watchConnectivityState(state, until.deadlineMs, (error) => {
      until.signal?.removeEventListener('abort', onAbort);
      resolve(error === undefined);
    });
  });
}

async function invoke<Req, Res>(
  endpoint: Endpoint,
  method: Method<Req, Res>,
  request: Partial<Req>,
  limits: Pick<CallLimits, 'signal' | 'token'> & { readonly deadlineMs: number },
): Promise<Res> {
  return new Promise((resolve, reject) => {
    const done = (error: ServiceError | null, response?: Res): void => {
      limits.signal?.removeEventListener('abort', onAbort);
      if (error !== null) reject(statusError(error, { cause: error, mutating: method.mutating }));
      else resolve(response!);
    };
    const call = endpoint.client.makeUnaryRequest<Partial<Req>, Res>(
      method.path,
      method.encode,
      method.decode,
      request,
      shown(limits.token),
      { deadline: limits.deadlineMs },
      done,
    );
    const onAbort = (): void => call.cancel();
    limits.signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function shown(token: string | null | undefined): Metadata {
  const metadata = new Metadata();
  if (token !== null && token !== undefined) metadata.set('token', token);
  return metadata;
}
