import { afterEach, beforeEach, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import type { WatchBatch } from '../../src/client/types.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
let store: SmallStore;
let one: SmallMember;
let two: SmallMember;
let client: KvClient;
let control: AbortController;

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  two = await new SmallMember(store).start();
  client = new KvClient({ endpoints: [one.address, two.address] });
  control = new AbortController();
});
afterEach(async () => {
  control.abort();
  client.close();
  await one.stop();
  await two.stop();
});

const put = (key: string, value: string): void => {
  store.put({ key: bytes(key), value: bytes(value), lease: 0n });
};

/** Takes batches until `count` events were told; fails when the watch ends before. */
async function take(watch: AsyncGenerator<WatchBatch>, count: number): Promise<string[]> {
  const told: string[] = [];
  while (told.length < count) {
    const { value, done } = await watch.next();
    if (done === true) throw new Error('the watch ended');
    for (const { type, kv } of value.events)
      told.push(`${type} ${kv.key.toString()}=${kv.value.toString()}@${kv.modRevision}`);
  }
  return told;
}

test('a watch tells history from its start revision, then what happens', async () => {
  put('a1', 'x');
  put('b', 'other');
  const watch = client.watch({
    key: bytes('a'),
    rangeEnd: prefixEnd(bytes('a')),
    startRevision: 1,
    signal: control.signal,
  });
  expect(await take(watch, 1)).toEqual(['put a1=x@2']);
  put('a2', 'y');
  store.delete(bytes('a1'), Buffer.alloc(0));
  expect(await take(watch, 2)).toEqual(['put a2=y@4', 'delete a1=@5']);
  expect(one.hasLeaderAsked).toEqual(['true']);
});

test('after the member is lost the watch goes on elsewhere, each event once', async () => {
  const watch = client.watch({ key: bytes('a'), startRevision: 1, signal: control.signal });
  put('a', '1');
  expect(await take(watch, 1)).toEqual(['put a=1@2']);
  await one.stop();
  put('a', '2');
  put('a', '3');
  expect(await take(watch, 2)).toEqual(['put a=2@3', 'put a=3@4']);
  await one.start();
  await two.stop();
  put('a', '4');
  expect(await take(watch, 1)).toEqual(['put a=4@5']);
});

test('a watch of what is to come misses nothing, though its member is lost before the first event', async () => {
  const watch = client.watch({ key: bytes('a'), signal: control.signal });
  const first = take(watch, 1);
  // The member says `created` before it is lost: from then on the position is known.
  await expect.poll(() => one.hasLeaderAsked.length).toBe(1);
  await client.range({ key: bytes('a') });
  await one.stop();
  put('a', '1');
  expect(await first).toEqual(['put a=1@2']);
});

test('a member without a leader is left for the next', async () => {
  one.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: no leader');
  put('a', '1');
  const watch = client.watch({ key: bytes('a'), startRevision: 1, signal: control.signal });
  expect(await take(watch, 1)).toEqual(['put a=1@2']);
  expect(two.calls).toEqual(['/etcdserverpb.Watch/Watch']);
});

test('history that is gone ends the watch and says from where it is there', async () => {
  store.compactRevision = 7;
  const watch = client.watch({ key: bytes('a'), startRevision: 3, signal: control.signal });
  await expect(watch.next()).rejects.toMatchObject({ code: 'out-of-range', compactRevision: 7 });
});

test('a refusal ends the watch', async () => {
  one.failing = () => new RpcError(rpcStatus.permissionDenied, 'etcdserver: permission denied');
  const watch = client.watch({ key: bytes('a'), signal: control.signal });
  await expect(watch.next()).rejects.toMatchObject({ code: 'permission-denied' });
});

test('aborting ends the loop without an error', async () => {
  const watch = client.watch({ key: bytes('a'), signal: control.signal });
  const next = watch.next();
  await expect.poll(() => one.hasLeaderAsked.length).toBe(1);
  control.abort();
  expect(await next).toEqual({ value: undefined, done: true });
});

test('leaving the loop ends the call at the server', async () => {
  put('a', '1');
  for await (const { events } of client.watch({ key: bytes('a'), startRevision: 1 })) {
    expect(events).toHaveLength(1);
    break;
  }
  await expect.poll(() => store.watchCount).toBe(0);
});
