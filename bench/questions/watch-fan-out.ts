import { CHANGE_BYTES, type FanOut, withWatches } from '../load/fan-out.ts';
import { type Figure, latencyFigures, type Question, type Trial, withUsage } from '../question.ts';

const SHARED_STREAMS = 10;
const EVENTS = 200_000;
const WARM_UP_EVENTS = 20_000;

/** How soon everybody hears of a change, over few streams and over many. */
export const WATCH_FAN_OUT: readonly Question[] = [1_000, 10_000].flatMap((watches) =>
  [SHARED_STREAMS, watches].map((streams) => ({
    name: `watch fan-out, ${watches} watches on ${streams === watches ? 'own streams' : `${streams} shared streams`}`,
    load: `${EVENTS / watches} changes of one key with ${CHANGE_BYTES} bytes at the leader, after ${WARM_UP_EVENTS / watches}, each when all have heard of the last; from the start of the put to each event, and to the last of each change`,
    measure: ({ cluster, count }: Trial) =>
      withWatches(cluster, { watches, streams }, async (makeChanges) => {
        await makeChanges(count(WARM_UP_EVENTS / watches));
        return withUsage(cluster, async () => figuresOf(await makeChanges(count(EVENTS / watches))));
      }),
  })),
);

function figuresOf({ eachMs, lastMs }: FanOut): readonly Figure[] {
  return [
    ...latencyFigures(eachMs),
    { name: 'to all, p50', unit: 'ms', value: lastMs.p50 },
    { name: 'to all, longest', unit: 'ms', value: lastMs.max },
  ];
}
