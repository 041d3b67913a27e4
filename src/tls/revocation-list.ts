import type { X509Certificate } from 'node:crypto';
import { DerError, DerReader } from './der.ts';

/** Serial numbers that an authority has taken back (RFC 5280, section 5). */
export interface RevocationList {
  /** Whether this certificate, or one of those it was presented with, is on the list. */
  revokes(certificate: X509Certificate): boolean;
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
 * issuer; the signature of the list is not checked, since whoever may write this file may also write the key file.
 *
 * @throws Error when the bytes are no revocation list
 */
export function parseRevocationList(file: Buffer): RevocationList {
  const lists = blocks(file).map(parseOne);
  return {
    nextUpdateMs: Math.min(...lists.map((list) => list.nextUpdateMs)),
    revokes: (certificate) =>
      chainOf(certificate).some((one) => lists.some((list) => list.serials.has(key(one, list.issuer)))),
  };
}

interface OneList {
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

function parseOne(bytes: Buffer): OneList {
  const outer = new DerReader(bytes);
  const list = outer.sequence();
  if (!outer.atEnd) throw new DerError('something follows the list');
  const body = list.sequence();
  if (body.nextIsInteger) body.take();
  body.take();
  const issuer = body.take().whole;
  body.time();
  const nextUpdateMs = body.nextIsTime ? body.time() : Number.POSITIVE_INFINITY;
  const serials = new Set<string>();
  if (body.nextIsSequence) {
    const entries = body.sequence();
    while (!entries.atEnd) serials.add(entries.sequence().integerHex());
  }
  if (!body.atEnd && body.nextTag !== LIST_EXTENSIONS) throw new DerError('an unknown part of the list');
  return { issuer, serials, nextUpdateMs };
}

/** The serial number if the certificate is of this issuer, else a text that is no serial number. */
function key(certificate: X509Certificate, issuer: Buffer): string {
  return issuerOf(certificate).equals(issuer) ? certificate.serialNumber.replace(/^0+(?=.)/, '') : '';
}

function issuerOf(certificate: X509Certificate): Buffer {
  const body = new DerReader(certificate.raw).sequence().sequence();
  if (!body.nextIsInteger) body.take();
  body.take();
  body.take();
  return body.take().whole;
}

function chainOf(certificate: X509Certificate): readonly X509Certificate[] {
  const chain = [certificate];
  for (let next = certificate.issuerCertificate; next !== undefined; next = next.issuerCertificate) {
    if (chain.length >= CHAIN_LENGTH_MAX || next.fingerprint256 === chain.at(-1)!.fingerprint256) break;
    chain.push(next);
  }
  return chain;
}
