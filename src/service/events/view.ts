import { CHAIN_MAX, environmentsOf } from '../environments/inheritance.ts';
import { isFeatureItem } from '../flags/feature-access.ts';
import { configurationId } from '../keyspace.ts';
import type { ChangeItem, ConfigurationName, Json } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import type { Change } from '../recent-changes.ts';

/**
 * What holds where at one revision, as far as versions: as the service has it now, or as it was some changes ago. Here
 * a configuration that has expired stands until it is swept, since only that is a change.
 */
export interface View {
  environments(tenant: string): readonly string[];
  /** Null = it inherits from none. */
  parentOf(tenant: string, environment: string): string | null;
  /** The version of a configuration that stands; null = there is none. */
  versionOf(name: ConfigurationName): number | null;
  /** Of an application, by key. */
  defaultsOf(tenant: string, application: string): Defaults;
  applications(tenant: string): readonly string[];
  /** Keys of the tenant's applications that any environment has, or had. */
  keys(tenant: string): Iterable<{ readonly application: string; readonly key: string }>;
}

export type Defaults = { readonly [key: string]: Json };

/** What holds for a key in an environment. */
export type Held =
  | { readonly type: 'configuration'; readonly name: ConfigurationName; readonly version: number }
  | { readonly type: 'default'; readonly json: Json };

/** An environment that is there, and those that it inherits from, nearest first. */
export function chainIn(view: View, tenant: string, environment: string): readonly string[] {
  const chain = [environment];
  for (;;) {
    const parent = view.parentOf(tenant, chain.at(-1)!);
    if (parent === null || chain.includes(parent) || chain.length === CHAIN_MAX) return chain;
    chain.push(parent);
  }
}

/** @param chain of the name's environment; empty when it is not there. @returns null when nothing holds */
export function heldIn(view: View, name: ConfigurationName, chain: readonly string[]): Held | null {
  if (chain.length === 0) return null;
  for (const environment of chain) {
    const source = { ...name, environment };
    const version = view.versionOf(source);
    if (version !== null) return { type: 'configuration', name: source, version };
  }
  const defaults = view.defaultsOf(name.tenant, name.application);
  return Object.hasOwn(defaults, name.key) ? { type: 'default', json: defaults[name.key]! } : null;
}

/** As the service has it now: not to be kept across an await. */
export class PresentView implements View {
  readonly #state: () => ProjectionState;

  constructor(state: () => ProjectionState) {
    this.#state = state;
  }

  environments(tenant: string): readonly string[] {
    return environmentsOf(this.#state(), tenant);
  }

  parentOf(tenant: string, environment: string): string | null {
    return this.#state().environment(tenant, environment)?.row.parent ?? null;
  }

  versionOf(name: ConfigurationName): number | null {
    return this.#state().configurations.find(name)?.version ?? null;
  }

  defaultsOf(tenant: string, application: string): Defaults {
    return this.#state().application(tenant, application)?.row.defaults ?? {};
  }

  applications(tenant: string): readonly string[] {
    return this.#state()
      .applications(tenant)
      .map(({ row }) => row.name);
  }

  *keys(tenant: string): Generator<{ readonly application: string; readonly key: string }> {
    for (const entry of this.#state().configurations.all()) if (entry.tenant === tenant) yield entry;
  }
}

interface EnvironmentState {
  readonly tenant: string;
  readonly id: string;
  readonly exists: boolean;
  /** Undefined = as it is below. */
  readonly parent: string | null | undefined;
}

interface ApplicationState {
  readonly tenant: string;
  readonly name: string;
  readonly defaults: Defaults;
}

/** Another view with some things as they were before, or after, certain changes. */
export class OverlaidView implements View {
  readonly #below: View;
  readonly #versions = new Map<string, number | null>();
  readonly #environments = new Map<string, EnvironmentState>();
  readonly #applications = new Map<string, ApplicationState>();

  constructor(below: View) {
    this.#below = below;
  }

  environments(tenant: string): readonly string[] {
    const found = new Set(this.#below.environments(tenant));
    for (const { tenant: own, id, exists } of this.#environments.values()) {
      if (own !== tenant) continue;
      if (exists) found.add(id);
      else found.delete(id);
    }
    return [...found];
  }

  parentOf(tenant: string, environment: string): string | null {
    const parent = this.#environments.get(`${tenant}/${environment}`)?.parent;
    return parent === undefined ? this.#below.parentOf(tenant, environment) : parent;
  }

  versionOf(name: ConfigurationName): number | null {
    if (this.#versions.size === 0) return this.#below.versionOf(name);
    const version = this.#versions.get(configurationId(name));
    return version === undefined ? this.#below.versionOf(name) : version;
  }

  defaultsOf(tenant: string, application: string): Defaults {
    return (
      this.#applications.get(`${tenant}/${application}`)?.defaults ??
      this.#below.defaultsOf(tenant, application)
    );
  }

  applications(tenant: string): readonly string[] {
    const own = [...this.#applications.values()].filter((each) => each.tenant === tenant);
    return [...new Set([...this.#below.applications(tenant), ...own.map(({ name }) => name)])];
  }

  keys(tenant: string): ReturnType<View['keys']> {
    return this.#below.keys(tenant);
  }

  /**
   * Takes what was before a change, of what is not known from an earlier one.
   *
   * @param versionBefore of a configuration: null = there was none that stood; undefined = the item tells
   */
  undo(item: ChangeItem, versionBefore?: number | null): void {
    if (isFeatureItem(item)) return;
    if (item.kind === 'configuration') {
      if (!changesVersion(item) || this.#versions.has(item.id)) return;
      const version = item.before === 0 ? null : item.before;
      this.#versions.set(item.id, versionBefore === undefined ? version : versionBefore);
      return;
    }
    const { tenant, name } = item;
    const key = `${tenant}/${name}`;
    if (item.kind === 'application') {
      const defaults = defaultsOf(item, 'before');
      if (defaults !== undefined && !this.#applications.has(key))
        this.#applications.set(key, { tenant, name, defaults });
      return;
    }
    const known = this.#environments.get(key);
    const exists = known?.exists ?? item.type !== 'created';
    const parent = known?.parent === undefined ? parentOf(item, 'before') : known.parent;
    this.#environments.set(key, { tenant, id: name, exists, parent });
  }

  /** Takes what is after a change. */
  apply(item: ChangeItem): void {
    if (isFeatureItem(item)) return;
    if (item.kind === 'configuration') {
      if (changesVersion(item)) this.#versions.set(item.id, item.type === 'deleted' ? null : item.after);
      return;
    }
    const { tenant, name } = item;
    const key = `${tenant}/${name}`;
    if (item.kind === 'application') {
      const defaults = defaultsOf(item, 'after');
      if (defaults !== undefined) this.#applications.set(key, { tenant, name, defaults });
      return;
    }
    const parent = parentOf(item, 'after');
    this.#environments.set(key, {
      tenant,
      id: name,
      exists: item.type !== 'deleted',
      parent: parent === undefined ? this.#environments.get(key)?.parent : parent,
    });
  }
}

/** What was before a change that has just become known. */
export function viewBefore(present: View, { record, configurations }: Change): OverlaidView {
  const view = new OverlaidView(present);
  undoChange(view, { record, configurations });
  return view;
}

/** As `undo` for everything that a change did, whose configurations are in memory. */
export function undoChange(
  view: OverlaidView,
  { record, configurations }: Pick<Change, 'record' | 'configurations'>,
): void {
  const before = new Map(configurations.map((each) => [each.after.id, each.before] as const));
  for (const item of record.items) {
    const entry = item.kind === 'configuration' ? before.get(item.id) : undefined;
    if (entry === undefined) view.undo(item);
    else view.undo(item, entry === null || entry.isDeleted ? null : entry.version);
  }
}

/** Whether something else stands afterwards; a plain value that was put back changes nothing here. */
export function changesVersion(item: ChangeItem): boolean {
  return item.kind === 'configuration' && item.type !== 'revealed' && item.before !== item.after;
}

type OtherItem = Extract<ChangeItem, { kind: 'environment' | 'application' }>;

/** Undefined = the change did not touch it. */
function parentOf(item: OtherItem, side: 'before' | 'after'): string | null | undefined {
  const field = item.fields.find(({ name }) => name === 'parent');
  if (field !== undefined) return field[side] as string | null;
  return item.type === 'updated' ? undefined : null;
}

/** Undefined = the change did not touch them. */
function defaultsOf(item: OtherItem, side: 'before' | 'after'): Defaults | undefined {
  const field = item.fields.find(({ name }) => name === 'defaults');
  if (field !== undefined) return (field[side] ?? {}) as Defaults;
  return item.type === 'updated' ? undefined : {};
}
