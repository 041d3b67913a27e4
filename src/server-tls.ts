import { join } from 'node:path';
import { assert } from './lib/assert.ts';
import type { Logger } from './lib/logger.ts';
import { isLoopback, type TlsOptions } from './option-tls.ts';
import type { ServerOptions } from './options.ts';
import { TlsEndpoint } from './tls/endpoint.ts';
import { selfSignedFiles } from './tls/self-signed.ts';

/** Below the data directory: certificates that the member made for itself. */
const AUTO_TLS_DIRECTORY = 'auto-tls';

type Side = 'client' | 'peer';

/**
 * Loads, or generates, the certificates of both sides, and warns of what is left unprotected.
 *
 * @throws StoreError `bad-options` naming the file that cannot be used
 */
export function openTls(
  options: ServerOptions,
  logger: Logger,
): { readonly client: TlsEndpoint | null; readonly peer: TlsEndpoint | null } {
  const { listenClientUrls, listenPeerUrls, listenHttpUrls } = options;
  const urls = [...listenClientUrls, ...listenPeerUrls, ...listenHttpUrls];
  const plain = urls.filter((url) => url.startsWith('http:') && !isLoopback(url));
  if (plain.length > 0) {
    logger.warn({ urls: plain }, 'plain text leaves this machine: anybody on the way can read and change it');
  }
  return { client: endpoint('client', options, logger), peer: endpoint('peer', options, logger) };
}

/** The certificates of the clients' side once more, for another thread. @throws StoreError `bad-options` */
export function clientEndpoint(options: ServerOptions, logger: Logger): TlsEndpoint | null {
  return endpoint('client', options, logger);
}

/** An endpoint whose certificates come from files. @throws StoreError `bad-options` */
export function fileEndpoint(tls: TlsOptions, logger: Logger): TlsEndpoint {
  const { source } = tls;
  assert(source.type === 'files', 'only a member makes certificates for itself');
  return new TlsEndpoint({ settings: { ...rulesOf(tls), ...source }, logger });
}

function endpoint(side: Side, options: ServerOptions, logger: Logger): TlsEndpoint | null {
  const tls = side === 'client' ? options.clientTls : options.peerTls;
  if (tls === null) return null;
  const { source, trustedCaFile } = tls;
  if (side === 'peer' && trustedCaFile === null) {
    logger.warn(
      {},
      'members are not verified: --peer-trusted-ca-file says whose certificates they must have',
    );
  }
  const files =
    source.type === 'files' ? source : generated({ side, options, years: source.validityYears }, logger);
  return new TlsEndpoint({ settings: { ...rulesOf(tls), ...files }, logger });
}

function rulesOf(tls: TlsOptions) {
  const { trustedCaFile, crlFile, allowedCommonNames, allowedHostnames } = tls;
  const { minVersion, maxVersion, ciphers } = tls;
  return {
    trustedCaFile,
    crlFile,
    allowedCommonNames,
    allowedHostnames,
    minVersion,
    maxVersion,
    ciphers,
    requireClientCertificate: trustedCaFile !== null,
    trustAnyServer: tls.source.type === 'generated' && trustedCaFile === null,
    checkClientAddress: !tls.skipClientSanVerification,
  };
}

function generated(
  what: { readonly side: Side; readonly options: ServerOptions; readonly years: number },
  logger: Logger,
) {
  const { side, options, years } = what;
  const urls =
    side === 'client'
      ? [...options.listenClientUrls, ...options.advertiseClientUrls]
      : [...options.listenPeerUrls, ...options.initialAdvertisePeerUrls];
  const { certFile, keyFile, isNew } = selfSignedFiles({
    directory: join(options.dataDir, AUTO_TLS_DIRECTORY, side),
    hosts: urls.map((url) => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1')),
    validityYears: years,
  });
  if (isNew) logger.warn({ certFile, side }, 'certificate generated: who connects cannot tell who answers');
  return { certFile, keyFile, dialCertFile: null, dialKeyFile: null };
}
