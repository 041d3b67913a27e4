import { APPLICATION, create, ENVIRONMENT, pathOf } from '../load/configurations.ts';
import { closedLoop, type HttpClient } from '../load/http-client.ts';
import { type Figure, prefixed, type Question, type Trial } from '../question.ts';
import { loopFigures, withClient } from './configuration-calls.ts';

const KEYS = 1_000;
const VALIDATIONS = 1_000;
const VERSIONS = 1_000;
const READS = 1_000;
const CALLERS = 4;
const WARM_UP = 50;
/** Versions that a page shows unless it is asked for another number. */
const PAGE = 100;
const RULES = 10;

const SCHEMA = JSON.stringify({
  type: 'object',
  required: ['host', 'port'],
  properties: { host: { type: 'string', pattern: '^[a-z0-9.-]+$' }, port: { type: 'integer', minimum: 1 } },
});

/** How long it takes to check a change, and to look back. */
export const CONFIGURATION_CHECKS: readonly Question[] = [
  {
    name: 'validation of a configuration',
    service: true,
    load: `${VALIDATIONS} validations by ${CALLERS} callers of a value with a JSON Schema in an application of ${KEYS} keys with ${RULES} rules over several of them, after ${WARM_UP}`,
    measure: validation,
  },
  {
    name: `history of ${VERSIONS} versions`,
    service: true,
    load: `${READS} of each by ${CALLERS} callers, of a configuration with ${VERSIONS} versions, after ${WARM_UP}: the first page, the oldest, one version, the difference of two, what it was at a revision`,
    measure: history,
  },
];

async function validation({ cluster, count }: Trial): Promise<readonly Figure[]> {
  return withClient(cluster.services[0]!.httpUrl, async (client) => {
    const validate = await prepareValidation(client);
    await closedLoop({ workers: CALLERS, requests: count(WARM_UP), send: validate });
    return loopFigures(await closedLoop({ workers: CALLERS, requests: count(VALIDATIONS), send: validate }));
  });
}

/** An application of many keys and some rules. @returns a validation in it; it throws when its verdict is wrong */
export async function prepareValidation(client: HttpClient): Promise<() => Promise<void>> {
  const values = Object.fromEntries(
    Array.from({ length: KEYS }, (_, at) => [`key${at}`, at]).concat([['limits.sum', KEYS]]),
  );
  const path = `/api/v1/import?application=${APPLICATION}&environment=${ENVIRONMENT}&format=json`;
  await client.call({ method: 'POST', path, body: values });
  const rules = Array.from({ length: RULES }, (_, at) => ({
    name: `rule-${at}`,
    expression: `config["key${at}"] + config["key${at + 1}"] <= config["limits.sum"]`,
    message: 'too much',
  }));
  await client.call({ method: 'PUT', path: `/api/v1/applications/${APPLICATION}`, body: { rules } });
  let asked = 0;
  return async () => {
    // Every other one breaks its schema.
    asked += 1;
    const port = asked % 2 === 0 ? 8080 : 0;
    const name = { application: APPLICATION, environment: ENVIRONMENT, key: 'checked' };
    const body = { ...name, value: { host: 'db.example', port }, type: 'json', schema: SCHEMA };
    const answer = await client.json<Verdict>({ method: 'POST', path: '/api/v1/validate', body });
    if (answer.valid !== port > 0) throw new Error(`the verdict on port ${port} is ${answer.valid}`);
  };
}

interface Verdict {
  readonly valid: boolean;
}

async function history({ cluster, count }: Trial): Promise<readonly Figure[]> {
  return withClient(cluster.services[0]!.httpUrl, async (client) => {
    const looks = await prepareHistory(client, Math.max(10, count(VERSIONS)));
    const figures: Figure[] = [];
    for (const [name, send] of Object.entries(looks)) {
      await closedLoop({ workers: CALLERS, requests: count(WARM_UP), send });
      const measured = await closedLoop({ workers: CALLERS, requests: count(READS), send });
      figures.push(...prefixed(name, loopFigures(measured)));
    }
    return figures;
  });
}

interface Version {
  readonly version: number;
  readonly revision: number;
  readonly value: unknown;
}

/** A configuration of many versions. @returns what looks back at it, by name; each throws when it sees the wrong thing */
export async function prepareHistory(
  client: HttpClient,
  versions: number,
): Promise<Readonly<Record<string, () => Promise<void>>>> {
  const known = await create(client, 'history', { n: 1 });
  const path = pathOf(known);
  for (let n = 2; n <= versions; n += 1) await client.call({ method: 'PUT', path, body: { value: { n } } });
  const middle = Math.ceil(versions / 2);
  const { revision } = await client.json<Version>({ path: `${path}/versions/${middle}` });
  const page = async (query: string, first: number): Promise<void> => {
    const { items } = await client.json<{ items: readonly Version[] }>({ path: `${path}/versions${query}` });
    const right = items.length === Math.min(PAGE, first) && items[0]?.version === first;
    if (!right) throw new Error(`${items.length} versions from ${items[0]?.version}, not from ${first}`);
  };
  const one = async (query: string): Promise<void> => {
    const { version, value } = await client.json<Version>({ path: `${path}/${query}` });
    if (version !== middle || JSON.stringify(value) !== `{"n":${middle}}`) throw new Error(`not ${middle}`);
  };
  return {
    'first page': () => page('', versions),
    'oldest page': () => page(`?before=${Math.min(PAGE, versions) + 1}`, Math.min(PAGE, versions)),
    'one version': () => one(`versions/${middle}`),
    'at a revision': () => one(`as-of?revision=${revision}`),
    difference: async () => {
      const query = `left=${known.id}&leftVersion=1&rightVersion=${middle}`;
      const { body } = await client.call({ path: `/api/v1/compare?${query}` });
      if (!body.includes('"/n"')) throw new Error(`another difference: ${body.toString().slice(0, 200)}`);
    },
  };
}
