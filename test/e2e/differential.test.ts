import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { isLike } from './differential/comparison.ts';
import { DELIBERATE } from './differential/deliberate.ts';
import { type EpisodeResult, hasAuth, runEpisode, withBoth } from './differential/episode.ts';
import { generate } from './differential/generate.ts';
import { RULE_IDS } from './differential/intended.ts';
import { type Operation, show } from './differential/operations.ts';
import { etcdBinary } from './differential/server.ts';
import { shrunken } from './differential/shrink.ts';

const BINARY = etcdBinary();
/** Without a real etcd there is nothing to compare with. In CI it must be there. */
const skip = BINARY === null && process.env['CI'] !== 'true';

const OPERATIONS = Number(process.env['DIFFERENTIAL_OPS'] ?? 20_000);
const SEED = Number(process.env['DIFFERENTIAL_SEED'] ?? 1);
/** Each on fresh servers, so that what fails is short to begin with. */
const EPISODE_OPERATIONS = 2_500;
/** Shrinking what failed takes most of it. */
const TEST_MS = 600_000;

/** A stream that never gets these answers compares too little. */
const STATUSES = [
  'ok',
  'etcdserver: key is not provided',
  'etcdserver: key not found',
  'etcdserver: value is provided',
  'etcdserver: lease is provided',
  'etcdserver: too many operations in txn request',
  'etcdserver: duplicate key given in txn request',
  'etcdserver: invalid sort option',
  'etcdserver: request is too large',
  'etcdserver: given member URLs are invalid',
  'etcdserver: mvcc: required revision has been compacted',
  'etcdserver: mvcc: required revision is a future revision',
  'etcdserver: too large lease TTL',
  'etcdserver: mvcc: database space exceeded',
  'etcdserver: requested lease not found',
  'etcdserver: member not found',
  'etcdserver: lease already exists',
  'etcdserver: can only promote a learner member',
  'etcdserver: bad leader transferee',
  'etcdserver: corrupt cluster',
] as const;

describe.skipIf(skip)('the same operations on etcd and on Conclave (needs a real etcd: ETCD_BIN)', () => {
  const episodes = Math.ceil(OPERATIONS / EPISODE_OPERATIONS);
  const seeds = Array.from({ length: episodes }, (_, episode) => SEED + episode);
  const results: EpisodeResult[] = [];
  let auth = false;

  beforeAll(async () => {
    if (BINARY === null) throw new Error('no etcd to compare with: set ETCD_BIN');
    auth = await hasAuth(BINARY);
  });

  test.each(seeds)(
    'seed %i: every answer is the same',
    async (seed) => {
      const operations = generate({ seed, count: EPISODE_OPERATIONS, auth });
      const result = await runEpisode(BINARY!, operations);
      results.push(result);
      if (result.found !== null) expect.fail(await report(seed, operations, result));
      expect(result.performed).toBeGreaterThan(EPISODE_OPERATIONS * 0.9);
    },
    TEST_MS,
  );

  test('together they reached every answer that they should', () => {
    const seen = new Set(results.flatMap(({ statuses }) => [...statuses.keys()]));
    const missing = STATUSES.filter((status) => !seen.has(status));
    // A short run need not reach the rare ones.
    if (OPERATIONS >= 20_000) expect(missing).toEqual([]);
    expect(seen.size).toBeGreaterThan(5);
  });
});

describe.skipIf(skip)('differences that are meant', () => {
  test('are what the documentation says, on both', async () => {
    await withBoth(BINARY!, async (etcd, conclave) => {
      for (const { id, show: look, ...expected } of DELIBERATE) {
        const seen = { etcd: await look(etcd), conclave: await look(conclave) };
        expect({ id, ...seen }).toEqual({ id, ...expected });
      }
    });
  });

  test('are all listed in the documentation', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/etcd-compatibility.md'), 'utf8');
    const ids = [...RULE_IDS, ...DELIBERATE.map(({ id }) => id)];
    expect(ids.filter((id) => !page.includes(`\`${id}\``))).toEqual([]);
  });
});

/** The shortest stream found that still fails the same way, and what the two answered to its end. */
async function report(seed: number, operations: readonly Operation[], first: EpisodeResult): Promise<string> {
  const index = first.found?.index ?? 0;
  let last = first;
  const kept = await shrunken(operations.slice(0, index + 1), async (shorter) => {
    const result = await runEpisode(BINARY!, shorter);
    const isSame = isLike(result.found?.difference, first.found?.difference);
    if (isSame) last = result;
    return isSame;
  });
  const difference = last.found?.difference;
  return [
    `DIFFERENTIAL_SEED=${seed}: operation ${index} differs; ${kept.length} operations are enough:`,
    ...kept.map((operation) => `  ${show(operation)}`),
    `etcd:     ${show(difference?.reference)}`,
    `conclave: ${show(difference?.ours)}`,
    `at first: ${show(first.found?.difference.reference)}`,
    `conclave: ${show(first.found?.difference.ours)}`,
    first.log.slice(-2_000),
  ].join('\n');
}
