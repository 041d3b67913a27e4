import { badOptions, type Settings } from './option-settings.ts';
import { environmentId } from './service/environments/spelling.ts';
import { checkTenant } from './service/names.ts';
import { ServiceError } from './service/service-error.ts';

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
  /** Whoever does not say who they are is refused. */
  readonly requireIdentity: boolean;
}

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
    requireIdentity: settings.boolean('require-identity'),
  };
}

function checked(label: string, check: () => string): string {
  try {
    return check();
  } catch (error) {
    if (error instanceof ServiceError) throw badOptions(`${label}: ${error.message}`, error);
    throw error;
  }
}
