import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeCertificate } from './certificate.ts';

const CERT_FILE = 'cert.pem';
const KEY_FILE = 'key.pem';
const YEAR_MS = 365 * 24 * 60 * 60 * 1000;
/** Clocks of those who connect may be this much behind. */
const BACKDATE_MS = 60 * 60 * 1000;

/**
 * A certificate for `--auto-tls`, made at the first start, or when the last one has expired, and kept in
 * `directory`; the key is readable by its owner only. Whoever connects can encrypt, but cannot tell who answers.
 *
 * @param options `hosts` are names and addresses to put into a new certificate
 * @returns the two files, and whether they were made now
 */
export function selfSignedFiles(options: {
  readonly directory: string;
  readonly hosts: readonly string[];
  readonly validityYears: number;
}): { readonly certFile: string; readonly keyFile: string; readonly isNew: boolean } {
  const { directory, hosts, validityYears } = options;
  const files = { certFile: join(directory, CERT_FILE), keyFile: join(directory, KEY_FILE) };
  if (isCurrent(files)) return { ...files, isNew: false };
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { cert, key } = selfSigned({ hosts, validityYears, nowMs: Date.now() });
  // The certificate last: a pair that is half there is made anew.
  write(files.keyFile, key);
  write(files.certFile, cert);
  return { ...files, isNew: true };
}

/** A key and a certificate that it signs itself, in PEM. */
export function selfSigned(options: {
  readonly hosts: readonly string[];
  readonly validityYears: number;
  readonly nowMs: number;
}): { readonly cert: string; readonly key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = { organization: 'conclave' };
  const cert = makeCertificate({
    subject: name,
    publicKey,
    issuer: { name, privateKey },
    notBeforeMs: options.nowMs - BACKDATE_MS,
    notAfterMs: options.nowMs + options.validityYears * YEAR_MS,
    hosts: [...new Set(options.hosts)],
    isAuthority: true,
    usages: ['server', 'client'],
  });
  return { cert, key: privateKey.export(PKCS8).toString() };
}

function isCurrent({ certFile, keyFile }: { readonly certFile: string; readonly keyFile: string }): boolean {
  if (!existsSync(certFile) || !existsSync(keyFile)) return false;
  const { validTo } = new X509Certificate(readFileSync(certFile));
  return Date.parse(validTo) > Date.now();
}

const PKCS8 = { type: 'pkcs8', format: 'pem' } as const;

function write(path: string, text: string): void {
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
