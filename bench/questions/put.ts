import { bytesOf } from '../chance.ts';
import { FULL, prepare, puts, unaryFigures, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import { type Question, withUsage } from '../question.ts';

const REQUESTS = 100_000;

/** How many writes there can be. */
export const PUT: Question = {
  name: 'put at the leader, full load',
  load: `${REQUESTS} puts of one key with ${VALUE_BYTES} bytes, ${FULL.connections} connections of ${FULL.streams} calls in flight, after ${WARM_UP_REQUESTS}`,
  measure: async ({ cluster, chance, count }) => {
    const { leader } = await cluster.roles();
    const value = bytesOf(VALUE_BYTES, chance);
    await prepare(leader, value);
    await puts({ url: leader, requests: count(WARM_UP_REQUESTS), ...FULL }, value);
    return withUsage(cluster, async () =>
      unaryFigures(await puts({ url: leader, requests: count(REQUESTS), ...FULL }, value)),
    );
  },
};
