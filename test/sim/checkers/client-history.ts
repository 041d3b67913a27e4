import type { KeyValue } from '../../../src/core/mvcc/operations.ts';
import {
  type BlackBoxVerdict,
  beginningOf,
  blackBoxVerdict,
  longestVerdict,
  withExpiries,
} from '../../linearizability/black-box.ts';
import type {
  CommittedRevision,
  HistoryEvent,
  HistoryOp,
  HistoryOutcome,
  HistoryRequest,
  WatchHistory,
} from '../../linearizability/history.ts';
import { watchViolations } from '../../linearizability/watch-validator.ts';
import { witnessViolations } from '../../linearizability/witness.ts';
import { type Report, Violation } from '../violation.ts';
import type { Model, ModelEvent } from './model.ts';

/** So many operations, the first of a run, are searched with nothing known but the answers. */
const ALONE_OPS_MAX = 120;
const ALONE_STEPS_MAX = 4_000;
/** The whole run is searched with what a watch over all keys would say, which leaves little to be tried. */
const WATCHED_STEPS_MAX = 20_000;

const EMPTY = Buffer.alloc(0);

/** An operation whose outcome is not known yet. */
type OpenOp = (outcome: HistoryOutcome) => void;

/**
 * All that the clients of a run asked and were told, judged once the run is over by the checkers of
 * test/linearizability, which know nothing of the simulator, its log or its clock (RELIABILITY 6, checkers A to C).
 */
export class ClientHistory {
  /** Of how many operations the black-box search has decided; 0 when it came to nothing, which proves nothing. */
  opsSearched = 0;
  readonly #report: Report;
  readonly #ops: HistoryOp[] = [];
  /** Calls that have not returned. */
  readonly #open = new Set<OpenOp>();
  #time = 0;
  #client = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  get opCount(): number {
    return this.#ops.length;
  }

  /** A client calls. What it is told it says by calling back, once. */
  call(request: HistoryRequest): OpenOp {
    const callTime = ++this.#time;
    // Bursts overlap, so every operation has a client of its own.
    const client = ++this.#client;
    const settle = (outcome: HistoryOutcome): void => {
      if (!this.#open.delete(settle)) return;
      const returnTime = outcome.type === 'unknown' ? Number.POSITIVE_INFINITY : ++this.#time;
      this.#ops.push({ client, callTime, returnTime, request, outcome });
    };
    this.#open.add(settle);
    return settle;
  }

  /** Judges everything, the watches included. */
  judge(model: Model, watches: readonly WatchHistory[]): void {
    for (const settle of this.#open) settle({ type: 'unknown' });
    const committed = model.history.map(
      ({ revision, events }): CommittedRevision => ({
        revision,
        events: events.map((event) => historyEvent(event, revision)),
      }),
    );
    const ops = this.#ops;
    for (const { rule, message } of witnessViolations({ ops, committed }))
      this.#fail(`the witness, ${rule}: ${message}`);
    const context = { committed, compactRevision: model.compacted, headersPromise: true };
    for (const watch of watches) {
      for (const { rule, message } of watchViolations(watch, context))
        this.#fail(`a watch, ${rule}: ${message}`);
    }
    this.#search(committed);
  }

  #search(watched: readonly CommittedRevision[]): void {
    const beginning = withExpiries(beginningOf(this.#ops, ALONE_OPS_MAX));
    this.#judgeOrder(blackBoxVerdict(beginning, { stepsMax: ALONE_STEPS_MAX }));
    const { verdict, opsDecided } = longestVerdict(this.#ops, { stepsMax: WATCHED_STEPS_MAX, watched });
    this.#judgeOrder(verdict);
    this.opsSearched = opsDecided;
  }

  #judgeOrder(verdict: BlackBoxVerdict): void {
    if (verdict.type !== 'not-linearizable') return;
    this.#fail(`no order explains what clients saw, after ${verdict.furthest.length} operations`);
  }

  #fail(message: string): void {
    this.#report(new Violation('history', message));
  }
}

function historyEvent({ type, key, kv, previous }: ModelEvent, revision: number): HistoryEvent {
  return { type, kv: kv ?? tombstone(key, revision), prevKv: previous };
}

function tombstone(key: string, modRevision: number): KeyValue {
  return {
    key: Buffer.from(key, 'latin1'),
    createRevision: 0,
    modRevision,
    version: 0,
    value: EMPTY,
    lease: 0n,
  };
}
