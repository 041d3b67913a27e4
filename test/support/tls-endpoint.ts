import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import { DEFAULT_CIPHERS } from '../../src/tls/ciphers.ts';
import { TlsEndpoint, type TlsSettings } from '../../src/tls/endpoint.ts';

/** An endpoint of these files, with the defaults of the options; its clock is the caller's when given. */
export function tlsEndpoint(
  settings: Partial<TlsSettings> & Pick<TlsSettings, 'certFile' | 'keyFile'>,
  rest: { readonly logger?: Logger; readonly nowMs?: () => number } = {},
): TlsEndpoint {
  return new TlsEndpoint({
    settings: {
      dialCertFile: null,
      dialKeyFile: null,
      trustedCaFile: null,
      crlFile: null,
      requireClientCertificate: (settings.trustedCaFile ?? null) !== null,
      trustAnyServer: false,
      allowedCommonNames: [],
      allowedHostnames: [],
      checkClientAddress: false,
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers: DEFAULT_CIPHERS,
      ...settings,
    },
    logger: rest.logger ?? silentLogger,
    ...(rest.nowMs === undefined ? {} : { nowMs: rest.nowMs }),
  });
}
