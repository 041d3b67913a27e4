import { sameResult } from './equality.ts';
import { describeOp } from './findings.ts';
import type { HistoryOp, Violation } from './history.ts';
import { STATE_CODES } from './history.ts';
import { type Lanes, ModelState, mixed } from './model-state.ts';

/** Steps of the search after which it gives up; a bound on its time that is the same on every machine. */
export const STEPS_MAX_DEFAULT = 2_000_000;

export type BlackBoxVerdict =
  /** In this order the operations explain every answer. Those of unknown outcome that are missing did not happen. */
  | { readonly type: 'linearizable'; readonly order: readonly HistoryOp[] }
  /** No order does. `furthest`: as far as any went; `blockedBy` must take effect next and cannot. */
  | {
      readonly type: 'not-linearizable';
      readonly furthest: readonly HistoryOp[];
      readonly blockedBy: HistoryOp;
    }
  /** Not decided within the bound. */
  | { readonly type: 'undecided' };

/**
 * Looks for an order of the operations, from what clients saw alone, that explains every answer and agrees with real
 * time: the search of Wing and Gong, with Lowe's cache of configurations that lead nowhere (`Testing for
 * linearizability`, 2017). The whole store is one object, since a revision ties all keys together; the revisions in
 * the answers keep the search narrow, so single keys are never looked at apart.
 *
 * Serializable reads have no place in such an order and are left out: `witnessViolations` checks them. A lease may end
 * by itself: see `withExpiries`.
 */
export function blackBoxVerdict(ops: readonly HistoryOp[], stepsMax: number = STEPS_MAX_DEFAULT): BlackBoxVerdict {
  return new Search(ops.filter(hasPlace)).run(stepsMax);
}

/** The same as violations; a search that was not decided is one: the history was too much for it. */
export function blackBoxViolations(
  ops: readonly HistoryOp[],
  stepsMax: number = STEPS_MAX_DEFAULT,
): readonly Violation[] {
  const verdict = blackBoxVerdict(ops, stepsMax);
  switch (verdict.type) {
    case 'linearizable':
      return [];
    case 'undecided':
      return [{ rule: 'undecided', message: `no verdict after ${stepsMax} steps` }];
    case 'not-linearizable': {
      const shown = verdict.furthest.slice(-5).map(describeOp).join('\n  ');
      const message = `after ${verdict.furthest.length} operations, ending with\n  ${shown}\nthere is no place for\n  ${describeOp(verdict.blockedBy)}`;
      return [{ rule: 'linearizable', message }];
    }
  }
}

/** The history with the end that every granted lease may come to, at any time, by itself. */
export function withExpiries(ops: readonly HistoryOp[]): readonly HistoryOp[] {
  const expiries = ops.flatMap(({ client, callTime, request, outcome }): HistoryOp[] => {
    if (request.type !== 'lease-grant' || outcome.type === 'refused') return [];
    const revoke = { type: 'lease-revoke', id: request.id } as const;
    return [{ client, callTime, returnTime: Infinity, request: revoke, outcome: { type: 'unknown' } }];
  });
  return [...ops, ...expiries];
}

function hasPlace({ request, outcome }: HistoryOp): boolean {
  if (request.type === 'serializable-range') return false;
  return outcome.type !== 'refused' || (outcome.code !== null && STATE_CODES.has(outcome.code));
}

/** A call or a return, in a doubly linked list by time. Unknown operations never return. */
interface Entry {
  readonly op: HistoryOp;
  readonly index: number;
  readonly kind: 'call' | 'return';
  /** Of a call: its return, if it has one. */
  readonly return: Entry | null;
  previous: Entry | null;
  next: Entry | null;
}

/** A call that was given its place, and what there was before. */
interface Choice {
  readonly entry: Entry;
  readonly state: ModelState;
  readonly pending: number;
}

class Search {
  readonly #head: Entry;
  /** The highest revision of a state on which each known operation, in this order, can still take effect. */
  readonly #limits: readonly { readonly index: number; readonly revisionMax: number }[];
  readonly #placed: Uint8Array;
  readonly #lanesOfOps: readonly Lanes[];
  readonly #deadEnds = new Set<string>();
  readonly #choices: Choice[] = [];
  #state = ModelState.EMPTY;
  /** How far `limits` consists of operations that have their place. */
  #pending = 0;
  #placedLanes: Lanes = { a: 0, b: 0 };
  #furthest: readonly HistoryOp[] = [];
  #blockedBy: HistoryOp | null = null;

  constructor(ops: readonly HistoryOp[]) {
    this.#head = entriesOf(ops);
    this.#placed = new Uint8Array(ops.length);
    this.#lanesOfOps = ops.map((_, index) => mixed(mixed({ a: 5, b: 5 }, index), index));
    this.#limits = ops
      .flatMap((op, index) => (op.outcome.type === 'answered' ? [{ index, revisionMax: revisionMaxOf(op) }] : []))
      .sort((a, b) => a.revisionMax - b.revisionMax);
  }

  run(stepsMax: number): BlackBoxVerdict {
    let entry = this.#head.next;
    for (let steps = 0; steps < stepsMax; steps++) {
      // Only calls of unknown outcome are left, or nothing: everyone who was told something has a place.
      if (entry === null) return { type: 'linearizable', order: this.#order() };
      if (entry.kind === 'call') {
        entry = this.#place(entry) ? this.#head.next : entry.next;
        continue;
      }
      this.#noteBlocked(entry.op);
      const choice = this.#choices.pop();
      if (choice === undefined) {
        return { type: 'not-linearizable', furthest: this.#furthest, blockedBy: this.#blockedBy! };
      }
      this.#undo(choice);
      entry = choice.entry.next;
    }
    return { type: 'undecided' };
  }

  /** Lets a call take effect now, if that agrees with its answer and leads anywhere new. */
  #place(entry: Entry): boolean {
    const { op, index } = entry;
    const { step, state } = this.#state.step(op.request);
    if (!agrees(op, step, { changed: state !== this.#state })) return false;
    const before = { entry, state: this.#state, pending: this.#pending };
    this.#toggle(index);
    this.#state = state;
    while (this.#pending < this.#limits.length && this.#placed[this.#limits[this.#pending]!.index] === 1) {
      this.#pending++;
    }
    const tooLate = state.revision > (this.#limits[this.#pending]?.revisionMax ?? Infinity);
    if (tooLate || this.#isKnown()) {
      this.#toggle(index);
      this.#state = before.state;
      this.#pending = before.pending;
      return false;
    }
    this.#choices.push(before);
    lift(entry);
    return true;
  }

  #undo(choice: Choice): void {
    unlift(choice.entry);
    this.#toggle(choice.entry.index);
    this.#state = choice.state;
    this.#pending = choice.pending;
  }

  #toggle(index: number): void {
    this.#placed[index] = this.#placed[index] === 1 ? 0 : 1;
    const lanes = this.#lanesOfOps[index]!;
    this.#placedLanes = { a: (this.#placedLanes.a ^ lanes.a) >>> 0, b: (this.#placedLanes.b ^ lanes.b) >>> 0 };
  }

  /** Whether these operations in any order have led to this state before. Remembers them otherwise. */
  #isKnown(): boolean {
    const { a, b } = this.#state.lanes;
    const key = `${a},${b},${this.#placedLanes.a},${this.#placedLanes.b}`;
    if (this.#deadEnds.has(key)) return true;
    this.#deadEnds.add(key);
    return false;
  }

  #noteBlocked(op: HistoryOp): void {
    if (this.#blockedBy !== null && this.#choices.length <= this.#furthest.length) return;
    this.#furthest = this.#order();
    this.#blockedBy = op;
  }

  #order(): readonly HistoryOp[] {
    return this.#choices.map(({ entry }) => entry.op);
  }
}

/** Whether what the model did is what the client was told. */
function agrees(
  op: HistoryOp,
  step: ReturnType<ModelState['step']>['step'],
  { changed }: { readonly changed: boolean },
): boolean {
  switch (op.outcome.type) {
    case 'answered':
      return step.type === 'done' && sameResult(step.result, op.outcome.result);
    case 'refused':
      return step.type === 'refused' && step.code === op.outcome.code;
    case 'unknown':
      // Without a change it might as well not have happened.
      return changed;
  }
}

/** An answer names its revision: a state that is newer cannot explain it any more. */
function revisionMaxOf({ request, outcome }: HistoryOp): number {
  if (outcome.type !== 'answered') return Infinity;
  return request.type === 'put' ? outcome.result.revision - 1 : outcome.result.revision;
}

/** All calls and returns by time; at equal times calls come first, so that such operations are concurrent. */
function entriesOf(ops: readonly HistoryOp[]): Entry {
  const sorted = ops
    .flatMap((op, index) => {
      const returned = op.outcome.type === 'unknown' ? null : entry(op, index, 'return', null);
      const called = entry(op, index, 'call', returned);
      return returned === null ? [called] : [called, returned];
    })
    .sort((a, b) => timeOf(a) - timeOf(b) || rank(a) - rank(b));
  const last = lastReturn(sorted);
  const head: Entry = { op: ops[0]!, index: -1, kind: 'call', return: null, previous: null, next: null };
  let previous = head;
  // What was called after the last return and never answered can be left out.
  for (const item of sorted.slice(0, last + 1)) {
    item.previous = previous;
    previous.next = item;
    previous = item;
  }
  return head;
}

function entry(op: HistoryOp, index: number, kind: Entry['kind'], returned: Entry | null): Entry {
  return { op, index, kind, return: returned, previous: null, next: null };
}

function timeOf({ kind, op }: Entry): number {
  return kind === 'call' ? op.callTime : op.returnTime;
}

function rank({ kind }: Entry): number {
  return kind === 'call' ? 0 : 1;
}

function lastReturn(entries: readonly Entry[]): number {
  return entries.findLastIndex(({ kind }) => kind === 'return');
}

/** Takes a call and its return out of the list; they remember where they were. */
function lift(call: Entry): void {
  unlink(call);
  if (call.return !== null) unlink(call.return);
}

/** Puts them back, in the opposite order. */
function unlift(call: Entry): void {
  if (call.return !== null) relink(call.return);
  relink(call);
}

function unlink(entry: Entry): void {
  entry.previous!.next = entry.next;
  if (entry.next !== null) entry.next.previous = entry.previous;
}

function relink(entry: Entry): void {
  entry.previous!.next = entry;
  if (entry.next !== null) entry.next.previous = entry;
}
