import { afterEach, beforeEach, expect, test } from 'vitest';
import { Channels } from '../../src/client/channels.ts';
import { parseEndpoint } from '../../src/client/endpoint.ts';
import { type Login, SignIn } from '../../src/client/sign-in.ts';
import {
  openWatchStream,
  type WatchStreamHandle,
  type WatchStreamItem,
  type WatchStreamOptions,
} from '../../src/client/watch-stream.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
let store: SmallStore;
let one: SmallMember;
let two: SmallMember;
let channels: Channels;
const open: WatchStreamHandle[] = [];

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  two = await new SmallMember(store).start();
  channels = new Channels([one, two].map(({ address }) => parseEndpoint(address, undefined)));
});
afterEach(async () => {
  for (const handle of open.splice(0)) handle.close();
  channels.close();
  await one.stop();
  await two.stop();
});

interface Watched {
  readonly handle: WatchStreamHandle;
  readonly next: () => Promise<WatchStreamItem>;
}

function watched(
  options: Partial<WatchStreamOptions> = {},
  { login, timeoutMs = 5000 }: { readonly login?: Login; readonly timeoutMs?: number } = {},
): Watched {
  const signIn = new SignIn(channels, login);
  const handle = openWatchStream(
    { channels, signIn, timeoutMs, closing: new AbortController().signal },
    { key: bytes('a'), rangeEnd: bytes('b'), ...options },
  );
  open.push(handle);
  const items = handle[Symbol.asyncIterator]();
  const next = async (): Promise<WatchStreamItem> => {
    const { value, done } = await items.next();
    if (done === true) throw new Error('the watch ended');
    return value as WatchStreamItem;
  };
  return { handle, next };
}

const put = (key: string, value = ''): void => {
  store.put({ key: bytes(key), value: bytes(value), lease: 0n });
};

test('progress is answered in its place among the events, with nonce and age', async () => {
  one.freshness = { ageMs: 40, region: 'c' };
  const { handle, next } = watched();
  expect(handle.requestProgress({ nonce: 1 })).toBe(false);
  expect(await next()).toMatchObject({ type: 'created', address: one.address, next: 2 });
  put('a1');
  expect(await next()).toMatchObject({ type: 'events', events: [{ kv: { modRevision: 2 } }] });
  expect(handle.requestProgress({ nonce: 7 })).toBe(true);
  expect(await next()).toMatchObject({ type: 'progress', nonce: 7, ageMs: 40, header: { revision: 2 } });
  handle.requestProgress({ nonce: 2 ** 53 - 1, linearizable: true });
  expect(await next()).toMatchObject({ type: 'progress', nonce: 2 ** 53 - 1, ageMs: 0 });
  const asked = one.watchRequests.filter((request) => request.progress_request !== null);
  expect(asked.map((request) => request.progress_request)).toMatchObject([
    { nonce: 7, watch_id: 1, linearizable: null },
    { nonce: 2 ** 53 - 1, watch_id: 1, linearizable: true },
  ]);
});

test('on a member that knows no nonces the age is unknown', async () => {
  const { handle, next } = watched();
  await next();
  handle.requestProgress({ nonce: 3 });
  expect(await next()).toMatchObject({
    type: 'progress',
    nonce: 0,
    ageMs: undefined,
    header: { revision: 1 },
  });
});

test('a loss is told, then the member that goes on, and nothing is skipped or told twice', async () => {
  const { handle, next } = watched({ startRevision: 1 });
  put('a1');
  await next();
  expect(await next()).toMatchObject({ type: 'events' });
  await one.stop();
  put('a2');
  expect(await next()).toMatchObject({ type: 'lost', address: one.address });
  expect(handle.requestProgress({ nonce: 1 })).toBe(false);
  expect(await next()).toMatchObject({ type: 'created', address: two.address, next: 3 });
  expect(await next()).toMatchObject({ type: 'events', events: [{ kv: { modRevision: 3 } }] });
});

test('a watch goes on trying when nobody answers its sign-in in time', async () => {
  one.stalled = two.stalled = true;
  const { next } = watched({}, { login: { user: 'u', password: 'p' }, timeoutMs: 200 });
  const error = expect.objectContaining({ code: 'deadline-exceeded' });
  expect(await next()).toEqual({ type: 'lost', address: null, error });
  one.stalled = two.stalled = false;
  let item = await next();
  while (item.type === 'lost') item = await next();
  expect(item.type).toBe('created');
});

test('a watch moves when it is told to', async () => {
  const { handle, next } = watched();
  await next();
  handle.move();
  expect(await next()).toMatchObject({ type: 'lost', address: one.address });
  expect(await next()).toMatchObject({ type: 'created', address: two.address });
  await expect.poll(() => store.watchCount).toBe(1);
});

test('revisions that came in fragments are told whole', async () => {
  one.eventsPerFragment = 2;
  for (const key of ['a1', 'a2', 'a3', 'a4', 'a5']) put(key);
  store.delete(bytes('a'), bytes('b'));
  put('a6');
  const { next } = watched({ startRevision: 2 });
  await next();
  const told: number[][] = [];
  while (told.flat().length < 11) {
    const item = await next();
    if (item.type === 'events') told.push(item.events.map(({ kv }) => kv.modRevision));
  }
  expect(told.flat()).toEqual([2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 8]);
  for (const [at, revisions] of told.entries()) expect(revisions[0]).not.toBe(told[at - 1]?.at(-1));
});

test('the wishes of a watch reach the server', async () => {
  const { next } = watched({ lease: -5n, only: 'deletes', prevKv: true, startRevision: 1 });
  put('a1');
  store.delete(bytes('a1'), bytes(''));
  await next();
  expect(await next()).toMatchObject({ type: 'events', events: [{ type: 'delete' }] });
  const [asked] = one.watchRequests;
  expect(asked!.create_request).toMatchObject({ filters: [0], prev_kv: true });
  expect(BigInt(asked!.create_request!.lease!)).toBe(-5n);
});

test('a refusal ends it, and is not held against the member', async () => {
  store.compactRevision = 7;
  const { next } = watched({ startRevision: 3 });
  await next();
  await expect(next()).rejects.toMatchObject({ code: 'out-of-range', compactRevision: 7 });
  const again = watched({ startRevision: 8 });
  expect(await again.next()).toMatchObject({ type: 'created', address: one.address });
});

test('it gives up after so many failures in a row', async () => {
  one.failing = two.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: no leader');
  const { next } = watched({ failuresMax: 2 });
  expect([(await next()).type, (await next()).type]).toEqual(['lost', 'lost']);
  await expect(next()).rejects.toMatchObject({ code: 'unavailable', message: 'etcdserver: no leader' });
});

test('closing ends the iteration, whatever it waits for', async () => {
  const { handle, next } = watched();
  await next();
  const last = next();
  handle.close();
  await expect(last).rejects.toThrow('the watch ended');
  await expect.poll(() => store.watchCount).toBe(0);
});
