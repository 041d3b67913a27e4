import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { type Spread, spread } from '../statistics.ts';

/** One request of REST. */
export interface HttpCall {
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
}

export interface HttpAnswer {
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** A REST client on connections that are kept, for loads whose requests differ. */
export class HttpClient {
  readonly #url: string;
  readonly #agent: Agent;

  /** @param url `http://host:port` */
  constructor(url: string, connections: number) {
    this.#url = url;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** @throws Error for another status than one of success */
  async call({ method = 'GET', path, headers = {}, body }: HttpCall): Promise<HttpAnswer> {
    const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body));
    const described = bytes === null ? {} : { 'content-type': 'application/json' };
    const all = { ...described, 'content-length': bytes?.length ?? 0, ...headers };
    const response = await this.#answered({ method, path, headers: all, bytes });
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const answer = Buffer.concat(chunks);
    const { statusCode = 0 } = response;
    if (statusCode < 200 || statusCode > 299) {
      throw new Error(`${method} ${path}: ${statusCode} ${answer.toString().slice(0, 300)}`);
    }
    return { headers: response.headers, body: answer };
  }

  /** Servers close connections that nothing was asked on for a while: what was then being sent on one is sent on another. */
  async #answered(asked: {
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string | number>>;
    readonly bytes: Buffer | null;
  }): Promise<IncomingMessage> {
    const { method, path, headers, bytes } = asked;
    const sent = request(`${this.#url}${path}`, { method, agent: this.#agent, headers });
    sent.end(bytes);
    try {
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      return response;
    } catch (error) {
      const isClosed = sent.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      if (!isClosed) throw error;
      return this.#answered(asked);
    }
  }

  /** The body of an answer as what the caller knows it to be. @throws Error as `call` */
  async json<T>(call: HttpCall): Promise<T> {
    return JSON.parse((await this.call(call)).body.toString()) as T;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** What a closed loop measured. */
export interface LoopFigures {
  readonly requestsPerSecond: number;
  readonly latencyMs: Spread;
}

/**
 * So many requests, each worker's next one as soon as its last is answered.
 *
 * @throws whatever a request fails with, once all workers have stopped
 */
export async function closedLoop({
  workers,
  requests,
  send,
}: {
  readonly workers: number;
  readonly requests: number;
  /** Resolves when it is answered, and the answer was found to be right. */
  readonly send: (worker: number) => Promise<void>;
}): Promise<LoopFigures> {
  const latenciesMs: number[] = [];
  let begun = 0;
  let failure: { readonly error: unknown } | null = null;
  const startedMs = performance.now();
  const run = async (worker: number): Promise<void> => {
    while (begun < requests && failure === null) {
      begun += 1;
      const sentMs = performance.now();
      try {
        await send(worker);
        latenciesMs.push(performance.now() - sentMs);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => run(worker)));
  if (failure !== null) throw (failure as { readonly error: unknown }).error;
  const seconds = (performance.now() - startedMs) / 1000;
  return { requestsPerSecond: requests / seconds, latencyMs: spread(latenciesMs) };
}
