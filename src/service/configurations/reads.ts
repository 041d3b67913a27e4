import type { Target } from '../access.ts';
import type { Caller } from '../caller.ts';
import type { ConfigurationEntry } from '../configuration-index.ts';
import type { ServiceContext } from '../context.ts';
import { allEffectiveOf, type Effective, effectiveOf } from '../environments/inheritance.ts';
import { idOf } from '../keyspace.ts';
import type { ChangeItem, ConfigType, ConfigurationName, Json, Scope, ValueType } from '../model.ts';
import { checkEnvironmentName, checkName, checkTenant, LENGTHS } from '../names.ts';
import type { Consistency } from '../projection.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { resolve } from '../values/references.ts';
import { subtypeOf } from '../values/value-types.ts';
import { type ConfigurationView, opened, type ShownValue, shown, viewOf } from '../views.ts';
import { notFound } from './edits.ts';
import { type ConfigurationRef, checkKnownScope, fieldOf, nameOf } from './refs.ts';
import { within } from './requests.ts';

/** How a read is answered. */
export interface ReadOptions {
  /** Default: strong. */
  readonly consistency?: Consistency | undefined;
}

/** How values are shown that hold for an environment. */
export interface EffectiveOptions extends ReadOptions {
  /** Show secrets themselves, which is recorded first. */
  readonly reveal?: boolean | undefined;
  /** Fill in references to other keys; those to secrets, to unknown ones and to what the caller may not read stay. */
  readonly resolve?: boolean | undefined;
}

/** What was read, with the revision that it reflects. */
export interface Answer<T> {
  readonly revision: number;
  readonly result: T;
}

/** What holds for a key: own, inherited or by default. */
export interface EffectiveView {
  readonly key: string;
  readonly source: Effective['source'];
  /** The environment that has it; null for a default. */
  readonly environment: string | null;
  readonly value: ShownValue;
  readonly configType: ConfigType;
  readonly description: string;
  /** Null for a default, as are version and times. */
  readonly id: string | null;
  readonly version: number | null;
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly etag: string;
}

/** Everything that holds for an application in an environment. */
export interface EffectiveMap {
  readonly etag: string;
  /** In the order of their keys. */
  readonly items: readonly EffectiveView[];
}

/** Which configurations a list shows: all conditions hold. */
export interface ListRequest extends ReadOptions {
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  /** Keys that begin so. */
  readonly keyPrefix?: string | undefined;
  readonly tag?: string | undefined;
  readonly type?: ValueType | undefined;
  /** Words, each of which stands in the key, the application, a tag or the description. */
  readonly search?: string | undefined;
  /** From 0. */
  readonly page?: number | undefined;
  /** From 1 to 1,000; default 20. */
  readonly size?: number | undefined;
}

/** A page, in the order of application, environment and key. */
export interface Page {
  readonly etag: string;
  readonly items: readonly ConfigurationView[];
  readonly page: number;
  readonly size: number;
  readonly total: number;
}

export const PAGE_SIZE_DEFAULT = 20;
export const PAGE_SIZE_MAX = 1_000;
/** Configurations of one bulk read, and secrets revealed by one request. */
export const MANY_MAX = 1_000;
/** Characters of all values of one answer that have references, as JSON, with them filled in. */
export const RESOLVED_ANSWER_LENGTH_MAX: number = 32 * 1024 * 1024;
const SEARCH_LENGTH_MAX = 200;

/** The use cases that read configurations as they stand. Secrets are masked unless they are asked for. */
export class Reads {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** One configuration itself. @throws ServiceError `not-found` */
  async get(
    caller: Caller,
    { ref, consistency }: ReadOptions & { readonly ref: ConfigurationRef },
  ): Promise<Answer<ConfigurationView>> {
    await this.#freshen(caller, consistency);
    const name = await nameOf(this.#context, caller, ref);
    await this.#context.access.check(caller, 'read', name);
    const entry = this.#state.configurations.find(name);
    if (entry === undefined || !entry.isLive(this.#nowMs)) throw notFound(name, fieldOf(ref));
    return this.#answer(viewOf(entry.read(), entry.modRevision));
  }

  /**
   * What holds for a key in an environment, inherited and default values included.
   *
   * @throws ServiceError `not-found`, with the field named when there is no such environment or application
   */
  async lookup(
    caller: Caller,
    request: EffectiveOptions & { readonly name: ConfigurationName },
  ): Promise<Answer<EffectiveView>> {
    await this.#freshen(caller, request.consistency);
    const name = await nameOf(this.#context, caller, request.name);
    await this.#context.access.check(caller, 'read', name);
    checkKnownScope(this.#context, name);
    const found = effectiveOf(this.#state, name, this.#nowMs);
    if (found === null) throw notFound(name);
    const fillable = fillingFrom(await this.#fillable(caller, name, request));
    const answer = this.#answer(this.#effectiveView(name, found, fillable));
    if (request.reveal !== true) return answer;
    const [revealed] = await this.#reveal(caller, name, [answer.result]);
    return { ...answer, result: revealed! };
  }

  /** What holds for each of the keys; those for which nothing does are left out. @throws ServiceError as `lookup` */
  async getMany(
    caller: Caller,
    request: EffectiveOptions & { readonly scope: Scope; readonly keys: readonly string[] },
  ): Promise<Answer<EffectiveMap>> {
    const { scope, keys } = request;
    if (keys.length > MANY_MAX) throw invalid({ field: 'keys', message: `are more than ${MANY_MAX}` });
    await this.#freshen(caller, request.consistency);
    checkKnownScope(this.#context, scope);
    for (const [at, key] of keys.entries()) within(`keys/${at}/`, () => checkName({ ...scope, key }));
    const names = [...new Set(keys)].map((key) => ({ ...scope, key }));
    await this.#context.access.checkAll(caller, 'read', names);
    const fillable = fillingFrom(await this.#fillable(caller, scope, request));
    const items = names.flatMap((name) => {
      const found = effectiveOf(this.#state, name, this.#nowMs);
      return found === null ? [] : [this.#effectiveView(name, found, fillable)];
    });
    return this.#map(caller, { scope, items, reveal: request.reveal });
  }

  /**
   * Everything that holds for an application in an environment, as far as the caller may read it.
   *
   * @throws ServiceError `not-found` for an unknown environment or application
   */
  async effective(
    caller: Caller,
    request: EffectiveOptions & { readonly scope: Scope },
  ): Promise<Answer<EffectiveMap>> {
    const { scope } = request;
    await this.#freshen(caller, request.consistency);
    checkKnownScope(this.#context, scope);
    const mayRead = await this.#readable(caller, scope);
    if (mayRead !== 'all' && mayRead.size === 0) await this.#context.access.check(caller, 'read', scope);
    const fillable = fillingFrom(request.resolve === true ? mayRead : null);
    const items = [...allEffectiveOf(this.#state, scope, this.#nowMs)]
      .filter(([key]) => mayRead === 'all' || mayRead.has(key))
      .map(([key, found]) => this.#effectiveView({ ...scope, key }, found, fillable));
    return this.#map(caller, { scope, items, reveal: request.reveal });
  }

  /** A page of configurations, as far as the caller may read them. @throws ServiceError `invalid` */
  async list(caller: Caller, request: ListRequest): Promise<Answer<Page>> {
    const { page, size } = checkList(request);
    await this.#freshen(caller, request.consistency);
    const isWhole = await this.#context.access.permits(caller, 'read', targetOf(request));
    const { revision } = this.#context.projection;
    const { items, total } = isWhole
      ? this.#page(request, { page, size })
      : await this.#permittedPage(caller, request, { page, size });
    const etag = idOf(['list', String(total), ...items.flatMap(partsOf)]);
    const views = items.map((entry) => viewOf(entry.read(), entry.modRevision));
    return { revision, result: { etag, items: views, page, size, total } };
  }

  get #state() {
    return this.#context.projection.state;
  }

  get #nowMs(): number {
    return this.#context.clock.nowMs();
  }

  async #freshen(caller: Caller, consistency: Consistency = { type: 'strong' }): Promise<void> {
    await this.#context.projection.freshen(consistency, caller.signal);
  }

  #answer<T>(result: T): Answer<T> {
    return { revision: this.#context.projection.revision, result };
  }

  #effectiveView(name: ConfigurationName, found: Effective, fillable: Filling | null): EffectiveView {
    const view = this.#storedView(name, found);
    if (fillable === null || view.value.isMasked) return view;
    const { json } = resolve(view.value.json, (key) =>
      fillable.keys === 'all' || fillable.keys.has(key) ? this.#filling({ ...name, key }) : undefined,
    );
    if (json === view.value.json) return view;
    const text = JSON.stringify(json);
    fillable.length += text.length;
    if (fillable.length > RESOLVED_ANSWER_LENGTH_MAX) {
      throw new ServiceError(
        'too-large',
        'with their references filled in these are too many: ask for fewer keys',
      );
    }
    const etag = idOf(['resolved', view.etag, text]);
    return { ...view, value: { ...view.value, json }, etag };
  }

  /** What a reference is replaced by: never by a secret, which would show it. */
  #filling(name: ConfigurationName): Json | undefined {
    const found = effectiveOf(this.#state, name, this.#nowMs);
    if (found === null) return undefined;
    if (found.source === 'default') return found.json;
    const { value } = found.entry.read();
    return value.type === 'secret' ? undefined : value.json;
  }

  #storedView(name: ConfigurationName, found: Effective): EffectiveView {
    const { key } = name;
    if (found.source === 'default') {
      const value = { type: subtypeOf(found.json), json: found.json, isMasked: false };
      const etag = idOf(['default', key, JSON.stringify(found.json)]);
      return {
        key,
        source: 'default',
        environment: null,
        value,
        configType: 'APPLICATION_CONFIG',
        description: '',
        id: null,
        version: null,
        createdAt: null,
        updatedAt: null,
        etag,
      };
    }
    const { source, entry } = found;
    const { value, ...row } = entry.read();
    const etag = source === 'own' ? String(entry.modRevision) : idOf(['inherited', ...partsOf(entry)]);
    const { id, environment, configType, description, version, createdAt, updatedAt } = row;
    const common = { key, source, environment, configType, description };
    return { ...common, value: shown(value), id, version, createdAt, updatedAt, etag };
  }

  async #map(
    caller: Caller,
    {
      scope,
      items,
      reveal,
    }: {
      readonly scope: Scope;
      readonly items: readonly EffectiveView[];
      readonly reveal: boolean | undefined;
    },
  ): Promise<Answer<EffectiveMap>> {
    const etag = idOf(['effective', ...items.flatMap(({ key, etag: own }) => [key, own])]);
    const answer = this.#answer({ etag, items });
    if (reveal !== true) return answer;
    return { ...answer, result: { etag, items: await this.#reveal(caller, scope, items) } };
  }

  /** Records that the secrets among these are shown, then shows them. */
  async #reveal(
    caller: Caller,
    { tenant, application }: Pick<Scope, 'tenant' | 'application'>,
    views: readonly EffectiveView[],
  ): Promise<readonly EffectiveView[]> {
    const secrets = new Map<string, Json>();
    const items: (ConfigurationName & ChangeItem)[] = [];
    for (const view of views) {
      if (!view.value.isMasked || view.id === null) continue;
      const entry = this.#state.configurations.byId(view.id)!;
      const { value, environment, key, version, id } = entry.read();
      if (value.type !== 'secret') continue;
      secrets.set(id, opened(this.#context, value.sealed, id));
      const name = { tenant, environment, application, key };
      items.push({ ...name, kind: 'configuration', type: 'revealed', id, before: version, after: version });
    }
    if (items.length > MANY_MAX)
      throw new ServiceError('too-large', `one request reveals ${MANY_MAX} secrets`);
    if (items.length > 0) {
      // Whoever inherits a secret must be allowed to read it where it comes from, too.
      await this.#context.access.checkAll(caller, 'read', items);
      const request = { operation: 'reveal', tenant, body: null } as const;
      await this.#context.committer.commit(caller, request, () => ({
        guards: [],
        ops: [],
        items,
        result: null,
      }));
    }
    return views.map((view) =>
      view.id !== null && secrets.has(view.id)
        ? { ...view, value: { ...view.value, json: secrets.get(view.id)!, isMasked: false } }
        : view,
    );
  }

  /** Where every entry of the filter is shown, most are only counted. */
  #page(request: ListRequest, { page, size }: PagePlace): PageEntries {
    const { configurations } = this.#state;
    const items: ConfigurationEntry[] = [];
    let total = 0;
    if (!isPlain(request) || configurations.hasMortals) {
      for (const entry of this.#matching(request)) {
        if (total >= page * size && items.length < size) items.push(entry);
        total += 1;
      }
      return { items, total };
    }
    for (const run of configurations.runs(request)) {
      const from = page * size + items.length - total;
      if (items.length < size && from < run.length)
        items.push(...run.slice(from, from + size - items.length));
      total += run.length;
    }
    return { items, total };
  }

  *#matching(request: ListRequest): Generator<ConfigurationEntry> {
    const nowMs = this.#nowMs;
    const words = wordsOf(request);
    const { type } = request;
    for (const run of this.#state.configurations.runs(request)) {
      for (const entry of run) {
        if (!entry.isLive(nowMs) || (type !== undefined && entry.type !== type)) continue;
        if (words.length === 0 || entry.contains(words)) yield entry;
      }
    }
  }

  /** Of those that the caller may read. */
  async #permittedPage(caller: Caller, request: ListRequest, place: PagePlace): Promise<PageEntries> {
    const entries = [...this.#matching(request)];
    const filter = this.#context.access.filter(caller, 'read');
    const permitted: ConfigurationEntry[] = [];
    for (const entry of entries) if (await filter(entry)) permitted.push(entry);
    if (permitted.length === 0 && entries.length > 0) {
      await this.#context.access.check(caller, 'read', targetOf(request));
    }
    return sliced(permitted, place);
  }

  /** The keys that references may be filled in from: what the caller may not read is not shown by way of another key. */
  async #fillable(
    caller: Caller,
    scope: Scope,
    { resolve: isAsked }: EffectiveOptions,
  ): Promise<Readable | null> {
    return isAsked === true ? this.#readable(caller, scope) : null;
  }

  async #readable(caller: Caller, { tenant, environment, application }: Scope): Promise<Readable> {
    const scope = { tenant, environment, application };
    if (await this.#context.access.permits(caller, 'read', scope)) return 'all';
    const filter = this.#context.access.filter(caller, 'read');
    const keys = [...allEffectiveOf(this.#state, scope, this.#nowMs).keys()];
    const readable = new Set<string>();
    for (const key of keys) if (await filter({ ...scope, key })) readable.add(key);
    return readable;
  }
}

/** Keys of a scope. */
type Readable = 'all' | ReadonlySet<string>;

/** The filling in of references for one answer. */
interface Filling {
  readonly keys: Readable;
  /** Characters so far. */
  length: number;
}

function fillingFrom(keys: Readable | null): Filling | null {
  return keys === null ? null : { keys, length: 0 };
}

interface PagePlace {
  readonly page: number;
  readonly size: number;
}
interface PageEntries {
  readonly items: readonly ConfigurationEntry[];
  readonly total: number;
}

function sliced(entries: readonly ConfigurationEntry[], { page, size }: PagePlace): PageEntries {
  return { items: entries.slice(page * size, (page + 1) * size), total: entries.length };
}

function targetOf({ tenant, environment, application }: ListRequest): Target {
  return { tenant, environment, application };
}

/** Whether the index finds all that it asks for. */
function isPlain(request: ListRequest): boolean {
  return request.type === undefined && wordsOf(request).length === 0;
}

function wordsOf({ search }: ListRequest): readonly string[] {
  return (search ?? '')
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
}

function checkList(request: ListRequest): { readonly page: number; readonly size: number } {
  const { page = 0, size = PAGE_SIZE_DEFAULT } = request;
  checkTenant(request.tenant);
  if (request.environment !== undefined) checkEnvironmentName(request.environment);
  if (!Number.isInteger(page) || page < 0 || page > Number.MAX_SAFE_INTEGER / PAGE_SIZE_MAX) {
    throw invalid({ field: 'page', message: 'must be a whole number from 0' });
  }
  if (!Number.isInteger(size) || size < 1 || size > PAGE_SIZE_MAX) {
    throw invalid({ field: 'size', message: `must be from 1 to ${PAGE_SIZE_MAX}` });
  }
  if ((request.search ?? '').length > SEARCH_LENGTH_MAX) {
    throw invalid({ field: 'search', message: `is longer than ${SEARCH_LENGTH_MAX} characters` });
  }
  if ((request.keyPrefix ?? '').length > LENGTHS.key) {
    throw invalid({ field: 'keyPrefix', message: `is longer than ${LENGTHS.key} characters` });
  }
  return { page, size };
}

function partsOf(entry: ConfigurationEntry): readonly [string, string] {
  return [entry.id, String(entry.modRevision)];
}
