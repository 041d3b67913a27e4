import { afterEach, beforeEach, expect, test } from 'vitest';
import { KvClient, type KvClientOptions } from '../../src/client/kv-client.ts';
import { MEMBERS_MAX } from '../../src/client/survey.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

/** So often that a test need not wait, and rarely enough not to keep the machine busy. */
const SURVEY_INTERVAL_MS = 50;

let store: SmallStore;
let far: SmallMember;
let near: SmallMember;
let home: SmallMember;
const clients: KvClient[] = [];

beforeEach(async () => {
  store = new SmallStore();
  [far, near, home] = await Promise.all([
    member({ id: 1, region: 'b', delayMs: 60 }),
    member({ id: 2, region: 'c', delayMs: 20 }),
    member({ id: 3, region: 'a', delayMs: 0 }),
  ]);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all([far, near, home].map((one) => one.stop()));
});

async function member(of: { id: number; region: string; delayMs: number }): Promise<SmallMember> {
  const started = await new SmallMember(store).start();
  started.memberId = of.id;
  started.delayMs = of.delayMs;
  started.status = { region: of.region, leader: 1 };
  store.members.push({
    ID: of.id,
    name: `n${of.id}`,
    peerURLs: [],
    clientURLs: [`http://${started.address}`],
    isLearner: false,
  });
  return started;
}

function connect(options: Partial<KvClientOptions>): KvClient {
  const endpoints = [far, near, home].map(({ address }) => address);
  const client = new KvClient({ endpoints, surveyIntervalMs: SURVEY_INTERVAL_MS, ...options });
  clients.push(client);
  return client;
}

const count = ({ calls }: SmallMember, path: string): number =>
  calls.filter((called) => called.endsWith(path)).length;

/** Sends reads until one arrives at the member. */
async function arrivesAt(client: KvClient, wanted: SmallMember): Promise<void> {
  const before = count(wanted, '/Range');
  await expect
    .poll(async () => {
      await client.range({ key: 'a' });
      return count(wanted, '/Range');
    })
    .toBeGreaterThan(before);
}

test('reads and writes go to the own region, then to the nearest, and back when it is well again', async () => {
  const client = connect({ region: 'a', discovery: false });
  await arrivesAt(client, home);
  await client.put({ key: 'a', value: '1' });
  expect(count(home, '/Put')).toBe(1);
  await home.stop();
  await arrivesAt(client, near);
  expect(count(far, '/Put')).toBe(0);
  await home.start();
  await arrivesAt(client, home);
});

test('writes go to the leader where that is wished', async () => {
  const client = connect({ region: 'a', routing: 'leader', discovery: false });
  await arrivesAt(client, home);
  await client.put({ key: 'a', value: '1' });
  expect(count(far, '/Put')).toBe(1);
});

test('a member that knows no leader is not taken for well', async () => {
  const client = connect({ region: 'a', discovery: false });
  await arrivesAt(client, home);
  home.status = { region: 'a', leader: 0 };
  home.failing = (path) =>
    path.endsWith('/Range') ? new RpcError(rpcStatus.unavailable, 'etcdserver: no leader') : null;
  await client.range({ key: 'a' });
  const asked = count(home, '/Range');
  const surveys = count(home, '/Status');
  await expect.poll(() => count(home, '/Status')).toBeGreaterThan(surveys + 2);
  await client.range({ key: 'a' });
  expect(count(home, '/Range')).toBe(asked);
});

test('a client that is not to look again does not', async () => {
  const client = connect({ region: 'a', discovery: false, surveyIntervalMs: Infinity });
  await arrivesAt(client, home);
  for (let n = 0; n < 50; n += 1) await client.range({ key: 'a' });
  expect(count(home, '/Status')).toBe(1);
});

test('failures that never cease do not put off the next look', async () => {
  const client = connect({ region: 'a', discovery: false, surveyIntervalMs: 3_600_000 });
  await arrivesAt(client, home);
  await expect.poll(() => count(far, '/Status')).toBe(1);
  for (const one of [far, near, home]) {
    one.failing = (path) =>
      path.endsWith('/Range') ? new RpcError(rpcStatus.unavailable, 'etcdserver: no leader') : null;
  }
  const busy = new AbortController();
  const failing = (async () => {
    while (!busy.signal.aborted) await client.range({ key: 'a' }, { timeoutMs: 300 }).catch(() => {});
  })();
  await expect.poll(() => count(far, '/Status')).toBeGreaterThan(1);
  busy.abort();
  await failing;
});

test('members are found by one endpoint, and forgotten when they are members no more', async () => {
  const client = connect({ endpoints: [far.address], region: 'a' });
  await client.range({ key: 'a' });
  await expect.poll(() => client.endpoints.length).toBe(3);
  await arrivesAt(client, home);
  store.members.splice(1, 1);
  await expect.poll(() => client.endpoints).toEqual([far.address, home.address]);
  store.members.splice(0, 1);
  await far.stop();
  await arrivesAt(client, home);
  expect(client.endpoints[0]).toBe(far.address);
});

test('a URL at which another member answers, or nobody, or another cluster, is not used', async () => {
  const other = await new SmallMember(new SmallStore()).start();
  other.memberId = 5;
  other.clusterId = 0x11;
  store.members[1]!.clientURLs = [`http://${home.address}`, 'unix://here', 'http://127.0.0.1:1'];
  store.members.push({ ...store.members[0]!, ID: 5, clientURLs: [`http://${other.address}`] });
  const client = connect({ endpoints: [far.address], discovery: true });
  await client.range({ key: 'a' });
  await expect.poll(() => client.endpoints.length).toBe(2);
  const surveys = count(far, '/MemberList');
  await expect.poll(() => count(far, '/MemberList')).toBeGreaterThan(surveys + 2);
  expect(client.endpoints).toEqual([far.address, home.address]);
  expect(count(other, '/Range')).toBe(0);
  await other.stop();
});

test('a found endpoint is shown no token before it has said that it is the member it is said to be', async () => {
  const other = await new SmallMember(new SmallStore()).start();
  store.members[1]!.clientURLs = [`http://${other.address}`, `http://${near.address}`];
  const client = connect({
    endpoints: [far.address],
    discovery: true,
    login: { user: 'root', password: 'secret' },
  });
  await client.range({ key: 'a' });
  await expect.poll(() => client.endpoints.length).toBe(3);
  expect(far.shown).toContain('/etcdserverpb.KV/Range');
  expect(near.calls[0]).toBe('/etcdserverpb.Watch/Watch');
  expect(near.shown).toEqual(near.calls.slice(1));
  expect(near.shown).toContain('/etcdserverpb.Maintenance/Status');
  expect(new Set(other.calls)).toEqual(new Set(['/etcdserverpb.Watch/Watch']));
  expect(other.shown).toEqual([]);
  await other.stop();
});

test('a found endpoint at which another member answers later is left', async () => {
  const client = connect({ endpoints: [far.address], discovery: true });
  await client.range({ key: 'a' });
  await expect.poll(() => client.endpoints.length).toBe(3);
  near.memberId = 77;
  await expect.poll(() => client.endpoints).toEqual([far.address, home.address]);
});

test('members that say to be on this machine are believed only by clients of this machine', async () => {
  // The same address in a form that nobody takes for it.
  const elsewhere = far.address.replace('127.0.0.1', '2130706433');
  const client = connect({ endpoints: [elsewhere], discovery: true });
  await client.range({ key: 'a' });
  await expect.poll(() => count(far, '/MemberList')).toBeGreaterThan(2);
  expect(client.endpoints).toEqual([elsewhere]);
  expect([...near.calls, ...home.calls]).toEqual([]);
});

test('so many members are taken note of, no more', async () => {
  const [first, ...others] = store.members;
  const strangers = Array.from({ length: MEMBERS_MAX - 2 }, (_, i) => ({
    ...first!,
    ID: 100 + i,
    clientURLs: [],
  }));
  store.members.splice(0, Infinity, first!, ...strangers, ...others);
  const client = connect({ endpoints: [far.address], discovery: true });
  await client.range({ key: 'a' });
  await expect.poll(() => client.endpoints).toEqual([far.address, near.address]);
  const surveys = count(far, '/MemberList');
  await expect.poll(() => count(far, '/MemberList')).toBeGreaterThan(surveys + 2);
  expect(client.endpoints).toHaveLength(2);
});

test('without a region nobody is asked for anything', async () => {
  const client = connect({});
  for (let i = 0; i < 3; i += 1) await client.range({ key: 'a' });
  expect(far.calls).toEqual(Array.from({ length: 3 }, () => '/etcdserverpb.KV/Range'));
  expect([...near.calls, ...home.calls]).toEqual([]);
});

test('a watch that fled from its region goes home, and tells everything once', async () => {
  const client = connect({ region: 'a', discovery: false });
  await arrivesAt(client, home);
  using handle = client.watchStream({ key: 'w', startRevision: 1 });
  const served: string[] = [];
  const told: number[] = [];
  for await (const item of handle) {
    if (item.type === 'events') told.push(...item.events.map(({ kv }) => kv.modRevision));
    if (item.type !== 'created') continue;
    served.push(item.address);
    store.put({ key: Buffer.from('w'), value: Buffer.alloc(0), lease: 0 });
    if (served.length === 1) await home.stop();
    if (served.length === 2) await home.start();
    if (served.length === 3) break;
  }
  expect([served[0], served[2]]).toEqual([home.address, home.address]);
  expect(served[1]).not.toBe(home.address);
  expect(told).toEqual(told.toSorted((left, right) => left - right));
  expect(new Set(told).size).toBe(told.length);
});
