import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

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
  /** Releases of etcd, as `/version` answers them. */
  readonly version: { readonly server: string; readonly cluster: string };
  readonly metrics: {
    readonly contentType: string;
    /** The whole page in the Prometheus text format. */
    readonly render: () => Promise<string>;
  };
}

interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/**
 * The operations face: `/health`, `/livez`, `/readyz`, `/version` and `/metrics`, alike on the client port and on
 * `--listen-http-urls`. Probes answer 200 or 503, other paths 404, other methods than GET and HEAD 405. Nothing here
 * needs a login, and nothing reveals keys or values.
 */
export function operationsHandler(sources: OperationsSources): RequestListener {
  const pages = new Map<string, () => Page | Promise<Page>>([
    ['/health', () => health(sources)],
    ['/livez', () => probe(sources, 'live')],
    ['/readyz', () => probe(sources, 'ready')],
    ['/version', () => version(sources)],
    ['/metrics', () => metrics(sources)],
  ]);
  return (request, response) => {
    const page = pages.get(pathOf(request));
    if (page === undefined) send({ request, response }, problem(404, 'not found'));
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send({ request, response }, problem(405, 'method not allowed'));
    } else void answer({ request, response }, page);
  };
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function answer(exchange: Exchange, page: () => Page | Promise<Page>): Promise<void> {
  try {
    send(exchange, await page());
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

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0]!;
}

/** etcd's form: `health` is a text, and a reason stands beside it only when something is wrong. */
function health(sources: OperationsSources): Page {
  const { live, ready, reasons } = sources.readiness();
  if (live && ready) return json(200, { health: 'true' });
  return json(503, { health: 'false', reason: reasons.join('; ') });
}

function probe(sources: OperationsSources, which: 'live' | 'ready'): Page {
  const readiness = sources.readiness();
  if (readiness[which]) return text(200, 'ok\n');
  return text(503, readiness.reasons.map((reason) => `[-]${reason}\n`).join('') || `[-]not ${which}\n`);
}

function version({ version: { server, cluster } }: OperationsSources): Page {
  return json(200, { etcdserver: server, etcdcluster: cluster });
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
