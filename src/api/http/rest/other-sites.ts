import type { IncomingMessage } from 'node:http';
import { requestTarget } from '../../../lib/request-target.ts';
import { ServiceError } from '../../../service/service-error.ts';

/** Methods that change nothing; links to them may stand anywhere. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Headers of every answer. A page of another site cannot read answers, but could run them: an export like `DB_HOST="db"` is
 * a script that sets a variable. Browsers give it nothing that says so (Fetch standard, Cross-Origin-Resource-Policy), and
 * take nothing for a script that is none by its type.
 */
export const FOR_THIS_SITE = {
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
} as const;

/**
 * Refuses changes that a page of another site asks for: a browser sends some of them without asking the server first, so
 * that any page could change what is on localhost, or behind a login that the browser knows.
 *
 * @throws ServiceError `forbidden`
 */
export function checkSite(request: IncomingMessage): void {
  if (READING.has(request.method ?? '') || !isOfAnotherSite(request)) return;
  throw new ServiceError('forbidden', 'pages of other sites may not change anything');
}

/**
 * Whether a page of another site sent it. Browsers say how the page stands to the server (Fetch Metadata), or at least
 * whose it is (RFC 6454); other clients say neither.
 */
export function isOfAnotherSite({ headers, url }: IncomingMessage): boolean {
  const { origin, 'sec-fetch-site': site } = headers;
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  if (origin === undefined) return false;
  const host = requestTarget(url).host ?? headers.host;
  return !URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase();
}
