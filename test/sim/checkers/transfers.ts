import { type MemberId, NO_MEMBER } from '../../../src/core/raft/messages.ts';
import { hex } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';

/** Election timeouts that a transfer may take as seen from outside: clocks are slow, timers late, looks apart. */
const TIMEOUTS_MAX = 3;
const SLACK_MS = 200;

/** What a running process says of the transfer that it leads, if it does. */
export interface TransferSample {
  readonly process: string;
  readonly transferee: MemberId;
  /** Ticks since it began: fewer than before mean another transfer. */
  readonly ticks: number;
}

interface Transfer {
  readonly transferee: MemberId;
  readonly sinceMs: number;
  readonly ticks: number;
}

/**
 * A leader takes no proposals while it hands leadership over: it gives up after one election timeout, whatever has
 * become of the other (RELIABILITY P9).
 */
export class Transfers {
  readonly #report: Report;
  readonly #electionMs: number;
  readonly #open = new Map<string, Transfer>();

  constructor(report: Report, electionMs: number) {
    this.#report = report;
    this.#electionMs = electionMs;
  }

  sample({ process, transferee, ticks }: TransferSample, nowMs: number): void {
    const before = this.#open.get(process);
    if (transferee === NO_MEMBER) {
      this.#open.delete(process);
      return;
    }
    if (before === undefined || before.transferee !== transferee || ticks < before.ticks) {
      this.#open.set(process, { transferee, sinceMs: nowMs, ticks });
      return;
    }
    this.#open.set(process, { ...before, ticks });
    const forMs = nowMs - before.sinceMs;
    if (forMs <= TIMEOUTS_MAX * this.#electionMs + SLACK_MS) return;
    const message = `${process} has been handing leadership to ${hex(transferee)} for ${Math.round(forMs)} ms, an election timeout is ${this.#electionMs} ms`;
    this.#report(new Violation('transfer', message));
  }

  /** A process stands still, stops or has ended: what it last said is of no account. */
  forget(process: string): void {
    this.#open.delete(process);
  }
}
