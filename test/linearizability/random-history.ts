import type { TxnRequest } from '../../src/core/mvcc/operations.ts';
import { Prng } from '../core/raft/prng.ts';
import type {
  CommittedRevision,
  HistoryOp,
  HistoryOutcome,
  HistoryRequest,
  HistoryResult,
} from './history.ts';
import type { Step } from './kv-model.ts';
import { ModelState } from './model-state.ts';
import { LEASES, RequestMaker } from './random-request.ts';
import { EVERYTHING } from './requests.ts';

/** What is wrong with the store that a random history comes from. */
export type StoreBug =
  /** A write is acknowledged and forgotten. */
  | 'lost-write'
  /** A write takes effect twice. */
  | 'duplicate-write'
  /** A read does not see what was acknowledged before its call. */
  | 'stale-read'
  /** An answer is that of a neighbouring revision. */
  | 'wrong-revision'
  /** Half of what a transaction writes is missing. */
  | 'split-txn';

export interface RandomHistoryOptions {
  readonly seed: number;
  readonly ops: number;
  readonly clients: number;
  /** Of 100 operations, how many have an unknown outcome. */
  readonly unknownPercent: number;
  /** Leases with their ends, compactions. */
  readonly tables: boolean;
  readonly bug?: StoreBug;
}

export interface RandomHistory {
  readonly ops: readonly HistoryOp[];
  readonly committed: readonly CommittedRevision[];
  /** The bug showed itself: a correct store cannot have done this. */
  readonly broken: boolean;
}

/** Clients on a store that takes one operation at a time; the same seed gives the same history. */
export function randomHistory(options: RandomHistoryOptions): RandomHistory {
  return new RandomRun(options).run();
}

interface Call {
  readonly client: number;
  readonly callTime: number;
  readonly request: HistoryRequest;
  /** The client gave up; it may yet take effect. */
  readonly unknown: boolean;
  outcome: HistoryOutcome | null;
}

class RandomRun {
  readonly #options: RandomHistoryOptions;
  readonly #random: Prng;
  readonly #requests: RequestMaker;
  readonly #ops: HistoryOp[] = [];
  readonly #committed: CommittedRevision[] = [];
  readonly #open = new Map<number, Call>();
  readonly #abandoned: Call[] = [];
  #state = ModelState.EMPTY;
  #time = 0;
  #calls = 0;
  #broken = false;

  constructor(options: RandomHistoryOptions) {
    this.#options = options;
    this.#random = new Prng(options.seed);
    this.#requests = new RequestMaker(this.#random, { name: 'v', tables: options.tables, nested: true });
  }

  run(): RandomHistory {
    const { ops, clients } = this.#options;
    while (this.#calls < ops || this.#open.size > 0) {
      this.#time++;
      if (this.#options.tables && this.#random.chance(3)) this.#expire();
      if (this.#abandoned.length > 0 && this.#random.chance(20)) this.#takeEffect(this.#abandoned.shift()!);
      this.#advance(this.#random.below(clients));
    }
    for (const call of this.#abandoned) if (this.#random.chance(30)) this.#takeEffect(call);
    // What is there in the end is looked at by someone who comes after all others.
    this.#finish({
      client: clients,
      callTime: ++this.#time,
      request: EVERYTHING,
      unknown: false,
      outcome: null,
    });
    return { ops: this.#ops, committed: this.#committed, broken: this.#broken };
  }

  /** One step of one client: it calls, its call takes effect, or it returns. */
  #advance(client: number): void {
    const call = this.#open.get(client);
    if (call === undefined) {
      if (this.#calls < this.#options.ops) this.#call(client);
      return;
    }
    if (call.outcome === null) {
      this.#takeEffect(call);
      return;
    }
    this.#open.delete(client);
    this.#record(call, this.#time, call.outcome);
  }

  #call(client: number): void {
    this.#calls++;
    const unknown = this.#random.chance(this.#options.unknownPercent);
    const call = { client, callTime: this.#time, request: this.#requests.next(), unknown, outcome: null };
    if (!unknown) {
      this.#open.set(client, call);
      return;
    }
    this.#record(call, Infinity, { type: 'unknown' });
    if (this.#random.chance(60)) this.#abandoned.push(call);
  }

  #finish(call: Call): void {
    this.#takeEffect(call);
    this.#record(call, ++this.#time, call.outcome!);
  }

  #record({ client, callTime, request }: Call, returnTime: number, outcome: HistoryOutcome): void {
    this.#ops.push({ client, callTime, returnTime, request, outcome });
    if (outcome.type === 'answered') this.#requests.told(outcome.result.revision);
  }

  // ---- the store --------------------------------------------------------------------------------------------

  #takeEffect(call: Call): void {
    const { request } = call;
    if (request.type === 'serializable-range') {
      const past = 1 + this.#random.below(this.#state.revision);
      call.outcome = outcomeOf(stepAt(this.#state, past, request));
      return;
    }
    const buggy = this.#buggyStep(call);
    if (buggy !== null) {
      call.outcome = buggy;
      return;
    }
    call.outcome = outcomeOf(this.#commit(request));
  }

  #commit(request: HistoryRequest): Step {
    const { step, state } = this.#state.step(request);
    if (step.type === 'done' && step.events.length > 0) {
      this.#committed.push({ revision: state.revision, events: step.events });
    }
    this.#state = state;
    return step;
  }

  #expire(): void {
    this.#commit({ type: 'lease-revoke', id: this.#random.pick(LEASES) });
  }

  /** What the store answers wrongly, or null when it does not this time. At most once in a history. */
  #buggyStep(call: Call): HistoryOutcome | null {
    const { bug } = this.#options;
    if (bug === undefined || call.unknown || this.#broken || this.#random.chance(50)) return null;
    const { request } = call;
    const { step } = this.#state.step(request);
    if (step.type === 'refused') return null;
    const writes = step.events.length > 0;
    switch (bug) {
      case 'lost-write':
        if (!writes || request.type === 'lease-revoke') return null;
        break;
      case 'duplicate-write':
        if (request.type !== 'put') return null;
        this.#commit(request);
        this.#commit(request);
        break;
      case 'stale-read': {
        // Of the oldest revision that no one who returned before the call can have been told of.
        const floor = this.#floorOf(call);
        if (request.type !== 'range' || floor < 2) return null;
        const stale = outcomeOf(stepAt(this.#state, floor - 1, request));
        this.#broken = stale.type === 'answered';
        return this.#broken ? stale : null;
      }
      case 'wrong-revision':
        if (request.type !== 'put') return null;
        this.#commit(request);
        this.#broken = true;
        return { type: 'answered', result: { ...step.result, revision: step.result.revision - 1 } };
      case 'split-txn':
        if (request.type !== 'txn' || step.events.length < 2 || !isSuccess(step.result)) return null;
        this.#commitHalf(request);
        break;
    }
    this.#broken = true;
    return outcomeOf(step);
  }

  #floorOf({ callTime }: Call): number {
    const told = this.#ops.map(({ returnTime, request, outcome }) => {
      const counts =
        returnTime < callTime && outcome.type === 'answered' && request.type !== 'serializable-range';
      return counts ? outcome.result.revision : 1;
    });
    return Math.max(1, ...told);
  }

  #commitHalf(request: TxnRequest): void {
    const last = request.success.findLastIndex((op) => op.type !== 'range');
    this.#commit({ ...request, success: request.success.filter((_, index) => index !== last) });
  }
}

function isSuccess(result: HistoryResult): boolean {
  return result.type === 'txn' && result.succeeded;
}

function outcomeOf(step: Step): HistoryOutcome {
  if (step.type === 'refused') return step;
  return { type: 'answered', result: step.result };
}

/** A read of a member that is behind: it has come to `revision`. */
function stepAt(state: ModelState, revision: number, request: HistoryRequest): Step {
  const past = state.at(revision) as ModelState;
  return past.step(request).step;
}
