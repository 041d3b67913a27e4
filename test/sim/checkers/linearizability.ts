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
  /** How many answers had come to any client. */
  readonly answers: number;
}

/** The newest revision that a process had shown when so many answers had come. */
interface Shown {
  readonly answers: number;
  readonly revision: number;
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
  /** What each process has shown, of either kind of read: serializable ones never go back behind it (P33). */
  readonly #shown = new Map<string, Shown[]>();

  constructor(log: AppliedLog, report: Report) {
    this.#log = log;
    this.#report = report;
  }

  call(opId: string, calledMs: number): Call {
    return { opId, calledMs, floor: this.#floor, answers: this.opCount };
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
      // Answers on their way may overtake each other: what counts had come before this was called.
      const shown = this.#shown.get(servedBy)?.findLast(({ answers }) => answers <= call.answers);
      if (shown !== undefined && revision < shown.revision)
        this.#fail(call, `read at revision ${revision} from ${servedBy}, which had shown ${shown.revision}`);
    } else {
      this.#checkFresh(call, revision);
      this.#floor = Math.max(this.#floor, index);
    }
    this.#show(servedBy, revision);
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

  /** Whether a read at this revision reflects everything that any client had heard of when it was called. */
  isFresh(call: Call, revision: number): boolean {
    return revision >= this.#floorRevision(call);
  }

  /** What must have happened has: called when the cluster is at rest. */
  opInLog(opId: string): boolean {
    return this.#log.indexOfOp.has(opId);
  }

  #show(process: string, revision: number): void {
    const shown = this.#shown.get(process) ?? [];
    this.#shown.set(process, shown);
    if (revision > (shown.at(-1)?.revision ?? 0)) shown.push({ answers: this.opCount, revision });
  }

  #checkFresh(call: Call, revision: number): void {
    const floorRevision = this.#floorRevision(call);
    if (revision < floorRevision) {
      this.#fail(
        call,
        `read at revision ${revision}, but ${floorRevision} had been answered when it was called`,
      );
    }
  }

  /** The newest revision among all entries up to the floor is what a read must at least show. */
  #floorRevision({ floor }: Call): number {
    return this.#log.at(floor)?.revision ?? 1;
  }

  #fail(call: Call, message: string): void {
    this.#report(
      new Violation('linearizability', `${call.opId} (called at ${call.calledMs.toFixed(3)}) ${message}`),
    );
  }
}
