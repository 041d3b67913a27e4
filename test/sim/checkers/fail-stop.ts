import type { Message } from '../../../src/core/raft/messages.ts';
import type { Level, LevelOpener } from '../../../src/member/ports.ts';
import type { SimProcess } from '../process.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * Calls back when a batch of a process's state fails, as soon as its writer hears of it. A database that is made after
 * the first one was opened is a state on its way here: nobody relies on it before it is opened again.
 */
export function watchBatches(levels: LevelOpener, failed: (error: unknown) => void): LevelOpener {
  let hasState = false;
  const watched = (level: Level): Level => {
    const batch = level.batch.bind(level);
    level.batch = (ops, options) => {
      const written = batch(ops, options);
      written.catch(failed);
      return written;
    };
    return level;
  };
  return {
    open: (path, options) => {
      const opened = levels.open(path, options);
      if (options.create && hasState) return opened;
      hasState = true;
      return opened.then(watched);
    },
    destroy: (path) => levels.destroy(path),
  };
}

/**
 * Fail-stop (RELIABILITY S6): once a write of the state has failed, no message leaves the member any more. LevelDB
 * acknowledges and loses what is written after a failure. (What follows from a failed write of the log, the checker of
 * durable promises sees.)
 */
export class FailStop {
  readonly #report: Report;
  readonly #failedAtMs = new WeakMap<SimProcess, number>();

  constructor(report: Report) {
    this.#report = report;
  }

  failed(process: SimProcess, nowMs: number): void {
    if (process.alive && !this.#failedAtMs.has(process)) this.#failedAtMs.set(process, nowMs);
  }

  /** A message leaves a member. What runs in the very moment of the failure may not know of it yet. */
  said(process: SimProcess | null, { type }: Message, nowMs: number): void {
    const atMs = process === null ? undefined : this.#failedAtMs.get(process);
    if (atMs === undefined || nowMs <= atMs) return;
    this.#report(
      new Violation(
        'fail-stop',
        `${process?.name} says ${type}, a write of its state failed at ${atMs.toFixed(3)}`,
      ),
    );
  }
}
