import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateOptions,
  distinguishedName,
  makeCertificate,
  pem,
  SIGNATURE_ALGORITHM,
  signed,
} from '../../src/tls/certificate.ts';
import { natural, sequence, time } from '../../src/tls/der.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** A certificate with its key, in PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
  readonly serial: Buffer;
}

/** An authority of its own: makes certificates and revocation lists for tests. */
export class TestAuthority {
  readonly cert: string;
  readonly #name: { readonly commonName: string };
  readonly #privateKey: KeyObject;

  constructor(name = 'test authority') {
    this.#name = { commonName: name };
    const { publicKey, privateKey } = keys();
    this.#privateKey = privateKey;
    this.cert = makeCertificate({
      subject: this.#name,
      publicKey,
      issuer: { name: this.#name, privateKey },
      notBeforeMs: Date.now() - DAY_MS,
      notAfterMs: Date.now() + 365 * DAY_MS,
      isAuthority: true,
    });
  }

  get name(): string {
    return this.#name.commonName;
  }

  /** By default for this machine, for serving and dialing, valid since yesterday and for a year. */
  issue(commonName: string, options: Partial<CertificateOptions> = {}): Issued {
    const { publicKey, privateKey } = keys();
    const serial = options.serial ?? Buffer.concat([Buffer.of(1), randomBytes(8)]);
    const cert = makeCertificate({
      subject: { commonName },
      publicKey,
      issuer: { name: this.#name, privateKey: this.#privateKey },
      notBeforeMs: Date.now() - DAY_MS,
      notAfterMs: Date.now() + 365 * DAY_MS,
      hosts: ['localhost', '127.0.0.1'],
      usages: ['server', 'client'],
      ...options,
      serial,
    });
    return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), serial };
  }

  expired(commonName: string): Issued {
    return this.issue(commonName, {
      notBeforeMs: Date.now() - 3 * DAY_MS,
      notAfterMs: Date.now() - 2 * DAY_MS,
    });
  }

  /** A list of this authority, in DER. */
  revocationList(serials: readonly Buffer[], nextUpdateMs = Date.now() + DAY_MS): Buffer {
    const now = time(Date.now());
    const entries = serials.map((serial) => sequence(natural(serial), now));
    const body = sequence(
      natural(Buffer.of(1)),
      SIGNATURE_ALGORITHM,
      distinguishedName(this.#name),
      now,
      time(nextUpdateMs),
      ...(entries.length === 0 ? [] : [sequence(...entries)]),
    );
    return signed(body, this.#privateKey);
  }

  /** The same in PEM. */
  revocationListPem(serials: readonly Buffer[]): string {
    return pem('X509 CRL', this.revocationList(serials));
  }
}

/** Files with certificates, in a directory of their own. */
export class CertificateFiles {
  readonly directory = mkdtempSync(join(tmpdir(), 'conclave-tls-'));

  path(name: string): string {
    return join(this.directory, name);
  }

  /** @returns where it is */
  write(name: string, content: string | Buffer): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  /** Writes `<name>.pem` and `<name>-key.pem`. */
  writePair(name: string, issued: Issued): { readonly cert: string; readonly key: string } {
    return { cert: this.write(`${name}.pem`, issued.cert), key: this.write(`${name}-key.pem`, issued.key) };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function keys(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
