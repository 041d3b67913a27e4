import { bytesOf } from '../chance.ts';
import { unaryFigures } from '../load/checked.ts';
import { bareReads, create, type Freshness, grpcReads, pathOf, restReads } from '../load/configurations.ts';
import { closedLoop, HttpClient, type LoopFigures } from '../load/http-client.ts';
import { type Figure, latencyFigures, prefixed, type Question, type Trial, withUsage } from '../question.ts';

const READS = 40_000;
const WARM_UP_READS = 5_000;
const WRITES = 4_000;
const WARM_UP_WRITES = 500;
const CONNECTIONS = 20;
const STREAMS = 10;
const WRITERS = 20;
const VALUE_BYTES = 256;
const KINDS: readonly Freshness[] = ['eventual', 'bounded', 'strong'];

/** How fast one configuration is read, over REST and gRPC, and how fast configurations are changed. */
export const CONFIGURATION_CALLS: readonly Question[] = [
  {
    name: 'configuration reads over REST',
    service: true,
    load: `${READS} GETs of one configuration with a value of ${VALUE_BYTES * 2} characters of each kind over HTTP/1.1 on ${CONNECTIONS} connections, each after ${WARM_UP_READS}: of each consistency, strong ones with the entity tag of the answer, and from a bare HTTP server that answers the same bytes`,
    measure: overRest,
  },
  {
    name: 'configuration reads over gRPC',
    service: true,
    load: `${READS} GetConfiguration of one configuration with a value of ${VALUE_BYTES * 2} characters of each kind, ${CONNECTIONS} connections of ${STREAMS} calls in flight, each after ${WARM_UP_READS}`,
    measure: overGrpc,
  },
  {
    name: 'configuration writes over REST',
    service: true,
    load: `${WRITES} PUTs by ${WRITERS} writers, each of a configuration of its own, with values of ${VALUE_BYTES * 2} characters, after ${WARM_UP_WRITES}`,
    measure: writes,
  },
];

async function overRest({ cluster, chance, count }: Trial): Promise<readonly Figure[]> {
  const url = cluster.services[0]!.httpUrl;
  const known = await withClient(url, (client) =>
    create(client, 'read', bytesOf(VALUE_BYTES, chance).toString('hex')),
  );
  const common = { url, known, connections: CONNECTIONS };
  const warm = { ...common, requests: count(WARM_UP_READS) };
  const full = { ...common, requests: count(READS) };
  const figures: Figure[] = [];
  for (const freshness of KINDS) {
    await restReads({ ...warm, freshness, has: false });
    const measured = await withUsage(cluster, async () =>
      unaryFigures(await restReads({ ...full, freshness, has: false })),
    );
    figures.push(...prefixed(freshness, measured));
  }
  await restReads({ ...warm, freshness: 'strong', has: true });
  const known304 = await restReads({ ...full, freshness: 'strong', has: true });
  figures.push(...prefixed('strong, not modified', unaryFigures(known304)));
  await bareReads({ ...warm, freshness: 'eventual' });
  const bare = await bareReads({ ...full, freshness: 'eventual' });
  const eventual = figures.find(({ name }) => name === 'eventual: calls')!.value;
  return [
    ...figures,
    ...prefixed('bare HTTP server', unaryFigures(bare)),
    {
      name: 'an eventual read, in requests of the bare server',
      unit: 'times',
      value: bare.requestsPerSecond / eventual,
    },
  ];
}

async function overGrpc({ cluster, chance, count }: Trial): Promise<readonly Figure[]> {
  const { httpUrl, clientUrl: url } = cluster.services[0]!;
  const known = await withClient(httpUrl, (client) =>
    create(client, 'read', bytesOf(VALUE_BYTES, chance).toString('hex')),
  );
  const load = { url, known, connections: CONNECTIONS, streams: STREAMS };
  const figures: Figure[] = [];
  for (const freshness of KINDS) {
    await grpcReads({ ...load, freshness, requests: count(WARM_UP_READS) });
    const measured = await withUsage(cluster, async () =>
      unaryFigures(await grpcReads({ ...load, freshness, requests: count(READS) })),
    );
    figures.push(...prefixed(freshness, measured));
  }
  return figures;
}

async function writes({ cluster, chance, count }: Trial): Promise<readonly Figure[]> {
  return withClient(cluster.services[0]!.httpUrl, async (client) => {
    const text = (): string => bytesOf(VALUE_BYTES, chance).toString('hex');
    const own = await Promise.all(
      Array.from({ length: WRITERS }, (_, writer) => create(client, `written.${writer}`, text())),
    );
    const versions = own.map(() => 1);
    const run = (requests: number): Promise<LoopFigures> =>
      closedLoop({
        workers: WRITERS,
        requests,
        send: async (writer) => {
          const path = pathOf(own[writer]!);
          const body = { value: text() };
          const { version } = await client.json<{ version: number }>({ method: 'PUT', path, body });
          versions[writer]! += 1;
          if (version !== versions[writer]) throw new Error(`version ${version}, not ${versions[writer]}`);
        },
      });
    await run(count(WARM_UP_WRITES));
    return withUsage(cluster, async () => loopFigures(await run(count(WRITES))));
  });
}

/** The figures of a closed loop. */
export function loopFigures({ requestsPerSecond, latencyMs }: LoopFigures): readonly Figure[] {
  return [{ name: 'calls', unit: 'req/s', value: requestsPerSecond }, ...latencyFigures(latencyMs)];
}

/** Runs something with a REST client. */
export async function withClient<T>(url: string, work: (client: HttpClient) => Promise<T>): Promise<T> {
  const client = new HttpClient(url, WRITERS);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}
