import { status } from '@grpc/grpc-js';
import { intended } from './intended.ts';
import { type Operation, resolve, type Symbolic } from './operations.ts';
import { canonical, type Plain } from './plain.ts';
import type { Outcome, Side, Tape } from './side.ts';

/** Two answers that should be one. */
export interface Difference {
  readonly operation: Operation;
  readonly reference: Plain;
  readonly ours: Plain;
}

export type Verdict =
  | { readonly type: 'equal' }
  | { readonly type: 'intended'; readonly rule: string }
  | { readonly type: 'skipped' }
  | { readonly type: 'different'; readonly difference: Difference };

/** Of the reference; ours must say the same, or there is a difference. */
interface Known {
  revision: number;
  compacted: number;
  readonly compactions: Set<string>;
}

const FENCE = Buffer.from('~fence');
/** Watch streams below are the operations' own. */
const PROBE_STREAM = 1_000_000;
/** Watches hear within milliseconds; etcd reads history for late ones every 100 ms. */
const SETTLE_MS = 10_000;
export const ROOT = { name: 'root', password: 'root-secret' } as const;

/** Sends each operation to both sides and compares what comes back. */
export class Comparison {
  readonly #reference: Side;
  readonly #ours: Side;
  readonly #known: Known = { revision: 1, compacted: 0, compactions: new Set() };
  /** Revisions in the future that watches of a stream wait for. */
  readonly #awaited = new Map<number, number>();
  #lostDeletions = 0;
  readonly #statuses = new Map<string, number>();
  /** A watch was made that etcd serves from history. */
  #pastWatch = false;

  constructor(reference: Side, ours: Side) {
    this.#reference = reference;
    this.#ours = ours;
  }

  /** How often each status was the answer on both sides. */
  get statuses(): ReadonlyMap<string, number> {
    return this.#statuses;
  }

  /** How often etcd 3.4 lost deletions on watches (`delete-at-compaction`). */
  get lostDeletions(): number {
    return this.#lostDeletions;
  }

  async perform(operation: Operation): Promise<Verdict> {
    switch (operation.type) {
      case 'call':
        return this.#call(operation);
      case 'login':
        return this.#both(operation, (side) => side.login(operation.name, operation.password));
      case 'keep-alive':
        return this.#both(operation, (side) =>
          side.keepAlive(this.#resolved(operation.request, side), operation.as),
        );
      case 'watch-create':
        return this.#create(operation);
      case 'watch-cancel':
        return this.#cancel(operation);
      case 'watch-progress':
        return this.#progress(operation);
      case 'watch-close':
        return this.#close(operation);
      case 'settle':
        return this.#settle(operation);
    }
  }

  async #call(operation: Extract<Operation, { type: 'call' }>): Promise<Verdict> {
    const { path, request, as } = operation;
    // A compaction must not overtake what watches are still to read.
    if (path === 'KV/Compact') {
      const settled = await this.#settle(operation);
      if (settled.type === 'different') return settled;
    }
    // Intended: a change of rights ends the watches that may no longer be; etcd lets them go on.
    if (path.startsWith('Auth/') && !READING.test(path)) {
      const settled = await this.#settle(operation);
      if (settled.type === 'different') return settled;
      for (const stream of this.#reference.tapes.keys()) this.#closeStream(stream);
    }
    return this.#both(operation, (side) => side.call(path, this.#resolved(request, side), as));
  }

  async #both(operation: Operation, ask: (side: Side) => Promise<Outcome>): Promise<Verdict> {
    const [reference, ours] = await Promise.all([ask(this.#reference), ask(this.#ours)]);
    if (reference.ok) this.#learn(operation, reference.answer);
    const status = ours.ok ? 'ok' : ours.text;
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
    return verdict(operation, reference, ours);
  }

  #learn(operation: Operation, answer: Plain): void {
    const { header } = answer as { readonly header?: { readonly revision?: string } };
    const revision = Number(header?.revision ?? 0);
    this.#known.revision = Math.max(this.#known.revision, revision);
    if (operation.type === 'call' && operation.path === 'KV/Compact') {
      const { revision: asked } = this.#resolved(operation.request, this.#reference) as {
        readonly revision?: number | bigint;
      };
      this.#known.compacted = Math.max(this.#known.compacted, Number(asked ?? 0));
      this.#known.compactions.add(String(asked));
    }
  }

  async #create(operation: Extract<Operation, { type: 'watch-create' }>): Promise<Verdict> {
    const { stream, request, as } = operation;
    const { start_revision: start } = this.#resolved(request, this.#reference) as {
      readonly start_revision?: number | bigint;
    };
    const startRevision = Number(start ?? 0);
    const answered = await this.#answered(stream, as, (side) => ({
      create_request: this.#resolved(request, side),
    }));
    if (startRevision > this.#known.revision) {
      this.#awaited.set(stream, Math.max(startRevision, this.#awaited.get(stream) ?? 0));
    } else if (startRevision !== 0) {
      this.#pastWatch = true;
    }
    if (!answered) return this.#tapesDiffer(operation, 'the creation was not answered');
    // Its end comes by itself.
    return startRevision !== 0 && startRevision < this.#known.compacted ? this.#settle(operation) : EQUAL;
  }

  async #cancel(operation: Extract<Operation, { type: 'watch-cancel' }>): Promise<Verdict> {
    const { stream } = operation;
    if (!this.#reference.hasStream(stream)) return SKIPPED;
    const settled = await this.#settle(operation);
    if (settled.type === 'different') return settled;
    const request = { cancel_request: this.#resolved(operation.request, this.#reference) };
    const id = String((request.cancel_request as { watch_id?: number | bigint }).watch_id ?? 0);
    // Only a watch that is there is answered for.
    if (!this.#reference.watches(stream).isOpen(id)) {
      for (const side of this.#sides) side.watches(stream).send(request);
      return EQUAL;
    }
    const answered = await this.#answered(stream, undefined, () => request);
    return answered ? EQUAL : this.#tapesDiffer(operation, 'the cancel was not answered');
  }

  /** etcd 3.6 and we promise nothing before the revisions that a stream's watches wait for; 3.4 does. */
  async #progress(operation: Extract<Operation, { type: 'watch-progress' }>): Promise<Verdict> {
    const { stream } = operation;
    if (!this.#reference.hasStream(stream)) return SKIPPED;
    if ((this.#awaited.get(stream) ?? 0) > this.#known.revision) return SKIPPED;
    const settled = await this.#settle(operation);
    if (settled.type === 'different') return settled;
    const answered = await this.#answered(stream, undefined, () => ({ progress_request: {} }));
    return answered ? EQUAL : this.#tapesDiffer(operation, 'the progress request was not answered');
  }

  async #close(operation: Extract<Operation, { type: 'watch-close' }>): Promise<Verdict> {
    const settled = await this.#settle(operation);
    this.#closeStream(operation.stream);
    return settled;
  }

  #closeStream(stream: number): void {
    for (const side of this.#sides) side.closeStream(stream);
    this.#awaited.delete(stream);
  }

  /** Sends on both sides and waits for an answer each. */
  async #answered(stream: number, as: string | undefined, request: (side: Side) => object): Promise<boolean> {
    const answers = this.#sides.map((side) => {
      const tape = side.watches(stream, as);
      const before = tape.answers;
      tape.send(request(side));
      return tape.until(() => tape.answers > before, SETTLE_MS);
    });
    return (await Promise.all(answers)).every(Boolean);
  }

  /**
   * Until both sides' watches delivered the same. Where a watch was made that reads history, first one more of that
   * kind, and its event: etcd serves those that wait in one go, so the others have theirs by then.
   */
  async #settle(operation: Operation): Promise<Verdict> {
    const streams = [...this.#reference.tapes.keys()];
    if (streams.length === 0) return EQUAL;
    if (this.#pastWatch) {
      const probed = await this.#probe();
      if (probed !== null) return probed;
      this.#pastWatch = false;
    }
    for (const stream of streams) {
      const [reference, ours] = this.#sides.map((side) => side.watches(stream));
      const same = (): boolean => this.#sameItems(reference!.items(), ours!.items());
      const patience = performance.now() + SETTLE_MS;
      while (!same() && performance.now() < patience) {
        await Promise.race([reference!.changed(SETTLE_MS), ours!.changed(SETTLE_MS)]);
      }
      if (!same()) return this.#tapesDiffer(operation, `watch stream ${stream}`);
      reference!.forget();
      ours!.forget();
      // Intended: the id of a watch that a compaction ended is free again; etcd keeps it in use on its stream.
      if (reference!.hasEnded || reference!.hasCompacted) this.#closeStream(stream);
    }
    return EQUAL;
  }

  /** Equal, but for the deletions that etcd 3.4 loses. */
  #sameItems(reference: Tape, ours: Tape): boolean {
    const left = canonical(reference);
    if (left === canonical(ours)) return true;
    const kept = Object.entries(ours).map(([id, items]) => [
      id,
      withoutLost(items, { reference: reference[id] ?? [], compactions: this.#known.compactions }),
    ]);
    if (left !== canonical(Object.fromEntries(kept) as Tape)) return false;
    this.#lostDeletions += 1;
    return true;
  }

  async #probe(): Promise<Verdict | null> {
    const fence: Operation = { type: 'call', path: 'KV/Put', request: { key: FENCE } };
    const put = async (as?: string) =>
      Promise.all(this.#sides.map((side) => side.call('KV/Put', { key: FENCE }, as)));
    let as: string | undefined;
    let outcomes = await put();
    if (outcomes[0]!.ok === false && !isAlarm(outcomes[0]!.code)) {
      // It needs a name; an alarm, though, keeps everybody from writing.
      as = ROOT.name;
      await Promise.all(this.#sides.map((side) => side.login(ROOT.name, ROOT.password)));
      outcomes = await put(as);
    }
    const [reference, ours] = outcomes;
    const compared = verdict(fence, reference!, ours!);
    if (compared.type === 'different') return compared;
    if (!reference!.ok) return null;
    this.#learn(fence, reference!.answer);
    const request = { create_request: { key: FENCE, start_revision: this.#known.revision } };
    const seen = this.#sides.map((side) => {
      const tape = side.watches(PROBE_STREAM, as);
      tape.send(request);
      return tape.until(() => tape.count('0') > 1, SETTLE_MS);
    });
    const heard = (await Promise.all(seen)).every(Boolean);
    if (!heard) return this.#tapesDiffer(fence, 'the probe heard nothing');
    for (const side of this.#sides) side.closeStream(PROBE_STREAM);
    return null;
  }

  /** Of the streams that differ, from where they do. */
  #tapesDiffer(operation: Operation, what: string): Verdict {
    const reference: Record<string, Plain> = { what };
    const ours: Record<string, Plain> = { what };
    for (const [stream, tape] of this.#reference.tapes) {
      const [left, right] = firstDifferent(tape.items(), this.#ours.watches(stream).items());
      if (left === null && right === null) continue;
      reference[`stream ${stream}`] = left;
      ours[`stream ${stream}`] = right;
    }
    return { type: 'different', difference: { operation, reference, ours } };
  }

  get #sides(): readonly Side[] {
    return [this.#reference, this.#ours];
  }

  #resolved(request: Parameters<typeof resolve>[0], side: Side): object {
    const known = ({ of, plus }: Symbolic): number | bigint => {
      if (of === 'self') return side.identity.member;
      return Math.max(0, (of === 'revision' ? this.#known.revision : this.#known.compacted) + plus);
    };
    return resolve(request, known) as object;
  }
}

/** Whether two differences are of one kind: both sides' statuses, or what was compared, are the same. */
export function isLike(one: Difference | undefined, other: Difference | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  return (
    kindOf(one.reference) === kindOf(other.reference) &&
    kindOf(one.ours) === kindOf(other.ours) &&
    methodOf(one.operation) === methodOf(other.operation)
  );
}

/** A status, what differs on a stream, or nothing for an answer. */
function kindOf(answer: Plain): string {
  const { code, text, what } = answer as { readonly [name: string]: Plain };
  return canonical([code ?? '', text ?? '', what ?? '']);
}

/** What is said of streams is noticed later, with whatever comes then. */
function methodOf(operation: Operation): string {
  return operation.type === 'call' && !operation.path.startsWith('Auth/') ? operation.path : operation.type;
}

/** Methods of authentication that change nothing. */
const READING = /(Get|List|Status)$/;

const EQUAL = { type: 'equal' } as const;
const SKIPPED = { type: 'skipped' } as const;

function verdict(operation: Operation, reference: Outcome, ours: Outcome): Verdict {
  if (canonical(asPlain(reference)) === canonical(asPlain(ours))) return EQUAL;
  const rule = intended(operation, reference, ours);
  if (rule !== null) return { type: 'intended', rule };
  return {
    type: 'different',
    difference: { operation, reference: asPlain(reference), ours: asPlain(ours) },
  };
}

function asPlain(outcome: Outcome): Plain {
  if (outcome.ok) return outcome.answer;
  return { code: String(outcome.code), text: outcome.text };
}

function isAlarm(code: number): boolean {
  return code === status.RESOURCE_EXHAUSTED || code === status.DATA_LOSS;
}

/** Without deletions made just at a compacted revision: etcd 3.4 drops those from history (etcd issue 19179). */
function withoutLost(
  items: readonly Plain[],
  {
    reference,
    compactions,
  }: { readonly reference: readonly Plain[]; readonly compactions: ReadonlySet<string> },
): readonly Plain[] {
  const there = new Set(reference.map(canonical));
  return items.filter((item) => {
    const event = item as { readonly type?: string; readonly kv?: { readonly mod_revision?: string } };
    const isLost = event.type === '1' && compactions.has(event.kv?.mod_revision ?? '');
    return !isLost || there.has(canonical(item));
  });
}

/** What the two tapes of one stream hold from the first difference of each watch on. */
function firstDifferent(reference: Tape, ours: Tape): readonly [Plain, Plain] {
  const left: Record<string, Plain> = {};
  const right: Record<string, Plain> = {};
  for (const id of new Set([...Object.keys(reference), ...Object.keys(ours)])) {
    const a = reference[id] ?? [];
    const b = ours[id] ?? [];
    let at = 0;
    while (at < a.length && at < b.length && canonical(a[at]!) === canonical(b[at]!)) at += 1;
    if (at === a.length && at === b.length) continue;
    left[id] = a.slice(at);
    right[id] = b.slice(at);
  }
  return Object.keys(left).length === 0 ? [null, null] : [left, right];
}
