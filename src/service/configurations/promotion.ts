import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { hasEnvironment } from '../environments/inheritance.ts';
import { checkScope } from '../names.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { applyEdits, type WriteAnswer } from './apply.ts';
import { type Content, contentOf, type Edit } from './content.ts';
import { isLive, storedOf } from './edits.ts';

/** Takes the configurations of an application from one environment to another. */
export interface PromoteRequest extends ChangeOptions {
  readonly tenant: string;
  readonly application: string;
  /** Canonical ids. */
  readonly from: string;
  readonly to: string;
  /** Which keys; default: all that `from` has itself. */
  readonly keys?: readonly string[] | undefined;
  /** Also delete what `from` does not have: all, or those of `keys`. */
  readonly deleteMissing?: boolean | undefined;
  /** Show what would be different, but change nothing. */
  readonly dryRun?: boolean | undefined;
}

/** The use case that takes configurations from one environment to another. */
export class Promotion {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /**
   * All in one transaction; what is the same already is left as it is. Secrets are sealed anew for where they go.
   *
   * @throws ServiceError `invalid`, `not-found` for a key that `from` does not have, `too-large` for more than 40 that
   *   differ, `conflict` by deployment rules
   */
  async promote(caller: Caller, request: PromoteRequest): Promise<WriteAnswer> {
    const { tenant, application, from, to } = request;
    checkScope({ tenant, environment: from, application });
    checkScope({ tenant, environment: to, application });
    if (from === to) throw invalid({ field: 'to', message: 'is where they come from' });
    // What is promoted is not guarded: it must be no older than the request.
    await this.#context.projection.catchUp(caller.signal);
    await this.#context.access.check(caller, 'read', { tenant, environment: from, application });
    await this.#context.access.check(caller, 'write', { tenant, environment: to, application });
    return applyEdits(
      this.#context,
      caller,
      {
        operation: 'promote',
        tenant,
        options: request,
        body: request,
        promotedFrom: from,
        dryRun: request.dryRun,
      },
      (meta) => this.#edits(request, meta),
    );
  }

  #edits(request: PromoteRequest, meta: ChangeMeta): readonly Edit[] {
    const { state } = this.#context.projection;
    const { tenant, from, to } = request;
    for (const [field, id] of [
      ['from', from],
      ['to', to],
    ] as const) {
      if (!hasEnvironment(state, tenant, id))
        throw invalid({ field, message: `there is no environment ${id}` });
    }
    const edits = this.#keys(request, meta).map((key, at) => this.#edit({ request, key, at, meta }));
    return edits.filter((edit): edit is Edit => edit !== null);
  }

  #keys(
    { tenant, application, from, to, keys, deleteMissing }: PromoteRequest,
    { atMs }: ChangeMeta,
  ): readonly string[] {
    if (keys !== undefined) return keys;
    const { configurations } = this.#context.projection.state;
    const found = new Set<string>();
    for (const environment of deleteMissing === true ? [from, to] : [from]) {
      for (const entry of configurations.scope({ tenant, environment, application })) {
        if (entry.isLive(atMs)) found.add(entry.key);
      }
    }
    return [...found].sort();
  }

  #edit({
    request,
    key,
    at,
    meta,
  }: {
    readonly request: PromoteRequest;
    readonly key: string;
    readonly at: number;
    readonly meta: ChangeMeta;
  }): Edit | null {
    const { tenant, application, from, to } = request;
    const { state } = this.#context.projection;
    const source = storedOf(state, { tenant, environment: from, application, key });
    const name = { tenant, environment: to, application, key };
    const before = storedOf(state, name);
    const field = request.keys === undefined ? '' : `keys/${at}/`;
    if (source !== null && isLive(source, meta.atMs)) {
      const content = contentOf(this.#context, source.row, source.row.id);
      return { name, field, before, content: moved(content, { key, field }) };
    }
    if (request.deleteMissing !== true) {
      const message = `${application} has no configuration ${key} in ${from}`;
      throw new ServiceError('not-found', message, { problems: [{ field: `keys/${at}`, message }] });
    }
    return isLive(before, meta.atMs) ? { name, field, before, content: null } : null;
  }
}

/** The content as the other configuration takes it: a secret is sealed anew. */
function moved(content: Content, { key, field }: { readonly key: string; readonly field: string }): Content {
  if (content.type !== 'secret') return content;
  if (content.plain === undefined) {
    throw invalid({
      field: `${field}key`,
      message: `the secret ${key} cannot be opened here to be sealed anew`,
    });
  }
  return { ...content, sealed: null };
}
