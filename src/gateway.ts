import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { toRpcError } from './api/errors.ts';
import { HttpFace } from './api/http/http-face.ts';
import { operationsPages, type Pages, pagesHandler } from './api/http/operations.ts';
import { ProcessMetrics } from './api/http/process-metrics.ts';
import type { ClientTls } from './client/endpoint.ts';
import { EtcdKv } from './kv/etcd-kv.ts';
import { StoreError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { ETCD_VERSION, VERSION } from './lib/version.ts';
import type { GatewayOptions } from './option-gateway.ts';
import { isLoopback } from './option-tls.ts';
import { ClientPort } from './rpc/client-port.ts';
import { GrpcServer } from './rpc/grpc-server.ts';
import { registerHealth } from './rpc/health.ts';
import { registerReflection } from './rpc/reflection.ts';
import { fileEndpoint } from './server-tls.ts';
import { HEAD_KEY } from './service/keyspace.ts';
import { type RunningService, runService } from './service-run.ts';
import type { TlsEndpoint } from './tls/endpoint.ts';

/** At a stop, requests in flight may take this long. */
const STOP_GRACE_MS = 2_000;
/** How often clients that watch the health service learn of a change. */
const HEALTH_MS = 1_000;

/**
 * Runs the configuration service before an etcd v3 cluster until SIGTERM or SIGINT. It keeps nothing: any number of
 * them may run before one cluster, beside its members' own.
 *
 * @returns the exit code: 0 after a graceful stop, 1 otherwise
 */
export async function runGateway(options: GatewayOptions): Promise<number> {
  const logger = pino({ level: options.logLevel, base: { gateway: true } });
  const gateway = new ServiceGateway(options, logger);
  process.on('uncaughtException', (error) => gateway.fail(error));
  process.on('unhandledRejection', (error) => gateway.fail(error));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => gateway.stop(signal));
  return gateway.run();
}

class ServiceGateway {
  readonly #options: GatewayOptions;
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  readonly #metrics = new ProcessMetrics(VERSION);
  #running: RunningService | null = null;
  #end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });

  constructor(options: GatewayOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
  }

  async run(): Promise<number> {
    const { login, ...shown } = this.#options;
    this.#logger.info({ version: VERSION, options: { ...shown, user: login?.user ?? null } }, 'starting');
    this.#warnOfPlainText();
    try {
      const tls = this.#options.tls === null ? null : fileEndpoint(this.#options.tls, this.#logger);
      await this.#serve(this.#connect(), tls);
      return 0;
    } catch (error) {
      return this.fail(error);
    }
  }

  /** A second signal does not wait for a graceful stop. */
  stop(signal: NodeJS.Signals): void {
    if (this.#abort.signal.aborted) process.exit(1);
    this.#logger.info({ signal }, 'stopping');
    this.#abort.abort();
    this.#end();
  }

  fail(error: unknown): never {
    if (error instanceof StoreError) this.#logger.error({ code: error.code }, error.message);
    else this.#logger.error({ err: error }, 'the gateway stops: a bug');
    process.exit(1);
  }

  async #serve(kv: EtcdKv, tls: TlsEndpoint | null): Promise<void> {
    const { listenHttpUrls, listenClientUrls, service: settings } = this.#options;
    const pages = this.#pages(kv);
    const operations = pagesHandler(pages);
    const face = await HttpFace.open({ urls: listenHttpUrls, operations, tls, logger: this.#logger });
    const { grpc, port } = this.#clientPort(pages, tls);
    try {
      const { signal } = this.#abort;
      this.#running = await runService({ kv, settings, face, methods: grpc, logger: this.#logger, signal });
      if (this.#running === null) return;
      registerHealth(grpc, {
        serving: () => this.#isLive,
        onChange: (listener) => {
          const timer = setInterval(listener, HEALTH_MS);
          return () => clearInterval(timer);
        },
      });
      registerReflection(grpc);
      await port.listen(listenClientUrls);
      const urls = [...listenHttpUrls, ...listenClientUrls];
      this.#logger.info({ urls }, 'ready to serve client requests');
      await this.#ended;
    } finally {
      await Promise.all([port.close({ graceMs: STOP_GRACE_MS }), face.close()]);
      await this.#running?.close();
      await kv.close();
      this.#logger.info({}, 'stopped');
    }
  }

  #clientPort(
    pages: Pages,
    tls: TlsEndpoint | null,
  ): { readonly grpc: GrpcServer; readonly port: ClientPort } {
    const grpc = new GrpcServer({
      concurrentStreamsMax: this.#options.maxConcurrentStreams,
      errorStatus: toRpcError,
      onBug: (error) => this.#logger.error({ err: error }, 'a call failed: a bug'),
    });
    const port = new ClientPort({
      grpc,
      http: pagesHandler(pages),
      tls,
      certificatesName: this.#options.tls?.clientCertAuth ?? false,
      logger: this.#logger,
    });
    return { grpc, port };
  }

  get #isLive(): boolean {
    return this.#running?.service.status().isLive === true;
  }

  #pages(kv: EtcdKv): Pages {
    return operationsPages({
      readiness: () => {
        if (this.#running === null) return { live: true, ready: false, reasons: ['starting'] };
        const ready = this.#isLive;
        return { live: true, ready, reasons: ready ? [] : ['the cluster cannot be watched'] };
      },
      alarms: () => [],
      read: async ({ serializable, signal }) => {
        const control = new AbortController();
        if (signal.aborted) control.abort();
        signal.addEventListener('abort', () => control.abort(), { once: true });
        await kv.range(
          {
            key: HEAD_KEY,
            keysOnly: true,
            consistency: { type: serializable ? 'serializable' : 'linearizable' },
          },
          { principal: { type: 'service' }, signal: control.signal },
        );
      },
      version: { server: ETCD_VERSION, cluster: ETCD_VERSION, storage: ETCD_VERSION },
      metrics: {
        contentType: 'text/plain; version=0.0.4; charset=utf-8',
        render: async () => (await this.#metrics.render()) + ((await this.#running?.metrics()) ?? ''),
      },
    });
  }

  /** @throws StoreError `bad-options` for a file that cannot be read, or an endpoint that is none */
  #connect(): EtcdKv {
    const { endpoints, login, txnOpsMax, requestBytesMax, clusterTls } = this.#options;
    const tls = clusterTls === null ? {} : { tls: clientTls(clusterTls) };
    try {
      return new EtcdKv({
        endpoints,
        ...tls,
        ...(login !== null && { login }),
        limits: { txnOpsMax, requestBytesMax },
      });
    } catch (cause) {
      throw new StoreError('bad-options', `--endpoints: ${String(cause)}`, { cause });
    }
  }

  #warnOfPlainText(): void {
    const { listenHttpUrls, listenClientUrls } = this.#options;
    const urls = [...listenHttpUrls, ...listenClientUrls].filter(
      (url) => url.startsWith('http:') && !isLoopback(url),
    );
    if (urls.length === 0) return;
    this.#logger.warn({ urls }, 'plain text leaves this machine: anybody on the way can read and change it');
  }
}

function clientTls({
  caFile,
  certFile,
  keyFile,
  skipVerify,
}: NonNullable<GatewayOptions['clusterTls']>): ClientTls {
  return {
    ...(caFile !== null && { ca: pem('--cacert', caFile) }),
    ...(certFile !== null && { cert: pem('--cert', certFile) }),
    ...(keyFile !== null && { key: pem('--key', keyFile) }),
    insecureSkipVerify: skipVerify,
  };
}

function pem(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new StoreError('bad-options', `${flag}: cannot read ${path}`, { cause });
  }
}
