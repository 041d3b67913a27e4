import type { Target } from './access.ts';
import type { Caller } from './caller.ts';
import type { ServiceContext } from './context.ts';
import { environmentsOf } from './environments/inheritance.ts';
import { FEATURE_PLAIN_PREFIXES } from './keyspace.ts';
import { ServiceError } from './service-error.ts';

/** Questions about permissions that one request asks: what it has not found by then it does not show. */
export const QUESTIONS_MAX = 10_000;

/**
 * Which environments and applications of a tenant a caller sees, for one request: those of which it may read something, be
 * it one key. Who may read an environment sees all applications, since they are in all environments.
 */
export class Visible {
  readonly #context: ServiceContext;
  readonly #caller: Caller;
  readonly #tenant: string;
  readonly #environments: readonly string[];
  readonly #applications: readonly string[];
  readonly #known = new Map<string, Promise<boolean>>();
  #questions = 0;

  constructor(context: ServiceContext, caller: Caller, tenant: string) {
    const { state } = context.projection;
    this.#context = context;
    this.#caller = caller;
    this.#tenant = tenant;
    this.#environments = environmentsOf(state, tenant);
    this.#applications = state.applications(tenant).map(({ row }) => row.name);
  }

  /** @throws ServiceError `unavailable` */
  async hasEnvironment(environment: string): Promise<boolean> {
    if ((await this.#mayRead({})) || (await this.#mayRead({ environment }))) return true;
    for (const application of this.#applications) {
      if (await this.#hasAnyOf(environment, application)) return true;
    }
    return false;
  }

  /** @throws ServiceError `unavailable` */
  async hasApplication(application: string): Promise<boolean> {
    if (await this.#mayRead({})) return true;
    for (const environment of this.#environments) {
      if (await this.#mayRead({ environment })) return true;
      if (await this.#hasAnyOf(environment, application)) return true;
    }
    return false;
  }

  /** @throws ServiceError `forbidden` unless it is seen */
  async check(what: 'environment' | 'application', name: string): Promise<void> {
    const isSeen = await (what === 'environment' ? this.hasEnvironment(name) : this.hasApplication(name));
    if (isSeen) return;
    const { actor } = this.#caller;
    throw new ServiceError('forbidden', `${actor.name} may not read anything of the ${what} ${name}`);
  }

  async #hasAnyOf(environment: string, application: string): Promise<boolean> {
    if (await this.#mayRead({ environment, application })) return true;
    const scope = { tenant: this.#tenant, environment, application };
    for (const { key } of this.#context.projection.state.configurations.scope(scope)) {
      if (await this.#mayRead({ environment, application, key })) return true;
      if (this.#questions >= QUESTIONS_MAX) return false;
    }
    const [flag] = this.#context.projection.state.features.scope('flag', scope);
    if (flag === undefined) return false;
    return this.#mayRead({ environment, application, keyPrefix: FEATURE_PLAIN_PREFIXES.flag });
  }

  /** Each question is asked once. */
  #mayRead(part: Omit<Target, 'tenant'>): Promise<boolean> {
    const { environment = '', application = '', key = part.keyPrefix ?? '' } = part;
    const id = `${environment}/${application}/${key}`;
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    if (this.#questions >= QUESTIONS_MAX) return Promise.resolve(false);
    this.#questions += 1;
    const answer = this.#context.access.permits(this.#caller, 'read', { tenant: this.#tenant, ...part });
    this.#known.set(id, answer);
    return answer;
  }
}

/** Those of a list that the test lets through, in its order. */
export async function filtered<T>(
  items: readonly T[],
  isSeen: (item: T) => Promise<boolean>,
): Promise<readonly T[]> {
  const seen: T[] = [];
  for (const item of items) if (await isSeen(item)) seen.push(item);
  return seen;
}
