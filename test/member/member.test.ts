import { afterEach, describe, expect, test } from 'vitest';
import { deleteRequest } from '../../src/core/mvcc/operations.ts';
import { StoreError } from '../../src/lib/errors.ts';
import {
  context,
  eventually,
  get,
  newPlace,
  type Place,
  put,
  TestCluster,
  txn,
  valueOf,
} from './test-cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

function members(): NonNullable<Place['member']>[] {
  return cluster.places.flatMap((place) => (place.member === null ? [] : [place.member]));
}

describe('a three-member cluster', () => {
  test('answers a linearizable read at every member with what was acknowledged at another', async () => {
    cluster = await TestCluster.start(3);
    for (const [i, writer] of members().entries()) {
      await writer.put(put('key', `value ${i}`), context());
      for (const reader of members()) expect(await valueOf(reader, 'key')).toBe(`value ${i}`);
    }
  });

  test('takes many concurrent writes from all members, each exactly once', async () => {
    cluster = await TestCluster.start(3);
    const writes = members().flatMap((member, m) =>
      Array.from({ length: 200 }, (_, i) => member.put(put(`k/${m}/${i}`, 'x'), context())),
    );
    const answers = await Promise.all(writes);
    const revisions = new Set(answers.map((answer) => answer.header.revision));
    expect(revisions.size).toBe(600);
    const { result } = await members()[0]!.range(get('k/', 'k0'), context());
    expect(result.count).toBe(600);
    expect(result.kvs.every((kv) => kv.version === 1)).toBe(true);
  });

  test('members have equal state hashes at equal revisions', async () => {
    cluster = await TestCluster.start(3);
    for (let i = 0; i < 50; i++) await members()[i % 3]!.put(put(`key/${i % 7}`, `value ${i}`), context());
    const { header } = await members()[0]!.range(get('key/0'), context());
    await Promise.all(members().map((member) => member.range(get('key/0'), context())));
    const hashes = await Promise.all(
      members().map((member) => member.hashKv({ revision: header.revision }, context())),
    );
    expect(new Set(hashes.map((answer) => answer.result.hash)).size).toBe(1);
  });

  test('elects another leader when the leader is cut off, and keeps every acknowledged write', async () => {
    cluster = await TestCluster.start(3);
    const old = await cluster.leader();
    await old.member!.put(put('before', 'x'), context());
    const others = cluster.places.filter((place) => place !== old);
    cluster.network.partition(
      [cluster.idOf(old)],
      others.map((place) => cluster.idOf(place)),
    );
    await eventually(() => others.some((place) => place.member!.isLeader()));
    await others[0]!.member!.put(put('after', 'y'), context());
    expect(await valueOf(others[1]!.member!, 'before')).toBe('x');
    await eventually(() => !old.member!.isLeader());
    cluster.network.heal();
    expect(await valueOf(old.member!, 'after')).toBe('y');
  });

  test('a member cut off from the leader does not answer linearizable reads, but serializable ones', async () => {
    cluster = await TestCluster.start(3);
    await members()[0]!.put(put('key', 'old'), context());
    await Promise.all(members().map((member) => valueOf(member, 'key')));
    const leader = await cluster.leader();
    const lone = cluster.places.find((place) => place !== leader)!;
    const others = cluster.places.filter((place) => place !== lone);
    cluster.network.partition(
      [cluster.idOf(lone)],
      others.map((place) => cluster.idOf(place)),
    );
    await leader.member!.put(put('key', 'new'), context());
    const abort = new AbortController();
    const read = lone.member!.range(get('key'), { signal: abort.signal, serializable: false });
    const stale = await lone.member!.range(get('key'), { ...context(), serializable: true });
    expect(stale.result.kvs[0]?.value.toString()).toBe('old');
    abort.abort(new StoreError('deadline-exceeded'));
    await expect(read).rejects.toMatchObject({ code: 'deadline-exceeded' });
    cluster.network.heal();
    expect(await valueOf(lone.member!, 'key')).toBe('new');
  });

  test('restarts from its disks with everything, all members at once', async () => {
    cluster = await TestCluster.start(3);
    for (let i = 0; i < 20; i++) await members()[0]!.put(put(`k${i}`, `v${i}`), context());
    await cluster.stopAll();
    await Promise.all(cluster.places.map((place) => cluster.start(place)));
    for (let i = 0; i < 20; i++) expect(await valueOf(members()[i % 3]!, `k${i}`)).toBe(`v${i}`);
  });

  test('a member that has stopped refuses a defragmentation that comes too late', async () => {
    cluster = await TestCluster.start(1);
    const [place] = cluster.places;
    const { member } = place!;
    await member!.stop();
    await expect(member!.defragment(context())).rejects.toMatchObject({ code: 'stopped' });
    expect(place!.fatal).toBeNull();
  });

  test('a member that was away catches up', async () => {
    cluster = await TestCluster.start(3);
    const away = cluster.places[2]!;
    await cluster.stop(away);
    for (let i = 0; i < 30; i++) await members()[0]!.put(put(`k${i}`, 'x'), context());
    await cluster.start(away);
    expect(await valueOf(away.member!, 'k29')).toBe('x');
  });

  test('a member that was away for longer than the log reaches back gets the whole state', async () => {
    cluster = await TestCluster.start(3, { snapshotCount: 10, catchUpEntries: 5 });
    const away = cluster.places[2]!;
    await cluster.stop(away);
    for (let i = 0; i < 100; i++) await members()[0]!.put(put(`k${i % 10}`, `v${i}`), context());
    for (const member of members()) await member.defragment(context());
    for (let i = 100; i < 150; i++) await members()[0]!.put(put(`k${i % 10}`, `v${i}`), context());
    await cluster.start(away);
    expect(await valueOf(away.member!, 'k9')).toBe('v149');
    const { header } = await away.member!.range(get('k9'), context());
    const hashes = await Promise.all(
      members().map((member) => member.hashKv({ revision: header.revision }, context())),
    );
    expect(new Set(hashes.map((answer) => answer.result.hash)).size).toBe(1);
    await cluster.stop(away);
    await cluster.start(away);
    expect(await valueOf(away.member!, 'k9')).toBe('v149');
  });

  test('keeps acknowledged writes when every machine loses power at once', async () => {
    cluster = await TestCluster.start(3);
    for (let i = 0; i < 20; i++) await members()[i % 3]!.put(put(`k${i}`, 'x'), context());
    const random = { integer: (bound: number) => Math.floor(bound / 2) };
    for (const place of cluster.places) {
      place.disk.crash(random);
      place.levels.crash(random);
    }
    for (const place of cluster.places) {
      await place.member!.stop().catch(() => {});
      place.member = null;
    }
    await Promise.all(cluster.places.map((place) => cluster.start(place)));
    for (let i = 0; i < 20; i++) expect(await valueOf(members()[0]!, `k${i}`)).toBe('x');
  });
});

test('a bounded read is as old as what it was begun from, whatever is proven while it is read', async () => {
  cluster = await TestCluster.start(1);
  const [member] = members();
  for (let i = 0; i < 12; i++) await member!.put(put(`large${i}`, 'x'.repeat(2 ** 20)), context());
  let isRead = false;
  const everything = { ...get('large'), rangeEnd: Buffer.from('m') };
  const reading = member!.range(everything, { ...context(), maxStalenessMs: 3_600_000 }).finally(() => {
    isRead = true;
  });
  const { header } = await member!.put(put('k', 'acknowledged'), context());
  const acknowledgedMs = performance.now();
  let stillReadMs = acknowledgedMs;
  while (!isRead) {
    stillReadMs = performance.now();
    // Each turn takes a while, and proves something new.
    while (performance.now() < stillReadMs + 15);
    await member!.range(get('k'), context());
  }
  const answer = await reading;
  expect(answer.header.revision).toBeLessThan(header.revision);
  expect(answer.ageMs).toBeGreaterThanOrEqual(stillReadMs - acknowledgedMs);
});

describe('a disk that does not answer', () => {
  test('makes the leader give leadership up; the others go on, and it comes back', async () => {
    cluster = await TestCluster.start(3);
    const old = await cluster.leader();
    const others = cluster.places.filter((place) => place !== old);
    old.stalling.stall();
    const write = old.member!.put(put('stalled', 'x'), context());
    await eventually(() => others.some((place) => place.member!.isLeader()));
    await others[0]!.member!.put(put('meanwhile', 'y'), context());
    old.stalling.goOn();
    await write;
    expect(await valueOf(old.member!, 'meanwhile')).toBe('y');
    expect(await valueOf(others[1]!.member!, 'stalled')).toBe('x');
    expect(old.fatal).toBeNull();
  });

  test('ends the member when it lasts', async () => {
    cluster = await TestCluster.start(3, { electionMs: 100 });
    const place = await cluster.leader();
    place.stalling.stall();
    const write = place.member!.put(put('k', 'v'), context());
    await eventually(() => place.fatal !== null);
    expect(place.fatal).toMatchObject({ code: 'storage' });
    place.stalling.goOn();
    await Promise.allSettled([write]);
  });
});

describe('identity', () => {
  test('a member whose disk was emptied refuses to start under its old name', async () => {
    cluster = await TestCluster.start(3);
    await members()[0]!.put(put('k', 'v'), context());
    const lost = cluster.places[2]!;
    await eventually(() =>
      cluster.places.every((place) => place.member!.members().every((member) => member.name !== '')),
    );
    await cluster.stop(lost);
    const emptied = newPlace(lost.name);
    await expect(cluster.start(emptied)).rejects.toMatchObject({ code: 'member-data-lost' });
  });

  test('a member of another token is refused with a reason', async () => {
    cluster = await TestCluster.start(3);
    const stranger = cluster.places[0]!;
    await cluster.stop(stranger);
    const fresh = newPlace(stranger.name);
    await expect(cluster.start(fresh, { initialClusterToken: 'another' })).rejects.toMatchObject({
      code: 'cluster-id-mismatch',
    });
  });
});

describe('membership', () => {
  test('a member joins as learner, is promoted, and counts', async () => {
    cluster = await TestCluster.start(3);
    const place = cluster.addPlace('n4');
    const { result } = await members()[1]!.memberAdd({ peerUrls: [place.url], isLearner: true }, context());
    expect(result.member.isLearner).toBe(true);
    const joined = await cluster.start(place, { initialClusterState: 'existing' });
    await members()[0]!.put(put('k', 'v'), context());
    await eventually(() =>
      members()[0]!
        .memberPromote({ id: result.member.id }, context())
        .then(
          () => true,
          () => false,
        ),
    );
    expect(await valueOf(joined, 'k')).toBe('v');
    expect(joined.members().find((member) => member.id === joined.id)?.isLearner).toBe(false);
  });

  test('a removed member stops, and the others go on', async () => {
    cluster = await TestCluster.start(3);
    const leader = await cluster.leader();
    const gone = cluster.places.find((place) => place !== leader)!;
    const id = gone.member!.id;
    await leader.member!.memberRemove({ id }, context());
    expect(leader.member!.members().some((member) => member.id === id)).toBe(false);
    await leader.member!.put(put('k', 'v'), context());
    await eventually(() => gone.fatal !== null);
  });

  test('the leader can be removed', async () => {
    cluster = await TestCluster.start(3);
    const leader = await cluster.leader();
    const other = cluster.places.find((place) => place !== leader)!;
    await other.member!.memberRemove({ id: leader.member!.id }, context());
    await other.member!.put(put('k', 'v'), context());
    expect(other.member!.members()).toHaveLength(2);
  });

  test('a cluster of one takes a second voter in before it has started', async () => {
    cluster = await TestCluster.start(1);
    const place = cluster.addPlace('n2');
    const [member] = members();
    const request = { peerUrls: [place.url], isLearner: false };
    const { result } = await member!.memberAdd(request, context());
    expect(result.members).toHaveLength(2);
    await cluster.start(place, { initialClusterState: 'existing' });
    await member!.put(put('k', 'v'), context());
    expect(await valueOf(place.member!, 'k')).toBe('v');
  });

  test('unknown members and used addresses are refused', async () => {
    cluster = await TestCluster.start(3);
    const [member] = members();
    await expect(member!.memberRemove({ id: 42 }, context())).rejects.toMatchObject({
      code: 'member-not-found',
    });
    const used = cluster.places[1]!.url;
    await expect(member!.memberAdd({ peerUrls: [used], isLearner: false }, context())).rejects.toMatchObject({
      code: 'peer-url-exists',
    });
    await expect(
      member!.memberAdd({ peerUrls: ['nonsense'], isLearner: false }, context()),
    ).rejects.toMatchObject({
      code: 'member-bad-urls',
    });
    await expect(member!.memberPromote({ id: member!.id }, context())).rejects.toMatchObject({
      code: 'member-not-learner',
    });
  });

  test('leadership moves where it is told', async () => {
    cluster = await TestCluster.start(3);
    const leader = await cluster.leader();
    const target = cluster.places.find((place) => place !== leader)!;
    await expect(target.member!.moveLeader({ target: target.member!.id }, context())).rejects.toMatchObject({
      code: 'not-leader',
    });
    await leader.member!.moveLeader({ target: target.member!.id }, context());
    await eventually(() => target.member!.isLeader());
  });
});

describe('leases', () => {
  test('an expired lease takes its keys along; a kept one does not', async () => {
    cluster = await TestCluster.start(3);
    const [a, b] = members();
    const short = await a!.leaseGrant({ id: 0n, ttlSeconds: 1 }, context());
    const kept = await b!.leaseGrant({ id: -7n, ttlSeconds: 1 }, context());
    expect(kept.result.id).toBe(-7n);
    await a!.put(put('short', 'x', short.result.id), context());
    await a!.put(put('kept', 'x', -7n), context());
    await eventually(async () => {
      expect((await b!.leaseKeepAlive({ id: -7n }, context())).result.ttlSeconds).toBe(1);
      return (await valueOf(b!, 'short')) === undefined;
    });
    expect(await valueOf(a!, 'kept')).toBe('x');
    expect((await a!.leaseTimeToLive({ id: -7n, keys: true }, context())).result.keys).toEqual([
      Buffer.from('kept'),
    ]);
    await b!.leaseRevoke({ id: -7n }, context());
    expect(await valueOf(a!, 'kept')).toBeUndefined();
    expect((await b!.leaseKeepAlive({ id: -7n }, context())).result.ttlSeconds).toBe(0);
    expect((await a!.leaseTimeToLive({ id: -7n, keys: true }, context())).result.ttlSeconds).toBe(-1);
  });
});

describe('limits', () => {
  test('a leader takes 64 MiB that are not committed, and no more', async () => {
    cluster = await TestCluster.start(1, { electionMs: 10_000 });
    const { stalling } = cluster.places[0]!;
    const sizes = [15, 15, 15, 15, 5, 3, 2];
    const outcomes = sizes.map(() => 'waiting');
    stalling.stall();
    const writes: Promise<void>[] = [];
    for (const [i, mebibytes] of sizes.entries()) {
      const value = 'x'.repeat(mebibytes * 1024 * 1024);
      const write = members()[0]!
        .put(put(`k${i}`, value), context())
        .then(
          () => 'ok',
          (error: StoreError) => error.code,
        );
      writes.push(write.then((outcome) => void (outcomes[i] = outcome)));
      // One batch each: what is refused is refused as a whole.
      await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
    }
    const meanwhile = [...outcomes];
    stalling.goOn();
    await Promise.all(writes);
    const refused = 'too-many-requests';
    expect(meanwhile.map((outcome) => outcome === refused)).toEqual(sizes.map((_, i) => i === 4 || i === 6));
    expect(outcomes).toEqual(['ok', 'ok', 'ok', 'ok', refused, 'ok', refused]);
  });

  test('a request is answered within 5 s and two election timeouts', async () => {
    cluster = await TestCluster.start(1, { electionMs: 300 });
    const { stalling } = cluster.places[0]!;
    stalling.stall();
    const begunMs = performance.now();
    const outcome = await members()[0]!
      .put(put('k', 'v'), context())
      .then(
        () => 'ok',
        (error: StoreError) => error.code,
      );
    const tookMs = performance.now() - begunMs;
    stalling.goOn();
    expect(outcome).toMatch(/^timeout/);
    expect(tookMs).toBeGreaterThan(5_590);
  });

  test('a lease lives for one and a half election timeouts at least', async () => {
    cluster = await TestCluster.start(1, { electionMs: 1_400 });
    const granted = (ttlSeconds: number): Promise<number> =>
      members()[0]!
        .leaseGrant({ id: 0n, ttlSeconds }, context())
        .then(({ result }) => result.ttlSeconds);
    expect([await granted(1), await granted(3), await granted(4)]).toEqual([3, 3, 4]);
  });

  test.each(['', 'some value'])(
    'at the quota deleting everything makes room, of values as %j',
    async (value) => {
      cluster = await TestCluster.start(1, { quotaBytes: 2_000 });
      const [member] = members();
      const putAs = (key: string): Promise<string> =>
        member!.put(put(key, value), context()).then(
          () => 'ok',
          ({ code }: StoreError) => code,
        );
      let count = 0;
      while ((await putAs(`key${10 + count}`)) === 'ok') count += 1;
      const { length } = value;
      expect(count).toBe(Math.floor(2_000 / (64 + 5 + length)));
      const alarms = (): number => member!.status().result.alarms.length;
      await eventually(() => alarms() === 1);
      const everything = { ...deleteRequest({ key: Buffer.of(0) }), rangeEnd: Buffer.of(0) };
      const { header } = await member!.deleteRange(everything, context());
      await member!.compact({ revision: header.revision, physical: true }, context());
      await member!.defragment(context());
      // The deletes of the compacted revision are kept, which take as much as the keys did.
      expect(member!.status().result.dbSizeInUseBytes).toBe(count * (64 + 5));
      await member!.alarm({ action: 'deactivate', member: member!.id, alarm: 'no-space' }, context());
      expect(await putAs('again')).toBe('ok');
      await member!.compact({ revision: header.revision + 1, physical: true }, context());
      expect(member!.status().result.dbSizeInUseBytes).toBe(64 + 5 + length);
      for (let i = 1; i < count; i++) expect(await putAs(`key${10 + i}`)).toBe('ok');
      expect(alarms()).toBe(0);
    },
  );

  test('at the quota writes are refused everywhere until space is made and the alarm disarmed', async () => {
    cluster = await TestCluster.start(1, { quotaBytes: 5_000 });
    const [member] = members();
    await member!.put(put('a', 'x'.repeat(2_000)), context());
    await expect(member!.put(put('b', 'x'.repeat(4_000)), context())).rejects.toMatchObject({
      code: 'no-space',
    });
    const alarms = (): Promise<number> =>
      member!
        .alarm({ action: 'get', member: 0, alarm: 'none' }, context())
        .then(({ result }) => result.length);
    await eventually(async () => (await alarms()) === 1);
    expect(member!.status().result.alarms).toMatchObject([{ member: member!.id, alarm: 'no-space' }]);
    const ofOthers = { action: 'get', member: member!.id + 1, alarm: 'no-space' } as const;
    expect((await member!.alarm(ofOthers, context())).result).toHaveLength(1);
    await expect(member!.put(put('c', 'x'), context())).rejects.toMatchObject({ code: 'no-space' });
    expect((await member!.txn(txn(get('a')), context())).result.succeeded).toBe(true);
    await member!.alarm({ action: 'deactivate', member: member!.id, alarm: 'no-space' }, context());
    await member!.put(put('c', 'x'), context());
  });
});
