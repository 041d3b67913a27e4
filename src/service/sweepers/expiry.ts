import type { Caller } from '../caller.ts';
import type { ChangeMeta } from '../commit.ts';
import { applyEdits } from '../configurations/apply.ts';
import type { Edit } from '../configurations/content.ts';
import { EDITS_MAX, isLive, storedOf } from '../configurations/edits.ts';
import type { ServiceContext } from '../context.ts';
import type { Actor, ConfigurationName } from '../model.ts';
import { underLock } from './sweep-lock.ts';

/** Who ends what expires. */
const CONCLAVE: Actor = {
  name: 'conclave',
  isAuthenticated: true,
  claimed: null,
  address: '',
  agent: null,
};

/**
 * Makes tombstones of the configurations whose time is over. Reads have treated them as gone since then.
 *
 * @returns how many; 0 also while another server does it
 * @throws ServiceError, KvError
 */
export async function sweepExpired(context: ServiceContext, signal: AbortSignal): Promise<number> {
  if (expiredNames(context).length === 0) return 0;
  const swept = await underLock(context.kv, { name: 'expiry', signal }, async (lock) => {
    const caller: Caller = { actor: CONCLAVE, principal: { type: 'service' }, signal };
    let count = 0;
    for (const [tenant, names] of byTenant(expiredNames(context))) {
      for (let at = 0; at < names.length; at += EDITS_MAX) {
        if (!(await lock.renew())) return count;
        const chunk = names.slice(at, at + EDITS_MAX);
        const { items } = await applyEdits(
          context,
          caller,
          {
            operation: 'expire',
            tenant,
            options: {},
            body: null,
            besides: () => ({ guards: [lock.guard], ops: [] }),
          },
          (meta) => chunk.flatMap((name) => expired(context, name, meta)),
        );
        count += items.length;
      }
    }
    return count;
  });
  return swept ?? 0;
}

function expired(context: ServiceContext, name: ConfigurationName, { atMs }: ChangeMeta): readonly Edit[] {
  const before = storedOf(context.projection.state, name);
  // Somebody may have changed it, or deleted it, since it was found.
  if (before === null || before.row.isDeleted || isLive(before, atMs)) return [];
  return [{ name, field: '', before, content: null }];
}

function expiredNames({ projection, clock }: ServiceContext): readonly ConfigurationName[] {
  return projection.state.configurations
    .expired(clock.nowMs())
    .map(({ tenant, environment, application, key }) => {
      return { tenant, environment, application, key };
    });
}

function byTenant(names: readonly ConfigurationName[]): ReadonlyMap<string, readonly ConfigurationName[]> {
  const groups = new Map<string, ConfigurationName[]>();
  for (const name of names) {
    const group = groups.get(name.tenant) ?? [];
    group.push(name);
    groups.set(name.tenant, group);
  }
  return groups;
}
