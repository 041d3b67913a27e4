import type { Entry } from '../../core/raft/messages.ts';
import type { Disk, DiskFile } from '../ports.ts';
import { pathIn } from './disk.ts';

/** The unit of zero-filling: small enough that a sync of the log never waits long behind one. */
export const FILL_SLICE_BYTES = 1024 * 1024;

const SEQ_DIGITS = 16;
const SEGMENT_NAME = /^(\d{16})\.wal$/;
/** The next segment while it is prepared. Left over by a crash, it is worthless and removed. */
export const SPARE_NAME = 'spare';

export function segmentName(firstSeq: number): string {
  return `${String(firstSeq).padStart(SEQ_DIGITS, '0')}.wal`;
}

/** The first sequence number of the segment with this file name, or null for any other file. */
export function segmentFirstSeq(name: string): number | null {
  const match = SEGMENT_NAME.exec(name);
  return match === null ? null : Number(match[1]);
}

/** What a segment is kept for. */
export interface SegmentExtent {
  /** The highest index among its entries that no later record replaced; 0 when it has none. */
  indexMax: number;
}

/** Accounts for a record in the last of `extents`, and for what it replaces in all of them. */
export function noteExtents(
  extents: readonly SegmentExtent[],
  record: { readonly snapshot: unknown; readonly entries: readonly Entry[] },
): void {
  const replacedFrom = record.snapshot !== null ? 1 : record.entries[0]?.index;
  if (replacedFrom === undefined) return;
  for (let i = extents.length - 1; i >= 0; i--) {
    const extent = extents[i]!;
    extent.indexMax = Math.min(extent.indexMax, replacedFrom - 1);
  }
  const active = extents.at(-1)!;
  active.indexMax = Math.max(active.indexMax, record.entries.at(-1)?.index ?? 0);
}

/** Writes zeros to `[from, to)` of a file in slices, syncing each. */
export async function fillZeros(
  file: DiskFile,
  range: { readonly from: number; readonly to: number },
): Promise<void> {
  const zeros = Buffer.alloc(Math.min(FILL_SLICE_BYTES, Math.max(0, range.to - range.from)));
  for (let offset = range.from; offset < range.to; offset += zeros.length) {
    await file.write(zeros.subarray(0, Math.min(zeros.length, range.to - offset)), offset);
    await file.datasync();
  }
}

/**
 * The segment after the active one, zero-filled in the background so that the log's fdatasync later finds its
 * blocks allocated and has no metadata to write.
 */
export class SpareSegment {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #segmentBytes: number;
  readonly #onFailure: (error: unknown) => void;
  #file: DiskFile | null = null;
  #filledBytes = 0;
  #filling: Promise<void> | null = null;
  #targetBytes = 0;

  /** @param onFailure a write failed; the log must stop */
  constructor(options: {
    readonly disk: Disk;
    readonly directory: string;
    readonly segmentBytes: number;
    readonly onFailure: (error: unknown) => void;
  }) {
    this.#disk = options.disk;
    this.#path = pathIn(options.directory, SPARE_NAME);
    this.#segmentBytes = options.segmentBytes;
    this.#onFailure = options.onFailure;
  }

  /** Lets the preparation go on, without waiting, until this share of the segment (0 to 1) is filled. */
  prepare(share: number): void {
    const target = Math.floor(Math.min(1, share) * this.#segmentBytes);
    this.#targetBytes = Math.max(this.#targetBytes, target);
    if (this.#filling !== null || this.#filledBytes >= this.#targetBytes) return;
    this.#filling = this.#fill()
      .catch(this.#onFailure)
      .finally(() => {
        this.#filling = null;
      });
  }

  /** Gives the file its name as a segment, as far as it is filled, and makes the name durable. */
  async take(names: { readonly directory: string; readonly name: string }): Promise<DiskFile> {
    this.#targetBytes = 0;
    if (this.#filling !== null) await this.#filling;
    const path = pathIn(names.directory, names.name);
    const file = this.#file ?? (await this.#disk.open(path, 'create'));
    if (this.#file !== null) await this.#disk.rename({ from: this.#path, to: path });
    this.#file = null;
    this.#filledBytes = 0;
    await this.#disk.syncDirectory(names.directory);
    return file;
  }

  async close(): Promise<void> {
    this.#targetBytes = 0;
    if (this.#filling !== null) await this.#filling;
    await this.#file?.close();
    this.#file = null;
  }

  async #fill(): Promise<void> {
    this.#file ??= await this.#disk.open(this.#path, 'create');
    const file = this.#file;
    while (this.#filledBytes < this.#targetBytes) {
      const to = Math.min(this.#segmentBytes, this.#filledBytes + FILL_SLICE_BYTES);
      await fillZeros(file, { from: this.#filledBytes, to });
      this.#filledBytes = to;
    }
  }
}
