import type { RangeRequest, TxnRequest } from '../../../src/core/mvcc/operations.ts';
import { type Report, Violation } from '../violation.ts';
import type { AppliedLog } from './applied-log.ts';
import { mayRead } from './auth-model.ts';
import type { Call } from './linearizability.ts';

/** What a client reads, and as whom. */
export interface Reading {
  readonly user: string;
  readonly request: RangeRequest | TxnRequest;
  readonly serializable: boolean;
}

/**
 * Permissions of what is not in the log (RELIABILITY K13, W12): a read is answered, or refused, as some state of users
 * and roles says that it may have been decided in; a watch is shown nothing of a time from which on it was never
 * allowed again. What is in the log the model decides itself, at the entry's own index.
 */
export class Permissions {
  /** Reads and watches that were refused, or ended. */
  deniedCount = 0;
  readonly #log: AppliedLog;
  readonly #report: Report;

  constructor(log: AppliedLog, report: Report) {
    this.#log = log;
    this.#report = report;
  }

  answered(call: Call, reading: Reading, revision: number): void {
    const from = this.#log.indexOfRevision(revision) ?? 0;
    const next = this.#log.indexOfRevision(revision + 1) ?? this.#log.lastIndex + 1;
    const earliest = reading.serializable ? from : Math.max(from, call.floor);
    if (this.#wasAllowed(reading, earliest, next - 1)) return;
    this.#fail(`${call.opId} was answered at revision ${revision} what ${reading.user} may not read`);
  }

  refused(call: Call, reading: Reading): void {
    this.deniedCount += 1;
    const states = this.#log.model.auth.between(reading.serializable ? 0 : call.floor, this.#log.lastIndex);
    if (states.some((state) => !mayRead(state, reading.user, reading.request))) return;
    this.#fail(`${call.opId} was refused what ${reading.user} may read`);
  }

  /** A watch is shown a change. `createdIndex`: how far its member had applied when the watch was made. */
  shown(
    who: string,
    reading: Reading,
    seen: { readonly revision: number; readonly createdIndex: number },
  ): void {
    const index = Math.max(this.#log.indexOfRevision(seen.revision) ?? 0, seen.createdIndex);
    if (this.#wasAllowed(reading, index, this.#log.lastIndex)) return;
    this.#fail(`${who} is shown revision ${seen.revision}, from which on ${reading.user} may not read`);
  }

  /** A watch was refused, or ended, for want of permission. */
  ended(who: string, reading: Reading, createdIndex: number): void {
    this.deniedCount += 1;
    const states = this.#log.model.auth.between(createdIndex, this.#log.lastIndex);
    if (states.some((state) => !mayRead(state, reading.user, reading.request))) return;
    this.#fail(`${who} was denied what ${reading.user} may read`);
  }

  #wasAllowed({ user, request }: Reading, from: number, to: number): boolean {
    return this.#log.model.auth.between(from, to).some((state) => mayRead(state, user, request));
  }

  #fail(message: string): void {
    this.#report(new Violation('permissions', message));
  }
}
