import { expect, test } from 'vitest';
import { context, eventually, put, TestCluster } from './test-cluster.ts';

test('a member that was away follows a leader that was added meanwhile', async () => {
  const cluster = await TestCluster.start(3);
  const [first, , away] = cluster.places;
  const leader = await cluster.leader();
  if (leader === away) await leader.member!.moveLeader({ target: first!.member!.id }, context());
  await cluster.stop(away!);
  const added = cluster.addPlace('n4');
  const old = await cluster.leader();
  const { result } = await old.member!.memberAdd({ peerUrls: [added.url], isLearner: true }, context());
  await cluster.start(added, { initialClusterState: 'existing' });
  const { id } = result.member;
  await eventually(() =>
    old.member!.memberPromote({ id }, context()).then(
      () => true,
      () => false,
    ),
  );
  await old.member!.moveLeader({ target: id }, context());
  await added.member!.put(put('k', 'v'), context());

  await cluster.start(away!);
  await eventually(() => away!.member!.header().revision === added.member!.header().revision);
  expect(added.member!.isLeader()).toBe(true);
  await cluster.stopAll();
});
