import { environmentId } from '../service/environments/spelling.ts';
import type { Scope } from '../service/model.ts';
import { invalid } from '../service/service-error.ts';

/** What of a scope somebody said. */
export interface SaidScope {
  readonly tenant?: string | undefined;
  /** In any spelling. */
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
}

/** Headers of OFREP and of flagd's calls that say whose flags are meant. */
export const SCOPE_HEADER = {
  tenant: 'x-conclave-tenant',
  application: 'x-conclave-application',
  environment: 'x-conclave-environment',
} as const;

/**
 * Whose flags are meant: each part by the first that says it.
 *
 * @param how tells those who named no application how it is done
 * @throws ServiceError `invalid`
 */
export function scopeOf(
  said: readonly SaidScope[],
  {
    tenant,
    environment,
    how,
  }: { readonly tenant: string; readonly environment: string; readonly how: string },
): Scope {
  const first = (name: keyof SaidScope): string | undefined =>
    said.map((each) => each[name]).find((value) => value !== undefined && value !== '');
  const application = first('application');
  if (application === undefined) throw invalid({ field: 'application', message: `is missing: ${how}` });
  return {
    tenant: first('tenant') ?? tenant,
    environment: environmentId(first('environment') ?? environment),
    application,
  };
}

/** Bytes of a request that has a context: more than anybody is known by. */
export const EVALUATION_BYTES_MAX: number = 64 * 1024;
