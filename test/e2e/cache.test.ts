import { afterEach, describe, expect, test } from 'vitest';
import type { CacheState, KvCache } from '../../src/client/cache.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { etcdBinary, type Server, startEtcd } from './differential/server.ts';

const LIMIT = { timeout: 180_000 };
const MAX_AGE_MS = 1_000;
const BINARY = etcdBinary();
const inCi = process.env['CI'] !== undefined;

/** The cache of the client over real members: what it claims, against writes whose acknowledgements are known. */
describe('a cache over three members', LIMIT, () => {
  let cluster: Cluster;
  const open: Disposable[] = [];

  afterEach(async () => {
    for (const item of open.splice(0).toReversed()) item[Symbol.dispose]();
    // Whoever was stopped would not hear that it is to end.
    for (const { process } of cluster.members) if (process?.running === true) process.signal('SIGCONT');
    await cluster.destroy();
  });

  const clientAt = (members: readonly ClusterMember[]): KvClient => {
    const client = new KvClient({ endpoints: members.map(({ clientUrl }) => clientUrl) });
    open.push(client);
    return client;
  };
  const cacheOf = async (client: KvClient): Promise<KvCache> => {
    const cache = await client.cache({
      prefix: 'a/',
      maxAgeMs: MAX_AGE_MS,
      whenLapsed: 'serve-stale',
    });
    open.push(cache);
    return cache;
  };

  test('it is fresh, goes on being so, and a linearizable point has what others wrote', async () => {
    cluster = await Cluster.start(3);
    const [one, two] = cluster.members;
    const writer = clientAt([two!]);
    await writer.put({ key: 'a/1', value: 'before' });
    const cache = await cacheOf(clientAt([one!]));
    expect(cache.get('a/1')!.text).toBe('before');
    await eventually('a lease', () => cache.isFresh());
    for (let round = 0; round < 20; round += 1) {
      await writer.put({ key: 'a/1', value: String(round) });
      await cache.linearize();
      expect(cache.get('a/1')!.text).toBe(String(round));
    }
    expect(cache.ageMs()).toBeGreaterThan(0);
    const compares = { compare: [], failure: [] };
    const success = Array.from({ length: 50 }, (_, at) => ({
      type: 'put' as const,
      key: `a/t/${at}`,
      value: 'x',
    }));
    await writer.txn({ ...compares, success });
    await eventually('the transaction', () => cache.entries('a/t/').length > 0);
    expect(cache.entries('a/t/')).toHaveLength(50);
  });

  test('over a member that nobody asked of late it opens fresh', async () => {
    cluster = await Cluster.start(3);
    const client = clientAt(cluster.members.slice(0, 1));
    await client.put({ key: 'a/1', value: 'x' });
    await client.range({ key: 'a/1' });
    await eventually('an old proof', async () => {
      const { ageMs } = await client.status(client.endpoints[0]!);
      return ageMs !== undefined && ageMs > 3 * MAX_AGE_MS;
    });
    // The load is no round that would prove it.
    const cache = await client.cache({
      prefix: 'a/',
      maxAgeMs: MAX_AGE_MS,
      whenLapsed: 'fail',
      load: 'serializable',
    });
    open.push(cache);
    expect(cache.get('a/1')!.text).toBe('x');
  });

  test('while members are stopped and killed no claim is false, and the lease comes back', async () => {
    cluster = await Cluster.start(3);
    const [one, two, three] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
    const reader = clientAt([one, two, three]);
    const cache = await cacheOf(reader);
    const states: CacheState[] = [];
    cache.onState((state) => states.push(state));
    const witness = new Witness(cache, clientAt([two, three]));
    const writesGoOn = async (): Promise<void> => {
      const before = witness.acknowledged;
      await eventually('further writes', () => witness.acknowledged >= before + 50);
    };
    const isFreshAgain = (): boolean => states.at(-1) === 'fresh' && cache.isFresh();
    try {
      await eventually('a lease', () => cache.isFresh());
      // The member that serves the watch; it may lead, too.
      one.process!.signal('SIGSTOP');
      await eventually('the lapse', () => states.includes('lapsed'));
      await eventually('the lease of another member', isFreshAgain);
      await writesGoOn();
      one.process!.signal('SIGCONT');
      await two.process!.stop('SIGKILL');
      await cluster.launch(two).ready();
      await eventually('a lease after the kill', () => cache.isFresh());
      await writesGoOn();
      // Without a majority nobody can prove anything.
      two.process!.signal('SIGSTOP');
      three.process!.signal('SIGSTOP');
      await eventually('the lapse without a majority', () => !cache.isFresh());
      await expect(cache.linearize({ timeoutMs: 500 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
      two.process!.signal('SIGCONT');
      three.process!.signal('SIGCONT');
      await eventually('a lease with a majority', () => cache.isFresh());
      await cache.linearize({ timeoutMs: 60_000 });
      await writesGoOn();
    } finally {
      await witness.stop();
    }
    expect(witness.falseClaims).toEqual([]);
    expect(witness.freshLooks).toBeGreaterThan(100);
    await cache.linearize({ timeoutMs: 60_000 });
    expect(cache.get('a/counter')!.modRevision).toBeGreaterThanOrEqual(witness.lastRevision);
  });

  test('a cache that was away while history went reads the range anew', async () => {
    cluster = await Cluster.start(3);
    const [one, two, three] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
    const writer = clientAt([two, three]);
    await writer.put({ key: 'a/1', value: '1' });
    await writer.put({ key: 'a/2', value: '2' });
    const cache = await cacheOf(clientAt([one]));
    const kept = cache.get('a/2');
    await one.process!.stop('SIGKILL');
    await writer.delete({ key: 'a/1' });
    for (let at = 0; at < 20; at += 1) await writer.put({ key: 'a/3', value: String(at) });
    const { header } = await writer.put({ key: 'a/4', value: '4' });
    await writer.compact({ revision: header.revision, physical: true });
    await cluster.launch(one).ready();
    await eventually('what was missed', () => cache.get('a/4') !== undefined);
    expect(cache.entries().map(({ key, text }) => `${key}=${text}`)).toEqual(['a/2=2', 'a/3=19', 'a/4=4']);
    expect(cache.get('a/2')).toBe(kept);
    await eventually('a lease', () => cache.isFresh());
  });
});

describe.skipIf(BINARY === null && !inCi)('a cache over a real etcd (needs ETCD_BIN)', LIMIT, () => {
  let etcd: Server;
  afterEach(() => etcd.destroy());

  test('its age is not known; its contents are right, and linearizable points are', async () => {
    if (BINARY === null) throw new Error('no etcd to talk to: set ETCD_BIN');
    etcd = await startEtcd(BINARY);
    using client = new KvClient({ endpoints: [etcd.clientUrl] });
    await client.put({ key: 'a/1', value: '1' });
    using cache = await client.cache({ prefix: 'a/', maxAgeMs: MAX_AGE_MS, whenLapsed: 'fail' });
    expect([cache.state, cache.ageMs(), cache.isFresh()]).toEqual(['unknown', undefined, false]);
    expect(() => cache.get('a/1')).toThrow('no member has told');
    using trusting = await client.cache({
      prefix: 'a/',
      maxAgeMs: MAX_AGE_MS,
      whenLapsed: 'fail',
      allowUnknownAge: true,
    });
    for (let round = 0; round < 20; round += 1) {
      await client.put({ key: 'a/1', value: String(round) });
      await client.put({ key: 'elsewhere', value: 'x' });
      await trusting.linearize();
      expect(trusting.get('a/1')!.text).toBe(String(round));
    }
  });
});

/** Writes one counter after the other, and looks at every turn whether the cache claims what is not so. */
class Witness {
  readonly falseClaims: string[] = [];
  freshLooks = 0;
  lastRevision = 0;
  readonly #cache: KvCache;
  /** When each revision was acknowledged, oldest first. */
  readonly #acks: { readonly revision: number; readonly atMs: number }[] = [];
  readonly #control = new AbortController();
  readonly #writing: Promise<void>;
  readonly #looking: Promise<void>;

  constructor(cache: KvCache, writer: KvClient) {
    this.#cache = cache;
    this.#writing = this.#write(writer);
    this.#looking = this.#lookOn();
  }

  get acknowledged(): number {
    return this.#acks.length;
  }

  async stop(): Promise<void> {
    this.#control.abort();
    await Promise.all([this.#writing, this.#looking]);
  }

  async #write(writer: KvClient): Promise<void> {
    const { signal } = this.#control;
    for (let count = 0; !signal.aborted; count += 1) {
      const put = writer.put({ key: 'a/counter', value: String(count) }, { timeoutMs: 2_000, signal });
      const answer = await put.catch(() => null);
      if (answer === null) continue;
      this.lastRevision = answer.header.revision;
      this.#acks.push({ revision: answer.header.revision, atMs: performance.now() });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #lookOn(): Promise<void> {
    while (!this.#control.signal.aborted) {
      this.#look();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #look(): void {
    const nowMs = performance.now();
    const known = this.#cache.get('a/counter')?.modRevision ?? 0;
    const isFresh = this.#cache.isFresh();
    // Asked last: it only grows meanwhile.
    const ageMs = this.#cache.ageMs() ?? Infinity;
    if (isFresh) this.freshLooks += 1;
    const missing = this.#acks.find(({ revision }) => revision > known);
    if (missing === undefined) return;
    const trueAgeMs = nowMs - missing.atMs;
    if (isFresh && trueAgeMs > MAX_AGE_MS) this.falseClaims.push(`fresh, but ${trueAgeMs} ms old`);
    if (trueAgeMs > ageMs) this.falseClaims.push(`${ageMs} ms, but ${trueAgeMs} ms old`);
  }
}
