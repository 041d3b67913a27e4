import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { AuthStore } from '../../../src/core/auth/auth-store.ts';
import { INTERNAL_USER } from '../../../src/core/auth/operations.ts';
import { type JwtMethod, JwtTokens, jwtMethod } from '../../../src/member/auth/jwt-tokens.ts';
import { SimpleTokens } from '../../../src/member/auth/simple-tokens.ts';
import type { SignIn } from '../../../src/member/auth/tokens.ts';
import { systemRandom } from '../../../src/member/system.ts';
import { ManualClock } from '../manual-clock.ts';

function enabledStore(): AuthStore {
  const auth = new AuthStore(() => {});
  for (const name of ['root', 'u'])
    auth.apply({ type: 'user-add', name, passwordHash: 'h', noPassword: false });
  auth.apply({ type: 'user-grant-role', name: 'root', role: 'root' });
  auth.apply({ type: 'auth-enable' });
  return auth;
}
const signIn = (user: string, authRevision: number, tokenDigest = ''): SignIn => ({
  type: 'authenticate',
  user,
  tokenDigest,
  authRevision,
});

describe('a simple token', () => {
  const setUp = () => {
    const clock = new ManualClock();
    const options = { clock, random: systemRandom, ttlMs: 10_000 };
    const [given, other] = [new SimpleTokens(options), new SimpleTokens(options)];
    const auth = enabledStore();
    const offer = given.offer();
    const told = signIn('u', auth.revision, offer.digest);
    for (const member of [given, other]) member.signedIn(told, 77);
    return { clock, given, other, auth, offer, token: offer.token(told, 77) };
  };

  test('is letters and an index, and good on every member', () => {
    const { given, other, auth, token, offer } = setUp();
    expect(token).toMatch(/^[a-zA-Z]{32}\.77$/);
    expect(given.awaitedIndex(token)).toBe(77);
    for (const member of [given, other]) {
      expect(member.identify(token, auth)).toEqual({ user: 'u', revision: auth.revision });
    }
    // What the log is told does not do for a token.
    expect(given.identify(`${offer.digest}.77`, auth)).toBeNull();
    for (const wrong of ['', 'x', token.replace('77', '78'), `${token}.1`, token.slice(1)]) {
      expect(given.identify(wrong, auth)).toBeNull();
    }
  });

  test('follows the auth revision', () => {
    const { given, auth, token } = setUp();
    auth.apply({ type: 'role-add', name: 'r' });
    expect(given.identify(token, auth)).toEqual({ user: 'u', revision: auth.revision });
  });

  test('lasts as long as it is used', () => {
    const { clock, given, other, auth, token } = setUp();
    for (let i = 0; i < 5; i++) {
      clock.advance(9_000);
      expect(given.identify(token, auth)).not.toBeNull();
    }
    // Each member has its own account of that.
    expect(other.identify(token, auth)).toBeNull();
    clock.advance(10_000);
    expect(given.identify(token, auth)).toBeNull();
  });

  test('is over when so many others were used since', () => {
    const clock = new ManualClock();
    const tokens = new SimpleTokens({ clock, random: systemRandom, ttlMs: 10_000, tokensMax: 3 });
    const auth = enabledStore();
    const given = [1, 2, 3].map((index) => {
      const { digest, token } = tokens.offer();
      const told = signIn('u', auth.revision, digest);
      tokens.signedIn(told, index);
      return token(told, index);
    });
    const known = (): boolean[] => given.map((token) => tokens.identify(token, auth) !== null);
    clock.advance(1_000);
    expect(tokens.identify(given[0]!, auth)).not.toBeNull();
    tokens.signedIn(signIn('u', auth.revision, 'fourth'), 4);
    expect(tokens.held).toBe(3);
    expect(known()).toEqual([true, false, true]);
  });

  test('is one of 200,000', () => {
    const tokens = new SimpleTokens({ clock: new ManualClock(), random: systemRandom, ttlMs: 10_000 });
    for (let index = 1; index <= 200_000; index++) tokens.signedIn(signIn('u', 1, 'd'), index);
    expect(tokens.held).toBe(200_000);
    tokens.signedIn(signIn('u', 1, 'd'), 200_001);
    expect(tokens.held).toBe(200_000);
  });

  test('ends with its user, his password, and when authentication is disabled', () => {
    for (const change of [
      [{ type: 'user-delete', name: 'u' } as const],
      [
        { type: 'user-delete', name: 'u' } as const,
        { type: 'user-add', name: 'u', passwordHash: 'h', noPassword: false } as const,
      ],
      [{ type: 'user-change-password', name: 'u', passwordHash: 'i' } as const],
      [{ type: 'auth-disable' } as const, { type: 'auth-enable' } as const],
    ]) {
      const { given, auth, token } = setUp();
      for (const operation of change) auth.apply(operation);
      expect(given.identify(token, auth)).toBeNull();
    }
  });
});

const pem = (key: KeyObject): Buffer =>
  Buffer.from(key.export({ type: key.type === 'public' ? 'spki' : 'pkcs8', format: 'pem' }));
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const curve = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const PAIRS: readonly [JwtMethod, { publicKey: KeyObject; privateKey: KeyObject }][] = [
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const).map(
    (method) => [method, rsa] as const,
  ),
  ['ES256', curve('prime256v1')],
  ['ES384', curve('secp384r1')],
  ['ES512', curve('secp521r1')],
  ['EdDSA', generateKeyPairSync('ed25519')],
].map(([method, pair]) => [method as JwtMethod, pair as { publicKey: KeyObject; privateKey: KeyObject }]);

describe('a signed token', () => {
  const nowMs = () => 1_000_000_000;
  const common = { ttlMs: 60_000, nowMs };

  test.each(PAIRS)('of %s is verified by who has the public key', (method, { publicKey, privateKey }) => {
    const signer = new JwtTokens({ ...common, method, publicKey: null, privateKey: pem(privateKey) });
    const verifier = new JwtTokens({ ...common, method, publicKey: pem(publicKey), privateKey: null });
    const token = signer.offer().token(signIn('u', 9), 1);
    const [, body, signed] = token.split('.');
    expect(JSON.parse(Buffer.from(body!, 'base64url').toString())).toEqual({
      username: 'u',
      revision: 9,
      exp: 1_000_060,
    });
    for (const member of [signer, verifier]) {
      expect(member.identify(token)).toEqual({ user: 'u', revision: 9 });
    }
    expect(verifier.identify(token.slice(0, -4) + (signed!.endsWith('AAAA') ? 'BBBB' : 'AAAA'))).toBeNull();
    expect(() => verifier.offer()).toThrow('unimplemented');
  });

  test('is over at its time, also when it was verified before', () => {
    let now = 0;
    const tokens = new JwtTokens({
      method: 'HS256',
      publicKey: null,
      privateKey: Buffer.from('k'),
      ttlMs: 5_000,
      nowMs: () => now,
    });
    const token = tokens.offer().token(signIn('u', 2), 1);
    now = 4_999;
    expect(tokens.identify(token)).not.toBeNull();
    now = 5_000;
    expect(tokens.identify(token)).toBeNull();
  });

  test('of another method, unsigned, or with claims that are none is no token', () => {
    const key = pem(rsa.publicKey);
    const tokens = new JwtTokens({ ...common, method: 'RS256', publicKey: key, privateKey: null });
    const body = (claims: object): string => Buffer.from(JSON.stringify(claims)).toString('base64url');
    const good = { username: 'root', revision: 1, exp: 2 ** 40 };
    // The public key as an HMAC secret: the classic confusion.
    const forged = `${body({ alg: 'HS256' })}.${body(good)}`;
    const mac = createHmac('sha256', key).update(forged).digest('base64url');
    expect(tokens.identify(`${forged}.${mac}`)).toBeNull();
    expect(tokens.identify(`${body({ alg: 'none' })}.${body(good)}.`)).toBeNull();
    expect(tokens.identify(`${body({ alg: 'RS256' })}.${body(good)}.AAAA`)).toBeNull();
    for (const text of ['', '.', '..', 'a.b.c', 'x'.repeat(10_000)]) expect(tokens.identify(text)).toBeNull();

    const hs = new JwtTokens({ ...common, method: 'HS256', publicKey: null, privateKey: Buffer.from('k') });
    const sign = (claims: object): string => {
      const text = `${body({ alg: 'HS256' })}.${body(claims)}`;
      return `${text}.${createHmac('sha256', 'k').update(text).digest('base64url')}`;
    };
    expect(hs.identify(sign(good))).toEqual({ user: 'root', revision: 1 });
    for (const claims of [
      { ...good, exp: 1 },
      { ...good, exp: 'later' },
      { ...good, revision: 0 },
      { ...good, revision: 1.5 },
      { ...good, username: 7 },
      { ...good, username: '' },
      { ...good, username: INTERNAL_USER },
      {},
    ]) {
      expect(hs.identify(sign(claims))).toBeNull();
    }
  });

  test('needs keys that fit the method and each other', () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const make = (method: JwtMethod, publicKey: KeyObject | null, privateKey: KeyObject | null) => () =>
      new JwtTokens({
        ...common,
        method,
        publicKey: publicKey && pem(publicKey),
        privateKey: privateKey && pem(privateKey),
      });
    expect(make('RS256', null, null)).toThrow('needs pub-key or priv-key');
    expect(make('HS256', rsa.publicKey, null)).toThrow('needs priv-key');
    expect(make('RS256', other.publicKey, rsa.privateKey)).toThrow('no pair');
    expect(make('ES256', rsa.publicKey, null)).toThrow('cannot sign by ES256');
    expect(make('ES384', curve('prime256v1').publicKey, null)).toThrow('cannot sign by ES384');
    const broken = { ...common, method: 'RS256' as const, privateKey: null };
    expect(() => new JwtTokens({ ...broken, publicKey: Buffer.from('x') })).toThrow('no such key in PEM');
    expect(() => jwtMethod('none')).toThrow("sign-method 'none' is none of");
  });
});
