import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import type { Configuration, ConfigurationName, Json } from '../model.ts';
import type { Stored } from '../projection-state.ts';
import { type FieldProblem, ServiceError } from '../service-error.ts';
import { sameJson } from '../values/json-limits.ts';
import { type Content, type ContentInput, contentFrom, contentOf, type Edit } from './content.ts';
import { isLive, notFound, storedOf } from './edits.ts';
import { type ConfigurationRef, fieldOf } from './refs.ts';

/** A new configuration: `value` is required. */
export interface CreateRequest extends ContentInput, ChangeOptions {
  readonly name: ConfigurationName;
}

/** What a change takes for granted of what it changes. */
export interface Conditions {
  /** Entity tags of which one must be that of what is there; `*` is that of anything. */
  readonly ifMatch?: readonly string[] | undefined;
  /** Compare-and-set: what the value must be; null also where there is none. */
  readonly oldValue?: Json | undefined;
}

export interface UpdateRequest extends ContentInput, Conditions, ChangeOptions {
  readonly ref: ConfigurationRef;
}

/** Creates the configuration if there is none, and updates it if there is. */
export interface PutRequest extends ContentInput, Conditions, ChangeOptions {
  readonly name: ConfigurationName;
}

export interface DeleteRequest extends Conditions, ChangeOptions {
  readonly ref: ConfigurationRef;
}

/** What one item of many asks for. */
export type ItemAction = 'create' | 'update' | 'put' | 'delete';

/** Where the item stands in its request, before the names of its fields: empty, or like `items/3/`. */
interface ItemPlace {
  readonly field: string;
}

/**
 * The edit that an item asks for, from what is there now.
 *
 * @throws ServiceError `exists`, `not-found`, `precondition-failed`, `conflict`, `invalid` with the item's fields named
 */
export function editOf(
  context: ServiceContext,
  { atMs }: ChangeMeta,
  item: {
    readonly action: ItemAction;
    readonly name: ConfigurationName;
    readonly ref?: ConfigurationRef;
  } & ContentInput &
    Conditions &
    ItemPlace,
): Edit {
  const { action, name, ref, field } = item;
  const before = storedOf(context.projection.state, name);
  const live = isLive(before, atMs) ? before : null;
  return within(field, () => {
    if (action === 'create' && live !== null) throw exists(name);
    if ((action === 'update' || action === 'delete') && live === null)
      throw notFound(name, ref === undefined ? 'key' : fieldOf(ref));
    checkConditions(context, live, item);
    if (action === 'delete') return { name, field, before, content: null };
    const content = live === null ? null : contentOf(context, live.row, live.row.id);
    return { name, field, before, content: contentFrom(context, item, { before: content, nowMs: atMs }) };
  });
}

/** Runs something about one item: the fields in its failure get the item's place. */
export function within<T>(field: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof ServiceError) || field === '') throw error;
    const place: FieldProblem = { field: field.replace(/\/$/, ''), message: error.message };
    const problems = error.problems.map((problem) => ({ ...problem, field: `${field}${problem.field}` }));
    throw new ServiceError(error.code, `${place.field}: ${error.message}`, {
      cause: error,
      problems: problems.length === 0 ? [place] : problems,
    });
  }
}

/** @throws ServiceError `precondition-failed`, `conflict` */
export function checkConditions(
  context: ServiceContext,
  live: Stored<Configuration> | null,
  { ifMatch, oldValue }: Conditions,
): void {
  if (ifMatch !== undefined && !matches(ifMatch, live)) {
    throw new ServiceError('precondition-failed', 'If-Match names another revision than the present one');
  }
  if (oldValue === undefined) return;
  const content: Content | null = live === null ? null : contentOf(context, live.row, live.row.id);
  const isSame = content === null ? oldValue === null : sameJson(content.plain, oldValue);
  if (!isSame) {
    const message = 'is not the present value';
    throw new ServiceError('conflict', `oldValue: ${message}`, {
      problems: [{ field: 'oldValue', message }],
    });
  }
}

function matches(tags: readonly string[], live: Stored<Configuration> | null): boolean {
  return live !== null && tags.some((tag) => tag === '*' || tag === String(live.modRevision));
}

function exists({ environment, application, key }: ConfigurationName): ServiceError {
  const message = `${application} has a configuration ${key} in ${environment} already`;
  return new ServiceError('exists', message, { problems: [{ field: 'key', message }] });
}
