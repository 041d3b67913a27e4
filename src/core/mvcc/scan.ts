import { assert } from '../../lib/assert.ts';
import type { KvEvent, RevisionEvents } from './event.ts';
import type { History } from './history.ts';

/** Bounds of one slice of history. A revision is never split, so the last one may go beyond them. */
export interface HistoryLimits {
  /** Rows looked at. */
  readonly rowsMax: number;
  /** Keys and values returned. */
  readonly bytesMax: number;
}

export interface HistorySlice {
  /** In revision order; revisions without a wanted row are left out. */
  readonly groups: readonly RevisionEvents[];
  /** Where to go on: the first revision not looked at; above the range's end when nothing is left. */
  readonly next: number;
}

/** Collects the events of `range`, inclusive at both ends, that `wanted` lets through by key (latin1 text). */
export function scanHistory(
  history: History,
  range: { readonly from: number; readonly to: number },
  limits: HistoryLimits,
  wanted: (key: string) => boolean = () => true,
): HistorySlice {
  assert(limits.rowsMax > 0 && limits.bytesMax > 0, 'a history slice without room');
  const { table, log } = history;
  const groups: RevisionEvents[] = [];
  let next = range.to + 1;
  let main = 0;
  let rows = 0;
  let bytes = 0;
  let events: KvEvent[] = [];
  log.visit({ main: range.from, sub: 0 }, (slot) => {
    const slotMain = table.main(slot);
    if (slotMain > range.to) return false;
    if (slotMain !== main) {
      if (rows >= limits.rowsMax || bytes >= limits.bytesMax) {
        next = slotMain;
        return false;
      }
      main = slotMain;
      events = [];
    }
    rows++;
    if (!wanted(table.key(slot))) return true;
    const row = history.load(slot);
    bytes += row.key.length + row.value.length;
    if (events.length === 0) groups.push({ revision: main, events });
    events.push(history.event(slot, row));
    return true;
  });
  return { groups, next };
}
