import type { Caller } from '../caller.ts';
import { versionAt } from '../configurations/points-in-time.ts';
import { checkKnownScope } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import { chainOf } from '../environments/inheritance.ts';
import { configurationId } from '../keyspace.ts';
import type { ChangeItem, ChangeRecord, ConfigurationName, Scope } from '../model.ts';
import { checkName } from '../names.ts';
import { subtypeOf } from '../values/value-types.ts';
import { type ShownValue, shown } from '../views.ts';
import { ChangeFeed, type RecordedChange } from './change-feed.ts';
import { isShift, shiftUpdates } from './shifts.ts';

/** What became of a key in an environment. */
export interface Update {
  readonly revision: number;
  readonly key: string;
  readonly type: 'created' | 'updated' | 'deleted';
  /** What holds from now on, inherited and default values included; null after a deletion. A secret is masked. */
  readonly value: ShownValue | null;
  /** Of the configuration that it comes from, 0 of a default; after a deletion of the one that was deleted. */
  readonly version: number;
  readonly updatedAt: string;
}

export interface UpdatesRequest {
  readonly scope: Scope;
  /** Empty = all. */
  readonly keys: readonly string[];
  /** What changed after this revision comes first; null = only what changes from now on. */
  readonly after: number | null;
}

/** The updates of an application in an environment, as far as the caller may read them. */
export interface OpenUpdates {
  /** Those after this revision are told. */
  readonly revision: number;
  /**
   * In order, each once; they end when the caller's signal is aborted. Where an environment has got another parent, or the
   * application other defaults, the keys for which something else holds now are told.
   */
  readonly updates: AsyncGenerator<Update, void, undefined>;
}

/** A right that was taken away goes unnoticed for so long. */
const RIGHTS_MS_MAX = 1_000;

/** The use case of those who want to hear of every change of what holds. */
export class Updates {
  readonly #context: ServiceContext;
  readonly #feed: ChangeFeed;
  /** What a change is in a scope: the same for all who watch it. */
  readonly #known = new WeakMap<ChangeRecord, Map<string, Promise<readonly Update[]>>>();

  constructor(context: ServiceContext) {
    this.#context = context;
    this.#feed = new ChangeFeed(context.kv, context.projection);
  }

  /** @throws ServiceError `invalid`; `not-found` for an unknown environment or application; `forbidden` */
  async open(caller: Caller, request: UpdatesRequest): Promise<OpenUpdates> {
    const { projection, access } = this.#context;
    await projection.catchUp(caller.signal);
    checkKnownScope(this.#context, request.scope);
    const names = request.keys.map((key) => ({ ...request.scope, key }));
    for (const name of names) checkName(name);
    if (names.length > 0) await access.checkAll(caller, 'read', names);
    else await access.check(caller, 'read', request.scope);
    const revision = request.after ?? projection.revision;
    return { revision, updates: this.#follow(caller, request, revision) };
  }

  async *#follow(
    caller: Caller,
    { scope, keys }: UpdatesRequest,
    after: number,
  ): AsyncGenerator<Update, void, undefined> {
    const wanted = new Set(keys);
    const isWanted = (key: string): boolean => wanted.size === 0 || wanted.has(key);
    const isRelevant = ({ items }: ChangeRecord): boolean =>
      items.some(
        (item) =>
          (this.#concerns(item, scope) && isWanted(item.key)) ||
          isShift(this.#context.projection.state, item, scope),
      );
    let filter = this.#context.access.filter(caller, 'read');
    let askedMs = performance.now();
    for await (const change of this.#feed.follow({ after, isRelevant, signal: caller.signal })) {
      if (performance.now() - askedMs > RIGHTS_MS_MAX) {
        filter = this.#context.access.filter(caller, 'read');
        askedMs = performance.now();
      }
      for (const update of await this.#updatesOf(change, scope)) {
        if (isWanted(update.key) && (await filter({ ...scope, key: update.key }))) yield update;
      }
    }
  }

  #concerns(item: ChangeItem, scope: Scope): item is ChangeItem & ConfigurationName {
    if (item.kind !== 'configuration' || item.type === 'revealed') return false;
    const { tenant, application, environment } = scope;
    if (item.tenant !== tenant || item.application !== application) return false;
    return chainOf(this.#context.projection.state, tenant, environment).includes(item.environment);
  }

  #updatesOf(change: RecordedChange, scope: Scope): Promise<readonly Update[]> {
    const scopes = this.#known.get(change.record) ?? new Map<string, Promise<readonly Update[]>>();
    this.#known.set(change.record, scopes);
    const id = `${scope.tenant}/${scope.environment}/${scope.application}`;
    const known = scopes.get(id);
    if (known !== undefined) return known;
    const made = this.#make(change, scope);
    scopes.set(id, made);
    // The next one tries again.
    made.catch(() => scopes.delete(id));
    return made;
  }

  async #make(change: RecordedChange, scope: Scope): Promise<readonly Update[]> {
    const { items: all } = change.record;
    const { state } = this.#context.projection;
    if (all.some((item) => isShift(state, item, scope))) return shiftUpdates(state, change, scope);
    const items = all.filter((item) => this.#concerns(item, scope));
    const updates: Update[] = [];
    for (const key of new Set(items.map((item) => item.key))) {
      const changed = items.filter((item) => item.key === key);
      const update = await this.#updateOf(change, { ...scope, key }, changed);
      if (update !== null) updates.push(update);
    }
    return updates;
  }

  /** Null when a nearer environment has the key: what holds there is the same as before. */
  async #updateOf(
    { revision, record }: RecordedChange,
    name: ConfigurationName,
    changed: readonly (ChangeItem & ConfigurationName)[],
  ): Promise<Update | null> {
    const chain = chainOf(this.#context.projection.state, name.tenant, name.environment);
    const nearest = chain.findIndex((environment) =>
      changed.some((item) => item.environment === environment),
    );
    const held = await this.#heldIn(chain, name, { revision, atMs: Date.parse(record.at) });
    const [first, second] = held;
    if (first !== undefined && first.place < nearest) return null;
    const item = changed.find(({ environment }) => environment === chain[nearest])!;
    if (first !== undefined) {
      const isNew = item.type === 'created' && first.place === nearest && second === undefined;
      const { value, version, updatedAt } = first;
      const type = isNew && this.#defaultOf(name) === null ? 'created' : 'updated';
      return { revision, key: name.key, type, value, version, updatedAt };
    }
    const value = this.#defaultOf(name);
    const { after: version } = item;
    const type = value === null ? 'deleted' : 'updated';
    return { revision, key: name.key, type, value, version, updatedAt: record.at };
  }

  /** The nearest two environments that had the key at a revision. */
  async #heldIn(
    chain: readonly string[],
    name: ConfigurationName,
    at: { readonly revision: number; readonly atMs: number },
  ): Promise<readonly Held[]> {
    const found: Held[] = [];
    for (const [place, environment] of chain.entries()) {
      const held = await this.#heldAt({ ...name, environment }, at);
      if (held !== null) found.push({ ...held, place });
      if (found.length === 2) break;
    }
    return found;
  }

  async #heldAt(
    name: ConfigurationName,
    { revision, atMs }: { readonly revision: number; readonly atMs: number },
  ): Promise<Omit<Held, 'place'> | null> {
    const entry = this.#context.projection.state.configurations.byId(configurationId(name));
    if (entry === undefined) return null;
    if (entry.modRevision <= revision) {
      if (!entry.isLive(atMs)) return null;
      const { value, version, updatedAt } = entry.read();
      return { value: shown(value), version, updatedAt };
    }
    const signal = AbortSignal.timeout(VERSION_MS_MAX);
    const stored = await versionAt(this.#context.kv, { entry, at: { revision } }, signal);
    if (stored === null || stored.version.isDeleted) return null;
    const { value, version, createdAt, expiresAt } = stored.version;
    if (expiresAt !== null && Date.parse(expiresAt) <= atMs) return null;
    return { value: shown(value), version, updatedAt: createdAt };
  }

  #defaultOf({ tenant, application, key }: ConfigurationName): ShownValue | null {
    const defaults = this.#context.projection.state.application(tenant, application)?.row.defaults ?? {};
    if (!Object.hasOwn(defaults, key)) return null;
    const json = defaults[key]!;
    return { type: subtypeOf(json), json, isMasked: false };
  }
}

/** What one environment of the chain had. */
interface Held {
  /** In the chain, from 0. */
  readonly place: number;
  readonly value: ShownValue;
  readonly version: number;
  readonly updatedAt: string;
}

/** How long the store may take for a version that is not in memory any more. */
const VERSION_MS_MAX = 10_000;
