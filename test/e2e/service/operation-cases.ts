import { expect } from 'vitest';
import { configurationId } from '../../../src/config-format/ids.ts';
import type { Method } from '../../api/http/rest/rest-world.ts';

/** One request with the answer that it must have. */
export interface Case {
  readonly title: string;
  readonly method: Method;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, in the place of `body`. */
  readonly payload?: string;
  readonly status: number;
  /** Fields that a failure names, all of them. */
  readonly fields?: readonly string[];
  /** What the body of the answer is, as for `toEqual`; a text, or a pattern of it, for one that is no JSON. */
  readonly answer?: unknown;
  /** Header fields of the answer, among others. */
  readonly answerHeaders?: Readonly<Record<string, unknown>>;
  /** The answer shows secrets on purpose. */
  readonly reveals?: boolean;
}

/** A plain client writes past the service. */
export interface PlainPut {
  readonly plainKey: string;
  readonly value: string;
}

/** What an operation of the OpenAPI document is tried with. */
export interface OperationCases {
  /** Made before, in this order: each must succeed. */
  readonly given?: readonly (Case | PlainPut)[];
  /** In this order. The first one's path is that of the requests that are wrong in ways which all operations share. */
  readonly good: readonly Case[];
  /** None of them may change anything. */
  readonly bad: readonly Case[];
}

/** By the operation's id. */
export type CaseTable = Readonly<Record<string, OperationCases>>;

type More = Partial<Omit<Case, 'title' | 'method' | 'status'>>;

/** Makes the cases of one method and path; `at` is put behind it, `path` in its place. */
export function casesOf(
  method: Method,
  path: string,
): (title: string, status: number, more?: More & { readonly at?: string }) => Case {
  return (title, status, { at = '', ...more } = {}) => ({ title, method, status, path: path + at, ...more });
}

/** A configuration that is there, as our own paths make it. */
export function has(
  {
    application,
    environment,
    key,
  }: { readonly application: string; readonly environment: string; readonly key: string },
  value: unknown,
  more: object = {},
): Case {
  const item = { action: 'put', application, environment, key, value, ...more };
  return { title: 'given', method: 'POST', path: '/api/v1/bulk', body: { items: [item] }, status: 200 };
}

/** A request that prepares something. */
export function given(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Case {
  const status = { POST: 201, PUT: 200, DELETE: 204 }[method];
  return { title: 'given', method, path, status, ...(body === undefined ? {} : { body }) };
}

/** The id of a configuration of the default tenant. */
export function idOf(name: {
  readonly application: string;
  readonly environment: string;
  readonly key: string;
}): string {
  return configurationId({ tenant: 'default', ...name });
}

/** What stands where a value is a secret. */
export const MASK = '********';
/** An environment that nothing may be changed in, and one that wants a reason: `operations.test.ts` makes them. */
export const LOCKED = 'frozen';
export const REASONED = 'careful';
/** Some values that only their kind is known of. */
export const TIME: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
export const NUMBER: unknown = expect.any(Number);
export const TEXT: unknown = expect.any(String);
export const ETAG: unknown = expect.stringMatching(/^"[^"]+"$/);
/** More than one value may have. */
export const TOO_LARGE: string = 'x'.repeat(512 * 1024);
export const STALE: Readonly<Record<string, string>> = { 'if-match': '"1"' };

/** Some of an object's fields. */
export function some(fields: object): unknown {
  return expect.objectContaining(fields);
}
