import { create, pathOf, restReads } from './load/configurations.ts';
import { closedLoop, HttpClient } from './load/http-client.ts';
import { failures, latenciesMs, paced } from './load/paced.ts';
import { serviceFanOut } from './load/service-watches.ts';
import { prepareHistory, prepareValidation } from './questions/configuration-checks.ts';
import { ServerCluster } from './server-cluster.ts';
import { latency, type Measurement, rate, TARGETS } from './slo-targets.ts';
import { percentile } from './statistics.ts';

const CONNECTIONS = 20;
const WARM_UP_REQUESTS = 2_000;
const WRITERS = 20;
const CHECKS = 500;
const CALLERS = 2;
const VERSIONS = 1_000;

/** What a cluster's configuration service was promised to do, measured on a fresh one. @throws Error for a wrong answer */
export async function measureService(options: {
  readonly seconds: number;
  readonly changes: number;
  readonly value: Buffer;
}): Promise<readonly Measurement[]> {
  const cluster = await ServerCluster.start('conclave', { service: true });
  const client = new HttpClient(cluster.services[0]!.httpUrl, CONNECTIONS);
  try {
    return [
      ...(await readsAndWrites(cluster, { ...options, client })),
      ...(await propagation(cluster, { ...options, client })),
      ...(await checks(client)),
    ];
  } finally {
    client.close();
    await cluster.destroy();
  }
}

/** Strong reads at every member while configurations are changed. */
async function readsAndWrites(
  cluster: ServerCluster,
  {
    client,
    seconds,
    value,
  }: { readonly client: HttpClient; readonly seconds: number; readonly value: Buffer },
): Promise<readonly Measurement[]> {
  const { readsPerSecond, writesPerSecond, readP99Ms, writeP99Ms } = TARGETS.service;
  // As many characters as the values of the other reads have bytes.
  const text = value.toString('hex', 0, value.length / 2);
  const known = await create(client, 'read', text);
  const own = await Promise.all(
    Array.from({ length: WRITERS }, (_, writer) => create(client, `written.${writer}`, text)),
  );
  const common = { known, freshness: 'strong', has: false, connections: CONNECTIONS } as const;
  for (const { httpUrl: url } of cluster.services) {
    await restReads({ ...common, url, requests: WARM_UP_REQUESTS });
  }
  const atEach = Math.ceil(readsPerSecond / cluster.services.length);
  const [written, ...read] = await Promise.all([
    paced({
      perSecond: writesPerSecond,
      count: writesPerSecond * seconds,
      send: (index) => {
        const path = pathOf(own[index % WRITERS]!);
        return client.call({ method: 'PUT', path, body: { value: `${index} ${text}` } });
      },
    }),
    ...cluster.services.map(({ httpUrl: url }) =>
      restReads({ ...common, url, requests: atEach * seconds, perSecond: atEach }),
    ),
  ]);
  const [failed] = failures(written);
  if (failed !== undefined) throw failed;
  const name = `service, ${readsPerSecond} strong reads/s and ${writesPerSecond} writes/s over REST`;
  const served = read.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0);
  const slowest = Math.max(...read.map(({ latencyMs }) => latencyMs.p99));
  return [
    rate(`${name}: reads`, served, readsPerSecond),
    latency(`${name}: read p99, slowest member`, slowest, readP99Ms),
    latency(`${name}: write p99`, percentile(latenciesMs(written), 99), writeP99Ms),
  ];
}

async function propagation(
  cluster: ServerCluster,
  { client, changes }: { readonly client: HttpClient; readonly changes: number },
): Promise<readonly Measurement[]> {
  const { watchers, propagationMs } = TARGETS.service;
  // Changed at one member, heard of at another.
  const url = cluster.services.at(-1)!.clientUrl;
  const { max } = await serviceFanOut(client, { url, streams: watchers, changes });
  const what = `service, a change reaches all of ${watchers} gRPC streams at another member, slowest of ${changes}`;
  return [latency(what, max, propagationMs)];
}

async function checks(client: HttpClient): Promise<readonly Measurement[]> {
  const { validationP99Ms, historyP99Ms } = TARGETS.service;
  const p99 = async (send: () => Promise<void>): Promise<number> => {
    await closedLoop({ workers: CALLERS, requests: CHECKS / 10, send });
    return (await closedLoop({ workers: CALLERS, requests: CHECKS, send })).latencyMs.p99;
  };
  const validating = await p99(await prepareValidation(client));
  const measurements = [latency('service, validation p99', validating, validationP99Ms)];
  for (const [name, send] of Object.entries(await prepareHistory(client, VERSIONS))) {
    const what = `service, history of ${VERSIONS} versions, ${name}: p99`;
    measurements.push(latency(what, await p99(send), historyP99Ms));
  }
  return measurements;
}
