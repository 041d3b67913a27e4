import { describe, expect, test } from 'vitest';
import { runEpisode } from './differential/episode.ts';
import { generate } from './differential/generate.ts';
import { show } from './differential/operations.ts';
import { etcdBinary } from './differential/server.ts';
import { shrunken } from './differential/shrink.ts';

const BINARY = etcdBinary();
/** Without a real etcd there is nothing to compare with. In CI it must be there. */
const skip = BINARY === null && process.env['CI'] !== 'true';

const OPERATIONS = Number(process.env['DIFFERENTIAL_OPS'] ?? 20_000);
const SEED = Number(process.env['DIFFERENTIAL_SEED'] ?? 1);
/** Each on fresh servers, so that what fails is short to begin with. */
const EPISODE_OPERATIONS = 2_500;

describe.skipIf(skip)('the same operations on etcd and on Conclave (needs ETCD_BIN, a real etcd)', () => {
  const episodes = Math.ceil(OPERATIONS / EPISODE_OPERATIONS);
  const seeds = Array.from({ length: episodes }, (_, episode) => SEED + episode);

  test.each(seeds)('seed %i: every answer is the same', async (seed) => {
    const operations = generate({ seed, count: EPISODE_OPERATIONS, auth: process.env['DIFFERENTIAL_AUTH'] === '1' });
    const { found, intended, performed, log } = await runEpisode(BINARY!, operations);
    if (found === null) {
      console.log(seed, performed, Object.fromEntries(intended));
      return;
    }
    const { difference } = found;
    const failing = operations.slice(0, found.index + 1);
    const kept = await shrunken(failing, async (shorter) => {
      const result = await runEpisode(BINARY!, shorter);
      return result.found !== null;
    });
    expect.fail(
      [
        `seed ${seed}, operation ${found.index}, shrunken to ${kept.length}:`,
        ...kept.map(show),
        `of ${show(difference.operation)}`,
        `etcd:     ${show(difference.reference)}`,
        `conclave: ${show(difference.ours)}`,
        log.slice(-300),
      ].join('\n'),
    );
  });
});
