import type { KeyValue } from '../../src/core/mvcc/operations.ts';
import { assert } from '../../src/lib/assert.ts';
import type { HistoryEvent, HistoryRequest } from './history.ts';
import { execute, inSpan, type KvView, nameOf, type Span, type Step } from './kv-model.ts';

/** Two 32-bit lanes: what differs has the same lanes with a chance of about 2^-64. */
export interface Lanes {
  readonly a: number;
  readonly b: number;
}

/**
 * The whole store with its history, its leases and its compaction, as one immutable value: what a search goes back
 * to. A change copies the keys: for stores of some hundreds of keys.
 */
export class ModelState implements KvView {
  // By its own name it would be used before it is there once the compiler has lowered the class.
  static readonly EMPTY: ModelState = new this({
    revision: 1,
    compactRevision: -1,
    kvs: new Map(),
    leases: new Set(),
    history: { a: 1, b: 1 },
    previous: null,
  });

  readonly revision: number;
  readonly compactRevision: number;
  readonly #kvs: ReadonlyMap<string, KeyValue>;
  readonly #leases: ReadonlySet<bigint>;
  /** Over every event there ever was, in order: old revisions can be read. */
  readonly #history: Lanes;
  /** The state with the revision before. */
  readonly #previous: ModelState | null;

  private constructor(fields: Fields) {
    this.revision = fields.revision;
    this.compactRevision = fields.compactRevision;
    this.#kvs = fields.kvs;
    this.#leases = fields.leases;
    this.#history = fields.history;
    this.#previous = fields.previous;
  }

  /** Equal for equal states, whatever the order in which leases were granted. */
  get lanes(): Lanes {
    let { a, b } = mixed(this.#history, this.compactRevision + 2);
    for (const lease of this.#leases) {
      const lanes = mixed(
        mixed({ a: 3, b: 3 }, Number(BigInt.asIntN(32, lease))),
        Number(BigInt.asIntN(32, lease >> 32n)),
      );
      a ^= lanes.a;
      b ^= lanes.b;
    }
    return { a: a >>> 0, b: b >>> 0 };
  }

  get(key: string): KeyValue | undefined {
    return this.#kvs.get(key);
  }

  scan(span: Span): readonly KeyValue[] {
    const names = [...this.#kvs.keys()].filter((name) => inSpan(name, span)).sort();
    return names.map((name) => this.#kvs.get(name)!);
  }

  at(revision: number): KvView {
    if (revision >= this.revision) return this;
    let state = this.#previous;
    while (state !== null && state.revision > revision) state = state.#previous;
    // Before the first revision there was nothing, as at it.
    return state ?? ModelState.EMPTY;
  }

  hasLease(id: bigint): boolean {
    return this.#leases.has(id);
  }

  /** Executes a request. `state` is this very state when nothing changed. */
  step(request: HistoryRequest): { readonly step: Step; readonly state: ModelState } {
    const step = execute(this, request);
    return { step, state: step.type === 'done' ? this.#after(request, step.events) : this };
  }

  #after(request: HistoryRequest, events: readonly HistoryEvent[]): ModelState {
    const state = events.length > 0 ? this.#with(events) : this;
    switch (request.type) {
      case 'compact':
        return new ModelState({ ...state.#fields(), compactRevision: request.revision });
      case 'lease-grant':
        return new ModelState({ ...state.#fields(), leases: new Set([...this.#leases, request.id]) });
      case 'lease-revoke': {
        const leases = new Set(this.#leases);
        leases.delete(request.id);
        return new ModelState({ ...state.#fields(), leases });
      }
      default:
        return state;
    }
  }

  #with(events: readonly HistoryEvent[]): ModelState {
    const kvs = new Map(this.#kvs);
    let history = this.#history;
    for (const { type, kv } of events) {
      assert(kv.modRevision === this.revision + 1, 'a change is of the next revision');
      const name = nameOf(kv.key);
      if (type === 'put') kvs.set(name, kv);
      else kvs.delete(name);
      history = withEvent(history, { type, kv });
    }
    return new ModelState({ ...this.#fields(), revision: this.revision + 1, kvs, history, previous: this });
  }

  #fields(): Fields {
    return {
      revision: this.revision,
      compactRevision: this.compactRevision,
      kvs: this.#kvs,
      leases: this.#leases,
      history: this.#history,
      previous: this.#previous,
    };
  }
}

interface Fields {
  readonly revision: number;
  readonly compactRevision: number;
  readonly kvs: ReadonlyMap<string, KeyValue>;
  readonly leases: ReadonlySet<bigint>;
  readonly history: Lanes;
  readonly previous: ModelState | null;
}

/** Versions and creation follow from the events before; value, lease and order do not. */
function withEvent(lanes: Lanes, { type, kv }: Pick<HistoryEvent, 'type' | 'kv'>): Lanes {
  let mix = mixed(lanes, type === 'put' ? kv.modRevision : -kv.modRevision);
  mix = withBytes(mix, kv.key);
  if (type === 'delete') return mix;
  mix = withBytes(mix, kv.value);
  mix = mixed(mix, Number(BigInt.asIntN(32, kv.lease)));
  return mixed(mix, Number(BigInt.asIntN(32, kv.lease >> 32n)));
}

function withBytes(lanes: Lanes, bytes: Buffer): Lanes {
  let mix = mixed(lanes, bytes.length);
  for (const byte of bytes) mix = mixed(mix, byte);
  return mix;
}

/** One word more; two multipliers of the MurmurHash3 family make the lanes independent. */
export function mixed({ a, b }: Lanes, word: number): Lanes {
  let x = Math.imul(a ^ word, 0x85ebca6b);
  let y = Math.imul(b ^ word, 0xc2b2ae35);
  x ^= x >>> 13;
  y ^= y >>> 16;
  return { a: Math.imul(x, 0x27d4eb2f) >>> 0, b: Math.imul(y, 0x165667b1) >>> 0 };
}
