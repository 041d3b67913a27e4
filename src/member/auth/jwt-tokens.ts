import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  constants as cryptoConstants,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import type { Principal } from '../../core/auth/operations.ts';
import { INTERNAL_USER } from '../../core/auth/operations.ts';
import { StoreError } from '../../lib/errors.ts';
import type { SignIn, TokenOffer, Tokens } from './tokens.ts';

/** How a token is signed: JWA's names (RFC 7518, 8037). */
export type JwtMethod = (typeof JWT_METHODS)[number];
const JWT_METHODS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'HS256',
  'HS384',
  'HS512',
] as const;

/** @throws StoreError `bad-options` for a name that is none */
export function jwtMethod(name: string): JwtMethod {
  const method = JWT_METHODS.find((each) => each === name);
  if (method === undefined) throw badKey(`sign-method '${name}' is none of ${JWT_METHODS.join(', ')}`);
  return method;
}

export interface JwtOptions {
  readonly method: JwtMethod;
  /** PEM; a certificate will do. Null: the private key's. */
  readonly publicKey: Buffer | null;
  /** PEM, or any bytes for HS. Null: this member only verifies. */
  readonly privateKey: Buffer | null;
  readonly ttlMs: number;
  /** Wall-clock milliseconds: a token's time is told to others. */
  readonly nowMs: () => number;
}

/** A longer token is none of ours. */
const TOKEN_CHARACTERS_MAX = 8_192;
/** Tokens whose signature was found good, remembered; beyond it the oldest is forgotten and verified anew. */
const VERIFIED_MAX = 10_000;
const CURVES: Readonly<Record<string, string>> = {
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
};

interface Claims {
  readonly user: string;
  readonly revision: number;
  readonly expiresMs: number;
}

/**
 * Signed tokens (RFC 7519) with etcd's claims: `username`, `revision`, `exp`. No member needs to remember them, and none
 * can take one back: a change of users or roles makes it too old for keys, and the client signs in anew.
 */
export class JwtTokens implements Tokens {
  readonly followsRevision = false;
  readonly held = 0;
  readonly #options: JwtOptions;
  readonly #keys: Keys;
  readonly #verified = new Map<string, Claims>();

  /** @throws StoreError `bad-options` when keys are missing, of another kind than the method's, or no pair */
  constructor(options: JwtOptions) {
    this.#options = options;
    this.#keys = keysOf(options);
  }

  offer(): TokenOffer {
    const { signing } = this.#keys;
    if (signing === null) throw new StoreError('unimplemented', 'this member has no key to sign tokens with');
    return { digest: '', token: (signIn) => this.#sign(signIn, signing) };
  }

  signedIn(): void {}

  awaitedIndex(): number {
    return 0;
  }

  identify(token: string): Principal | null {
    if (token.length > TOKEN_CHARACTERS_MAX) return null;
    let claims = this.#verified.get(token);
    if (claims === undefined) {
      const found = this.#verify(token);
      if (found === null) return null;
      claims = found;
      this.#remember(token, found);
    }
    if (this.#options.nowMs() < claims.expiresMs) return { user: claims.user, revision: claims.revision };
    this.#verified.delete(token);
    return null;
  }

  #sign({ user, authRevision }: SignIn, key: SigningKey): string {
    const { method, ttlMs, nowMs } = this.#options;
    const head = encoded({ alg: method, typ: 'JWT' });
    const exp = Math.floor((nowMs() + ttlMs) / 1_000);
    const body = `${head}.${encoded({ username: user, revision: authRevision, exp })}`;
    return `${body}.${signature(method, key, Buffer.from(body)).toString('base64url')}`;
  }

  #verify(token: string): Claims | null {
    const [head, body, signed, ...more] = token.split('.');
    if (head === undefined || body === undefined || signed === undefined || more.length > 0) return null;
    const header = decoded(head);
    // The method is ours to choose, never the token's.
    if (header?.['alg'] !== this.#options.method) return null;
    const bytes = Buffer.from(`${head}.${body}`);
    if (!isSigned(this.#options.method, this.#keys, { bytes, signed: Buffer.from(signed, 'base64url') })) {
      return null;
    }
    return claimsOf(decoded(body));
  }

  #remember(token: string, claims: Claims): void {
    this.#verified.set(token, claims);
    if (this.#verified.size <= VERIFIED_MAX) return;
    for (const oldest of this.#verified.keys()) {
      this.#verified.delete(oldest);
      return;
    }
  }
}

function claimsOf(body: Readonly<Record<string, unknown>> | null): Claims | null {
  const { username, revision, exp } = body ?? {};
  if (typeof username !== 'string' || username === '' || username === INTERNAL_USER) return null;
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || revision < 1) return null;
  if (typeof exp !== 'number') return null;
  return { user: username, revision, expiresMs: exp * 1_000 };
}

// ---- keys and signatures ------------------------------------------------------------------------------------

type SigningKey = KeyObject | Buffer;
interface Keys {
  readonly signing: SigningKey | null;
  readonly verifying: SigningKey;
}

function keysOf({ method, publicKey, privateKey }: JwtOptions): Keys {
  if (method.startsWith('HS')) {
    if (privateKey === null || privateKey.length === 0) throw badKey(`${method} needs priv-key`);
    return { signing: privateKey, verifying: privateKey };
  }
  const signing = privateKey === null ? null : readKey('priv-key', () => createPrivateKey(privateKey));
  const given = publicKey === null ? null : readKey('pub-key', () => createPublicKey(publicKey));
  const derived = signing === null ? null : createPublicKey(signing);
  const verifying = given ?? derived;
  if (verifying === null) throw badKey(`${method} needs pub-key or priv-key`);
  for (const key of [verifying, ...(derived === null ? [] : [derived])]) checkKind(method, key);
  if (derived !== null && given !== null && !given.equals(derived)) {
    throw badKey('pub-key and priv-key are no pair');
  }
  return { signing, verifying };
}

function readKey(name: string, read: () => KeyObject): KeyObject {
  try {
    return read();
  } catch (cause) {
    throw new StoreError('bad-options', `--auth-token: the file of ${name} holds no such key in PEM`, {
      cause,
    });
  }
}

function checkKind(method: JwtMethod, key: KeyObject): void {
  const type = key.asymmetricKeyType;
  const family = method.slice(0, 2);
  const isRsa = (family === 'RS' || family === 'PS') && type === 'rsa';
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const isEc = family === 'ES' && type === 'ec' && curve === CURVES[method];
  const isEd = method === 'EdDSA' && type === 'ed25519';
  if (!isRsa && !isEc && !isEd) throw badKey(`a key of kind ${type ?? 'secret'} cannot sign by ${method}`);
}

function badKey(detail: string): StoreError {
  return new StoreError('bad-options', `--auth-token: ${detail}`);
}

function hashOf(method: JwtMethod): string {
  return `sha${method.slice(2)}`;
}

/** What `sign` and `verify` need beside the key: JWA's padding, salt and encoding. */
function forms(method: JwtMethod, key: KeyObject): { readonly hash: string | null; readonly key: object } {
  switch (method.slice(0, 2)) {
    case 'PS':
      return {
        hash: hashOf(method),
        key: {
          key,
          padding: cryptoConstants.RSA_PKCS1_PSS_PADDING,
          saltLength: cryptoConstants.RSA_PSS_SALTLEN_DIGEST,
        },
      };
    case 'ES':
      return { hash: hashOf(method), key: { key, dsaEncoding: 'ieee-p1363' } };
    case 'RS':
      return { hash: hashOf(method), key: { key } };
    default:
      return { hash: null, key: { key } };
  }
}

function signature(method: JwtMethod, key: SigningKey, bytes: Buffer): Buffer {
  if (Buffer.isBuffer(key)) return createHmac(hashOf(method), key).update(bytes).digest();
  const form = forms(method, key);
  return sign(form.hash, bytes, form.key as Parameters<typeof sign>[2]);
}

function isSigned(
  method: JwtMethod,
  { verifying }: Keys,
  { bytes, signed }: { readonly bytes: Buffer; readonly signed: Buffer },
): boolean {
  if (Buffer.isBuffer(verifying)) {
    const expected = signature(method, verifying, bytes);
    return expected.length === signed.length && timingSafeEqual(expected, signed);
  }
  const form = forms(method, verifying);
  return verify(form.hash, bytes, form.key as Parameters<typeof verify>[2], signed);
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** Null unless it is a JSON object. */
function decoded(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
