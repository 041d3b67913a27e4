import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  natural,
  objectId,
  octetString,
  sequence,
  setOf,
  time,
  utf8String,
} from './der.ts';

/** Who a certificate is about. */
export interface CertificateName {
  readonly commonName?: string;
  readonly organization?: string;
}

/** What a certificate says (RFC 5280). */
export interface CertificateOptions {
  readonly subject: CertificateName;
  /** The holder's key: an elliptic curve one. */
  readonly publicKey: KeyObject;
  /** Who signs; the holder himself when it is his key and his name. */
  readonly issuer: { readonly name: CertificateName; readonly privateKey: KeyObject };
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Host names and IP addresses. */
  readonly hosts?: readonly string[];
  /** May sign certificates and revocation lists. */
  readonly isAuthority?: boolean;
  readonly usages?: readonly ('server' | 'client')[];
  /** Default: 16 random bytes. */
  readonly serial?: Buffer;
}

const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectAltName: '2.5.29.17',
  subjectKeyId: '2.5.29.14',
  authorityKeyId: '2.5.29.35',
} as const;
const USAGE = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

/** Bits of the key usage extension, the first in the highest place. */
const KEY_USAGE = { digitalSignature: 0x80, certificateSign: 0x04, crlSign: 0x02 } as const;

/** A certificate signed with ECDSA over SHA-256, in PEM. */
export function makeCertificate(options: CertificateOptions): string {
  const { issuer, serial = randomSerial() } = options;
  const body = sequence(
    explicit(0, natural(Buffer.of(2))),
    natural(serial),
    SIGNATURE_ALGORITHM,
    distinguishedName(issuer.name),
    sequence(time(options.notBeforeMs), time(options.notAfterMs)),
    distinguishedName(options.subject),
    keyInfo(options.publicKey),
    explicit(3, sequence(...extensions(options))),
  );
  return pem('CERTIFICATE', signed(body, issuer.privateKey));
}

/** The name of the algorithm that `signed` uses. */
export const SIGNATURE_ALGORITHM = sequence(objectId(OID.ecdsaWithSha256));

/** The body with the algorithm and the signature behind it: the form of certificates and revocation lists alike. */
export function signed(body: Buffer, privateKey: KeyObject): Buffer {
  return sequence(body, SIGNATURE_ALGORITHM, bitString(sign('sha256', body, privateKey)));
}

export function distinguishedName({ organization, commonName }: CertificateName): Buffer {
  const parts: Buffer[] = [];
  const add = (id: string, text: string | undefined): void => {
    if (text !== undefined) parts.push(setOf(sequence(objectId(id), utf8String(text))));
  };
  add(OID.organization, organization);
  add(OID.commonName, commonName);
  return sequence(...parts);
}

export function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Never zero, never negative. */
function randomSerial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

function keyInfo(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}

function extensions(options: CertificateOptions): Buffer[] {
  const { isAuthority = false, usages = [], hosts = [], publicKey, issuer } = options;
  const bits = KEY_USAGE.digitalSignature | (isAuthority ? KEY_USAGE.certificateSign | KEY_USAGE.crlSign : 0);
  const found = [
    extension(OID.basicConstraints, sequence(...(isAuthority ? [boolean(true)] : [])), 'critical'),
    extension(OID.keyUsage, bitString(Buffer.of(bits), isAuthority ? 1 : 7), 'critical'),
    extension(OID.subjectKeyId, octetString(keyId(publicKey))),
    extension(OID.authorityKeyId, sequence(implicit(0, keyId(createPublicKey(issuer.privateKey))))),
  ];
  if (usages.length > 0) {
    found.push(extension(OID.extendedKeyUsage, sequence(...usages.map((usage) => objectId(USAGE[usage])))));
  }
  if (hosts.length > 0) found.push(extension(OID.subjectAltName, sequence(...hosts.map(altName))));
  return found;
}

function extension(id: string, value: Buffer, critical?: 'critical'): Buffer {
  const mark = critical === undefined ? [] : [boolean(true)];
  return sequence(objectId(id), ...mark, octetString(value));
}

function keyId(publicKey: KeyObject): Buffer {
  return createHash('sha1').update(keyInfo(publicKey)).digest();
}

function altName(host: string): Buffer {
  return isIP(host) === 0 ? implicit(2, Buffer.from(host, 'latin1')) : implicit(7, addressBytes(host));
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // A URL writes every IPv6 address in one form: hexadecimal groups with at most one `::`.
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail)];
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  const bytes = Buffer.alloc(16);
  for (const [at, group] of all.entries()) bytes.writeUInt16BE(group, 2 * at);
  return bytes;
}
