import type { ConfigurationEntry } from '../configuration-index.ts';
import { chainOf } from '../environments/inheritance.ts';
import { isFeatureItem } from '../flags/feature-access.ts';
import type { ChangeItem, Json, Scope } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import { sameJson } from '../values/json-limits.ts';
import { subtypeOf } from '../values/value-types.ts';
import { shown } from '../views.ts';
import type { RecordedChange } from './change-feed.ts';
import type { Update } from './updates.ts';

/** What an application's values in an environment are made of besides configurations. */
interface Ground {
  readonly chain: readonly string[];
  readonly defaults: { readonly [key: string]: Json };
}

type Holding = { readonly entry: ConfigurationEntry } | { readonly json: Json };

/** Whether the change gives the scope other things to inherit, or other defaults. */
export function isShift(state: ProjectionState, item: ChangeItem, scope: Scope): boolean {
  if (item.kind === 'configuration' || isFeatureItem(item) || item.tenant !== scope.tenant) return false;
  const field = item.kind === 'environment' ? 'parent' : 'defaults';
  if (!item.fields.some(({ name }) => name === field)) return false;
  if (item.kind === 'application') return item.name === scope.application;
  return chainOf(state, scope.tenant, scope.environment).includes(item.name);
}

/** What became of the keys of the scope by such changes: those for which something else holds than before. */
export function shiftUpdates(
  state: ProjectionState,
  { revision, record }: RecordedChange,
  scope: Scope,
): readonly Update[] {
  const now: Ground = {
    chain: chainOf(state, scope.tenant, scope.environment),
    defaults: state.application(scope.tenant, scope.application)?.row.defaults ?? {},
  };
  const before = record.items
    .filter((item) => isShift(state, item, scope))
    .reduce((ground, item) => groundBefore(state, ground, item), now);
  const atMs = Date.parse(record.at);
  const [old, held] = [
    holdings(state, { scope, ground: before, atMs }),
    holdings(state, { scope, ground: now, atMs }),
  ];
  const keys = [...new Set([...old.keys(), ...held.keys()])].sort();
  return keys.flatMap((key): readonly Update[] => {
    const [was, is] = [old.get(key), held.get(key)];
    if (was !== undefined && is !== undefined && isSame(was, is)) return [];
    if (is === undefined) {
      return [{ revision, key, type: 'deleted', value: null, version: 0, updatedAt: record.at }];
    }
    return [
      { revision, key, type: was === undefined ? 'created' : 'updated', ...shownHolding(is, record.at) },
    ];
  });
}

function groundBefore(state: ProjectionState, ground: Ground, item: ChangeItem): Ground {
  if (item.kind === 'configuration' || isFeatureItem(item)) return ground;
  const [field] = item.fields.filter(({ name }) => name === 'parent' || name === 'defaults');
  if (item.kind === 'application') {
    return { ...ground, defaults: (field!.before ?? {}) as Ground['defaults'] };
  }
  const at = ground.chain.indexOf(item.name);
  const parent = field!.before;
  const rest = typeof parent === 'string' ? chainOf(state, item.tenant, parent) : [];
  return { ...ground, chain: [...ground.chain.slice(0, at + 1), ...rest] };
}

function holdings(
  state: ProjectionState,
  { scope, ground, atMs }: { readonly scope: Scope; readonly ground: Ground; readonly atMs: number },
): ReadonlyMap<string, Holding> {
  const found = new Map<string, Holding>();
  for (const [key, json] of Object.entries(ground.defaults)) found.set(key, { json });
  for (const environment of ground.chain.toReversed()) {
    for (const entry of state.configurations.scope({ ...scope, environment })) {
      if (entry.isLive(atMs)) found.set(entry.key, { entry });
    }
  }
  return found;
}

function isSame(left: Holding, right: Holding): boolean {
  if ('entry' in left) return 'entry' in right && left.entry === right.entry;
  return 'json' in right && sameJson(left.json, right.json);
}

function shownHolding(holding: Holding, at: string): Pick<Update, 'value' | 'version' | 'updatedAt'> {
  if ('json' in holding) {
    const { json } = holding;
    return { value: { type: subtypeOf(json), json, isMasked: false }, version: 0, updatedAt: at };
  }
  const { value, version, updatedAt } = holding.entry.read();
  return { value: shown(value), version, updatedAt };
}
