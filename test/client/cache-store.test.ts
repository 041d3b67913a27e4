import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CachedEntry, ENTRY_BYTES } from '../../src/client/cache-entry.ts';
import { CacheStore } from '../../src/client/cache-store.ts';
import { SortedEntries } from '../../src/client/sorted-entries.ts';
import type { KeyValue, WatchEvent } from '../../src/client/types.ts';

const BOUNDS = { keysMax: 1_000, bytesMax: 1_000_000 };

function keyValue(key: Buffer | string, value: string, modRevision: number): KeyValue {
  const rest = { createRevision: modRevision, modRevision, version: 1, lease: 0n };
  return { key: Buffer.from(key as string), value: Buffer.from(value), ...rest };
}

const event = (type: 'put' | 'delete', key: string, value: string, revision: number): WatchEvent => ({
  type,
  kv: keyValue(key, value, revision),
  prevKv: null,
});

describe('sorted entries', () => {
  test('behave as a sorted list, over many runs', () => {
    const order = fc.stringMatching(/^[a-d]{1,4}$/);
    const command = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('set' as const), order }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), order }) },
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(order, { maxLength: 340 }),
        fc.array(command, { maxLength: 300 }),
        order,
        fc.option(order),
        (first, commands, from, end) => {
          const sorted = first.toSorted().map((text) => ({ order: text }));
          const entries = new SortedEntries(sorted);
          const model = new Map(sorted.map((entry) => [entry.order, entry]));
          for (const { do: what, order: text } of commands) {
            if (what === 'set') {
              const entry = { order: text };
              entries.set(entry);
              model.set(text, entry);
            } else {
              entries.delete(text);
              model.delete(text);
            }
            expect(entries.find(text)).toBe(model.get(text));
          }
          const all = [...model.values()].toSorted((a, b) => (a.order < b.order ? -1 : 1));
          expect(entries.range('', null)).toEqual(all);
          expect(entries.size).toBe(all.length);
          const some = all.filter((entry) => entry.order >= from && (end === null || entry.order < end));
          expect(entries.range(from, end)).toEqual(some);
        },
      ),
    );
  });

  test('runs split as they grow, and go when they are empty', () => {
    const entries = new SortedEntries<{ readonly order: string }>();
    const orders = Array.from({ length: 5_000 }, (_, n) => String((n * 7_919) % 5_000).padStart(4, '0'));
    for (const order of orders) entries.set({ order });
    expect(entries.range('', null).map(({ order }) => order)).toEqual(orders.toSorted());
    for (const order of orders) entries.delete(order);
    expect(entries.size).toBe(0);
    expect(entries.range('', null)).toEqual([]);
    entries.set({ order: 'again' });
    expect(entries.find('again')).toEqual({ order: 'again' });
  });
});

describe('the store of a cache', () => {
  test('takes whole revisions, tells each key once, and leaves out what it has', () => {
    const store = new CacheStore(BOUNDS);
    store.replace(5, [store.entryOf(keyValue('a', '1', 3))]);
    const changes = store.apply([
      event('put', 'a', 'old', 4),
      event('put', 'b', '1', 6),
      event('put', 'b', '2', 7),
      event('delete', 'a', '', 7),
      event('put', 'c', '1', 7),
      event('delete', 'c', '', 8),
    ]);
    const told = changes.map((change) => [
      change.type,
      change.type === 'put' ? change.entry.text : change.before.text,
    ]);
    expect(told).toEqual([
      ['put', '2'],
      ['delete', '1'],
    ]);
    expect(store.revision).toBe(8);
    expect(store.range('', null).map(({ key }) => key)).toEqual(['b']);
    expect(() => store.apply([event('put', 'x', '', 10), event('put', 'y', '', 9)])).toThrow('in the order');
  });

  test('goes over to another state by what is different, and keeps the rest', () => {
    const store = new CacheStore(BOUNDS);
    const load = (revision: number, kvs: readonly KeyValue[]): string[] =>
      store
        .replace(
          revision,
          kvs.map((kv) => store.entryOf(kv)),
        )
        .map((change) => `${change.type} ${change.type === 'put' ? change.entry.key : change.before.key}`);
    load(5, [keyValue('a', '1', 2), keyValue('c', '1', 3), keyValue('d', '1', 4), keyValue('z', '1', 5)]);
    const kept = store.get('c');
    const changes = load(9, [keyValue('b', '1', 7), keyValue('c', '1', 3), keyValue('d', '2', 8)]);
    expect(changes).toEqual(['delete a', 'put b', 'put d', 'delete z']);
    expect(store.get('c')).toBe(kept);
    expect(['a', 'b', 'd', 'z'].map((key) => store.get(key)?.text)).toEqual([undefined, '1', '2', undefined]);
    expect(() => store.replace(8, [])).toThrow('never goes back');
    expect(load(9, [])).toHaveLength(3);
    expect(store.bytes).toBe(0);
  });

  test('counts keys, values and a share for each entry, and refuses more than it may hold', () => {
    const store = new CacheStore({ keysMax: 2, bytesMax: 2 * ENTRY_BYTES + 20 });
    store.apply([event('put', 'a', 'x'.repeat(8), 2)]);
    expect(store.bytes).toBe(ENTRY_BYTES + 9);
    store.apply([event('put', 'a', 'y', 3)]);
    expect(store.bytes).toBe(ENTRY_BYTES + 2);
    store.apply([event('put', 'ä', '', 4)]);
    // Two bytes, and a text beside them.
    expect(store.bytes).toBe(2 * ENTRY_BYTES + 2 + 2 + 2);
    expect(() => store.apply([event('put', 'a', 'x'.repeat(20), 5)])).toThrow('takes more than 1020 bytes');
    store.apply([event('delete', 'a', '', 6), event('delete', 'ä', '', 6)]);
    expect(store.bytes).toBe(0);
    const three = ['a', 'b', 'c'].map((key) => event('put', key, '', 7));
    expect(() => store.apply(three)).toThrow('has more than 2 keys');
  });

  test('an entry keeps nothing of the message that it came in', () => {
    const message = Buffer.alloc(1_000_000);
    const kv = { ...keyValue('a', '', 2), key: message.subarray(10, 13), value: message.subarray(500, 600) };
    const { value } = new CachedEntry(kv);
    expect(value).toHaveLength(100);
    expect(value.buffer.byteLength).toBe(100);
  });
});
