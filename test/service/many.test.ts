import { expect, test } from 'vitest';
import type { KvCall, KvRangeAnswer, KvRangeRequest } from '../../src/kv/kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import type { ListRequest } from '../../src/service/configurations/reads.ts';
import { PREFIXES } from '../../src/service/keyspace.ts';
import type { ConfigurationName, Json, Scope } from '../../src/service/model.ts';
import type { Service } from '../../src/service/service.ts';
import { ada, inWorld, named } from './world.ts';

/** As docs/performance.md has it for 100,000, in a size that takes a moment. */
const ENVIRONMENTS = ['development', 'test', 'staging', 'production', 'e1', 'e2', 'e3', 'e4', 'e5', 'e6'];
const APPLICATIONS = 6;
const KEYS = 150;
const TOTAL = ENVIRONMENTS.length * APPLICATIONS * KEYS;
const BULK = 40;
const ROUNDS = 10;

interface Made extends ConfigurationName {
  readonly tags: readonly string[];
  readonly json: Json;
}

/** Every third is a number, the first application's have tags. */
const MADE: readonly Made[] = ENVIRONMENTS.flatMap((environment) =>
  Array.from({ length: APPLICATIONS * KEYS }, (_, at) => {
    const application = `app${Math.floor(at / KEYS)}`;
    const key = `group${at % 7}.item${at % KEYS}`;
    const tags = application === 'app0' ? ['common', ...(at % 50 === 0 ? ['rare'] : [])] : [];
    return { ...named(key, { environment, application }), tags, json: at % 3 === 0 ? at : `text ${at}` };
  }),
);

/** Counts what is read of configurations' rows, and how many the store had to count for that. */
class CountingKv extends MemoryKv {
  rows = 0;
  counted = 0;

  override async range(request: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    const answer = await super.range(request, call);
    if (request.key.toString().startsWith(PREFIXES.configuration)) {
      this.rows += answer.rows.length;
      this.counted += answer.count;
    }
    return answer;
  }
}

/** The first application comes in bulk, the others as imports; in one scope every key has ten versions. */
async function load({ environments, configurations, importing }: Service): Promise<void> {
  for (const id of ENVIRONMENTS.slice(4)) await environments.create(ada, { tenant: 'default', id });
  const bulk = MADE.filter(({ application }) => application === 'app0');
  for (let at = 0; at < bulk.length; at += BULK) {
    const items = bulk
      .slice(at, at + BULK)
      .map(({ tags, json, ...ref }) => ({ action: 'create' as const, ref, tags, value: { json } }));
    await configurations.bulk(ada, { tenant: 'default', items });
  }
  for (const environment of ENVIRONMENTS) {
    for (let at = 1; at < APPLICATIONS; at += 1) {
      const scope = { tenant: 'default', environment, application: `app${at}` };
      await importing.import(ada, { scope, values: valuesOf(scope, (json) => json) });
    }
  }
  for (let round = 2; round <= ROUNDS; round += 1) {
    await importing.import(ada, { scope: VERSIONED, values: valuesOf(VERSIONED, () => `round ${round}`) });
  }
}

const VERSIONED: Scope = { tenant: 'default', environment: 'production', application: 'app1' };

function valuesOf(scope: Scope, json: (made: Json) => Json): ReadonlyMap<string, Json> {
  const made = MADE.filter((each) => isOf(scope, each));
  return new Map(made.map((each) => [each.key, json(each.json)]));
}

function isOf(
  { environment, application }: Pick<ListFilter, 'environment' | 'application'>,
  made: Made,
): boolean {
  return (
    (environment === undefined || made.environment === environment) &&
    (application === undefined || made.application === application)
  );
}

/** Whether a list shows it, by what was made. */
function isListed({ keyPrefix = '', tag, type, search = '', ...scope }: ListFilter, made: Made): boolean {
  const isVersioned = isOf(VERSIONED, made);
  const isText = typeof made.json === 'string' || isVersioned;
  return (
    isOf(scope, made) &&
    made.key.startsWith(keyPrefix) &&
    (tag === undefined || made.tags.includes(tag)) &&
    (type === undefined || (type === 'string') === isText) &&
    [made.key, made.application, ...made.tags].join(' ').includes(search)
  );
}

type ListFilter = Omit<ListRequest, 'tenant' | 'page' | 'size' | 'consistency'>;

const FILTERS: readonly ListFilter[] = [
  {},
  { environment: 'e3' },
  { application: 'app4' },
  { environment: 'e3', application: 'app4' },
  { keyPrefix: 'group3.item1' },
  { keyPrefix: 'group3.item1', environment: 'test' },
  { keyPrefix: 'group3.item1', search: 'item17' },
  { keyPrefix: 'none' },
  { tag: 'common' },
  { tag: 'rare' },
  { tag: 'common', environment: 'e6', keyPrefix: 'group0' },
  { tag: 'rare', application: 'app0', keyPrefix: 'group1' },
  { tag: 'none' },
  { type: 'string' },
  { search: 'item149' },
  { search: 'rare', tag: 'common' },
  { search: 'nowhere' },
];

const nameOf = ({ application, environment, key }: ConfigurationName): string =>
  `${application} ${environment} ${key}`;

async function listed(service: Service, filter: ListFilter): Promise<readonly string[]> {
  const names: string[] = [];
  for (let page = 0; ; page += 1) {
    const request = { ...filter, tenant: 'default', page, size: 1_000, consistency: EVENTUAL };
    const { result } = await service.reads.list(ada, request);
    names.push(...result.items.map(nameOf));
    if (result.items.length < 1_000) {
      expect(names.length).toBe(result.total);
      return names;
    }
  }
}

const EVENTUAL = { type: 'eventual' } as const;

test('many configurations in ten environments: loaded without going over them twice, found without the store', async () => {
  const memory = new CountingKv();
  await inWorld(({ service }) => load(service), { memory });
  memory.rows = 0;
  memory.counted = 0;
  await inWorld(
    async ({ service }) => {
      expect(service.status()).toMatchObject({ configurations: TOTAL, unreadableRows: 0 });
      // Each row once; of the ranges' ends only the first page saw them all.
      expect(memory.rows).toBe(TOTAL);
      expect(memory.counted).toBeLessThan(3 * TOTAL);
      expect(service.status().bytes / TOTAL).toBeLessThan(2_048);

      for (const filter of FILTERS) {
        const expected = MADE.filter((made) => isListed(filter, made)).map(nameOf);
        expect([filter, await listed(service, filter)]).toEqual([filter, expected.sort()]);
      }
      expect(memory.rows).toBe(TOTAL);

      const ref = { ...VERSIONED, key: MADE.find((made) => isOf(VERSIONED, made))!.key };
      const versions = await service.history.versions(ada, { ref });
      expect(versions.result.items.map(({ version }) => version)).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
      const { revision } = versions.result.items[4]!;
      const then = await service.history.allAsOf(ada, { scope: VERSIONED, at: { revision } });
      expect(then.result.length).toBe(KEYS);
      expect(then.result.find(({ key }) => key === ref.key)).toMatchObject({ value: { json: 'round 6' } });
    },
    { memory },
  );
});
