import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { parseRevocationList, type RevocationList } from './revocation-list.ts';

/** The files of one side of a member, PEM each; the revocation list may be DER. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** What connections that are made, not accepted, present; as `certFile` when null. */
  readonly dialCertFile: string | null;
  readonly dialKeyFile: string | null;
  /** Authorities whose certificates are accepted. */
  readonly trustedCaFile: string | null;
  readonly crlFile: string | null;
}

/** A certificate with its key. */
export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly notAfterMs: number;
}

/** What the files held when they were last good. */
export interface Loaded {
  readonly serve: KeyPair;
  readonly dial: KeyPair;
  readonly ca: Buffer | null;
  readonly crl: RevocationList | null;
}

/** Files are looked at this often at most, however many connections are made. */
const LOOK_INTERVAL_MS = 1_000;
/** No certificate, key or list is larger. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Certificates that follow their files: each use looks whether they changed and reads them anew. New files that
 * cannot be read, or do not fit together, change nothing but the log: what was good stays in use.
 */
export class TlsMaterial {
  readonly #files: TlsFiles;
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  #loaded: Loaded;
  #seen: string;
  #lookedMs: number;
  #toldExpired = '';
  #reloads = 0;
  #reloadsFailed = 0;

  /** @throws StoreError `bad-options` naming the file that cannot be used */
  constructor(options: {
    readonly files: TlsFiles;
    readonly logger: Logger;
    /** Any monotonic clock. */
    readonly nowMs?: () => number;
  }) {
    this.#files = options.files;
    this.#logger = options.logger;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#seen = signatureOf(options.files);
    this.#loaded = load(options.files);
    this.#lookedMs = this.#nowMs();
    this.#warnOfExpiry();
  }

  /** How often changed files were taken, and how often they could not be. */
  get reloads(): { readonly reloads: number; readonly reloadsFailed: number } {
    return { reloads: this.#reloads, reloadsFailed: this.#reloadsFailed };
  }

  /** What to use now. */
  current(): Loaded {
    const nowMs = this.#nowMs();
    if (nowMs - this.#lookedMs < LOOK_INTERVAL_MS) return this.#loaded;
    this.#lookedMs = nowMs;
    const seen = signatureOf(this.#files);
    if (seen !== this.#seen) this.#reload(seen);
    this.#warnOfExpiry();
    return this.#loaded;
  }

  #reload(seen: string): void {
    // Also after a failure: the same bad files are told of once.
    this.#seen = seen;
    const { certFile } = this.#files;
    try {
      this.#loaded = load(this.#files);
      this.#reloads += 1;
      this.#logger.info(
        { certFile, notAfter: shown(this.#loaded.serve.notAfterMs) },
        'certificates reloaded',
      );
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#reloadsFailed += 1;
      this.#logger.error(
        { certFile, reason: error.message },
        'new certificates not taken; the old ones stay',
      );
    }
  }

  /** Once for each certificate or list. */
  #warnOfExpiry(): void {
    const { serve, crl } = this.#loaded;
    const certificate = Date.now() > serve.notAfterMs;
    const list = crl !== null && Date.now() > crl.nextUpdateMs;
    const told = `${certificate} ${list} ${this.#seen}`;
    if (told === this.#toldExpired) return;
    this.#toldExpired = told;
    const { certFile, crlFile } = this.#files;
    if (certificate)
      this.#logger.error({ certFile, notAfter: shown(serve.notAfterMs) }, 'certificate expired');
    if (list) this.#logger.warn({ crlFile }, 'a newer revocation list is overdue; the old one stays in use');
  }
}

/** Changes with every change of the files, also when a link to them is turned elsewhere. */
function signatureOf(files: TlsFiles): string {
  return Object.values(files)
    .map((path: string | null) => (path === null ? '' : stampOf(path)))
    .join(' ');
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${ino}:${size}:${mtimeNs}:${ctimeNs}`;
  } catch {
    return 'absent';
  }
}

function load(files: TlsFiles): Loaded {
  const serve = keyPair(files.certFile, files.keyFile);
  const dial =
    files.dialCertFile === null || files.dialKeyFile === null
      ? serve
      : keyPair(files.dialCertFile, files.dialKeyFile);
  const trusted = files.trustedCaFile === null ? null : authorities(files.trustedCaFile);
  return {
    serve,
    dial,
    ca: trusted?.bytes ?? null,
    crl: files.crlFile === null ? null : revocations(files.crlFile, trusted?.certificates ?? []),
  };
}

function keyPair(certFile: string, keyFile: string): KeyPair {
  const [cert, key] = [contentOf(certFile), contentOf(keyFile)];
  const notAfterMs = usable(certFile, () => Date.parse(new X509Certificate(cert).validTo));
  // OpenSSL compares the two.
  usable(`${certFile} with ${keyFile}`, () => createSecureContext({ cert, key }));
  return { cert, key, notAfterMs };
}

function authorities(path: string): {
  readonly bytes: Buffer;
  readonly certificates: readonly X509Certificate[];
} {
  const bytes = contentOf(path);
  const certificates = usable(path, () => {
    const found = bytes.toString('latin1').match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? [];
    if (found.length === 0) throw new Error('it holds no certificate');
    return found.map((block) => new X509Certificate(block));
  });
  return { bytes, certificates };
}

function revocations(path: string, trusted: readonly X509Certificate[]): RevocationList {
  const bytes = contentOf(path);
  return usable(path, () => {
    const list = parseRevocationList(bytes);
    list.verify(trusted);
    return list;
  });
}

function contentOf(path: string): Buffer {
  return usable(path, () => {
    if (statSync(path).size > FILE_BYTES_MAX) throw new Error('it is too large');
    return readFileSync(path);
  });
}

function usable<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StoreError('bad-options', `${what} cannot be used for TLS: ${reason}`, { cause });
  }
}

function shown(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : 'never';
}
