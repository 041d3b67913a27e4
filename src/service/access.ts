import type { Kv, KvKeys } from '../kv/kv.ts';
import { prefixEnd } from '../lib/range-end.ts';
import type { Caller } from './caller.ts';
import { plainKey, plainPrefix, plainPrefixOf } from './keyspace.ts';
import { asService } from './kv-errors.ts';
import type { ConfigurationName } from './model.ts';
import { ServiceError } from './service-error.ts';

/** What somebody wants to touch; what is left out means all of it. */
export interface Target {
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  readonly key?: string | undefined;
  /** All keys that begin so, when no key is named. */
  readonly keyPrefix?: string | undefined;
}

/**
 * Who may do what, decided in one place: a permission on an application, or on some of its keys, is a permission on the
 * range of their plain keys.
 */
export class Access {
  readonly #kv: Kv;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  /** @throws ServiceError `forbidden`, `unauthenticated` */
  async check(caller: Caller, access: 'read' | 'write', target: Target): Promise<void> {
    if (await this.permits(caller, access, target)) return;
    throw new ServiceError('forbidden', `${caller.actor.name} may not ${access} ${describe(target)}`);
  }

  /** Every one of them; those of one scope are asked for together first. @throws ServiceError */
  async checkAll(
    caller: Caller,
    access: 'read' | 'write',
    names: readonly ConfigurationName[],
  ): Promise<void> {
    const [first] = names;
    if (first === undefined) return;
    if (names.length === 1) return this.check(caller, access, first);
    const filter = this.filter(caller, access);
    for (const name of names) {
      if (!(await filter(name))) await this.check(caller, access, name);
    }
  }

  /** Whether the target as a whole is permitted. @throws ServiceError `unauthenticated`, `unavailable` */
  async permits({ principal, signal }: Caller, access: 'read' | 'write', target: Target): Promise<boolean> {
    const { permitted } = await asService(
      this.#kv.permits({ ...keysOf(target), access }, { principal, signal }),
    );
    return permitted;
  }

  /** For one request over many configurations: asks for tenants and scopes as wholes first, and each of them once. */
  filter(caller: Caller, access: 'read' | 'write'): (name: ConfigurationName) => Promise<boolean> {
    const known = new Map<string, Promise<boolean>>();
    const ask = (target: Target): Promise<boolean> => {
      const id = keysOf(target).key.toString();
      const answer = known.get(id) ?? this.permits(caller, access, target);
      known.set(id, answer);
      return answer;
    };
    return async (name) => {
      const { tenant, environment, application } = name;
      if (await ask({ tenant })) return true;
      if (await ask({ tenant, environment, application })) return true;
      return ask(name);
    };
  }
}

function keysOf({ tenant, environment, application, key, keyPrefix }: Target): KvKeys {
  if (environment === undefined || application === undefined)
    return rangeOf(plainPrefixOf({ tenant, environment }));
  const scope = { tenant, environment, application };
  if (key === undefined && keyPrefix !== undefined) return rangeOf(plainKey({ ...scope, key: keyPrefix }));
  if (key === undefined) return rangeOf(plainPrefix(scope));
  return { key: plainKey({ tenant, environment, application, key }) };
}

function rangeOf(prefix: Buffer): KvKeys {
  return { key: prefix, rangeEnd: prefixEnd(prefix) };
}

function describe({ tenant, environment, application, key, keyPrefix }: Target): string {
  return `/${[tenant, environment, application, key ?? keyPrefix].filter((part) => part !== undefined).join('/')}`;
}
