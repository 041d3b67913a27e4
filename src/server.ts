import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { CONFIGURATION_SERVICE } from './api/config/metadata.ts';
import { toRpcError } from './api/errors.ts';
import { Gateway } from './api/etcd/gateway.ts';
import { DEFAULT_ETCD_LIMITS, GRPC_OVERHEAD_BYTES } from './api/etcd/limits.ts';
import { registerEtcd } from './api/etcd/register.ts';
import { Metrics } from './api/http/metrics.ts';
import type { NetworkFigures } from './api/http/network-metrics.ts';
import { operationsPages, type Pages, pagesHandler } from './api/http/operations.ts';
import { LocalKv } from './kv/local-kv.ts';
import { StoreError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { UnreadBudget } from './lib/unread-budget.ts';
import { ETCD_VERSION, VERSION } from './lib/version.ts';
import { jwtMethod } from './member/auth/jwt-tokens.ts';
import type { Member } from './member/member.ts';
import type { AuthOptions, MemberOptions, MemberPorts } from './member/member-options.ts';
import { openMember } from './member/open-member.ts';
import { FREE_BYTES_MIN } from './member/space-guard.ts';
import { BALLAST_BYTES_DEFAULT } from './member/storage/data-dir.ts';
import { NodeDisk } from './member/storage/disk.ts';
import { ClassicLevelOpener } from './member/storage/level.ts';
import { systemClock, systemRandom } from './member/system.ts';
import { TcpTransport } from './member/transport/transport.ts';
import type { ServerOptions } from './options.ts';
import { ClientPort } from './rpc/client-port.ts';
import { GrpcServer } from './rpc/grpc-server.ts';
import { registerHealth } from './rpc/health.ts';
import { MethodTable } from './rpc/method-table.ts';
import { registerReflection } from './rpc/reflection.ts';
import { openTls } from './server-tls.ts';
import { readKeyring } from './service/secrets/keyring.ts';
import { ServiceHost } from './service-host.ts';
import type { TlsEndpoint } from './tls/endpoint.ts';

/** Live values kept in memory; older and colder ones are read from disk. */
const CACHE_BYTES_MAX = 256 * 1024 * 1024;
/** At a stop, requests in flight may take this long. */
const STOP_GRACE_MS = 2_000;

/**
 * Runs one member until SIGTERM or SIGINT, or until it must stop: a storage error, a broken invariant, its removal.
 *
 * @returns the exit code: 0 after a graceful stop, 1 otherwise
 */
export async function runServer(options: ServerOptions): Promise<number> {
  const logger = pino({ level: options.logLevel, base: { member: options.name } });
  const server = new Server(options, logger);
  process.on('uncaughtException', (error) => server.fail(error));
  process.on('unhandledRejection', (error) => server.fail(error));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => server.stop(signal));
  return server.run();
}

interface Serving {
  readonly member: Member;
  readonly service: ServiceHost;
  readonly pages: Pages;
}

class Server {
  readonly #options: ServerOptions;
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  #member: Member | null = null;
  #metrics: Metrics | null = null;
  #deflated: NetworkFigures['deflated'] = { before: 0, after: 0 };
  #clientTls: TlsEndpoint | null = null;
  #peerTls: TlsEndpoint | null = null;
  #service: ServiceHost | null = null;
  #port: ClientPort | null = null;
  readonly #unread = new UnreadBudget({
    onEnd: (bytes) => this.#logger.warn({ bytes }, 'client disconnected: it does not read its answers'),
  });
  #grpc: GrpcServer | null = null;
  #end: (code: number) => void = () => {};
  readonly #ended = new Promise<number>((resolve) => {
    this.#end = resolve;
  });

  constructor(options: ServerOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
  }

  async run(): Promise<number> {
    const pages = operationsPages({
      readiness: () => this.#member?.readiness() ?? { live: true, ready: false, reasons: ['starting'] },
      alarms: () => this.#member?.alarms() ?? [],
      read: async (options) => this.#member?.check(options),
      version: { server: ETCD_VERSION, cluster: ETCD_VERSION, storage: ETCD_VERSION },
      metrics: {
        contentType: 'text/plain; version=0.0.4; charset=utf-8',
        render: async () => this.#metrics?.render() ?? '',
      },
    });
    this.#logger.info({ version: VERSION, options: this.#options }, 'starting');
    try {
      const { client, peer } = openTls(this.#options, this.#logger);
      this.#clientTls = client;
      this.#peerTls = peer;
      // Read once more where it is needed; here, so that a wrong one is found before anything is begun.
      const { secretKeyFile } = this.#options.service;
      if (secretKeyFile !== null) readKeyring(secretKeyFile);
      this.#service = await ServiceHost.start({ options: this.#options, pages, logger: this.#logger });
      const member = await openMember(memberOptions(this.#options), this.#ports(), this.#abort.signal);
      this.#member = member;
      return await this.#serve({ member, service: this.#service, pages });
    } catch (error) {
      if (this.#abort.signal.aborted) return 0;
      // Whatever the failed start has left open must not keep the process.
      return this.fail(error);
    }
  }

  /** A second signal does not wait for a graceful stop. */
  stop(signal: NodeJS.Signals): void {
    if (this.#abort.signal.aborted) process.exit(1);
    this.#logger.info({ signal }, 'stopping');
    this.#abort.abort(new StoreError('stopped'));
    this.#end(0);
  }

  /** Nothing may be acknowledged after this: the process ends without another write. */
  fail(error: unknown): never {
    this.#report(error);
    process.exit(1);
  }

  async #serve({ member, service, pages }: Serving): Promise<number> {
    const { maxRequestBytes, maxTxnOps, electionTimeoutMs, listenClientUrls } = this.#options;
    const kv = new LocalKv(member, { txnOpsMax: maxTxnOps, requestBytesMax: maxRequestBytes });
    member.accounts.follow((enabled) => service.auth.set(enabled));
    service.connect(kv);
    const { maxConcurrentStreams } = this.#options;
    const unread = this.#unread;
    const grpc = new GrpcServer({
      unread,
      receiveBytesMax: maxRequestBytes + GRPC_OVERHEAD_BYTES,
      concurrentStreamsMax: maxConcurrentStreams,
      errorStatus: toRpcError,
      onBug: (error) => this.fail(error),
    });
    const methods = new MethodTable(grpc);
    registerEtcd(methods, member, {
      ...DEFAULT_ETCD_LIMITS,
      requestBytesMax: maxRequestBytes,
      txnOpsMax: maxTxnOps,
      leaderLossGraceMs: 3 * electionTimeoutMs,
    });
    service.methods.register(grpc, CONFIGURATION_SERVICE);
    registerHealth(grpc, {
      serving: () => member.hasLeader(),
      onChange: (listener) => member.onLeaderChange(listener),
    });
    registerReflection(grpc);
    const gateway = new Gateway({
      methods,
      requestBytesMax: maxRequestBytes + GRPC_OVERHEAD_BYTES,
      corsOrigins: this.#options.corsOrigins,
      unread,
      onBug: (error) => this.fail(error),
    });
    const port = new ClientPort({
      grpc,
      http: gateway.handler(pagesHandler(pages)),
      tls: this.#clientTls,
      // As in etcd: an authority alone says who may connect, not who they are.
      certificatesName: this.#options.clientTls?.clientCertAuth ?? false,
      logger: this.#logger,
    });
    this.#grpc = grpc;
    this.#port = port;
    try {
      await port.listen(listenClientUrls);
      await member.ready(this.#abort.signal);
      this.#logger.info({ urls: listenClientUrls }, 'ready to serve client requests');
      return await this.#ended;
    } finally {
      // First the leadership, so that the others serve on; then the clients in their own time; then the member.
      await member.handOver();
      gateway.drain();
      await Promise.all([port.close({ graceMs: STOP_GRACE_MS }), service.close()]);
      await kv.close();
      await member.stop();
      this.#logger.info({}, 'stopped');
    }
  }

  #ports(): MemberPorts {
    const { dataDir, listenPeerUrls } = this.#options;
    const logger = this.#logger;
    return {
      disk: new NodeDisk(dataDir),
      levels: new ClassicLevelOpener(dataDir),
      transport: new TcpTransport({
        listenUrls: listenPeerUrls,
        security: { tls: this.#peerTls, allowInsecure: this.#options.allowInsecureTransport },
        clock: systemClock,
        random: systemRandom,
        logger,
        deflated: ({ before, after }) => {
          const sum = this.#deflated;
          this.#deflated = { before: sum.before + before, after: sum.after + after };
        },
      }),
      clock: systemClock,
      random: systemRandom,
      logger,
      observe: (memberId) => {
        const identity = { memberId, version: VERSION, etcdVersion: ETCD_VERSION };
        this.#metrics = new Metrics(
          identity,
          () => {
            if (this.#member === null) throw new StoreError('no-leader', 'the member is starting');
            return this.#member.figures();
          },
          () => this.#networkFigures(),
          this.#service ?? undefined,
        );
        return this.#metrics.observer;
      },
      fatal: (error) => this.fail(error),
    };
  }

  #networkFigures(): NetworkFigures {
    return {
      connections: this.#port?.figures ?? { open: 0, refused: 0, handshakesFailed: 0 },
      calls: this.#grpc?.callFigures ?? { open: 0, refused: 0, heldBytes: 0 },
      unread: this.#unread.figures,
      deflated: this.#deflated,
      tls: new Map(
        (['client', 'peer'] as const).flatMap((side) => {
          const endpoint = side === 'client' ? this.#clientTls : this.#peerTls;
          return endpoint === null ? [] : [[side, endpoint.figures] as const];
        }),
      ),
    };
  }

  #report(error: unknown): void {
    if (error instanceof StoreError) this.#logger.error({ code: error.code }, error.message);
    else this.#logger.error({ err: error }, 'the member stops: a bug');
  }
}

function memberOptions(options: ServerOptions): MemberOptions {
  return {
    name: options.name,
    peerUrls: options.initialAdvertisePeerUrls,
    clientUrls: options.advertiseClientUrls,
    ...(options.region !== null && { region: options.region }),
    leaderRegions: options.leaderRegions,
    initialCluster: options.initialCluster,
    initialClusterToken: options.initialClusterToken,
    initialClusterState: options.initialClusterState,
    heartbeatMs: options.heartbeatIntervalMs,
    electionMs: options.electionTimeoutMs,
    freshnessIntervalMs: options.freshnessIntervalMs,
    learnerLinearizableReads: options.learnerLinearizableReads,
    snapshotCount: options.snapshotCount,
    catchUpEntries: options.snapshotCatchUpEntries,
    quotaBytes: options.quotaBackendBytes,
    cacheBytesMax: CACHE_BYTES_MAX,
    freeBytesMin: FREE_BYTES_MIN,
    ballastBytes: BALLAST_BYTES_DEFAULT,
    forceNewCluster: options.forceNewCluster,
    autoCompaction: options.autoCompaction,
    auth: authOptions(options),
  };
}

/** @throws StoreError `bad-options` for a key file that cannot be read, or a way to sign that there is not */
function authOptions({ authToken, authTokenTtlMs, passwordCost }: ServerOptions): AuthOptions {
  const common = { tokenTtlMs: authTokenTtlMs, passwordCost };
  if (authToken.type === 'simple') return { ...common, jwt: null };
  const { method, publicKeyFile, privateKeyFile, ttlMs } = authToken;
  const jwt = {
    method: jwtMethod(method),
    publicKey: publicKeyFile === null ? null : readKeyFile(publicKeyFile),
    privateKey: privateKeyFile === null ? null : readKeyFile(privateKeyFile),
    ttlMs,
    nowMs: () => Date.now(),
  };
  return { ...common, jwt };
}

function readKeyFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new StoreError('bad-options', `--auth-token: cannot read ${path}`, { cause });
  }
}
