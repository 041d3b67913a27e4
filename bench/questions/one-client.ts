import { bytesOf } from '../chance.ts';
import { prepare, puts, ranges, unaryFigures, VALUE_BYTES } from '../load/checked.ts';
import { prefixed, type Question, withUsage } from '../question.ts';

const REQUESTS = 10_000;
const WARM_UP_REQUESTS = 2_000;
const ONE = { connections: 1, streams: 1 };

/** How long one client waits that asks again only when it has its answer. */
export const ONE_CLIENT: Question = {
  name: 'one client at a time',
  load: `${REQUESTS} puts, then ${REQUESTS} linearizable ranges, of one key with ${VALUE_BYTES} bytes at the leader, one connection, one call in flight, each after ${WARM_UP_REQUESTS}`,
  measure: async ({ cluster, chance, count }) => {
    const { leader } = await cluster.roles();
    const value = bytesOf(VALUE_BYTES, chance);
    await prepare(leader, value);
    const warmUp = { url: leader, requests: count(WARM_UP_REQUESTS), ...ONE };
    const aim = { ...warmUp, requests: count(REQUESTS) };
    const linearizable = { serializable: false };
    return withUsage(cluster, async () => {
      await puts(warmUp, value);
      const written = unaryFigures(await puts(aim, value));
      await ranges(warmUp, linearizable);
      const read = unaryFigures(await ranges(aim, linearizable));
      return [...prefixed('put', written), ...prefixed('linearizable range', read)];
    });
  },
};
