import type { RequestListener } from 'node:http';
import type { Kv } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../service/service.ts';
import type { ServiceFace } from './http-face.ts';
import { restApp } from './rest/app.ts';
import { routeUpgrade } from './streams/upgrade.ts';

/** What the service is served with. */
export interface RestFaceOptions {
  readonly service: Service;
  /** Where callers are known. */
  readonly kv: Kv;
  readonly logger: Logger;
  /** Of requests that do not say: their tenant, and their environment by its id. */
  readonly tenant: string;
  readonly environment: string;
  readonly requireIdentity: boolean;
}

/** Every REST dialect, for the HTTP addresses. */
export async function restFace(options: RestFaceOptions): Promise<ServiceFace> {
  const { service, kv, logger, tenant, environment, requireIdentity } = options;
  const app = await restApp({
    service,
    identity: { kv, requireIdentity },
    logger,
    defaultTenant: tenant,
    defaultEnvironment: environment,
  });
  const route: RequestListener = (request, response) => app.routing(request, response);
  return {
    request: route,
    upgrade: (request, socket, head) => routeUpgrade(route, { request, socket, head }),
    close: () => app.close(),
  };
}
