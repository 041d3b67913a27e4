import { checkApplicationName, checkEnvironmentName, checkName, checkTenant, Problems } from '../names.ts';
import { invalid } from '../service-error.ts';
import type { ConfigurationEvent } from './event.ts';

/** Which events are wanted: all conditions hold, and what is left out does not matter. */
export interface EventFilter {
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  /** Any of these keys. */
  readonly keys?: readonly string[] | undefined;
  /** Keys that begin so. */
  readonly keyPrefix?: string | undefined;
}

/** Keys that one filter names. */
export const FILTER_KEYS_MAX = 1_000;

/** @throws ServiceError `invalid` */
export function checkEventFilter({ tenant, environment, application, keys }: EventFilter): void {
  checkTenant(tenant);
  if (environment !== undefined) checkEnvironmentName(environment);
  if (application !== undefined) checkApplicationName(application);
  if (keys === undefined) return;
  if (keys.length === 0) throw invalid({ field: 'keys', message: 'must not be empty' });
  if (keys.length > FILTER_KEYS_MAX)
    throw invalid({ field: 'keys', message: `are more than ${FILTER_KEYS_MAX}` });
  const problems = new Problems();
  for (const [at, key] of keys.entries()) {
    problems.gather(`keys/${at}/`, () =>
      checkName({ tenant, environment: environment ?? 'test', application: application ?? 'any', key }),
    );
  }
  problems.check();
}

/** Where subscribers wait whose filters name the same tenant, environment and application, or none. */
export function placeOf({ tenant, environment, application }: EventFilter): string {
  return `${tenant}/${environment ?? ''}/${application ?? ''}`;
}

/** The places where somebody may wait for the event. */
export function placesOf({ name }: ConfigurationEvent): readonly string[] {
  const { tenant, environment, application } = name;
  return [
    `${tenant}/${environment}/${application}`,
    `${tenant}/${environment}/`,
    `${tenant}//${application}`,
    `${tenant}//`,
  ];
}

/** What a filter says, made ready for many events. */
export function wantedBy(filter: EventFilter): (event: ConfigurationEvent) => boolean {
  const { tenant, environment, application, keyPrefix } = filter;
  const keys = filter.keys === undefined ? null : new Set(filter.keys);
  return ({ name }) =>
    name.tenant === tenant &&
    (environment === undefined || name.environment === environment) &&
    (application === undefined || name.application === application) &&
    (keys === null || keys.has(name.key)) &&
    (keyPrefix === undefined || name.key.startsWith(keyPrefix));
}
