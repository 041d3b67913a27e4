/** Where services and their clients find things in the store: the keys that both sides must agree on, as text. */

/** Rows of the service lie under it; no tenant has this name. */
export const SERVICE_PREFIX = '/_conclave/';

/** The rows of environments; behind it the tenant, a slash and the environment's id. */
export const ENVIRONMENT_ROWS = `${SERVICE_PREFIX}environment/`;
/** The rows of applications; behind it the tenant, a slash and the name. */
export const APPLICATION_ROWS = `${SERVICE_PREFIX}application/`;

/** All plain values of an application in an environment start with this; what follows is the configuration's key. */
export function plainPrefixText({
  tenant,
  environment,
  application,
}: {
  readonly tenant: string;
  readonly environment: string;
  readonly application: string;
}): string {
  return `/${tenant}/${environment}/${application}/`;
}

/** All rows of a tenant's environments start with this; what follows is the id. */
export function environmentRowsPrefix(tenant: string): string {
  return `${ENVIRONMENT_ROWS}${tenant}/`;
}

export function environmentRowKey(tenant: string, id: string): string {
  return `${environmentRowsPrefix(tenant)}${id}`;
}

export function applicationRowKey(tenant: string, name: string): string {
  return `${APPLICATION_ROWS}${tenant}/${name}`;
}
