import type { WatchEvent } from './types.ts';

/**
 * Puts the events of a watch together that came in fragments. Fragments may part the events of one revision; so the
 * last revision of a fragment is held back until the next one shows that it was complete.
 */
export class WholeRevisions {
  #held: readonly WatchEvent[] = [];

  /** Whether nothing is held back. */
  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** @param more whether another fragment follows @returns the events whose revisions are complete, in order */
  take(events: readonly WatchEvent[], more: boolean): readonly WatchEvent[] {
    const all = this.#held.length === 0 ? events : [...this.#held, ...events];
    const last = all.at(-1)?.kv.modRevision;
    const cut = more ? all.findIndex(({ kv }) => kv.modRevision === last) : all.length;
    this.#held = cut < 0 ? [] : all.slice(cut);
    return cut < 0 ? [] : all.slice(0, cut);
  }
}
