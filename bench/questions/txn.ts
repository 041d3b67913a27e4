import { bytesOf } from '../chance.ts';
import { FULL, prepare, txns, unaryFigures, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import { type Question, withUsage } from '../question.ts';

const REQUESTS = 100_000;

/** How many guarded writes there can be. */
export const TXN: Question = {
  name: 'transaction (compare and put) at the leader',
  load: `${REQUESTS} transactions that put ${VALUE_BYTES} bytes if the key's version is above 0, ${FULL.connections} connections of ${FULL.streams} calls in flight, after ${WARM_UP_REQUESTS}`,
  measure: async ({ cluster, chance, count }) => {
    const { leader } = await cluster.roles();
    const value = bytesOf(VALUE_BYTES, chance);
    await prepare(leader, value);
    await txns({ url: leader, requests: count(WARM_UP_REQUESTS), ...FULL }, value);
    return withUsage(cluster, async () =>
      unaryFigures(await txns({ url: leader, requests: count(REQUESTS), ...FULL }, value)),
    );
  },
};
