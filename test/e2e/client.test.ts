import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ClientError } from '../../src/client/client-error.ts';
import { KvClient, type KvClientOptions } from '../../src/client/kv-client.ts';
import { compare, deleteOp, getOp, putOp } from '../../src/client/txn.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';
import { etcdBinary, type Server, startEtcd } from './differential/server.ts';

/** For each test, on a machine that is busy. */
const LIMIT = { timeout: 120_000 };
const BINARY = etcdBinary();
const inCi = process.env['CI'] === 'true';
/** Longer than an election takes, on a machine that is busy. */
const TTL_SECONDS = 10;

const bytes = (text: string): Buffer => Buffer.from(text);
const below = (prefix: string): { key: string; rangeEnd: Buffer } => ({
  key: prefix,
  rangeEnd: prefixEnd(bytes(prefix)),
});

/** Repeats a write until it is known to be done. */
async function put(client: KvClient, key: string, value: string): Promise<void> {
  await eventually(`the put of ${value}`, async () => {
    const { kvs } = await client.range({ key });
    if (kvs[0]?.value.toString() === value) return true;
    await client.put({ key, value });
    return true;
  });
}

describe('the client, at members that die', LIMIT, () => {
  let cluster: Cluster;
  const clients: KvClient[] = [];

  const connect = (options: Partial<KvClientOptions> = {}): KvClient => {
    const client = new KvClient({ endpoints: cluster.endpoints.split(','), timeoutMs: 10_000, ...options });
    clients.push(client);
    return client;
  };
  /** Kills the member that leads, runs the work, and starts it again. */
  const withoutLeader = async (work: (leader: ClusterMember) => Promise<void>): Promise<void> => {
    const leader = await leaderOf(cluster);
    await leader.process!.stop('SIGKILL');
    try {
      await work(leader);
    } finally {
      await cluster.launch(leader).ready();
    }
  };

  beforeAll(async () => {
    cluster = await Cluster.start(3, ['--bcrypt-cost=4']);
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await cluster.destroy();
  });

  test('a lease lives on though every member dies once, and ends when it is revoked elsewhere', async () => {
    const client = connect();
    const lease = await client.lease({ ttlSeconds: TTL_SECONDS });
    await client.put({ key: 'session', value: 'alive', lease: lease.id });
    const grantedAt = performance.now();
    for (const member of cluster.members) await cluster.restart(member);
    await withoutLeader(async () => {
      const renewed = performance.now();
      await eventually(
        'a renewal',
        () => lease.remainingMs + performance.now() > renewed + TTL_SECONDS * 999,
      );
    });
    await eventually('its first time is over', () => performance.now() > grantedAt + TTL_SECONDS * 1000);
    expect(lease.signal.aborted).toBe(false);
    expect((await client.range({ key: 'session' })).count).toBe(1);
    await connect().leaseRevoke(lease.id);
    expect(await lease.ended).toMatchObject({ type: 'lost', error: { code: 'not-found' } });
    expect(lease.signal.reason).toBeInstanceOf(ClientError);
    expect(lease.remainingMs).toBe(0);
  });

  test('a lock excludes the others while leaders die, and grows its fencing token', async () => {
    const holders: string[] = [];
    const tokens: number[] = [];
    let isOver = false;
    const work = async (name: string, client: KvClient): Promise<void> => {
      for (let round = 0; round < 3 || !isOver; round += 1) {
        await using lock = await client.lock('door', { ttlSeconds: TTL_SECONDS });
        expect(holders).toEqual([]);
        holders.push(name);
        tokens.push(lock.fencingToken);
        // Whether it comes in time or not: what the lock guards changes only while it is held.
        await eventually('a guarded write', async () => {
          const answer = await client
            .txn()
            .when(lock.isHeld())
            .do(putOp('behind the door', `${name} ${round}`))
            .commit();
          expect(answer.succeeded).toBe(true);
          return true;
        });
        expect(lock.signal.aborted).toBe(false);
        holders.pop();
      }
    };
    const all = Promise.all(['a', 'b', 'c'].map((name) => work(name, connect())));
    const killing = (async () => {
      await withoutLeader(async () => {});
      await withoutLeader(async () => {});
      isOver = true;
    })();
    await Promise.all([all, killing]);
    expect(tokens).toEqual(tokens.toSorted((left, right) => left - right));
    expect((await connect().range(below('door/'))).count).toBe(0);
  });

  test('a lock whose key is deleted by somebody else is lost at once', async () => {
    const client = connect();
    const lock = await client.lock('fragile', { ttlSeconds: 60 });
    expect(await client.tryLock('fragile')).toBe(null);
    await expect(client.lock('fragile', { timeoutMs: 200 })).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
    const lost = new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
    await connect().delete({ key: lock.key });
    await lost;
    expect(lock.signal.reason).toMatchObject({ code: 'aborted' });
    await lock.release();
    await using next = await client.tryLock('fragile');
    expect(next).not.toBe(null);
  });

  test('a leader is followed by the next candidate, and observers hear of each, though members die', async () => {
    const client = connect();
    const election = client.election('captain');
    const heard: (string | null)[] = [];
    const control = new AbortController();
    const observing = (async () => {
      for await (const leader of connect().election('captain').observe({ signal: control.signal }))
        heard.push(leader === null ? null : leader.value.toString());
    })();
    await eventually('nobody', () => heard.length === 1);
    expect(await election.leader()).toBe(null);
    const first = await election.campaign('first', { ttlSeconds: TTL_SECONDS });
    const second = connect().election('captain').campaign('second', { ttlSeconds: TTL_SECONDS });
    await withoutLeader(async () => {
      await eventually('a proclamation', async () => {
        await first.proclaim('first, renamed');
        return true;
      });
      expect((await election.leader())?.value.toString()).toBe('first, renamed');
    });
    await eventually('the first', () => heard.includes('first, renamed'));
    await first.resign();
    await expect(first.proclaim('still here')).rejects.toMatchObject({ code: 'failed-precondition' });
    const leader = await second;
    expect(leader.fencingToken).toBeGreaterThan(first.fencingToken);
    await eventually('the second', () => heard.at(-1) === 'second');
    await leader.resign();
    await eventually('nobody again', () => heard.at(-1) === null);
    control.abort();
    await observing;
    expect(heard[0]).toBe(null);
    expect(heard).not.toContain('still here');
  });

  test('a watch tells every change once and in order, over members that die', async () => {
    const client = connect();
    const { header } = await client.range({ key: 'w' });
    const watch = client.watch({ key: 'w', startRevision: header.revision + 1 });
    const writer = connect();
    let isOver = false;
    const writing = (async () => {
      let count = 0;
      for (; count < 30 || !isOver; count += 1) await put(writer, 'w', String(count));
      await put(writer, 'w', 'last');
      return count + 1;
    })();
    const told: { readonly value: string; readonly version: number }[] = [];
    const watching = (async () => {
      for await (const { events } of watch) {
        for (const { kv } of events) told.push({ ...kv, value: kv.value.toString() });
        if (told.at(-1)?.value === 'last') break;
      }
    })();
    await withoutLeader(async () => {});
    await withoutLeader(async () => {});
    isOver = true;
    const count = await writing;
    await watching;
    expect(new Set(told.map(({ value }) => value)).size).toBe(count);
    expect(told.map(({ version }) => version)).toEqual(told.map((_, i) => told[0]!.version + i));
  });

  test('a member that is stopped is left for another, by reads within their time and by leases', async () => {
    const first = cluster.members[0]!;
    const client = connect({ timeoutMs: 10_000 });
    await client.range({ key: 'a' });
    const lease = await client.lease({ ttlSeconds: TTL_SECONDS });
    first.process!.signal('SIGSTOP');
    try {
      await client.range({ key: 'a' });
      const stoppedAt = performance.now();
      await eventually(
        'a renewal',
        () => lease.remainingMs + performance.now() > stoppedAt + TTL_SECONDS * 1_000 + 500,
      );
    } finally {
      first.process!.signal('SIGCONT');
    }
    expect(lease.signal.aborted).toBe(false);
    await lease.revoke();
    expect(await lease.ended).toEqual({ type: 'revoked' });
  });

  test('members are found by one of them', async () => {
    const [first] = cluster.members;
    const client = connect({ endpoints: [first!.clientUrl], discovery: true });
    await client.put({ key: 'found', value: '1' });
    await eventually('all members', () => client.endpoints.length === 3);
    await first!.process!.stop('SIGKILL');
    try {
      const { kvs } = await client.range({ key: 'found' });
      expect(kvs[0]!.value.toString()).toBe('1');
    } finally {
      await cluster.launch(first!).ready();
    }
  });

  test('calls go to the own region, elsewhere while nobody is there, and back', async () => {
    const three = await Cluster.create(3, ['--bcrypt-cost=4']);
    const regionOf = (at: number): string => `--region=region-${'abc'[at]}`;
    const launch = (at: number): Promise<void> =>
      three.launch(three.members[at]!, { flags: [regionOf(at)] }).ready();
    try {
      await Promise.all([0, 1, 2].map(launch));
      const [first] = three.members;
      using client = new KvClient({
        endpoints: [first!.clientUrl],
        region: 'region-c',
        surveyIntervalMs: 100,
      });
      const members = await eventually('every region', async () => {
        const found = (await client.memberList()).members;
        return found.every(({ region }) => region !== undefined) && found;
      });
      const home = members.find(({ region }) => region === 'region-c')!.id;
      const servedBy = async (): Promise<bigint> => (await client.range({ key: 'a' })).header.memberId;
      await eventually('the way home', async () => (await servedBy()) === home);
      // A survey that the machine was too slow for may send calls elsewhere for a moment.
      const writtenBy = async (): Promise<bigint> =>
        (await client.put({ key: 'a', value: '1' })).header.memberId;
      await eventually('a write at home', async () => (await writtenBy()) === home);
      await three.members[2]!.process!.stop('SIGKILL');
      expect(await servedBy()).not.toBe(home);
      await launch(2);
      await eventually('the way back home', async () => (await servedBy()) === home);
    } finally {
      await three.destroy();
    }
  });

  test('when nobody is there, a write says that it was not sent, and a lease that it may be over', async () => {
    const lone = await Cluster.start(1);
    try {
      using client = new KvClient({ endpoints: [lone.endpoints], timeoutMs: 2000 });
      const lease = await client.lease({ ttlSeconds: 2 });
      await lone.members[0]!.process!.stop('SIGKILL');
      await expect(client.put({ key: 'a', value: '1' })).rejects.toMatchObject({
        code: 'unavailable',
        unsent: true,
      });
      expect(await lease.ended).toMatchObject({ type: 'lost', error: { code: 'unavailable' } });
    } finally {
      await lone.destroy();
    }
  });
});

/** What holds on every server that speaks etcd v3. */
function speaksEtcd(
  start: () => Promise<Pick<Server, 'clientUrl' | 'destroy'>>,
  { tellsAges }: { readonly tellsAges: boolean },
): void {
  let server: Pick<Server, 'clientUrl' | 'destroy'>;
  let client: KvClient;
  beforeAll(async () => {
    server = await start();
    client = new KvClient({ endpoints: [server.clientUrl] });
  });
  afterAll(async () => {
    client.close();
    await server.destroy();
  });

  test('transactions perform the side that their conditions choose', async () => {
    const create = client
      .txn()
      .when(compare('t', 'version', '=', 0))
      .do(putOp('t', '1'), getOp('t'))
      .otherwise(getOp('t'), deleteOp('t', { prevKv: true }));
    const first = await create.commit();
    if (!first.succeeded) throw new Error('the key is there');
    expect(first.responses[1].kvs[0]!.value.toString()).toBe('1');
    const second = await create.commit();
    if (second.succeeded) throw new Error('the key is not there');
    expect(second.responses[1]).toMatchObject({ deleted: 1, prevKvs: [{ version: 1 }] });
    const lease = await client.lease({ ttlSeconds: 30 });
    await client.put({ key: 'l', value: 'v', lease: lease.id });
    const compared = await client
      .txn()
      .when(compare('l', 'lease', '=', lease.id), compare('l', 'value', '!=', 'w'))
      .when(compare('l', 'mod', '>', 1), compare('l', 'create', '<', 1_000))
      .commit();
    expect(compared.succeeded).toBe(true);
    await lease.revoke();
    expect((await client.range({ key: 'l' })).count).toBe(0);
  });

  test('ranges are narrowed by revisions', async () => {
    for (const key of ['r1', 'r2', 'r3']) await client.put({ key, value: key });
    const { kvs } = await client.range(below('r'));
    const { modRevision } = kvs[1]!;
    const found = await client.range({
      ...below('r'),
      minModRevision: modRevision,
      maxCreateRevision: modRevision,
    });
    expect(found.kvs.map(({ key }) => key.toString())).toEqual(['r2']);
  });

  test('a lock, an election and a watch with its progress', async () => {
    await using lock = await client.lock('etcd-lock', { ttlSeconds: 20 });
    const shared = await client.lease({ ttlSeconds: 20 });
    expect(await client.tryLock('etcd-lock', { lease: shared })).toBe(null);
    await using leadership = await client.election('etcd-election').campaign('me', { lease: shared });
    expect((await client.election('etcd-election').leader())?.key).toEqual(leadership.key);
    expect((await client.txn().when(lock.isHeld(), leadership.isHeld()).commit()).succeeded).toBe(true);

    using handle = client.watchStream({ ...below('p'), only: 'puts' });
    const types: string[] = [];
    for await (const item of handle) {
      types.push(item.type);
      if (item.type === 'created') {
        await client.put({ key: 'p', value: '1' });
        await client.delete({ key: 'p' });
        await client.put({ key: 'p', value: '2' });
      }
      if (item.type === 'events' && item.events.at(-1)?.kv.value.toString() === '2')
        expect(handle.requestProgress({ nonce: 5 })).toBe(true);
      if (item.type === 'progress') break;
    }
    expect(types.at(0)).toBe('created');
    expect(types.at(-1)).toBe('progress');
    await shared.revoke();
    await eventually('the lead is lost', () => leadership.signal.aborted);
  });

  test(`an age is told ${tellsAges ? 'whenever, and only when, it was' : 'never, though it be'} asked for`, async () => {
    expect(await client.range({ key: 'a' })).not.toHaveProperty('ageMs');
    for (const maxStalenessMs of [0, 60_000]) {
      const bounded = await client.range({ key: 'a', maxStalenessMs });
      if (tellsAges) expect(bounded.ageMs).toBeGreaterThan(0);
      else expect(bounded).not.toHaveProperty('ageMs');
    }
    using handle = client.watchStream({ key: 'a' });
    for await (const item of handle) {
      if (item.type === 'created') handle.requestProgress({ nonce: 9, linearizable: true });
      if (item.type !== 'progress') continue;
      if (tellsAges) expect(item).toMatchObject({ nonce: 9, ageMs: expect.any(Number) });
      else expect(item).toMatchObject({ nonce: 0, ageMs: undefined });
      break;
    }
  });
}

describe('the client, at one member', LIMIT, () => {
  speaksEtcd(
    async () => {
      const cluster = await Cluster.start(1);
      return { clientUrl: cluster.endpoints, destroy: () => cluster.destroy() };
    },
    { tellsAges: true },
  );
});

describe.skipIf(BINARY === null && !inCi)('the client, at a real etcd (needs ETCD_BIN)', LIMIT, () => {
  speaksEtcd(
    async () => {
      if (BINARY === null) throw new Error('no etcd to talk to: set ETCD_BIN');
      return startEtcd(BINARY);
    },
    { tellsAges: false },
  );
});
