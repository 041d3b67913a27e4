import type { Scope } from '../model.ts';
import { type Instance, type InstanceRef, instanceKey, scopeOf } from './instance.ts';

/** The instances of all servers: each id once in its scope, whichever server it was seen by last. */
export class InstanceTable {
  /** By scope, then by id, then by the source that knows of it. */
  readonly #scopes = new Map<string, Map<string, Map<string, Instance>>>();
  /** By scope: their ids in order, once somebody has asked. */
  readonly #sorted = new Map<string, readonly string[]>();
  /** By source: what it knows. */
  readonly #sources = new Map<string, Map<string, Instance>>();

  /** Takes the place of all that the source said before. */
  replace(source: string, instances: readonly Instance[]): void {
    const before = this.#sources.get(source) ?? new Map<string, Instance>();
    const after = new Map(instances.map((instance) => [instanceKey(instance), instance] as const));
    for (const [key, instance] of before) if (!after.has(key)) this.#remove(source, instance);
    for (const instance of after.values()) this.#set(source, instance);
    if (after.size === 0) this.#sources.delete(source);
    else this.#sources.set(source, after);
  }

  /** One of a source, as it is now. */
  put(source: string, instance: Instance): void {
    const known = this.#sources.get(source) ?? new Map<string, Instance>();
    known.set(instanceKey(instance), instance);
    this.#sources.set(source, known);
    this.#set(source, instance);
  }

  remove(source: string, instance: Instance): void {
    this.#sources.get(source)?.delete(instanceKey(instance));
    this.#remove(source, instance);
  }

  sources(): readonly string[] {
    return [...this.#sources.keys()];
  }

  /** By id, in order. */
  of(scope: Scope): readonly Instance[] {
    const ids = this.#scopes.get(scopeOf(scope)) ?? new Map<string, Map<string, Instance>>();
    return [...ids.values()].map(newest).sort((left, right) => (left.id < right.id ? -1 : 1));
  }

  /** Null = nobody knows it. */
  get(info: InstanceRef): Instance | null {
    const sources = this.#scopes.get(scopeOf(info))?.get(info.id);
    return sources === undefined ? null : newest(sources);
  }

  /** In order. */
  ids(scope: Scope): readonly string[] {
    const key = scopeOf(scope);
    const ids = this.#sorted.get(key) ?? [...(this.#scopes.get(key)?.keys() ?? [])].sort();
    if (ids.length > 0) this.#sorted.set(key, ids);
    return ids;
  }

  /** The scopes that have instances. */
  scopes(): readonly Scope[] {
    return [...this.#scopes.values()].map((ids) => {
      const [first] = [...ids.values()].map(newest);
      return first!;
    });
  }

  #set(source: string, instance: Instance): void {
    const scope = scopeOf(instance);
    const ids = this.#scopes.get(scope) ?? new Map<string, Map<string, Instance>>();
    if (!ids.has(instance.id)) this.#sorted.delete(scope);
    const sources = ids.get(instance.id) ?? new Map<string, Instance>();
    sources.set(source, instance);
    ids.set(instance.id, sources);
    this.#scopes.set(scope, ids);
  }

  #remove(source: string, instance: Instance): void {
    const scope = scopeOf(instance);
    const ids = this.#scopes.get(scope);
    const sources = ids?.get(instance.id);
    sources?.delete(source);
    if (sources?.size === 0) {
      ids?.delete(instance.id);
      this.#sorted.delete(scope);
    }
    if (ids?.size === 0) this.#scopes.delete(scope);
  }
}

function newest(sources: ReadonlyMap<string, Instance>): Instance {
  return [...sources.values()].reduce((left, right) => (right.sinceMs >= left.sinceMs ? right : left));
}
