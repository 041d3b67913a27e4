import type { Field } from './hpack.ts';

/** What a request's header block says, checked as RFC 9113 8.2 and 8.3 demand. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  /** The first value of each name, pseudo fields aside. */
  readonly fields: ReadonlyMap<string, string>;
  /** Length of all names and values. */
  readonly bytes: number;
}

/** They belong to HTTP/1.1's connections and make a request malformed (RFC 9113, 8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);
const PSEUDO_FIELDS: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority']);
/** Visible ASCII without capitals (RFC 9113, 8.2.1). */
const NAME = /^[!-9;-@[-~]+$/;
const FORBIDDEN_IN_VALUE: readonly string[] = ['\0', '\n', '\r'];

/** The head, or null when the request is malformed: its stream ends with PROTOCOL_ERROR then. */
export function requestHead(list: readonly Field[]): RequestHead | null {
  const pseudo = new Map<string, string>();
  const fields = new Map<string, string>();
  let bytes = 0;
  for (const [name, value] of list) {
    bytes += name.length + value.length;
    if (FORBIDDEN_IN_VALUE.some((character) => value.includes(character))) return null;
    if (name.startsWith(':')) {
      if (!PSEUDO_FIELDS.has(name) || pseudo.has(name) || fields.size > 0) return null;
      pseudo.set(name, value);
      continue;
    }
    if (!NAME.test(name) || CONNECTION_FIELDS.has(name)) return null;
    if (name === 'te' && value !== 'trailers') return null;
    if (!fields.has(name)) fields.set(name, value);
  }
  const method = pseudo.get(':method');
  const path = pseudo.get(':path');
  if (method === undefined || path === undefined || path === '' || !pseudo.has(':scheme')) return null;
  return { method, path, fields, bytes };
}
