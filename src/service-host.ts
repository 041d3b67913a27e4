import { totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { METADATA } from './api/config/metadata.ts';
import type { Pages } from './api/http/operations.ts';
import type { WorkerFigures } from './api/http/worker-metrics.ts';
import { AuthFlag } from './kv/auth-flag.ts';
import type { Kv } from './kv/kv.ts';
import { serveKv } from './kv/serve-kv.ts';
import { StoreError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import type { ServerOptions } from './options.ts';
import { RemoteMethods } from './rpc/remote-methods.ts';
import type { FromServiceThread, ServiceThreadData, ToServiceThread } from './service-messages.ts';
import { Watchdog } from './service-watchdog.ts';

/** How a thread is waited for, and what it may take. */
export interface HostBounds {
  /** The member does not wait for longer for the HTTP addresses. */
  readonly startMsMax: number;
  /** Between two starts of a thread that ends, doubled each time. */
  readonly restartMsMin: number;
  readonly restartMsMax: number;
  /** A thread that ran for so long is started again as if it were the first. */
  readonly steadyMs: number;
  /** At a stop, requests in flight may take this long; then the thread is ended. */
  readonly drainMsMax: number;
  /** A page of metrics does not wait for longer for the thread's part. */
  readonly metricsMsMax: number;
  /**
   * JavaScript's memory of the thread, in MiB: what wants more ends it, and nothing else. Values lie outside of it. By default
   * never more than half of what there is: beyond that the system would end the member.
   */
  readonly heapMbMax: number;
  /** Between two pings of the thread; one that leaves so many in a row unanswered hangs, and is ended. */
  readonly pingMs: number;
  readonly pingsMissedMax: number;
}

/** Of this machine, or of the container if it has less. */
function memoryMb(): number {
  // Unknown, or without a bound, it is 0 or more than there is.
  const constrained = process.constrainedMemory() || Infinity;
  return Math.min(constrained, totalmem()) / 2 ** 20;
}

export const DEFAULT_HOST_BOUNDS: HostBounds = {
  startMsMax: 10_000,
  restartMsMin: 100,
  restartMsMax: 10_000,
  steadyMs: 60_000,
  drainMsMax: 5_000,
  metricsMsMax: 1_000,
  heapMbMax: Math.min(4_096, Math.floor(memoryMb() / 2)),
  pingMs: 1_000,
  // What the thread does in one piece takes a second or two at the most, and a machine may be busy with other things.
  pingsMissedMax: 30,
};

const NOTHING_DONE = { idle: 0, active: 0 };

const ENTRY = new URL('./service-worker.js', import.meta.url);

export interface ServiceHostOptions {
  readonly options: ServerOptions;
  /** Of the operations face. */
  readonly pages: Pages;
  readonly logger: Logger;
  /** The built entry of the thread. */
  readonly entry?: URL;
  /** Over the defaults. */
  readonly bounds?: Partial<HostBounds>;
}

/**
 * Runs the configuration service in a thread of its own, so that nothing it does delays the member. When the thread ends,
 * or hangs and is ended, it is started again, after a while that grows; whatever happens there, the member goes on.
 */
export class ServiceHost {
  /** The service's gRPC methods: calls of them go to the thread. */
  readonly methods = new RemoteMethods({
    metadata: METADATA,
    absence: 'the configuration service is starting',
  });
  /** To be set by whoever knows whether the store wants to know who is asking. */
  readonly auth = new AuthFlag();
  readonly #options: ServiceHostOptions;
  readonly #bounds: HostBounds;
  readonly #stop = new AbortController();
  readonly #metrics = new Map<number, (text: string) => void>();
  #kv: Kv | null = null;
  /** Where the running thread's calls of the store will come from, until there is one. */
  #kvPort: MessagePort | null = null;
  #worker: Worker | null = null;
  #serving = false;
  /** The member does not wait any more. */
  #isStarted = false;
  #restarts = 0;
  /** Of them, those of threads that hung. */
  #hangs = 0;
  #nextId = 1;
  /** What the thread had done when it was last looked at, in ms. */
  #looked = NOTHING_DONE;
  #done: Promise<void> = Promise.resolve();

  private constructor(options: ServiceHostOptions) {
    this.#options = options;
    this.#bounds = { ...DEFAULT_HOST_BOUNDS, ...options.bounds };
  }

  /**
   * Starts the thread, and waits until the HTTP addresses are listened on; not for one that ends or says nothing, since a
   * member starts without it.
   *
   * @throws StoreError `bad-options` when they cannot be
   */
  static async start(options: ServiceHostOptions): Promise<ServiceHost> {
    const host = new ServiceHost(options);
    await new Promise<void>((resolve, reject) => {
      const started = (): void => {
        host.#isStarted = true;
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(started, host.#bounds.startMsMax);
      host.#done = host.#run({ listening: started, refused: reject });
    });
    return host;
  }

  /** The store is there: from now on the service can open. */
  connect(kv: Kv): void {
    this.#kv = kv;
    const port = this.#kvPort;
    this.#kvPort = null;
    if (port !== null) this.#serveKv(port, kv);
  }

  /** The thread that runs now, if one does. */
  get worker(): Worker | null {
    return this.#worker;
  }

  get figures(): WorkerFigures {
    const { idle, active } = this.#worker?.performance.eventLoopUtilization() ?? NOTHING_DONE;
    const last = this.#looked;
    this.#looked = { idle, active };
    const passed = idle - last.idle + active - last.active;
    const utilization = passed > 0 ? (active - last.active) / passed : 0;
    return { isServing: this.#serving, restarts: this.#restarts, hangs: this.#hangs, utilization };
  }

  /** The thread's own metrics, in the text format; empty while it does not answer. */
  async metrics(): Promise<string> {
    const worker = this.#worker;
    if (worker === null) return '';
    const id = this.#nextId++;
    try {
      return await new Promise<string>((resolve) => {
        this.#metrics.set(id, resolve);
        setTimeout(resolve, this.#bounds.metricsMsMax, '').unref();
        post(worker, { type: 'metrics', id });
      });
    } finally {
      this.#metrics.delete(id);
    }
  }

  /** Lets the thread finish what is under way, for a bounded time, and ends it. */
  async close(): Promise<void> {
    this.#stop.abort();
    const worker = this.#worker;
    if (worker !== null) {
      post(worker, { type: 'drain' });
      const timer = setTimeout(() => {
        this.#options.logger.warn({}, 'the configuration service does not end: it is cut off');
        void worker.terminate();
      }, this.#bounds.drainMsMax);
      await this.#done;
      clearTimeout(timer);
    }
    await this.#done;
    this.methods.detach();
    this.#kvPort?.close();
  }

  async #run(first: {
    readonly listening: () => void;
    readonly refused: (error: unknown) => void;
  }): Promise<void> {
    const { logger } = this.#options;
    const { restartMsMin, restartMsMax, steadyMs } = this.#bounds;
    let retryMs = restartMsMin;
    while (!this.#stop.signal.aborted) {
      const startedMs = performance.now();
      const { reason, error } = await this.#runOnce(first.listening);
      if (this.#stop.signal.aborted) return;
      if (reason !== null && !this.#isStarted) {
        this.#stop.abort();
        first.refused(new StoreError('bad-options', reason));
        return;
      }
      first.listening();
      if (performance.now() - startedMs > steadyMs) retryMs = restartMsMin;
      this.#restarts += 1;
      logger.error({ err: error, reason, retryMs }, 'the configuration service ended; it is started again');
      await delay(retryMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      retryMs = Math.min(restartMsMax, 2 * retryMs);
    }
  }

  /** Runs a thread until it ends. @returns why, as far as it is known */
  async #runOnce(
    listening: () => void,
  ): Promise<{ readonly reason: string | null; readonly error: unknown }> {
    const [kv, methods] = [new MessageChannel(), new MessageChannel()];
    const data: ServiceThreadData = {
      options: this.#options.options,
      kv: kv.port2,
      auth: this.auth.memory,
      methods: methods.port2,
    };
    const worker = new Worker(this.#options.entry ?? ENTRY, {
      name: 'service',
      workerData: data,
      transferList: [kv.port2, methods.port2],
      // What is loaded into the process before its program is meant for the program's own thread.
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
      resourceLimits: { maxOldGenerationSizeMb: this.#bounds.heapMbMax },
    });
    this.#worker = worker;
    if (this.#kv === null) this.#kvPort = kv.port1;
    else this.#serveKv(kv.port1, this.#kv);
    let reason: string | null = null;
    let failure: unknown;
    const watchdog = this.#watch(worker);
    worker.on('message', (message: FromServiceThread) => {
      watchdog.heard();
      if (message.type === 'listening') listening();
      else if (message.type === 'refused') reason = message.reason;
      else this.#take(worker, message, methods.port1);
    });
    worker.on('error', (error) => {
      failure = error;
    });
    await new Promise((resolve) => worker.once('exit', resolve));
    watchdog.close();
    this.#worker = null;
    this.#serving = false;
    this.#looked = NOTHING_DONE;
    this.#kvPort?.close();
    this.#kvPort = null;
    this.methods.detach();
    for (const port of [kv.port1, methods.port1]) port.close();
    for (const resolve of this.#metrics.values()) resolve('');
    return { reason, error: failure };
  }

  #take(
    worker: Worker,
    message: Exclude<FromServiceThread, { readonly type: 'listening' | 'refused' }>,
    methods: MessagePort,
  ): void {
    const { logger } = this.#options;
    switch (message.type) {
      case 'serving':
        this.#serving = true;
        this.methods.attach(methods);
        logger.info({ revision: message.revision }, 'the configuration service is served');
        return;
      case 'page':
        void this.#answer(worker, message);
        return;
      case 'metrics':
        this.#metrics.get(message.id)?.(message.text);
        return;
      case 'pong':
        return;
    }
  }

  /** Ends a thread that hangs; then it is started again like any other that ended. */
  #watch(worker: Worker): Watchdog {
    const { pingMs, pingsMissedMax } = this.#bounds;
    return new Watchdog({
      pingMs,
      missedMax: pingsMissedMax,
      ping: () => post(worker, { type: 'ping' }),
      hung: () => {
        this.#hangs += 1;
        this.#options.logger.error(
          { pingsMissedMax, pingMs },
          'the configuration service hangs: it is ended',
        );
        void worker.terminate();
      },
    });
  }

  async #answer(
    worker: Worker,
    { id, target }: { readonly id: number; readonly target: string },
  ): Promise<void> {
    post(worker, { type: 'page', id, page: await this.#options.pages(target) });
  }

  #serveKv(port: MessagePort, kv: Kv): void {
    serveKv(port, kv, (error) => {
      this.#options.logger.error({ err: error }, 'a call of the configuration service failed: a bug');
    });
  }
}

function post(worker: Worker, message: ToServiceThread): void {
  worker.postMessage(message);
}
