import { parseDuration } from './lib/duration.ts';
import { StoreError } from './lib/errors.ts';

/** What `--auth-token` asks for. */
export type AuthTokenOptions =
  | { readonly type: 'simple' }
  | {
      readonly type: 'jwt';
      /** JWA's name, such as `RS256`. */
      readonly method: string;
      readonly publicKeyFile: string | null;
      readonly privateKeyFile: string | null;
      readonly ttlMs: number;
    };

/** A signed token lasts this long, unless it is said otherwise; as in etcd. */
const JWT_TTL_MS_DEFAULT = 5 * 60_000;
const KEYS: ReadonlySet<string> = new Set(['pub-key', 'priv-key', 'sign-method', 'ttl']);

/**
 * Reads `simple`, or `jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=10m`, as etcd writes them.
 *
 * @param label where the value was set, for messages
 * @throws StoreError `bad-options`
 */
export function parseAuthToken({
  label,
  text,
}: {
  readonly label: string;
  readonly text: string;
}): AuthTokenOptions {
  const refuse = (detail: string): StoreError => new StoreError('bad-options', `${label}: ${detail}`);
  const [type, ...pairs] = text.split(',');
  if (type === 'simple' && pairs.length === 0) return { type };
  if (type !== 'jwt') throw refuse(`'${text}' is neither 'simple' nor 'jwt,sign-method=...,priv-key=...'`);
  const values = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const key = pair.slice(0, at);
    if (at === -1 || !KEYS.has(key))
      throw refuse(`'${pair}' is none of ${[...KEYS].join(', ')} with a value`);
    if (values.has(key)) throw refuse(`${key} is given twice`);
    values.set(key, pair.slice(at + 1));
  }
  const method = values.get('sign-method');
  if (method === undefined || method === '') throw refuse('jwt needs sign-method');
  const ttl = values.get('ttl');
  const ttlMs = ttl === undefined ? JWT_TTL_MS_DEFAULT : parseDuration(ttl);
  if (ttlMs === null || ttlMs === 0) throw refuse(`ttl '${ttl}' is not a duration such as 10m or 1h30m`);
  return {
    type,
    method,
    publicKeyFile: values.get('pub-key') ?? null,
    privateKeyFile: values.get('priv-key') ?? null,
    ttlMs,
  };
}
