import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Problem } from './problems.ts';

/** JSON, a value a line: what an answer comes as whose work takes long. */
export const LINES_TYPE = 'application/x-ndjson';

/**
 * How far a long change has got, for callers that take `application/x-ndjson`: lines of `{"progress": {"done", "total"}}`,
 * and the result, or `{"problem": …}`, as the last one. It begins with the first progress, so that whatever is refused
 * before anything is done is answered as ever.
 */
export class ProgressLines {
  readonly #reply: FastifyReply;
  readonly #isWanted: boolean;
  #isBegun = false;

  constructor({ headers }: FastifyRequest, reply: FastifyReply) {
    this.#reply = reply;
    this.#isWanted = (headers.accept ?? '').includes(LINES_TYPE);
  }

  /** Whether the answer has begun: it then ends by `end`. */
  get isBegun(): boolean {
    return this.#isBegun;
  }

  told(done: number, total: number): void {
    if (!this.#isWanted) return;
    if (!this.#isBegun) {
      this.#isBegun = true;
      this.#reply.hijack();
      this.#reply.raw.writeHead(200, { 'content-type': LINES_TYPE, 'cache-control': 'no-store' });
    }
    this.#write({ progress: { done, total } });
  }

  end(last: { readonly [name: string]: unknown } | { readonly problem: Problem }): void {
    this.#write(last);
    this.#reply.raw.end();
  }

  #write(line: object): void {
    this.#reply.raw.write(`${JSON.stringify(line)}\n`);
  }
}
