import type { Kv } from '../../kv/kv.ts';
import type { Caller } from '../../service/caller.ts';
import { HEAD_KEY } from '../../service/keyspace.ts';
import { asService } from '../../service/kv-errors.ts';
import { checkLabel } from '../../service/names.ts';
import { ServiceError } from '../../service/service-error.ts';

/** What somebody who calls shows of themselves. */
export interface Shown {
  /** Of the store's authentication. */
  readonly token: string | undefined;
  /** Of a certificate that was verified. */
  readonly certificateName: string | undefined;
  /** What the caller names itself; not proven. */
  readonly user: string | undefined;
  /** Where from, without the port. */
  readonly address: string;
  readonly agent: string | undefined;
}

/** The name of those who give none. */
export const ANONYMOUS = 'anonymous';

/**
 * Who is calling. Where the store authenticates a token says it, and nobody does without one; elsewhere a certificate
 * does, or else callers name themselves.
 */
export class Identities {
  readonly #kv: Pick<Kv, 'authEnabled' | 'permits'>;
  readonly #isRequired: boolean;

  /** @param options.required nobody calls without a name */
  constructor(kv: Pick<Kv, 'authEnabled' | 'permits'>, options: { readonly required: boolean }) {
    this.#kv = kv;
    this.#isRequired = options.required;
  }

  /** @throws ServiceError `unauthenticated`; `invalid` for a name that cannot be */
  async callerOf(shown: Shown, signal: AbortSignal): Promise<Caller> {
    const from = { claimed: null, address: shown.address, agent: shown.agent ?? null };
    const service = { principal: { type: 'service' }, signal } as const;
    if (await asService(this.#kv.authEnabled(service))) {
      const { token } = shown;
      if (token === undefined) throw unauthenticated('a token of the store is needed');
      const principal = { type: 'token', token } as const;
      const { user } = await asService(
        this.#kv.permits({ key: HEAD_KEY, access: 'read' }, { principal, signal }),
      );
      const name = user ?? 'token';
      return { actor: { name, isAuthenticated: true, ...from }, principal, signal };
    }
    const name = shown.certificateName ?? shown.user;
    if (name === undefined && this.#isRequired) throw unauthenticated('the call does not say who makes it');
    if (name !== undefined) checkLabel('user', name);
    const isAuthenticated = shown.certificateName !== undefined;
    const actor = { name: name ?? ANONYMOUS, isAuthenticated, ...from };
    return { actor, principal: { type: 'anonymous' }, signal };
  }
}

function unauthenticated(message: string): ServiceError {
  return new ServiceError('unauthenticated', message);
}
