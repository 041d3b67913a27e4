import type { Caller } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import type { FeatureKind, FeatureName } from '../model.ts';
import { checkTenant } from '../names.ts';
import { ServiceError } from '../service-error.ts';
import { plainNameOf } from './feature-access.ts';
import { checkFeatureName, nameIn } from './feature-content.ts';

/** A feature by its id, in the caller's tenant, or by its name. */
export type FeatureRef =
  | { readonly kind: FeatureKind; readonly tenant: string; readonly id: string }
  | FeatureName;

/**
 * The name that is meant, which the caller may touch; of an id that is not known the store is asked.
 *
 * @throws ServiceError `invalid` for a name that cannot be, `not-found` for an id that nothing of the kind has, `forbidden`
 */
export async function featureNameOf(
  context: ServiceContext,
  caller: Caller,
  { ref, mode }: { readonly ref: FeatureRef; readonly mode: 'read' | 'write' },
): Promise<FeatureName> {
  const name = await nameFrom(context, caller, ref);
  await context.access.check(caller, mode, plainNameOf(name));
  return name;
}

async function nameFrom(
  { projection }: ServiceContext,
  caller: Caller,
  ref: FeatureRef,
): Promise<FeatureName> {
  if (!('id' in ref)) {
    checkFeatureName(ref);
    return nameIn(ref.kind, ref, ref.key);
  }
  checkTenant(ref.tenant);
  if (projection.state.features.byId(ref.id) === undefined) await projection.catchUp(caller.signal);
  const row = projection.state.features.byId(ref.id)?.row;
  if (row === undefined || row.tenant !== ref.tenant || row.kind !== ref.kind) {
    const message = `there is no ${ref.kind} with the id ${ref.id}`;
    throw new ServiceError('not-found', message, { problems: [{ field: 'id', message }] });
  }
  return nameIn(row.kind, row, row.key);
}
