import { badOptions, type Settings } from './option-settings.ts';
import { environmentId } from './service/environments/spelling.ts';
import { checkTenant } from './service/names.ts';
import { ServiceError } from './service/service-error.ts';
import { keptForDays, type Retention } from './service/sweepers/retention.ts';

/** Variables of our prefix that only the commands of the service read: a server is started where people set them. */
export const SERVICE_CLIENT_VARIABLES = [
  'CONCLAVE_HTTP_ENDPOINT',
  'CONCLAVE_APPLICATION',
  'CONCLAVE_ENVIRONMENT',
] as const;

/** How the configuration service is run, beside a member or before another cluster. */
export interface ServiceSettings {
  /** Of requests that do not say whose configurations are meant. */
  readonly tenant: string;
  /** Of requests that do not name one, where they may: its canonical id. */
  readonly environment: string;
  /** Keys that seal secrets; null = there are none. */
  readonly secretKeyFile: string | null;
  /** The same for all servers: any of them may sweep. */
  readonly retention: Retention;
  /** Whoever does not say who they are is refused. */
  readonly requireIdentity: boolean;
}

/** A century: more would be `forever`. */
export const VERSION_RETENTION_DAYS_MAX = 36_500;

/** @throws StoreError `bad-options` */
export function serviceSettings(settings: Settings): ServiceSettings {
  const tenant = settings.or('tenant');
  const environment = settings.or('default-environment');
  return {
    tenant: checked(tenant.label, () => {
      checkTenant(tenant.text);
      return tenant.text;
    }),
    environment: checked(environment.label, () => environmentId(environment.text)),
    secretKeyFile: settings.given('secret-key-file')?.text ?? null,
    retention: retentionOf(settings),
    requireIdentity: settings.boolean('require-identity'),
  };
}

function retentionOf(settings: Settings): Retention {
  const { label, text } = settings.or('version-retention');
  if (text === 'forever') return keptForDays(null);
  if (!/^\d+$/.test(text)) throw badOptions(`${label}: '${text}' is neither a number of days nor forever`);
  return keptForDays(settings.integer('version-retention', { min: 1, max: VERSION_RETENTION_DAYS_MAX }));
}

function checked(label: string, check: () => string): string {
  try {
    return check();
  } catch (error) {
    if (error instanceof ServiceError) throw badOptions(`${label}: ${error.message}`, error);
    throw error;
  }
}
