import type { IncomingMessage } from 'node:http';
import { requestTarget } from './request-target.ts';

/** What a request's `Origin` means for it. Browsers send one; other clients do not. */
export interface Origin {
  /** What to answer in `Access-Control-Allow-Origin`, or null. */
  readonly allowed: string | null;
  /** A page of another site sent it, and that site is not allowed. */
  readonly refused: boolean;
}

/**
 * Without this any web page that somebody behind the firewall opens could write to the store: a browser sends simple
 * requests to other sites without asking.
 */
export function crossOrigin({ headers, url }: IncomingMessage, allowed: readonly string[]): Origin {
  if (allowed.includes('*')) return { allowed: '*', refused: false };
  const { origin } = headers;
  if (origin === undefined) return { allowed: null, refused: false };
  if (allowed.includes(origin)) return { allowed: origin, refused: false };
  const host = requestTarget(url).host ?? headers.host;
  const isOwn = URL.canParse(origin) && new URL(origin).host === host;
  return { allowed: null, refused: !isOwn };
}
