import { closedLoop, type HttpClient } from '../load/http-client.ts';
import { type Figure, prefixed, type Question, type Trial, withUsage } from '../question.ts';
import { loopFigures, withClient } from './configuration-calls.ts';

const CONFIGURATIONS = 100_000;
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
const APPLICATIONS = 10;
/** Of the first application, for a year with ten changes. */
const VERSIONS = 10;
const IMPORTS_AT_ONCE = 4;
const LISTS = 400;
const CALLERS = 2;
const SMALL = 'small';
const SMALL_KEYS = 100;
const MIB = 1024 * 1024;

/** What many configurations cost: to load them, to find some of them, and to come back with them. */
export const MANY_CONFIGURATIONS: Question = {
  name: `${CONFIGURATIONS} configurations in ${ENVIRONMENTS.length} environments`,
  service: true,
  load: `imports of ${CONFIGURATIONS / ENVIRONMENTS.length / APPLICATIONS} keys, ${IMPORTS_AT_ONCE} at a time, ${VERSIONS} versions of a tenth of them; ${LISTS} lists of 20 of each kind by ${CALLERS} callers, beside those of a tenant with ${SMALL_KEYS}; all stopped and started`,
  measure,
};

async function measure({ cluster, count }: Trial): Promise<readonly Figure[]> {
  const keys = Math.max(20, count(CONFIGURATIONS) / ENVIRONMENTS.length / APPLICATIONS);
  const { httpUrl } = cluster.services[0]!;
  const loaded = await withClient(httpUrl, async (client) => {
    const figures = await withUsage(cluster, () => load(client, keys));
    return [...figures, ...(await lists(client, { keys, requests: count(LISTS) }))];
  });
  await cluster.stopAll();
  const allMs = await cluster.startAll();
  const serviceMs = await cluster.serviceAnswers();
  await withClient(httpUrl, (client) => expectAll(client, keys));
  return [
    ...loaded,
    { name: 'all, from start to the first page', unit: 's', value: (allMs + serviceMs) / 1000 },
    { name: 'members, memory after the restart', unit: 'MiB', value: cluster.usage().residentBytes / MIB },
  ];
}

async function load(client: HttpClient, keys: number): Promise<readonly Figure[]> {
  for (const id of ENVIRONMENTS.slice(4)) {
    await client.call({ method: 'POST', path: '/api/v1/environments', body: { id } });
  }
  const imports = ENVIRONMENTS.flatMap((environment) =>
    Array.from({ length: APPLICATIONS }, (_, at) => ({ environment, application: `app${at}`, round: 1 })),
  );
  for (let round = 2; round <= VERSIONS; round += 1) {
    for (const environment of ENVIRONMENTS) imports.push({ environment, application: 'app0', round });
  }
  await put(client, {
    environment: 'production',
    application: 'app0',
    round: 1,
    keys: SMALL_KEYS,
    tenant: SMALL,
  });
  const startedMs = performance.now();
  let next = 0;
  const importer = async (): Promise<void> => {
    while (next < imports.length) {
      const each = imports[next]!;
      next += 1;
      await put(client, { ...each, keys, tenant: null });
    }
  };
  await Promise.all(Array.from({ length: IMPORTS_AT_ONCE }, importer));
  const seconds = (performance.now() - startedMs) / 1000;
  return [{ name: 'configurations put', unit: 'req/s', value: (imports.length * keys) / seconds }];
}

/** One import. @throws Error unless all of its keys were changed */
async function put(
  client: HttpClient,
  {
    environment,
    application,
    round,
    keys,
    tenant,
  }: {
    readonly environment: string;
    readonly application: string;
    readonly round: number;
    readonly keys: number;
    readonly tenant: string | null;
  },
): Promise<void> {
  const values = Object.fromEntries(
    Array.from({ length: keys }, (_, at) => [
      `group${at % 10}.key${at}`,
      at % 3 === 0 ? { n: at, round, of: application } : `value ${at} of round ${round}`,
    ]),
  );
  const path = `/api/v1/import?application=${application}&environment=${environment}&format=json`;
  const headers = tenant === null ? {} : { 'x-conclave-tenant': tenant };
  const answer = await client.json<{ created: number; updated: number }>({
    method: 'POST',
    path,
    headers,
    body: values,
  });
  if (answer.created + answer.updated !== keys) throw new Error(`${JSON.stringify(answer)}, not ${keys}`);
}

interface ListedPage {
  readonly items: readonly { readonly key: string }[];
  readonly total: number;
}

async function lists(
  client: HttpClient,
  { keys, requests }: { readonly keys: number; readonly requests: number },
): Promise<readonly Figure[]> {
  const all = keys * ENVIRONMENTS.length * APPLICATIONS;
  const applications = ENVIRONMENTS.length * APPLICATIONS;
  const kinds = [
    { name: 'few', query: '', total: SMALL_KEYS, tenant: SMALL },
    { name: 'first page', query: '', total: all },
    { name: 'last page', query: `page=${Math.ceil(all / 20) - 1}`, total: all },
    { name: 'an application in an environment', query: 'application=app3&environment=qa', total: keys },
    {
      name: 'keys that begin so',
      query: 'keyPrefix=group1.key11',
      total: applications * countOf(keys, 'group1.key11'),
    },
    { name: 'of a type', query: 'type=json', total: applications * Math.ceil(keys / 3) },
    { name: 'search', query: 'search=key19', total: applications * countOf(keys, 'key19') },
    { name: 'search in vain', query: 'search=nowhere', total: 0 },
  ];
  const figures: Figure[] = [];
  for (const { name, query, total, tenant } of kinds) {
    const headers = tenant === undefined ? {} : { 'x-conclave-tenant': tenant };
    const send = async (): Promise<void> => {
      const page = await client.json<ListedPage>({ path: `/api/v1/configurations?${query}`, headers });
      if (page.total !== total) throw new Error(`${name}: ${page.total} configurations, not ${total}`);
    };
    await closedLoop({ workers: CALLERS, requests: Math.ceil(requests / 10), send });
    const measured = await closedLoop({ workers: CALLERS, requests, send });
    figures.push(...prefixed(name, loopFigures(measured)));
  }
  const p50 = (name: string): number => figures.find((figure) => figure.name === `${name}: p50`)!.value;
  return [
    ...figures,
    { name: 'first page, in pages of few', unit: 'times', value: p50('first page') / p50('few') },
    { name: 'last page, in pages of few', unit: 'times', value: p50('last page') / p50('few') },
  ];
}

/** How many of an import's keys have this in them. */
function countOf(keys: number, part: string): number {
  return Array.from({ length: keys }, (_, at) => `group${at % 10}.key${at}`).filter((key) =>
    key.includes(part),
  ).length;
}

async function expectAll(client: HttpClient, keys: number): Promise<void> {
  const { total } = await client.json<ListedPage>({ path: '/api/v1/configurations?size=1' });
  const all = keys * ENVIRONMENTS.length * APPLICATIONS;
  if (total !== all) throw new Error(`${total} of ${all} configurations came back`);
}
