import { bytesOf } from '../chance.ts';
import { FULL, prepare, puts, unaryFigures, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import { type Question, withUsage } from '../question.ts';

/** About a quarter of what etcd can do here, so that it has no queue to work off. */
const PER_SECOND = 5_000;
const REQUESTS = 100_000;
/** So many that a call is always sent when it is due. */
const STREAMS = 200;

/** How soon a write is answered when both have the same to do. */
export const PUT_EQUAL_LOAD: Question = {
  name: 'put at the leader, equal load',
  load: `${REQUESTS} puts of one key with ${VALUE_BYTES} bytes, ${PER_SECOND} offered each second on ${FULL.connections} connections, after ${WARM_UP_REQUESTS}`,
  measure: async ({ cluster, chance, count }) => {
    const { leader } = await cluster.roles();
    const value = bytesOf(VALUE_BYTES, chance);
    await prepare(leader, value);
    await puts({ url: leader, requests: count(WARM_UP_REQUESTS), ...FULL }, value);
    const aim = { url: leader, requests: count(REQUESTS), connections: FULL.connections, streams: STREAMS };
    return withUsage(cluster, async () => unaryFigures(await puts({ ...aim, perSecond: PER_SECOND }, value)));
  },
};
