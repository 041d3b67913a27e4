import { StoreError } from '../../../src/lib/errors.ts';
import { LOG_DIRECTORY } from '../../../src/member/storage/data-dir.ts';
import { inspectLog } from '../../../src/member/storage/wal-inspect.ts';
import type { Place } from '../place.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * A torn record is cut off once (P-39): a start that has cut one leaves nothing of it behind, and a log that lost no
 * power since is not found torn again. What is left over would pass for the next tear, and with it the member's right
 * to vote would be gone once more.
 */
export class TornTail {
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  /** A start has cut a torn record. @throws what the disk does not answer with a StoreError */
  async cut(place: Place): Promise<void> {
    const { process, name } = place;
    if (place.lost || process === null) return;
    if (!place.tailUncertain) {
      this.#fail(`${name} cuts a torn record off its log, which nothing can have torn`);
      return;
    }
    try {
      const found = await inspectLog({ disk: place.disk, directory: LOG_DIRECTORY });
      if (place.process !== process || place.lost) return;
      if (!found.ok || found.torn)
        this.#fail(`${name} has cut a torn record and leaves some of it in the log`);
    } catch (error) {
      // Segments come and go while the member runs.
      if (!(error instanceof StoreError)) throw error;
    }
  }

  #fail(message: string): void {
    this.#report(new Violation('torn-tail', message));
  }
}
