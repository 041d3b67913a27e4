import type { Json } from '../model.ts';
import { isObject, pointerToken } from './json-limits.ts';

/** Findings about one value; further ones are not told. */
export const SUSPICIONS_MAX = 20;
/** Of longer strings the start is looked at, and whether a private key begins anywhere. */
const LOOKED_LENGTH_MAX = 16 * 1024;

/** Something that looks like a secret in the clear. The value itself is not in it. */
export interface Suspicion {
  /** Where in the value, as a JSON pointer. */
  readonly pointer: string;
  readonly rule: 'private-key' | 'token' | 'url-password' | 'named-secret';
  readonly message: string;
}

/**
 * Secrets that stand in a value which is none by its type: private keys, tokens of well-known services, passwords in
 * URLs, and what is random under a name like `password`. It is a guess, meant for a warning.
 *
 * @param key of the configuration: its name counts like that of a member
 */
export function suspectedSecrets(key: string, json: Json): readonly Suspicion[] {
  const found: Suspicion[] = [];
  scan(json, { name: key, pointer: '', found });
  return found;
}

interface Place {
  readonly name: string;
  readonly pointer: string;
  readonly found: Suspicion[];
}

function scan(json: Json, place: Place): void {
  if (place.found.length === SUSPICIONS_MAX) return;
  if (typeof json === 'string') {
    const suspicion = suspicionOf(json, place.name);
    if (suspicion !== null) place.found.push({ pointer: place.pointer, ...suspicion });
  } else if (isObject(json)) {
    for (const [name, member] of Object.entries(json)) {
      scan(member, { ...place, name, pointer: `${place.pointer}/${pointerToken(name)}` });
    }
  } else if (Array.isArray(json)) {
    for (const [at, item] of json.entries()) {
      scan(item as Json, { ...place, pointer: `${place.pointer}/${at}` });
    }
  }
}

function suspicionOf(text: string, name: string): Omit<Suspicion, 'pointer'> | null {
  if (/-----BEGIN [A-Z ]{0,40}PRIVATE KEY/.test(text)) {
    return { rule: 'private-key', message: 'holds a private key' };
  }
  const start = text.length <= LOOKED_LENGTH_MAX ? text : text.slice(0, LOOKED_LENGTH_MAX);
  const token = TOKENS.find(({ pattern }) => pattern.test(start));
  if (token !== undefined) return { rule: 'token', message: `looks like ${token.what}` };
  if (hasUrlPassword(start)) return { rule: 'url-password', message: 'holds a URL with a password' };
  if (SECRET_NAME.test(wordsOf(name)) && looksRandom(start)) {
    return { rule: 'named-secret', message: 'looks like a secret, by its name' };
  }
  return null;
}

/** Prefixes that their issuers chose to be found by. None of the expressions repeats within a repetition. */
const TOKENS: readonly { readonly what: string; readonly pattern: RegExp }[] = [
  { what: 'an AWS access key', pattern: /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/ },
  { what: 'a GitHub token', pattern: /\b(?:gh[opsur]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})/ },
  { what: 'a GitLab token', pattern: /\bglpat-[A-Za-z0-9_-]{20}/ },
  { what: 'a Slack token', pattern: /\bxox[abeoprs]-[A-Za-z0-9-]{10}/ },
  { what: 'a Stripe key', pattern: /\b[rs]k_(?:live|test)_[A-Za-z0-9]{16}/ },
  { what: 'a Google API key', pattern: /\bAIza[A-Za-z0-9_-]{35}/ },
  { what: 'a SendGrid key', pattern: /\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}/ },
  { what: 'an npm token', pattern: /\bnpm_[A-Za-z0-9]{36}/ },
  { what: 'a PyPI token', pattern: /\bpypi-AgE[A-Za-z0-9_-]{20}/ },
  { what: 'a Vault token', pattern: /\bhv[bs]\.[A-Za-z0-9_-]{24}/ },
  { what: 'a DigitalOcean token', pattern: /\bdo[opr]_v1_[a-f0-9]{64}/ },
  {
    what: 'a signed token (JWT)',
    pattern: /\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{5,4000}\.[A-Za-z0-9_-]{10}/,
  },
  { what: 'an HTTP credential', pattern: /\b(?:Basic|Bearer) +[A-Za-z0-9+/_.-]{16}/ },
];

/** `${…}` and `<…>` stand for a password that is somewhere else. */
const URL_PASSWORD = /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/?#@]{0,100}:([^\s/?#@]{1,200})@/gi;
const PLACEHOLDER = /^(?:\$\{.*\}|\$\w+|<.*>|\{\{.*\}\}|%.*%|\*+|x+)$/i;

function hasUrlPassword(text: string): boolean {
  for (const [, password] of text.matchAll(URL_PASSWORD)) if (!PLACEHOLDER.test(password!)) return true;
  return false;
}

const SECRET_NAME =
  /(?:^| )(?:password|passwd|pwd|passphrase|secret|token|credentials?|(?:api|access|private|secret|signing|encryption|master|auth) key|apikey)(?: |$)/;

/** `db.userPassword_2` is `db user password 2`. */
function wordsOf(name: string): string {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replaceAll(/[^A-Za-z0-9]+/g, ' ')
    .toLowerCase();
}

/** Words, paths, times and switches are what a setting of such a name often is: `token.ttl`, `password.policy`. */
function looksRandom(text: string): boolean {
  if (text.length < 8 || /\s/.test(text) || PLACEHOLDER.test(text) || text.includes('${')) return false;
  if (/^(?:\/|\.\/|https?:\/\/)/.test(text)) return false;
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z0-9]/].filter((kind) => kind.test(text)).length;
  return kinds >= 2 && entropyOf(text) >= 2.75;
}

/** Bits in each character, by how often each occurs. */
function entropyOf(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}
