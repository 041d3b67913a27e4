import { StoreError } from '../../../src/lib/errors.ts';
import type { Disk } from '../../../src/member/ports.ts';
import { LOG_DIRECTORY } from '../../../src/member/storage/data-dir.ts';
import { pathIn } from '../../../src/member/storage/disk.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { openLog } from '../../../src/member/storage/wal.ts';
import {
  checkRecord,
  decodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
} from '../../../src/member/storage/wal-format.ts';
import { listSegments } from '../../../src/member/storage/wal-recovery.ts';
import type { Prng } from '../prng.ts';
import { type Report, Violation } from '../violation.ts';

interface Found {
  readonly path: string;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly seq: number;
}

/**
 * Corruption is told from a torn tail (RELIABILITY S-invariants, P-39): a log in which one bit of a durable record is
 * wrong does not open, not even with that record and all behind it cut off. Tried on a copy of a stopped member's log,
 * so that it costs the run no member.
 */
export class RottenLog {
  triedCount = 0;
  readonly #random: Prng;
  readonly #report: Report;
  readonly #segmentBytes: number;

  constructor(parts: { readonly random: Prng; readonly report: Report; readonly segmentBytes: number }) {
    this.#random = parts.random;
    this.#report = parts.report;
    this.#segmentBytes = parts.segmentBytes;
  }

  /** Lets a bit rot in a copy of the log on `disk`, which no process has open, and opens the copy. */
  async try(who: string, disk: Disk): Promise<void> {
    const copy = new MemoryDisk({ root: `${who}-copy:` });
    const durable = await this.#copy(disk, copy);
    if (durable.length === 0) return;
    this.triedCount += 1;
    const { path, offset, sizeBytes, seq } = this.#random.pick(durable);
    const bit = 8 * offset + this.#random.integer(8 * sizeBytes);
    copy.flipBit(path, bit);
    const failure = await openLog({
      disk: copy,
      directory: LOG_DIRECTORY,
      segmentBytes: this.#segmentBytes,
      create: false,
      incarnation: Number.MAX_SAFE_INTEGER,
      random: this.#random,
    }).then(
      () => 'opens all the same',
      (error: unknown) =>
        error instanceof StoreError && error.code === 'data-dir-corrupt'
          ? null
          : `fails otherwise: ${String(error)}`,
    );
    if (failure === null) return;
    const what = `with bit ${bit} of ${path} turned over, in record ${seq}, which a later one knows to be durable,`;
    this.#report(new Violation('rotten-log', `${what} the log of ${who} ${failure}`));
  }

  /** @returns the records that a later record says were durable */
  async #copy(from: Disk, to: MemoryDisk): Promise<readonly Found[]> {
    const found: Found[] = [];
    let durableSeq = 0;
    await to.makeDirectory(LOG_DIRECTORY);
    for (const name of await listSegments(from, LOG_DIRECTORY)) {
      const path = pathIn(LOG_DIRECTORY, name);
      const content = await from.readFile(path);
      const file = await to.open(path, 'create');
      await file.write(content, 0);
      const header = decodeSegmentHeader(content);
      let offset = SEGMENT_HEADER_BYTES;
      while (header !== null) {
        const record = checkRecord(content, offset, header.tag);
        // What an earlier cut left behind has lower numbers.
        if (record === null || record.seq !== (found.at(-1)?.seq ?? record.seq - 1) + 1) break;
        found.push({ path, offset, sizeBytes: record.sizeBytes, seq: record.seq });
        durableSeq = record.durableSeq;
        offset += record.sizeBytes;
      }
    }
    return found.filter(({ seq }) => seq <= durableSeq);
  }
}
