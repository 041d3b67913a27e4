import type { ChangeItem, ChangeRecord, ConfigurationName } from '../model.ts';
import { sameJson } from '../values/json-limits.ts';
import { chainIn, changesVersion, type Held, heldIn, type View } from './view.ts';

/** That something else holds for a key in an environment than before; null = nothing. */
export interface Effect {
  readonly name: ConfigurationName;
  readonly before: Held | null;
  readonly after: Held | null;
}

/** What one change did to what holds, in every environment that it reached: own, inherited and default values, in order. */
export function effectsOf(record: ChangeRecord, before: View, after: View): readonly Effect[] {
  const chainsBefore = new Chains(before);
  const chainsAfter = new Chains(after);
  const effects: Effect[] = [];
  const seen = new Set<string>();
  for (const item of record.items) {
    for (const name of namesReached(item, [chainsBefore, chainsAfter])) {
      const id = [name.tenant, name.environment, name.application, name.key].join('/');
      if (seen.has(id)) continue;
      seen.add(id);
      const was = heldIn(before, name, chainsBefore.of(name.tenant, name.environment));
      const is = heldIn(after, name, chainsAfter.of(name.tenant, name.environment));
      if (!sameHeld(was, is)) effects.push({ name, before: was, after: is });
    }
  }
  return effects.sort(byName);
}

/** The same order, whoever finds them and whenever: a cursor may stand between two of them. */
function byName({ name: left }: Effect, { name: right }: Effect): number {
  return (
    order(left.tenant, right.tenant) ||
    order(left.environment, right.environment) ||
    order(left.application, right.application) ||
    order(left.key, right.key)
  );
}

function order(left: string, right: string): number {
  return left === right ? 0 : left < right ? -1 : 1;
}

/** The chains of inheritance of a view, each made once. */
class Chains {
  readonly view: View;
  readonly #tenants = new Map<string, Map<string, readonly string[]>>();

  constructor(view: View) {
    this.view = view;
  }

  of(tenant: string, environment: string): readonly string[] {
    return this.#of(tenant).get(environment) ?? [];
  }

  /** The environment, and all that inherit from it. */
  reachedFrom(tenant: string, environment: string): readonly string[] {
    return [...this.#of(tenant)].filter(([, chain]) => chain.includes(environment)).map(([id]) => id);
  }

  environments(tenant: string): Iterable<string> {
    return this.#of(tenant).keys();
  }

  #of(tenant: string): Map<string, readonly string[]> {
    const known = this.#tenants.get(tenant);
    if (known !== undefined) return known;
    const chains = new Map(
      this.view.environments(tenant).map((id) => [id, chainIn(this.view, tenant, id)] as const),
    );
    this.#tenants.set(tenant, chains);
    return chains;
  }
}

/** Everything that may hold otherwise afterwards. */
function* namesReached(item: ChangeItem, sides: readonly [Chains, Chains]): Generator<ConfigurationName> {
  const { tenant } = item;
  switch (item.kind) {
    case 'configuration': {
      if (!changesVersion(item)) return;
      const { application, key } = item;
      for (const environment of reached(sides, tenant, item.environment)) {
        yield { tenant, environment, application, key };
      }
      return;
    }
    // Nothing else holds for any key: who evaluates flags hears of them elsewhere.
    case 'flag':
    case 'segment':
      return;
    case 'application': {
      const keys = new Set(sides.flatMap(({ view }) => Object.keys(view.defaultsOf(tenant, item.name))));
      const environments = new Set(sides.flatMap((side) => [...side.environments(tenant)]));
      for (const key of keys) {
        for (const environment of environments) yield { tenant, environment, application: item.name, key };
      }
      return;
    }
    case 'environment': {
      if (item.type === 'updated' && !item.fields.some(({ name }) => name === 'parent')) return;
      for (const environment of reached(sides, tenant, item.name)) {
        for (const { application, key } of allKeys(sides, tenant)) {
          yield { tenant, environment, application, key };
        }
      }
    }
  }
}

function reached(sides: readonly [Chains, Chains], tenant: string, environment: string): ReadonlySet<string> {
  return new Set(sides.flatMap((side) => side.reachedFrom(tenant, environment)));
}

function* allKeys(
  sides: readonly [Chains, Chains],
  tenant: string,
): Generator<{ readonly application: string; readonly key: string }> {
  yield* sides[1].view.keys(tenant);
  for (const { view } of sides) {
    for (const application of view.applications(tenant)) {
      for (const key of Object.keys(view.defaultsOf(tenant, application))) yield { application, key };
    }
  }
}

function sameHeld(left: Held | null, right: Held | null): boolean {
  if (left === null || right === null) return left === right;
  if (left.type === 'default') return right.type === 'default' && sameJson(left.json, right.json);
  return (
    right.type === 'configuration' &&
    left.version === right.version &&
    left.name.environment === right.name.environment
  );
}
