import { expect, test } from 'vitest';
import { WATCH_LIMITS_DEFAULT } from '../../../src/core/watch/hub.ts';
import { AssertionError } from '../../../src/lib/assert.ts';
import { bytes, Harness, put, remove, txn } from '../mvcc/fixture.ts';
import { RecordingSink, WatchHarness, watch } from './fixture.ts';

function open(options?: ConstructorParameters<typeof WatchHarness>[0]) {
  const harness = new WatchHarness(options);
  const sink = new RecordingSink();
  return { harness, hub: harness.hub, sink, stream: harness.hub.open(sink) };
}

test('a watch on a key hears of that key only, from now on', () => {
  const { harness, sink, stream } = open();
  harness.write(put('k', '1'));
  expect(stream.create(watch(1n, 'k'))).toBeNull();
  harness.write(put('k', '2'), put('l'), put('kk'), remove('k'));
  expect(sink.take()).toEqual(['1@3:+k', '1@6:-k']);
});

test.each([
  ['b', 'd', ['+b', '+bb', '+c']],
  ['b', '\0', ['+b', '+bb', '+c', '+d', '+\xff']],
  ['', '\0', ['+a', '+b', '+bb', '+c', '+d', '+\xff']],
  ['\0', '\0', ['+a', '+b', '+bb', '+c', '+d', '+\xff']],
  ['\xff', '\0', ['+\xff']],
])('a watch on [%j, %j) hears of the keys within', (key, end, expected) => {
  const { harness, sink, stream } = open();
  stream.create(watch(1n, key, { end }));
  harness.write(...['a', 'b', 'bb', 'c', 'd', '\xff'].map((each) => put(each)));
  expect(sink.take().map((each) => each.split(':')[1])).toEqual(expected);
});

test('filters leave out puts or deletes', () => {
  const { harness, sink, stream } = open();
  stream.create(watch(1n, 'k', { noPut: true }));
  stream.create(watch(2n, 'k', { noDelete: true }));
  stream.create(watch(3n, 'k', { noPut: true, noDelete: true }));
  harness.write(put('k'), remove('k'));
  expect(sink.take()).toEqual(['2@2:+k', '1@3:-k']);
});

test('all events of a revision come in one delivery, in order', () => {
  const { harness, sink, stream } = open();
  stream.create(watch(1n, 'a', { end: 'c' }));
  harness.write(txn([], [put('b'), put('x'), put('a')]));
  expect(sink.take()).toEqual(['1@2:+b,+a']);
});

test('one notify of several revisions is several deliveries', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'a', { end: 'z' }));
  const events = [put('a'), put('b')].flatMap((request) => harness.commit(request).events);
  hub.notify(3, events);
  expect(sink.take()).toEqual(['1@2:+a', '1@3:+b']);
  expect(() => hub.notify(3, events)).toThrow(AssertionError);
});

test('a watch from the past is given history, then what happens', () => {
  const { harness, sink, stream } = open();
  harness.write(put('k', '1'), put('x'), put('k', '2'), put('k', '3'));
  stream.create(watch(1n, 'k', { startRevision: 3 }));
  expect(harness.work).toBe(1);
  expect(sink.take()).toEqual([]);
  harness.write(put('k', '4'));
  harness.sync();
  harness.write(put('k', '5'));
  expect(sink.take()).toEqual(['1@6:+k,+k,+k', '1@7:+k']);
});

test('history comes in slices that never split a revision', () => {
  const { harness, hub, sink, stream } = open({ sliceRowsMax: 2 });
  harness.write(put('a'), txn([], [put('b'), put('c'), put('d')]), put('e'));
  stream.create(watch(1n, 'a', { end: 'z', startRevision: 1 }));
  expect(hub.syncSlice()).toBe(true);
  expect(sink.take()).toEqual(['1@3:+a,+b,+c,+d']);
  expect(hub.stats).toMatchObject({ unsynced: 1, synced: 0 });
  expect(hub.syncSlice()).toBe(false);
  expect(sink.take()).toEqual(['1@4:+e']);
  expect(hub.stats).toMatchObject({ unsynced: 0, synced: 1, eventsDelivered: 5 });
});

test('a long way back for some does not keep others waiting', () => {
  const { harness, hub, sink, stream } = open({ sliceRowsMax: 1 });
  for (let i = 0; i < 50; i++) harness.write(put('k'));
  stream.create(watch(1n, 'k', { startRevision: 1 }));
  hub.syncSlice();
  stream.create(watch(2n, 'k', { startRevision: 51 }));
  hub.syncSlice();
  hub.syncSlice();
  expect(sink.take()).toEqual(['1@2:+k', '1@3:+k', '2@51:+k']);
});

test('a watch from the future waits: neither older events nor progress', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'k', { startRevision: 4, progressNotify: true }));
  harness.write(put('k'));
  hub.tickProgress();
  stream.requestProgress();
  expect(sink.take()).toEqual([]);
  harness.write(put('x'));
  // Revision 3 is the last before its start: now there is nothing it could still be missing.
  expect(sink.take()).toEqual(['-1@3']);
  hub.tickProgress();
  harness.write(put('k'));
  expect(sink.take()).toEqual(['1@3', '1@4:+k']);
});

test('prevKv is looked up once and shared', () => {
  const { harness, sink, stream } = open();
  harness.write(put('k', 'old'));
  for (const id of [1n, 2n]) stream.create(watch(id, 'k', { prevKv: true }));
  for (const id of [3n, 4n]) stream.create(watch(id, 'k'));
  harness.write(put('k', 'new'));
  const events = sink.deliveries.map((each) => (each.type === 'events' ? each.events[0]! : null));
  expect(events[0]!.prevKv).toMatchObject({ value: bytes('old'), modRevision: 2 });
  expect(events[1]).toBe(events[0]);
  expect(events[2]!.prevKv).toBeNull();
  expect(events[3]).toBe(events[2]);
  expect(events[2]!.event).toBe(events[0]!.event);
});

test('history has prevKv too, unless it is compacted', () => {
  const { harness, sink, stream } = open();
  harness.write(put('k', '1'), put('k', '2'), put('k', '3'));
  harness.compact(3);
  stream.create(watch(1n, 'k', { startRevision: 3, prevKv: true }));
  harness.sync();
  const [delivery] = sink.deliveries;
  const previous =
    delivery?.type === 'events' ? delivery.events.map(({ prevKv }) => prevKv?.modRevision) : [];
  expect(previous).toEqual([undefined, 3]);
});

test('a slow watcher keeps its place and is caught up from history', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'k'));
  stream.create(watch(2n, 'other'));
  sink.room = 1;
  harness.write(put('k', '1'), put('k', '2'), put('x'), put('k', '3'));
  expect(sink.take()).toEqual(['1@2:+k']);
  expect(hub.stats).toMatchObject({ slow: 1, synced: 1 });
  expect(hub.syncSlice()).toBe(false);
  sink.room = 10;
  hub.resume(sink);
  harness.write(put('k', '4'));
  harness.sync();
  harness.write(put('k', '5'));
  expect(sink.take()).toEqual(['1@6:+k,+k,+k', '1@7:+k']);
});

test('a slow watcher whose history is compacted is canceled, with where to begin anew', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'k', { progressNotify: true }));
  sink.room = 0;
  harness.write(put('k', '1'), put('k', '2'), put('k', '3'));
  harness.compact(4);
  sink.room = 10;
  hub.resume(sink);
  harness.sync();
  expect(sink.deliveries).toEqual([
    {
      type: 'canceled',
      watchId: 1n,
      reason: 'etcdserver: mvcc: required revision has been compacted',
      compactRevision: 4,
    },
  ]);
  sink.take();
  harness.write(put('k'));
  hub.tickProgress();
  expect(sink.take()).toEqual([]);
  expect(stream.cancel(1n)).toBe(false);
  expect(hub.stats.watchers).toBe(0);
});

test('a start below the compaction is canceled after the creation, one at it is served', () => {
  const { harness, sink, stream } = open();
  harness.write(put('k', '1'), put('k', '2'), put('k', '3'));
  harness.compact(3);
  stream.create(watch(1n, 'k', { startRevision: 2 }));
  stream.create(watch(2n, 'k', { startRevision: 3 }));
  expect(sink.take()).toEqual([]);
  harness.sync();
  expect(sink.take()).toEqual(['1!3', '2@4:+k,+k']);
});

test('what cannot be watched is refused with a reason', () => {
  const { stream } = open({ watchersPerStreamMax: 2 });
  expect(stream.create(watch(1n, 'b', { end: 'b' }))).toBe('mvcc: watcher range is empty');
  expect(stream.create(watch(1n, 'k', { startRevision: -1 }))).toContain('compacted');
  expect(stream.create(watch(1n, 'k'))).toBeNull();
  expect(stream.create(watch(1n, 'k'))).toContain('duplicate watch ID');
  // Of two mistakes the range is told, as by etcd.
  expect(stream.create(watch(1n, 'b', { end: 'a' }))).toBe('mvcc: watcher range is empty');
  expect(stream.create(watch(2n, 'k'))).toBeNull();
  expect(stream.create(watch(3n, 'k'))).toContain('too many');
});

test('all watchers together are bounded', () => {
  const { harness, stream } = open({ watchersMax: 1 });
  const other = harness.hub.open(new RecordingSink());
  expect(stream.create(watch(1n, 'k'))).toBeNull();
  expect(other.create(watch(1n, 'k'))).toContain('too many');
  stream.close();
  expect(other.create(watch(1n, 'k'))).toBeNull();
});

test('without other limits a stream may have 100,000 watchers and a member a million', () => {
  expect(WATCH_LIMITS_DEFAULT).toMatchObject({ watchersMax: 1_000_000, watchersPerStreamMax: 100_000 });
  const { harness, hub, sink, stream } = open();
  for (let i = 0; i < 100_000; i++) {
    if (stream.create(watch(BigInt(i), `k${i}`)) !== null) expect.unreachable(`watch ${i} is refused`);
  }
  expect(stream.create(watch(100_000n, 'k'))).toContain('too many');
  expect(hub.open(new RecordingSink()).create(watch(1n, 'k'))).toBeNull();
  harness.write(put('k99999'));
  expect(sink.take()).toEqual(['99999@2:+k99999']);
});

test('nothing follows a cancel or a close', () => {
  const { harness, hub, sink, stream } = open();
  harness.write(put('k'));
  stream.create(watch(1n, 'k'));
  stream.create(watch(2n, 'k', { startRevision: 1 }));
  stream.create(watch(3n, 'k', { end: 'z' }));
  expect(stream.cancel(1n)).toBe(true);
  expect(stream.cancel(2n)).toBe(true);
  expect(stream.cancel(2n)).toBe(false);
  harness.write(put('k'));
  harness.sync();
  expect(sink.take()).toEqual(['3@3:+k']);
  stream.close();
  stream.close();
  hub.resume(sink);
  harness.write(put('k'));
  expect(sink.take()).toEqual([]);
  expect(hub.stats).toMatchObject({ streams: 0, watchers: 0, synced: 0, unsynced: 0, slow: 0 });
});

test('a sink that cancels a watch while it is being served is obeyed', () => {
  const { harness, sink, stream } = open();
  stream.create(watch(1n, 'k'));
  stream.create(watch(2n, 'k'));
  sink.onDelivery = () => stream.cancel(2n);
  harness.write(put('k'));
  expect(sink.take()).toEqual(['1@2:+k']);
});

test('progress goes to idle watches that asked for it', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'k', { progressNotify: true }));
  stream.create(watch(2n, 'k'));
  hub.tickProgress();
  expect(sink.take()).toEqual(['1@1']);
  harness.write(put('k'));
  hub.tickProgress();
  expect(sink.take()).toEqual(['1@2:+k', '2@2:+k']);
  hub.tickProgress();
  expect(sink.take()).toEqual(['1@2']);
  harness.write(put('x'));
  hub.tickProgress();
  expect(sink.take()).toEqual(['1@3']);
});

test('no progress is promised to a watch that is behind', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'k', { progressNotify: true }));
  sink.room = 0;
  harness.write(put('k'));
  sink.room = 5;
  hub.tickProgress();
  expect(sink.take()).toEqual([]);
  hub.resume(sink);
  hub.tickProgress();
  expect(sink.take()).toEqual([]);
  harness.sync();
  hub.tickProgress();
  hub.tickProgress();
  expect(sink.take()).toEqual(['1@2:+k', '1@2']);
});

test('progress of a stream comes at once when all its watches are synced', () => {
  const { harness, sink, stream } = open();
  stream.requestProgress();
  harness.write(put('x'));
  stream.create(watch(1n, 'k'));
  stream.requestProgress();
  expect(sink.take()).toEqual(['-1@1', '-1@2']);
});

test('progress of a stream waits for watches that are behind and comes after their events', () => {
  const { harness, hub, sink, stream } = open({ sliceRowsMax: 1 });
  harness.write(put('k'), put('k'));
  stream.create(watch(1n, 'k', { startRevision: 1 }));
  stream.requestProgress();
  stream.requestProgress();
  hub.syncSlice();
  expect(sink.take()).toEqual(['1@2:+k']);
  harness.sync();
  expect(sink.take()).toEqual(['1@3:+k', '-1@3']);
  harness.write(put('k'));
  expect(sink.take()).toEqual(['1@4:+k']);
});

test('progress of a stream waits for its sink', () => {
  const { harness, hub, sink, stream } = open();
  stream.create(watch(1n, 'k'));
  sink.room = 0;
  stream.requestProgress();
  harness.write(put('x'));
  sink.room = 5;
  harness.work = 0;
  hub.resume(sink);
  expect(harness.work).toBe(1);
  harness.sync();
  expect(sink.take()).toEqual(['-1@2']);
});

test('canceling the last watch that is behind lets the progress of its stream go', () => {
  const { harness, sink, stream } = open();
  harness.write(put('k'));
  stream.create(watch(1n, 'k', { startRevision: 1 }));
  stream.requestProgress();
  harness.work = 0;
  stream.cancel(1n);
  expect(harness.work).toBe(1);
  harness.sync();
  expect(sink.take()).toEqual(['-1@2']);
});

test('after the store is replaced every watch goes on from what it has', () => {
  const { harness, hub, sink, stream } = open();
  const leader = new Harness();
  harness.write(put('k', '1'));
  stream.create(watch(1n, 'k'));
  stream.create(watch(2n, 'k', { startRevision: 7 }));
  for (const value of ['1', '2', '3', '4']) leader.commit(put('k', value));
  hub.storeReplaced(leader.store);
  expect(harness.work).toBeGreaterThan(0);
  while (hub.syncSlice());
  expect(sink.take()).toEqual(['1@5:+k,+k,+k']);
  for (const value of ['5', '6']) {
    const { revision, events } = leader.commit(put('k', value));
    hub.notify(revision, events);
  }
  expect(sink.take().sort()).toEqual(['1@6:+k', '1@7:+k', '2@7:+k']);
});

test('after the store is replaced a watch whose history is compacted there is canceled', () => {
  const { harness, hub, sink, stream } = open();
  const leader = new Harness();
  stream.create(watch(1n, 'k'));
  harness.write(put('k', '1'));
  for (const value of ['1', '2', '3', '4']) leader.commit(put('k', value));
  leader.compact(4);
  hub.storeReplaced(leader.store);
  while (hub.syncSlice());
  expect(sink.take()).toEqual(['1@2:+k', '1!4']);
});

test('ten thousand ranges do not cost ten thousand looks per event', () => {
  const { harness, hub, sink, stream } = open();
  const name = (i: number): string => String(i).padStart(5, '0');
  for (let i = 0; i < 10_000; i++) stream.create(watch(BigInt(i), name(i), { end: name(i + 1) }));
  // Looking at every watcher would be 10^8 comparisons, beyond the test's time limit with the rest.
  for (let i = 0; i < 10_000; i++) harness.write(put(`${name(i)}/x`));
  expect(sink.deliveries).toHaveLength(10_000);
  expect(sink.deliveries.every((each, i) => each.watchId === BigInt(i))).toBe(true);
  expect(hub.stats.eventsDelivered).toBe(10_000);
});
