/** What comes before the path where a request names the server it is for, as proxies are asked. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;

/** The parts of an HTTP request's target that say what is asked for. */
export interface RequestTarget {
  /** Up to the query; `/` where there is none. */
  readonly path: string;
  /** Without the question mark; empty where there is none. */
  readonly query: string;
  /** Of a target in absolute form: it takes the place of the `Host` header. */
  readonly host: string | null;
}

/**
 * A target in origin form (`/version`) or in absolute form (`http://host/version`), which every server must take (RFC
 * 9112 section 3.2.2). Nothing is decoded; what is neither is a path that nobody serves.
 */
export function requestTarget(url: string | undefined): RequestTarget {
  const text = url ?? '/';
  const [origin = '', host = null] = ABSOLUTE.exec(text) ?? [];
  const at = text.indexOf('?', origin.length);
  const path = text.slice(origin.length, at < 0 ? undefined : at);
  return { path: path === '' ? '/' : path, query: at < 0 ? '' : text.slice(at + 1), host };
}
