import type { Kv } from '../kv/kv.ts';
import type { Access } from './access.ts';
import type { Clock } from './caller.ts';
import type { Committer } from './commit.ts';
import type { Scope } from './model.ts';
import type { Projection } from './projection.ts';
import type { Keyring } from './secrets/keyring.ts';

/** What the use cases are made of. */
export interface ServiceContext {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly projection: Projection;
  readonly committer: Committer;
  readonly access: Access;
  /** Null = there is no key: secrets are refused. */
  readonly keyring: Keyring | null;
  /** The instances that run an application in an environment now, as far as they registered. */
  readonly instancesOf: (scope: Scope) => readonly string[];
}
