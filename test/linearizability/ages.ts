import type { CommittedRevision, HistoryOp, Violation } from './history.ts';

/**
 * Whether members tell the truth about how old their answers are.
 *
 * An answer made at the instant t with the age a reflects every write whose acknowledgement was sent before t - a. Who
 * asks sees neither t nor when acknowledgements were sent, but on his one clock he knows that t is not before he sent
 * the read, nor before the member went on when it stood still at that time, and that an acknowledgement that he
 * received at w was sent at w or before. So with `from`, the later of the two, everything acknowledged to him at
 *
 *     w < from - a
 *
 * had its acknowledgement sent before t - a and must be in the answer. There is no such claim for w between that and
 * the receipt minus a: the answer may have been made before it. At its receipt the answer is at most
 * a + (received - sent) old, which is what a client may reckon with.
 *
 * What a linearizable answer has shown is held to be acknowledged, too: it was committed before.
 */

/** One bounded read that was answered. Times are of the history's clock, in milliseconds. */
export interface AgedRead {
  readonly member: string;
  /** As asked for. */
  readonly boundMs: number;
  readonly sentMs: number;
  /** The member cannot have answered before: it stood still. 0 when it did not. */
  readonly resumedMs: number;
  readonly answeredMs: number;
  /** As told; null when it was not. */
  readonly ageMs: number | null;
  readonly revision: number;
  /** Every key of the history's range, by key. */
  readonly kvs: readonly StoredKey[];
}

export interface StoredKey {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly modRevision: number;
}

/** A time in which nothing that could prove freshness reached a member: whatever it knows was asked before. */
export interface Silence {
  readonly member: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface AgesInput {
  readonly reads: readonly AgedRead[];
  readonly ops: readonly HistoryOp[];
  /** Everything that changed in the range of the reads, in order. */
  readonly committed: readonly CommittedRevision[];
  readonly silences: readonly Silence[];
}

export function ageViolations({ reads, ops, committed, silences }: AgesInput): readonly Violation[] {
  const acknowledged = new Acknowledged(ops);
  const untold = reads.filter(({ ageMs }) => ageMs === null);
  return [
    ...untold.map((read) => violation('age not told', read)),
    ...reads.flatMap((read) => missing(read, acknowledged)),
    ...reads.flatMap((read) => tooYoung(read, silences)),
    ...otherStates(reads, committed),
  ];
}

/** What the age, or where it is above the bound the upgrade to a linearizable read, promises and is not there. */
function missing(read: AgedRead, acknowledged: Acknowledged): readonly Violation[] {
  const { ageMs, boundMs, revision } = read;
  if (ageMs === null) return [];
  const fromMs = Math.max(read.sentMs, read.resumedMs);
  const promised = acknowledged.revisionBefore(fromMs - ageMs);
  if (revision < promised) return [violation(`age understated: revision ${promised} is missing`, read)];
  const upgraded = acknowledged.revisionBefore(read.sentMs);
  if (ageMs > boundMs && revision < upgraded) {
    return [violation(`older than asked for, and not linearizable: revision ${upgraded} is missing`, read)];
  }
  return [];
}

/** Nothing is newer than what was known when the member was cut off. */
function tooYoung(read: AgedRead, silences: readonly Silence[]): readonly Violation[] {
  const { member, sentMs, answeredMs, ageMs } = read;
  if (ageMs === null) return [];
  const broken = silences.find(
    (silence) =>
      silence.member === member &&
      silence.fromMs <= sentMs &&
      answeredMs <= silence.toMs &&
      ageMs < sentMs - silence.fromMs,
  );
  return broken === undefined
    ? []
    : [violation(`nothing can be known for ${sentMs - broken.fromMs} ms`, read)];
}

/** Answers that are not the whole state at the revision that they name. */
function otherStates(
  reads: readonly AgedRead[],
  committed: readonly CommittedRevision[],
): readonly Violation[] {
  const state = new Map<string, StoredKey>();
  const found: Violation[] = [];
  let next = 0;
  for (const read of reads.toSorted((left, right) => left.revision - right.revision)) {
    for (; next < committed.length && committed[next]!.revision <= read.revision; next++) {
      for (const { type, kv } of committed[next]!.events) {
        if (type === 'put') state.set(kv.key.toString('latin1'), kv);
        else state.delete(kv.key.toString('latin1'));
      }
    }
    if (textOf([...state.values()]) !== textOf(read.kvs)) found.push(violation('not the state', read));
  }
  return found;
}

/** What had been acknowledged by when. */
class Acknowledged {
  readonly #times: readonly number[];
  /** The highest revision acknowledged by the time at the same place. */
  readonly #revisions: readonly number[];

  constructor(ops: readonly HistoryOp[]) {
    const answers = ops
      .flatMap(({ returnTime, request, outcome }) =>
        outcome.type === 'answered' && request.type !== 'serializable-range'
          ? [{ returnTime, revision: outcome.result.revision }]
          : [],
      )
      .toSorted((left, right) => left.returnTime - right.returnTime);
    let highest = 0;
    this.#times = answers.map(({ returnTime }) => returnTime);
    this.#revisions = answers.map(({ revision }) => (highest = Math.max(highest, revision)));
  }

  /** The highest revision acknowledged strictly before `timeMs`; 0 when there is none. */
  revisionBefore(timeMs: number): number {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#times[middle]! < timeMs) low = middle + 1;
      else high = middle;
    }
    return this.#revisions[low - 1] ?? 0;
  }
}

function textOf(kvs: readonly StoredKey[]): string {
  return kvs
    .map(
      ({ key, value, modRevision }) => `${key.toString('latin1')}=${value.toString('latin1')}@${modRevision}`,
    )
    .sort()
    .join('\n');
}

function violation(what: string, read: AgedRead): Violation {
  const { member, boundMs, sentMs, resumedMs, answeredMs, ageMs, revision } = read;
  const asked = `${member} was asked for at most ${boundMs} ms at ${sentMs}`;
  const resumed = resumedMs === 0 ? '' : ` (going on at ${resumedMs})`;
  return {
    rule: 'age',
    message: `${what}; ${asked}${resumed}, told age ${ageMs} and revision ${revision} at ${answeredMs}`,
  };
}
