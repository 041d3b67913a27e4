import { describe, expect, test } from 'vitest';
import { STREAM_WATCH_ID, type WatchDelivery } from '../../../src/core/watch/delivery.ts';
import { WATCH_LIMITS_DEFAULT } from '../../../src/core/watch/hub.ts';
import { Harness, put, remove } from '../mvcc/fixture.ts';
import { RecordingSink, WatchHarness, watch } from './fixture.ts';

const NONCES_MAX = WATCH_LIMITS_DEFAULT.noncesMax;

function open(options?: ConstructorParameters<typeof WatchHarness>[0]) {
  const harness = new WatchHarness(options);
  const sink = new RecordingSink();
  const stream = harness.hub.open(sink);
  const take = (): string[] => sink.deliveries.splice(0).map(nonceOf);
  return { harness, hub: harness.hub, sink, stream, take };
}

/** `2@5#7` is progress of watch 2 up to revision 5, for nonce 7. */
function nonceOf(delivery: WatchDelivery): string {
  if (delivery.type === 'progress') return `${delivery.watchId}@${delivery.revision}#${delivery.nonce}`;
  if (delivery.type === 'canceled') return `${delivery.watchId}!${delivery.reason}`;
  return `${delivery.watchId}@${delivery.revision}`;
}

describe('progress by nonce', () => {
  test('of a watch that has everything is told at once, without its events', () => {
    const { harness, stream, take } = open();
    stream.create(watch(1n, 'k'));
    harness.write(put('other'));
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    expect(take()).toEqual(['1@2#7']);
    stream.requestNonce({ watchId: 1n, nonce: 2n ** 63n + 1n });
    expect(take()).toEqual([`1@2#${2n ** 63n + 1n}`]);
  });

  test('comes after the history that the watch has yet to get, and does not wait for other watches', () => {
    const { harness, stream, take } = open({ sliceRowsMax: 2 });
    for (let i = 0; i < 6; i++) harness.write(put('k'));
    stream.create(watch(1n, 'k', { startRevision: 2 }));
    stream.create(watch(2n, 'other'));
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    stream.requestNonce({ watchId: 2n, nonce: 8n });
    expect(take()).toEqual(['2@7#8']);
    harness.sync();
    expect(take()).toEqual(['1@3', '1@5', '1@7', '1@7#7']);
  });

  test('is withheld while the sink takes nothing, and comes after what was held back', () => {
    const { harness, hub, sink, stream, take } = open();
    stream.create(watch(1n, 'k'));
    sink.room = 0;
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    harness.write(put('k'));
    sink.room = 10;
    hub.resume(sink);
    expect(take()).toEqual([]);
    harness.sync();
    expect(take()).toEqual(['1@2', '1@2#7']);
  });

  test('of a watch without news comes as soon as the sink takes something', () => {
    const { hub, sink, stream, take } = open();
    stream.create(watch(1n, 'k'));
    sink.room = 0;
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    stream.requestNonce({ watchId: 1n, nonce: 8n });
    sink.room = 1;
    hub.resume(sink);
    expect(take()).toEqual(['1@1#7']);
    sink.room = 1;
    hub.resume(sink);
    expect(take()).toEqual(['1@1#8']);
    sink.room = 9;
    hub.resume(sink);
    expect(take()).toEqual([]);
  });

  test('of a watch that waits for a future revision comes when that one is next', () => {
    const { harness, stream, take } = open();
    stream.create(watch(1n, 'k', { startRevision: 4 }));
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    harness.write(put('k'));
    harness.sync();
    expect(take()).toEqual([]);
    harness.write(put('k'));
    expect(take()).toEqual(['1@3#7']);
    harness.write(put('k'));
    expect(take()).toEqual(['1@4']);
  });

  test('is not told of a watch that is not there, or not any more', () => {
    const { harness, stream, take } = open();
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    stream.create(watch(2n, 'k', { startRevision: 3 }));
    stream.requestNonce({ watchId: 2n, nonce: 8n });
    stream.cancel(2n);
    harness.write(put('k'), put('k'), put('k'));
    harness.sync();
    expect(take()).toEqual([]);
  });

  test('of a whole stream waits for all its watches', () => {
    const { harness, hub, stream, take } = open();
    harness.write(put('k'));
    stream.create(watch(1n, 'k'));
    stream.create(watch(2n, 'k', { startRevision: 2 }));
    stream.requestNonce({ watchId: STREAM_WATCH_ID, nonce: 7n });
    stream.requestNonce({ watchId: STREAM_WATCH_ID, nonce: 8n });
    stream.requestProgress();
    expect(take()).toEqual([]);
    harness.sync();
    expect(take()).toEqual(['2@2', '-1@2#0', '-1@2#7', '-1@2#8']);
    expect(hub.stats.noncesAnswered).toBe(2);
  });

  test.each([1n, STREAM_WATCH_ID])('keeps the latest requests that wait, for %s', (watchId) => {
    const { hub, sink, stream, take } = open();
    stream.create(watch(1n, 'k'));
    sink.room = 0;
    const asked = Array.from({ length: NONCES_MAX + 3 }, (_, i) => BigInt(i + 1));
    for (const nonce of asked) stream.requestNonce({ watchId, nonce });
    sink.room = 100;
    hub.resume(sink);
    hub.syncSlice();
    expect(take()).toEqual(asked.slice(3).map((nonce) => `${watchId}@1#${nonce}`));
  });

  test('waits for the history of a whole state that was taken over', () => {
    const { harness, hub, stream, take } = open();
    stream.create(watch(1n, 'k'));
    stream.create(watch(2n, 'k', { startRevision: 6 }));
    stream.requestNonce({ watchId: 2n, nonce: 8n });
    const other = new Harness();
    for (let i = 0; i < 4; i++) other.commit(put('k'));
    hub.storeReplaced(other.store);
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    expect(take()).toEqual(['2@5#8']);
    harness.sync();
    expect(take()).toEqual(['1@5', '1@5#7']);
  });
});

const OVER = 'etcdserver: requested lease not found';

describe('a watch bound to a lease', () => {
  test('is canceled when that ends, after the events of its end; others go on', () => {
    const { harness, hub, stream, take } = open();
    stream.create(watch(1n, 'k', { lease: 5n }));
    stream.create(watch(2n, 'k', { lease: 6n }));
    stream.create(watch(3n, 'k'));
    harness.write(put('k'), remove('k'));
    take();
    hub.leaseEnded(5n);
    expect(take()).toEqual([`1!${OVER}`]);
    hub.leaseEnded(5n);
    harness.write(put('k'));
    expect(take()).toEqual(['2@4', '3@4']);
    expect([...stream.watchers.keys()]).toEqual([2n, 3n]);
  });

  test('that is behind gets everything first', () => {
    const { harness, hub, stream, take } = open({ sliceRowsMax: 2 });
    harness.write(put('k'), put('k'), put('k'), remove('k'));
    stream.create(watch(1n, 'k', { startRevision: 2, lease: 5n }));
    hub.leaseEnded(5n);
    expect(take()).toEqual([]);
    harness.sync();
    expect(take()).toEqual(['1@3', '1@5', `1!${OVER}`]);
    expect(hub.stats.watchers).toBe(0);
  });

  test('whose sink takes nothing hears of it when that does', () => {
    const { harness, hub, sink, stream, take } = open();
    stream.create(watch(1n, 'k', { lease: 5n }));
    stream.create(watch(2n, 'none', { lease: 5n }));
    sink.room = 0;
    harness.write(remove('other'), put('k'));
    hub.leaseEnded(5n);
    sink.room = 1;
    hub.resume(sink);
    harness.sync();
    sink.room = 10;
    hub.resume(sink);
    harness.sync();
    expect(take().toSorted()).toEqual([`1!${OVER}`, '1@2', `2!${OVER}`]);
    expect(hub.stats.watchers).toBe(0);
  });

  test('that waits for a future revision does not wait with its end', () => {
    const { hub, stream, take } = open();
    stream.create(watch(1n, 'k', { startRevision: 99, lease: 5n }));
    stream.requestNonce({ watchId: 1n, nonce: 7n });
    hub.leaseEnded(5n);
    expect(take()).toEqual([`1!${OVER}`]);
  });

  test('that is not in a state that was taken over ends with that', () => {
    const { hub, stream, take, harness } = open();
    stream.create(watch(1n, 'k', { lease: 5n }));
    stream.create(watch(2n, 'k', { lease: 6n }));
    const other = new Harness();
    other.commit(put('k'));
    hub.storeReplaced(other.store, (lease) => lease === 6n);
    harness.sync();
    expect(take()).toEqual(['1@2', '2@2', `1!${OVER}`]);
  });

  test('that was canceled before hears nothing of it', () => {
    const { hub, stream, take } = open();
    stream.create(watch(1n, 'k', { lease: 5n }));
    stream.cancel(1n);
    hub.leaseEnded(5n);
    expect(take()).toEqual([]);
  });
});
