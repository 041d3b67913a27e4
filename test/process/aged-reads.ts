import { setTimeout as delay } from 'node:timers/promises';
import { RegionReader } from '../../cluster/region-reader.ts';
import { ClientError } from '../../src/client/client-error.ts';
import type { AgedRead } from '../linearizability/ages.ts';
import type { ArenaMember } from './fault-arena.ts';
import { ALL_KEYS } from './workload.ts';

/** A bound that every proof keeps: the member answers by itself, and its age says what it knows. */
export const ANY_AGE_MS = 2 ** 31 - 1;
/** By turns: below and above what a proof of a far region takes. */
const BOUNDS_MS: readonly number[] = [ANY_AGE_MS, 1_000, 200, ANY_AGE_MS, 20, 0];
/** Between two reads of one member, whether the one before was answered or not. */
const PACE_MS = 50;
const TIMEOUT_MS = 5_000;
/** A member that does not answer has at most so many reads on their way. */
const OPEN_MAX = 20;

/** Reads every member all the time with bounds of all sizes, and remembers what it was told. */
export class AgedReads {
  readonly #readers: readonly MemberReader[];
  readonly #stopping = new AbortController();
  #loops: readonly Promise<void>[] = [];

  constructor(members: readonly ArenaMember[]) {
    this.#readers = members.map((member) => new MemberReader(member));
  }

  get reads(): readonly AgedRead[] {
    return this.#readers.flatMap(({ reads }) => reads);
  }

  start(): void {
    this.#loops = this.#readers.map(async (reader) => reader.run(this.#stopping.signal));
  }

  /** One read more of one member; null when it was not answered. */
  async readOf(member: ArenaMember, boundMs: number): Promise<AgedRead | null> {
    return this.#of(member).read(boundMs);
  }

  /** To be called when the member has come to a stand. */
  paused(member: ArenaMember): void {
    this.#of(member).paused = true;
  }

  /** To be called right before the member is told to go on. */
  resumed(member: ArenaMember): void {
    this.#of(member).resumed();
  }

  /** Resolves when the last read has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#loops);
    for (const reader of this.#readers) reader.close();
  }

  #of(member: ArenaMember): MemberReader {
    return this.#readers.find(({ name }) => name === member.name)!;
  }
}

class MemberReader {
  readonly name: string;
  readonly reads: AgedRead[] = [];
  paused = false;
  readonly #reader: RegionReader;
  /** Sent while it stood still, and not answered yet. */
  readonly #open = new Set<{ resumedMs: number }>();

  constructor({ name, clientUrl }: ArenaMember) {
    this.name = name;
    this.#reader = new RegionReader(clientUrl);
  }

  async run(signal: AbortSignal): Promise<void> {
    const ending = new Set<Promise<unknown>>();
    for (let turn = 0; !signal.aborted; turn++) {
      if (ending.size < OPEN_MAX) {
        const read = this.read(BOUNDS_MS[turn % BOUNDS_MS.length]!);
        ending.add(read);
        void read.then(() => ending.delete(read));
      }
      await delay(PACE_MS);
    }
    await Promise.all(ending);
  }

  async read(boundMs: number): Promise<AgedRead | null> {
    const open = { resumedMs: 0 };
    if (this.paused) this.#open.add(open);
    const options = { kind: 'bounded', maxStalenessMs: boundMs, timeoutMs: TIMEOUT_MS } as const;
    try {
      const { sentMs, answeredMs, answer } = await this.#reader.read(ALL_KEYS, options);
      const { header, kvs, ageMs = null } = answer;
      const told = { ageMs, revision: header.revision, kvs };
      const read = { member: this.name, boundMs, sentMs, resumedMs: open.resumedMs, answeredMs, ...told };
      this.reads.push(read);
      return read;
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      // A member that is down or cut off from the leader, and cannot prove the bound, has nothing to say.
      return null;
    } finally {
      this.#open.delete(open);
    }
  }

  resumed(): void {
    const nowMs = performance.now();
    for (const open of this.#open) open.resumedMs = nowMs;
    this.#open.clear();
    this.paused = false;
  }

  close(): void {
    this.#reader.close();
  }
}
