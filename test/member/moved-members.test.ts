import { expect, test } from 'vitest';
import { context, eventually, type Place, put, TestCluster } from './test-cluster.ts';

/** A follower, after leadership went elsewhere if need be. */
async function follower(cluster: TestCluster): Promise<Place> {
  const leader = await cluster.leader();
  return cluster.places.find((place) => place !== leader)!;
}

/** Gives a member another address, as the guide has it: told first, then started there. */
async function move(cluster: TestCluster, place: Place, meanwhile = async () => {}): Promise<Place> {
  const { id } = place.member!;
  const url = `http://${place.name}-moved:2380`;
  await (await cluster.leader()).member!.memberUpdate({ id, peerUrls: [url] }, context());
  await cluster.stop(place);
  await meanwhile();
  const moved = { ...place, url };
  cluster.places.splice(cluster.places.indexOf(place), 1, moved);
  await cluster.start(moved);
  return moved;
}

test('a learner whose address was changed before its first start joins and is promoted', async () => {
  const cluster = await TestCluster.start(3);
  const leader = await cluster.leader();
  const { result } = await leader.member!.memberAdd(
    { peerUrls: ['http://mistyped:2380'], isLearner: true },
    context(),
  );
  const { id } = result.member;
  const added = cluster.addPlace('n4');
  await leader.member!.memberUpdate({ id, peerUrls: [added.url] }, context());
  await cluster.start(added, { initialClusterState: 'existing' });
  await eventually(() =>
    leader.member!.memberPromote({ id }, context()).then(
      () => true,
      () => false,
    ),
  );
  await cluster.stopAll();
});

test('a member that moves to another address follows there, and no other has to start again', async () => {
  const cluster = await TestCluster.start(3);
  const place = await follower(cluster);
  const { id } = place.member!;
  const leader = await cluster.leader();
  const moved = await move(cluster, place, async () => {
    await leader.member!.put(put('k', 'v'), context());
  });
  await eventually(() => moved.member!.header().revision === leader.member!.header().revision);
  // It is also in reach of the third, which must elect it.
  await leader.member!.moveLeader({ target: id }, context());
  expect((await cluster.leader()).url).toBe(moved.url);
  await cluster.stopAll();
});

test('a member that was away while another moved answers it at its new address, though it leads', async () => {
  const cluster = await TestCluster.start(3);
  const away = await follower(cluster);
  await cluster.stop(away);
  const leader = await cluster.leader();
  const other = cluster.places.find((place) => place !== away && place !== leader)!;
  const moved = await move(cluster, other);
  const { id } = moved.member!;
  await moved.member!.ready(new AbortController().signal);
  await eventually(async () =>
    (await cluster.leader()).member!.moveLeader({ target: id }, context()).then(
      () => true,
      () => false,
    ),
  );
  await moved.member!.put(put('k', 'w'), context());

  await cluster.start(away);
  await eventually(() => away.member!.header().revision === moved.member!.header().revision);
  expect(moved.member!.isLeader()).toBe(true);
  await cluster.stopAll();
});
