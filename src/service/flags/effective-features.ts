import type { FlagDefinition, Segment } from '../../evaluation/model.ts';
import { chainOf } from '../environments/inheritance.ts';
import type { FeatureKind, Scope } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import type { FeatureOf, StoredFeature } from './feature-index.ts';

/** What is evaluated for an application in an environment, by key: of each feature the nearest, own or inherited. */
export interface EffectiveFeatures {
  readonly flags: ReadonlyMap<string, StoredFeature<FeatureOf<'flag'>>>;
  readonly segments: ReadonlyMap<string, StoredFeature<FeatureOf<'segment'>>>;
}

/** In the order of their keys. */
export function effectiveFeatures(state: ProjectionState, scope: Scope): EffectiveFeatures {
  const chain = chainOf(state, scope.tenant, scope.environment).toReversed();
  const nearest = <Kind extends FeatureKind>(
    kind: Kind,
  ): ReadonlyMap<string, StoredFeature<FeatureOf<Kind>>> => {
    const found = new Map<string, StoredFeature<FeatureOf<Kind>>>();
    for (const environment of chain) {
      for (const feature of state.features.scope(kind, { ...scope, environment })) {
        found.set(feature.row.key, feature);
      }
    }
    return new Map([...found].sort(([left], [right]) => (left < right ? -1 : 1)));
  };
  return { flags: nearest('flag'), segments: nearest('segment') };
}

/** Definitions alone, by key. */
export interface Definitions {
  readonly flags: ReadonlyMap<string, FlagDefinition>;
  readonly segments: ReadonlyMap<string, Segment>;
}

export function definitionsIn({ flags, segments }: EffectiveFeatures): Definitions {
  return {
    flags: new Map([...flags].map(([key, { row }]) => [key, row.definition])),
    segments: new Map([...segments].map(([key, { row }]) => [key, row.definition])),
  };
}
