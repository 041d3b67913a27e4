import { bytesOf } from '../chance.ts';
import { put } from '../load/calls.ts';
import { FULL, KEY, prepare, ranges, unaryFigures, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { failures, latenciesMs, paced } from '../load/paced.ts';
import { latencyFigures, prefixed, type Question, withUsage } from '../question.ts';
import { spread } from '../statistics.ts';

const READS = 200_000;
const READS_PER_WRITE = 1_000;
const LINEARIZABLE = { serializable: false };

/** A configuration store's usual day: a thousand reads for each write. */
export const MIXED: Question = {
  name: `mixed, ${READS_PER_WRITE} reads for each write, at the leader`,
  load: `${READS} linearizable ranges of one key with ${VALUE_BYTES} bytes, ${FULL.connections} connections of ${FULL.streams} calls in flight, after ${WARM_UP_REQUESTS}; meanwhile ${READS / READS_PER_WRITE} puts of that key, as fast as a thousandth of the reads before`,
  measure: async ({ cluster, chance, count }) => {
    const { leader } = await cluster.roles();
    const value = bytesOf(VALUE_BYTES, chance);
    await prepare(leader, value);
    const warmUp = await ranges({ url: leader, requests: count(WARM_UP_REQUESTS), ...FULL }, LINEARIZABLE);
    const reads = count(READS);
    const connection = await GrpcConnection.open(leader);
    try {
      return await withUsage(cluster, async () => {
        const [read, written] = await Promise.all([
          ranges({ url: leader, requests: reads, ...FULL }, LINEARIZABLE),
          paced({
            perSecond: warmUp.requestsPerSecond / READS_PER_WRITE,
            count: Math.ceil(reads / READS_PER_WRITE),
            send: () => put(connection, KEY, value),
          }),
        ]);
        const [failure] = failures(written);
        if (failure !== undefined) throw failure;
        const writes = latencyFigures(spread(latenciesMs(written)));
        return [...prefixed('read', unaryFigures(read)), ...prefixed('write', writes)];
      });
    } finally {
      connection.close();
    }
  },
};
