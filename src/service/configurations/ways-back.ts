import type { ChangeMeta } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { plainNameOf } from '../flags/feature-access.ts';
import { sameFeature } from '../flags/feature-content.ts';
import { type FeatureEdit, isThere, storedFeature } from '../flags/feature-edits.ts';
import type { ChangeSet, ConfigurationName, FeatureName, FeatureVersion } from '../model.ts';
import { type FieldProblem, ServiceError } from '../service-error.ts';
import { type Content, contentOf, type Edit, sameContent } from './content.ts';
import { isLive, storedOf } from './edits.ts';
import { restored } from './history.ts';
import { type AnyVersion, readVersions, type StoredVersion } from './versions.ts';

/** A configuration, flag or segment on its way back to what it was before a change set. */
export type WayBack = {
  /** The version that the set left. */
  readonly after: number;
} & (
  | {
      readonly of: 'configuration';
      readonly name: ConfigurationName;
      /** Null = there was none before the set. */
      readonly version: StoredVersion | null;
    }
  | {
      readonly of: 'feature';
      readonly name: FeatureName;
      readonly version: StoredVersion<FeatureVersion> | null;
    }
);

/** Flags and segments first, so that as many as possible of those that refer to one another go together. */
export async function waysBack(
  context: ServiceContext,
  { items }: ChangeSet,
  signal: AbortSignal,
): Promise<readonly WayBack[]> {
  const wanted = items.map(({ id, before }) => ({ id, version: before }));
  const versions = await readVersions<AnyVersion>(context.kv, wanted, signal);
  const { configurations, features } = context.projection.state;
  const ways = items.map(({ id, before, after }, at): WayBack => {
    const [entry, feature] = [configurations.byId(id), features.byId(id)?.row];
    const version = versions[at] ?? null;
    if ((entry === undefined && feature === undefined) || (version === null && before > 0)) {
      throw new ServiceError('gone', `version ${before} of ${(entry ?? feature)?.key ?? id} was not kept`);
    }
    if (feature !== undefined) {
      const { kind, tenant, environment, application, key } = feature;
      const name = { kind, tenant, environment, application, key };
      return { of: 'feature', name, after, version: version as StoredVersion<FeatureVersion> | null };
    }
    const { tenant, environment, application, key } = entry!;
    const name = { tenant, environment, application, key };
    return { of: 'configuration', name, after, version: version as StoredVersion | null };
  });
  return ways.sort((left, right) => Number(left.of !== 'feature') - Number(right.of !== 'feature'));
}

/** What a right to go the way is a right on. */
export function plainNameOn(way: WayBack): ConfigurationName {
  return way.of === 'feature' ? plainNameOf(way.name) : way.name;
}

/** Whether everything is as it was already. */
export function isBack(context: ServiceContext, way: WayBack, atMs: number): boolean {
  const { state } = context.projection;
  if (way.of === 'feature') {
    const stored = storedFeature(state, way.name);
    const target = featureTarget(way);
    if (!isThere(stored)) return target === null;
    return target !== null && sameFeature(stored.row, target);
  }
  const stored = storedOf(state, way.name);
  const target = configurationTarget(context, way, { atMs });
  if (stored === null || !isLive(stored, atMs)) return target === null;
  return target !== null && sameContent(contentOf(context, stored.row, stored.row.id), target);
}

/** @throws ServiceError `conflict` where somebody made another version since */
export function checkUnchanged({ projection }: ServiceContext, ways: readonly WayBack[]): void {
  const problems = ways.flatMap((way): readonly FieldProblem[] => {
    const stored =
      way.of === 'feature' ? storedFeature(projection.state, way.name) : storedOf(projection.state, way.name);
    const version = stored?.row.version ?? 0;
    if (version === way.after) return [];
    const message = `is at version ${version}, where the change set left ${way.after}`;
    return [{ field: way.name.key, message }];
  });
  if (problems.length === 0) return;
  throw new ServiceError('conflict', 'what the change set touched was changed since', { problems });
}

/** The changes of configurations that go these ways. */
export function configurationEdits(
  context: ServiceContext,
  ways: readonly WayBack[],
  meta: ChangeMeta,
): readonly Edit[] {
  return ways.flatMap((way) => {
    if (way.of !== 'configuration') return [];
    const before = storedOf(context.projection.state, way.name);
    return [{ name: way.name, field: '', before, content: configurationTarget(context, way, meta) }];
  });
}

/** The changes of flags and segments that go these ways. */
export function featureEdits(context: ServiceContext, ways: readonly WayBack[]): readonly FeatureEdit[] {
  return ways.flatMap((way) => {
    if (way.of !== 'feature') return [];
    const before = storedFeature(context.projection.state, way.name);
    return [{ name: way.name, field: '', before, content: featureTarget(way) }];
  });
}

/** What the configuration is to be; null = nothing. */
function configurationTarget(
  context: ServiceContext,
  { version }: Extract<WayBack, { of: 'configuration' }>,
  meta: Pick<ChangeMeta, 'atMs'>,
): Content | null {
  return version === null || version.version.isDeleted ? null : restored(context, version, meta);
}

function featureTarget({ version }: Extract<WayBack, { of: 'feature' }>): FeatureVersion | null {
  return version === null || version.version.isDeleted ? null : version.version;
}
