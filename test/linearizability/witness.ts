import { unreachable } from '../../src/lib/assert.ts';
import { sameEvents, sameResult } from './equality.ts';
import { describe, describeOp, Findings } from './findings.ts';
import type { CommittedRevision, HistoryOp, HistoryRequest, HistoryResult, Violation } from './history.ts';
import { execute, leaseEnd, nameOf } from './kv-model.ts';
import { match } from './matching.ts';
import { revisionCeiling, revisionFloors, toldRevision } from './real-time.ts';
import { VersionedStore } from './versioned-store.ts';

/** What clients saw, and the order that is claimed to explain it. */
export interface WitnessInput {
  readonly ops: readonly HistoryOp[];
  /** Every revision from 2 on: what a member applied, or what a watch over all keys was sent. */
  readonly committed: readonly CommittedRevision[];
}

/**
 * Checks a history of any length against its order, the revisions: is every answer exactly that of the model at the
 * revision it names; has every revision exactly one cause, which is an acknowledged write, one of unknown outcome, or
 * the end of a lease; and did nobody who called after another had returned see an older state. If so the order is a
 * linearization (Herlihy and Wing 1990), but for the serializable reads, which must only be true of some revision.
 *
 * Time n log n, apart from the few operations of unknown outcome. Of leases it knows what their ends delete, not
 * when they may end; of compactions only which were asked for: `blackBoxViolations` knows both exactly.
 *
 * @returns nothing when the order holds
 */
export function witnessViolations({ ops, committed }: WitnessInput): readonly Violation[] {
  const findings = new Findings();
  checkShape(committed, findings);
  if (findings.list.length > 0) return findings.list;
  new Witness({ ops, committed }, findings).check();
  return findings.list;
}

function checkShape(committed: readonly CommittedRevision[], findings: Findings): void {
  for (const [index, { revision, events }] of committed.entries()) {
    if (revision !== index + 2) {
      findings.add(
        'dense',
        `revision ${index + 2} is missing from the committed history: there is ${revision}`,
      );
      return;
    }
    const whole = events.length > 0 && events.every((event) => event.kv.modRevision === revision);
    if (!whole)
      findings.add('dense', `revision ${revision} has no events, or events of another: ${describe(events)}`);
  }
}

class Witness {
  readonly #ops: readonly HistoryOp[];
  readonly #committed: readonly CommittedRevision[];
  readonly #findings: Findings;
  readonly #store: VersionedStore;
  /** The highest revision told to anyone before each operation was called. */
  readonly #floors: readonly number[];
  readonly #owners = new Map<number, HistoryOp>();
  /** Operations of unknown outcome. */
  readonly #unknown: readonly number[];
  /** How often each lease was granted, as far as is known. */
  readonly #grants = new Map<bigint, HistoryOp[]>();
  readonly #compactions: readonly { readonly op: HistoryOp; readonly revision: number }[];

  constructor({ ops, committed }: WitnessInput, findings: Findings) {
    this.#ops = ops;
    this.#committed = committed;
    this.#findings = findings;
    this.#store = new VersionedStore(committed);
    this.#floors = revisionFloors(ops);
    this.#unknown = [...ops.keys()].filter((index) => ops[index]!.outcome.type === 'unknown');
    for (const op of ops) {
      const { request } = op;
      if (request.type !== 'lease-grant' || op.outcome.type === 'refused') continue;
      this.#grants.set(request.id, [...(this.#grants.get(request.id) ?? []), op]);
    }
    this.#compactions = ops.flatMap((op) =>
      op.request.type === 'compact' && op.outcome.type !== 'refused'
        ? [{ op, revision: op.request.revision }]
        : [],
    );
  }

  check(): void {
    for (const [index, op] of this.#ops.entries()) {
      if (op.outcome.type === 'answered') this.#checkAnswer(op, op.outcome.result, this.#floors[index]!);
    }
    this.#checkCauses();
    const ceilingAt = revisionCeiling(this.#owners, this.#store.revision);
    for (const [index, op] of this.#ops.entries()) {
      if (op.outcome.type !== 'refused') continue;
      const window = { floor: this.#floors[index]!, ceiling: ceilingAt(op.returnTime) };
      if (!this.#mayRefuse(op, window)) {
        this.#findings.add('refusal', `nothing explains the refusal of ${describeOp(op)}`);
      }
    }
  }

  // ---- answers ----------------------------------------------------------------------------------------------

  #checkAnswer(op: HistoryOp, result: HistoryResult, floor: number): void {
    const { request } = op;
    const { revision } = result;
    if (revision < 1 || revision > this.#store.revision) {
      this.#findings.add('revision', `revision ${revision} was never committed: ${describeOp(op)}`);
      return;
    }
    // Whoever wrote a revision cannot have been called after someone was told of it.
    const isNew = this.#isWrite(op, result);
    const oldest = isNew ? floor + 1 : floor;
    if (request.type !== 'serializable-range' && revision < oldest) {
      this.#findings.add('real time', `revision ${floor} had been told before the call of ${describeOp(op)}`);
    }
    switch (request.type) {
      case 'range':
      case 'serializable-range':
        this.#checkReadable(op);
        this.#checkUnchanged(op, result);
        return;
      case 'put':
      case 'delete-range':
      case 'txn':
        if (isNew) this.#own(revision, op);
        else this.#checkUnchanged(op, result);
        return;
      case 'compact':
        if (request.revision > revision) {
          this.#findings.add('compaction', `a revision of the future was compacted: ${describeOp(op)}`);
        }
        return;
      case 'lease-grant':
        return;
      case 'lease-revoke':
        this.#checkRevoked(op, request.id);
        return;
      default:
        unreachable(request);
    }
  }

  /** Whether the answer is that of the request which made its revision. */
  #isWrite({ request }: HistoryOp, result: HistoryResult): boolean {
    if (request.type !== 'put' && request.type !== 'delete-range' && request.type !== 'txn') return false;
    if (result.revision < 2) return false;
    const step = execute(this.#store.at(result.revision - 1), request);
    return (
      step.type === 'done' &&
      step.events.length > 0 &&
      sameEvents(step.events, this.#eventsOf(result.revision)) &&
      sameResult(step.result, result)
    );
  }

  #checkUnchanged(op: HistoryOp, result: HistoryResult): void {
    const step = execute(this.#store.at(result.revision), op.request);
    if (step.type === 'done' && step.events.length === 0 && sameResult(step.result, result)) return;
    const expected = step.type === 'done' ? describe(step.result) : step.code;
    this.#findings.add(
      'answer',
      `after revision ${result.revision} it is ${expected}, but ${describeOp(op)}`,
    );
  }

  #own(revision: number, op: HistoryOp): void {
    const owner = this.#owners.get(revision);
    if (owner === undefined) this.#owners.set(revision, op);
    else this.#findings.add('once', `two writes made one revision: ${describeOp(owner)}; ${describeOp(op)}`);
  }

  /** Who knows of a compaction before a read is called must not be able to read below it, but for stale reads. */
  #checkReadable(op: HistoryOp): void {
    if (op.request.type !== 'range' || op.request.revision <= 0) return;
    const { revision } = op.request;
    const compacted = this.#compactions.some(
      (compaction) =>
        compaction.op.outcome.type === 'answered' &&
        compaction.revision > revision &&
        compaction.op.returnTime < op.callTime,
    );
    if (compacted) this.#findings.add('compaction', `a compacted revision was read: ${describeOp(op)}`);
  }

  #checkRevoked(op: HistoryOp, id: bigint): void {
    if ((this.#grants.get(id)?.length ?? 0) > 1) return;
    const attached = leaseEnd(this.#store.at(toldRevision(op)), id);
    if (attached.length > 0) {
      this.#findings.add('lease', `keys outlived their lease: ${describe(attached)} after ${describeOp(op)}`);
    }
  }

  // ---- causes -----------------------------------------------------------------------------------------------

  /** Every revision that no acknowledged write made is the end of a lease or a write of unknown outcome. */
  #checkCauses(): void {
    const unowned: CommittedRevision[] = [];
    const endedAt = new Map<bigint, number>();
    for (const commit of this.#committed) {
      this.#checkLeasesAlive(commit, endedAt);
      if (this.#owners.has(commit.revision)) continue;
      const lease = this.#endedLease(commit);
      if (lease === null) unowned.push(commit);
      // A delete that nobody heard of may look just like the end of a lease, which then lives on.
      else if (!this.#unknown.some((index) => this.#explains(index, commit)))
        endedAt.set(lease, commit.revision);
    }
    if (unowned.length > 0) this.#assignUnknown(unowned);
  }

  /** The lease whose end, and nothing else, a revision is. */
  #endedLease({ revision, events }: CommittedRevision): bigint | null {
    const before = this.#store.at(revision - 1);
    const id = before.get(nameOf(events[0]!.kv.key))?.lease ?? 0n;
    const isEnd = id !== 0n && this.#grants.has(id) && sameEvents(leaseEnd(before, id), events);
    return isEnd ? id : null;
  }

  /** A lease that ended is attached again only if it was granted again. */
  #checkLeasesAlive({ revision, events }: CommittedRevision, endedAt: ReadonlyMap<bigint, number>): void {
    for (const { type, kv } of events) {
      if (type !== 'put' || kv.lease === 0n) continue;
      const grants = this.#grants.get(kv.lease)?.length ?? 0;
      if (grants === 0) {
        this.#findings.add(
          'lease',
          `revision ${revision} attaches a lease that was never granted: ${kv.lease}`,
        );
      } else if (grants === 1 && endedAt.has(kv.lease)) {
        this.#findings.add('lease', `revision ${revision} attaches lease ${kv.lease}, which had ended`);
      }
    }
  }

  #assignUnknown(unowned: readonly CommittedRevision[]): void {
    const candidates = unowned.map((commit) =>
      this.#unknown.filter((index) => this.#explains(index, commit)),
    );
    for (const [place, index] of match(candidates).entries()) {
      const { revision, events } = unowned[place]!;
      if (index !== undefined) this.#owners.set(revision, this.#ops[index]!);
      else
        this.#findings.add(
          'cause',
          `nobody made revision ${revision}: ${describe(events)}${this.#asked(events)}`,
        );
    }
  }

  /** Who had asked for one of the values, for a report: what they were told is wrong. */
  #asked(events: CommittedRevision['events']): string {
    const values = events.filter(({ kv }) => kv.value.length > 0).map(({ kv }) => `"${kv.value.toString()}"`);
    const askers = this.#ops.filter(({ request }) => {
      const text = describe(request);
      return values.some((value) => text.includes(value));
    });
    return askers.map((op) => `; asked for: ${describeOp(op)}`).join('');
  }

  #explains(index: number, { revision, events }: CommittedRevision): boolean {
    const { request } = this.#ops[index]!;
    if (this.#floors[index]! >= revision) return false;
    if (request.type === 'put' && !request.key.equals(events[0]!.kv.key)) return false;
    if (request.type !== 'put' && request.type !== 'delete-range' && request.type !== 'txn') return false;
    const step = execute(this.#store.at(revision - 1), request);
    return step.type === 'done' && sameEvents(step.events, events);
  }

  #eventsOf(revision: number): CommittedRevision['events'] {
    return this.#committed[revision - 2]!.events;
  }

  // ---- refusals ---------------------------------------------------------------------------------------------

  #mayRefuse(op: HistoryOp, window: { readonly floor: number; readonly ceiling: number }): boolean {
    if (op.outcome.type !== 'refused') return true;
    switch (op.outcome.code) {
      case 'compacted':
        return this.#maybeCompacted(op);
      case 'future-revision':
      case 'key-not-found':
        return op.request.type === 'serializable-range' || this.#refusedWithin(op, window);
      case 'lease-exists':
        return this.#maybeGranted(op);
      default:
        // A lease may be gone at any time.
        return true;
    }
  }

  #maybeCompacted({ request, returnTime }: HistoryOp): boolean {
    const before = this.#compactions.filter(({ op }) => op.callTime <= returnTime);
    const lowest = lowestRevision(request);
    return before.some(
      ({ revision }) => revision > lowest || (request.type === 'compact' && revision === lowest),
    );
  }

  #maybeGranted({ request, returnTime }: HistoryOp): boolean {
    if (request.type !== 'lease-grant') return false;
    return (this.#grants.get(request.id) ?? []).some((op) => op.callTime <= returnTime);
  }

  #refusedWithin(
    { request, outcome }: HistoryOp,
    { floor, ceiling }: { readonly floor: number; readonly ceiling: number },
  ): boolean {
    for (let revision = floor; revision <= ceiling; revision++) {
      const step = execute(this.#store.at(revision), request);
      if (step.type === 'refused' && outcome.type === 'refused' && step.code === outcome.code) return true;
    }
    return false;
  }
}

/** The lowest revision that a request reads or compacts by number; Infinity when it names none. */
function lowestRevision(request: HistoryRequest): number {
  switch (request.type) {
    case 'range':
      return request.revision === 0 ? Infinity : request.revision;
    case 'serializable-range':
      return lowestRevision(request.range);
    case 'compact':
      return request.revision;
    case 'txn':
      return Math.min(...[...request.success, ...request.failure].map(lowestRevision));
    default:
      return Infinity;
  }
}
