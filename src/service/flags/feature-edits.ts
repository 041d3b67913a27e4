import type { KvOp } from '../../kv/kv.ts';
import { applicationGuards, environmentGuards, newApplications, orderGuards } from '../change-ground.ts';
import type { ChangeMeta, Plan } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { checkDeployment, type Deployment } from '../environments/deployment-rules.ts';
import { hasEnvironment } from '../environments/inheritance.ts';
import { featureId, featureKey, versionKey } from '../keyspace.ts';
import type { ChangeItem, Feature, FeatureDefinition, FeatureName, FeatureVersion } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import { encodeFeature, encodeFeatureVersion } from '../rows.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { described, type FeatureContent, sameFeature } from './feature-content.ts';
import type { StoredFeature } from './feature-index.ts';
import { checkReferences } from './reference-checks.ts';

/** Features that one change may touch. */
export const FEATURE_EDITS_MAX = 40;
/** Their rows and versions, in bytes: a request to the store has 1.5 MiB at most. */
export const FEATURE_EDITS_BYTES_MAX = 1024 * 1024;
/** Flags and segments that are kept, deleted ones included, and what they take in memory. */
export const FEATURES_MAX = 100_000;
export const FEATURES_BYTES_MAX = 512 * 1024 * 1024;

/** One feature as a change would leave it. */
export interface FeatureEdit {
  readonly name: FeatureName;
  /** What names it in the request, before the names of its fields: empty, or like `items/3/`. */
  readonly field: string;
  /** The row that was read; one that was deleted counts its versions on. */
  readonly before: StoredFeature | null;
  /** Null = it is deleted. */
  readonly content: FeatureContent | null;
}

/** What became of one feature. */
export interface EditedFeature {
  readonly type: 'created' | 'updated' | 'deleted' | 'unchanged';
  readonly before: StoredFeature | null;
  /** As the row is now; of `unchanged` what it was. */
  readonly after: Feature;
}

/** The row of a feature, deleted or not, or null. */
export function storedFeature(state: ProjectionState, name: FeatureName): StoredFeature | null {
  return state.features.byId(featureId(name)) ?? null;
}

/** Whether there is such a feature: one that was deleted is none. */
export function isThere(stored: StoredFeature | null): stored is StoredFeature {
  return stored !== null && !stored.row.isDeleted;
}

/**
 * The plan of a change of features: checked as a whole, also with those that refer to them, all or nothing.
 *
 * @throws ServiceError `too-large`, `invalid`, `conflict` by deployment rules or by what refers to it, `no-space`
 */
export function planFeatureEdits(
  context: ServiceContext,
  meta: ChangeMeta,
  { edits, deployment }: { readonly edits: readonly FeatureEdit[]; readonly deployment: Deployment },
): Plan<readonly EditedFeature[]> {
  const { state } = context.projection;
  checkDistinct(edits);
  const decided = edits.map((edit) => decide(meta, edit));
  const changed = decided.filter(({ type }) => type !== 'unchanged');
  if (changed.length > FEATURE_EDITS_MAX) {
    throw new ServiceError('too-large', `one change takes ${FEATURE_EDITS_MAX} flags and segments at most`);
  }
  const ops = changed.flatMap((each) => opsOf(each, meta.reason));
  checkChanged(state, { changed, deployment, ops });
  const names = changed.map(({ edit }) => edit.name);
  const created = changed.filter(({ type }) => type === 'created').map(({ edit }) => edit.name);
  const applications = newApplications(state, meta, created);
  const orders = orderGuards(state, names);
  return {
    guards: [
      ...changed.map(({ edit }) => ({
        key: featureKey(edit.name),
        modRevision: edit.before?.modRevision ?? 0,
      })),
      // What refers to what was checked in all that inherit from it.
      ...environmentGuards(state, names, () => true),
      ...applicationGuards(state, names),
      ...orders,
    ],
    ops: [
      ...ops,
      ...applications.map(({ op }) => op),
      ...orders.map(({ key }): KvOp => ({ type: 'put', key, value: Buffer.from(meta.id) })),
    ],
    items: [...changed.map(itemOf), ...applications.map(({ item }) => item)],
    result: decided.map(({ type, edit, after }) => ({ type, before: edit.before, after })),
  };
}

interface Decided {
  readonly type: EditedFeature['type'];
  readonly edit: FeatureEdit;
  readonly after: Feature;
}

function checkDistinct(edits: readonly FeatureEdit[]): void {
  const seen = new Set<string>();
  for (const { name, field } of edits) {
    const id = featureId(name);
    if (seen.has(id)) throw invalid({ field: `${field}key`, message: 'is there before' });
    seen.add(id);
  }
}

function decide(meta: ChangeMeta, edit: FeatureEdit): Decided {
  const { before, content, name } = edit;
  const isKnown = isThere(before);
  if (content === null) {
    if (!isKnown) throw featureNotFound(name);
    const isDeleted = true;
    return { type: 'deleted', edit, after: rowOf(edit, meta, { content: before.row, isDeleted }) };
  }
  if (isKnown && sameFeature(before.row, content)) return { type: 'unchanged', edit, after: before.row };
  const after = rowOf(edit, meta, { content, isDeleted: false });
  return { type: isKnown ? 'updated' : 'created', edit, after };
}

function rowOf(
  { name, before }: FeatureEdit,
  meta: ChangeMeta,
  { content, isDeleted }: { readonly content: FeatureContent; readonly isDeleted: boolean },
): Feature {
  const { kind, tenant, environment, application, key } = name;
  const by = meta.caller.actor.name;
  const born = isThere(before) || isDeleted ? before?.row : undefined;
  const { description, tags, definition } = content;
  return {
    format: 1,
    ...({ kind, definition } as FeatureDefinition),
    id: featureId(name),
    tenant,
    environment,
    application,
    key,
    description,
    tags,
    version: (before?.row.version ?? 0) + 1,
    createdBy: born?.createdBy ?? by,
    createdAt: born?.createdAt ?? meta.at,
    updatedBy: by,
    updatedAt: meta.at,
    changeId: meta.id,
    isDeleted,
  };
}

function checkChanged(
  state: ProjectionState,
  {
    changed,
    deployment,
    ops,
  }: { readonly changed: readonly Decided[]; readonly deployment: Deployment; readonly ops: readonly KvOp[] },
): void {
  const bytes = ops.reduce((sum, op) => sum + (op.type === 'put' ? op.value.length : 0), 0);
  if (bytes > FEATURE_EDITS_BYTES_MAX) {
    throw new ServiceError('too-large', `one change takes ${FEATURE_EDITS_BYTES_MAX} bytes of flags at most`);
  }
  for (const { edit } of changed) {
    const { tenant, environment } = edit.name;
    if (!hasEnvironment(state, tenant, environment)) {
      const message = `there is no environment ${environment}`;
      throw invalid({ field: `${edit.field}environment`, message });
    }
    checkDeployment(state, edit.name, deployment);
  }
  const grows = changed.some(({ edit }) => edit.before === null);
  const { size, bytes: held } = state.features;
  if (grows && (size >= FEATURES_MAX || held >= FEATURES_BYTES_MAX)) {
    throw new ServiceError('no-space', 'there are too many flags and segments');
  }
  checkReferences(
    state,
    changed.map(({ edit }) => edit),
  );
}

function opsOf({ after }: Decided, reason: string): readonly KvOp[] {
  const version: FeatureVersion = {
    format: 1,
    ...({ kind: after.kind, definition: after.definition } as FeatureDefinition),
    featureId: after.id,
    version: after.version,
    description: after.description,
    tags: after.tags,
    isDeleted: after.isDeleted,
    createdBy: after.updatedBy,
    createdAt: after.updatedAt,
    changeId: after.changeId,
    reason,
  };
  return [
    { type: 'put', key: featureKey(after), value: encodeFeature(after) },
    { type: 'put', key: versionKey(after.id, after.version), value: encodeFeatureVersion(version) },
  ];
}

function itemOf({ type, edit, after }: Decided): ChangeItem {
  const { kind, tenant, environment, application, key } = edit.name;
  return {
    kind,
    type: type === 'unchanged' ? 'updated' : type,
    tenant,
    environment,
    application,
    key,
    id: after.id,
    before: edit.before?.row.version ?? 0,
    after: after.version,
  };
}

/** There is no feature of this name. */
export function featureNotFound(name: FeatureName): ServiceError {
  const message = `there is no ${described(name)}`;
  return new ServiceError('not-found', message, { problems: [{ field: 'key', message }] });
}
