import { isFeatureItem } from './flags/feature-access.ts';
import type { ChangeRecord, ChangeSet } from './model.ts';
import { ServiceError } from './service-error.ts';

/** Changes of one change set, and configurations, flags and segments that they touch. */
export const CHANGE_SET_CHANGES_MAX = 1_000;
export const CHANGE_SET_ITEMS_MAX = 1_000;

/**
 * The row of a change set after one more change.
 *
 * @throws ServiceError `conflict` when the set is closed, `too-large` when it is full
 */
export function extended(
  before: ChangeSet | null,
  record: ChangeRecord,
  { tenant, name }: { readonly tenant: string; readonly name: string },
): ChangeSet {
  if (before !== null && before.rolledBackAt !== null) {
    throw new ServiceError('conflict', `the change set ${name} was rolled back and takes no more changes`);
  }
  const items = new Map((before?.items ?? []).map((item) => [item.id, item]));
  for (const item of record.items) {
    if (item.kind !== 'configuration' && !isFeatureItem(item)) continue;
    items.set(item.id, { id: item.id, before: items.get(item.id)?.before ?? item.before, after: item.after });
  }
  const changes = [...(before?.changes ?? []), record.id];
  if (changes.length > CHANGE_SET_CHANGES_MAX || items.size > CHANGE_SET_ITEMS_MAX) {
    throw new ServiceError(
      'too-large',
      `a change set holds ${CHANGE_SET_CHANGES_MAX} changes of ${CHANGE_SET_ITEMS_MAX} configurations and flags`,
    );
  }
  return {
    format: 1,
    tenant,
    name,
    changes,
    items: [...items.values()],
    rolledBackAt: null,
    createdBy: before?.createdBy ?? record.actor.name,
    createdAt: before?.createdAt ?? record.at,
    updatedAt: record.at,
  };
}
