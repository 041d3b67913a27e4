import { afterEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { context, eventually, newPlace, put, TestCluster, valueOf } from './test-cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

describe('a member that must not start', () => {
  test('leaves nothing running and nothing locked behind', async () => {
    cluster = await TestCluster.start(3);
    const stray = cluster.addPlace('stray');
    const alone = { initialCluster: [{ name: 'stray', peerUrls: [stray.url] }] };
    await cluster.start(stray, alone);
    await stray.member!.ready(context().signal);
    await stray.member!.put(put('k', 'v'), context());
    await cluster.stop(stray);
    // Its data, a cluster of its own, at a place in another cluster: found out only once it runs.
    await expect(cluster.start(stray)).rejects.toMatchObject({ code: 'data-dir-foreign' });
    await cluster.start(stray, alone);
    await stray.member!.ready(context().signal);
    expect(await valueOf(stray.member!, 'k')).toBe('v');
  });
});

describe('ready', () => {
  test('ends with the reason once it is told to, before and while it waits', async () => {
    cluster = new TestCluster(3);
    await Promise.all(cluster.places.map((place) => cluster.start(place)));
    await cluster.stopAll();
    const [place] = cluster.places;
    const member = await cluster.start(place!);
    const abort = new AbortController();
    const waiting = member.ready(abort.signal);
    abort.abort(new StoreError('stopped'));
    await expect(waiting).rejects.toMatchObject({ code: 'stopped' });
    await expect(member.ready(abort.signal)).rejects.toMatchObject({ code: 'stopped' });
  });
});

describe('a backup', () => {
  test('can be taken of a member that has lost the others', async () => {
    cluster = await TestCluster.start(3);
    const [place, ...others] = cluster.places;
    await place!.member!.put(put('k', 'v'), context());
    for (const other of others) await cluster.stop(other);
    await eventually(() => !place!.member!.hasLeader());
    const { frames } = await place!.member!.snapshot(context());
    let bytes = 0;
    for await (const frame of frames) bytes += frame.length;
    expect(bytes).toBeGreaterThan(0);
  });
});

describe('an alarm', () => {
  test('raised for nobody in particular is raised for the member asked', async () => {
    cluster = await TestCluster.start(1);
    const { member } = cluster.places[0]!;
    const raised = await member!.alarm({ action: 'activate', member: 0, alarm: 'no-space' }, context());
    expect(raised.result).toEqual([{ member: member!.id, alarm: 'no-space' }]);
  });
});

describe('addresses of a member', () => {
  test('can be changed; those of an unknown one cannot', async () => {
    cluster = await TestCluster.start(1);
    const { member } = cluster.places[0]!;
    const peerUrls = ['http://elsewhere:2380'];
    const { result } = await member!.memberUpdate({ id: member!.id, peerUrls }, context());
    expect(result[0]!.peerUrls).toEqual(peerUrls);
    await expect(member!.memberUpdate({ id: 42, peerUrls }, context())).rejects.toMatchObject({
      code: 'member-not-found',
    });
  });
});

describe('a member that joins a second time', () => {
  test('without its data is refused by the voters, whoever is asked first', async () => {
    cluster = await TestCluster.start(3);
    const place = cluster.addPlace('n4');
    const [first] = cluster.places;
    await first!.member!.memberAdd({ peerUrls: [place.url], isLearner: true }, context());
    await cluster.start(place, { initialClusterState: 'existing' });
    await place.member!.ready(context().signal);
    await cluster.stop(place);
    const emptied = newPlace(place.name);
    await expect(cluster.start(emptied, { initialClusterState: 'existing' })).rejects.toMatchObject({
      code: 'member-data-lost',
    });
  });
});
