import type { Caller } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import { hasEnvironment } from '../environments/inheritance.ts';
import type { ConfigurationName, Scope } from '../model.ts';
import { checkName, checkScope, checkTenant } from '../names.ts';
import { ServiceError } from '../service-error.ts';

/** A configuration by its id, in the caller's tenant, or by its name. */
export type ConfigurationRef = { readonly tenant: string; readonly id: string } | ConfigurationName;

/**
 * The name that is meant; of an id that is not known the store is asked.
 *
 * @throws ServiceError `invalid` for a name that cannot be, `not-found` for an id that nothing of the tenant has
 */
export async function nameOf(
  { projection }: ServiceContext,
  caller: Caller,
  ref: ConfigurationRef,
  idField = 'id',
): Promise<ConfigurationName> {
  if (!('id' in ref)) {
    checkName(ref);
    const { tenant, environment, application, key } = ref;
    return { tenant, environment, application, key };
  }
  checkTenant(ref.tenant);
  if (projection.state.configurations.byId(ref.id) === undefined) await projection.catchUp(caller.signal);
  const entry = projection.state.configurations.byId(ref.id);
  if (entry === undefined || entry.tenant !== ref.tenant) {
    const message = `there is no configuration with the id ${ref.id}`;
    throw new ServiceError('not-found', message, { problems: [{ field: idField, message }] });
  }
  const { tenant, environment, application, key } = entry;
  return { tenant, environment, application, key };
}

/** The field that says which configuration is meant: its id, or of a name its key. */
export function fieldOf(ref: ConfigurationRef, idField = 'id'): string {
  return 'id' in ref ? idField : 'key';
}

/** @throws ServiceError `invalid`; `not-found` for an environment or application that the tenant does not have */
export function checkKnownScope(context: Pick<ServiceContext, 'projection'>, scope: Scope): void {
  checkScope(scope);
  checkKnown(context, scope);
}

/** As `checkKnownScope`, of names that can be; what is left out is not looked for. @throws ServiceError `not-found` */
export function checkKnown(
  { projection }: Pick<ServiceContext, 'projection'>,
  {
    tenant,
    environment,
    application,
  }: Pick<Scope, 'tenant'> & { readonly [name in 'environment' | 'application']?: string | undefined },
): void {
  const { state } = projection;
  if (environment !== undefined && !hasEnvironment(state, tenant, environment)) {
    throw absent('environment', environment);
  }
  if (application !== undefined && state.application(tenant, application) === undefined) {
    throw absent('application', application);
  }
}

function absent(field: 'environment' | 'application', name: string): ServiceError {
  const message = `there is no ${field} ${name}`;
  return new ServiceError('not-found', message, { problems: [{ field, message }] });
}
