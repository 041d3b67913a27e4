import type { RangeRequest, RangeResult, TxnRequest, TxnResult } from '../../../src/core/mvcc/operations.ts';
import { type Report, Violation } from '../violation.ts';
import type { AppliedLog } from './applied-log.ts';
import { responseText } from './model.ts';

/** A client's operation, as the client sees it. */
export interface Call {
  readonly opId: string;
  readonly calledMs: number;
  /** The latest position that some client knew of when this was called. */
  readonly floor: number;
}

/**
 * The witness check of linearizability (RELIABILITY 6, checker A): the order is that of the log. Every answer must be
 * what its entry came to, and no operation may take effect before one that had returned when it was called.
 */
export class Linearizability {
  opCount = 0;
  readonly #log: AppliedLog;
  readonly #report: Report;
  /** The latest position among everything that has returned. */
  #floor = 0;
  /** Serializable reads of one client at one process never go back. */
  readonly #served = new Map<string, number>();

  constructor(log: AppliedLog, report: Report) {
    this.#log = log;
    this.#report = report;
  }

  call(opId: string, calledMs: number): Call {
    return { opId, calledMs, floor: this.#floor };
  }

  /** A write came back with its answer, in the model's words, and its header's revision. */
  wrote(call: Call, answer: { readonly text: string; readonly revision: number | null }): void {
    this.opCount += 1;
    const index = this.#log.indexOfOp.get(call.opId);
    const entry = index === undefined ? undefined : this.#log.at(index);
    if (entry === undefined) {
      this.#fail(call, `was answered «${answer.text}», but is not in the log`);
      return;
    }
    if (entry.index <= call.floor) {
      this.#fail(
        call,
        `took effect at ${entry.index}, before ${call.floor}, which had returned when it was called`,
      );
    }
    if (answer.revision !== null && answer.revision !== entry.revision) {
      this.#fail(call, `was answered revision ${answer.revision}, its entry made ${entry.revision}`);
    }
    this.#floor = Math.max(this.#floor, entry.index);
  }

  /** A range, or a transaction without writes, came back. `servedBy`: the process that answered. */
  read(
    call: Call,
    read: {
      readonly request: RangeRequest | TxnRequest;
      readonly result: RangeResult | TxnResult;
      readonly revision: number;
      readonly serializable: boolean;
      readonly servedBy: string;
    },
  ): void {
    this.opCount += 1;
    const { request, result, revision, serializable, servedBy } = read;
    const index = this.#log.indexOfRevision(revision);
    if (index === undefined) {
      this.#fail(call, `read at revision ${revision}, which was never made`);
      return;
    }
    if (serializable) {
      // One client asks one thing at a time; answers to different ones may overtake each other.
      const reader = `${call.opId.split('.')[0]} at ${servedBy}`;
      const served = this.#served.get(reader) ?? 0;
      if (revision < served)
        this.#fail(call, `read at revision ${revision} from ${servedBy}, which had served ${served}`);
      this.#served.set(reader, revision);
    } else {
      this.#checkFresh(call, revision);
      this.#floor = Math.max(this.#floor, index);
    }
    const got = responseText(result);
    const wanted = responseText(this.#log.model.read(request, revision));
    if (got !== wanted) this.#fail(call, `read «${got}» at revision ${revision}, the log says «${wanted}»`);
  }

  /** A read was refused for its revision. */
  readRefused(call: Call, code: 'compacted' | 'future-revision', at: number): void {
    const { model } = this.#log;
    if (code === 'compacted' && at >= model.compacted)
      this.#fail(call, `was told that ${at} is compacted, it is not`);
  }

  /** What must have happened has: called when the cluster is at rest. */
  opInLog(opId: string): boolean {
    return this.#log.indexOfOp.has(opId);
  }

  #checkFresh(call: Call, revision: number): void {
    // The newest revision among all entries up to the floor is what it must at least show.
    const floorRevision = this.#log.at(call.floor)?.revision ?? 1;
    if (revision < floorRevision) {
      this.#fail(
        call,
        `read at revision ${revision}, but ${floorRevision} had been answered when it was called`,
      );
    }
  }

  #fail(call: Call, message: string): void {
    this.#report(
      new Violation('linearizability', `${call.opId} (called at ${call.calledMs.toFixed(3)}) ${message}`),
    );
  }
}
