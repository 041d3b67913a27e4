import type { ConfigurationEvent, EventBatch } from './event.ts';

/** The newest events. Beyond its bound the oldest are forgotten, whole revisions at a time. */
export class EventLog {
  readonly #max: number;
  #batches: EventBatch[] = [];
  #first = 0;
  #count = 0;
  /** Everything after this revision is here. */
  #from: number;

  constructor(from: number, eventsMax: number) {
    this.#from = from;
    this.#max = eventsMax;
  }

  /** Whether it has everything after the revision. */
  covers(revision: number): boolean {
    return revision >= this.#from;
  }

  /** Forgets everything; what is added from now on came after `revision`. */
  reset(revision: number): void {
    this.#batches = [];
    this.#first = 0;
    this.#count = 0;
    this.#from = revision;
  }

  /** @param batch of a later revision than all before */
  add(batch: EventBatch): void {
    if (batch.events.length === 0) return;
    this.#batches.push(batch);
    this.#count += batch.events.length;
    while (this.#count > this.#max) {
      const oldest = this.#batches[this.#first]!;
      this.#first += 1;
      this.#count -= oldest.events.length;
      this.#from = oldest.revision;
    }
    if (this.#first * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#first);
      this.#first = 0;
    }
  }

  /**
   * What is wanted of what came after a revision that is covered, oldest first: whole revisions, until there are
   * `eventsMax` of them.
   *
   * @returns `isWhole` = there is no more
   */
  after(
    revision: number,
    {
      wanted,
      eventsMax,
    }: { readonly wanted: (event: ConfigurationEvent) => boolean; readonly eventsMax: number },
  ): { readonly batches: readonly EventBatch[]; readonly isWhole: boolean } {
    const batches: EventBatch[] = [];
    let count = 0;
    for (let at = this.#firstAfter(revision); at < this.#batches.length; at += 1) {
      if (count >= eventsMax) return { batches, isWhole: false };
      const batch = this.#batches[at]!;
      const events = batch.events.filter(wanted);
      if (events.length > 0) batches.push({ revision: batch.revision, events });
      count += events.length;
    }
    return { batches, isWhole: true };
  }

  #firstAfter(revision: number): number {
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#batches[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
