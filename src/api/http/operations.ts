import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { requestTarget } from '../../lib/request-target.ts';

/** What the member says about itself; each function is asked anew for every request and must be quick. */
export interface OperationsSources {
  /**
   * `live`: the process makes progress and should not be restarted. `ready`: it can serve requests now. `reasons`
   * say in a few words what keeps it from either; empty when nothing does.
   */
  readonly readiness: () => {
    readonly live: boolean;
    readonly ready: boolean;
    readonly reasons: readonly string[];
  };
  /** The raised alarms. */
  readonly alarms: () => readonly { readonly alarm: 'no-space' | 'corrupt' }[];
  /** Rejects when a read would fail: one that asks the cluster, or a `serializable` one of this member alone. */
  readonly read: (options: {
    readonly serializable: boolean;
    readonly signal: CancelSignal;
  }) => Promise<void>;
  /** Releases of etcd, as `/version` answers them. */
  readonly version: { readonly server: string; readonly cluster: string; readonly storage: string };
  readonly metrics: {
    readonly contentType: string;
    /** The whole page in the Prometheus text format. */
    readonly render: () => Promise<string>;
  };
}

/** The paths of the operations face. */
export const OPERATIONS_PATHS: ReadonlySet<string> = new Set([
  '/health',
  '/livez',
  '/readyz',
  '/version',
  '/metrics',
]);

export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Makes the page of a path, with its query; null = there is none of that path. */
export type Pages = (target: string) => Page | null | Promise<Page | null>;

/** Whether the path, with or without a query, is one of the operations face. */
export function isOperation(target: string | undefined): boolean {
  return OPERATIONS_PATHS.has(requestTarget(target).path);
}

/**
 * The operations face: `/health`, `/livez`, `/readyz`, `/version` and `/metrics`, alike on the client port and on
 * `--listen-http-urls`. Probes answer 200 or 503, other paths 404, other methods than GET and HEAD 405. Nothing here
 * needs a login, and nothing reveals keys or values.
 */
export function operationsHandler(sources: OperationsSources): RequestListener {
  return pagesHandler(operationsPages(sources));
}

/** The pages of the operations face, for whoever serves them. */
export function operationsPages(sources: OperationsSources): Pages {
  const pages = new Map<string, (query: URLSearchParams) => Page | Promise<Page>>([
    ['/health', (query) => health(sources, query)],
    ['/livez', () => probe(sources, 'live')],
    ['/readyz', () => probe(sources, 'ready')],
    ['/version', () => version(sources)],
    ['/metrics', () => metrics(sources)],
  ]);
  return async (target) => {
    const { path, query } = requestTarget(target);
    try {
      return (await pages.get(path)?.(new URLSearchParams(query))) ?? null;
    } catch {
      return problem(500, 'internal error');
    }
  };
}

/** Serves such pages, made here or elsewhere. */
export function pagesHandler(pages: Pages): RequestListener {
  return (request, response) => {
    if (!isOperation(request.url)) send({ request, response }, problem(404, 'not found'));
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send({ request, response }, problem(405, 'method not allowed'));
    } else void answer({ request, response }, pages);
  };
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function answer(exchange: Exchange, pages: Pages): Promise<void> {
  try {
    send(exchange, (await pages(exchange.request.url ?? '')) ?? problem(404, 'not found'));
  } catch {
    send(exchange, problem(500, 'internal error'));
  }
}

function send({ request, response }: Exchange, page: Page): void {
  response.writeHead(page.status, {
    'content-type': page.contentType,
    'content-length': Buffer.byteLength(page.body),
    'cache-control': 'no-store',
  });
  response.end(request.method === 'HEAD' ? undefined : page.body);
}

/**
 * etcd's form, words and parameters: `health` is a text; `?exclude=NOSPACE` looks past an alarm; `?serializable=true`
 * asks about this member alone.
 */
async function health(sources: OperationsSources, query: URLSearchParams): Promise<Page> {
  const excluded = query.getAll('exclude');
  const serializable = query.get('serializable') === 'true';
  const alarm = sources.alarms().find((raised) => !excluded.includes(ALARM_NAMES[raised.alarm]));
  if (alarm !== undefined) return unhealthy(`ALARM ${ALARM_NAMES[alarm.alarm]}`);
  const { live, reasons } = sources.readiness();
  if (!live) return unhealthy(reasons.join('; '));
  if (!serializable && reasons.includes(NO_LEADER)) return unhealthy('RAFT NO LEADER');
  if (reasons.includes(STARTING)) return unhealthy(STARTING);
  try {
    await sources.read({ serializable, signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
  } catch (error) {
    return unhealthy(`RANGE ERROR:${error instanceof Error ? error.message : 'unknown'}`);
  }
  return json(200, { health: 'true', reason: '' });
}

const ALARM_NAMES = { 'no-space': 'NOSPACE', corrupt: 'CORRUPT' } as const;
const NO_LEADER = 'no leader';
const STARTING = 'starting';
/** How long a health check waits for its read. */
const HEALTH_TIMEOUT_MS = 5_000;

function unhealthy(reason: string): Page {
  return json(503, { health: 'false', reason });
}

function probe(sources: OperationsSources, which: 'live' | 'ready'): Page {
  const readiness = sources.readiness();
  if (readiness[which]) return text(200, 'ok\n');
  return text(503, readiness.reasons.map((reason) => `[-]${reason}\n`).join('') || `[-]not ${which}\n`);
}

function version({ version: { server, cluster, storage } }: OperationsSources): Page {
  return json(200, { etcdserver: server, etcdcluster: cluster, storage });
}

async function metrics(sources: OperationsSources): Promise<Page> {
  return { status: 200, contentType: sources.metrics.contentType, body: await sources.metrics.render() };
}

function json(status: number, body: unknown): Page {
  return { status, contentType: 'application/json', body: JSON.stringify(body) };
}

function text(status: number, body: string): Page {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

function problem(status: number, message: string): Page {
  return json(status, { error: message, message, code: status });
}
