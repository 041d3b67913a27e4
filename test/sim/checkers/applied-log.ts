import { APPLY_HASH_START, nextApplyHash } from '../../../src/core/apply-hash.ts';
import { INTERNAL_USER } from '../../../src/core/auth/operations.ts';
import { decodeCommand, type Operation } from '../../../src/core/command.ts';
import type { MemberView } from '../../../src/core/members.ts';
import type { Outcome } from '../../../src/core/outcome.ts';
import { isJoint } from '../../../src/core/raft/conf-change.ts';
import type { Entry } from '../../../src/core/raft/messages.ts';
import type { StateMarker } from '../../../src/core/state.ts';
import type { Applied, StateMachine } from '../../../src/core/state-machine.ts';
import { untagged } from '../spy.ts';
import { type Report, Violation } from '../violation.ts';
import { Model, type ModelOutcome, responseText } from './model.ts';

/** The first index that is applied: the bootstrap members are the state at index 1. */
const FIRST_INDEX = 2;

/** One entry as it was first applied anywhere. */
export interface LoggedEntry {
  readonly index: number;
  readonly term: number;
  /** The client operation it carries, or ''. */
  readonly opId: string;
  readonly operation: Operation | null;
  readonly outcome: Outcome;
  /** The store's revision after it. */
  readonly revision: number;
  readonly atMs: number;
  readonly digest: string;
}

/**
 * State-machine safety (RELIABILITY R7, K1 to K6, K10): what is applied at an index is the same on every member and
 * in every incarnation, and is what the model says it must be. Keeps the one history all other checkers refer to.
 */
export class AppliedLog {
  readonly entries: LoggedEntry[] = [];
  readonly model = new Model();
  /** Entries that a user had no permission for. */
  deniedCount = 0;
  /** Joint configurations that were entered. */
  jointCount = 0;
  /** Where each client operation went in. */
  readonly indexOfOp = new Map<string, number>();
  /** The members as of the newest membership change. */
  members: readonly MemberView[] = [];
  readonly #indexOfRevision = new Map<number, number>([[1, FIRST_INDEX - 1]]);
  /** What states said of themselves, by where they stood. */
  readonly #states = new Map<string, string>();
  readonly #report: Report;
  readonly #tagged: boolean;
  readonly #onEntry: (entry: LoggedEntry) => void;

  /** `tagged`: requests have names beside their users. */
  constructor(report: Report, onEntry: (entry: LoggedEntry) => void, tagged = false) {
    this.#tagged = tagged;
    this.#report = report;
    this.#onEntry = onEntry;
  }

  get lastIndex(): number {
    return FIRST_INDEX + this.entries.length - 1;
  }

  at(index: number): LoggedEntry | undefined {
    return this.entries[index - FIRST_INDEX];
  }

  /** The entry that made a revision current; the position of everything that saw it. */
  indexOfRevision(revision: number): number | undefined {
    return this.#indexOfRevision.get(revision);
  }

  applied(
    who: string,
    { entry, applied }: { readonly entry: Entry; readonly applied: Applied },
    nowMs: number,
  ): void {
    const { outcome, revision } = applied;
    const digest = hashText(nextApplyHash(APPLY_HASH_START, { entry, outcome, revision }));
    const known = this.at(entry.index);
    if (known !== undefined) {
      if (known.digest === digest) return;
      this.#fail(`${who} applies another entry at ${entry.index}: term ${entry.term} against ${known.term}`);
      return;
    }
    if (entry.index !== this.lastIndex + 1) {
      this.#fail(`${who} applies ${entry.index}, but nobody ever applied ${this.lastIndex + 1}`);
      return;
    }
    this.#take(who, { entry, applied, digest }, nowMs);
  }

  /**
   * A state as it goes to a disk, or comes from one. Rows that a compaction dropped leave the count at each member's own
   * pace: those are compared where that has come equally far.
   */
  marked(who: string, marker: StateMarker): void {
    const { appliedIndex, applyHash, currentRevision, compactRevision, tableSetHash } = marker;
    const { rowCount, rowSetHash, hashCompactRevision } = marker;
    const state = `hash ${hashText(applyHash)}, tables ${hashText(tableSetHash)} at revision ${currentRevision}`;
    this.#compareState(who, `${appliedIndex}`, `${state}, compacted ${compactRevision}`);
    const walked = Math.max(0, hashCompactRevision);
    this.#compareState(
      who,
      `${appliedIndex} (${walked})`,
      `${rowCount} rows with hash ${hashText(rowSetHash)}`,
    );
  }

  /** A membership change took effect. */
  membersChanged(machine: StateMachine): void {
    if (machine.appliedIndex !== this.lastIndex) return;
    this.members = machine.memberList();
    const urls = this.members.flatMap((member) => member.peerUrls);
    const twice = urls.find((url, at) => urls.indexOf(url) !== at);
    if (twice !== undefined) this.#fail(`entry ${this.lastIndex} leaves two members that live at ${twice}`);
    if (isJoint(machine.confState)) this.jointCount += 1;
  }

  #take(
    who: string,
    taken: { readonly entry: Entry; readonly applied: Applied; readonly digest: string },
    atMs: number,
  ): void {
    const { entry, applied, digest } = taken;
    const { index, term } = entry;
    const { outcome, revision } = applied;
    const command = entry.data.length === 0 ? null : decodeCommand(entry.data);
    // Clients' operations carry a name of their own as their user; what members do by themselves has none.
    const { user, request } = untagged(command?.user ?? '');
    const opId = request !== '' ? request : user === INTERNAL_USER || this.#tagged ? '' : user;
    if (opId !== '') {
      const before = this.indexOfOp.get(opId);
      // What was refused because users or roles had changed is tried anew, and changed nothing.
      if (before !== undefined && !isDecidedAnew(this.at(before)!.outcome))
        this.#fail(`operation ${opId} is in the log twice, at ${before} and ${index}`);
      this.indexOfOp.set(opId, index);
    }
    const eventsBefore = this.model.history.length;
    if (command !== null) {
      const principal = { user, revision: command.authRevision };
      this.#compare(index, this.model.apply(command.operation, term, { index, principal }), outcome);
    }
    if (this.model.revision !== revision) {
      this.#fail(`${who} is at revision ${revision} after entry ${index}, it must be ${this.model.revision}`);
    }
    this.#compareEvents(index, eventsBefore, applied);
    for (const { revision: made } of this.model.history.slice(eventsBefore))
      this.#indexOfRevision.set(made, index);
    const logged = {
      index,
      term,
      opId,
      operation: command?.operation ?? null,
      outcome,
      revision,
      atMs,
      digest,
    };
    if (!outcome.ok && outcome.code === 'permission-denied') this.deniedCount += 1;
    this.entries.push(logged);
    this.#onEntry(logged);
  }

  #compare(index: number, expected: ModelOutcome, actual: Outcome): void {
    if (expected === 'unknown') return;
    const text = outcomeText(actual);
    const wanted = expected.ok ? expected.text : `failed: ${expected.code}`;
    if (text !== wanted) this.#fail(`entry ${index} answered «${text}», the model says «${wanted}»`);
  }

  #compareEvents(index: number, from: number, applied: Applied): void {
    const expected = this.model.history
      .slice(from)
      .flatMap(({ revision, events }) => events.map((event) => `${event.type} ${event.key} ${revision}`));
    const actual = applied.events.map(({ type, row }) => `${type} ${row.key.toString('latin1')} ${row.main}`);
    if (expected.join() !== actual.join()) {
      this.#fail(`entry ${index} made the events «${actual.join()}», the model says «${expected.join()}»`);
    }
  }

  #compareState(who: string, at: string, state: string): void {
    const known = this.#states.get(at);
    if (known === undefined) this.#states.set(at, state);
    else if (known !== state) this.#fail(`${who} has ${state} at ${at}, another had ${known}`);
  }

  #fail(message: string): void {
    this.#report(new Violation('state-machine', message));
  }
}

/** Refused because users or roles had changed: it changed nothing, and the member may try it anew by itself. */
export function isDecidedAnew(outcome: Outcome): boolean {
  return !outcome.ok && (outcome.code === 'auth-revision-old' || outcome.code === 'user-empty');
}

/** A state machine's outcome in the model's words. */
export function outcomeText(outcome: Outcome): string {
  if (!outcome.ok) return `failed: ${outcome.code}`;
  const { result } = outcome;
  switch (result.type) {
    case 'put':
    case 'delete-range':
    case 'txn':
      return responseText(result);
    case 'lease-grant':
      return `lease-grant ${result.id} ${result.ttlSeconds}`;
    case 'lease-expire':
      return `lease-expire ${result.revoked.join()}`;
    default:
      return result.type;
  }
}

function hashText(hash: { readonly a: number; readonly b: number }): string {
  return `${(hash.a >>> 0).toString(16)}-${(hash.b >>> 0).toString(16)}`;
}
