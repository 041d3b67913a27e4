import type { Kv } from '../../kv/kv.ts';
import { type AnyVersion, readVersions, type StoredVersion } from '../configurations/versions.ts';
import { definitionJson } from '../flags/definition-json.ts';
import { isFeatureItem } from '../flags/feature-access.ts';
import type { Actor, ChangeItem, ChangeRecord, Json, Operation } from '../model.ts';
import { type ShownValue, shown } from '../views.ts';
import type { StoredChange } from './change-log.ts';

/** A change as those see it who look into who did what. */
export interface AuditEntry {
  readonly id: string;
  readonly revision: number;
  readonly at: string;
  /** Who, and where from. */
  readonly actor: Actor;
  readonly operation: Operation;
  readonly reason: string;
  readonly changeSet: string | null;
  readonly items: readonly AuditItem[];
}

/** What a change did to one thing. Secrets are masked. */
export interface AuditItem {
  readonly kind: ChangeItem['kind'];
  readonly type: ChangeItem['type'];
  /** Null of applications, which are in all of them. */
  readonly environment: string | null;
  /** Null of environments. */
  readonly application: string | null;
  /** Of a configuration, flag or segment; null of environments and applications. */
  readonly key: string | null;
  /** Of a configuration, else null. */
  readonly configurationId: string | null;
  /** 0 = there was none. */
  readonly versionBefore: number;
  readonly versionAfter: number;
  /** Null when there was none, when it was deleted, and of environments and applications. */
  readonly oldValue: ShownValue | null;
  readonly newValue: ShownValue | null;
  /** What else changed, field by field. */
  readonly fields: readonly { readonly name: string; readonly before: Json; readonly after: Json }[];
  /** Those of the two versions that are kept no longer, so that their values are not known. */
  readonly versionsNotKept: readonly number[];
}

/** A change, and what of it its reader may see. */
export interface VisibleChange {
  readonly change: StoredChange;
  readonly items: readonly ChangeItem[];
}

/** How many versions must be read to show the items. */
export function versionCount(items: readonly ChangeItem[]): number {
  return items.reduce((sum, item) => sum + versionsOf(item).length, 0);
}

/** Changes with the values before and after, read from the versions that they name. @throws ServiceError */
export async function auditEntriesOf(
  kv: Kv,
  visible: readonly VisibleChange[],
  signal: AbortSignal,
): Promise<readonly AuditEntry[]> {
  const wanted = visible
    .flatMap(({ items }) => items)
    .flatMap((item) => versionsOf(item).map((version) => ({ id: idOf(item), version })));
  const found = await readVersions<AnyVersion>(kv, wanted, signal);
  const versions = new Map(
    found.map((stored, at) => [`${wanted[at]!.id}/${wanted[at]!.version}`, stored] as const),
  );
  return visible.map(({ change, items }) => ({
    ...headOf(change.record),
    revision: change.revision,
    items: items.map((item) => itemOf(item, (version) => versions.get(`${idOf(item)}/${version}`) ?? null)),
  }));
}

function headOf({
  id,
  at,
  actor,
  operation,
  reason,
  changeSet,
}: ChangeRecord): Omit<AuditEntry, 'revision' | 'items'> {
  return { id, at, actor, operation, reason, changeSet };
}

function idOf(item: ChangeItem): string {
  return hasVersions(item) ? item.id : '';
}

function hasVersions(item: ChangeItem): item is Extract<ChangeItem, { readonly id: string }> {
  return item.kind === 'configuration' || isFeatureItem(item);
}

/** The versions that say what an item did. */
function versionsOf(item: ChangeItem): readonly number[] {
  if (!hasVersions(item)) return [];
  return [...new Set([item.before, item.after])].filter((version) => version > 0);
}

function itemOf(
  item: ChangeItem,
  versionOf: (version: number) => StoredVersion<AnyVersion> | null,
): AuditItem {
  const common = { kind: item.kind, type: item.type, versionBefore: item.before, versionAfter: item.after };
  if (!hasVersions(item)) {
    return {
      ...common,
      environment: item.kind === 'environment' ? item.name : null,
      application: item.kind === 'application' ? item.name : null,
      key: null,
      configurationId: null,
      oldValue: null,
      newValue: null,
      fields: item.fields,
      versionsNotKept: [],
    };
  }
  const before = versionOf(item.before)?.version ?? null;
  const after = versionOf(item.after)?.version ?? null;
  return {
    ...common,
    environment: item.environment,
    application: item.application,
    key: item.key,
    configurationId: item.kind === 'configuration' ? item.id : null,
    oldValue: item.type === 'created' || item.type === 'revealed' ? null : valueOf(before),
    newValue: valueOf(after),
    fields: item.type === 'updated' ? differences(before, after) : [],
    versionsNotKept: versionsOf(item).filter((version) => versionOf(version) === null),
  };
}

/** Of a flag or segment what it decides. */
function valueOf(version: AnyVersion | null): ShownValue | null {
  if (version === null || version.isDeleted) return null;
  if ('definition' in version)
    return { type: 'json', json: definitionJson(version.definition), isMasked: false };
  return shown(version.value);
}

function differences(before: AnyVersion | null, after: AnyVersion | null): AuditItem['fields'] {
  if (before === null || after === null) return [];
  const old = fieldsOf(before);
  return Object.entries(fieldsOf(after))
    .filter(([name, value]) => JSON.stringify(old[name]) !== JSON.stringify(value))
    .map(([name, value]) => ({ name, before: old[name] ?? null, after: value }));
}

function fieldsOf(version: AnyVersion): Readonly<Record<string, Json>> {
  const { description, tags } = version;
  if ('definition' in version) return { description, tags };
  const { configType, value, schema, expiresAt } = version;
  return { configType, description, type: value.type, schema, tags, expiresAt };
}
