import { sameEvents, sameResult } from './equality.ts';
import { describe, describeOp } from './findings.ts';
import {
  type CommittedRevision,
  type HistoryOp,
  type HistoryRequest,
  STATE_CODES,
  type Violation,
} from './history.ts';
import type { Step } from './kv-model.ts';
import { type Lanes, ModelState, mixed } from './model-state.ts';

/** Steps of the search after which it gives up; a bound on its time that is the same on every machine. */
export const STEPS_MAX_DEFAULT = 2_000_000;

/** Bounds of a search, and what may be known beside the answers. */
export interface SearchOptions {
  /** Default `STEPS_MAX_DEFAULT`. */
  readonly stepsMax?: number;
  /**
   * What a watch over all keys was sent, from revision 2 on without a gap: which of the operations of unknown outcome
   * took effect, and where (RELIABILITY 6). An order must make these very revisions, as far as they go. A store whose
   * watch lies is found out by the validator of watches.
   */
  readonly watched?: readonly CommittedRevision[];
}

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
export function blackBoxVerdict(ops: readonly HistoryOp[], options: SearchOptions = {}): BlackBoxVerdict {
  const { stepsMax = STEPS_MAX_DEFAULT, watched = [] } = options;
  return new Search(ops.filter(hasPlace), watched).run(stepsMax);
}

/** The same as violations; a search that was not decided is one: the history was too much for it. */
export function blackBoxViolations(
  ops: readonly HistoryOp[],
  stepsMax: number = STEPS_MAX_DEFAULT,
): readonly Violation[] {
  const verdict = blackBoxVerdict(ops, { stepsMax });
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

/**
 * The first so many operations, as things stood when the next one was called: who had no answer then does not know. For
 * a history that is too long to be searched as a whole.
 */
export function beginningOf(ops: readonly HistoryOp[], opsMax: number): readonly HistoryOp[] {
  const byCall = ops.toSorted((a, b) => a.callTime - b.callTime);
  const endTime = byCall[opsMax]?.callTime ?? Number.POSITIVE_INFINITY;
  return byCall.slice(0, opsMax).flatMap((op): HistoryOp[] => {
    if (op.returnTime <= endTime || op.outcome.type === 'unknown') return [op];
    const isRead = op.request.type === 'range' || op.request.type === 'serializable-range';
    return isRead ? [] : [{ ...op, returnTime: Number.POSITIVE_INFINITY, outcome: { type: 'unknown' } }];
  });
}

/** A history that is too much as a whole is halved down to this many operations. */
const DECIDED_OPS_MIN = 60;

/** What a search of as much as it can decide came to; `opsDecided` is 0 where nothing was. */
export interface LongestVerdict {
  readonly verdict: BlackBoxVerdict;
  readonly opsDecided: number;
}

/** Searches the whole history, and where that is too much its beginning: half of it, a quarter, and so on. */
export function longestVerdict(ops: readonly HistoryOp[], options: SearchOptions): LongestVerdict {
  for (let opsMax = ops.length; ; opsMax = Math.floor(opsMax / 2)) {
    const verdict = blackBoxVerdict(withExpiries(beginningOf(ops, opsMax)), options);
    if (verdict.type !== 'undecided') return { verdict, opsDecided: opsMax };
    if (opsMax < 2 * DECIDED_OPS_MIN) return { verdict, opsDecided: 0 };
  }
}

function hasPlace({ request, outcome }: HistoryOp): boolean {
  if (request.type === 'serializable-range') return false;
  return outcome.type !== 'refused' || (outcome.code !== null && STATE_CODES.has(outcome.code));
}

/** A call or a return, in a doubly linked list by time. The list holds what is still without a place. */
interface Entry {
  readonly index: number;
  readonly kind: 'call' | 'return';
  /** Of a call: its return. */
  readonly return: Entry | null;
  previous: Entry | null;
  next: Entry | null;
}

/** An operation that was given its place, and what there was before. */
interface Choice {
  readonly index: number;
  /** Its call; null for an operation of unknown outcome, which is in no list. */
  readonly call: Entry | null;
  readonly state: ModelState;
  readonly pending: number;
}

/**
 * A depth-first search. At each point it tries the operations with a known outcome that were called before the first
 * return still without a place, and only when none of them leads on those of unknown outcome: just in time.
 */
class Search {
  readonly #ops: readonly HistoryOp[];
  readonly #watched: readonly CommittedRevision[];
  readonly #first: Entry;
  /** Operations of unknown outcome by the time of their call. */
  readonly #unknown: readonly number[];
  /** For each of them the last one before it that asked for the same, if there is one: they are interchangeable. */
  readonly #twins: readonly (number | undefined)[];
  /** The highest revision of a state on which each known operation, in this order, can still take effect. */
  readonly #limits: readonly { readonly index: number; readonly revisionMax: number }[];
  readonly #observable: Observable;
  readonly #placed: Uint8Array;
  readonly #lanesOfOps: readonly Lanes[];
  readonly #known = new Set<string>();
  readonly #choices: Choice[] = [];
  #state = ModelState.EMPTY;
  /** How many from the start of `limits` have their place. */
  #pending = 0;
  #placedLanes: Lanes = { a: 0, b: 0 };
  #furthest: readonly HistoryOp[] = [];
  #blockedBy: HistoryOp | null = null;

  constructor(ops: readonly HistoryOp[], watched: readonly CommittedRevision[]) {
    this.#ops = ops;
    this.#watched = watched;
    this.#first = listOf(ops);
    this.#unknown = [...ops.keys()]
      .filter((index) => ops[index]!.outcome.type === 'unknown')
      .sort((a, b) => ops[a]!.callTime - ops[b]!.callTime);
    this.#twins = twinsOf(this.#unknown.map((index) => ops[index]!.request));
    this.#limits = ops
      .flatMap((op, index) =>
        op.outcome.type === 'answered' ? [{ index, revisionMax: revisionMaxOf(op) }] : [],
      )
      .sort((a, b) => a.revisionMax - b.revisionMax);
    this.#observable = observableOf(ops);
    this.#placed = new Uint8Array(ops.length);
    this.#lanesOfOps = ops.map((_, index) => mixed(mixed({ a: 5, b: 5 }, index), index));
  }

  run(stepsMax: number): BlackBoxVerdict {
    let entry = this.#first.next;
    let unknown = 0;
    for (let steps = 0; steps < stepsMax; steps++) {
      // Everyone who was told something has a place.
      if (entry === null) return { type: 'linearizable', order: this.#order() };
      if (entry.kind === 'call') {
        entry = this.#place(entry.index, entry) ? this.#first.next : entry.next;
        continue;
      }
      const next: number = this.#nextUnknown(unknown, this.#ops[entry.index]!.returnTime);
      if (next < this.#unknown.length) {
        const placed = this.#place(this.#unknown[next]!, null);
        if (placed) entry = this.#first.next;
        unknown = placed ? 0 : next + 1;
        continue;
      }
      this.#noteBlocked(this.#ops[entry.index]!);
      const choice = this.#choices.pop();
      if (choice === undefined) {
        return { type: 'not-linearizable', furthest: this.#furthest, blockedBy: this.#blockedBy! };
      }
      this.#undo(choice);
      entry = choice.call === null ? this.#firstReturn() : choice.call.next;
      unknown = choice.call === null ? this.#unknown.indexOf(choice.index) + 1 : 0;
    }
    return { type: 'undecided' };
  }

  /**
   * The next operation of unknown outcome that was called before the return everybody waits for. Of those that asked
   * for the same only the first: whichever takes effect, what is left is the same.
   */
  #nextUnknown(from: number, returnTime: number): number {
    for (let at = from; at < this.#unknown.length; at++) {
      const index = this.#unknown[at]!;
      if (this.#ops[index]!.callTime > returnTime) break;
      const twin = this.#twins[at];
      const isFirst = twin === undefined || this.#placed[this.#unknown[twin]!] === 1;
      if (isFirst && this.#placed[index] === 0) return at;
    }
    return this.#unknown.length;
  }

  #firstReturn(): Entry {
    let entry = this.#first.next!;
    while (entry.kind === 'call') entry = entry.next!;
    return entry;
  }

  /** Lets an operation take effect now, if that agrees with its answer and leads anywhere new. */
  #place(index: number, call: Entry | null): boolean {
    const op = this.#ops[index]!;
    const { step, state } = this.#state.step(op.request);
    if (!this.#agrees(op, step) || !this.#wasSeen(step, state.revision)) return false;
    const choice = { index, call, state: this.#state, pending: this.#pending };
    this.#toggle(index);
    this.#state = state;
    while (this.#pending < this.#limits.length && this.#placed[this.#limits[this.#pending]!.index] === 1) {
      this.#pending++;
    }
    const waiting = this.#limits[this.#pending];
    const tooLate = waiting !== undefined && state.revision > waiting.revisionMax;
    if (tooLate) this.#noteBlocked(this.#ops[waiting.index]!, op);
    if (tooLate || this.#isKnown()) {
      this.#toggle(index);
      this.#state = choice.state;
      this.#pending = choice.pending;
      return false;
    }
    this.#choices.push(choice);
    if (call !== null) lift(call);
    return true;
  }

  #undo(choice: Choice): void {
    if (choice.call !== null) unlift(choice.call);
    this.#toggle(choice.index);
    this.#state = choice.state;
    this.#pending = choice.pending;
  }

  #toggle(index: number): void {
    this.#placed[index] = this.#placed[index] === 1 ? 0 : 1;
    const lanes = this.#lanesOfOps[index]!;
    this.#placedLanes = { a: this.#placedLanes.a ^ lanes.a, b: this.#placedLanes.b ^ lanes.b };
  }

  /** Whether these operations in any order have led to this state before. Remembers them otherwise. */
  #isKnown(): boolean {
    const { a, b } = this.#state.lanes;
    const key = `${a},${b},${this.#placedLanes.a},${this.#placedLanes.b}`;
    if (this.#known.has(key)) return true;
    this.#known.add(key);
    return false;
  }

  /** Whether what the model did is what the client was told. */
  #agrees({ request, outcome }: HistoryOp, step: Step): boolean {
    switch (outcome.type) {
      case 'answered':
        return step.type === 'done' && sameResult(step.result, outcome.result);
      case 'refused':
        return step.type === 'refused' && step.code === outcome.code;
      case 'unknown':
        // What nobody can tell from nothing might as well not have happened.
        if (step.type === 'refused') return false;
        return step.events.length > 0 || isObservable(request, this.#observable);
    }
  }

  /** Whether a watch was told of just these changes, if it was told of their revision. */
  #wasSeen(step: Step, revision: number): boolean {
    if (step.type === 'refused' || step.events.length === 0) return true;
    const seen = this.#watched[revision - 2];
    return seen === undefined || sameEvents(step.events, seen.events);
  }

  /** @param last what was tried after all that has a place */
  #noteBlocked(op: HistoryOp, last: HistoryOp | null = null): void {
    const length = this.#choices.length + (last === null ? 0 : 1);
    if (this.#blockedBy !== null && length <= this.#furthest.length) return;
    this.#furthest = last === null ? this.#order() : [...this.#order(), last];
    this.#blockedBy = op;
  }

  #order(): readonly HistoryOp[] {
    return this.#choices.map(({ index }) => this.#ops[index]!);
  }
}

/** What in a history can only be explained by something that changes no key. */
interface Observable {
  /** Leases that someone found gone, or that were granted twice. */
  readonly endedLeases: ReadonlySet<bigint>;
  readonly compactions: boolean;
}

function observableOf(ops: readonly HistoryOp[]): Observable {
  const ended = new Set<bigint>();
  const granted = new Set<bigint>();
  let compactions = false;
  for (const { request, outcome } of ops) {
    if (request.type === 'lease-grant' && outcome.type !== 'refused') {
      if (granted.has(request.id)) ended.add(request.id);
      granted.add(request.id);
    }
    if (outcome.type !== 'refused') continue;
    if (outcome.code === 'compacted') compactions = true;
    if (outcome.code === 'lease-not-found') for (const id of leasesOf(request)) ended.add(id);
  }
  return { endedLeases: ended, compactions };
}

function leasesOf(request: HistoryRequest): readonly bigint[] {
  switch (request.type) {
    case 'put':
      return [request.lease];
    case 'lease-revoke':
      return [request.id];
    case 'txn':
      return [...request.success, ...request.failure].flatMap(leasesOf);
    default:
      return [];
  }
}

function isObservable(request: HistoryRequest, { endedLeases, compactions }: Observable): boolean {
  switch (request.type) {
    case 'lease-grant':
      return true;
    case 'lease-revoke':
      return endedLeases.has(request.id);
    case 'compact':
      return compactions;
    default:
      return false;
  }
}

function twinsOf(requests: readonly HistoryRequest[]): readonly (number | undefined)[] {
  const last = new Map<string, number>();
  return requests.map((request, at) => {
    const text = describe(request);
    const twin = last.get(text);
    last.set(text, at);
    return twin;
  });
}

/** An answer names its revision: a state that is newer cannot explain it any more. */
function revisionMaxOf({ request, outcome }: HistoryOp): number {
  if (outcome.type !== 'answered') return Infinity;
  return request.type === 'put' ? outcome.result.revision - 1 : outcome.result.revision;
}

/** All calls and returns of known outcome by time; at equal times calls come first: such operations are concurrent. */
function listOf(ops: readonly HistoryOp[]): Entry {
  const timed = ops.flatMap(({ callTime, returnTime, outcome }, index) => {
    if (outcome.type === 'unknown') return [];
    const returned = entryOf(index, null);
    return [
      { entry: entryOf(index, returned), time: callTime, rank: 0 },
      { entry: returned, time: returnTime, rank: 1 },
    ];
  });
  timed.sort((a, b) => a.time - b.time || a.rank - b.rank);
  const head = entryOf(-1, null);
  let previous = head;
  for (const { entry } of timed) {
    entry.previous = previous;
    previous.next = entry;
    previous = entry;
  }
  return head;
}

function entryOf(index: number, returned: Entry | null): Entry {
  return { index, kind: returned === null ? 'return' : 'call', return: returned, previous: null, next: null };
}

/** Takes a call and its return out of the list; they remember where they were. */
function lift(call: Entry): void {
  unlink(call);
  unlink(call.return!);
}

/** Puts them back, in the opposite order. */
function unlift(call: Entry): void {
  relink(call.return!);
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
