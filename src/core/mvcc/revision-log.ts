import { assert, VERIFY } from '../../lib/assert.ts';
import type { RowTable } from './row-table.ts';

/** Slots on one page of the log: what a compaction looks at without stopping. */
export const LOG_PAGE_SLOTS = 512;

/**
 * All rows in revision order, as slots of the row table (4 bytes a row). Appended at the end; compaction takes rows
 * out anywhere.
 */
export class RevisionLog {
  readonly #table: RowTable;
  /** No page is empty. */
  #pages: LogPage[] = [];

  constructor(table: RowTable) {
    this.#table = table;
  }

  /** The last row's slot, or null. */
  get last(): number | null {
    const page = this.#pages.at(-1);
    return page === undefined ? null : page.slots[page.size - 1]!;
  }

  /** The row must be newer than all others; the caller checks. */
  append(slot: number): void {
    let page = this.#pages.at(-1);
    if (page === undefined || page.size === LOG_PAGE_SLOTS) {
      page = { slots: new Uint32Array(LOG_PAGE_SLOTS), size: 0 };
      this.#pages.push(page);
    }
    page.slots[page.size++] = slot;
  }

  /** The slot of the row at exactly this revision, or null. */
  find(main: number, sub: number): number | null {
    const { page, at } = this.#seek(main, sub);
    const slot = this.#pages[page]?.slots[at];
    if (slot === undefined || at >= this.#pages[page]!.size) return null;
    return this.#table.main(slot) === main && this.#table.sub(slot) === sub ? slot : null;
  }

  /** Visits rows from (main, sub) on, in revision order, until `visit` returns false. It must not change the log. */
  visit(from: { readonly main: number; readonly sub: number }, visit: (slot: number) => boolean): void {
    let { page, at } = this.#seek(from.main, from.sub);
    for (; page < this.#pages.length; page++, at = 0) {
      const { slots, size } = this.#pages[page]!;
      for (; at < size; at++) {
        if (!visit(slots[at]!)) return;
      }
    }
  }

  /**
   * One slice of a compaction: asks `keep` for every row on the pages from `fromPage` on, whole pages until
   * `rowsMax` rows were asked or the next page begins beyond `main`, and takes the others out. Neighbouring pages
   * that fit on one are joined. Returns the page where the next slice begins, or null after the last one. Between
   * slices only appends are allowed.
   */
  compact(
    options: { readonly fromPage: number; readonly main: number; readonly rowsMax: number },
    keep: (slot: number) => boolean,
  ): number | null {
    const kept: LogPage[] = [];
    let read = options.fromPage;
    let asked = 0;
    while (read < this.#pages.length && asked < options.rowsMax && this.#firstMain(read) <= options.main) {
      const page = this.#pages[read++]!;
      asked += page.size;
      shrink(page, keep);
      if (page.size > 0) joinOrPush(kept, page);
    }
    const before = this.#pages.slice(0, options.fromPage);
    const after = this.#pages.slice(read);
    this.#pages = before.concat(kept, after);
    assert(!VERIFY || this.#pages.every((page) => page.size > 0), 'an empty page in the revision log');
    const next = before.length + kept.length;
    return next < this.#pages.length && this.#firstMain(next) <= options.main ? next : null;
  }

  #firstMain(page: number): number {
    return this.#table.main(this.#pages[page]!.slots[0]!);
  }

  /** The position of the first row at or after (main, sub). */
  #seek(main: number, sub: number): { page: number; at: number } {
    const pages = this.#pages;
    let low = 0;
    let high = pages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { slots, size } = pages[middle]!;
      if (this.#before(slots[size - 1]!, main, sub)) low = middle + 1;
      else high = middle;
    }
    const page = low;
    if (page === pages.length) return { page, at: 0 };
    const { slots, size } = pages[page]!;
    low = 0;
    high = size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#before(slots[middle]!, main, sub)) low = middle + 1;
      else high = middle;
    }
    return { page, at: low };
  }

  #before(slot: number, main: number, sub: number): boolean {
    const slotMain = this.#table.main(slot);
    return slotMain < main || (slotMain === main && this.#table.sub(slot) < sub);
  }
}

interface LogPage {
  readonly slots: Uint32Array;
  size: number;
}

function shrink(page: LogPage, keep: (slot: number) => boolean): void {
  const { slots } = page;
  let size = 0;
  for (let at = 0; at < page.size; at++) {
    const slot = slots[at]!;
    if (keep(slot)) slots[size++] = slot;
  }
  page.size = size;
}

function joinOrPush(pages: LogPage[], page: LogPage): void {
  const last = pages.at(-1);
  if (last === undefined || last.size + page.size > LOG_PAGE_SLOTS) {
    pages.push(page);
    return;
  }
  last.slots.set(page.slots.subarray(0, page.size), last.size);
  last.size += page.size;
}
