import { afterEach, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';
import { rawCall } from '../support/raw-call.ts';

/**
 * A disk without room, as every user may have one: a limit on the size of a file, beyond which the kernel cuts a
 * write short and then refuses it, just as it does when a disk fills up.
 */
const FILE_SIZE_KIB_MAX = 1024;
const VALUE = Buffer.alloc(4096, 'x');
const WRITERS = 8;

let cluster: Cluster;
let load: Load;
afterEach(async () => {
  await load.stop();
  await cluster.destroy();
});

test('a leader without room ends with a clear error; the others go on, and it comes back', async () => {
  cluster = await Cluster.start(3);
  const cramped = cluster.members[0]!;
  await cramped.process?.stop();
  await cluster.launch(cramped, { limits: { fileSizeKibMax: FILE_SIZE_KIB_MAX } }).ready();
  await lead(cramped);
  load = new Load(cluster.members);
  expect(await cramped.process!.exit()).toBe(1);
  expectStorageError(cramped);

  const others = cluster.members.filter((member) => member !== cramped);
  const soFar = load.acknowledged.size;
  await eventually('writes without the full member', () => load.acknowledged.size > soFar + 100);
  const acknowledged = await load.stop();
  expect(await missingFrom(others[0]!, acknowledged)).toEqual([]);
  await cluster.launch(cramped).ready();
  expect(await missingFrom(cramped, acknowledged)).toEqual([]);
});

test('when no member has room, all end; with room again, all that was acknowledged is there', async () => {
  cluster = await Cluster.start(3);
  await cluster.stopAll();
  for (const member of cluster.members)
    cluster.launch(member, { limits: { fileSizeKibMax: FILE_SIZE_KIB_MAX } });
  await Promise.all(cluster.members.map(async (member) => member.process?.ready()));
  load = new Load(cluster.members);
  // Two ends are a lost majority: the third may have too little left to write to reach its own end.
  await eventually('the end of two', () => cluster.members.filter((m) => !m.process!.running).length >= 2);
  for (const member of cluster.members) {
    if (member.process!.running) continue;
    // Until then lines of its log may be on their way.
    await member.process!.exit();
    expectStorageError(member);
  }
  const acknowledged = await load.stop();
  expect(acknowledged.size).toBeGreaterThan(10);
  await cluster.stopAll();
  await cluster.startAll();
  for (const member of cluster.members) expect(await missingFrom(member, acknowledged)).toEqual([]);
  using client = new KvClient({ endpoints: [cluster.members[0]!.clientUrl] });
  await client.put({ key: 'after', value: 'room' });
});

/** Writers that each put their own keys one after another, each through one member after the other. */
class Load {
  readonly acknowledged = new Set<string>();
  readonly #clients: readonly KvClient[];
  readonly #writers: readonly Promise<void>[];
  #running = true;

  constructor(members: readonly ClusterMember[]) {
    this.#clients = members.map(({ clientUrl }) => new KvClient({ endpoints: [clientUrl] }));
    this.#writers = Array.from({ length: WRITERS }, async (_, writer) => this.#write(writer));
  }

  async stop(): Promise<ReadonlySet<string>> {
    this.#running = false;
    await Promise.all(this.#writers);
    for (const client of this.#clients) client.close();
    return this.acknowledged;
  }

  async #write(writer: number): Promise<void> {
    let sequence = 0;
    while (this.#running) {
      sequence += 1;
      const key = `load/${writer}/${sequence}`;
      const client = this.#clients[(writer + sequence) % this.#clients.length]!;
      try {
        await client.put({ key, value: VALUE }, { timeoutMs: 2_000 });
        this.acknowledged.add(key);
      } catch {
        // Not acknowledged: it may be there or not.
      }
    }
  }
}

async function missingFrom(member: ClusterMember, keys: ReadonlySet<string>): Promise<string[]> {
  using client = new KvClient({ endpoints: [member.clientUrl], timeoutMs: 20_000 });
  const prefix = Buffer.from('load/');
  const { kvs } = await client.range({ key: prefix, rangeEnd: prefixEnd(prefix) });
  const present = new Set(kvs.filter(({ value }) => value.equals(VALUE)).map(({ key }) => key.toString()));
  return [...keys].filter((key) => !present.has(key));
}

async function lead(member: ClusterMember): Promise<void> {
  using client = new KvClient({ endpoints: [member.clientUrl] });
  const { header } = await client.status(client.endpoints[0]!);
  await eventually('it leads', async () => {
    const leader = await leaderOf(cluster);
    if (leader === member) return true;
    await rawCall(leader.clientUrl, 'Maintenance/MoveLeader', { targetID: header.memberId });
    return false;
  });
}

function expectStorageError(member: ClusterMember): void {
  const errors = member.process!.log.split('\n').filter((line) => line.includes('"level":50'));
  expect(errors, member.process!.log).toHaveLength(1);
  expect(JSON.parse(errors[0]!)).toMatchObject({
    code: 'storage',
    msg: expect.stringMatching(/^storage: .*(short write|EFBIG|File too large)/),
  });
}
