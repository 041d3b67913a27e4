import {
  type RangeRequest,
  type RangeResult,
  rangeRequest,
  type TxnRequest,
  type TxnResult,
} from '../../src/core/mvcc/operations.ts';
import type { Answer as Answered, ReadContext } from '../../src/member/client-calls.ts';
import type { Member } from '../../src/member/member.ts';
import { OPERATOR } from './auth-operator.ts';
import type { Call, Linearizability } from './checkers/linearizability.ts';
import type { ReadAge } from './checkers/read-age.ts';
import { type Answer, type ClientPort, pause } from './client.ts';
import type { Place } from './place.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './process.ts';
import type { RegionPlan } from './region-plan.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import type { WorkloadClient } from './workload.ts';

const THINK_MS_MAX = 120;
const TIMEOUTS_MS = [300, 1_500, 6_000] as const;
/** Of large values: together more than a member reads in one turn. */
const LARGE_KEYS = ['l0', 'l1', 'l2', 'l3'];
const LARGE_BYTES = 270 * 1024;
/** How many of the readers' runs have them, and of the reads then are for them, in a hundred. */
const LARGE_RUNS_PERCENT = 40;
const LARGE_READS_PERCENT = 15;
/** Reads in a hundred that are made as a transaction. */
const TXN_PERCENT = 20;
/** How long a member stands still in the midst of a large read, how soon after it has begun, and waits for room, in ms. */
const STALLS_MS = [30, 400, 2_500] as const;
const STALL_SOON_MS = 0.06;
const ROOM_MS_MAX = 300;

export interface BoundedReaderParts {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly port: ClientPort;
  readonly places: () => readonly Place[];
  readonly regions: RegionPlan;
  readonly keys: number;
  readonly linearizability: Linearizability;
  readonly ages: ReadAge;
  readonly trace: Trace;
  /** Writes what large reads read; null where nobody does. */
  readonly writer: WorkloadClient | null;
}

/** The read, and all that is to be told of its answer once it is known when it was given. */
interface Read {
  readonly call: Call;
  readonly request: RangeRequest | TxnRequest;
  readonly boundMs: number;
}

/**
 * A client that asks any member or learner for answers of a bounded age. Some of its reads are so large that they take
 * more than a turn; then, now and then, the member has no room for a while, or stands still in the midst of one.
 */
export class BoundedReader {
  stopped = false;
  answeredCount = 0;
  readonly #parts: BoundedReaderParts;
  #number = 0;
  #hasLarge = false;

  constructor(parts: BoundedReaderParts) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    const { scheduler, random, places } = this.#parts;
    const { writer } = this.#parts;
    if (writer !== null && random.chance(LARGE_RUNS_PERCENT)) void this.#putLarge(writer);
    while (!this.stopped) {
      await pause(scheduler, random.fraction() * THINK_MS_MAX);
      if (this.stopped) return;
      await this.read(random.pick(places()));
    }
  }

  /** One read of any bound. @returns whether it was answered */
  async read(place: Place): Promise<boolean> {
    const { random, scheduler, port, linearizability, regions, trace, name } = this.#parts;
    const isLarge = this.#hasLarge && random.chance(LARGE_READS_PERCENT);
    const ranges = isLarge ? range('l', 'm') : this.#narrow();
    const request = random.chance(TXN_PERCENT) ? asTxn(ranges) : ranges;
    const boundMs = random.pick(regions.boundsMs);
    this.#number += 1;
    const call = linearizability.call(`${name}-${this.#number}`, scheduler.nowMs);
    const read: Read = { call, request, boundMs };
    const isStalled = isLarge && random.chance(40) && !this.stopped;
    trace.detail(
      name,
      () => `${call.opId} asks ${place.name} for at most ${boundMs} ms: ${ranges.key.toString()}`,
    );
    const answer = await port.call(
      place,
      random.pick(TIMEOUTS_MS),
      (member, signal) => {
        if (isStalled) this.#stall(place);
        return this.#ask(member, read, { signal, place });
      },
      (answered, process) => this.#judge(process, read, answered),
    );
    trace.detail(name, () => `${call.opId} is ${answerText(answer)}`);
    if (answer.type !== 'answered') return false;
    const { header, result } = answer.value;
    const { revision } = header;
    linearizability.read(call, { request, result, revision, serializable: true, servedBy: answer.process });
    this.answeredCount += 1;
    return true;
  }

  #ask(
    member: Member,
    { request, boundMs }: Read,
    { signal, place }: { readonly signal: AbortSignal; readonly place: Place },
  ): Promise<Answered<RangeResult | TxnResult>> {
    const context: ReadContext = {
      signal,
      serializable: false,
      maxStalenessMs: boundMs,
      credentials: OPERATOR,
      reserve: () => this.#room(place),
    };
    return request.type === 'txn' ? member.txn(request, context) : member.range(request, context);
  }

  /** For a large answer there may be no room for a while. */
  #room({ process }: Place): Promise<void> | undefined {
    const { random } = this.#parts;
    if (process === null || random.chance(50)) return undefined;
    return new Promise((resolve) => {
      process.schedule(random.fraction() * ROOM_MS_MAX, 'client', resolve);
    });
  }

  #judge(process: SimProcess, { call, boundMs }: Read, { header, ageMs }: Answered<unknown>): void {
    const { scheduler, ages, linearizability } = this.#parts;
    const { revision } = header;
    ages.answered({
      opId: call.opId,
      process: process.name,
      rate: process.rate,
      atMs: scheduler.nowMs,
      revision,
      ageMs: ageMs ?? Number.NaN,
      boundMs,
      isLinearizable: linearizability.isFresh(call, revision),
    });
  }

  /** The process stands still when it has begun, its clock goes on. */
  #stall(place: Place): void {
    const { scheduler, random, trace } = this.#parts;
    const { process } = place;
    if (process === null || process.paused) return;
    const later = (delayMs: number, run: () => void): void =>
      void scheduler.schedule(delayMs, { owner: null, kind: 'fault', run });
    later(random.fraction() * STALL_SOON_MS, () => {
      if (this.stopped || process.paused || !process.alive) return;
      const forMs = random.pick(STALLS_MS);
      trace.line(place.name, `stands still within a read for ${forMs} ms`);
      process.pause();
      later(forMs, () => process.resume('stopped'));
    });
  }

  async #putLarge(writer: WorkloadClient): Promise<void> {
    const { random, places, scheduler } = this.#parts;
    const value = Buffer.alloc(LARGE_BYTES, 'l');
    while (!this.stopped && !(await writer.putMany(random.pick(places()), LARGE_KEYS, value)))
      await pause(scheduler, random.fraction() * THINK_MS_MAX);
    this.#hasLarge = true;
  }

  #narrow(): RangeRequest {
    const { random, keys } = this.#parts;
    const key = (): string => `k${String(random.integer(keys)).padStart(2, '0')}`;
    return range(key(), random.pick(['', key(), 'kb']));
  }
}

function range(key: string, rangeEnd: string): RangeRequest {
  return rangeRequest({ key: Buffer.from(key), rangeEnd: Buffer.from(rangeEnd) });
}

function asTxn(request: RangeRequest): TxnRequest {
  return { type: 'txn', compare: [], success: [request], failure: [] };
}

function answerText(answer: Answer<Answered<unknown>>): string {
  if (answer.type === 'refused') return `refused by ${answer.process}: ${answer.code}`;
  if (answer.type !== 'answered') return answer.type;
  const { header, ageMs } = answer.value;
  return `answered by ${answer.process}: revision ${header.revision}, age ${ageMs}`;
}
