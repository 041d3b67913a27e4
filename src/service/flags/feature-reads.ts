import type { Caller } from '../caller.ts';
import { type Answer, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, type ReadOptions } from '../configurations/reads.ts';
import { checkKnownScope } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import { idOf } from '../keyspace.ts';
import type { FeatureKind, FeatureName, Scope } from '../model.ts';
import { checkEnvironmentName, checkTenant } from '../names.ts';
import { invalid } from '../service-error.ts';
import { effectiveFeatures } from './effective-features.ts';
import { checkScopeAccess, plainNameOf } from './feature-access.ts';
import { type FeatureView, featureViewOf } from './feature-apply.ts';
import { featureNotFound } from './feature-edits.ts';
import type { StoredFeature } from './feature-index.ts';
import { type FeatureRef, featureNameOf } from './feature-refs.ts';

/** Which flags or segments a list shows: all conditions hold. */
export interface FeatureListRequest extends ReadOptions {
  readonly kind: FeatureKind;
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  readonly key?: string | undefined;
  /** Keys that begin so. */
  readonly keyPrefix?: string | undefined;
  readonly tag?: string | undefined;
  /** Of flags. */
  readonly enabled?: boolean | undefined;
  /** Words, each of which stands in the key, the application, a tag or the description. */
  readonly search?: string | undefined;
  /** From 0. */
  readonly page?: number | undefined;
  /** From 1 to 1,000; default 20. */
  readonly size?: number | undefined;
}

/** A page, in the order of application, environment and key. */
export interface FeaturePage {
  readonly etag: string;
  readonly items: readonly FeatureView[];
  readonly page: number;
  readonly size: number;
  readonly total: number;
}

/** Everything of a kind that holds for an application in an environment, in the order of the keys. */
export interface EffectiveFeatureList {
  readonly etag: string;
  readonly items: readonly EffectiveFeature[];
}
export type EffectiveFeature = FeatureView & {
  /** Whether the environment has it itself, or inherits it from the one that the view names. */
  readonly source: 'own' | 'inherited';
};

const SEARCH_LENGTH_MAX = 200;

/** The use cases that read flags and segments as they stand. */
export class FeatureReads {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** One feature itself, not an inherited one. @throws ServiceError `not-found` */
  async get(
    caller: Caller,
    { ref, consistency }: ReadOptions & { readonly ref: FeatureRef },
  ): Promise<Answer<FeatureView>> {
    await this.#freshen(caller, consistency);
    const name = await featureNameOf(this.#context, caller, { ref, mode: 'read' });
    const found = this.#state.features.find(name);
    if (found === undefined) throw featureNotFound(name);
    return this.#answer(featureViewOf(found.row, found.modRevision));
  }

  /** What holds for an application in an environment, inherited ones included. @throws ServiceError `not-found` */
  async effective(
    caller: Caller,
    { kind, scope, consistency }: ReadOptions & { readonly kind: FeatureKind; readonly scope: Scope },
  ): Promise<Answer<EffectiveFeatureList>> {
    await this.#freshen(caller, consistency);
    checkKnownScope(this.#context, scope);
    await checkScopeAccess(this.#context.access, caller, { scope, kind, mode: 'read' });
    const { flags, segments } = effectiveFeatures(this.#state, scope);
    const found: readonly StoredFeature[] = [...(kind === 'flag' ? flags : segments).values()];
    const items = found.map(
      ({ row, modRevision }): EffectiveFeature => ({
        ...featureViewOf(row, modRevision),
        source: row.environment === scope.environment ? 'own' : 'inherited',
      }),
    );
    return this.#answer({ etag: etagOf('effective', items), items });
  }

  /** A page of flags or segments, as far as the caller may read them. @throws ServiceError `invalid` */
  async list(caller: Caller, request: FeatureListRequest): Promise<Answer<FeaturePage>> {
    const { page, size } = checkList(request);
    await this.#freshen(caller, request.consistency);
    const filter = this.#context.access.filter(caller, 'read');
    const permitted: StoredFeature[] = [];
    const found = this.#matching(request);
    const { revision } = this.#context.projection;
    for (const each of found) if (await filter(plainNameOf(each.row))) permitted.push(each);
    if (permitted.length === 0 && found.length > 0) {
      const { tenant, environment, application } = request;
      await this.#context.access.check(caller, 'read', { tenant, environment, application });
    }
    const items = permitted
      .slice(page * size, (page + 1) * size)
      .map(({ row, modRevision }) => featureViewOf(row, modRevision));
    const total = permitted.length;
    return { revision, result: { etag: etagOf(String(total), items), items, page, size, total } };
  }

  get #state() {
    return this.#context.projection.state;
  }

  async #freshen(caller: Caller, consistency: ReadOptions['consistency']): Promise<void> {
    await this.#context.projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
  }

  #answer<T>(result: T): Answer<T> {
    return { revision: this.#context.projection.revision, result };
  }

  #matching(request: FeatureListRequest): readonly StoredFeature[] {
    const { kind, tenant, environment, application, key, keyPrefix, tag, enabled } = request;
    const words = (request.search ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    const isMeant = ({ row }: StoredFeature): boolean =>
      (environment === undefined || row.environment === environment) &&
      (application === undefined || row.application === application) &&
      (key === undefined || row.key === key) &&
      (keyPrefix === undefined || row.key.startsWith(keyPrefix)) &&
      (tag === undefined || row.tags.includes(tag)) &&
      (enabled === undefined || (row.kind === 'flag' && row.definition.enabled === enabled)) &&
      (words.length === 0 || contains(row, words));
    const features: Iterable<StoredFeature> =
      environment !== undefined && application !== undefined
        ? this.#state.features.scope(kind, { tenant, environment, application })
        : this.#state.features.all(kind, tenant);
    return [...features].filter(isMeant).sort((left, right) => byName(left.row, right.row));
  }
}

function contains(row: StoredFeature['row'], words: readonly string[]): boolean {
  const text = [row.key, row.application, row.description, ...row.tags].join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}

function byName(left: FeatureName, right: FeatureName): number {
  return (
    compare(left.application, right.application) ||
    compare(left.environment, right.environment) ||
    compare(left.key, right.key)
  );
}

function compare(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function etagOf(word: string, items: readonly FeatureView[]): string {
  return idOf(['features', word, ...items.flatMap(({ id, etag }) => [id, etag])]);
}

function checkList({ tenant, environment, page = 0, size = PAGE_SIZE_DEFAULT, search }: FeatureListRequest): {
  readonly page: number;
  readonly size: number;
} {
  checkTenant(tenant);
  if (environment !== undefined) checkEnvironmentName(environment);
  if (!Number.isInteger(page) || page < 0 || page > Number.MAX_SAFE_INTEGER / PAGE_SIZE_MAX) {
    throw invalid({ field: 'page', message: 'must be a whole number from 0' });
  }
  if (!Number.isInteger(size) || size < 1 || size > PAGE_SIZE_MAX) {
    throw invalid({ field: 'size', message: `must be from 1 to ${PAGE_SIZE_MAX}` });
  }
  if ((search ?? '').length > SEARCH_LENGTH_MAX) {
    throw invalid({ field: 'search', message: `is longer than ${SEARCH_LENGTH_MAX} characters` });
  }
  return { page, size };
}
