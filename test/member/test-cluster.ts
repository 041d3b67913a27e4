import {
  type PutRequest,
  putRequest,
  type RangeRequest,
  rangeRequest,
  type TxnRequest,
} from '../../src/core/mvcc/operations.ts';
import type { MemberId } from '../../src/core/raft/messages.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { initialCluster } from '../../src/member/identity.ts';
import type { Member } from '../../src/member/member.ts';
import type { MemberOptions, MemberPorts } from '../../src/member/member-options.ts';
import { type MemberObserver, SILENT_OBSERVER } from '../../src/member/observer.ts';
import { openMember } from '../../src/member/open-member.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { MemoryLevelOpener } from '../../src/member/storage/memory-level.ts';
import { systemClock, systemRandom } from '../../src/member/system.ts';
import { MemoryNetwork } from '../../src/member/transport/memory-network.ts';
import { MemoryTransport } from '../../src/member/transport/memory-transport.ts';
import { StallingDisk } from './stalling-disk.ts';

/** One member's place: its disk outlives its process. */
export interface Place {
  readonly name: string;
  readonly url: string;
  readonly disk: MemoryDisk;
  /** What the member is given: `disk`, with fsyncs that can stall. */
  readonly stalling: StallingDisk;
  readonly levels: MemoryLevelOpener;
  member: Member | null;
  /** What ended it, if anything did. */
  fatal: unknown;
}

const TOKEN = 'test';

/** A cluster of real members on memory disks and a memory network, in this process. */
export class TestCluster {
  readonly network = new MemoryNetwork({ clock: systemClock, random: systemRandom });
  readonly places: Place[];
  readonly #overrides: Partial<MemberOptions>;
  /** Of every member that starts from now on. */
  observer: MemberObserver = SILENT_OBSERVER;

  constructor(size: number, overrides: Partial<MemberOptions> = {}) {
    this.places = Array.from({ length: size }, (_, i) => newPlace(`n${i + 1}`));
    this.#overrides = overrides;
  }

  static async start(
    size: number,
    overrides: Partial<MemberOptions> = {},
    observer: MemberObserver = SILENT_OBSERVER,
  ): Promise<TestCluster> {
    const cluster = new TestCluster(size, overrides);
    cluster.observer = observer;
    await Promise.all(cluster.places.map((place) => cluster.start(place)));
    const { signal } = new AbortController();
    await Promise.all(cluster.places.map(async (place) => place.member?.ready(signal)));
    return cluster;
  }

  addPlace(name: string): Place {
    const place = newPlace(name);
    this.places.push(place);
    return place;
  }

  async start(place: Place, overrides: Partial<MemberOptions> = {}, signal?: AbortSignal): Promise<Member> {
    const options: MemberOptions = {
      name: place.name,
      peerUrls: [place.url],
      clientUrls: [`http://${place.name}:2379`],
      initialCluster: this.places.map(({ name, url }) => ({ name, peerUrls: [url] })),
      initialClusterToken: TOKEN,
      initialClusterState: 'new',
      heartbeatMs: 20,
      electionMs: 200,
      snapshotCount: 10_000,
      catchUpEntries: 5_000,
      quotaBytes: 2 ** 31,
      cacheBytesMax: 2 ** 26,
      freeBytesMin: 0,
      ballastBytes: 0,
      forceNewCluster: false,
      autoCompaction: null,
      ...this.#overrides,
      ...overrides,
    };
    const ports: MemberPorts = {
      disk: place.stalling,
      levels: place.levels,
      transport: new MemoryTransport(this.network, [place.url]),
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      observe: () => this.observer,
      fatal: (error) => {
        place.fatal ??= error;
      },
    };
    place.member = await openMember(options, ports, signal ?? new AbortController().signal);
    return place.member;
  }

  async stop(place: Place): Promise<void> {
    await place.member?.stop();
    place.member = null;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.places.map((place) => this.stop(place)));
  }

  /** The member that all running ones agree leads. */
  async leader(): Promise<Place> {
    for (;;) {
      const running = this.places.filter((place) => place.member !== null);
      const leading = running.find((place) => place.member?.isLeader());
      if (leading !== undefined) return leading;
      await tick();
    }
  }

  idOf(place: Place): MemberId {
    const cluster = initialCluster(
      TOKEN,
      this.places.map(({ name, url }) => ({ name, peerUrls: [url] })),
    );
    return cluster.members.find((member) => member.name === place.name)?.id ?? 0;
  }
}

export function newPlace(name: string): Place {
  const levels = new MemoryLevelOpener();
  const disk = new MemoryDisk({ databases: () => levels.paths });
  return {
    name,
    url: `http://${name}:2380`,
    disk,
    stalling: new StallingDisk(disk),
    levels,
    member: null,
    fatal: null,
  };
}

export function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

/** Repeats until it holds; the test's own time limit ends it. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await tick();
}

export function context(): { readonly signal: AbortSignal; readonly serializable: boolean } {
  return { signal: new AbortController().signal, serializable: false };
}

export function put(key: string, value: string, lease = 0n): PutRequest {
  return putRequest({ key: Buffer.from(key), value: Buffer.from(value), lease });
}

export function get(key: string, rangeEnd = ''): RangeRequest {
  return rangeRequest({ key: Buffer.from(key), rangeEnd: Buffer.from(rangeEnd, 'latin1') });
}

export function txn(...success: TxnRequest['success']): TxnRequest {
  return { type: 'txn', compare: [], success, failure: [] };
}

export async function valueOf(member: Member, key: string): Promise<string | undefined> {
  const { result } = await member.range(get(key), context());
  return result.kvs[0]?.value.toString();
}
