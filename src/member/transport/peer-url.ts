import { StoreError } from '../../lib/errors.ts';

/** Where to listen or connect. */
export interface PeerEndpoint {
  readonly host: string;
  readonly port: number;
  /** Over TLS. */
  readonly secure: boolean;
}

/**
 * Reads a peer URL, `http://host:port` or `https://host:port` with nothing behind it.
 *
 * @throws StoreError `bad-options` naming the URL
 */
export function parsePeerUrl(text: string): PeerEndpoint {
  const refuse = (why: string): never => {
    throw new StoreError('bad-options', `peer URL ${text} ${why}`);
  };
  if (!URL.canParse(text)) return refuse('is not a URL');
  const url = new URL(text);
  const secure = url.protocol === 'https:';
  if (!secure && url.protocol !== 'http:') return refuse('must begin with http:// or https://');
  const rest = url.pathname + url.search + url.hash + url.username + url.password;
  if (rest !== '/' && rest !== '') return refuse('must be only scheme, host and port');
  // URL drops the scheme's default port.
  const port = url.port !== '' ? Number(url.port) : secure ? 443 : 80;
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port, secure };
}

/** The URL of an endpoint. */
export function formatPeerUrl(endpoint: PeerEndpoint): string {
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return `${endpoint.secure ? 'https' : 'http'}://${host}:${endpoint.port}`;
}
