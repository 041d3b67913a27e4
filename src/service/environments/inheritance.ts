import { chainFrom, STANDARD_ENVIRONMENTS } from '../../config-format/environments.ts';
import type { ConfigurationEntry } from '../configuration-index.ts';
import type { ConfigurationName, Json, Scope } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import { isStandard } from './spelling.ts';

export { CHAIN_MAX } from '../../config-format/environments.ts';

/** Where a value comes from: the environment itself, one that it inherits from, or the application's defaults. */
export type Effective =
  | { readonly source: 'own' | 'inherited'; readonly entry: ConfigurationEntry }
  | { readonly source: 'default'; readonly json: Json };

/** Whether the tenant has the environment. */
export function hasEnvironment(state: ProjectionState, tenant: string, id: string): boolean {
  return isStandard(id) || state.environment(tenant, id) !== undefined;
}

/** Every environment of the tenant: the standard ones in their order, then its own by name. */
export function environmentsOf(state: ProjectionState, tenant: string): readonly string[] {
  const custom = state
    .environments(tenant)
    .map(({ row }) => row.id)
    .filter((id) => !isStandard(id))
    .sort();
  return [...STANDARD_ENVIRONMENTS, ...custom];
}

/** The environment and those that it inherits from, nearest first. */
export function chainOf(state: ProjectionState, tenant: string, id: string): readonly string[] {
  return chainFrom(id, (child) => state.environment(tenant, child)?.row.parent ?? null);
}

/** The environments that inherit from this one, near or far. */
export function heirsOf(state: ProjectionState, tenant: string, id: string): readonly string[] {
  return environmentsOf(state, tenant).filter(
    (other) => other !== id && chainOf(state, tenant, other).includes(id),
  );
}

/** What holds for a key in an environment, or null: its own, else the nearest inherited one, else the default. */
export function effectiveOf(
  state: ProjectionState,
  name: ConfigurationName,
  nowMs: number,
): Effective | null {
  for (const environment of chainOf(state, name.tenant, name.environment)) {
    const entry = state.configurations.find({ ...name, environment });
    if (entry?.isLive(nowMs) === true) {
      return { source: environment === name.environment ? 'own' : 'inherited', entry };
    }
  }
  const defaults = state.application(name.tenant, name.application)?.row.defaults ?? {};
  return Object.hasOwn(defaults, name.key) ? { source: 'default', json: defaults[name.key]! } : null;
}

/** Everything that holds for an application in an environment, by key, in the order of the keys. */
export function allEffectiveOf(
  state: ProjectionState,
  scope: Scope,
  nowMs: number,
): ReadonlyMap<string, Effective> {
  const found = new Map<string, Effective>();
  const defaults = state.application(scope.tenant, scope.application)?.row.defaults ?? {};
  for (const [key, json] of Object.entries(defaults)) found.set(key, { source: 'default', json });
  // The farthest first, so that nearer ones take their place.
  for (const environment of chainOf(state, scope.tenant, scope.environment).toReversed()) {
    const source = environment === scope.environment ? 'own' : 'inherited';
    for (const entry of state.configurations.scope({ ...scope, environment })) {
      if (entry.isLive(nowMs)) found.set(entry.key, { source, entry });
    }
  }
  return new Map([...found].sort(([left], [right]) => (left < right ? -1 : 1)));
}
