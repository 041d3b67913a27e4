/**
 * Cipher suites under the names that etcd's flag takes (IANA's) and OpenSSL's. Suites without forward secrecy,
 * and those with known weaknesses, are not among them. TLS 1.3 has suites of its own, all of them good, which
 * cannot be chosen, as in etcd.
 */
const OPENSSL_NAMES: ReadonlyMap<string, string> = new Map([
  ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-RSA-CHACHA20-POLY1305'],
]);

/** Suites of TLS 1.3 that stay offered whatever is chosen for TLS 1.2. */
const TLS13_SUITES = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

/** What is offered when nothing was chosen, best first. */
export const DEFAULT_CIPHERS = [...TLS13_SUITES, ...new Set(OPENSSL_NAMES.values())].join(':');

/** The names that can be chosen. */
export const CIPHER_SUITES: readonly string[] = [...OPENSSL_NAMES.keys()];

/** OpenSSL's list of the suites named, in the order given; null when one of them is not to be had. */
export function cipherList(names: readonly string[]): string | null {
  const known = names.filter((name) => !TLS13_SUITES.includes(name)).map((name) => OPENSSL_NAMES.get(name));
  if (known.some((name) => name === undefined)) return null;
  return [...TLS13_SUITES, ...known].join(':');
}
