import { expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type ClusterAccount, encodeAccount } from '../../src/member/bootstrap.ts';
import type { PeerAddress, Transport } from '../../src/member/ports.ts';
import { RemovalCheck } from '../../src/member/removal-check.ts';
import { systemClock } from '../../src/member/system.ts';
import { eventually, TestCluster } from './test-cluster.ts';

const CLUSTER = 7;
const PATIENCE_MS = 1_000;
const members = [1, 2, 3].map((id) => ({
  id,
  name: `n${id}`,
  peerUrls: [`http://n${id}:1`],
  clientUrls: [],
  isLearner: false,
}));

/** Member 1 of three, where the others answer as `accounts` says; what was concluded at the end. */
async function verdict(
  accounts: Readonly<Record<string, Partial<ClusterAccount>>>,
  ticks: readonly { readonly atMs: number; readonly hasLeader: boolean }[],
  known: readonly PeerAddress[] = members,
): Promise<string> {
  let nowMs = 0;
  let hasLeader = false;
  let asked = 0;
  let found = 'nothing';
  const probe: Transport['probe'] = async (url) => {
    asked += 1;
    const account = accounts[url];
    if (account === undefined) throw new StoreError('no-leader', 'nobody there');
    return encodeAccount({ clusterId: CLUSTER, members, met: [], removed: [], ...account });
  };
  const check = new RemovalCheck({
    transport: { probe } as Transport,
    clock: { ...systemClock, nowMs: () => nowMs },
    logger: silentLogger,
    signal: new AbortController().signal,
    self: 1,
    clusterId: CLUSTER,
    hasLeader: () => hasLeader,
    members: () => known,
    initialCluster: members,
    ownUrls: ['http://n1:1'],
    patienceMs: PATIENCE_MS,
    removed: () => {
      found = 'removed';
    },
    foreign: (reason) => {
      found = `foreign: ${reason}`;
    },
  });
  for (const tick of ticks) {
    nowMs = tick.atMs;
    hasLeader = tick.hasLeader;
    check.tick();
    // One turn of the event loop is enough for all answers: none of them waits for anything.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return `${found}${asked === 0 ? ', nobody asked' : ''}`;
}

const LEADERLESS = [{ atMs: PATIENCE_MS, hasLeader: false }];
const stranger = { clusterId: 8 };

test('a member with a leader asks nobody, one that has missed it for a while does', async () => {
  expect(await verdict({}, [{ atMs: PATIENCE_MS, hasLeader: true }])).toBe('nothing, nobody asked');
  expect(await verdict({}, [{ atMs: PATIENCE_MS - 1, hasLeader: false }])).toBe('nothing, nobody asked');
  expect(await verdict({}, LEADERLESS)).toBe('nothing');
});

test('a removal that a member of the same cluster knows of is believed', async () => {
  expect(await verdict({ 'http://n3:1': { removed: [1] } }, LEADERLESS)).toBe('removed');
  expect(await verdict({ 'http://n3:1': { removed: [1], ...stranger } }, LEADERLESS)).toBe('nothing');
});

test('a member that has joined and heard nothing asks whom it was started with', async () => {
  expect(await verdict({ 'http://n3:1': { removed: [1] } }, LEADERLESS, [])).toBe('removed');
});

test('data is foreign when too many of the named members belong to another cluster for a majority', async () => {
  const both = { 'http://n2:1': stranger, 'http://n3:1': stranger };
  expect(await verdict(both, LEADERLESS)).toBe(
    'foreign: this data directory belongs to cluster 7, but n2 at http://n2:1 to cluster 8, ' +
      'n3 at http://n3:1 to cluster 8: the directory is in the wrong place, or --initial-cluster is',
  );
  expect(await verdict({ 'http://n2:1': stranger }, LEADERLESS)).toBe('nothing');
  expect(await verdict({ 'http://n2:1': stranger, 'http://n3:1': {} }, LEADERLESS)).toBe('nothing');
  const starting = { clusterId: 8, members: [] };
  expect(await verdict({ 'http://n2:1': starting, 'http://n3:1': starting }, LEADERLESS)).toBe('nothing');
});

test('a member that had a leader since its start is where it belongs', async () => {
  const both = { 'http://n2:1': stranger, 'http://n3:1': stranger };
  const ticks = [
    { atMs: 1, hasLeader: true },
    { atMs: 2 * PATIENCE_MS, hasLeader: false },
  ];
  expect(await verdict(both, ticks)).toBe('nothing');
});

test('a member started on the data of another cluster at the same addresses ends', async () => {
  const retired = await TestCluster.start(3);
  await retired.stopAll();
  const cluster = await TestCluster.start(3, { initialClusterToken: 'another' });
  const [place] = cluster.places;
  await cluster.stop(place!);
  cluster.places[0] = retired.places[0]!;
  await cluster.start(cluster.places[0]);
  await eventually(() => cluster.places[0]!.fatal !== null);
  expect(cluster.places[0]!.fatal).toMatchObject({ code: 'data-dir-foreign' });
  await cluster.stopAll();
});
