import { ownCopy } from '../lib/own-copy.ts';
import type { Configuration, ConfigurationName, Scope, ValueType } from './model.ts';
import { decodeWhole } from './rows.ts';

/** As JSON has it, too. */
const REFERENCE_START = Buffer.from('${');

/** What an entry takes in memory besides its bytes, about. */
const ENTRY_BYTES = 400;

/**
 * A configuration in memory: what it is found by, and the rest as bytes, which are parsed when somebody reads it. Never
 * changed: another version is another entry.
 */
export class ConfigurationEntry implements ConfigurationName {
  readonly id: string;
  readonly #scope: Scope;
  readonly key: string;
  readonly type: ValueType;
  readonly tags: readonly string[];
  readonly version: number;
  readonly isDeleted: boolean;
  /** Infinity = never. */
  readonly expiresAtMs: number;
  readonly hasSchema: boolean;
  /** False = nothing in it refers to another key. */
  readonly mayRefer: boolean;
  /** Of a secret the key that sealed it, else null. */
  readonly sealedBy: string | null;
  readonly modRevision: number;
  /** Key, application, description and tags in lower case, a line each, to search in. */
  readonly #searchText: string;
  readonly #bytes: Buffer;

  /** @param scope the one that all entries of it share */
  constructor(
    configuration: Configuration,
    at: { readonly scope: Scope; readonly bytes: Buffer; readonly modRevision: number },
  ) {
    this.id = configuration.id;
    this.#scope = at.scope;
    this.key = configuration.key;
    this.type = configuration.value.type;
    this.tags = configuration.tags;
    this.version = configuration.version;
    this.isDeleted = configuration.isDeleted;
    this.expiresAtMs = configuration.expiresAt === null ? Infinity : Date.parse(configuration.expiresAt);
    this.hasSchema = configuration.schema !== null;
    this.mayRefer = at.bytes.includes(REFERENCE_START);
    const { value } = configuration;
    this.sealedBy = value.type === 'secret' ? value.sealed.keyId : null;
    this.modRevision = at.modRevision;
    const { key, application, description, tags } = configuration;
    this.#searchText = [key, application, description, ...tags].join('\n').toLowerCase();
    this.#bytes = ownCopy(at.bytes);
  }

  get tenant(): string {
    return this.#scope.tenant;
  }

  get environment(): string {
    return this.#scope.environment;
  }

  get application(): string {
    return this.#scope.application;
  }

  /** What it takes in memory, about. */
  get bytes(): number {
    return ENTRY_BYTES + this.key.length + this.#searchText.length + this.#bytes.length;
  }

  /** Whether the API has it: neither deleted nor expired. */
  isLive(nowMs: number): boolean {
    return !this.isDeleted && nowMs < this.expiresAtMs;
  }

  /** Whether all of the words, which are in lower case, stand somewhere in its key, application, tags or description. */
  contains(words: readonly string[]): boolean {
    return words.every((word) => this.#searchText.includes(word));
  }

  read(): Configuration {
    return decodeWhole(this.#bytes);
  }
}

/** The configurations of one application in one environment, deleted ones left out, in the order of their keys. */
class ScopeEntries implements Scope {
  readonly tenant: string;
  readonly environment: string;
  readonly application: string;
  readonly #byKey = new Map<string, ConfigurationEntry>();
  /** Made when it is asked for, then kept up. */
  #sorted: ConfigurationEntry[] | null = null;

  constructor({ tenant, environment, application }: Scope) {
    this.tenant = tenant;
    this.environment = environment;
    this.application = application;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): ConfigurationEntry | undefined {
    return this.#byKey.get(key);
  }

  set(entry: ConfigurationEntry): void {
    const isKnown = this.#byKey.has(entry.key);
    this.#byKey.set(entry.key, entry);
    if (this.#sorted === null) return;
    this.#sorted.splice(lowerBound(this.#sorted, entry.key), isKnown ? 1 : 0, entry);
  }

  delete(key: string): void {
    if (!this.#byKey.delete(key) || this.#sorted === null) return;
    this.#sorted.splice(lowerBound(this.#sorted, key), 1);
  }

  /** Those whose keys begin so, in order. */
  from(keyPrefix: string): readonly ConfigurationEntry[] {
    const entries = this.inOrder();
    // No key has a character behind this one.
    return entries.slice(lowerBound(entries, keyPrefix), lowerBound(entries, `${keyPrefix}\uffff`));
  }

  inOrder(): readonly ConfigurationEntry[] {
    this.#sorted ??= [...this.#byKey.values()].sort((left, right) => compare(left.key, right.key));
    return this.#sorted;
  }
}

/** Which configurations are meant: what is left out does not matter. */
export interface EntryFilter {
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  /** Keys that begin so. */
  readonly keyPrefix?: string | undefined;
  readonly tag?: string | undefined;
}

/** So many with a tag are put in order; of more it is quicker to look through all, who are in order already. */
const TAGGED_SORTED_MAX = 1_000;

/** Every configuration by id, by name and by tag, and in the order of application, environment and key. */
export class ConfigurationIndex {
  readonly #byId = new Map<string, ConfigurationEntry>();
  readonly #scopes = new Map<string, ScopeEntries>();
  readonly #byTag = new Map<string, Set<ConfigurationEntry>>();
  /** Those that expire one day. */
  readonly #mortal = new Set<ConfigurationEntry>();
  /** Secrets by the key that sealed them, deleted ones included. */
  readonly #secrets = new Map<string, Set<ConfigurationEntry>>();
  /** By tenant; made when it is asked for. */
  readonly #scopesInOrder = new Map<string, readonly ScopeEntries[]>();
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
  byId(id: string): ConfigurationEntry | undefined {
    return this.#byId.get(id);
  }

  /** Deleted ones left out. */
  find(name: ConfigurationName): ConfigurationEntry | undefined {
    return this.#scopes.get(scopeKey(name))?.get(name.key);
  }

  /** Of one scope, in the order of their keys; deleted ones left out. */
  scope(scope: Scope): readonly ConfigurationEntry[] {
    return this.#scopes.get(scopeKey(scope))?.inOrder() ?? [];
  }

  /** Deleted ones included, in no order. */
  all(): IterableIterator<ConfigurationEntry> {
    return this.#byId.values();
  }

  /** Secrets that another key sealed than this one, deleted ones included. */
  sealedByOthers(keyId: string): readonly ConfigurationEntry[] {
    return [...this.#secrets].flatMap(([sealer, entries]) => (sealer === keyId ? [] : [...entries]));
  }

  /** Those whose time is over. */
  expired(nowMs: number): readonly ConfigurationEntry[] {
    return [...this.#mortal].filter((entry) => entry.expiresAtMs <= nowMs);
  }

  /**
   * Those of the filter, deleted ones left out, in the order of application, environment and key: in runs, so that whole
   * ones can be passed over.
   */
  runs(filter: EntryFilter): readonly (readonly ConfigurationEntry[])[] {
    const { tenant, tag, keyPrefix } = filter;
    const tagged = tag === undefined ? undefined : (this.#byTag.get(tagKey(tenant, tag)) ?? NONE);
    if (tagged !== undefined && tagged.size <= TAGGED_SORTED_MAX) return [inOrder(tagged, filter)];
    const runs = this.#scopesOf(filter).map((scope) =>
      keyPrefix === undefined ? scope.inOrder() : scope.from(keyPrefix),
    );
    return tagged === undefined ? runs : runs.map((run) => run.filter((entry) => tagged.has(entry)));
  }

  /** As `runs`, one after another. */
  *matching(filter: EntryFilter): Generator<ConfigurationEntry> {
    for (const run of this.runs(filter)) yield* run;
  }

  /** Whether any of them expires one day. */
  get hasMortals(): boolean {
    return this.#mortal.size > 0;
  }

  /** Takes the place of the one with the same id. @returns the new entry */
  set(
    configuration: Configuration,
    at: { readonly bytes: Buffer; readonly modRevision: number },
  ): ConfigurationEntry {
    const scope = this.#scopeFor(configuration);
    const entry = new ConfigurationEntry(configuration, { ...at, scope });
    const before = this.#byId.get(entry.id);
    if (before !== undefined) this.#forget(before);
    this.#byId.set(entry.id, entry);
    this.#bytes += entry.bytes;
    if (entry.sealedBy !== null) this.#sealedBy(entry.sealedBy).add(entry);
    if (entry.isDeleted) scope.delete(entry.key);
    else {
      scope.set(entry);
      for (const tag of entry.tags) this.#tagSet(entry.tenant, tag).add(entry);
      if (entry.expiresAtMs !== Infinity) this.#mortal.add(entry);
    }
    if (scope.size === 0) this.#dropScope(scope);
    return entry;
  }

  #forget(entry: ConfigurationEntry): void {
    this.#bytes -= entry.bytes;
    this.#mortal.delete(entry);
    if (entry.sealedBy !== null) this.#sealedBy(entry.sealedBy).delete(entry);
    for (const tag of entry.tags) {
      const tagged = this.#byTag.get(tagKey(entry.tenant, tag));
      tagged?.delete(entry);
      if (tagged?.size === 0) this.#byTag.delete(tagKey(entry.tenant, tag));
    }
  }

  #sealedBy(keyId: string): Set<ConfigurationEntry> {
    const known = this.#secrets.get(keyId) ?? new Set();
    this.#secrets.set(keyId, known);
    return known;
  }

  #scopeFor(scope: Scope): ScopeEntries {
    const key = scopeKey(scope);
    const known = this.#scopes.get(key);
    if (known !== undefined) return known;
    const made = new ScopeEntries(scope);
    this.#scopes.set(key, made);
    this.#scopesInOrder.delete(scope.tenant);
    return made;
  }

  #dropScope(scope: ScopeEntries): void {
    this.#scopes.delete(scopeKey(scope));
    this.#scopesInOrder.delete(scope.tenant);
  }

  #tagSet(tenant: string, tag: string): Set<ConfigurationEntry> {
    const key = tagKey(tenant, tag);
    const known = this.#byTag.get(key) ?? new Set();
    this.#byTag.set(key, known);
    return known;
  }

  #scopesOf({ tenant, environment, application }: EntryFilter): readonly ScopeEntries[] {
    if (environment !== undefined && application !== undefined) {
      const scope = this.#scopes.get(scopeKey({ tenant, environment, application }));
      return scope === undefined ? [] : [scope];
    }
    return this.#tenantScopes(tenant).filter(
      (scope) =>
        (environment === undefined || scope.environment === environment) &&
        (application === undefined || scope.application === application),
    );
  }

  #tenantScopes(tenant: string): readonly ScopeEntries[] {
    const known = this.#scopesInOrder.get(tenant);
    if (known !== undefined) return known;
    const scopes = [...this.#scopes.values()]
      .filter((scope) => scope.tenant === tenant)
      .sort(
        (left, right) =>
          compare(left.application, right.application) || compare(left.environment, right.environment),
      );
    this.#scopesInOrder.set(tenant, scopes);
    return scopes;
  }
}

const NONE: ReadonlySet<ConfigurationEntry> = new Set();

function inOrder(
  entries: ReadonlySet<ConfigurationEntry>,
  { environment, application, keyPrefix = '' }: EntryFilter,
): readonly ConfigurationEntry[] {
  return [...entries]
    .filter(
      (entry) =>
        (environment === undefined || entry.environment === environment) &&
        (application === undefined || entry.application === application) &&
        entry.key.startsWith(keyPrefix),
    )
    .sort(byName);
}

function byName(left: ConfigurationEntry, right: ConfigurationEntry): number {
  return (
    compare(left.application, right.application) ||
    compare(left.environment, right.environment) ||
    compare(left.key, right.key)
  );
}

/** Names have no slash, so that a slash tells them apart. */
function scopeKey({ tenant, environment, application }: Scope): string {
  return `${tenant}/${environment}/${application}`;
}

function tagKey(tenant: string, tag: string): string {
  return `${tenant}/${tag}`;
}

function compare(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** Where the key stands, or belongs. */
function lowerBound(entries: readonly ConfigurationEntry[], key: string): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entries[middle]!.key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
