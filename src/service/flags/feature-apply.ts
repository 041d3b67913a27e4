import { type Caller, isoTime } from '../caller.ts';
import type { ChangeMeta, ChangeOptions, Committed } from '../commit.ts';
import { readVersions, type StoredVersion } from '../configurations/versions.ts';
import type { ServiceContext } from '../context.ts';
import type { ChangeRecord, Feature, FeatureDefinition, FeatureVersion, Operation } from '../model.ts';
import { type FeatureItem, isFeatureItem } from './feature-access.ts';
import { type EditedFeature, type FeatureEdit, isThere, planFeatureEdits } from './feature-edits.ts';

/** A flag or segment as a caller sees it. */
export type FeatureView = FeatureDefinition &
  Omit<Feature, 'format' | 'isDeleted' | 'kind' | 'definition'> & {
    /** The revision of the row: its entity tag, without the quotes. */
    readonly etag: string;
    readonly modRevision: number;
  };

/** What became of one feature. */
export interface WrittenFeature {
  readonly type: EditedFeature['type'];
  /** Null = there was none. */
  readonly before: FeatureView | null;
  /** As it is now; of a deleted one as it was, with the version of its deletion. */
  readonly after: FeatureView;
}

/** What a change did. */
export interface FeaturesAnswer {
  /** At which it was made; of one that changed nothing, the revision that showed so. */
  readonly revision: number;
  /** Null = nothing was changed. */
  readonly changeId: string | null;
  /** The same request was done before; this is its answer. */
  readonly isRepeated: boolean;
  /** In the order of the request. */
  readonly items: readonly WrittenFeature[];
}

export interface FeatureChangeRequest {
  readonly operation: Operation;
  readonly tenant: string;
  readonly options: ChangeOptions;
  /** What tells this request from another one under the same idempotency key. */
  readonly body: unknown;
  readonly promotedFrom?: string | undefined;
  /** Check and answer, but change nothing. */
  readonly dryRun?: boolean | undefined;
}

export function featureViewOf(row: Feature, modRevision: number): FeatureView {
  const { format: _, isDeleted: __, ...rest } = row;
  return { ...rest, etag: String(modRevision), modRevision };
}

/**
 * Makes a change of features in one transaction.
 *
 * @param edits made anew for each attempt, from the projection as it is then
 * @throws ServiceError
 */
export async function applyFeatureEdits(
  context: ServiceContext,
  caller: Caller,
  request: FeatureChangeRequest,
  edits: (meta: ChangeMeta) => readonly FeatureEdit[] | Promise<readonly FeatureEdit[]>,
): Promise<FeaturesAnswer> {
  const { operation, tenant, body, options } = request;
  const { reason, changeSet, idempotencyKey } = options;
  const plan = async (meta: ChangeMeta) => {
    const deployment = { operation, reason: meta.reason, promotedFrom: request.promotedFrom ?? null };
    return planFeatureEdits(context, meta, { edits: await edits(meta), deployment });
  };
  if (request.dryRun === true) {
    await context.projection.catchUp(caller.signal);
    const atMs = context.clock.nowMs();
    const { result } = await plan({ id: '', at: isoTime(atMs), atMs, reason: reason ?? '', caller });
    const { revision } = context.projection;
    return { revision, changeId: null, isRepeated: false, items: shownItems(result, revision) };
  }
  const committed = await context.committer.commit(
    caller,
    { operation, tenant, body, reason, changeSet, idempotencyKey },
    plan,
  );
  return answerOf(context, caller, committed);
}

async function answerOf(
  context: ServiceContext,
  caller: Caller,
  committed: Committed<readonly EditedFeature[]>,
): Promise<FeaturesAnswer> {
  const { revision } = committed;
  const changeId = committed.type === 'unchanged' ? null : committed.record.id;
  if (committed.type === 'repeated') {
    const items = await itemsOf(context, caller, committed.record);
    return { revision, changeId, isRepeated: true, items };
  }
  return { revision, changeId, isRepeated: false, items: shownItems(committed.result, revision) };
}

function shownItems(edited: readonly EditedFeature[], revision: number): readonly WrittenFeature[] {
  return edited.map(({ type, before, after }) => ({
    type,
    before: isThere(before) ? featureViewOf(before.row, before.modRevision) : null,
    after: featureViewOf(after, type === 'unchanged' ? (before?.modRevision ?? revision) : revision),
  }));
}

/** What a change did, from its record and the versions that it names. */
async function itemsOf(
  context: ServiceContext,
  caller: Caller,
  record: ChangeRecord,
): Promise<readonly WrittenFeature[]> {
  const items = record.items.filter(isFeatureItem);
  const wanted = items.flatMap(({ id, before, after }) => [
    { id, version: before },
    { id, version: after },
  ]);
  const versions = await readVersions<FeatureVersion>(context.kv, wanted, caller.signal);
  return items.flatMap((item, at) => {
    const [before, after] = [versions[at * 2] ?? null, versions[at * 2 + 1] ?? null];
    // Retention took it: nobody repeats a request after a year.
    if (after === null) return [];
    const shown = before === null || before.version.isDeleted ? null : viewOfVersion(context, item, before);
    return [{ type: item.type, before: shown, after: viewOfVersion(context, item, after) }];
  });
}

function viewOfVersion(
  { projection }: ServiceContext,
  { tenant, environment, application, key }: FeatureItem,
  { version: stored, revision }: StoredVersion<FeatureVersion>,
): FeatureView {
  const { reason: _, featureId: id, createdBy, createdAt, ...content } = stored;
  const current = projection.state.features.byId(id)?.row;
  const row = {
    ...content,
    id,
    tenant,
    environment,
    application,
    key,
    createdBy: current?.createdBy ?? createdBy,
    createdAt: current?.createdAt ?? createdAt,
    updatedBy: createdBy,
    updatedAt: createdAt,
  };
  return featureViewOf(row, revision);
}
