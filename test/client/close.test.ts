import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientError } from '../../src/client/client-error.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { SmallMember, SmallStore } from './small-store.ts';

/** Longer than any test takes. */
const LONG_MS = 3_600_000;
let store: SmallStore;
let member: SmallMember;
let client: KvClient;

beforeEach(async () => {
  store = new SmallStore();
  member = await new SmallMember(store).start();
  client = new KvClient({ endpoints: [member.address], timeoutMs: LONG_MS });
});
afterEach(async () => {
  client.close();
  await member.stop();
});

/** Everything that is asked of the cluster and answered once. */
function calls(): Readonly<Record<string, Promise<unknown>>> {
  const [endpoint] = client.endpoints as [string];
  return {
    range: client.range({ key: 'a' }),
    bounded: client.range({ key: 'a', maxStalenessMs: 500 }),
    put: client.put({ key: 'a', value: '1' }),
    delete: client.delete({ key: 'a' }),
    txn: client.txn().do().commit(),
    compact: client.compact({ revision: 1 }),
    lease: client.lease({ ttlSeconds: 60 }),
    leaseRevoke: client.leaseRevoke(1n),
    leaseKeepAlive: client.leaseKeepAlive(1n),
    leaseTimeToLive: client.leaseTimeToLive({ id: 1n }),
    memberList: client.memberList(),
    status: client.status(endpoint),
    lock: client.lock('l'),
    tryLock: client.tryLock('l'),
    campaign: client.election('e').campaign('me'),
    leader: client.election('e').leader(),
    cache: client.cache({ prefix: 'a/', maxAgeMs: 1_000, whenLapsed: 'wait' }),
    snapshot: client.snapshot(endpoint).next(),
  };
}

async function failures(
  pending: Readonly<Record<string, Promise<unknown>>>,
): Promise<Readonly<Record<string, string>>> {
  const codes = Object.entries(pending).map(async ([name, call]) => {
    const failure = await call.then(
      () => null,
      (error: unknown) => error,
    );
    return [name, failure instanceof ClientError ? failure.code : String(failure)] as const;
  });
  return Object.fromEntries(await Promise.all(codes));
}

const allCanceled = (pending: object): object =>
  Object.fromEntries(Object.keys(pending).map((name) => [name, 'canceled']));

test('every call that waits for an answer ends when the client is closed', async () => {
  member.stalled = true;
  const pending = calls();
  const ended = failures(pending);
  const count = Object.keys(pending).length;
  await expect.poll(() => member.calls.length).toBe(count);
  client.close();
  expect(await ended).toEqual(allCanceled(pending));
  await expect.poll(() => store.watchCount).toBe(0);
});

test('so does every one that waits for a connection', async () => {
  await member.stop();
  const pending = calls();
  const ended = failures(pending);
  client.close();
  expect(await ended).toEqual(allCanceled(pending));
});

test('and every one that comes later', async () => {
  await client.range({ key: 'a' });
  client.close();
  const pending = calls();
  expect(await failures(pending)).toEqual(allCanceled(pending));
  await expect(client.range({ key: 'a' })).rejects.toMatchObject({
    message: 'the client was closed',
    unsent: true,
  });
  expect(member.calls).toHaveLength(1);
});

test('a change that was sent may have been made, one that was not surely was not', async () => {
  member.stalled = true;
  const sent = client.put({ key: 'a', value: '1' });
  await expect.poll(() => member.calls.length).toBe(1);
  client.close();
  await expect(sent).rejects.toMatchObject({ code: 'canceled', uncertain: true, unsent: false });
  await expect(client.put({ key: 'a', value: '1' })).rejects.toMatchObject({
    uncertain: false,
    unsent: true,
  });
});

test('a snapshot that is cut short by it does not look complete', async () => {
  store.snapshotBytes = Buffer.alloc(8 * 1024 * 1024);
  let received = 0;
  const reading = (async () => {
    for await (const { blob } of client.snapshot(member.address)) {
      if (received === 0) client.close();
      received += blob.length;
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: 'canceled' });
  expect(received).toBeLessThan(store.snapshotBytes.length);
});

test('watches and those who observe an election end without an error', async () => {
  const watched: string[] = [];
  const watching = (async () => {
    for await (const { events } of client.watch({ key: 'w' }))
      watched.push(...events.map(({ type }) => type));
  })();
  const heard: unknown[] = [];
  const observing = (async () => {
    for await (const leader of client.election('e').observe()) heard.push(leader);
  })();
  await expect.poll(() => store.watchCount).toBe(2);
  client.close();
  await Promise.all([watching, observing]);
  expect([watched, heard]).toEqual([[], [null]]);
});

test('many of them at a time are no leak, and leave nothing behind', async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error): void => void warnings.push(warning);
  process.on('warning', warned);
  try {
    const lease = await client.lease({ ttlSeconds: 600 });
    const locks = await Promise.all(Array.from({ length: 15 }, (_, n) => client.lock(`l${n}`, { lease })));
    await expect.poll(() => store.watchCount).toBe(15);
    await Promise.all(locks.map((lock) => lock.release()));
    await member.stop();
    // All of them pause between two rounds.
    await failures(Object.fromEntries(Array.from({ length: 15 }, (_, n) => [n, client.range({ key: 'a' })])));
    // Warnings come a turn later.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', warned);
  }
});
