import { afterEach, expect, test } from 'vitest';
import type { ResponseOp } from '../../src/core/mvcc/operations.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { SlicedReads } from '../../src/member/sliced-reads.ts';
import { Harness, put, range, remove, txn } from '../core/mvcc/fixture.ts';
import { ManualClock } from './manual-clock.ts';

const KEYS = 60;
const VALUE_BYTES = 50_000;
const { signal } = new AbortController();
const permit = (): void => undefined;

/** A store of 3 MB, whose reads are interrupted between any two pieces. */
class Subject {
  readonly harness = new Harness();
  readonly reads: SlicedReads;
  /** Done between two pieces. */
  between: () => void = () => undefined;
  turns = 0;

  constructor() {
    const { harness } = this;
    for (let i = 0; i < KEYS; i++)
      harness.apply(put(`k${String(i).padStart(2, '0')}`, 'x'.repeat(VALUE_BYTES)));
    const clock = new ManualClock();
    clock.setImmediate = (callback) => {
      setImmediate(() => {
        this.turns += 1;
        this.between();
        callback();
      });
    };
    this.reads = new SlicedReads({
      clock,
      read: (read) =>
        read({ store: harness.store, lessor: harness } as unknown as Parameters<typeof read>[0]),
    });
  }
}

/** A result with its values cut short: comparing megabytes byte by byte takes the test runner minutes. */
function shown(result: ResponseOp): unknown {
  return JSON.parse(
    JSON.stringify(result, (_key, value: unknown) => {
      if (typeof value === 'bigint') return String(value);
      if (!isBytes(value)) return value;
      return `${value.data.length} ${Buffer.from(value.data.slice(0, 20)).toString()}`;
    }),
  );
}

/** What a Buffer is for JSON. */
function isBytes(value: unknown): value is { readonly data: number[] } {
  return typeof value === 'object' && value !== null && 'data' in value;
}

let subject = new Subject();
afterEach(() => {
  subject = new Subject();
});

test('a large range gives others their turn and is of one revision', async () => {
  const expected = subject.harness.store.range(range('k', 'l'));
  subject.between = () => {
    subject.harness.apply(put('k00', 'changed'));
    subject.harness.apply(remove('k59'));
  };
  expect(shown(await subject.reads.range(range('k', 'l'), { signal, permit }))).toEqual(shown(expected));
  expect(subject.turns).toBeGreaterThan(1);
});

test('a large range by value, and one in a transaction', async () => {
  const byValue = range('k', 'l', { sortTarget: 'value', sortOrder: 'descend', limit: 30 });
  subject.harness.apply(put('k20', 'z'));
  const sorted = subject.harness.store.range(byValue);
  expect(shown(await subject.reads.range(byValue, { signal, permit }))).toEqual(shown(sorted));
  const request = txn([], [range('k20'), range('k', 'l'), txn([], [range('k', 'l', { limit: 30 })])]);
  const { result } = subject.harness.store.applyTxn(request, subject.harness);
  expect(shown(await subject.reads.txn(request, { signal, permit }))).toEqual(shown(result));
  expect(subject.turns).toBeGreaterThan(4);
});

test('small reads do not wait', async () => {
  expect((await subject.reads.range(range('k00'), { signal, permit })).kvs).toHaveLength(1);
  expect((await subject.reads.txn(txn([], [range('k00')]), { signal, permit })).responses).toHaveLength(1);
  expect(subject.turns).toBe(0);
});

test('a read overtaken by a compaction begins anew; one of a compacted revision fails', async () => {
  const { harness } = subject;
  const old = harness.store.currentRevision;
  const compactOnce = (): void => {
    subject.between = () => undefined;
    harness.apply(put('k00', 'new'));
    harness.compact(harness.store.currentRevision);
  };
  subject.between = compactOnce;
  const { kvs, revision } = await subject.reads.range(range('k', 'l'), { signal, permit });
  expect(kvs[0]!.value.toString()).toBe('new');
  expect(revision).toBe(harness.store.currentRevision);
  harness.apply(put('k01', 'new'));
  subject.between = compactOnce;
  const pinned = range('k', 'l', { revision: harness.store.currentRevision });
  await expect(subject.reads.range(pinned, { signal, permit })).rejects.toMatchObject({ code: 'compacted' });
  expect(old).toBeLessThan(harness.store.compactRevision);
});

test('large reads are gathered one after the other, each once it has room', async () => {
  const reserved: number[] = [];
  const order: string[] = [];
  const context = {
    signal,
    permit,
    reserve: async (bytes: number) => {
      reserved.push(bytes);
    },
  };
  await Promise.all(
    ['first', 'second'].map(async (name) => {
      await subject.reads.range(range('k', 'l'), context);
      order.push(name);
    }),
  );
  expect(order).toEqual(['first', 'second']);
  expect(reserved.every((bytes) => bytes >= KEYS * VALUE_BYTES)).toBe(true);
});

test('who has to wait keeps nothing of what it would read, and reads what is there then', async () => {
  let begun = 0;
  const counted = {
    signal,
    permit: (): void => {
      begun += 1;
    },
  };
  let admit = (): void => undefined;
  const room = new Promise<void>((resolve) => {
    admit = resolve;
  });
  const early = subject.reads.range(range('k', 'l'), { signal, permit });
  const second = subject.reads.range(range('k', 'l'), { ...counted, reserve: () => room });
  expect(begun).toBe(1);
  await early;
  subject.harness.apply(put('k99', 'new'));
  admit();
  const { kvs, revision } = await second;
  expect(kvs).toHaveLength(KEYS + 1);
  expect(revision).toBe(subject.harness.store.currentRevision);
  // Begun twice, each page, and the end.
  expect(begun).toBeGreaterThan(3);
});

test('who gave up, or found no room, keeps nobody waiting', async () => {
  const controller = new AbortController();
  subject.between = () => controller.abort(new StoreError('canceled'));
  const given = subject.reads.range(range('k', 'l'), { signal: controller.signal, permit });
  const refused = subject.reads.range(range('k', 'l'), {
    signal,
    permit,
    reserve: () => Promise.reject(new StoreError('too-many-requests')),
  });
  expect(await Promise.allSettled([given, refused])).toMatchObject([
    { reason: { code: 'canceled' } },
    { reason: { code: 'too-many-requests' } },
  ]);
  expect((await subject.reads.range(range('k', 'l'), { signal, permit })).kvs).toHaveLength(KEYS);
});

test('an open range reads a page when it is asked for', async () => {
  const { plan, pages } = subject.reads.openRange(range('k', 'l', { limit: 50 }), { signal, permit });
  expect(plan).toMatchObject({ count: KEYS, more: true });
  let keys = 0;
  let pageCount = 0;
  for await (const page of pages) {
    keys += page.length;
    pageCount += 1;
  }
  expect(keys).toBe(50);
  expect(pageCount).toBeGreaterThan(2);
});

/** A check that is passed as long as `allowed` says so. */
class Gate {
  allowed = true;
  asked = 0;
  readonly permit = (): void => {
    this.asked += 1;
    if (!this.allowed) throw new StoreError('permission-denied');
  };
}

const LARGE: readonly [string, (reads: SlicedReads, gate: Gate) => Promise<unknown>][] = [
  ['range', async (reads, { permit }) => reads.range(range('k', 'l'), { signal, permit })],
  ['transaction', async (reads, { permit }) => reads.txn(txn([], [range('k', 'l')]), { signal, permit })],
];

test.each(LARGE)('a large %s is checked with every piece, and at the end', async (_name, read) => {
  const gate = new Gate();
  const asked: number[] = [];
  subject.between = () => asked.push(gate.asked);
  await read(subject.reads, gate);
  // Where it began, then before each piece; once more when all is there.
  expect(asked).toEqual(asked.map((_, piece) => piece + 2));
  expect(gate.asked).toBe(asked.length + 2);

  for (const last of [1, asked.length]) {
    const closing = new Gate();
    let turns = 0;
    subject.between = () => {
      turns += 1;
      closing.allowed = turns < last;
    };
    await expect(read(subject.reads, closing)).rejects.toMatchObject({ code: 'permission-denied' });
    expect(turns).toBe(last);
  }
  gateIsFirst(await Promise.allSettled([read(subject.reads, closed())]));
});

test('small reads and open ranges are checked before anything is read', async () => {
  const { permit } = closed();
  const reads: readonly (() => unknown)[] = [
    () => subject.reads.range(range('k00'), { signal, permit }),
    // Of a revision that is not there: who may not read hears nothing of that.
    () => subject.reads.range(range('k00', '', { revision: 10_000 }), { signal, permit }),
    () => subject.reads.txn(txn([], [range('k00')]), { signal, permit }),
    () => subject.reads.openRange(range('k', 'l'), { signal, permit }),
  ];
  gateIsFirst(await Promise.allSettled(reads.map(async (read) => read())));
});

test('a read that a compaction overtook is checked before it begins anew', async () => {
  const { harness } = subject;
  const gate = new Gate();
  subject.between = () => {
    harness.apply(put('k00', 'secret'));
    harness.compact(harness.store.currentRevision);
    gate.allowed = false;
  };
  const overtaken = subject.reads.range(range('k', 'l'), { signal, permit: gate.permit });
  await expect(overtaken).rejects.toMatchObject({ code: 'permission-denied' });
  expect(subject.turns).toBe(1);
});

test('an open range ends where its permission does', async () => {
  const gate = new Gate();
  const { pages } = subject.reads.openRange(range('k', 'l'), { signal, permit: gate.permit });
  const iterator = pages[Symbol.asyncIterator]();
  expect((await iterator.next()).value).not.toHaveLength(0);
  gate.allowed = false;
  await expect(iterator.next()).rejects.toMatchObject({ code: 'permission-denied' });
});

function closed(): Gate {
  const gate = new Gate();
  gate.allowed = false;
  return gate;
}

function gateIsFirst(results: readonly PromiseSettledResult<unknown>[]): void {
  for (const result of results) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'permission-denied' } });
  }
}
