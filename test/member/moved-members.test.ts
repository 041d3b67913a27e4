import { expect, test } from 'vitest';
import { context, eventually, type Place, put, TestCluster } from './test-cluster.ts';

/** A follower, after leadership went elsewhere if need be. */
async function follower(cluster: TestCluster): Promise<Place> {
  const leader = await cluster.leader();
  return cluster.places.find((place) => place !== leader)!;
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
  await leader.member!.memberUpdate({ id, peerUrls: ['http://moved:2380'] }, context());
  await cluster.stop(place);
  await leader.member!.put(put('k', 'v'), context());
  const moved = { ...place, url: 'http://moved:2380' };
  cluster.places.splice(cluster.places.indexOf(place), 1, moved);
  await cluster.start(moved);
  await eventually(() => moved.member!.header().revision === leader.member!.header().revision);
  // It is also in reach of the third, which must elect it.
  await leader.member!.moveLeader({ target: id }, context());
  expect((await cluster.leader()).url).toBe(moved.url);
  await cluster.stopAll();
});
