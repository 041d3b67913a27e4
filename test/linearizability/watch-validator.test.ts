import { describe, expect, test } from 'vitest';
import type { KeyValue } from '../../src/core/mvcc/operations.ts';
import { Prng } from '../core/raft/prng.ts';
import type { CommittedRevision, HistoryEvent, WatchHistory, WatchItem } from './history.ts';
import { inSpan, nameOf, spanOf } from './kv-model.ts';
import { randomHistory } from './random-history.ts';
import { type WatchContext, watchViolations } from './watch-validator.ts';

const EMPTY = Buffer.alloc(0);
const ALL = Buffer.from([0]);

/** Key `a` three times, `b` once; revision 4 puts `a` and deletes it again, as nested transactions can. */
const COMMITTED: readonly CommittedRevision[] = [
  { revision: 2, events: [put('a', 2, { create: 2, version: 1 })] },
  { revision: 3, events: [put('b', 3, { create: 3, version: 1 }), put('a', 3, { create: 2, version: 2 })] },
  { revision: 4, events: [put('a', 4, { create: 2, version: 3 }), deletion('a', 4)] },
  { revision: 5, events: [put('a', 5, { create: 5, version: 1 })] },
];
const [[A2], [B3, A3], [A4, D4], [A5]] = COMMITTED.map(({ events }) => events) as unknown as [
  [HistoryEvent],
  [HistoryEvent, HistoryEvent],
  [HistoryEvent, HistoryEvent],
  [HistoryEvent],
];
const CONTEXT: WatchContext = { committed: COMMITTED, compactRevision: -1, headersPromise: true };
const WHOLE: WatchHistory = {
  key: Buffer.from('a'),
  rangeEnd: ALL,
  startRevision: 2,
  prevKv: false,
  filters: [],
  deliveredThrough: 5,
  items: [
    { type: 'created', revision: 3 },
    sent([A2]),
    sent([B3, A3, A4, D4]),
    promise(4),
    sent([A5]),
    promise(5),
  ],
};

describe('what is right', () => {
  test('everything, in deliveries of one or more revisions', () => {
    expect(rules(WHOLE)).toEqual([]);
  });

  test('one key, from the middle', () => {
    expect(
      rules({ ...WHOLE, key: Buffer.from('b'), rangeEnd: EMPTY, startRevision: 3, items: [sent([B3])] }),
    ).toEqual([]);
    expect(rules({ ...WHOLE, startRevision: 5, items: [sent([A5])] })).toEqual([]);
  });

  test('from now on', () => {
    const created = { type: 'created', revision: 4 } as const;
    expect(rules({ ...WHOLE, startRevision: 0, items: [created, sent([A5])] })).toEqual([]);
    expect(rules({ ...WHOLE, startRevision: 0, items: [sent([A4, D4]), sent([A5])] })).toEqual([]);
  });

  test('without puts, without deletes', () => {
    expect(rules({ ...WHOLE, filters: ['no-put'], items: [sent([D4])] })).toEqual([]);
    const items = [sent([A2]), sent([B3, A3]), sent([A4]), sent([A5])];
    expect(rules({ ...WHOLE, filters: ['no-delete'], items })).toEqual([]);
  });

  test('a revision in fragments', () => {
    const items = [
      sent([A2, B3], { revision: 3, fragment: true }),
      sent([A3], { revision: 3 }),
      sent([A4, D4]),
      sent([A5]),
    ];
    expect(rules({ ...WHOLE, items })).toEqual([]);
  });

  test('keys as they were before, within a revision too, but for what is compacted', () => {
    const items = withPrevious(WHOLE.items);
    expect(rules({ ...WHOLE, prevKv: true, items })).toEqual([]);
    const without = items.map((item) =>
      item.type === 'events'
        ? { ...item, events: item.events.map((event) => ({ ...event, prevKv: null })) }
        : item,
    );
    expect(rules({ ...WHOLE, prevKv: true, items: without })).toEqual(['prev kv']);
    expect(rules({ ...WHOLE, prevKv: true, items: without }, { compactRevision: 4 })).toEqual([]);
  });

  test('a watch that is canceled because what comes next is compacted', () => {
    const items: WatchItem[] = [sent([A2]), { type: 'canceled', compactRevision: 4 }];
    expect(rules({ ...WHOLE, items }, { compactRevision: 4 })).toEqual([]);
    expect(rules({ ...WHOLE, items }, { compactRevision: 3 })).toEqual(['resumable']);
    expect(rules({ ...WHOLE, items: [sent([A2, B3, A3]), items[1]!] }, { compactRevision: 4 })).toEqual([
      'resumable',
    ]);
    expect(rules({ ...WHOLE, items: [...items, promise(5)] }, { compactRevision: 4 })).toContain('handshake');
  });
});

describe('what is wrong', () => {
  const cases: readonly (readonly [string, string, readonly WatchItem[]])[] = [
    ['a revision is lost', 'reliable', [sent([A2]), sent([A4, D4]), sent([A5])]],
    ['the last revision is lost', 'reliable', [sent([A2]), sent([B3, A3, A4, D4])]],
    ['the first revision is lost', 'resumable', [sent([B3, A3, A4, D4]), sent([A5])]],
    ['an event within a revision is lost', 'atomic', [sent([A2]), sent([B3]), sent([A4, D4]), sent([A5])]],
    [
      'the first event of a revision is lost',
      'ordered',
      [sent([A2]), sent([A3]), sent([A4, D4]), sent([A5])],
    ],
    ['a revision is split', 'atomic', [sent([A2]), sent([B3]), sent([A3]), sent([A4, D4]), sent([A5])]],
    ['a fragment is the last', 'atomic', [sent([A2]), sent([B3, A3, A4], { revision: 4, fragment: true })]],
    ['a revision comes again', 'unique', [sent([A2]), sent([A2]), sent([B3, A3, A4, D4]), sent([A5])]],
    ['an event comes again', 'unique', [sent([A2]), sent([B3, B3, A3, A4, D4]), sent([A5])]],
    ['revisions change places', 'ordered', [sent([A2]), sent([A4, D4]), sent([B3, A3]), sent([A5])]],
    ['events change places', 'ordered', [sent([A2]), sent([A3, B3]), sent([A4, D4]), sent([A5])]],
    [
      'a value is not the committed one',
      'content',
      [sent([withValue(A2)]), sent([B3, A3, A4, D4]), sent([A5])],
    ],
    [
      'an event of a revision that never was',
      'content',
      [sent([A2, B3, A3, A4, D4, A5, put('a', 6, { create: 5, version: 2 })])],
    ],
    ['a promise is broken', 'bookmarkable', [sent([A2]), promise(3), sent([B3, A3, A4, D4]), sent([A5])]],
    [
      'a promise is taken back',
      'bookmarkable',
      [sent([A2]), sent([B3, A3, A4, D4]), promise(4), promise(3), sent([A5])],
    ],
    [
      'a promise is older than what was sent',
      'bookmarkable',
      [sent([A2]), sent([B3, A3, A4, D4]), promise(3), sent([A5])],
    ],
    ['a promise of what never was', 'bookmarkable', [...WHOLE.items, promise(6)]],
    [
      'a header promises more than was sent',
      'bookmarkable',
      [sent([A2], { revision: 3 }), sent([B3, A3, A4, D4]), sent([A5])],
    ],
    [
      'a header is older than its events',
      'content',
      [sent([A2]), sent([B3, A3, A4, D4], { revision: 3 }), sent([A5])],
    ],
    [
      'created comes late',
      'handshake',
      [sent([A2]), { type: 'created', revision: 2 }, ...WHOLE.items.slice(2)],
    ],
    ['a delivery is empty', 'content', [...WHOLE.items, sent([], { revision: 5 })]],
    [
      'a key as it was before, though nobody asked',
      'prev kv',
      [sent([{ ...A2, prevKv: A5.kv }]), ...WHOLE.items.slice(2)],
    ],
  ];

  test.each(cases)('%s', (_what, rule, items) => {
    expect(rules({ ...WHOLE, items })).toContain(rule);
  });

  test('a watch from the future is promised the past', () => {
    expect(rules({ ...WHOLE, startRevision: 5, items: [promise(2), sent([A5])] })).toEqual(['bookmarkable']);
  });

  test('a watch is sent what came before its start', () => {
    expect(rules({ ...WHOLE, startRevision: 5, items: [sent([A4, D4]), sent([A5])] })).toEqual(['resumable']);
  });

  test('a watch from now on misses what comes right after it was made', () => {
    const created = { type: 'created', revision: 3 } as const;
    expect(rules({ ...WHOLE, startRevision: 0, items: [created, sent([A5])] })).toEqual(['resumable']);
  });

  test('keys and kinds of events that were not asked for', () => {
    expect(
      rules({ ...WHOLE, key: Buffer.from('b'), rangeEnd: EMPTY, items: [sent([B3]), sent([A4])] }),
    ).toContain('filter');
    expect(rules({ ...WHOLE, key: Buffer.from('b'), rangeEnd: EMPTY, items: [sent([B3, A3])] })).toContain(
      'filter',
    );
    const ofB = { ...WHOLE, key: Buffer.from('b'), rangeEnd: EMPTY };
    expect(rules({ ...ofB, items: [sent([A2]), sent([B3]), sent([A5])] })).toEqual(['filter']);
    expect(rules({ ...ofB, items: [sent([B3]), sent([A5])] })).toEqual(['filter']);
    expect(rules({ ...WHOLE, filters: ['no-put'], items: [sent([A4, D4])] })).toContain('filter');
  });

  test('a key as it was at another time', () => {
    const items = withPrevious(WHOLE.items);
    const wrong = items.map((item) =>
      item.type === 'events' && item.events[0] === A5 ? item : replacePrevious(item, A2.kv),
    );
    expect(rules({ ...WHOLE, prevKv: true, items: wrong })).toEqual(['prev kv']);
  });

  test('an event does not say whether it made its key', () => {
    const odd = put('a', 2, { create: 2, version: 2 });
    const committed = COMMITTED.with(0, { revision: 2, events: [odd] });
    const items = [sent([odd]), ...WHOLE.items.slice(2)];
    expect(rules({ ...WHOLE, items }, { committed })).toEqual(['content']);
  });
});

describe('random watches', () => {
  test('are right as they are, and wrong when an event is lost, repeated or moved', () => {
    let mutated = 0;
    for (let seed = 1; seed <= 120; seed++) {
      const { committed } = randomHistory({ seed, ops: 60, clients: 3, unknownPercent: 0, tables: true });
      const random = new Prng(seed);
      const context = { committed, compactRevision: -1, headersPromise: true };
      const watch = randomWatch(committed, random);
      expect(watchViolations(watch, context), `seed ${seed}`).toEqual([]);
      for (const items of mutationsOf(watch.items, random)) {
        mutated++;
        expect(watchViolations({ ...watch, items }, context), `seed ${seed}`).not.toEqual([]);
      }
    }
    expect(mutated).toBeGreaterThan(200);
  });
});

function randomWatch(committed: readonly CommittedRevision[], random: Prng): WatchHistory {
  const last = committed.at(-1)!.revision;
  const request = {
    key: Buffer.from(random.pick(['a', 'b', 'c'])),
    rangeEnd: random.pick([EMPTY, ALL]),
    startRevision: 1 + random.below(last),
    prevKv: random.chance(50),
    filters: random.pick([[], ['no-put'], ['no-delete']] as const),
  };
  const items: WatchItem[] = [{ type: 'created', revision: 1 }];
  let batch: HistoryEvent[] = [];
  for (const { revision, events } of withHistory(committed, request.prevKv)) {
    if (revision < request.startRevision) continue;
    batch.push(...events.filter((event) => wants(request, event)));
    if (!random.chance(50) && revision < last) continue;
    if (batch.length > 0) items.push({ type: 'events', revision, events: batch, fragment: false });
    else if (random.chance(50)) items.push(promise(revision));
    batch = [];
  }
  return { ...request, items, deliveredThrough: last };
}

function wants(watch: Pick<WatchHistory, 'key' | 'rangeEnd' | 'filters'>, event: HistoryEvent): boolean {
  return inSpan(nameOf(event.kv.key), spanOf(watch)) && !watch.filters.includes(`no-${event.type}`);
}

function withHistory(committed: readonly CommittedRevision[], prevKv: boolean): CommittedRevision[] {
  const now = new Map<string, KeyValue>();
  return committed.map(({ revision, events }) => ({
    revision,
    events: events.map((event) => {
      const before = now.get(nameOf(event.kv.key)) ?? null;
      if (event.type === 'put') now.set(nameOf(event.kv.key), event.kv);
      else now.delete(nameOf(event.kv.key));
      return prevKv ? { ...event, prevKv: before } : event;
    }),
  }));
}

/** One event lost, one twice, two neighbours exchanged; each in another place. */
function mutationsOf(items: readonly WatchItem[], random: Prng): readonly (readonly WatchItem[])[] {
  const places = items.flatMap((item, place) => (item.type === 'events' ? [place] : []));
  if (places.length === 0) return [];
  const change = (
    edit: (events: readonly HistoryEvent[], at: number) => readonly HistoryEvent[],
  ): WatchItem[] => {
    const place = random.pick(places);
    return items.flatMap((item, index) => {
      if (index !== place || item.type !== 'events') return [item];
      const events = edit(item.events, random.below(item.events.length));
      return events.length > 0 ? [{ ...item, events }] : [];
    });
  };
  const result = [
    change((events, at) => events.toSpliced(at, 1)),
    change((events, at) => events.toSpliced(at, 0, events[at]!)),
  ];
  const pair = items.findIndex((item) => item.type === 'events' && item.events.length > 1);
  if (pair >= 0) {
    const item = items[pair] as Extract<WatchItem, { type: 'events' }>;
    const [first, second, ...rest] = item.events;
    result.push(items.with(pair, { ...item, events: [second!, first!, ...rest] }) as WatchItem[]);
  }
  return result;
}

function put(
  key: string,
  modRevision: number,
  { create, version }: { readonly create: number; readonly version: number },
): HistoryEvent {
  const value = Buffer.from(`${key}${modRevision}`);
  const kv = { key: Buffer.from(key), createRevision: create, modRevision, version, value, lease: 0n };
  return { type: 'put', kv, prevKv: null };
}

function deletion(key: string, modRevision: number): HistoryEvent {
  const kv = { key: Buffer.from(key), createRevision: 0, modRevision, version: 0, value: EMPTY, lease: 0n };
  return { type: 'delete', kv, prevKv: null };
}

function withValue(event: HistoryEvent): HistoryEvent {
  return { ...event, kv: { ...event.kv, value: Buffer.from('other') } };
}

function sent(
  events: readonly HistoryEvent[],
  { revision, fragment = false }: { readonly revision?: number; readonly fragment?: boolean } = {},
): WatchItem {
  return { type: 'events', revision: revision ?? events.at(-1)!.kv.modRevision, events, fragment };
}

function promise(revision: number): WatchItem {
  return { type: 'progress', revision };
}

const BEFORE: ReadonlyMap<HistoryEvent, KeyValue> = new Map([
  [A3, A2.kv],
  [A4, A3.kv],
  [D4, A4.kv],
]);

function withPrevious(items: readonly WatchItem[]): readonly WatchItem[] {
  return items.map((item) => {
    if (item.type !== 'events') return item;
    return { ...item, events: item.events.map((event) => ({ ...event, prevKv: BEFORE.get(event) ?? null })) };
  });
}

function replacePrevious(item: WatchItem, prevKv: KeyValue): WatchItem {
  return item.type === 'events'
    ? { ...item, events: item.events.map((event) => ({ ...event, prevKv })) }
    : item;
}

function rules(watch: WatchHistory, more: Partial<WatchContext> = {}): string[] {
  return [...new Set(watchViolations(watch, { ...CONTEXT, ...more }).map(({ rule }) => rule))];
}
