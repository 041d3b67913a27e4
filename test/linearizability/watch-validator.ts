import type { KeyValue } from '../../src/core/mvcc/operations.ts';
import { unreachable } from '../../src/lib/assert.ts';
import { sameEvent, sameKeyValue } from './equality.ts';
import { describe, Findings } from './findings.ts';
import type { CommittedRevision, HistoryEvent, Violation, WatchHistory, WatchItem } from './history.ts';
import { inSpan, nameOf, spanOf } from './kv-model.ts';

/** What is known about the store when watches are judged. */
export interface WatchContext {
  /** Every revision from 2 on. */
  readonly committed: readonly CommittedRevision[];
  /** The highest revision that anyone asked to be compacted; -1 = none. What is below it may be gone. */
  readonly compactRevision: number;
  /** The header of every events item promises as much as a progress item; ours does, etcd's does not. */
  readonly headersPromise: boolean;
}

/**
 * Checks what one watch was sent against what was committed. Rules, by etcd's names: `filter` nothing that was not
 * asked for, `ordered`, `unique`, `atomic` a revision arrives whole, `reliable` without gaps, `resumable` from the
 * very start asked for, `bookmarkable` a promise is kept and never taken back, `prev kv`, `content` the event is the
 * committed one and says rightly whether it created its key, `handshake` created first, nothing after canceled.
 *
 * @returns nothing when all hold
 */
export function watchViolations(watch: WatchHistory, context: WatchContext): readonly Violation[] {
  const check = new WatchCheck(watch, context);
  for (const [index, item] of watch.items.entries()) check.take(item, index);
  check.end();
  return check.findings.list;
}

/** An event with the key as it was before. */
interface Expected {
  readonly event: HistoryEvent;
  readonly before: KeyValue | null;
}
interface ExpectedRevision {
  readonly revision: number;
  readonly events: readonly Expected[];
}

class WatchCheck {
  readonly findings = new Findings();
  readonly #watch: WatchHistory;
  readonly #context: WatchContext;
  /** What the watch asked for, over all of history. */
  readonly #wanted: readonly ExpectedRevision[];
  readonly #revisionMax: number;
  /** Everything wanted up to here was sent; null until it is known where the watch began. */
  #sentThrough: number | null;
  /** The place in `wanted` of the first revision after `sentThrough`. */
  #cursor = 0;
  /** Events of the revision at the cursor that were sent already; its rest follows in the next fragment. */
  #sentOfCursor = 0;
  #promised = 0;
  #anything = false;
  #canceled = false;

  constructor(watch: WatchHistory, context: WatchContext) {
    this.#watch = watch;
    this.#context = context;
    this.#wanted = wantedOf(watch, context.committed);
    this.#revisionMax = context.committed.at(-1)?.revision ?? 1;
    this.#sentThrough = watch.startRevision > 0 ? watch.startRevision - 1 : null;
    this.#skipTo(this.#sentThrough ?? 0);
  }

  take(item: WatchItem, index: number): void {
    if (this.#canceled) this.#add('handshake', `an item after the watch was canceled: ${describe(item)}`);
    switch (item.type) {
      case 'created':
        if (index !== 0) this.#add('handshake', 'created twice, or late');
        this.#sentThrough ??= item.revision;
        this.#skipTo(this.#sentThrough);
        return;
      case 'events':
        this.#takeEvents(item);
        return;
      case 'progress':
        this.#takePromise(item.revision);
        return;
      case 'canceled':
        this.#canceled = true;
        this.#takeCanceled(item.compactRevision);
        return;
      default:
        unreachable(item);
    }
  }

  end(): void {
    this.#checkWhole('the watch ended');
    const { deliveredThrough } = this.#watch;
    const next = this.#wanted[this.#cursor];
    if (this.#sentThrough === null || this.#canceled || next === undefined) return;
    if (next.revision <= deliveredThrough) this.#add('reliable', `never sent: ${describe(next)}`);
  }

  #add(rule: string, message: string): void {
    this.findings.add(rule, message);
  }

  // ---- events -----------------------------------------------------------------------------------------------

  #takeEvents(item: Extract<WatchItem, { type: 'events' }>): void {
    if (item.events.length === 0) this.#add('content', 'a delivery without events');
    for (const group of byRevision(item.events)) this.#takeRevision(group);
    const last = item.events.at(-1)?.kv.modRevision ?? 0;
    if (item.revision < last) this.#add('content', `revision ${last} came under the header ${item.revision}`);
    if (item.fragment) return;
    this.#checkWhole('a delivery ended');
    if (this.#context.headersPromise) this.#takePromise(item.revision);
  }

  #takeRevision(events: readonly HistoryEvent[]): void {
    const revision = events[0]!.kv.modRevision;
    if (this.#sentThrough !== null && revision <= this.#sentThrough) {
      this.#add(
        this.#ruleOfOld(revision),
        `after everything up to ${this.#sentThrough}: ${describe(events)}`,
      );
      return;
    }
    if (this.#sentOfCursor > 0 && this.#wanted[this.#cursor]!.revision !== revision) {
      this.#checkWhole(`revision ${revision} followed`);
    }
    this.#checkGap(revision);
    this.#anything = true;
    const wanted = this.#wanted[this.#cursor];
    if (wanted?.revision !== revision) {
      this.#add(this.#ruleOfUnwanted(revision), `nobody asked for ${describe(events)}`);
      return;
    }
    this.#takeWanted(wanted, events);
  }

  #ruleOfOld(revision: number): string {
    const { startRevision } = this.#watch;
    if (startRevision > 0 && revision < startRevision) return 'resumable';
    if (!this.#anything) return 'resumable';
    // The same revision again is a repetition, an older one a step back.
    return this.#wanted[this.#cursor - 1]?.revision === revision ? 'unique' : 'ordered';
  }

  #ruleOfUnwanted(revision: number): string {
    return revision >= 2 && revision <= this.#revisionMax ? 'filter' : 'content';
  }

  /** Steps over what lies before `revision`; none of it may have been wanted. */
  #checkGap(revision: number): void {
    const skipped = this.#wanted[this.#cursor];
    if (this.#sentThrough !== null && skipped !== undefined && skipped.revision < revision) {
      this.#add(
        this.#anything ? 'reliable' : 'resumable',
        `revision ${revision} came before ${describe(skipped)}`,
      );
    }
    // A fragmented revision goes on where it was.
    if (skipped?.revision !== revision) this.#skipTo(revision - 1);
  }

  #takeWanted(wanted: ExpectedRevision, events: readonly HistoryEvent[]): void {
    for (const event of events) {
      const expected = wanted.events[this.#sentOfCursor];
      if (expected !== undefined && sameEvent(expected.event, event)) {
        this.#checkPrevKv(event, expected.before);
        this.#sentOfCursor++;
        continue;
      }
      this.#add(this.#ruleOfOther(wanted, event), `${describe(event)} is not next in ${describe(wanted)}`);
      this.#sentOfCursor = 0;
      this.#skipTo(wanted.revision);
      return;
    }
    if (this.#sentOfCursor === wanted.events.length) {
      this.#sentOfCursor = 0;
      this.#skipTo(wanted.revision);
    }
  }

  /** Why an event is not the one that had to come within its revision. */
  #ruleOfOther(wanted: ExpectedRevision, event: HistoryEvent): string {
    const place = wanted.events.findIndex((expected) => sameEvent(expected.event, event));
    if (place >= 0) return place < this.#sentOfCursor ? 'unique' : 'ordered';
    const committed = this.#context.committed[wanted.revision - 2]!.events;
    return committed.some((other) => sameEvent(other, event)) ? 'filter' : 'content';
  }

  #checkPrevKv(event: HistoryEvent, before: KeyValue | null): void {
    if (event.type === 'put') {
      const { createRevision, modRevision, version } = event.kv;
      const isCreate = createRevision === modRevision && version === 1;
      if (isCreate !== (before === null)) this.#add('content', `created or modified? ${describe(event)}`);
    }
    const { prevKv } = event;
    if (prevKv === null) {
      const gone = event.kv.modRevision <= this.#context.compactRevision;
      if (!this.#watch.prevKv || before === null || gone) return;
      this.#add('prev kv', `without ${describe(before)}: ${describe(event)}`);
    } else if (!this.#watch.prevKv || before === null || !sameKeyValue(prevKv, before)) {
      this.#add('prev kv', `not ${describe(before)}: ${describe(event)}`);
    }
  }

  // ---- promises ---------------------------------------------------------------------------------------------

  #takePromise(revision: number): void {
    const { startRevision } = this.#watch;
    this.#checkWhole(`revision ${revision} was promised`);
    if (revision > this.#revisionMax) {
      this.#add('bookmarkable', `revision ${revision} was promised, but never committed`);
      return;
    }
    if (revision < startRevision - 1) {
      this.#add('bookmarkable', `revision ${revision} was promised to a watch from ${startRevision} on`);
    }
    const lastSent = this.#anything ? (this.#wanted[this.#cursor - 1]?.revision ?? 0) : 0;
    if (revision < Math.max(this.#promised, lastSent)) {
      this.#add(
        'bookmarkable',
        `revision ${revision} was promised after ${Math.max(this.#promised, lastSent)}`,
      );
    }
    const next = this.#wanted[this.#cursor];
    if (this.#sentThrough !== null && next !== undefined && next.revision <= revision) {
      this.#add('bookmarkable', `revision ${revision} was promised before ${describe(next)}`);
    }
    this.#promised = Math.max(this.#promised, revision);
    this.#skipTo(revision);
  }

  #takeCanceled(compactRevision: number): void {
    if (compactRevision === 0) return;
    const next = (this.#sentThrough ?? this.#revisionMax) + 1;
    if (compactRevision > this.#context.compactRevision || next >= compactRevision) {
      this.#add('resumable', `canceled for a compaction at ${compactRevision}, with ${next} to come`);
    }
  }

  /** No revision is under way. */
  #checkWhole(when: string): void {
    if (this.#sentOfCursor === 0) return;
    const wanted = this.#wanted[this.#cursor]!;
    this.#add('atomic', `${when} within revision ${wanted.revision}: ${describe(wanted)}`);
    this.#sentOfCursor = 0;
    this.#skipTo(wanted.revision);
  }

  /** Everything up to `revision` is done with. */
  #skipTo(revision: number): void {
    if (this.#sentThrough !== null || revision > 0) {
      this.#sentThrough = Math.max(this.#sentThrough ?? 0, revision);
    }
    while ((this.#wanted[this.#cursor]?.revision ?? Infinity) <= revision) this.#cursor++;
  }
}

function wantedOf(watch: WatchHistory, committed: readonly CommittedRevision[]): ExpectedRevision[] {
  const span = spanOf(watch);
  const unwanted = new Set(watch.filters.map((filter) => (filter === 'no-put' ? 'put' : 'delete')));
  const now = new Map<string, KeyValue>();
  const wanted: ExpectedRevision[] = [];
  for (const { revision, events } of committed) {
    const expected: Expected[] = [];
    for (const event of events) {
      const name = nameOf(event.kv.key);
      const before = now.get(name) ?? null;
      if (event.type === 'put') now.set(name, event.kv);
      else now.delete(name);
      if (inSpan(name, span) && !unwanted.has(event.type)) expected.push({ event, before });
    }
    if (expected.length > 0) wanted.push({ revision, events: expected });
  }
  return wanted;
}

/** Runs of events of one revision, in the order they came. */
function byRevision(events: readonly HistoryEvent[]): HistoryEvent[][] {
  const groups: HistoryEvent[][] = [];
  for (const event of events) {
    const group = groups.at(-1);
    if (group?.[0]!.kv.modRevision === event.kv.modRevision) group.push(event);
    else groups.push([event]);
  }
  return groups;
}
