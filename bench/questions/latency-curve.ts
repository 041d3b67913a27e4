import { bytesOf } from '../chance.ts';
import { type Aim, prepare, puts, ranges, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import type { UnaryFigures } from '../load/h2load.ts';
import { type Figure, type Question, type Trial, withUsage } from '../question.ts';

/** Calls in flight, from one client to more than any server wants. */
const STEPS = [
  { connections: 1, streams: 1 },
  { connections: 4, streams: 1 },
  { connections: 16, streams: 1 },
  { connections: 50, streams: 1 },
  { connections: 50, streams: 4 },
  { connections: 50, streams: 10 },
  { connections: 50, streams: 20 },
];
/** Long enough for every step, short enough for the slowest. */
const REQUESTS_PER_CALL_IN_FLIGHT = 1_000;
const REQUESTS_MAX = 50_000;
const LOAD = `closed loops of ${STEPS.map(({ connections, streams }) => connections * streams).join(', ')} calls in flight, one key of ${VALUE_BYTES} bytes; up to ${REQUESTS_MAX} calls each, after ${WARM_UP_REQUESTS}`;

/** The words by which a plot finds its points again. */
export const CURVE_NAMES = { put: 'latency by load, put', range: 'latency by load, linearizable range' };

/** What latency a throughput costs. */
export const LATENCY_CURVES: readonly Question[] = [
  {
    name: CURVE_NAMES.put,
    load: LOAD,
    measure: (trial) => measure(trial, (aim, value) => puts(aim, value)),
  },
  {
    name: CURVE_NAMES.range,
    load: LOAD,
    measure: (trial) => measure(trial, (aim) => ranges(aim, { serializable: false })),
  },
];

async function measure(
  { cluster, chance, count }: Trial,
  send: (aim: Aim, value: Buffer) => Promise<UnaryFigures>,
): Promise<readonly Figure[]> {
  const { leader: url } = await cluster.roles();
  const value = bytesOf(VALUE_BYTES, chance);
  await prepare(url, value);
  await send({ url, requests: count(WARM_UP_REQUESTS), ...STEPS[5]! }, value);
  return withUsage(cluster, async () => {
    const figures: Figure[] = [];
    for (const { connections, streams } of STEPS) {
      const inFlight = connections * streams;
      const requests = count(Math.min(REQUESTS_MAX, REQUESTS_PER_CALL_IN_FLIGHT * inFlight));
      const { requestsPerSecond, latencyMs } = await send({ url, requests, connections, streams }, value);
      figures.push(
        { name: `${inFlight} in flight: calls`, unit: 'req/s', value: requestsPerSecond },
        { name: `${inFlight} in flight: p50`, unit: 'ms', value: latencyMs.p50 },
        { name: `${inFlight} in flight: p99`, unit: 'ms', value: latencyMs.p99 },
      );
    }
    return figures;
  });
}
