import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FlagClient } from '../../src/client/flag-client.ts';
import { closedLoop, HttpClient } from '../load/http-client.ts';
import { type Figure, latencyFigures, prefixed, type Question, type Trial, withUsage } from '../question.ts';
import { spread } from '../statistics.ts';
import { loopFigures, withClient } from './configuration-calls.ts';

const FLAGS = 1_000;
const ENVIRONMENTS = [
  'development',
  'test',
  'staging',
  'production',
  'qa',
  'load',
  'demo',
  'eu',
  'us',
  'asia',
];
const APPLICATION = 'shop';
const IMPORTS_AT_ONCE = 2;
const CHANGES = 100;
const SINGLE_READS = 20_000;
const BULK_READS = 2_000;
const BULK_FLAGS = 50;
const CALLERS = 20;
const CONTEXT = { targetingKey: 'ada', plan: 'gold', email: 'ada@shop.example' };

/** How fast flags are evaluated remotely, and what many of them cost. */
export const FLAG_QUESTIONS: readonly Question[] = [
  {
    name: 'flags over OFREP',
    service: true,
    load: `${SINGLE_READS} evaluations of one flag and ${BULK_READS} of all ${BULK_FLAGS} flags of an application, by ${CALLERS} callers of this process on a connection each, every answer compared with the first; then the same answers from a bare HTTP server`,
    measure: ofrep,
  },
  {
    name: `${FLAGS} flags in ${ENVIRONMENTS.length} environments`,
    service: true,
    load: `${FLAGS} flags each, imported ${IMPORTS_AT_ONCE} environments at a time; then a client of each environment that evaluates all of them, and ${CHANGES} changes in turn, each until the client of its environment has heard of it`,
    measure: many,
  },
];

async function ofrep({ cluster, count }: Trial): Promise<readonly Figure[]> {
  const url = cluster.services[0]!.httpUrl;
  await withClient(url, (client) => importFlags(client, { environment: 'production', flags: BULK_FLAGS }));
  const path = `/flags/${APPLICATION}/production/ofrep/v1/evaluate/flags`;
  const figures: Figure[] = [];
  for (const [name, at, requests] of [
    ['one flag', `${path}/flag-1`, count(SINGLE_READS)],
    [`${BULK_FLAGS} flags`, path, count(BULK_READS)],
  ] as const) {
    const right = await answerOf(url, at);
    checkAnswer(JSON.parse(right) as Answered, name);
    const served = await withUsage(cluster, () => load({ url, path: at, right, requests }));
    const bare = await withBareServer(right, (bareUrl) => load({ url: bareUrl, path: at, right, requests }));
    const ratio = bare[0]!.value / served[0]!.value;
    figures.push(...prefixed(name, served), ...prefixed(`${name}, bare HTTP server`, bare), {
      name: `${name}: in requests of the bare server`,
      unit: 'times',
      value: ratio,
    });
  }
  return figures;
}

interface Answered {
  readonly flags?: readonly { readonly value?: unknown }[];
  readonly value?: unknown;
}

function checkAnswer({ flags, value }: Answered, name: string): void {
  const values = flags?.map((flag) => flag.value) ?? [value];
  if (values.some((each) => typeof each !== 'boolean')) throw new Error(`${name}: not all have values`);
  if (flags !== undefined && flags.length !== BULK_FLAGS) throw new Error(`${flags.length} flags answered`);
}

async function answerOf(url: string, path: string): Promise<string> {
  return withClient(url, async (client) => {
    const { body } = await client.call({ method: 'POST', path, body: { context: CONTEXT } });
    return body.toString();
  });
}

async function load(asked: {
  readonly url: string;
  readonly path: string;
  readonly right: string;
  readonly requests: number;
}): Promise<readonly Figure[]> {
  const { url, path, right, requests } = asked;
  const client = new HttpClient(url, CALLERS);
  const send = async (): Promise<void> => {
    const { body } = await client.call({ method: 'POST', path, body: { context: CONTEXT } });
    if (body.toString() !== right) throw new Error(`another answer: ${body.toString().slice(0, 200)}`);
  };
  try {
    await closedLoop({ workers: CALLERS, requests: Math.ceil(requests / 10), send });
    return loopFigures(await closedLoop({ workers: CALLERS, requests, send }));
  } finally {
    client.close();
  }
}

/** The same bytes from a server that does nothing else. */
async function withBareServer<T>(right: string, work: (url: string) => Promise<T>): Promise<T> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
      response.end(right);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
  }
}

async function many({ cluster, count }: Trial): Promise<readonly Figure[]> {
  const flags = Math.max(10, count(FLAGS));
  const { httpUrl, clientUrl } = cluster.services[0]!;
  return withClient(httpUrl, async (client) => {
    for (const id of ENVIRONMENTS.slice(4)) {
      await client.call({ method: 'POST', path: '/api/v1/environments', body: { id } });
    }
    const loaded = await withUsage(cluster, () => loadAll(client, flags));
    const clients: FlagClient[] = [];
    try {
      for (const environment of ENVIRONMENTS) {
        const endpoints = [clientUrl];
        clients.push(await FlagClient.open({ endpoints, application: APPLICATION, environment }));
      }
      for (const each of clients) {
        const answered = each.keys().filter((key) => each.evaluate(key, CONTEXT).value !== undefined).length;
        if (answered !== flags) throw new Error(`${answered} flags answer, not ${flags}`);
      }
      return [
        ...loaded,
        ...prefixed('a change, until it is heard of', await changes(client, clients, count(CHANGES))),
      ];
    } finally {
      for (const each of clients) await each.close();
    }
  });
}

async function loadAll(client: HttpClient, flags: number): Promise<readonly Figure[]> {
  const left = [...ENVIRONMENTS];
  const startedMs = performance.now();
  const importer = async (): Promise<void> => {
    for (let environment = left.shift(); environment !== undefined; environment = left.shift()) {
      await importFlags(client, { environment, flags });
    }
  };
  await Promise.all(Array.from({ length: IMPORTS_AT_ONCE }, importer));
  const seconds = (performance.now() - startedMs) / 1000;
  return [
    { name: 'all loaded', unit: 's', value: seconds },
    { name: 'flags loaded', unit: 'req/s', value: (ENVIRONMENTS.length * flags) / seconds },
  ];
}

/** @throws Error unless all of them were made */
async function importFlags(
  client: HttpClient,
  { environment, flags }: { readonly environment: string; readonly flags: number },
): Promise<void> {
  const one = (at: number) => ({
    state: 'ENABLED',
    variants: { on: true, off: false },
    defaultVariant: at % 2 === 0 ? 'on' : 'off',
    targeting: { if: [{ ends_with: [{ var: 'email' }, '@shop.example'] }, at % 3 === 0 ? 'on' : 'off'] },
  });
  const body = {
    flags: Object.fromEntries(Array.from({ length: flags }, (_, at) => [`flag-${at}`, one(at)])),
  };
  const path = `/api/v1/flags/import?application=${APPLICATION}&environment=${environment}`;
  const { items } = await client.json<{ items: readonly { type: string }[] }>({ method: 'POST', path, body });
  const created = items.filter(({ type }) => type === 'created').length;
  if (created !== flags) throw new Error(`${created} flags were made in ${environment}, not ${flags}`);
}

async function changes(
  client: HttpClient,
  clients: readonly FlagClient[],
  times: number,
): Promise<readonly Figure[]> {
  const tookMs: number[] = [];
  const { items } = await client.json<{ items: readonly { id: string; environment: string }[] }>({
    path: `/api/v1/flags?application=${APPLICATION}&key=flag-1`,
  });
  for (let n = 0; n < times; n += 1) {
    const watcher = clients[n % clients.length]!;
    const { id } = items.find(({ environment }) => environment === watcher.scope.environment)!;
    const startedMs = performance.now();
    const heard = new Promise<void>((resolve) => {
      const end = watcher.onUpdate(({ keys }) => {
        if (!keys.includes('flag-1')) return;
        end();
        resolve();
      });
    });
    const isOn = Math.floor(n / clients.length) % 2 === 1;
    await client.call({ method: 'POST', path: `/api/v1/flags/${id}/${isOn ? 'enable' : 'disable'}` });
    await heard;
    tookMs.push(performance.now() - startedMs);
    const { reason } = watcher.evaluate('flag-1', CONTEXT);
    if ((reason !== 'DISABLED') !== isOn) throw new Error(`flag-1 answers ${reason} after change ${n}`);
  }
  return latencyFigures(spread(tookMs));
}
