import { type KeyObject, verify, type X509Certificate } from 'node:crypto';
import { DerError, DerReader, objectId } from './der.ts';

/** Serial numbers that an authority has taken back (RFC 5280, section 5). */
export interface RevocationList {
  /** Whether this certificate, or one of those it was presented with, is on the list. */
  revokes(certificate: X509Certificate): boolean;
  /**
   * Every list in the file must be signed by one of these.
   *
   * @throws Error when a list's issuer is not among them, or did not sign it
   */
  verify(authorities: readonly X509Certificate[]): void;
  /** When a newer list should have come; Infinity when the list does not say. Its entries hold all the same. */
  readonly nextUpdateMs: number;
}

const BEGIN = '-----BEGIN X509 CRL-----';
const BLOCK = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g;
/** `[0]`: extensions of the list. */
const LIST_EXTENSIONS = 0xa0;
/** Certificates that stand between a client's and its authority's. */
const CHAIN_LENGTH_MAX = 16;

/**
 * Reads a revocation list: DER, or PEM with one list or several. A certificate is revoked by a list of its own
 * issuer. Signatures are checked by `verify`: a list is often fetched by something that may not write the keys.
 *
 * @throws Error when the bytes are no revocation list
 */
export function parseRevocationList(file: Buffer): RevocationList {
  const lists = blocks(file).map(parseOne);
  return {
    verify: (authorities) => {
      for (const list of lists) verifyOne(list, authorities);
    },
    nextUpdateMs: Math.min(...lists.map((list) => list.nextUpdateMs)),
    revokes: (certificate) =>
      chainOf(certificate).some((one) => lists.some((list) => list.serials.has(key(one, list.issuer)))),
  };
}

/** Algorithms of signatures, by their identifier in DER: the digest, or null where the key says it. */
const DIGESTS: ReadonlyMap<string, string | null> = new Map(
  (
    [
      ['1.2.840.113549.1.1.11', 'sha256'],
      ['1.2.840.113549.1.1.12', 'sha384'],
      ['1.2.840.113549.1.1.13', 'sha512'],
      ['1.2.840.10045.4.3.2', 'sha256'],
      ['1.2.840.10045.4.3.3', 'sha384'],
      ['1.2.840.10045.4.3.4', 'sha512'],
      ['1.3.101.112', null],
      ['1.3.101.113', null],
    ] as const
  ).map(([id, digest]) => [objectId(id).toString('hex'), digest]),
);

interface OneList {
  /** What is signed, how, and the signature. */
  readonly body: Buffer;
  readonly algorithm: Buffer;
  readonly signature: Buffer;
  /** The issuer's name in DER. */
  readonly issuer: Buffer;
  readonly serials: ReadonlySet<string>;
  readonly nextUpdateMs: number;
}

function blocks(file: Buffer): readonly Buffer[] {
  if (!file.includes(BEGIN)) return [file];
  const found = [...file.toString('latin1').matchAll(BLOCK)].map((match) => Buffer.from(match[1]!, 'base64'));
  if (found.length === 0) throw new DerError('the PEM block is not closed');
  return found;
}

function verifyOne({ issuer, ...list }: OneList, authorities: readonly X509Certificate[]): void {
  const digest = DIGESTS.get(new DerReader(list.algorithm).sequence().take().whole.toString('hex'));
  if (digest === undefined) throw new Error('the list is signed with an algorithm that is not supported');
  const issuers = authorities.filter((authority) => namesOf(authority).subject.equals(issuer));
  if (issuers.length === 0) throw new Error('none of the trusted authorities issued the list');
  if (!issuers.some(({ publicKey }) => isSigned(list, { digest, publicKey }))) {
    throw new Error('the signature of the list is not that of its issuer');
  }
}

function isSigned(
  { body, signature }: Pick<OneList, 'body' | 'signature'>,
  by: { readonly digest: string | null; readonly publicKey: KeyObject },
): boolean {
  try {
    return verify(by.digest, body, by.publicKey, signature);
  } catch {
    // The key is of another kind than the signature.
    return false;
  }
}

function parseOne(bytes: Buffer): OneList {
  const outer = new DerReader(bytes);
  const list = outer.sequence();
  if (!outer.atEnd) throw new DerError('something follows the list');
  const whole = list.take();
  const algorithm = list.take().whole;
  const signature = list.bitString();
  if (!list.atEnd) throw new DerError('something follows the signature');
  const body = new DerReader(whole.whole).sequence();
  if (body.nextIsInteger) body.take();
  if (!body.take().whole.equals(algorithm)) throw new DerError('two algorithms are named');
  const issuer = body.take().whole;
  body.time();
  const nextUpdateMs = body.nextIsTime ? body.time() : Number.POSITIVE_INFINITY;
  const serials = new Set<string>();
  if (body.nextIsSequence) {
    const entries = body.sequence();
    while (!entries.atEnd) serials.add(entries.sequence().integerHex());
  }
  if (!body.atEnd && body.nextTag !== LIST_EXTENSIONS) throw new DerError('an unknown part of the list');
  return { body: whole.whole, algorithm, signature, issuer, serials, nextUpdateMs };
}

/** The serial number if the certificate is of this issuer, else a text that is no serial number. */
function key(certificate: X509Certificate, issuer: Buffer): string {
  return namesOf(certificate).issuer.equals(issuer) ? certificate.serialNumber.replace(/^0+(?=.)/, '') : '';
}

/** In DER. */
function namesOf(certificate: X509Certificate): { readonly issuer: Buffer; readonly subject: Buffer } {
  const body = new DerReader(certificate.raw).sequence().sequence();
  // Version, serial number and algorithm; later how long it holds.
  if (!body.nextIsInteger) body.take();
  body.take();
  body.take();
  const issuer = body.take().whole;
  body.take();
  return { issuer, subject: body.take().whole };
}

function chainOf(certificate: X509Certificate): readonly X509Certificate[] {
  const chain = [certificate];
  for (let next = certificate.issuerCertificate; next !== undefined; next = next.issuerCertificate) {
    if (chain.length >= CHAIN_LENGTH_MAX || next.fingerprint256 === chain.at(-1)!.fingerprint256) break;
    chain.push(next);
  }
  return chain;
}
