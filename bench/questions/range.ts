import { bytesOf } from '../chance.ts';
import { FULL, prepare, puts, ranges, unaryFigures, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import { type Figure, prefixed, type Question, type Trial, withUsage } from '../question.ts';

const REQUESTS = 100_000;
/** etcd reads slower after many writes: fresh is compared with fresh, loaded with loaded. */
const PUTS_BEFORE = 400_000;
const LOAD = `${REQUESTS} ranges of one key with ${VALUE_BYTES} bytes of each kind, ${FULL.connections} connections of ${FULL.streams} calls in flight, each after ${WARM_UP_REQUESTS}`;

/** How many reads there can be, of each kind, at each place. */
export const RANGES: readonly Question[] = [
  { name: 'range, fresh cluster', load: LOAD, measure: (trial) => measure(trial, 0) },
  {
    name: `range, after ${PUTS_BEFORE} puts`,
    load: `${PUTS_BEFORE} puts of the key; then ${LOAD}`,
    measure: (trial) => measure(trial, PUTS_BEFORE),
  },
];

async function measure(trial: Trial, putsBefore: number): Promise<readonly Figure[]> {
  const { cluster, chance, count } = trial;
  const { leader, followers } = await cluster.roles();
  const value = bytesOf(VALUE_BYTES, chance);
  await prepare(leader, value);
  if (putsBefore > 0) await puts({ url: leader, requests: count(putsBefore), ...FULL }, value);
  const figures: Figure[] = [];
  for (const serializable of [false, true]) {
    for (const [place, url] of [
      ['the leader', leader],
      ['a follower', followers[0]!],
    ] as const) {
      await ranges({ url, requests: count(WARM_UP_REQUESTS), ...FULL }, { serializable });
      const measured = await withUsage(cluster, async () =>
        unaryFigures(await ranges({ url, requests: count(REQUESTS), ...FULL }, { serializable })),
      );
      figures.push(...prefixed(`${serializable ? 'serializable' : 'linearizable'}, ${place}`, measured));
    }
  }
  return figures;
}
