import { setTimeout as delay } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import { registerConfiguration } from './api/config/register.ts';
import { toRpcError } from './api/errors.ts';
import { registerFlagd } from './api/flagd/register.ts';
import { registerFlags } from './api/flagd/register-flags.ts';
import type { HttpFace } from './api/http/http-face.ts';
import { restFace } from './api/http/rest-face.ts';
import { ServiceMetrics } from './api/http/service-metrics.ts';
import type { AuthFlag } from './kv/auth-flag.ts';
import type { Kv, KvLimits } from './kv/kv.ts';
import { ThreadKv } from './kv/thread-kv.ts';
import type { Logger } from './lib/logger.ts';
import type { ServiceSettings } from './option-service.ts';
import { MethodsServer } from './rpc/methods-server.ts';
import type { RpcServer } from './rpc/server.ts';
import { observed } from './service/observed.ts';
import { readKeyring } from './service/secrets/keyring.ts';
import { openService, type Service, type ServiceOptions } from './service/service.ts';

/** Between two attempts to open the service, doubled each time. */
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

/** What the service is made of and served by. */
export interface ServiceRunOptions {
  /** The service stays open as long as this; it is closed by who made it. */
  readonly kv: Kv;
  readonly settings: ServiceSettings;
  /** Whose web pages may evaluate flags. */
  readonly corsOrigins: readonly string[];
  readonly face: HttpFace;
  /** Where its gRPC methods are registered. */
  readonly methods: RpcServer;
  readonly logger: Logger;
  /** Gives up the opening. */
  readonly signal: AbortSignal;
}

/** The configuration service with its faces. */
export interface RunningService {
  readonly service: Service;
  /** In the Prometheus text format. */
  metrics(): Promise<string>;
  /** Ends it; the face is closed before. */
  close(): Promise<void>;
}

/**
 * Opens the service, as often as it takes, and serves it over HTTP and gRPC.
 *
 * @returns null when it was given up
 * @throws StoreError `bad-options` for a file of keys that cannot be used
 */
export async function runService(options: ServiceRunOptions): Promise<RunningService | null> {
  const { kv, settings, corsOrigins, face, methods, logger, signal } = options;
  const { secretKeyFile, retention, requireIdentity, tenant, environment } = settings;
  const keyring = secretKeyFile === null ? null : readKeyring(secretKeyFile);
  const opened = await openPatiently({ kv, logger, keyring, retention, signal });
  if (opened === null) return null;
  const metrics = new ServiceMetrics({ service: opened, kv });
  const service = observed(opened, metrics.observer);
  const who = { kv, tenant, environment, requireIdentity };
  registerConfiguration(methods, { ...who, service });
  registerFlagd(methods, { ...who, service });
  registerFlags(methods, { ...who, service });
  face.serve(await restFace({ ...who, service, logger, corsOrigins }));
  return {
    service,
    metrics: () => metrics.render(),
    close: async () => {
      metrics.close();
      await service.close();
    },
  };
}

/** As `runService`, in a thread whose store and callers are at other ends of ports. */
export async function runThreadService({
  kvPort,
  auth,
  methodsPort,
  limits,
  ...rest
}: Omit<ServiceRunOptions, 'kv' | 'methods'> & {
  readonly kvPort: MessagePort;
  /** Set where the store is. */
  readonly auth: AuthFlag;
  readonly methodsPort: MessagePort;
  readonly limits: KvLimits;
}): Promise<RunningService | null> {
  const kv = new ThreadKv(kvPort, limits, auth);
  const methods = new MethodsServer(methodsPort, {
    errorStatus: toRpcError,
    onBug: (error) => rest.logger.error({ err: error }, 'a call failed: a bug'),
  });
  const running = await runService({ ...rest, kv, methods });
  if (running === null) return null;
  return {
    ...running,
    close: async () => {
      methods.close();
      await running.close();
      await kv.close();
    },
  };
}

async function openPatiently(options: ServiceOptions): Promise<Service | null> {
  const { logger, signal } = options;
  for (let retryMs = RETRY_MS_MIN; !signal.aborted; retryMs = Math.min(RETRY_MS_MAX, 2 * retryMs)) {
    try {
      return await openService(options);
    } catch (error) {
      if (signal.aborted) return null;
      logger.warn({ error: String(error), retryMs }, 'the configurations cannot be read yet');
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }
  return null;
}
