import { createHmac } from 'node:crypto';
import type { Principal } from '../../src/core/auth/operations.ts';
import { JwtTokens } from '../../src/member/auth/jwt-tokens.ts';
import { codec } from '../../src/rpc/codec.ts';
import type { Messages } from '../../src/rpc/generated/messages.ts';
import { decodeJson, encodeJson } from '../../src/rpc/json.ts';
import { JsonError } from '../../src/rpc/json-parse.ts';
import { JsonValues } from '../../src/rpc/json-values.ts';
import { RpcError } from '../../src/rpc/status.ts';
import { Prng } from '../sim/prng.ts';
import type { Target } from './fuzz.ts';
import { type Plain, plain } from './rpc-targets.ts';
import { wireNoise } from './wire-noise.ts';

/** What clients send over HTTP: requests as JSON, and tokens. */

const REQUESTS = [
  'etcdserverpb.RangeRequest',
  'etcdserverpb.PutRequest',
  'etcdserverpb.TxnRequest',
  'etcdserverpb.WatchRequest',
  'etcdserverpb.LeaseGrantRequest',
  'etcdserverpb.AuthRoleGrantPermissionRequest',
] as const satisfies readonly (keyof Messages)[];
const SEEDS_PER_REQUEST = 12;
const CHARACTERS_MAX = 128 * 1024;

/** The message behind each decoded value, for encoding it again. */
const wireOf = new WeakMap<object, Buffer>();

function jsonTarget(name: (typeof REQUESTS)[number]): Target<{ readonly fields: Plain }> {
  const prng = new Prng(2, REQUESTS.indexOf(name));
  const json = (wire: Buffer): Buffer => Buffer.from([...decodeJson(name, wire)].join(''));
  const decode = (bytes: Buffer): { readonly fields: Plain } => {
    const values = new JsonValues(CHARACTERS_MAX);
    const [first] = [...values.push(bytes.toString('utf8')), ...values.end()];
    if (first === undefined) throw new JsonError('no value');
    const wire = encodeJson(name, first);
    const decoded = { fields: plain(codec(name).decode(wire)) as Plain };
    wireOf.set(decoded, wire);
    return decoded;
  };
  const noise = Array.from({ length: SEEDS_PER_REQUEST }, () => json(wireNoise(name, prng)));
  return {
    name: `json of ${name}`,
    // Noise on the wire may name two members of a oneof: the last one counts there, JSON refuses both.
    seeds: [Buffer.from('{}'), ...noise.filter((text) => isAccepted(() => decode(text)))],
    decode,
    allows: (error) => error instanceof JsonError || error instanceof RpcError,
    encode: (decoded) => json(wireOf.get(decoded)!),
    share: 0.3,
  };
}

function isAccepted(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}

const SECRET = Buffer.from('secret');
const NOW_MS = 1_000_000_000;
const DOT = '.'.charCodeAt(0);

const signatureOf = (body: Buffer): Buffer =>
  Buffer.from(createHmac('sha256', SECRET).update(body).digest('base64url'));

function tokenOf(claims: object): Buffer {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = Buffer.from(`${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`);
  return Buffer.concat([body, Buffer.from('.'), signatureOf(body)]);
}

const signedToken: Target<Principal | null> = {
  name: 'signed token',
  seeds: [
    { username: 'u', revision: 9, exp: 2_000_000 },
    { username: 'ü'.repeat(50), revision: 1, exp: 1e300, more: [{}] },
    { username: 'over', revision: 3, exp: 5 },
  ].map(tokenOf),
  decode(bytes) {
    const tokens = new JwtTokens({
      method: 'HS256',
      publicKey: null,
      privateKey: SECRET,
      ttlMs: 60_000,
      nowMs: () => NOW_MS,
    });
    const token = bytes.toString('latin1');
    const principal = tokens.identify(token);
    if (principal === null) return null;
    // Nobody is identified by what the key did not sign.
    const end = bytes.lastIndexOf(DOT);
    const signed = Buffer.from(token.slice(end + 1), 'base64url');
    const wanted = Buffer.from(signatureOf(bytes.subarray(0, end)).toString('latin1'), 'base64url');
    if (!signed.equals(wanted)) throw new Error('a token that nobody signed');
    if (!Number.isSafeInteger(principal.revision)) throw new Error('a revision that is none');
    return principal;
  },
  allows: () => false,
  reseal(bytes) {
    const end = bytes.lastIndexOf(DOT);
    if (end < 0) return;
    signatureOf(bytes.subarray(0, end)).copy(bytes, end + 1);
  },
};

export const GATEWAY_TARGETS: readonly Target<unknown>[] = [
  ...REQUESTS.map(jsonTarget),
  signedToken,
] as readonly Target<unknown>[];
