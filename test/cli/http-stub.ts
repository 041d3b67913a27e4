import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as the stub heard it. */
export interface Heard {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  /** JSON when it is some, else text. */
  readonly body: unknown;
}
/** What is answered; a body that is text goes out as it is. */
export interface Said {
  readonly status?: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/**
 * Answers the paths of the configuration service from a script, so that a command can be tested by what it asks and
 * prints. Whether the service really answers so is what the end-to-end tests are for.
 */
export class HttpStub {
  readonly heard: Heard[] = [];
  readonly #answers = new Map<string, Said | ((request: Heard) => Said)>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<HttpStub> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { status = 200, type = 'application/json', headers = {}, body } = stub.#answer(request, chunks);
        response.writeHead(status, { 'content-type': type, ...headers });
        response.end(typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body));
      });
    });
    const stub = new HttpStub(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return stub;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get server(): Server {
    return this.#server;
  }

  /** From now on `METHOD /path` is answered so. */
  on(words: string, answer: Said | ((request: Heard) => Said)): void {
    this.#answers.set(words, answer);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #answer(request: IncomingMessage, chunks: readonly Buffer[]): Said {
    const { pathname, searchParams } = new URL(request.url!, 'http://stub');
    const text = Buffer.concat(chunks).toString();
    const heard: Heard = {
      method: request.method!,
      path: pathname,
      query: Object.fromEntries(searchParams),
      headers: request.headers,
      body: parsed(text),
    };
    this.heard.push(heard);
    const answer = this.#answers.get(`${heard.method} ${heard.path}`);
    if (answer === undefined) return problem(404, 'not-found', `no ${heard.path}`);
    return typeof answer === 'function' ? answer(heard) : answer;
  }
}

/** A failure as RFC 9457 has it. */
export function problem(
  status: number,
  code: string,
  detail: string,
  more: { readonly errors?: readonly { field: string; message: string }[]; readonly retryable?: string } = {},
): Said {
  const { errors = [], retryable = 'never' } = more;
  const type = `urn:conclave:problem:${code}`;
  return {
    status,
    type: 'application/problem+json',
    body: { type, title: code, status, detail, code, retryable, errors },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
