import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import type { ConfigurationEntry } from '../configuration-index.ts';
import type { ServiceContext } from '../context.ts';
import { configurationId } from '../keyspace.ts';
import type { ConfigurationName, Scope } from '../model.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { type VersionView, versionViewOf } from '../views.ts';
import { applyEdits, type WriteAnswer } from './apply.ts';
import { type Content, contentOf, type Edit } from './content.ts';
import { isLive, notFound, storedOf } from './edits.ts';
import { type PointInTime, versionAt, versionsAt } from './points-in-time.ts';
import { type Answer, MANY_MAX, type ReadOptions } from './reads.ts';
import { type ConfigurationRef, checkKnownScope, fieldOf, nameOf } from './refs.ts';
import { type Conditions, checkConditions } from './requests.ts';
import { rangeVersions, readVersion, type StoredVersion } from './versions.ts';

/** Versions of one page. */
export const VERSIONS_PAGE_MAX = 1_000;
const VERSIONS_PAGE_DEFAULT = 100;
/** What one page may take, about, going by the size of the present version. */
const PAGE_BYTES = 8 * 1024 * 1024;

/** A page of versions, newest first. */
export interface VersionPage {
  readonly id: string;
  readonly items: readonly VersionView[];
  /** The `before` of the next page; null = these are the oldest that are kept. */
  readonly next: number | null;
}

export interface VersionsRequest extends ReadOptions {
  readonly ref: ConfigurationRef;
  /** Only versions below this one. */
  readonly before?: number | undefined;
  /** From 1 to 1,000; of large values fewer come. */
  readonly size?: number | undefined;
}

/** One version of a configuration. */
export interface VersionRequest extends ReadOptions {
  readonly ref: ConfigurationRef;
  readonly version: number;
}

export interface RollbackRequest extends Conditions, ChangeOptions {
  readonly ref: ConfigurationRef;
  readonly version: number;
}

/** The use cases about what was: versions, and the way back to them. Deleted configurations have them, too. */
export class History {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Newest first. @throws ServiceError `not-found`, `invalid` */
  async versions(caller: Caller, request: VersionsRequest): Promise<Answer<VersionPage>> {
    const { size = VERSIONS_PAGE_DEFAULT } = request;
    if (!Number.isInteger(size) || size < 1 || size > VERSIONS_PAGE_MAX) {
      throw invalid({ field: 'size', message: `must be from 1 to ${VERSIONS_PAGE_MAX}` });
    }
    const { id, version: newest, bytes } = await this.#entryOf(caller, request);
    const { revision } = this.#context.projection;
    const last = Math.min(newest, (request.before ?? newest + 1) - 1);
    const count = Math.max(1, Math.min(size, Math.floor(PAGE_BYTES / bytes)));
    const first = Math.max(1, last - count + 1);
    const found = last < 1 ? [] : await rangeVersions(this.#context.kv, { id, first, last }, caller.signal);
    const items = found.toReversed().map(({ version, revision: at }) => versionViewOf(version, at));
    // Retention takes the oldest: where a page begins later than it could, there is nothing before.
    const isWhole = items.length === last - first + 1;
    return { revision, result: { id, items, next: isWhole && first > 1 ? first : null } };
  }

  /** @throws ServiceError `not-found` for a configuration or version that is not there */
  async version(caller: Caller, request: VersionRequest): Promise<Answer<VersionView>> {
    const { id } = await this.#entryOf(caller, request);
    const { revision } = this.#context.projection;
    const found = await readVersion(this.#context.kv, { id, version: request.version }, caller.signal);
    return { revision, result: versionViewOf(found.version, found.revision) };
  }

  /**
   * What a configuration was at a time or revision.
   *
   * @throws ServiceError `not-found` when there was none then, `gone` when that version was not kept
   */
  async asOf(
    caller: Caller,
    request: ReadOptions & { readonly ref: ConfigurationRef; readonly at: PointInTime },
  ): Promise<Answer<VersionView>> {
    const entry = await this.#entryOf(caller, request);
    const { revision } = this.#context.projection;
    const found = await versionAt(this.#context.kv, { entry, at: request.at }, caller.signal);
    if (found === null || found.version.isDeleted) {
      const message = `there was no configuration ${entry.key} then`;
      throw new ServiceError('not-found', message, { problems: [{ field: fieldOf(request.ref), message }] });
    }
    return { revision, result: versionViewOf(found.version, found.revision) };
  }

  /**
   * What an environment itself had of an application at a time or revision, in the order of the keys.
   *
   * @throws ServiceError `too-large` for more than 1,000 configurations, `gone` when one of the versions was not kept
   */
  async allAsOf(
    caller: Caller,
    request: ReadOptions & {
      readonly scope: Scope;
      readonly keyPrefix?: string | undefined;
      readonly at: PointInTime;
    },
  ): Promise<Answer<readonly (VersionView & { readonly key: string })[]>> {
    const { scope, keyPrefix = '', at, consistency } = request;
    const { projection, access, kv } = this.#context;
    await projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    checkKnownScope(this.#context, scope);
    await access.check(caller, 'read', scope);
    const { revision, state } = projection;
    const entries: ConfigurationEntry[] = [];
    // By what they are found by, only those are known that were not deleted since.
    for (const entry of state.configurations.all()) {
      if (isOf(scope, entry) && entry.key.startsWith(keyPrefix)) entries.push(entry);
    }
    entries.sort((left, right) => (left.key < right.key ? -1 : 1));
    if (entries.length > MANY_MAX) {
      throw new ServiceError('too-large', `one answer shows ${MANY_MAX} configurations: ask by keyPrefix`);
    }
    const versions = await versionsAt(kv, { entries, at }, caller.signal);
    const result = versions.flatMap((stored, index) => {
      if (stored === null || stored.version.isDeleted) return [];
      return [{ ...versionViewOf(stored.version, stored.revision), key: entries[index]!.key }];
    });
    return { revision, result };
  }

  /**
   * Makes a new version that is what an old one was.
   *
   * @throws ServiceError `not-found`, `invalid` for the version of a deletion, `precondition-failed`, `conflict`
   */
  async rollback(caller: Caller, request: RollbackRequest): Promise<WriteAnswer> {
    const name = await nameOf(this.#context, caller, request.ref);
    await this.#context.access.check(caller, 'write', name);
    return applyEdits(
      this.#context,
      caller,
      { operation: 'rollback', tenant: name.tenant, options: request, body: request },
      async (meta) => [await this.#rolledBack(name, { request, meta })],
    );
  }

  async #rolledBack(
    name: ConfigurationName,
    { request, meta }: { readonly request: RollbackRequest; readonly meta: ChangeMeta },
  ): Promise<Edit> {
    const before = storedOf(this.#context.projection.state, name);
    if (before === null || !isLive(before, meta.atMs)) throw notFound(name, fieldOf(request.ref));
    checkConditions(this.#context, before, request);
    const wanted = { id: before.row.id, version: request.version };
    const found = await readVersion(this.#context.kv, wanted, meta.caller.signal);
    return { name, field: '', before, content: restored(this.#context, found, meta) };
  }

  /** Of a configuration that the caller may read, deleted or not. */
  async #entryOf(
    caller: Caller,
    { ref, consistency }: ReadOptions & { readonly ref: ConfigurationRef },
  ): Promise<ConfigurationEntry> {
    await this.#context.projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    const name = await nameOf(this.#context, caller, ref);
    await this.#context.access.check(caller, 'read', name);
    const entry = this.#context.projection.state.configurations.byId(configurationId(name));
    if (entry === undefined) throw notFound(name, fieldOf(ref));
    return entry;
  }
}

function isOf({ tenant, environment, application }: Scope, entry: ConfigurationEntry): boolean {
  return entry.application === application && entry.environment === environment && entry.tenant === tenant;
}

/** What a version held, to be held again. @throws ServiceError `invalid` for the version of a deletion */
export function restored(
  context: ServiceContext,
  { version }: StoredVersion,
  { atMs }: Pick<ChangeMeta, 'atMs'>,
): Content {
  if (version.isDeleted) {
    throw invalid({ field: 'version', message: `version ${version.version} is that of a deletion` });
  }
  const content = contentOf(context, version, version.configurationId);
  // Its time is over: it comes back to stay.
  const isOver = content.expiresAt !== null && Date.parse(content.expiresAt) <= atMs;
  return isOver ? { ...content, expiresAt: null } : content;
}
