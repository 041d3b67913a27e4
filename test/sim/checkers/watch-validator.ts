import type { KeyValue } from '../../../src/core/mvcc/operations.ts';
import type { WatchDelivery, WatchOptions } from '../../../src/core/watch/hub.ts';
import { type Report, Violation } from '../violation.ts';
import type { AppliedLog } from './applied-log.ts';
import { kvText, type ModelEvent, within } from './model.ts';

/**
 * One watch, over all the streams it was resumed on (RELIABILITY W1 to W9): it hears of every matching change after
 * its start, in order, once, whole revisions at a time, with the right values, and progress only tells the truth.
 */
export class WatchValidator {
  eventCount = 0;
  /** Everything it asked for up to here was delivered. */
  covered: number;
  readonly #name: string;
  readonly #options: WatchOptions;
  readonly #log: AppliedLog;
  readonly #report: Report;
  /** Position in the model's history of the first change after `covered`. */
  #position = 0;

  constructor(parts: {
    readonly name: string;
    readonly options: WatchOptions;
    readonly startRevision: number;
    readonly log: AppliedLog;
    readonly report: Report;
  }) {
    this.#name = parts.name;
    this.#options = parts.options;
    this.#log = parts.log;
    this.#report = parts.report;
    this.covered = parts.startRevision - 1;
  }

  /** It starts anew at a revision, because what is before is compacted. */
  restart(startRevision: number): void {
    this.covered = startRevision - 1;
    this.#position = 0;
  }

  delivered(delivery: WatchDelivery): void {
    switch (delivery.type) {
      case 'events':
        this.#events(delivery);
        return;
      case 'progress':
        this.#progress(delivery.revision);
        return;
      case 'canceled':
        if (this.covered + 1 >= this.#log.model.compacted) {
          this.#fail(`canceled (${delivery.reason}) although ${this.covered + 1} is not compacted`);
        }
    }
  }

  missingCount(revision: number): number {
    return this.#expected(revision).length;
  }

  /** At rest: it has heard of everything. */
  finish(revision: number): void {
    const missing = this.#expected(revision);
    if (missing.length > 0)
      this.#fail(`never heard of ${describe(missing[0]!)} (it has up to ${this.covered})`);
  }

  #events({ revision, events }: Extract<WatchDelivery, { type: 'events' }>): void {
    this.eventCount += events.length;
    const expected = this.#expected(revision);
    if (events.length === 0) this.#fail('got an empty delivery');
    for (let i = 0; i < Math.max(events.length, expected.length); i++) {
      const [got, wanted] = [events[i], expected[i]];
      const gotText =
        got === undefined
          ? 'nothing'
          : `${got.event.type} ${got.event.row.key.toString('latin1')} ${got.event.row.main}`;
      const wantedText = wanted === undefined ? 'nothing' : describe(wanted);
      if (gotText !== wantedText) {
        this.#fail(
          `got ${gotText}, must get ${wantedText} (delivery to ${revision}, it has up to ${this.covered})`,
        );
        return;
      }
      this.#checkValues(got!, wanted!);
    }
    this.#cover(revision);
  }

  #checkValues(got: Extract<WatchDelivery, { type: 'events' }>['events'][number], wanted: Expected): void {
    const { row } = got.event;
    const { event } = wanted;
    if (event.kv !== null) {
      const { key, value, createRevision, version, lease, main: modRevision } = row;
      const text = kvText({ key, value, createRevision, version, lease, modRevision });
      if (text !== kvText(event.kv)) this.#fail(`got ${text}, the log says ${kvText(event.kv)}`);
    }
    if (got.prevKv === null) {
      const due = this.#options.prevKv && event.previous !== null;
      if (due && wanted.revision > this.#log.model.compacted) {
        this.#fail(`got no previous value with ${describe(wanted)}`);
      }
    } else if (event.previous === null || kvText(got.prevKv) !== kvText(event.previous)) {
      this.#fail(`got the previous value ${kvText(got.prevKv)}, the log says ${textOf(event.previous)}`);
    }
  }

  #progress(revision: number): void {
    if (revision < this.covered) {
      // A stream-wide answer may lag a delivery of this watch only if it says less than what was delivered.
      this.#fail(`progress went back to ${revision} from ${this.covered}`);
      return;
    }
    const missed = this.#expected(revision)[0];
    if (missed !== undefined) this.#fail(`was told of progress to ${revision} before ${describe(missed)}`);
    this.#cover(revision);
  }

  /** Matching changes after what is covered, up to a revision. */
  #expected(revision: number): Expected[] {
    const { history } = this.#log.model;
    while (this.#position < history.length && history[this.#position]!.revision <= this.covered)
      this.#position += 1;
    const expected: Expected[] = [];
    for (let i = this.#position; i < history.length && history[i]!.revision <= revision; i++) {
      for (const event of history[i]!.events) {
        if (this.#matches(event)) expected.push({ revision: history[i]!.revision, event });
      }
    }
    return expected;
  }

  #matches(event: ModelEvent): boolean {
    const { noPut, noDelete } = this.#options;
    if (event.type === 'put' ? noPut : noDelete) return false;
    return within(event.key, this.#options);
  }

  #cover(revision: number): void {
    this.covered = Math.max(this.covered, revision);
  }

  #fail(message: string): void {
    this.#report(new Violation('watch', `${this.#name} ${message}`));
  }
}

interface Expected {
  readonly revision: number;
  readonly event: ModelEvent;
}

function describe({ event, revision }: Expected): string {
  return `${event.type} ${event.key} ${revision}`;
}

function textOf(kv: KeyValue | null): string {
  return kv === null ? 'there was none' : kvText(kv);
}
