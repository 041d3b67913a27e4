import type { WatchHub } from '../../core/watch/hub.ts';
import type { Logger } from '../../lib/logger.ts';
import { ClientCalls, type ClientCallsOptions } from '../client-calls.ts';
import type { AuthOptions } from '../member-options.ts';
import type { MemberObserver } from '../observer.ts';
import type { Clock, Random } from '../ports.ts';
import { Access } from './access.ts';
import { Accounts } from './accounts.ts';
import { Attempts } from './attempts.ts';
import { JwtTokens } from './jwt-tokens.ts';
import { PASSWORD_COST, Passwords } from './passwords.ts';
import { SimpleTokens } from './simple-tokens.ts';
import type { Tokens } from './tokens.ts';
import { WatchGuard } from './watch-guard.ts';

/** After so long without use a simple token is over, as in etcd. */
const TOKEN_TTL_MS_DEFAULT = 300_000;

export interface AuthPartsOptions extends Omit<ClientCallsOptions, 'access'> {
  readonly auth: AuthOptions | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly hub: WatchHub;
  /** How long a token's index is waited for. */
  readonly timeoutMs: number;
  readonly observer: Pick<MemberObserver, 'accessDecided' | 'signedIn' | 'boundedRead'>;
}

/** What knows clients and what they may do. */
export interface AuthParts {
  readonly tokens: Tokens;
  readonly access: Access;
  readonly watches: WatchGuard;
  readonly calls: ClientCalls;
  readonly accounts: Accounts;
}

/**
 * The parts that options ask for.
 *
 * @throws StoreError `bad-options` for keys that are none
 */
export function authParts(options: AuthPartsOptions): AuthParts {
  const { clock, logger, hub, loop, reads, freshness, timeoutMs, observer } = options;
  const machine = (): ClientCalls['machine'] => loop.replica.machine;
  const auth = (): ClientCalls['machine']['auth'] => machine().auth;
  const tokens = tokensOf(options);
  const access = new Access({
    clock,
    auth,
    tokens,
    appliedIndex: () => machine().appliedIndex,
    linearizable: (signal) => reads.linearizable(signal),
    timeoutMs,
    decided: (outcome) => observer.accessDecided(outcome),
  });
  const calls = new ClientCalls({ ...options, access });
  const passwords = new Passwords(options.auth?.passwordCost ?? PASSWORD_COST.default);
  const attempts = new Attempts(clock);
  return {
    tokens,
    access,
    watches: new WatchGuard({ hub, access, machine, clock, freshness, reads }),
    calls,
    accounts: new Accounts({
      calls,
      tokens,
      passwords,
      attempts,
      logger,
      signedIn: (outcome) => observer.signedIn(outcome),
    }),
  };
}

function tokensOf({ auth, clock, random }: AuthPartsOptions): Tokens {
  const jwt = auth?.jwt ?? null;
  if (jwt !== null) return new JwtTokens(jwt);
  return new SimpleTokens({ clock, random, ttlMs: auth?.tokenTtlMs ?? TOKEN_TTL_MS_DEFAULT });
}
