import { isIP } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { ClientError } from './client-error.ts';

/** How connections are protected. PEM, each. */
export interface ClientTls {
  /** Authorities whose certificates members may present; absent = those that Node knows. */
  readonly ca?: Buffer;
  /** What this client presents, with its key. */
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** Encrypt, but accept whoever answers. */
  readonly insecureSkipVerify?: boolean;
}

/** Where a member is. */
export interface EndpointAddress {
  /** `host:port`. */
  readonly address: string;
  /** Null = plain text. */
  readonly tls: ClientTls | null;
}

/** How long the look for the reason of a failed TLS connection may take. */
const DIAGNOSIS_TIMEOUT_MS = 1_000;

/**
 * An endpoint as people write it: `https://` asks for TLS, `http://` for plain text; without either it is TLS when
 * `tls` is given.
 *
 * @throws ClientError `invalid-argument`
 */
export function parseEndpoint(text: string, tls: ClientTls | undefined): EndpointAddress {
  const match = /^(?:([a-z]+):\/\/)?(\[[0-9a-fA-F:.]+\]|[^/:\s]+):(\d+)\/?$/.exec(text.trim());
  if (match === null || Number(match[3]) > 65_535) {
    throw new ClientError('invalid-argument', `endpoint '${text}' is not of the form host:port`, {
      unsent: true,
    });
  }
  const scheme = match[1];
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') {
    const reason = `endpoint '${text}': ${scheme}:// is not supported; use http:// or https://`;
    throw new ClientError('invalid-argument', reason, { unsent: true });
  }
  const address = `${match[2]!}:${match[3]!}`;
  if (scheme === 'http') return { address, tls: null };
  return { address, tls: scheme === 'https' ? (tls ?? {}) : (tls ?? null) };
}

const THIS_MACHINE = /^(?:(?:.+\.)?localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\]|\[::ffff:127\.[\d.]+\]):\d+$/i;

/** Whether an address means whichever machine it is used on. @param address `host:port` */
export function isOfThisMachine(address: string): boolean {
  return THIS_MACHINE.test(address);
}

/** @throws ClientError `invalid-argument` when certificate, key and authorities cannot be used */
export function channelCredentials(tls: ClientTls | null): ChannelCredentials {
  if (tls === null) return credentials.createInsecure();
  try {
    return credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null, {
      rejectUnauthorized: tls.insecureSkipVerify !== true,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ClientError('invalid-argument', `the certificate cannot be used: ${reason}`, { unsent: true });
  }
}

/** Why TLS with an endpoint fails, which grpc-js does not tell; null when it works, or nothing answers. */
export async function tlsFailure({ address, tls }: EndpointAddress): Promise<string | null> {
  if (tls === null) return null;
  const { hostname, port } = new URL(`https://${address}`);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve) => {
    const socket = tlsConnect({
      host,
      port: port === '' ? 443 : Number(port),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.cert === undefined ? {} : { cert: tls.cert, key: tls.key }),
      rejectUnauthorized: tls.insecureSkipVerify !== true,
      ALPNProtocols: ['h2'],
    });
    const finish = (reason: string | null): void => {
      resolve(reason);
      socket.destroy();
    };
    socket.setTimeout(DIAGNOSIS_TIMEOUT_MS, () => finish(null));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      finish(error.syscall === 'connect' ? null : error.message),
    );
    // With TLS 1.3 a refused client certificate shows only after the handshake, by the connection's end.
    socket.on('close', () => finish(null));
  });
}
