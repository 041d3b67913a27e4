import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions, Guard, Plan } from '../commit.ts';
import type { Answer, ReadOptions } from '../configurations/reads.ts';
import { checkDefaults, checkRules } from '../configurations/rule-checks.ts';
import type { ServiceContext } from '../context.ts';
import { applicationKey, applicationOrderKey, HEAD_KEY } from '../keyspace.ts';
import type { Application, ChangeItem, CrossKeyRule, Json } from '../model.ts';
import { checkApplicationName, checkTenant, checkText } from '../names.ts';
import type { ProjectionState, Stored } from '../projection-state.ts';
import { encodeApplication } from '../rows.ts';
import { ServiceError } from '../service-error.ts';
import { sameJson } from '../values/json-limits.ts';
import { filtered, Visible } from '../visible.ts';

/** Applications of one tenant. */
export const APPLICATIONS_MAX = 50_000;

/** An application as a caller sees it. */
export interface ApplicationView extends Omit<Application, 'format'> {
  /** The entity tag, without the quotes. */
  readonly etag: string;
}

/** What may be said of an application; what is left out stays. */
export interface ApplicationInput {
  readonly description?: string | undefined;
  /** All of them: those that are left out are no defaults any more. */
  readonly defaults?: { readonly [key: string]: Json } | undefined;
  readonly rules?: readonly CrossKeyRule[] | undefined;
}

export interface ApplicationRef {
  readonly tenant: string;
  readonly name: string;
}

interface ApplicationRequest extends ApplicationRef, ApplicationInput, ChangeOptions {
  readonly ifMatch?: readonly string[] | undefined;
}

/** What a change of an application did. */
export interface ApplicationAnswer {
  readonly revision: number;
  readonly isRepeated: boolean;
  readonly application: ApplicationView;
}

/** The use cases about applications. One is made by its first configuration, too. */
export class Applications {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** By name, as far as the caller sees them. @throws ServiceError */
  async list(
    caller: Caller,
    { tenant, consistency }: ReadOptions & { readonly tenant: string },
  ): Promise<Answer<readonly ApplicationView[]>> {
    checkTenant(tenant);
    const { projection } = this.#context;
    await projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    const { state, revision } = projection;
    const visible = new Visible(this.#context, caller, tenant);
    const all = state.applications(tenant).map(viewOf);
    return { revision, result: await filtered(all, async ({ name }) => visible.hasApplication(name)) };
  }

  /** @throws ServiceError `not-found`, `forbidden` unless the caller may read something of it */
  async get(caller: Caller, ref: ReadOptions & ApplicationRef): Promise<Answer<ApplicationView>> {
    checkRef(ref);
    const { projection } = this.#context;
    await projection.freshen(ref.consistency ?? { type: 'strong' }, caller.signal);
    const { state, revision } = projection;
    const stored = state.application(ref.tenant, ref.name);
    if (stored === undefined) throw notFound(ref.name);
    await new Visible(this.#context, caller, ref.tenant).check('application', ref.name);
    return { revision, result: viewOf(stored) };
  }

  /** @throws ServiceError `exists`, `invalid` for rules that are no expressions or do not hold */
  async create(caller: Caller, request: ApplicationRequest): Promise<ApplicationAnswer> {
    return this.#change(caller, { request, action: 'create' });
  }

  /** @throws ServiceError `not-found`, `precondition-failed`, `invalid` */
  async update(caller: Caller, request: ApplicationRequest): Promise<ApplicationAnswer> {
    return this.#change(caller, { request, action: 'update' });
  }

  /** Only without configurations. @throws ServiceError `not-found`, `conflict`, `precondition-failed` */
  async delete(
    caller: Caller,
    request: ApplicationRef & ChangeOptions & { readonly ifMatch?: readonly string[] | undefined },
  ): Promise<{ readonly revision: number }> {
    await this.#mayWrite(caller, request);
    const { tenant } = request;
    const { revision } = await this.#context.committer.commit(
      caller,
      { ...options(request), operation: 'application', tenant, body: { action: 'delete', request } },
      (meta) => this.#planDelete(request, meta),
    );
    return { revision };
  }

  async #change(
    caller: Caller,
    { request, action }: { readonly request: ApplicationRequest; readonly action: 'create' | 'update' },
  ): Promise<ApplicationAnswer> {
    await this.#mayWrite(caller, request);
    checkText('description', request.description ?? '');
    checkDefaults(request.defaults ?? {});
    const { tenant, name } = request;
    const committed = await this.#context.committer.commit(
      caller,
      { ...options(request), operation: 'application', tenant, body: { action, request } },
      (meta) => this.#planPut({ request, action, meta }),
    );
    const { revision } = committed;
    switch (committed.type) {
      case 'done':
        return {
          revision,
          isRepeated: false,
          application: viewOf({ ...committed.result, modRevision: revision }),
        };
      case 'unchanged':
        return { revision, isRepeated: false, application: viewOf(committed.result) };
      case 'repeated': {
        await this.#context.projection.catchUp(caller.signal);
        const stored = this.#state.application(tenant, name);
        if (stored === undefined) throw notFound(name);
        return { revision, isRepeated: true, application: viewOf(stored) };
      }
    }
  }

  /** An application is in all environments: its keys are all keys of the tenant that have its name in third place. */
  async #mayWrite(caller: Caller, { tenant, name }: ApplicationRef): Promise<void> {
    checkRef({ tenant, name });
    await this.#context.access.check(caller, 'write', { tenant });
  }

  get #state(): ProjectionState {
    return this.#context.projection.state;
  }

  #planPut({
    request,
    action,
    meta,
  }: {
    readonly request: ApplicationRequest;
    readonly action: 'create' | 'update';
    readonly meta: ChangeMeta;
  }): Plan<Stored<Application>> {
    const { tenant, name } = request;
    const stored = this.#state.application(tenant, name);
    if (action === 'create' && stored !== undefined) throw exists(name);
    if (action === 'update' && stored === undefined) throw notFound(name);
    if (action === 'create' && this.#state.applications(tenant).length >= APPLICATIONS_MAX) {
      throw new ServiceError('too-large', `a tenant has ${APPLICATIONS_MAX} applications at most`);
    }
    checkMatch(request.ifMatch, stored);
    const before = stored?.row ?? null;
    const after = changed(before, request, meta);
    const fields = differences(before, after);
    if (fields.length === 0 && stored !== undefined)
      return { guards: [], ops: [], items: [], result: stored };
    checkRules(this.#context, { before, after, nowMs: meta.atMs });
    const key = applicationKey(tenant, name);
    const order = applicationOrderKey(tenant, name);
    const type = before === null ? 'created' : 'updated';
    const item: ChangeItem = {
      kind: 'application',
      type,
      tenant,
      name,
      before: before?.version ?? 0,
      after: after.version,
      fields,
    };
    return {
      guards: [
        { key, modRevision: stored?.modRevision ?? 0 },
        { key: order, modRevision: this.#state.orderRevision(tenant, name) },
        ...this.#valueGuards(before, after),
      ],
      ops: [
        { type: 'put', key, value: encodeApplication(after) },
        { type: 'put', key: order, value: Buffer.from(meta.id) },
      ],
      items: [item],
      result: { row: after, modRevision: 0 },
    };
  }

  /**
   * While an application has no rules, its changes are in no order with one that brings the first: then nothing at all
   * may have changed.
   */
  #valueGuards(before: Application | null, after: Application): readonly Guard[] {
    if (after.rules.length === 0 || (before !== null && before.rules.length > 0)) return [];
    return [{ key: HEAD_KEY, modRevision: this.#state.headRevision }];
  }

  #planDelete(
    { tenant, name, ifMatch }: ApplicationRef & { readonly ifMatch?: readonly string[] | undefined },
    { atMs }: ChangeMeta,
  ): Plan<null> {
    const stored = this.#state.application(tenant, name);
    if (stored === undefined) throw notFound(name);
    checkMatch(ifMatch, stored);
    for (const entry of this.#state.configurations.matching({ tenant, application: name })) {
      if (entry.isLive(atMs)) throw new ServiceError('conflict', `${name} has configurations`);
    }
    if (this.#state.features.has({ tenant, application: name })) {
      throw new ServiceError('conflict', `${name} has flags or segments`);
    }
    const key = applicationKey(tenant, name);
    const before = stored.row.version;
    // What was: the history of its default values can be told from it.
    const fields = differences(stored.row, { ...stored.row, description: '', defaults: {}, rules: [] });
    return {
      // Nothing at all may have changed: a configuration that was just put does not touch the application's row.
      guards: [
        { key, modRevision: stored.modRevision },
        { key: HEAD_KEY, modRevision: this.#state.headRevision },
      ],
      ops: [
        { type: 'delete', key },
        { type: 'delete', key: applicationOrderKey(tenant, name) },
      ],
      items: [{ kind: 'application', type: 'deleted', tenant, name, before, after: 0, fields }],
      result: null,
    };
  }
}

function options({ reason, changeSet, idempotencyKey }: ChangeOptions): ChangeOptions {
  return { reason, changeSet, idempotencyKey };
}

function checkRef({ tenant, name }: ApplicationRef): void {
  checkTenant(tenant);
  checkApplicationName(name);
}

function viewOf({ row, modRevision }: Stored<Application>): ApplicationView {
  const { format: _, ...rest } = row;
  return { ...rest, etag: String(modRevision) };
}

function changed(
  before: Application | null,
  { tenant, name, description, defaults, rules }: ApplicationRef & ApplicationInput,
  meta: ChangeMeta,
): Application {
  const by = meta.caller.actor.name;
  return {
    format: 1,
    tenant,
    name,
    description: description ?? before?.description ?? '',
    defaults: defaults ?? before?.defaults ?? {},
    rules: rules ?? before?.rules ?? [],
    createdBy: before?.createdBy ?? by,
    createdAt: before?.createdAt ?? meta.at,
    updatedBy: by,
    updatedAt: meta.at,
    version: (before?.version ?? 0) + 1,
  };
}

function differences(
  before: Application | null,
  after: Application,
): readonly { readonly name: string; readonly before: Json; readonly after: Json }[] {
  const of = ({ description, defaults, rules }: Application): Readonly<Record<string, Json>> => ({
    description,
    defaults,
    rules: rules.map((rule) => ({ ...rule })),
  });
  const old = before === null ? {} : of(before);
  return Object.entries(of(after))
    .filter(([name, value]) => !sameJson(old[name], value))
    .map(([name, value]) => ({ name, before: old[name] ?? null, after: value }));
}

function checkMatch(ifMatch: readonly string[] | undefined, stored: Stored<Application> | undefined): void {
  if (ifMatch === undefined) return;
  if (ifMatch.some((tag) => (tag === '*' && stored !== undefined) || tag === String(stored?.modRevision)))
    return;
  throw new ServiceError('precondition-failed', 'If-Match names another revision than the present one');
}

function notFound(name: string): ServiceError {
  const message = `there is no application ${name}`;
  return new ServiceError('not-found', message, { problems: [{ field: 'application', message }] });
}

function exists(name: string): ServiceError {
  const message = `there is an application ${name} already`;
  return new ServiceError('exists', message, { problems: [{ field: 'application', message }] });
}
