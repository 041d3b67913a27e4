import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addHash, EMPTY_SET_HASH, rowHash } from '../../../src/core/mvcc/hash.ts';
import { ROW_OVERHEAD_BYTES } from '../../../src/core/mvcc/history.ts';
import type {
  Compare,
  CompareTarget,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '../../../src/core/mvcc/operations.ts';
import type { Row } from '../../../src/core/mvcc/row.ts';
import { Store } from '../../../src/core/mvcc/store.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import { bytes, Harness, put, range, remove, txn } from './fixture.ts';
import { Model } from './model.ts';

// Few keys, so that they meet; with zero bytes and bytes beyond ASCII, where text order could go wrong.
const KEYS = ['a', 'a\0', 'ab', 'b', 'b\xff', 'c', '\x7f', '\x80', '\xff', '\xff\xff'];
const ENDS = [...KEYS, '', '', '\0', 'bz'];
const LEASES = [0n, 0n, 7n, -9n, 1n];

const key = fc.constantFrom(...KEYS);
const end = fc.constantFrom(...ENDS);
const value = fc.constantFrom('', 'x', 'y', 'long value '.repeat(20));
const small = fc.integer({ min: -1, max: 40 });

const puts: fc.Arbitrary<PutRequest> = fc
  .record({
    key,
    value,
    lease: fc.constantFrom(...LEASES),
    prevKv: fc.boolean(),
    mode: fc.constantFrom('plain', 'plain', 'plain', 'keep-value', 'keep-lease', 'keep-both'),
  })
  .map(({ key, value, lease, prevKv, mode }) => {
    const ignoreValue = mode === 'keep-value' || mode === 'keep-both';
    const ignoreLease = mode === 'keep-lease' || mode === 'keep-both';
    const options = { lease: ignoreLease ? 0n : lease, prevKv, ignoreValue, ignoreLease };
    return put(key, ignoreValue ? '' : value, options);
  });
const deletes: fc.Arbitrary<DeleteRangeRequest> = fc
  .tuple(key, end, fc.boolean())
  .map(([key, end, prevKv]) => remove(key, end, prevKv));
const bound = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: small });
const places = fc.oneof(fc.tuple(key, end), fc.constant(['\0', '\0'] as const));
const ranges: fc.Arbitrary<RangeRequest> = fc
  .record({
    place: places,
    limit: fc.constantFrom(0, 0, 1, 2, 5),
    revision: fc.oneof(fc.constant(0), small),
    sortOrder: fc.constantFrom('none' as const, 'ascend' as const, 'descend' as const),
    sortTarget: fc.constantFrom(
      'key' as const,
      'version' as const,
      'create' as const,
      'mod' as const,
      'value' as const,
    ),
    keysOnly: fc.boolean(),
    countOnly: fc.boolean(),
    minModRevision: bound,
    maxModRevision: bound,
    minCreateRevision: bound,
    maxCreateRevision: bound,
  })
  .map(({ place: [key, end], ...options }) => range(key, end, options));
const compares: fc.Arbitrary<Compare> = fc
  .record({
    key,
    end,
    result: fc.constantFrom('equal' as const, 'greater' as const, 'less' as const, 'not-equal' as const),
    target: fc.oneof(
      fc
        .tuple(fc.constantFrom('version' as const, 'create' as const, 'mod' as const), small)
        .map(([target, number]): CompareTarget => ({ target, number })),
      value.map((value): CompareTarget => ({ target: 'value', value: bytes(value) })),
      fc.constantFrom(...LEASES).map((lease): CompareTarget => ({ target: 'lease', lease })),
    ),
  })
  .map(({ key, end, result, target }) => ({ ...target, result, key: bytes(key), rangeEnd: bytes(end) }));
const { txns } = fc.letrec<{ txns: TxnRequest; op: RequestOp }>((tie) => ({
  op: fc.oneof({ depthSize: 'small', withCrossShrink: true }, puts, ranges, deletes, tie('txns')),
  txns: fc
    .tuple(
      fc.oneof(fc.constant([]), fc.array(compares, { maxLength: 2 })),
      fc.array(tie('op'), { maxLength: 5 }),
      fc.array(tie('op'), { maxLength: 2 }),
    )
    .map(([compare, success, failure]) => txn(compare, success, failure)),
}));

type Step =
  | { readonly do: 'apply'; readonly request: PutRequest | DeleteRangeRequest | TxnRequest }
  | { readonly do: 'range'; readonly request: RangeRequest }
  | { readonly do: 'compact'; readonly back: number }
  | { readonly do: 'step' }
  | { readonly do: 'history'; readonly back: number; readonly rowsMax: number }
  | { readonly do: 'restore' }
  | { readonly do: 'hash' };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: puts.map((request): Step => ({ do: 'apply', request })) },
  { weight: 3, arbitrary: deletes.map((request): Step => ({ do: 'apply', request })) },
  { weight: 6, arbitrary: txns.map((request): Step => ({ do: 'apply', request })) },
  { weight: 6, arbitrary: ranges.map((request): Step => ({ do: 'range', request })) },
  { weight: 1, arbitrary: fc.integer({ min: -1, max: 10 }).map((back): Step => ({ do: 'compact', back })) },
  { weight: 2, arbitrary: fc.constant<Step>({ do: 'step' }) },
  {
    weight: 2,
    arbitrary: fc
      .record({ back: fc.nat(12), rowsMax: fc.integer({ min: 1, max: 5 }) })
      .map((scan): Step => ({ do: 'history', ...scan })),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'restore' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'hash' }) },
);

/** What an action answers or with which code it fails, for both sides alike. */
function outcome(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    if (error instanceof StoreError) return { code: error.code };
    throw error;
  }
}

function setHash(rows: readonly Row[]) {
  return rows.reduce((hash, row) => addHash(hash, rowHash(row)), EMPTY_SET_HASH);
}

function runToEnd<T>(generator: Generator<void, T>): T {
  for (;;) {
    const next = generator.next();
    if (next.done === true) return next.value;
  }
}

class Comparison {
  readonly harness: Harness;
  readonly model: Model;

  constructor(cacheBytesMax: number) {
    this.harness = new Harness({ cacheBytesMax });
    this.model = new Model(this.harness);
    this.cacheBytesMax = cacheBytesMax;
  }
  readonly cacheBytesMax: number;

  run(step: Step): void {
    const { harness, model } = this;
    switch (step.do) {
      case 'apply':
        this.#apply(step.request);
        break;
      case 'range':
        deepStrictEqual(
          outcome(() => harness.store.range(step.request)),
          outcome(() => model.range(step.request)),
        );
        break;
      case 'compact': {
        const revision = model.current - step.back;
        deepStrictEqual(
          outcome(() => harness.store.compact(revision)),
          outcome(() => model.compact(revision)),
        );
        break;
      }
      case 'step':
        harness.source.discard(harness.store.compactionStep(1));
        break;
      case 'history':
        this.#scan(model.current - step.back, step.rowsMax);
        break;
      case 'restore':
        this.#restore();
        break;
      case 'hash':
        this.#hash();
        break;
    }
    this.#verify();
  }

  #apply(request: PutRequest | DeleteRangeRequest | TxnRequest): void {
    const { harness, model } = this;
    const before = model.rows.length;
    let events: readonly { readonly row: Row; readonly previousLease: bigint }[] = [];
    const actual = outcome(() => {
      const { result, commit } = harness.apply(request);
      ({ events } = commit);
      deepStrictEqual(commit.revision, harness.store.currentRevision);
      return result;
    });
    const leases = new Map(model.live(model.current).map((row) => [row.key.toString('hex'), row.lease]));
    deepStrictEqual(
      actual,
      outcome(() => model.apply(request)),
    );
    deepStrictEqual(
      events.map(({ row }) => row),
      model.rows.slice(before),
    );
    for (const { row, previousLease } of events) {
      deepStrictEqual(previousLease, leases.get(row.key.toString('hex')) ?? 0n);
      leases.set(row.key.toString('hex'), row.lease);
    }
  }

  /** A history scan in slices gives every row once, whole revisions only, and the right previous values. */
  #scan(from: number, rowsMax: number): void {
    const { harness, model } = this;
    const { store } = harness;
    if (from < model.compacted) {
      deepStrictEqual(
        outcome(() => store.events({ from, to: model.current }, { rowsMax, bytesMax: 100 })),
        { code: 'compacted' },
      );
      return;
    }
    const found: { revision: number; rows: Row[] }[] = [];
    for (let next = from; next <= model.current; ) {
      const slice = store.events({ from: next, to: model.current }, { rowsMax, bytesMax: 100 });
      expect(slice.next).toBeGreaterThan(next);
      ({ next } = slice);
      for (const { revision, events } of slice.groups) {
        found.push({ revision, rows: events.map(({ row }) => row) });
        for (const event of events) deepStrictEqual(store.previousRow(event), model.before(event));
      }
    }
    const expected = model.events(from, model.current, model.compacted);
    // Rows at the compaction itself may be there until the walk has been over them.
    const visible = found.filter(({ revision }) => revision > model.compacted);
    deepStrictEqual(
      visible,
      expected.filter(({ revision }) => revision > model.compacted),
    );
  }

  /** As after a crash: a new store from the rows on the disk and the marker. */
  #restore(): void {
    const { harness } = this;
    const old = harness.store;
    const restored = new Store({ source: harness.source, cacheBytesMax: this.cacheBytesMax });
    for (const row of harness.source.all()) restored.restoreRow(row);
    const dropped = restored.finishRestore(old);
    harness.source.discard(dropped);
    deepStrictEqual(restored.compactionPending, old.compactionPending);
    harness.store = restored;
  }

  #hash(): void {
    const { harness, model } = this;
    const revision = model.current;
    const sliced = runToEnd(harness.store.hashKv(revision, 1));
    deepStrictEqual(sliced, runToEnd(harness.store.hashKv(0, 1000)));
    const fresh = new Harness();
    const marker = {
      currentRevision: model.current,
      compactRevision: model.compacted,
      hashCompactRevision: model.compacted,
      rowSetHash: setHash(model.kept(model.compacted)),
      rowCount: model.kept(model.compacted).length,
    };
    for (const row of model.kept(model.compacted)) fresh.store.restoreRow(row);
    fresh.store.finishRestore(marker);
    fresh.source.keep(model.rows);
    deepStrictEqual(sliced, runToEnd(fresh.store.hashKv(revision, 3)));
  }

  #verify(): void {
    const { harness, model } = this;
    const { store } = harness;
    const kept = model.kept(store.hashCompactRevision);
    deepStrictEqual(store.currentRevision, model.current);
    deepStrictEqual(store.compactRevision, model.compacted);
    deepStrictEqual(store.rowSetHash, setHash(kept));
    deepStrictEqual(store.rowCount, kept.length);
    const size = (row: Row) => row.key.length + row.value.length + ROW_OVERHEAD_BYTES;
    deepStrictEqual(
      store.logicalBytes,
      kept.reduce((sum, row) => sum + size(row), 0),
    );
    deepStrictEqual(store.keyCount, model.live(model.current).length);
  }

  finish(): void {
    const { harness, model } = this;
    while (harness.store.compactionPending) harness.source.discard(harness.store.compactionStep(1));
    this.#verify();
    const order = (a: Row, b: Row) => a.main - b.main || a.sub - b.sub;
    deepStrictEqual(harness.source.all(), model.kept(model.compacted).sort(order));
    for (let main = Math.max(1, model.compacted); main <= model.current; main++) {
      const request = range('\0', '\0', { revision: main });
      deepStrictEqual(harness.store.range(request), model.range(request));
    }
  }
}

test.each([
  { cacheBytesMax: 0, seed: 1 },
  { cacheBytesMax: 1500, seed: 2 },
  { cacheBytesMax: 1 << 20, seed: 3 },
])('any sequence of requests does what the model does, with $cacheBytesMax bytes of cache', (options) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 80, size: 'max' }), (steps) => {
      const comparison = new Comparison(options.cacheBytesMax);
      for (const step of steps) comparison.run(step);
      comparison.finish();
    }),
    { numRuns: 250, seed: options.seed },
  );
});
