import type { X509Certificate } from 'node:crypto';
import { lookup, reverse } from 'node:dns/promises';
import { isIPv6 } from 'node:net';

/** Names looked up for one connection; a certificate with more is judged by the first ones. */
const NAMES_MAX = 32;

/**
 * Why a client that presents `certificate` may not come from `remoteAddress`, or null. As in etcd: a certificate
 * without host names and addresses may come from anywhere; one that has any must have this one, or a name that
 * resolves to it.
 */
export async function addressRefusal(
  certificate: X509Certificate,
  remoteAddress: string,
): Promise<string | null> {
  const { hasAddresses, names } = alternativeNames(certificate);
  if (!hasAddresses && names.length === 0) return null;
  const address = plainAddress(remoteAddress);
  if (hasAddresses && certificate.checkIP(address) !== undefined) return null;
  if (await namesAddress(names, address)) return null;
  return `the certificate is not for ${address}, where its bearer connects from`;
}

function alternativeNames(certificate: X509Certificate): {
  readonly hasAddresses: boolean;
  readonly names: readonly string[];
} {
  const entries = (certificate.subjectAltName ?? '').split(', ');
  return {
    hasAddresses: entries.some((entry) => entry.startsWith('IP Address:')),
    names: entries
      .filter((entry) => entry.startsWith('DNS:'))
      .map((entry) => entry.slice('DNS:'.length).replaceAll('"', ''))
      .slice(0, NAMES_MAX),
  };
}

async function namesAddress(names: readonly string[], address: string): Promise<boolean> {
  const plain = names.filter((name) => !name.startsWith('*.'));
  const found = await Promise.all(plain.map((name) => resolvesTo(name, address)));
  if (found.includes(true)) return true;
  const wildcards = names.filter((name) => name.startsWith('*.')).map((name) => name.slice(1));
  if (wildcards.length === 0) return false;
  const own = await reverse(address).catch(() => []);
  return own.some((name) => wildcards.some((ending) => name.replace(/\.$/, '').endsWith(ending)));
}

async function resolvesTo(name: string, address: string): Promise<boolean> {
  const found = await lookup(name, { all: true }).catch(() => []);
  return found.some((one) => one.address === address);
}

/** A socket that takes both families shows an IPv4 address within an IPv6 one. */
function plainAddress(address: string): string {
  return isIPv6(address) ? address.replace(/^::ffff:(?=\d+\.)/i, '') : address;
}
