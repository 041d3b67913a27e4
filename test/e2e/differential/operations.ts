/**
 * What is sent to both servers, as plain data: an operation says everything itself, so that any part of a stream is
 * a stream again.
 */
export type Operation =
  | {
      readonly type: 'call';
      /** Below `etcdserverpb.`, such as `KV/Put`. */
      readonly path: string;
      readonly request: Fields;
      /** Sent with the token that this user's last `login` got. */
      readonly as?: string;
    }
  | { readonly type: 'login'; readonly name: string; readonly password: string }
  | { readonly type: 'keep-alive'; readonly request: Fields; readonly as?: string }
  | { readonly type: 'watch-create'; readonly stream: number; readonly request: Fields; readonly as?: string }
  | { readonly type: 'watch-cancel'; readonly stream: number; readonly request: Fields }
  | { readonly type: 'watch-progress'; readonly stream: number }
  | { readonly type: 'watch-close'; readonly stream: number }
  /** Waits until both servers' watches are through, and compares what they delivered. */
  | { readonly type: 'settle' };

/** Fields of a message as on the wire, some of them told by what was answered before. */
export interface Fields {
  readonly [field: string]: FieldValue;
}
export type FieldValue =
  | string
  | number
  | bigint
  | boolean
  | Buffer
  | Symbolic
  | Fields
  | readonly FieldValue[];

/** The newest revision, the last one compacted, the server's own member id; `plus` is added. */
export class Symbolic {
  readonly of: 'revision' | 'compacted' | 'self';
  readonly plus: number;

  constructor(of: Symbolic['of'], plus = 0) {
    this.of = of;
    this.plus = plus;
  }
}

/** A request with every symbol replaced. */
export function resolve(value: FieldValue, known: (symbol: Symbolic) => number | bigint): FieldValue {
  if (value instanceof Symbolic) return known(value);
  if (Buffer.isBuffer(value) || typeof value !== 'object') return value;
  if (isList(value)) return value.map((item) => resolve(item, known));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, resolve(item, known)]));
}

function isList(value: Fields | readonly FieldValue[]): value is readonly FieldValue[] {
  return Array.isArray(value);
}

const TEXT_BYTES_MAX = 64;

/** One line for a report; long values are shortened. */
export function show(value: unknown): string {
  if (Buffer.isBuffer(value)) {
    if (value.length > TEXT_BYTES_MAX) return `<${value.length} bytes>`;
    return JSON.stringify(value.toString('latin1'));
  }
  if (value instanceof Symbolic) {
    return value.plus === 0 ? `$${value.of}` : `$${value.of}${value.plus > 0 ? '+' : ''}${value.plus}`;
  }
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (typeof value === 'string' && value.length > TEXT_BYTES_MAX * 2) return `<${value.length} characters>`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined';
  const fields = Object.entries(value).map(([name, item]) => `${name}: ${show(item)}`);
  return `{ ${fields.join(', ')} }`;
}
