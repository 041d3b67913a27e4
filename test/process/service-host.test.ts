import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { CONFIGURATION_SERVICE } from '../../src/api/config/metadata.ts';
import type { Page } from '../../src/api/http/operations.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { StoreError } from '../../src/lib/errors.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { parseServerOptions } from '../../src/options.ts';
import { type HostBounds, ServiceHost } from '../../src/service-host.ts';
import { Harness } from '../rpc/harness.ts';
import { configStream } from '../support/config-call.ts';
import { eventually } from '../support/eventually.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const ENTRY = pathToFileURL(join(repositoryRoot(), 'dist/src/service-worker.js'));
const PAGE: Page = { status: 200, contentType: 'text/plain', body: 'as the member says\n' };

const hosts: ServiceHost[] = [];

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

/** A thread that does what is written, instead of the service's. */
function doing(program: string): URL {
  const start =
    "import { parentPort } from 'node:worker_threads'; const tell = (m) => parentPort.postMessage(m);";
  return new URL(`data:text/javascript,${encodeURIComponent(`${start} ${program}`)}`);
}

/** A program that ends when it is told to, and does nothing else. */
const WAITING = "parentPort.on('message', ({ type }) => { if (type === 'drain') parentPort.close(); });";

async function start(
  entry: URL,
  more: {
    readonly flags?: readonly string[];
    readonly bounds?: Partial<HostBounds>;
    readonly logger?: Logger;
  } = {},
): Promise<ServiceHost> {
  const options = parseServerOptions(more.flags ?? [], { env: {}, readFile: () => '' });
  const host = await ServiceHost.start({
    options,
    pages: () => PAGE,
    logger: more.logger ?? silentLogger,
    entry,
    bounds: { restartMsMin: 1, ...more.bounds },
  });
  hosts.push(host);
  return host;
}

/** What was logged of restarts. */
function restartLog(): { readonly logger: Logger; readonly waits: number[] } {
  const waits: number[] = [];
  const note = (fields: object): void => {
    if ('retryMs' in fields) waits.push(fields.retryMs as number);
  };
  return { waits, logger: { ...silentLogger, error: note } };
}

test('a thread that keeps ending is started again and again, each time later, and no error gets out', async () => {
  const { logger, waits } = restartLog();
  const entry = doing("tell({ type: 'listening' }); setImmediate(() => { throw new Error('broken'); });");
  const host = await start(entry, { bounds: { restartMsMin: 1, restartMsMax: 8 }, logger });
  await eventually('six restarts', () => waits.length >= 6);
  expect(waits.slice(0, 6)).toEqual([1, 2, 4, 8, 8, 8]);
  expect(host.figures.isServing).toBe(false);
  expect(host.figures.restarts).toBeGreaterThanOrEqual(5);
});

test('a member starts without a thread that ends before it listens, or never does', async () => {
  const ending = await start(doing("throw new Error('broken')"));
  expect(ending.figures.isServing).toBe(false);
  const silent = await start(doing(WAITING), {
    bounds: { startMsMax: 1 },
  });
  expect(silent.figures.isServing).toBe(false);
});

test('one that ran steadily is started again at once', async () => {
  const { logger, waits } = restartLog();
  const entry = doing("tell({ type: 'listening' }); setImmediate(() => process.exit(1));");
  await start(entry, { bounds: { restartMsMin: 1, restartMsMax: 8, steadyMs: 0 }, logger });
  await eventually('four restarts', () => waits.length >= 4);
  expect(new Set(waits)).toEqual(new Set([1]));
});

test('addresses that cannot be listened on are refused at the first start, not later', async () => {
  await expect(
    start(doing("tell({ type: 'refused', reason: 'the address is taken' }); parentPort.close();")),
  ).rejects.toEqual(new StoreError('bad-options', 'the address is taken'));
});

test('a thread that uses too much memory ends alone', async () => {
  const { logger, waits } = restartLog();
  const entry = doing(
    "tell({ type: 'listening' }); setImmediate(() => { const all = []; for (;;) all.push(new Array(1e6).fill({}).map(() => ({}))); });",
  );
  const host = await start(entry, { bounds: { heapMbMax: 32 }, logger });
  await eventually('its end', () => waits.length >= 1);
  await host.close();
});

test('what is loaded before the program stays out of the thread', async () => {
  const before = process.env['NODE_OPTIONS'];
  process.env['NODE_OPTIONS'] = '--import=data:text/javascript,globalThis.isLoaded=true';
  try {
    const host = await start(
      doing(
        `tell(globalThis.isLoaded ? { type: 'refused', reason: 'loaded' } : { type: 'listening' }); ${WAITING}`,
      ),
    );
    expect(host.worker).not.toBeNull();
  } finally {
    if (before === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = before;
  }
});

test('one that does not let go is cut off', async () => {
  const entry = doing("tell({ type: 'listening' }); parentPort.on('message', () => undefined);");
  const host = await start(entry, { bounds: { drainMsMax: 10 } });
  await host.close();
  expect(host.worker).toBeNull();
});

test('a thread that hangs is ended, its calls fail and its connections close, and it is started again', async () => {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const entry = doing(
    `parentPort.on('message', ({ type }) => { if (type === 'hang') for (;;); }); await import(${JSON.stringify(ENTRY.href)});`,
  );
  // Long enough for a start on a machine that does other things, too.
  const host = await start(entry, {
    flags: [`--listen-http-urls=${url}`],
    bounds: { pingMs: 100, pingsMissedMax: 50 },
  });
  const memory = new MemoryKv();
  host.connect(memory);
  await eventually('the service', () => host.figures.isServing);
  await using harness = new Harness();
  host.methods.register(harness.server, CONFIGURATION_SERVICE);
  await harness.start();
  const { status } = await fetch(`${url}/config/set`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ application: 'pay', key: 'a', value: '1', environment: 'dev' }),
  });
  expect(status).toBeLessThan(300);
  const stream = configStream(`http://${harness.address}`, { application: 'pay', environment: 'dev' });
  await stream.begun;

  const worker = host.worker!;
  worker.postMessage({ type: 'hang' });
  const request = fetch(`${url}/v1/config/services/pay`);
  const [ended] = await Promise.all([stream.ended, expect(request).rejects.toThrow('fetch failed')]);
  expect(ended).toBe(14);
  await eventually('the service once more', () => host.worker !== worker && host.figures.isServing);
  expect(host.figures).toMatchObject({ hangs: 1, restarts: 1 });
  expect((await fetch(`${url}/health`)).status).toBe(200);
  await host.close();
  await memory.close();
});

test('one that hangs at its start is ended, too', async () => {
  const host = await start(doing('for (;;);'), { bounds: { startMsMax: 1, pingMs: 1, pingsMissedMax: 2 } });
  await eventually('two ends', () => host.figures.hangs >= 2);
});

test('the service serves HTTP and the pages of the member, is asked for metrics, and comes back when it is ended', async () => {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const host = await start(ENTRY, { flags: [`--listen-http-urls=${url}`] });
  // Before there is a store: the member's pages, and nothing else.
  expect(await (await fetch(`${url}/health`)).text()).toBe(PAGE.body);
  expect((await fetch(`${url}/v1/config/services/pay`)).status).toBe(503);
  expect(await host.metrics()).toBe('');

  const memory = new MemoryKv();
  host.connect(memory);
  const isServing = (): boolean => host.figures.isServing;
  await eventually('the service', isServing);
  expect((await fetch(`${url}/v1/config/services/pay`)).status).toBe(404);
  expect(await host.metrics()).toContain('conclave_service_projection_live 1');

  const worker = host.worker!;
  const ended = once(worker, 'exit');
  await worker.terminate();
  await ended;
  await eventually('the service once more', () => host.worker !== worker && isServing());
  expect((await fetch(`${url}/v1/config/services/pay`)).status).toBe(404);
  expect(host.figures.restarts).toBe(1);
  await host.close();
  await expect(fetch(`${url}/health`)).rejects.toThrow('fetch failed');
  await memory.close();
});
