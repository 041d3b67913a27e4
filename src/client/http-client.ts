import { type IncomingHttpHeaders, type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { ClientError } from './client-error.ts';
import type { ClientTls } from './endpoint.ts';
import { LinkedSignal } from './linked-signal.ts';
import { ProblemError, problemOf } from './problem.ts';
import type { Login } from './sign-in.ts';

/** Bytes of an answer that is read as a whole. */
export const HTTP_ANSWER_BYTES_MAX: number = 64 * 1024 * 1024;
/** The same, of an answer that says what went wrong. */
const PROBLEM_BYTES_MAX = 1024 * 1024;

/** How to reach the HTTP face of a cluster. */
export interface HttpClientOptions {
  /** `http://host:port` or `https://host:port` of one or more members; the first that answers is used. */
  readonly endpoints: readonly string[];
  readonly tls?: ClientTls | undefined;
  /** Who is asking, where the cluster wants to know. */
  readonly login?: Login | undefined;
  /** How long one call may take unless it says otherwise. */
  readonly timeoutMs: number;
  /** Sent with every call. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** From the first slash on. */
  readonly path: string;
  /** Undefined ones are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | Buffer;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether making it twice is the same as making it once. Default: of GET. */
  readonly isRepeatable?: boolean;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}
/** An answer whose body comes piece by piece, without a deadline. */
export interface HttpStream {
  readonly headers: IncomingHttpHeaders;
  readonly body: AsyncIterable<Buffer>;
}

/** Answers after which another member may do better. */
const ELSEWHERE: ReadonlySet<number> = new Set([502, 503, 504]);

/**
 * Calls of the HTTP face. When a member cannot be reached the next is asked; one that may have got a call is followed by
 * another only if the call is repeatable.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #urls: readonly URL[];
  /** Where the last call succeeded. */
  #at = 0;

  /** @throws ClientError `invalid-argument` for an endpoint that is no address */
  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#urls = options.endpoints.map(urlOf);
    if (this.#urls.length === 0) throw refused('there is no HTTP endpoint');
  }

  /** Sent with every call, who is asking included. */
  get headers(): Readonly<Record<string, string>> {
    const { login, headers } = this.#options;
    const given = { ...(login === undefined ? {} : { authorization: basicOf(login) }), ...headers };
    return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, wireText(value)]));
  }

  /** @throws ProblemError for an answer that is not of 200 to 299, redirections too; ClientError when there is none */
  async call(call: HttpCall): Promise<HttpAnswer> {
    return this.#anywhere(call, async (url) => {
      using limit = new LinkedSignal([call.signal], call.timeoutMs ?? this.#options.timeoutMs);
      try {
        const message = await this.#send(url, call, limit.signal);
        const body = await whole(message, isFailure(message) ? PROBLEM_BYTES_MAX : HTTP_ANSWER_BYTES_MAX);
        if (isFailure(message)) throw problemOf(message.statusCode!, message.headers, body);
        return { status: message.statusCode!, headers: message.headers, body };
      } catch (error) {
        throw failureOf(error, { isTimeout: limit.isTimeout, isCanceled: call.signal?.aborted === true });
      }
    });
  }

  /** As `call`; the signal ends the stream, and then it throws ClientError `canceled`. */
  async stream(call: HttpCall): Promise<HttpStream> {
    return this.#anywhere(call, async (url) => {
      const isCanceled = (): boolean => call.signal?.aborted === true;
      try {
        const message = await this.#send(url, call, call.signal);
        if (isFailure(message))
          throw problemOf(message.statusCode!, message.headers, await whole(message, PROBLEM_BYTES_MAX));
        return { headers: message.headers, body: chunksOf(message, isCanceled) };
      } catch (error) {
        throw failureOf(error, { isTimeout: false, isCanceled: isCanceled() });
      }
    });
  }

  async #anywhere<T>(call: HttpCall, work: (url: URL) => Promise<T>): Promise<T> {
    const isRepeatable = call.isRepeatable ?? call.method === 'GET';
    const first = this.#at;
    for (let tries = 1; ; tries += 1) {
      const at = (first + tries - 1) % this.#urls.length;
      try {
        const answer = await work(this.#urls[at]!);
        this.#at = at;
        return answer;
      } catch (error) {
        // A connection that was kept may have been closed meanwhile: even a member that is alone gets another chance.
        const most = isRepeatable && wasCutOff(error) ? Math.max(2, this.#urls.length) : this.#urls.length;
        if (tries >= most || !mayGoOn(error, isRepeatable)) throw error;
      }
    }
  }

  #send(url: URL, call: HttpCall, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    const { tls } = this.#options;
    const body = call.body === undefined ? undefined : Buffer.from(call.body);
    const given = { ...this.headers, ...call.headers };
    const options = {
      method: call.method,
      // As it is: a URL would take a name like ".." for a step up.
      path: withQuery(call),
      headers: {
        accept: 'application/json, application/problem+json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
        ...(body === undefined ? {} : { 'content-length': body.length }),
      },
      ...(signal === undefined ? {} : { signal }),
    };
    return new Promise((resolve, reject) => {
      const sent =
        url.protocol === 'https:'
          ? tlsRequest(url, { ...options, ...tlsOptions(tls) })
          : plainRequest(url, options);
      sent.on('response', resolve);
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw refused(`HTTP endpoint '${text}' is not of the form http://host:port`);
  return url;
}

function refused(message: string): ClientError {
  return new ClientError('invalid-argument', message, { unsent: true });
}

function withQuery({ path, query = {} }: HttpCall): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) words.set(name, String(value));
  return words.size === 0 ? path : `${path}?${words.toString()}`;
}

/** In a header each byte of UTF-8 goes as one character. */
function wireText(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function basicOf({ user, password }: Login): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function tlsOptions(tls: ClientTls | undefined): Record<string, unknown> {
  if (tls === undefined) return {};
  const { ca, cert, key, insecureSkipVerify } = tls;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert, key }),
    rejectUnauthorized: insecureSkipVerify !== true,
  };
}

/** Nobody is followed elsewhere: who is asking is told to the endpoints alone. */
function isFailure(message: IncomingMessage): boolean {
  return message.statusCode! < 200 || message.statusCode! >= 300;
}

async function whole(message: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message) {
    bytes += (chunk as Buffer).length;
    if (bytes > bytesMax)
      throw new ClientError('resource-exhausted', `the answer has more than ${bytesMax} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

async function* chunksOf(message: IncomingMessage, isCanceled: () => boolean): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of message) yield chunk as Buffer;
  } catch (error) {
    throw failureOf(error, { isTimeout: false, isCanceled: isCanceled() });
  }
}

/** Of a connection that was never made. */
const UNSENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

function failureOf(
  error: unknown,
  { isTimeout, isCanceled }: { readonly isTimeout: boolean; readonly isCanceled: boolean },
): unknown {
  if (error instanceof ProblemError || error instanceof ClientError) return error;
  if (isCanceled) return new ClientError('canceled', 'the call was canceled', { uncertain: true });
  if (isTimeout) return new ClientError('deadline-exceeded', 'no answer in time', { uncertain: true });
  const unsent = error instanceof Error && UNSENT.has(String((error as NodeJS.ErrnoException).code));
  const text = error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code) : '';
  return new ClientError('unavailable', text, { unsent, uncertain: !unsent, cause: error });
}

function wasCutOff(error: unknown): boolean {
  return error instanceof ClientError && error.code === 'unavailable' && !error.unsent;
}

function mayGoOn(error: unknown, isRepeatable: boolean): boolean {
  if (error instanceof ProblemError) return isRepeatable && ELSEWHERE.has(error.status);
  if (!(error instanceof ClientError) || error.code === 'canceled') return false;
  return error.unsent || (isRepeatable && error.code !== 'invalid-argument');
}
