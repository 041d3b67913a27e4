import { StoreError } from '../../lib/errors.ts';

/** Where to listen or connect. */
export interface PeerEndpoint {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads a peer URL, `http://host:port` with nothing behind it.
 *
 * @throws StoreError `bad-options` naming the URL; `https` is refused until connections are encrypted
 */
export function parsePeerUrl(text: string): PeerEndpoint {
  const refuse = (why: string): never => {
    throw new StoreError('bad-options', `peer URL ${text} ${why}`);
  };
  if (!URL.canParse(text)) return refuse('is not a URL');
  const url = new URL(text);
  if (url.protocol === 'https:') return refuse('asks for TLS, which members do not speak with each other');
  if (url.protocol !== 'http:') return refuse('must begin with http://');
  const rest = url.pathname + url.search + url.hash + url.username + url.password;
  if (rest !== '/' && rest !== '') return refuse('must be only scheme, host and port');
  // URL drops the scheme's default port.
  const port = url.port === '' ? 80 : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port };
}

/** The URL of an endpoint. */
export function formatPeerUrl(endpoint: PeerEndpoint): string {
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return `http://${host}:${endpoint.port}`;
}
