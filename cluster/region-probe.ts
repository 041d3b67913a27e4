import { setTimeout as delay } from 'node:timers/promises';
import { ClientError } from '../src/client/client-error.ts';
import { KvClient } from '../src/client/kv-client.ts';
import type { RegionMember } from './region-layout.ts';
import { READ_KINDS, type ReadKind, RegionReader } from './region-reader.ts';

/** What one member said of itself, or null when it did not answer. */
export interface ProbedStatus {
  readonly id: bigint;
  /** Of the member that it follows; 0n when it knows none. */
  readonly leader: bigint;
  readonly term: number;
  readonly appliedIndex: number;
  readonly isLearner: boolean;
}

/** What has been measured at one member. */
export interface ProbedMember {
  readonly member: RegionMember;
  readonly status: ProbedStatus | null;
  /** Of the last reads that were answered, by kind, in milliseconds. */
  readonly latenciesMs: Readonly<Record<ReadKind, readonly number[]>>;
  /** By kind: how the last read ended, when it was not answered. */
  readonly failures: Readonly<Record<ReadKind, string | null>>;
  /** Told with the last bounded read. */
  readonly ageMs: number | null;
}

/** How stale a bounded read of the probes may be. */
export const PROBE_STALENESS_MS = 500;
/** Reads of one kind whose median is shown. */
const READS_KEPT = 20;
const TIMEOUT_MS = 2_000;
const STATUS_PAUSE_MS = 1_000;
/** Between two rounds of reads of one member. */
const PAUSE_MS = { min: 1_000, max: 3_000 } as const;
/** There need be no such key: what a read costs is the same. */
const KEY = 'conclave/regions/probe';

/**
 * Asks every member, by and by: its load is next to nothing, and it writes nothing. Members are asked at different
 * times, by chance: reads that the leader confirms together wait for each other, which those of few clients do not.
 */
export class RegionProbe {
  readonly #members: readonly MemberProbe[];

  constructor(members: readonly RegionMember[]) {
    this.#members = members.map((member) => new MemberProbe(member));
  }

  /** What is known so far. */
  get found(): readonly ProbedMember[] {
    return this.#members.map(({ found }) => found);
  }

  /** Goes on until the signal. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#askForStatus(signal),
      ...this.#members.map(async (probe) => probe.read(signal)),
    ]);
    for (const probe of this.#members) probe.close();
  }

  /** Of all members at the same time: how far they are is to be compared. */
  async #askForStatus(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await Promise.all(this.#members.map(async (probe) => probe.askForStatus()));
      await pause(STATUS_PAUSE_MS, signal);
    }
  }
}

class MemberProbe {
  readonly #member: RegionMember;
  readonly #client: KvClient;
  readonly #reader: RegionReader;
  readonly #latenciesMs = { linearizable: [], serializable: [], bounded: [] } as Record<ReadKind, number[]>;
  readonly #failures: Record<ReadKind, string | null> = {
    linearizable: null,
    serializable: null,
    bounded: null,
  };
  #ageMs: number | null = null;
  #status: ProbedStatus | null = null;

  constructor(member: RegionMember) {
    const url = `http://127.0.0.1:${member.clientPort}`;
    this.#member = member;
    this.#client = new KvClient({ endpoints: [url], timeoutMs: TIMEOUT_MS });
    this.#reader = new RegionReader(url);
  }

  get found(): ProbedMember {
    return {
      member: this.#member,
      status: this.#status,
      latenciesMs: this.#latenciesMs,
      failures: this.#failures,
      ageMs: this.#ageMs,
    };
  }

  async read(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // One after the other: a read that waits must not lend its time to the next.
      for (const kind of READ_KINDS) if (!signal.aborted) await this.#read(kind);
      await pause(PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min), signal);
    }
  }

  close(): void {
    this.#client.close();
    this.#reader.close();
  }

  async askForStatus(): Promise<void> {
    try {
      const said = await this.#client.status(this.#client.endpoints[0]!);
      const { header, leader, raftTerm: term, raftAppliedIndex: appliedIndex, isLearner } = said;
      this.#status = { id: header.memberId, leader, term, appliedIndex, isLearner };
    } catch {
      this.#status = null;
    }
  }

  async #read(kind: ReadKind): Promise<void> {
    const options = { kind, maxStalenessMs: PROBE_STALENESS_MS, timeoutMs: TIMEOUT_MS };
    try {
      const { sentMs, answeredMs, answer } = await this.#reader.read({ key: KEY }, options);
      const latencies = this.#latenciesMs[kind];
      latencies.push(answeredMs - sentMs);
      if (latencies.length > READS_KEPT) latencies.shift();
      this.#failures[kind] = null;
      if (kind === 'bounded') this.#ageMs = answer.ageMs ?? null;
    } catch (error) {
      this.#latenciesMs[kind].length = 0;
      this.#failures[kind] = nameOf(error);
      if (kind === 'bounded') this.#ageMs = null;
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

function nameOf(error: unknown): string {
  if (!(error instanceof ClientError)) throw error;
  if (error.code === 'deadline-exceeded') return 'no answer';
  return error.code === 'unavailable' ? 'unavailable' : 'refused';
}
