import type { Feature, FeatureKind, FeatureName, Scope } from '../model.ts';

/** A feature's row with the revision that its guard must name. */
export interface StoredFeature<Row extends Feature = Feature> {
  readonly row: Row;
  readonly modRevision: number;
}
export type FeatureOf<Kind extends FeatureKind> = Extract<Feature, { readonly kind: Kind }>;

/** What a row takes in memory beside its fields, as a multiple of its bytes and in bytes, about. */
const BYTES_FACTOR = 2;
const ROW_BYTES = 500;

/** Every flag and segment, by id and by name. Rows are kept parsed: those that are evaluate need all of them. */
export class FeatureIndex {
  readonly #byId = new Map<string, { readonly stored: StoredFeature; readonly bytes: number }>();
  /** By kind and scope, then by key; deleted ones left out. */
  readonly #scopes = new Map<string, Map<string, StoredFeature>>();
  #bytes = 0;

  /** Deleted ones included. */
  get size(): number {
    return this.#byId.size;
  }

  /** In memory, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Deleted ones included: their versions go on. */
  byId(id: string): StoredFeature | undefined {
    return this.#byId.get(id)?.stored;
  }

  /** Deleted ones left out. */
  find<Kind extends FeatureKind>(
    name: FeatureName & { readonly kind: Kind },
  ): StoredFeature<FeatureOf<Kind>> | undefined {
    return this.#scopes.get(scopeKey(name.kind, name))?.get(name.key) as
      | StoredFeature<FeatureOf<Kind>>
      | undefined;
  }

  /** Of one scope, in no order; deleted ones left out. */
  scope<Kind extends FeatureKind>(kind: Kind, scope: Scope): Iterable<StoredFeature<FeatureOf<Kind>>> {
    return (this.#scopes.get(scopeKey(kind, scope))?.values() ?? []) as Iterable<
      StoredFeature<FeatureOf<Kind>>
    >;
  }

  /** Of a tenant, in no order; deleted ones left out. */
  *all<Kind extends FeatureKind>(kind: Kind, tenant: string): Generator<StoredFeature<FeatureOf<Kind>>> {
    const prefix = `${kind}/${tenant}/`;
    for (const [key, features] of this.#scopes) {
      if (key.startsWith(prefix)) yield* features.values() as Iterable<StoredFeature<FeatureOf<Kind>>>;
    }
  }

  /** Whether there is any that is not deleted; what is left out does not matter. */
  has({
    tenant,
    environment,
    application,
  }: {
    readonly tenant: string;
    readonly environment?: string | undefined;
    readonly application?: string | undefined;
  }): boolean {
    for (const kind of ['flag', 'segment'] as const) {
      for (const { row } of this.all(kind, tenant)) {
        const isInside =
          (environment ?? row.environment) === row.environment &&
          (application ?? row.application) === row.application;
        if (isInside) return true;
      }
    }
    return false;
  }

  /** Takes the place of the one with the same id. */
  set(row: Feature, at: { readonly modRevision: number; readonly bytes: number }): void {
    const stored = { row, modRevision: at.modRevision } as StoredFeature;
    const bytes = ROW_BYTES + at.bytes * BYTES_FACTOR;
    this.#bytes += bytes - (this.#byId.get(row.id)?.bytes ?? 0);
    this.#byId.set(row.id, { stored, bytes });
    const key = scopeKey(row.kind, row);
    const scope = this.#scopes.get(key) ?? new Map<string, StoredFeature>();
    if (row.isDeleted) scope.delete(row.key);
    else scope.set(row.key, stored);
    if (scope.size === 0) this.#scopes.delete(key);
    else this.#scopes.set(key, scope);
  }
}

/** Names have no slash, so that a slash tells them apart. */
function scopeKey(kind: FeatureKind, { tenant, environment, application }: Scope): string {
  return `${kind}/${tenant}/${environment}/${application}`;
}
