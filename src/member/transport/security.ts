import { isIP, connect as plainConnect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { StoreError } from '../../lib/errors.ts';
import type { TlsEndpoint } from '../../tls/endpoint.ts';
import { formatPeerUrl, type PeerEndpoint } from './peer-url.ts';

/** How connections between members are protected. */
export interface PeerSecurity {
  /** Null: members are neither served nor reached over TLS. */
  readonly tls: TlsEndpoint | null;
  /** Plain text may leave this machine. */
  readonly allowInsecure: boolean;
}

/** For members that are reached on this machine only. */
export const LOOPBACK_ONLY: PeerSecurity = { tls: null, allowInsecure: false };

/** @throws StoreError `bad-options` when the endpoint asks for what is not there, or would be plain text outside */
export function checkSecurity(endpoint: PeerEndpoint, security: PeerSecurity): void {
  const url = formatPeerUrl(endpoint);
  if (endpoint.secure && security.tls === null) {
    throw new StoreError('bad-options', `peer URL ${url} needs a certificate for members`);
  }
  if (!endpoint.secure && !security.allowInsecure && !isLoopbackHost(endpoint.host)) {
    throw new StoreError('bad-options', `peer URL ${url} would leave this machine unencrypted`);
  }
}

/** Begins to connect; what is written before the connection stands waits for it. */
export function connectTo(endpoint: PeerEndpoint, security: PeerSecurity): Socket {
  const { host, port } = endpoint;
  if (!endpoint.secure || security.tls === null) return plainConnect({ host, port });
  return tlsConnect({ host, port, ...security.tls.connectOptions(host) });
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || (isIP(host) === 4 && host.startsWith('127.')) || host === '::1';
}
