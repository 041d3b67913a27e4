import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { pino } from 'pino';
import { HttpFace } from './api/http/http-face.ts';
import { type Page, pagesHandler } from './api/http/operations.ts';
import { AuthFlag } from './kv/auth-flag.ts';
import { StoreError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { clientEndpoint } from './server-tls.ts';
import type { FromServiceThread, ServiceThreadData, ToServiceThread } from './service-messages.ts';
import type { RunningService } from './service-run.ts';

/**
 * The entry of the thread that runs the configuration service beside a member: its projection, its HTTP addresses, and
 * its gRPC methods behind the client port. Whatever is not caught here ends the thread, which is then started again.
 */
class ServiceThread {
  readonly #data: ServiceThreadData;
  readonly #parent: MessagePort;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #pages = new Map<number, (page: Page | null) => void>();
  #nextId = 1;
  #face: HttpFace | null = null;
  #running: RunningService | null = null;

  constructor(data: ServiceThreadData, parent: MessagePort) {
    this.#data = data;
    this.#parent = parent;
    const { logLevel, name } = data.options;
    this.#logger = pino({ level: logLevel, base: { member: name, thread: 'service' } });
    parent.on('message', (message: ToServiceThread) => this.#take(message));
  }

  async run(): Promise<void> {
    const { options, kv: kvPort, auth, methods: methodsPort } = this.#data;
    try {
      this.#face = await HttpFace.open({
        urls: options.listenHttpUrls,
        operations: pagesHandler((target) => this.#page(target)),
        tls: options.listenHttpUrls.some((url) => url.startsWith('https:'))
          ? clientEndpoint(options, this.#logger)
          : null,
        logger: this.#logger,
      });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#send({ type: 'refused', reason: error.message.replace(/^bad-options: /, '') });
      this.#end();
      return;
    }
    this.#send({ type: 'listening' });
    // The rest takes a while to load: whoever asks how the member is must not wait for it.
    const { runThreadService } = await import('./service-run.ts');
    this.#running = await runThreadService({
      kvPort,
      auth: new AuthFlag(auth),
      methodsPort,
      limits: { txnOpsMax: options.maxTxnOps, requestBytesMax: options.maxRequestBytes },
      settings: options.service,
      face: this.#face,
      logger: this.#logger,
      signal: this.#stop.signal,
    });
    if (this.#running !== null)
      this.#send({ type: 'serving', revision: this.#running.service.status().revision });
  }

  #take(message: ToServiceThread): void {
    switch (message.type) {
      case 'page':
        this.#pages.get(message.id)?.(message.page);
        this.#pages.delete(message.id);
        return;
      case 'metrics':
        void this.#metrics(message.id);
        return;
      case 'ping':
        this.#send({ type: 'pong' });
        return;
      case 'drain':
        void this.#drain();
        return;
    }
  }

  async #metrics(id: number): Promise<void> {
    this.#send({ type: 'metrics', id, text: (await this.#running?.metrics()) ?? '' });
  }

  async #drain(): Promise<void> {
    this.#stop.abort();
    await this.#face?.close();
    await this.#running?.close();
    this.#end();
  }

  /** Without its ports nothing keeps the thread. */
  #end(): void {
    this.#parent.close();
    this.#data.kv.close();
    this.#data.methods.close();
  }

  #page(target: string): Promise<Page | null> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#pages.set(id, resolve);
      this.#send({ type: 'page', id, target });
    });
  }

  #send(message: FromServiceThread): void {
    this.#parent.postMessage(message);
  }
}

await new ServiceThread(workerData as ServiceThreadData, parentPort!).run();
