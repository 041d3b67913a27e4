import type { Access } from '../access.ts';
import type { Caller } from '../caller.ts';
import { FEATURE_PLAIN_PREFIXES } from '../keyspace.ts';
import type { ChangeItem, ConfigurationName, FeatureKind, FeatureName, Scope } from '../model.ts';

/**
 * The plain key that a permission on a feature is a permission on. Nothing stands there: `/t/e/app/feature_flags/x` lies
 * in the range of all keys of `app`, and no configuration has a slash in its key.
 */
export function plainNameOf({ kind, tenant, environment, application, key }: FeatureName): ConfigurationName {
  return { tenant, environment, application, key: `${FEATURE_PLAIN_PREFIXES[kind]}${key}` };
}

/** Whether the caller may touch all features of a kind there. @throws ServiceError `forbidden`, `unauthenticated` */
export async function checkScopeAccess(
  access: Access,
  caller: Caller,
  {
    scope,
    kind,
    mode,
  }: { readonly scope: Scope; readonly kind: FeatureKind; readonly mode: 'read' | 'write' },
): Promise<void> {
  const { tenant, environment, application } = scope;
  await access.check(caller, mode, {
    tenant,
    environment,
    application,
    keyPrefix: FEATURE_PLAIN_PREFIXES[kind],
  });
}

/** What happened to a feature. */
export type FeatureItem = Extract<ChangeItem, FeatureName>;

export function isFeatureItem(item: ChangeItem): item is FeatureItem {
  return item.kind === 'flag' || item.kind === 'segment';
}
