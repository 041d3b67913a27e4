import type { KeyValue } from '../../src/core/mvcc/operations.ts';
import type { WatchDelivery, WatchOptions } from '../../src/core/watch/hub.ts';
import type { WatchHistory, WatchItem } from '../linearizability/history.ts';

/** What one client's watch was sent, as the validator of test/linearizability reads it. */
export class WatchLog {
  readonly #options: Omit<WatchOptions, 'startRevision'>;
  readonly #watches: { readonly startRevision: number; readonly items: WatchItem[] }[] = [];
  #deliveredThrough = 0;

  constructor(options: Omit<WatchOptions, 'startRevision'>) {
    this.#options = options;
  }

  /** A new watch, from this revision on. Going on at another member is not a new one. */
  begin(startRevision: number): void {
    this.#watches.push({ startRevision, items: [] });
  }

  delivered(delivery: WatchDelivery): void {
    this.#watches.at(-1)?.items.push(itemOf(delivery));
  }

  /** The newest watch was seen to have everything up to this revision. */
  deliveredThrough(revision: number): void {
    this.#deliveredThrough = revision;
  }

  histories(): readonly WatchHistory[] {
    const { key, rangeEnd, prevKv, noPut, noDelete } = this.#options;
    const filters = [...(noPut ? ['no-put' as const] : []), ...(noDelete ? ['no-delete' as const] : [])];
    return this.#watches.map(({ startRevision, items }, i) => {
      const deliveredThrough = i === this.#watches.length - 1 ? this.#deliveredThrough : 0;
      return { key, rangeEnd, startRevision, prevKv, filters, items, deliveredThrough };
    });
  }
}

function itemOf(delivery: WatchDelivery): WatchItem {
  switch (delivery.type) {
    case 'events': {
      const events = delivery.events.map(({ event: { type, row }, prevKv }) => ({
        type,
        kv: keyValue(row),
        prevKv,
      }));
      return { type: 'events', revision: delivery.revision, events, fragment: false };
    }
    case 'progress':
      return { type: 'progress', revision: delivery.revision };
    case 'canceled':
      return { type: 'canceled', compactRevision: Math.max(0, delivery.compactRevision) };
  }
}

function keyValue(row: WatchDeliveryRow): KeyValue {
  const { key, value, createRevision, version, lease, main: modRevision } = row;
  return { key, value, createRevision, version, lease, modRevision };
}

type WatchDeliveryRow = Extract<WatchDelivery, { type: 'events' }>['events'][number]['event']['row'];
