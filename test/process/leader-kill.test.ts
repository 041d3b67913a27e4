import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, type ClusterMember } from '../support/cluster.ts';

const KILLS = 20;
const ELECTION_MS = 1_000;
const WRITERS = 4;
/** Each kill costs an election and a start. */
const RUN_TIMEOUT_MS = 600_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start(3);
});
afterAll(async () => {
  await cluster.destroy();
});

test(`kill -9 of the leader under write load, ${KILLS} times: no acknowledged write is missing`, {
  timeout: RUN_TIMEOUT_MS,
}, async () => {
  const load = new WriteLoad(cluster.members.map((member) => member.clientUrl));
  load.start();
  const outagesMs: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const leader = await leaderOf(cluster);
    const startedMs = performance.now();
    await leader.process?.stop('SIGKILL');
    await load.nextAcknowledgement();
    outagesMs.push(performance.now() - startedMs);
    await cluster.launch(leader).ready();
  }
  const acknowledged = await load.stop();
  const missing = await missingFrom(cluster.members[0]!, acknowledged);
  const sorted = outagesMs.toSorted((left, right) => left - right);
  report({ acknowledged: acknowledged.size, sorted });
  expect(acknowledged.size).toBeGreaterThan(KILLS);
  expect(missing).toEqual([]);
});

/** Writers that each put their own keys one after another, through whichever member answers. */
class WriteLoad {
  readonly #clients: Etcd3[];
  readonly #acknowledged = new Set<string>();
  readonly #stopping = new AbortController();
  #writers: readonly Promise<void>[] = [];
  #waiters: (() => void)[] = [];

  constructor(urls: readonly string[]) {
    this.#clients = urls.map((url) => new Etcd3({ hosts: url, dialTimeout: 1_000 }));
  }

  start(): void {
    this.#writers = Array.from({ length: WRITERS }, (_, writer) => this.#write(writer));
  }

  /** Resolves at the next write that begins after the call and is acknowledged. */
  nextAcknowledgement(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  async stop(): Promise<ReadonlySet<string>> {
    this.#stopping.abort();
    await Promise.all(this.#writers);
    for (const client of this.#clients) client.close();
    return this.#acknowledged;
  }

  async #write(writer: number): Promise<void> {
    for (let sequence = 0; !this.#stopping.signal.aborted; sequence++) {
      const client = this.#clients[(writer + sequence) % this.#clients.length]!;
      const key = `load/${writer}/${sequence}`;
      const waiting = this.#waiters;
      try {
        await client
          .put(key)
          .value('x'.repeat(100))
          .options({ deadline: Date.now() + 5_000 });
      } catch {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      this.#acknowledged.add(key);
      if (waiting === this.#waiters && waiting.length > 0) {
        this.#waiters = [];
        for (const wake of waiting) wake();
      }
    }
  }
}

async function leaderOf(target: Cluster): Promise<ClusterMember> {
  for (;;) {
    for (const member of target.members) {
      const client = new Etcd3({ hosts: member.clientUrl, dialTimeout: 1_000 });
      try {
        const status = await client.maintenance.status();
        if (status.leader !== '0' && status.leader === status.header.member_id) return member;
      } catch {
        // The member is down or starting: ask the next one.
      } finally {
        client.close();
      }
    }
  }
}

async function missingFrom(member: ClusterMember, keys: ReadonlySet<string>): Promise<string[]> {
  const client = new Etcd3({ hosts: member.clientUrl });
  try {
    const present = new Set<string>();
    for (let writer = 0; writer < WRITERS; writer++) {
      // Writer by writer: all at once may be more than the package takes in one answer, on a fast machine.
      for (const key of await client.getAll().prefix(`load/${writer}/`).keys()) present.add(key);
    }
    return [...keys].filter((key) => !present.has(key));
  } finally {
    client.close();
  }
}

function report(result: { readonly acknowledged: number; readonly sorted: readonly number[] }): void {
  const median = result.sorted[Math.floor(result.sorted.length / 2)] ?? 0;
  const worst = result.sorted.at(-1) ?? 0;
  const inTimeouts = (ms: number): string =>
    `${Math.round(ms)} ms (${(ms / ELECTION_MS).toFixed(2)} election timeouts)`;
  process.stdout.write(
    `leader kill: ${result.acknowledged} writes acknowledged, again writable after median ${inTimeouts(median)}, worst ${inTimeouts(worst)}\n`,
  );
}
