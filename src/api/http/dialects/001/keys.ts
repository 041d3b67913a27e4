import { invalid } from '../../../../service/service-error.ts';

/** What stands in 001's paths beside the services: no service can be called so there. */
const RESERVED: ReadonlySet<string> = new Set(['watch', 'rollback']);
const SERVICE_ENDING = '_service';

/** @throws ServiceError `invalid` for a name that 001's paths use themselves */
export function checkService(service: string): void {
  if (!RESERVED.has(service)) return;
  throw invalid({ field: 'service_name', message: `${service} is used by the paths themselves` });
}

/**
 * The key as it is stored: 001 may put the service before it, with or without its ending `_service`, as in
 * `portfolio_management.risk_threshold` of `portfolio_management_service`.
 */
export function bareKey(service: string, key: string): string {
  const names = service.endsWith(SERVICE_ENDING)
    ? [service, service.slice(0, -SERVICE_ENDING.length)]
    : [service];
  const prefix = names
    .map((name) => `${name}.`)
    .find((start) => key.startsWith(start) && key.length > start.length);
  return prefix === undefined ? key : key.slice(prefix.length);
}
