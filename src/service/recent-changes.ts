import type { ConfigurationEntry } from './configuration-index.ts';
import type { ChangeRecord } from './model.ts';
import { ServiceError } from './service-error.ts';

/** One change as it became known: everything that happened at its revision. */
export interface Change {
  readonly revision: number;
  readonly record: ChangeRecord;
  /** Each configuration that got another version; `before` null = there was none. */
  readonly configurations: readonly {
    readonly before: ConfigurationEntry | null;
    readonly after: ConfigurationEntry;
  }[];
}

/** How many changes are kept in memory, and how many bytes of configurations with them. */
export const RECENT_CHANGES_MAX = 10_000;
export const RECENT_BYTES_MAX = 32 * 1024 * 1024;

/** What one change takes in memory besides its configurations, about. */
const CHANGE_BYTES = 1_024;

/** The newest changes, for those that go on from a revision; beyond its bounds the oldest are forgotten. */
export class RecentChanges {
  #changes: Change[] = [];
  #first = 0;
  #bytes = 0;
  /** Everything after this revision is here. */
  #from = 0;

  /** Forgets everything; what is added from now on came after `revision`. */
  reset(revision: number): void {
    this.#changes = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#from = revision;
  }

  add(change: Change): void {
    this.#changes.push(change);
    this.#bytes += bytesOf(change);
    while (this.#changes.length - this.#first > RECENT_CHANGES_MAX || this.#bytes > RECENT_BYTES_MAX) {
      const oldest = this.#changes[this.#first]!;
      this.#first += 1;
      this.#bytes -= bytesOf(oldest);
      this.#from = oldest.revision;
    }
    // Those that are forgotten leave the array in one go, as soon as they are half of it.
    if (this.#first * 2 > this.#changes.length) {
      this.#changes = this.#changes.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Those after `revision`, oldest first. @throws ServiceError `gone` when some of them were forgotten */
  after(revision: number): readonly Change[] {
    if (revision < this.#from) {
      throw new ServiceError('gone', `changes after revision ${revision} are not in memory any more`);
    }
    let low = this.#first;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#changes[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#changes.slice(low);
  }
}

function bytesOf({ configurations }: Change): number {
  return configurations.reduce(
    (sum, { before, after }) => sum + (before?.bytes ?? 0) + after.bytes,
    CHANGE_BYTES,
  );
}
