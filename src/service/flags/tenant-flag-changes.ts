import { affectedFlags } from '../../evaluation/affected.ts';
import type { Caller } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import { heirsOf } from '../environments/inheritance.ts';
import type { ChangeItem, ChangeRecord, Scope } from '../model.ts';
import { ChangeFeed } from './change-feed.ts';
import { type FeatureItem, isFeatureItem, plainNameOf } from './feature-access.ts';
import type { FlagSets } from './flag-sets.ts';

/** That flags of some application in some environment may answer otherwise than before. */
export interface TenantFlagsChanged {
  readonly revision: number;
  /** In order; those alone that the caller may read. */
  readonly keys: readonly string[];
}

/**
 * The changes of all flags of a tenant, for those who do not say which they are interested in; without what changes by
 * itself. It ends when the caller's signal is aborted.
 *
 * @throws ServiceError `gone` when what comes next is not known any more, `unauthenticated`, `unavailable`
 */
export async function* tenantFlagChanges(
  { kv, projection, access }: ServiceContext,
  sets: FlagSets,
  { caller, tenant }: { readonly caller: Caller; readonly tenant: string },
): AsyncGenerator<TenantFlagsChanged, void, undefined> {
  const { state } = projection;
  const isRelevant = ({ items }: ChangeRecord): boolean => items.some((item) => isOfFlags(item, tenant));
  const feed = new ChangeFeed(kv, projection).follow({
    after: projection.revision,
    isRelevant,
    signal: caller.signal,
  });
  for await (const { revision, record } of feed) {
    const permits = access.filter(caller, 'read');
    const keys = new Set<string>();
    for (const item of record.items) {
      if (!isOfFlags(item, tenant)) continue;
      for (const { scope, key } of isFeatureItem(item) ? reachedBy(item) : allOf(tenant)) {
        if (await permits(plainNameOf({ kind: 'flag', ...scope, key }))) keys.add(key);
      }
    }
    if (keys.size > 0) yield { revision, keys: [...keys].sort() };
  }

  /** The flags that the change of a feature reaches, wherever it is inherited. */
  function* reachedBy(item: FeatureItem): Generator<{ readonly scope: Scope; readonly key: string }> {
    const changed = new Set([item.key]);
    const none: ReadonlySet<string> = new Set();
    for (const environment of [item.environment, ...heirsOf(state, tenant, item.environment)]) {
      const scope = { tenant, environment, application: item.application };
      const references =
        item.kind === 'flag' ? { flags: changed, segments: none } : { flags: none, segments: changed };
      for (const key of affectedFlags(sets.of(scope), references)) yield { scope, key };
    }
  }

  /** Another parent may change any of them. */
  function* allOf(of: string): Generator<{ readonly scope: Scope; readonly key: string }> {
    for (const { row } of state.features.all('flag', of)) yield { scope: row, key: row.key };
  }
}

function isOfFlags(item: ChangeItem, tenant: string): boolean {
  if (item.tenant !== tenant) return false;
  if (item.kind === 'environment') return item.fields.some(({ name }) => name === 'parent');
  return isFeatureItem(item);
}
