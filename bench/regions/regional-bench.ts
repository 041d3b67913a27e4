import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePorts } from '../../cluster/free-ports.ts';
import { RegionCluster } from '../../cluster/region-cluster.ts';
import {
  LEADER_REGIONS,
  REGION_MEMBERS,
  type RegionMember,
  ROUND_TRIPS,
} from '../../cluster/region-layout.ts';
import { KvClient } from '../../src/client/kv-client.ts';

const READY_TIMEOUT_MS = 120_000;
const STATUS_TIMEOUT_MS = 1_000;
const POLL_MS = 20;

/** The cluster of `npm run regions` at free ports, with data of its own. */
export class RegionalBench implements AsyncDisposable {
  readonly members: readonly RegionMember[];
  readonly #cluster: RegionCluster;
  readonly #directory: string;
  /** A member has ended by itself: its log says why. */
  #isDirectoryKept = false;

  private constructor(
    cluster: RegionCluster,
    place: { members: readonly RegionMember[]; directory: string },
  ) {
    this.#cluster = cluster;
    this.members = place.members;
    this.#directory = place.directory;
  }

  /** Resolves when all members are ready and one in the best region leads. */
  static async start(): Promise<RegionalBench> {
    const directory = await mkdtemp(join(tmpdir(), 'bench-regions-'));
    const ports = await freePorts(3 * REGION_MEMBERS.length);
    const members = REGION_MEMBERS.map((member, at) => ({
      ...member,
      clientPort: ports[3 * at]!,
      peerPort: ports[3 * at + 1]!,
      httpPort: ports[3 * at + 2]!,
    }));
    const cluster = await RegionCluster.prepare({
      members,
      roundTrips: ROUND_TRIPS,
      dataDir: directory,
      onMemberEnd: (name, how) => {
        bench.#isDirectoryKept = true;
        throw new Error(`${name} has ended by itself (${how}); its log is in ${directory}`);
      },
    });
    const bench = new RegionalBench(cluster, { members, directory });
    // What would outlive this process if it ended before its time.
    process.on('exit', () => {
      cluster.members.kill();
      if (!bench.#isDirectoryKept) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    });
    try {
      await cluster.members.start(AbortSignal.timeout(READY_TIMEOUT_MS));
      await bench.#leaderWhereWanted();
      return bench;
    } catch (error) {
      await bench[Symbol.asyncDispose]();
      throw error;
    }
  }

  in(region: string): readonly RegionMember[] {
    return this.members.filter((member) => member.region === region);
  }

  /** The member that leads in the newest term anybody leads in. */
  async leader(): Promise<RegionMember> {
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    while (performance.now() < deadlineMs) {
      const found = await Promise.all(this.members.map(async (member) => this.#termLed(member)));
      const term = Math.max(...found);
      if (term > 0) return this.members[found.indexOf(term)]!;
      await delay(POLL_MS);
    }
    throw new Error('nobody leads');
  }

  /** Ends members at once, all together. */
  async kill(members: readonly RegionMember[]): Promise<void> {
    await Promise.all(members.map(async ({ name }) => this.#cluster.members.killOne(name)));
  }

  /** Starts them again; resolves when they are ready. */
  async restart(members: readonly RegionMember[]): Promise<void> {
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
    await Promise.all(members.map(async ({ name }) => this.#cluster.members.startOne(name, signal)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]();
    if (!this.#isDirectoryKept) await rm(this.#directory, { recursive: true, force: true });
  }

  /** A first election may end elsewhere; its leader's end makes another. */
  async #leaderWhereWanted(): Promise<void> {
    for (;;) {
      const leader = await this.leader();
      if (leader.region === LEADER_REGIONS[0]) return;
      await this.kill([leader]);
      await this.restart([leader]);
    }
  }

  /** 0 when it does not lead. */
  async #termLed({ clientPort }: RegionMember): Promise<number> {
    using client = new KvClient({ endpoints: [urlOf({ clientPort })], timeoutMs: STATUS_TIMEOUT_MS });
    try {
      const { leader, header, raftTerm } = await client.status(client.endpoints[0]!);
      return leader === header.memberId ? raftTerm : 0;
    } catch {
      return 0;
    }
  }
}

/** Where a client reaches a member. */
export function urlOf({ clientPort }: Pick<RegionMember, 'clientPort'>): string {
  return `http://127.0.0.1:${clientPort}`;
}

/** What a member took for one write to its log on average, in milliseconds. */
export async function meanSyncMs({ httpPort }: RegionMember): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  const value = (name: string): number =>
    Number(new RegExp(`^etcd_disk_wal_fsync_duration_seconds_${name} (\\S+)$`, 'm').exec(page)?.[1]);
  return (value('sum') / value('count')) * 1_000;
}
