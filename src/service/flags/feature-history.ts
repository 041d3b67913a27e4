import type { Caller } from '../caller.ts';
import type { Answer, ReadOptions } from '../configurations/reads.ts';
import { rangeVersions, readVersion, type StoredVersion } from '../configurations/versions.ts';
import type { ServiceContext } from '../context.ts';
import type { FeatureDefinition, FeatureVersion, Json } from '../model.ts';
import { invalid } from '../service-error.ts';
import { diffJson, type JsonDiff } from '../values/diff.ts';
import { definitionJson } from './definition-json.ts';
import { featureNotFound, storedFeature } from './feature-edits.ts';
import type { StoredFeature } from './feature-index.ts';
import { type FeatureRef, featureNameOf } from './feature-refs.ts';

/** Versions of one page: they may be large. */
export const FEATURE_VERSIONS_PAGE_MAX = 100;

/** A version as a caller sees it. */
export type FeatureVersionView = FeatureDefinition &
  Omit<FeatureVersion, 'format' | 'kind' | 'definition'> & {
    /** At which this version was made. */
    readonly revision: number;
  };

/** A page of versions, newest first. */
export interface FeatureVersionPage {
  readonly id: string;
  readonly items: readonly FeatureVersionView[];
  /** The `before` of the next page; null = these are the oldest that are kept. */
  readonly next: number | null;
}

/** What differs between two versions of a flag or segment. */
export interface FeatureComparison {
  readonly left: FeatureVersionView;
  readonly right: FeatureVersionView;
  readonly isEqual: boolean;
  /** Over description, tags and definition. */
  readonly diff: JsonDiff;
}

/** The use cases about what flags and segments were. Deleted ones have a history, too. */
export class FeatureHistory {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Newest first. @throws ServiceError `not-found`, `invalid` */
  async versions(
    caller: Caller,
    request: ReadOptions & {
      readonly ref: FeatureRef;
      /** Only versions below this one. */
      readonly before?: number | undefined;
      /** From 1 to 100; default 20. */
      readonly size?: number | undefined;
    },
  ): Promise<Answer<FeatureVersionPage>> {
    const { size = 20 } = request;
    if (!Number.isInteger(size) || size < 1 || size > FEATURE_VERSIONS_PAGE_MAX) {
      throw invalid({ field: 'size', message: `must be from 1 to ${FEATURE_VERSIONS_PAGE_MAX}` });
    }
    const { id, version: newest } = (await this.#stored(caller, request)).row;
    const { revision } = this.#context.projection;
    const last = Math.min(newest, (request.before ?? newest + 1) - 1);
    const first = Math.max(1, last - size + 1);
    const { kv } = this.#context;
    const found = last < 1 ? [] : await rangeVersions<FeatureVersion>(kv, { id, first, last }, caller.signal);
    const items = found.toReversed().map(viewOf);
    // Retention takes the oldest: where a page begins later than it could, there is nothing before.
    const isWhole = items.length === last - first + 1;
    return { revision, result: { id, items, next: isWhole && first > 1 ? first : null } };
  }

  /** @throws ServiceError `not-found` for a feature or version that is not there */
  async version(
    caller: Caller,
    request: ReadOptions & { readonly ref: FeatureRef; readonly version: number },
  ): Promise<Answer<FeatureVersionView>> {
    const { id } = (await this.#stored(caller, request)).row;
    const { revision } = this.#context.projection;
    return { revision, result: await this.#read(caller, id, request.version) };
  }

  /** Two versions of one feature; without the second the present one. @throws ServiceError `not-found` */
  async compare(
    caller: Caller,
    request: ReadOptions & {
      readonly ref: FeatureRef;
      readonly left: number;
      readonly right?: number | undefined;
    },
  ): Promise<Answer<FeatureComparison>> {
    const { id, version } = (await this.#stored(caller, request)).row;
    const { revision } = this.#context.projection;
    const left = await this.#read(caller, id, request.left);
    const right = await this.#read(caller, id, request.right ?? version);
    const diff = diffJson(comparable(left), comparable(right));
    const isEqual = diff.patch.length === 0 && left.isDeleted === right.isDeleted;
    return { revision, result: { left, right, isEqual, diff } };
  }

  async #read(caller: Caller, id: string, version: number): Promise<FeatureVersionView> {
    return viewOf(await readVersion<FeatureVersion>(this.#context.kv, { id, version }, caller.signal));
  }

  async #stored(
    caller: Caller,
    { ref, consistency }: ReadOptions & { readonly ref: FeatureRef },
  ): Promise<StoredFeature> {
    await this.#context.projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    const name = await featureNameOf(this.#context, caller, { ref, mode: 'read' });
    const stored = storedFeature(this.#context.projection.state, name);
    if (stored === null) throw featureNotFound(name);
    return stored;
  }
}

function viewOf({ version, revision }: StoredVersion<FeatureVersion>): FeatureVersionView {
  const { format: _, ...rest } = version;
  return { ...rest, revision };
}

function comparable({ description, tags, definition }: FeatureVersionView): Json {
  return { description, tags, definition: definitionJson(definition) };
}
