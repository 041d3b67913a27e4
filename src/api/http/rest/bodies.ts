import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Json } from '../../../service/model.ts';
import { invalid, ServiceError } from '../../../service/service-error.ts';
import { isObject } from '../../../service/values/json-limits.ts';
import { parseJsonText, TextProblem } from '../../../service/values/json-text.ts';
import { CHECKED_WHOLE_BYTES_MAX, type RestLimits } from './limits.ts';

/** Media types whose bodies are JSON. */
const JSON_TYPES = ['application/json', 'application/merge-patch+json'];

/** Takes JSON bodies only, read strictly: nothing in them is changed or passed over without a word. */
export function takeJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(JSON_TYPES, { parseAs: 'buffer' }, (request, body, done) => {
    try {
      const json = jsonOf(textOf(request, body));
      if (isObject(json) && body.length > CHECKED_WHOLE_BYTES_MAX) largeBodies.add(json);
      done(null, json);
    } catch (error) {
      done(error as Error);
    }
  });
}

/** Whether so much came that only the first of what is wrong with it is looked for. */
export function isLargeBody(body: unknown): boolean {
  return typeof body === 'object' && body !== null && largeBodies.has(body);
}

const largeBodies = new WeakSet<object>();

/** Takes bodies of these media types as they are, as text in UTF-8. */
export function takeText(app: FastifyInstance, types: readonly string[]): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>([...types], { parseAs: 'buffer' }, (request, body, done) => {
    try {
      done(null, textOf(request, body));
    } catch (error) {
      done(error as Error);
    }
  });
}

function jsonOf(text: string): Json | undefined {
  if (text === '') return undefined;
  try {
    return parseJsonText(text);
  } catch (error) {
    if (!(error instanceof TextProblem)) throw error;
    const place = `line ${error.line}, column ${error.column}`;
    throw invalid({ field: '', message: `the body is no JSON: ${place}: ${error.message}` });
  }
}

function textOf(request: FastifyRequest, body: Buffer): string {
  const charset = /;\s*charset="?([^";]+)"?/i.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  if (!/^(?:utf-?8|us-ascii)$/i.test(charset.trim())) {
    throw invalid({ field: 'Content-Type', message: `the charset must be utf-8, not ${charset}` });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch (cause) {
    throw new ServiceError('invalid', 'the body is not UTF-8', {
      cause,
      problems: [{ field: '', message: 'the body is not UTF-8' }],
    });
  }
}

/**
 * What all requests under way hold together. A body counts with its announced length, or with the most that its route
 * takes, from the headers to the answer.
 */
export class HeldRequests {
  readonly #limits: Pick<RestLimits, 'heldBytesMax' | 'requestsMax'>;
  #requests = 0;
  #bytes = 0;

  constructor(limits: Pick<RestLimits, 'heldBytesMax' | 'requestsMax'>) {
    this.#limits = limits;
  }

  /** @returns what lets go of it, and does nothing when it is called again. @throws ServiceError `too-many-requests` */
  take(request: FastifyRequest): () => void {
    const bytes = bodyBytes(request);
    const { heldBytesMax, requestsMax } = this.#limits;
    if (this.#requests >= requestsMax || (bytes > 0 && this.#bytes + bytes > heldBytesMax)) {
      throw new ServiceError('too-many-requests', 'this server has too many requests under way');
    }
    this.#requests += 1;
    this.#bytes += bytes;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#requests -= 1;
      this.#bytes -= bytes;
    };
  }
}

function bodyBytes({ headers, routeOptions }: FastifyRequest): number {
  const most = routeOptions.bodyLimit ?? 0;
  if (headers['transfer-encoding'] !== undefined) return most;
  return Math.min(most, Number(headers['content-length'] ?? 0));
}
