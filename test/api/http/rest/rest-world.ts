import type { FastifyInstance } from 'fastify';
import { expect } from 'vitest';
import { type RestOptions, restApp } from '../../../../src/api/http/rest/app.ts';
import type { IdentityOptions } from '../../../../src/api/identity.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import type { Json } from '../../../../src/service/model.ts';
import { inWorld, type World, type WorldOptions } from '../../../service/world.ts';
import { AnswerCheck } from './answer-check.ts';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS';

type Headers = Readonly<Record<string, string>>;

/** What came back. */
export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into all kinds of answers
  readonly body: any;
}

export interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is, else `body` as JSON. */
  readonly payload?: string | Buffer;
  readonly body?: unknown;
}

/** A REST face on a service on a store in memory. */
export interface RestWorld extends World {
  readonly app: FastifyInstance;
  readonly call: (method: Method, url: string, sent?: Sent) => Promise<Answered>;
  readonly get: (url: string, headers?: Headers) => Promise<Answered>;
  readonly post: (url: string, body?: unknown, headers?: Headers) => Promise<Answered>;
  readonly put: (url: string, body?: unknown, headers?: Headers) => Promise<Answered>;
  readonly del: (url: string, headers?: Headers) => Promise<Answered>;
}

export interface RestWorldOptions extends WorldOptions {
  readonly rest?: Partial<RestOptions>;
  readonly identity?: Partial<IdentityOptions>;
}

/** Opens everything, runs, and closes it. Every answer is held to the OpenAPI document. */
export async function inRestWorld<T>(
  run: (world: RestWorld) => Promise<T>,
  options: RestWorldOptions = {},
): Promise<T> {
  return inWorld(async (world) => {
    const app = await restApp({
      service: world.service,
      identity: { kv: world.memory, requireIdentity: false, ...options.identity },
      logger: silentLogger,
      ...options.rest,
    });
    const check = new AnswerCheck(app.swagger());
    try {
      const call = async (method: Method, url: string, sent: Sent = {}): Promise<Answered> => {
        const { body, payload, headers } = sent;
        const json = payload === undefined && body !== undefined;
        const response = await app.inject({
          method,
          url,
          headers: { ...(json && { 'content-type': 'application/json' }), ...headers },
          ...(json ? { payload: JSON.stringify(body) } : payload === undefined ? {} : { payload }),
        });
        const answered = answeredOf(response.statusCode, response.headers, response.body);
        check.hold(method, url, answered);
        return answered;
      };
      return await run({
        ...world,
        app,
        call,
        get: async (url, headers) => call('GET', url, { ...(headers && { headers }) }),
        post: async (url, body, headers) => call('POST', url, { body, ...(headers && { headers }) }),
        put: async (url, body, headers) => call('PUT', url, { body, ...(headers && { headers }) }),
        del: async (url, headers) => call('DELETE', url, { ...(headers && { headers }) }),
      });
    } finally {
      await app.close();
    }
  }, options);
}

export function answeredOf(
  status: number,
  headers: Readonly<Record<string, unknown>>,
  text: string,
): Answered {
  const { 'content-type': type } = headers;
  const isJson = typeof type === 'string' && /^application\/(?:.+\+)?json/.test(type);
  return {
    status,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
    text,
    body: isJson && text !== '' ? (JSON.parse(text) as Json) : null,
  };
}

/** A failure in the shape that the path has, which names these fields. */
export function expectProblem(answer: Answered, status: number, fields: readonly string[] = []): void {
  expect({ status: answer.status, text: answer.text }).toMatchObject({ status });
  const named = new Set<string>(answer.body.errors.map(({ field }: { field: string }) => field));
  expect([...named].toSorted()).toEqual(fields.toSorted());
  for (const { message } of answer.body.errors) expect(message).toMatch(/\S/);
}
