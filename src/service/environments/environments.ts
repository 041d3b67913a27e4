import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions, Guard, Plan } from '../commit.ts';
import type { Answer, ReadOptions } from '../configurations/reads.ts';
import { checkParent } from '../configurations/rule-checks.ts';
import type { ServiceContext } from '../context.ts';
import { checkReferencesUnder } from '../flags/reference-checks.ts';
import { environmentKey, HEAD_KEY } from '../keyspace.ts';
import type { ChangeItem, DeploymentRules, Environment, Json } from '../model.ts';
import { checkEnvironmentName, checkTenant, checkText } from '../names.ts';
import type { ProjectionState, Stored } from '../projection-state.ts';
import { encodeEnvironment } from '../rows.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { filtered, Visible } from '../visible.ts';
import { CHAIN_MAX, chainOf, environmentsOf, hasEnvironment, heirsOf } from './inheritance.ts';
import { isStandard } from './spelling.ts';

/** Environments of one tenant, the standard ones included. */
export const ENVIRONMENTS_MAX = 64;

/** An environment as a caller sees it. */
export interface EnvironmentView extends Omit<Environment, 'format'> {
  readonly isStandard: boolean;
  /** Those that it inherits from, nearest first. */
  readonly inherits: readonly string[];
  /** The entity tag, without the quotes. */
  readonly etag: string;
}

/** What may be said of an environment; what is left out stays. */
export interface EnvironmentInput {
  readonly description?: string | undefined;
  /** Null = it inherits from none. */
  readonly parent?: string | null | undefined;
  readonly rules?: Partial<DeploymentRules> | undefined;
}

export interface EnvironmentRef {
  readonly tenant: string;
  /** Canonical, as `environmentId` makes it. */
  readonly id: string;
}

interface EnvironmentRequest extends EnvironmentRef, EnvironmentInput, ChangeOptions {
  readonly ifMatch?: readonly string[] | undefined;
}

/** What a change of an environment did. */
export interface EnvironmentAnswer {
  readonly revision: number;
  readonly isRepeated: boolean;
  readonly environment: EnvironmentView;
}

/** An environment as a change leaves it; `modRevision` is that of a row that stays as it is. */
interface Planned {
  readonly row: Environment;
  readonly modRevision: number;
  readonly inherits: readonly string[];
}

const NO_RULES: DeploymentRules = { locked: false, promoteOnlyFrom: null, reasonRequired: false };
const NEVER = '1970-01-01T00:00:00.000Z';

/** The use cases about environments. The four standard ones are there without having been made. */
export class Environments {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** The standard ones in their order, then the tenant's own by name, as far as the caller sees them. @throws ServiceError */
  async list(
    caller: Caller,
    { tenant, consistency }: ReadOptions & { readonly tenant: string },
  ): Promise<Answer<readonly EnvironmentView[]>> {
    checkTenant(tenant);
    const { projection } = this.#context;
    await projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    const { state, revision } = projection;
    const all = environmentsOf(state, tenant).map((id) => viewOf(state, tenant, id));
    const visible = new Visible(this.#context, caller, tenant);
    return { revision, result: await filtered(all, async ({ id }) => visible.hasEnvironment(id)) };
  }

  /** @throws ServiceError `not-found`, `forbidden` unless the caller may read something of it */
  async get(caller: Caller, ref: ReadOptions & EnvironmentRef): Promise<Answer<EnvironmentView>> {
    checkRef(ref);
    const { projection } = this.#context;
    await projection.freshen(ref.consistency ?? { type: 'strong' }, caller.signal);
    const { state, revision } = projection;
    if (!hasEnvironment(state, ref.tenant, ref.id)) throw notFound(ref.id);
    const result = viewOf(state, ref.tenant, ref.id);
    await new Visible(this.#context, caller, ref.tenant).check('environment', ref.id);
    return { revision, result };
  }

  /** @throws ServiceError `exists`, `invalid` for a parent that is not there */
  async create(caller: Caller, request: EnvironmentRequest): Promise<EnvironmentAnswer> {
    return this.#change(caller, { request, action: 'create' });
  }

  /** Also of a standard one. @throws ServiceError `not-found`, `precondition-failed`, `invalid` for a cycle */
  async update(caller: Caller, request: EnvironmentRequest): Promise<EnvironmentAnswer> {
    return this.#change(caller, { request, action: 'update' });
  }

  /**
   * Only of the tenant's own, and only when nothing is in them.
   *
   * @throws ServiceError `not-found`, `conflict` for configurations in it, environments that inherit from it, and rules
   *   that name it
   */
  async delete(
    caller: Caller,
    request: EnvironmentRef & ChangeOptions & { readonly ifMatch?: readonly string[] | undefined },
  ): Promise<{ readonly revision: number }> {
    await this.#mayWrite(caller, request);
    const { revision } = await this.#context.committer.commit(
      caller,
      {
        ...options(request),
        operation: 'environment',
        tenant: request.tenant,
        body: { action: 'delete', request },
      },
      (meta) => this.#planDelete(request, meta),
    );
    return { revision };
  }

  async #change(
    caller: Caller,
    { request, action }: { readonly request: EnvironmentRequest; readonly action: 'create' | 'update' },
  ): Promise<EnvironmentAnswer> {
    await this.#mayWrite(caller, request);
    checkText('description', request.description ?? '');
    const { tenant, id } = request;
    const committed = await this.#context.committer.commit(
      caller,
      { ...options(request), operation: 'environment', tenant, body: { action, request } },
      (meta) => this.#planPut({ request, action, meta }),
    );
    const { revision } = committed;
    switch (committed.type) {
      case 'done':
        return { revision, isRepeated: false, environment: shown(committed.result, revision) };
      case 'unchanged':
        return {
          revision,
          isRepeated: false,
          environment: shown(committed.result, committed.result.modRevision),
        };
      case 'repeated':
        await this.#context.projection.catchUp(caller.signal);
        if (!hasEnvironment(this.#state, tenant, id)) throw notFound(id);
        return { revision, isRepeated: true, environment: viewOf(this.#state, tenant, id) };
    }
  }

  async #mayWrite(caller: Caller, { tenant, id }: EnvironmentRef): Promise<void> {
    checkRef({ tenant, id });
    await this.#context.access.check(caller, 'write', { tenant, environment: id });
  }

  get #state(): ProjectionState {
    return this.#context.projection.state;
  }

  #planPut({
    request,
    action,
    meta,
  }: {
    readonly request: EnvironmentRequest;
    readonly action: 'create' | 'update';
    readonly meta: ChangeMeta;
  }): Plan<Planned> {
    const { tenant, id } = request;
    const stored = this.#state.environment(tenant, id);
    const exists = hasEnvironment(this.#state, tenant, id);
    if (action === 'create' && exists) throw alreadyThere(id);
    if (action === 'update' && !exists) throw notFound(id);
    if (action === 'create' && environmentsOf(this.#state, tenant).length >= ENVIRONMENTS_MAX) {
      throw new ServiceError('too-large', `a tenant has ${ENVIRONMENTS_MAX} environments at most`);
    }
    checkMatch(request.ifMatch, stored);
    const before = stored?.row ?? unmade(tenant, id);
    const after = changed(before, request, meta);
    this.#checkRules(after);
    const fields = differences(before, after);
    const inherits = after.parent === null ? [] : chainOf(this.#state, tenant, after.parent);
    if (fields.length === 0 && exists) {
      const result = { row: before, modRevision: stored?.modRevision ?? 0, inherits };
      return { guards: [], ops: [], items: [], result };
    }
    const key = environmentKey(tenant, id);
    const guards: Guard[] = [{ key, modRevision: stored?.modRevision ?? 0 }];
    const source = after.rules.promoteOnlyFrom;
    if (source !== null && source !== before.rules.promoteOnlyFrom)
      guards.push(this.#guardOf(tenant, source));
    if (after.parent !== before.parent) {
      guards.push(...this.#ancestorGuards(after));
      this.#checkHeirs(after, meta);
      checkReferencesUnder(this.#state, after);
    }
    return {
      guards,
      ops: [{ type: 'put', key, value: encodeEnvironment(after) }],
      items: [itemOf(before, after, exists ? 'updated' : 'created')],
      result: { row: after, modRevision: 0, inherits },
    };
  }

  #planDelete(
    { tenant, id, ifMatch }: EnvironmentRef & { readonly ifMatch?: readonly string[] | undefined },
    { atMs }: ChangeMeta,
  ): Plan<null> {
    const stored = this.#state.environment(tenant, id);
    if (isStandard(id)) throw new ServiceError('conflict', `${id} is a standard environment`);
    if (stored === undefined) throw notFound(id);
    checkMatch(ifMatch, stored);
    for (const entry of this.#state.configurations.matching({ tenant, environment: id })) {
      if (entry.isLive(atMs)) throw new ServiceError('conflict', `there are configurations in ${id}`);
    }
    if (this.#state.features.has({ tenant, environment: id })) {
      throw new ServiceError('conflict', `there are flags or segments in ${id}`);
    }
    for (const { row } of this.#state.environments(tenant)) {
      if (row.parent === id) throw new ServiceError('conflict', `${row.id} inherits from ${id}`);
      if (row.rules.promoteOnlyFrom === id)
        throw new ServiceError('conflict', `${row.id} is promoted to from ${id}`);
    }
    const key = environmentKey(tenant, id);
    return {
      // Nothing at all may have changed: a configuration that was just put there does not touch the environment's row.
      guards: [
        { key, modRevision: stored.modRevision },
        { key: HEAD_KEY, modRevision: this.#state.headRevision },
      ],
      ops: [{ type: 'delete', key }],
      items: [
        {
          kind: 'environment',
          type: 'deleted',
          tenant,
          name: id,
          before: stored.row.version,
          after: 0,
          // What was: the history of what others inherited can be told from it.
          fields: differences(stored.row, unmade(tenant, id)),
        },
      ],
      result: null,
    };
  }

  #checkRules({ tenant, id, parent, rules }: Environment): void {
    const source = rules.promoteOnlyFrom;
    if (source !== null && (source === id || !hasEnvironment(this.#state, tenant, source))) {
      throw invalid({ field: 'rules/promoteOnlyFrom', message: `there is no other environment ${source}` });
    }
    if (parent === null) return;
    if (!hasEnvironment(this.#state, tenant, parent)) {
      throw invalid({ field: 'parent', message: `there is no environment ${parent}` });
    }
    const chain = chainOf(this.#state, tenant, parent);
    if (chain.includes(id)) {
      throw invalid({ field: 'parent', message: `${[id, ...chain].join(' inherits from ')}: a cycle` });
    }
    const below = Math.max(
      0,
      ...heirsOf(this.#state, tenant, id).map((heir) => this.#stepsTo(tenant, heir, id)),
    );
    if (below + 1 + chain.length > CHAIN_MAX) {
      throw invalid({
        field: 'parent',
        message: `more than ${CHAIN_MAX} environments would inherit in a row`,
      });
    }
  }

  #stepsTo(tenant: string, heir: string, id: string): number {
    return chainOf(this.#state, tenant, heir).indexOf(id);
  }

  /** Two changes of parents at once could make a cycle together, or a chain that is too long. */
  #ancestorGuards({ tenant, id, parent }: Environment): readonly Guard[] {
    const ancestors = parent === null ? [] : chainOf(this.#state, tenant, parent);
    const others = new Set([...ancestors, ...heirsOf(this.#state, tenant, id)]);
    const guards = [...others].map((other) => this.#guardOf(tenant, other));
    const hasRules = this.#state.applications(tenant).some(({ row }) => row.rules.length > 0);
    // What rules and flags were checked with: no configuration and no flag may have changed.
    const isRelied = hasRules || this.#state.features.has({ tenant });
    return isRelied ? [...guards, { key: HEAD_KEY, modRevision: this.#state.headRevision }] : guards;
  }

  #guardOf(tenant: string, id: string): Guard {
    return {
      key: environmentKey(tenant, id),
      modRevision: this.#state.environment(tenant, id)?.modRevision ?? 0,
    };
  }

  /** What an environment inherits must keep the rules of the applications. */
  #checkHeirs(after: Environment, { atMs }: ChangeMeta): void {
    const { tenant, id } = after;
    const heirs = [id, ...heirsOf(this.#state, tenant, id)];
    checkParent(this.#context, {
      tenant,
      environments: heirs,
      nowMs: atMs,
      parentOf: { id, parent: after.parent },
    });
  }
}

function options({ reason, changeSet, idempotencyKey }: ChangeOptions): ChangeOptions {
  return { reason, changeSet, idempotencyKey };
}

function checkRef({ tenant, id }: EnvironmentRef): void {
  checkTenant(tenant);
  checkEnvironmentName(id);
}

function viewOf(state: ProjectionState, tenant: string, id: string): EnvironmentView {
  const stored = state.environment(tenant, id);
  const row = stored?.row ?? unmade(tenant, id);
  return shown({ row, inherits: chainOf(state, tenant, id).slice(1) }, stored?.modRevision ?? 0);
}

function shown({ row, inherits }: Pick<Planned, 'row' | 'inherits'>, modRevision: number): EnvironmentView {
  const { format: _, ...rest } = row;
  return { ...rest, isStandard: isStandard(row.id), inherits, etag: String(modRevision) };
}

/** A standard environment that nobody has changed yet. */
function unmade(tenant: string, id: string): Environment {
  return {
    format: 1,
    tenant,
    id,
    description: '',
    parent: null,
    rules: NO_RULES,
    createdBy: '',
    createdAt: NEVER,
    updatedBy: '',
    updatedAt: NEVER,
    version: 0,
  };
}

function changed(before: Environment, input: EnvironmentInput, meta: ChangeMeta): Environment {
  const by = meta.caller.actor.name;
  const isNew = before.version === 0;
  return {
    ...before,
    description: input.description ?? before.description,
    parent: input.parent === undefined ? before.parent : input.parent,
    rules: {
      locked: input.rules?.locked ?? before.rules.locked,
      promoteOnlyFrom:
        input.rules?.promoteOnlyFrom === undefined
          ? before.rules.promoteOnlyFrom
          : input.rules.promoteOnlyFrom,
      reasonRequired: input.rules?.reasonRequired ?? before.rules.reasonRequired,
    },
    createdBy: isNew ? by : before.createdBy,
    createdAt: isNew ? meta.at : before.createdAt,
    updatedBy: by,
    updatedAt: meta.at,
    version: before.version + 1,
  };
}

function differences(
  before: Environment,
  after: Environment,
): readonly { readonly name: string; readonly before: Json; readonly after: Json }[] {
  const of = ({ description, parent, rules }: Environment): Readonly<Record<string, Json>> => ({
    description,
    parent,
    locked: rules.locked,
    promoteOnlyFrom: rules.promoteOnlyFrom,
    reasonRequired: rules.reasonRequired,
  });
  const old = of(before);
  return Object.entries(of(after))
    .filter(([name, value]) => old[name] !== value)
    .map(([name, value]) => ({ name, before: old[name] ?? null, after: value }));
}

function itemOf(before: Environment, after: Environment, type: 'created' | 'updated'): ChangeItem {
  return {
    kind: 'environment',
    type,
    tenant: after.tenant,
    name: after.id,
    before: before.version,
    after: after.version,
    fields: differences(before, after),
  };
}

function checkMatch(ifMatch: readonly string[] | undefined, stored: Stored<Environment> | undefined): void {
  if (ifMatch === undefined) return;
  const etag = String(stored?.modRevision ?? 0);
  if (ifMatch.some((tag) => tag === '*' || tag === etag)) return;
  throw new ServiceError('precondition-failed', 'If-Match names another revision than the present one');
}

function notFound(id: string): ServiceError {
  const message = `there is no environment ${id}`;
  return new ServiceError('not-found', message, { problems: [{ field: 'environment', message }] });
}

function alreadyThere(id: string): ServiceError {
  const message = `there is an environment ${id} already`;
  return new ServiceError('exists', message, { problems: [{ field: 'environment', message }] });
}
