import { compileFlags, type FlagSet } from '../../evaluation/flag-set.ts';
import { idOf } from '../keyspace.ts';
import type { ChangeItem, Scope } from '../model.ts';
import type { Projection } from '../projection.ts';
import type { Change } from '../recent-changes.ts';
import { type Definitions, definitionsIn, effectiveFeatures } from './effective-features.ts';
import { isFeatureItem } from './feature-access.ts';

/** Applications in environments whose flags are kept compiled; the one that was asked for longest ago goes first. */
export const COMPILED_SCOPES_MAX = 1_000;

/** All flags of an application in an environment, inherited ones included, ready to be evaluated. */
export interface CompiledFlags {
  readonly set: FlagSet;
  /** The revision that they reflect: everything acknowledged up to it is in. */
  readonly revision: number;
  /** The same as long as no flag or segment of them is another; what it is made of is nobody's business. */
  readonly digest: string;
}

/** Flags as they are kept: compiled, and what they were compiled from. */
export interface KnownFlags extends Definitions {
  readonly set: FlagSet;
  readonly digest: string;
}

/** Compiles flags once for all who evaluate them, and again only when one of them changes. */
export class FlagSets {
  readonly #projection: Projection;
  /** The one that was asked for longest ago comes first. */
  readonly #known = new Map<string, { readonly scope: Scope; readonly flags: KnownFlags }>();
  readonly #unsubscribe: () => void;

  constructor(projection: Projection) {
    this.#projection = projection;
    this.#unsubscribe = projection.subscribe({
      changed: (change) => this.#forgetChanged(change),
      jumped: () => this.#known.clear(),
    });
  }

  /** As the projection has them now. */
  of(scope: Scope): KnownFlags {
    const id = `${scope.tenant}/${scope.environment}/${scope.application}`;
    const known = this.#known.get(id);
    const flags = known?.flags ?? this.#compiled(scope);
    this.#known.delete(id);
    this.#known.set(id, { scope, flags });
    if (this.#known.size > COMPILED_SCOPES_MAX) this.#known.delete(this.#known.keys().next().value!);
    return flags;
  }

  close(): void {
    this.#unsubscribe();
  }

  #compiled(scope: Scope): KnownFlags {
    const effective = effectiveFeatures(this.#projection.state, scope);
    const { flags, segments } = definitionsIn(effective);
    const parts = [...effective.flags.values(), ...effective.segments.values()];
    const digest = idOf(parts.flatMap(({ row, modRevision }) => [row.id, String(modRevision)]));
    return { flags, segments, digest, set: compileFlags(flags.values(), segments.values()) };
  }

  #forgetChanged({ record }: Change): void {
    for (const item of record.items) {
      if (item.kind !== 'environment' && !isFeatureItem(item)) continue;
      for (const [id, { scope }] of this.#known) if (mayReach(item, scope)) this.#known.delete(id);
    }
  }
}

/** Which environments inherit from which is not asked: compiling once too often does no harm. */
function mayReach(item: ChangeItem, { tenant, application }: Scope): boolean {
  if (item.tenant !== tenant) return false;
  return !isFeatureItem(item) || item.application === application;
}
