import type {
  RangeRequest,
  RangeResult,
  ResponseOp,
  TxnRequest,
  TxnResult,
} from '../core/mvcc/operations.ts';
import { finishRange, type RangePage, type RangePlan } from '../core/mvcc/range.ts';
import type { TxnPlan } from '../core/mvcc/txn.ts';
import type { StateMachine } from '../core/state-machine.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError } from '../lib/errors.ts';
import type { Clock } from './ports.ts';

/** Answers up to this are read at once, in bytes; larger ones in pieces of this size, */
const PIECE_BYTES_MAX = 1024 * 1024;
/** and of at most so many keys: each may cost a read of the disk. */
const PIECE_ROWS_MAX = 500;
/** A read is begun anew when a compaction overtakes it; after so many times it gives up. */
const RESTARTS_MAX = 8;

export interface SlicedReadsOptions {
  readonly clock: Clock;
  /** Runs a read on the state as it is now; a row that cannot be read ends the member. */
  readonly read: <T>(read: (machine: StateMachine) => T) => T;
}

export interface SlicedReadContext {
  readonly signal: CancelSignal;
  /**
   * Throws when who asks may not read this, or may not any more. Asked in the very step in which anything is read,
   * and once more when all of it is there.
   */
  permit(): void;
  /**
   * Makes sure of room for an answer of about so many bytes; undefined = there is, else it resolves once there is. Asked
   * for large answers only.
   */
  reserve?(bytes: number): Promise<void> | undefined;
}

/** A range to be read piece by piece, all of it at one revision. */
export interface OpenRange {
  readonly plan: Pick<RangePlan, 'revision' | 'more' | 'count'>;
  readonly pages: AsyncIterable<RangePage['kvs']>;
}

/**
 * Reads whose answers are too large to be read in one turn of the event loop: leadership, heartbeats and everybody
 * else's requests must go on meanwhile. One at a time is gathered; each is of one revision, whatever is written
 * meanwhile.
 */
export class SlicedReads {
  readonly #options: SlicedReadsOptions;
  /** Settles when the large read that came last has been gathered. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Large reads that are gathered, or wait for it with their room. */
  #gathering = 0;

  constructor(options: SlicedReadsOptions) {
    this.#options = options;
  }

  /**
   * At once unless the answer is large.
   *
   * @throws StoreError as `Store.range`; `canceled`, and what `permit` and `reserve` fail with
   */
  range(request: RangeRequest, context: SlicedReadContext): RangeResult | Promise<RangeResult> {
    const begun = this.#beginRange(request, context);
    if (begun.type === 'range') return begun;
    return this.#gather<RangeResult | RangePlan, RangeResult>(begun, {
      begin: () => this.#beginRange(request, context),
      finish: async (plan) => (plan.type === 'range' ? plan : this.#finish(plan, context)),
      context,
    });
  }

  /** A transaction that only reads. @throws StoreError as `Store.applyTxn`; `canceled`, and as `range` */
  txn(request: TxnRequest, context: SlicedReadContext): TxnResult | Promise<TxnResult> {
    const begin = (): TxnPlan => {
      context.permit();
      return this.#options.read(({ store, lessor }) => store.beginTxn(request, lessor, PIECE_BYTES_MAX));
    };
    const begun = begin();
    return (
      wholeTxn(begun) ??
      this.#gather(begun, { begin, finish: (plan) => this.#finishTxn(plan, context), context })
    );
  }

  /** A range whose pages are read as they are asked for. Sorting other than by ascending key is not for it. */
  openRange(request: RangeRequest, context: SlicedReadContext): OpenRange {
    context.permit();
    const plan = this.#options.read(({ store }) => store.beginRange(request, -1));
    if (plan.type === 'range') return { plan, pages: single(plan.kvs) };
    return { plan, pages: this.#pages(plan, context) };
  }

  #beginRange(request: RangeRequest, context: SlicedReadContext): RangeResult | RangePlan {
    context.permit();
    return this.#options.read(({ store }) => store.beginRange(request, PIECE_BYTES_MAX));
  }

  async #gather<Plan extends RangeResult | RangePlan | TxnPlan, Result>(
    begun: Plan,
    work: {
      readonly begin: () => Plan;
      readonly finish: (plan: Plan) => Promise<Result>;
      readonly context: SlicedReadContext;
    },
  ): Promise<Result> {
    const { begin, finish, context } = work;
    let plan: Plan | null = begun;
    // The keys of a plan may take as much as the answer: who has to wait does not keep them, and begins anew.
    const room = context.reserve?.(planBytes(plan));
    if (room !== undefined) {
      plan = null;
      await room;
    }
    if (this.#gathering > 0) plan = null;
    this.#gathering += 1;
    const before = this.#turn;
    let done = (): void => undefined;
    this.#turn = new Promise<void>((resolve) => {
      done = resolve;
    });
    try {
      await before;
      for (let restarts = 0; ; restarts++) {
        try {
          const result = await finish(plan ?? begin());
          context.permit();
          return result;
        } catch (error) {
          if (!isOvertaken(error) || restarts >= RESTARTS_MAX) throw error;
          plan = null;
        }
      }
    } finally {
      this.#gathering -= 1;
      done();
    }
  }

  async #finish(plan: RangePlan, context: SlicedReadContext): Promise<RangeResult> {
    const kvs: RangePage['kvs'][number][] = [];
    for await (const page of this.#pages(plan, context)) for (const kv of page) kvs.push(kv);
    return finishRange(plan, kvs);
  }

  async #finishTxn(plan: TxnPlan, context: SlicedReadContext): Promise<TxnResult> {
    const responses: ResponseOp[] = [];
    for (const response of plan.responses) {
      if (response.type === 'range-plan') responses.push(await this.#finish(response, context));
      else if (response.type === 'txn-plan') responses.push(await this.#finishTxn(response, context));
      else responses.push(response);
    }
    return { type: 'txn', revision: plan.revision, succeeded: plan.succeeded, responses };
  }

  async *#pages(plan: RangePlan, context: SlicedReadContext): AsyncGenerator<RangePage['kvs']> {
    const { signal } = context;
    const limits = { rowsMax: PIECE_ROWS_MAX, bytesMax: PIECE_BYTES_MAX };
    for (let from = 0; from < plan.keys.length; ) {
      if (signal.aborted) throw abortError(signal);
      context.permit();
      const page = this.#options.read(({ store }) => store.loadPage(plan, from, limits));
      from = page.next;
      yield page.kvs;
      await new Promise<void>((resolve) => this.#options.clock.setImmediate(resolve));
    }
  }
}

async function* single(kvs: RangePage['kvs']): AsyncGenerator<RangePage['kvs']> {
  yield kvs;
}

/** The answer, when no range of it is left to be loaded. */
function wholeTxn(plan: TxnPlan): TxnResult | null {
  const responses: ResponseOp[] = [];
  for (const response of plan.responses) {
    const whole = response.type === 'txn-plan' ? wholeTxn(response) : response;
    if (whole === null || whole.type === 'range-plan') return null;
    responses.push(whole);
  }
  return { type: 'txn', revision: plan.revision, succeeded: plan.succeeded, responses };
}

function planBytes(plan: RangePlan | TxnPlan | RangeResult): number {
  switch (plan.type) {
    case 'range':
      return 0;
    case 'range-plan':
      return plan.bytes;
    case 'txn-plan':
      return plan.responses.reduce((bytes, response) => bytes + planBytes(response), 0);
  }
}

/** The revision was compacted between two pieces. Begun anew, a read of the newest revision succeeds. */
function isOvertaken(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'compacted';
}
