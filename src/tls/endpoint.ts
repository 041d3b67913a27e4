import { constants, randomBytes, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  type ConnectionOptions,
  checkServerIdentity,
  type PeerCertificate,
  type SecureVersion,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import type { Logger } from '../lib/logger.ts';
import { type Loaded, type TlsFiles, TlsMaterial } from './material.ts';
import { addressRefusal } from './san-check.ts';

/** How one side of a member, the clients' or the peers', speaks TLS. */
export interface TlsSettings extends TlsFiles {
  /** Whoever connects must present a certificate of `trustedCaFile`. */
  readonly requireClientCertificate: boolean;
  /** Certificates were generated: there is no authority to check the other end's by. */
  readonly trustAnyServer: boolean;
  /** One of these common names, or host names, must be the certificate's; empty = any. */
  readonly allowedCommonNames: readonly string[];
  readonly allowedHostnames: readonly string[];
  /** A client's certificate that names hosts must name the one it connects from. */
  readonly checkClientAddress: boolean;
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  /** OpenSSL's cipher list. */
  readonly ciphers: string;
}

/** The key of session tickets is exchanged this often: until then who learns it can read what was sent over TLS 1.2. */
const TICKET_KEY_MS = 60 * 60 * 1000;
const TICKET_KEY_BYTES = 48;
/** A connection that has not finished its TLS handshake by then is closed; as etcd's. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** One side's TLS, for listening and for dialing, always with the certificates that the files hold now. */
export class TlsEndpoint {
  readonly #settings: TlsSettings;
  readonly #material: TlsMaterial;
  readonly #nowMs: () => number;
  readonly #accepted = new Set<TLSSocket>();
  #handshakesFailed = 0;

  /** @throws StoreError `bad-options` naming the file that cannot be used */
  constructor(options: {
    readonly settings: TlsSettings;
    readonly logger: Logger;
    readonly nowMs?: () => number;
  }) {
    this.#settings = options.settings;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    const { settings: files, ...rest } = options;
    this.#material = new TlsMaterial({ files: filesOf(files), ...rest });
  }

  /** Every caller's certificate was verified. */
  get verifiesClients(): boolean {
    return this.#settings.requireClientCertificate;
  }

  /**
   * When the certificate that is served ends, in milliseconds since the epoch; and since the start: how often changed
   * files were taken or not, and how many connections were not let in.
   */
  get figures(): {
    readonly notAfterMs: number;
    readonly reloads: number;
    readonly reloadsFailed: number;
    readonly handshakesFailed: number;
  } {
    const { notAfterMs } = this.#material.current().serve;
    return { notAfterMs, ...this.#material.reloads, handshakesFailed: this.#handshakesFailed };
  }

  /**
   * For a TLS server. It must be given to `attach` too, and each of its connections to `refusalOf` before it is served.
   *
   * @param protocols names for the application's protocol negotiation, best first
   */
  serverOptions(protocols: readonly string[], handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS): TlsOptions {
    const { requireClientCertificate } = this.#settings;
    return {
      ...this.#contextOptions(),
      requestCert: requireClientCertificate,
      // Judged by `refusalOf`, which can say why: Node would only hang up.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs,
      ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
    };
  }

  /** Keeps a server's certificates up to date, and ends its connections whose certificates were revoked. */
  attach(server: Server): void {
    let used: Loaded | null = null;
    let keyedMs = this.#nowMs();
    const refresh = (): void => {
      const loaded = this.#material.current();
      const nowMs = this.#nowMs();
      if (loaded !== used) {
        used = loaded;
        keyedMs = nowMs;
        // With a key for tickets of its own.
        server.setSecureContext(this.#contextOptions());
      } else if (nowMs - keyedMs >= TICKET_KEY_MS) {
        keyedMs = nowMs;
        server.setTicketKeys(randomBytes(TICKET_KEY_BYTES));
      }
    };
    // Before the server's own listener, which begins the handshake.
    server.prependListener('connection', refresh);
    server.on('tlsClientError', () => {
      this.#handshakesFailed += 1;
    });
    server.on('secureConnection', (socket) => {
      this.#accepted.add(socket);
      socket.once('close', () => this.#accepted.delete(socket));
    });
  }

  /** Looks after revoked certificates that are connected; to be called from time to time. */
  sweep(): void {
    const { crl } = this.#material.current();
    if (crl === null || !this.#settings.requireClientCertificate) return;
    for (const socket of this.#accepted) {
      const certificate = socket.getPeerX509Certificate();
      if (certificate !== undefined && crl.revokes(certificate)) socket.destroy();
    }
  }

  /** Why an accepted connection, its handshake done and its chain verified, must not be served; or null. */
  async refusalOf(socket: TLSSocket): Promise<string | null> {
    const refusal = await this.#refusalOf(socket);
    if (refusal !== null) this.#handshakesFailed += 1;
    return refusal;
  }

  async #refusalOf(socket: TLSSocket): Promise<string | null> {
    if (!this.#settings.requireClientCertificate) return null;
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return 'the client presents no certificate';
    if (!socket.authorized) return `the certificate is not accepted: ${codeOf(socket.authorizationError)}`;
    const refusal = this.#certificateRefusal(certificate);
    if (refusal !== null || !this.#settings.checkClientAddress) return refusal;
    return addressRefusal(certificate, socket.remoteAddress ?? '');
  }

  /** For a connection to `host`. */
  connectOptions(host: string): ConnectionOptions {
    const { ca, dial } = this.#material.current();
    const { trustAnyServer, minVersion, maxVersion, ciphers } = this.#settings;
    return {
      cert: dial.cert,
      key: dial.key,
      ...(ca === null ? {} : { ca }),
      minVersion,
      maxVersion,
      ciphers,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      rejectUnauthorized: !trustAnyServer,
      checkServerIdentity: (name, presented) =>
        checkServerIdentity(name, presented) ?? this.#serverRefusal(presented),
    };
  }

  #serverRefusal(presented: PeerCertificate): Error | undefined {
    const refusal = this.#certificateRefusal(new X509Certificate(presented.raw));
    return refusal === null ? undefined : new Error(refusal);
  }

  #certificateRefusal(certificate: X509Certificate): string | null {
    const { allowedCommonNames, allowedHostnames } = this.#settings;
    const { crl } = this.#material.current();
    if (crl?.revokes(certificate) === true) {
      return `the certificate with serial number ${certificate.serialNumber} is revoked`;
    }
    const name = commonNameOf(certificate);
    if (allowedCommonNames.length > 0 && !allowedCommonNames.includes(name ?? '')) {
      return `the common name '${name ?? ''}' is not one of those allowed`;
    }
    if (allowedHostnames.length > 0 && !allowedHostnames.some((host) => isFor(certificate, host))) {
      return 'the certificate is for none of the host names allowed';
    }
    return null;
  }

  #contextOptions(): TlsOptions {
    const { serve, ca } = this.#material.current();
    const { minVersion, maxVersion, ciphers, requireClientCertificate } = this.#settings;
    return {
      cert: serve.cert,
      key: serve.key,
      ...(ca === null ? {} : { ca }),
      minVersion,
      maxVersion,
      ciphers,
      honorCipherOrder: true,
      // A session taken up again skips the verification: a certificate may have been revoked since.
      ...(requireClientCertificate ? { secureOptions: constants.SSL_OP_NO_TICKET } : {}),
    };
  }
}

/** The subject's common name, the last one when there are several; undefined when there is none. */
export function commonNameOf(certificate: X509Certificate): string | undefined {
  const names = certificate.toLegacyObject().subject?.CN as string | readonly string[] | undefined;
  return typeof names === 'string' ? names : names?.at(-1);
}

/** Node gives a code of OpenSSL's, such as CERT_HAS_EXPIRED, though its types say an error. */
function codeOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

function isFor(certificate: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return certificate.checkIP(host) !== undefined;
  return certificate.checkHost(host, { subject: 'never' }) !== undefined;
}

function filesOf(settings: TlsSettings): TlsFiles {
  const { certFile, keyFile, dialCertFile, dialKeyFile, trustedCaFile, crlFile } = settings;
  return { certFile, keyFile, dialCertFile, dialKeyFile, trustedCaFile, crlFile };
}
