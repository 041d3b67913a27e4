import type { AuthOptions } from '../member-options.ts';
import type { Clock, Random } from '../ports.ts';
import { JwtTokens } from './jwt-tokens.ts';
import { PASSWORD_COST, Passwords } from './passwords.ts';
import { SimpleTokens } from './simple-tokens.ts';
import type { Tokens } from './tokens.ts';

/** After so long without use a simple token is over, as in etcd. */
export const TOKEN_TTL_MS_DEFAULT = 300_000;

/** What proves who a client is. */
export interface SignInParts {
  readonly tokens: Tokens;
  readonly passwords: Passwords;
}

/**
 * The parts that options ask for.
 *
 * @throws StoreError `bad-options` for keys that are none
 */
export function signInParts(
  options: AuthOptions | undefined,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): SignInParts {
  const ttlMs = options?.tokenTtlMs ?? TOKEN_TTL_MS_DEFAULT;
  const jwt = options?.jwt ?? null;
  return {
    tokens: jwt === null ? new SimpleTokens({ clock, random, ttlMs }) : new JwtTokens(jwt),
    passwords: new Passwords(options?.passwordCost ?? PASSWORD_COST.default),
  };
}
