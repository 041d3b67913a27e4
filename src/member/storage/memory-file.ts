import type { Random } from '../ports.ts';

/** The unit a disk writes whole. */
export const SECTOR_BYTES = 512;
/** Versions of one un-synced sector that a crash may bring back, besides the durable one. */
const VERSIONS_MAX = 4;

/** What was written to a sector since it was last durable, oldest first. */
interface UnsyncedSector {
  readonly versions: Buffer[];
  /** False after a failed sync: the kernel holds the page for clean and no later sync writes it. */
  dirty: boolean;
}

interface ByteRange {
  readonly from: number;
  readonly to: number;
}
const ALL_BYTES: ByteRange = { from: 0, to: Infinity };

/**
 * One file of a memory disk: the durable image, and over it the sectors written since. Sectors that only ever
 * were filled with zeros take no memory, so that preallocated files are cheap.
 */
export class MemoryFile {
  readonly #durable = new Map<number, Buffer>();
  readonly #unsynced = new Map<number, UnsyncedSector>();
  #durableSizeBytes = 0;
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  write(data: Buffer, offset: number): void {
    if (isZero(data)) this.#writeZeros(offset, data.length);
    else this.#writeSectors(data, offset);
    this.#sizeBytes = Math.max(this.#sizeBytes, offset + data.length);
  }

  #writeSectors(data: Buffer, offset: number): void {
    let done = 0;
    while (done < data.length) {
      const sector = Math.floor((offset + done) / SECTOR_BYTES);
      const start = (offset + done) % SECTOR_BYTES;
      const length = Math.min(SECTOR_BYTES - start, data.length - done);
      this.#patch(sector, start, data.subarray(done, done + length));
      done += length;
    }
  }

  /** Zeros change only sectors that hold something; preallocating a file touches none. */
  #writeZeros(offset: number, length: number): void {
    const present = new Set([...this.#durable.keys(), ...this.#unsynced.keys()]);
    for (const sector of present) {
      const from = Math.max(offset, sector * SECTOR_BYTES);
      const to = Math.min(offset + length, (sector + 1) * SECTOR_BYTES);
      if (from < to) this.#patch(sector, from - sector * SECTOR_BYTES, Buffer.alloc(to - from));
    }
  }

  read(offset: number, length: number): Buffer {
    const end = Math.min(offset + length, this.#sizeBytes);
    const result = Buffer.alloc(Math.max(0, end - offset));
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) {
      const content = this.#current(sector);
      if (content === undefined) continue;
      const at = sector * SECTOR_BYTES - offset;
      content.copy(result, Math.max(0, at), Math.max(0, -at));
    }
    return result;
  }

  truncate(sizeBytes: number): void {
    const present = new Set([...this.#durable.keys(), ...this.#unsynced.keys()]);
    for (const sector of present) {
      const keep = Math.max(0, sizeBytes - sector * SECTOR_BYTES);
      if (keep < SECTOR_BYTES) this.#patch(sector, keep, Buffer.alloc(SECTOR_BYTES - keep));
    }
    this.#sizeBytes = sizeBytes;
  }

  /** Of the sectors that any byte of `range` is in; of all without one. */
  datasync(range: ByteRange = ALL_BYTES): void {
    for (const [sector, { versions, dirty }] of this.#unsynced) {
      const isWithin = (sector + 1) * SECTOR_BYTES > range.from && sector * SECTOR_BYTES < range.to;
      if (!dirty || !isWithin) continue;
      this.#store(sector, versions.at(-1)!);
      this.#unsynced.delete(sector);
    }
    this.#durableSizeBytes = this.#sizeBytes;
  }

  /** A sync failed: what it should have written can still be read, and no later sync makes it durable. */
  loseUnsynced(): void {
    for (const sector of this.#unsynced.values()) sector.dirty = false;
  }

  flipBit(bit: number): void {
    const at = Math.floor(bit / 8);
    const sector = Math.floor(at / SECTOR_BYTES);
    const flip = (content: Buffer): void => {
      content[at % SECTOR_BYTES]! ^= 1 << (bit % 8);
    };
    if (!this.#durable.has(sector)) this.#durable.set(sector, Buffer.alloc(SECTOR_BYTES));
    flip(this.#durable.get(sector)!);
    for (const version of this.#unsynced.get(sector)?.versions ?? []) flip(version);
  }

  /** Settles every un-synced sector, and the size, at random; the result is durable. */
  crash(random: Random): void {
    const loseAll = random.integer(4) === 0;
    for (const [sector, { versions }] of [...this.#unsynced].toSorted(([a], [b]) => a - b)) {
      if (loseAll) continue;
      const choice = random.integer(versions.length + 2);
      if (choice < versions.length) this.#store(sector, versions[choice]!);
      else if (choice > versions.length && !this.#durable.has(sector)) this.#store(sector, garbage(random));
    }
    this.#unsynced.clear();
    if (this.#sizeBytes > this.#durableSizeBytes && !loseAll) {
      this.#durableSizeBytes += random.integer(this.#sizeBytes - this.#durableSizeBytes + 1);
    } else if (this.#sizeBytes < this.#durableSizeBytes && random.integer(2) === 0) {
      this.#durableSizeBytes = this.#sizeBytes;
    }
    this.#sizeBytes = this.#durableSizeBytes;
    this.truncate(this.#sizeBytes);
    this.datasync();
  }

  #current(sector: number): Buffer | undefined {
    return this.#unsynced.get(sector)?.versions.at(-1) ?? this.#durable.get(sector);
  }

  #patch(sector: number, start: number, data: Buffer): void {
    const before = this.#current(sector);
    const next = before === undefined ? Buffer.alloc(SECTOR_BYTES) : Buffer.from(before);
    data.copy(next, start);
    const unsynced = this.#unsynced.get(sector);
    if (unsynced === undefined) {
      this.#unsynced.set(sector, { versions: [next], dirty: true });
      return;
    }
    unsynced.versions.push(next);
    if (unsynced.versions.length > VERSIONS_MAX) unsynced.versions.shift();
    unsynced.dirty = true;
  }

  #store(sector: number, content: Buffer): void {
    this.#durable.set(sector, content);
  }
}

/** Compared with in slices; as long as what a file is usually preallocated by. */
const ZEROS = Buffer.alloc(64 * 1024);

function isZero(data: Buffer): boolean {
  for (let at = 0; at < data.length; at += ZEROS.length) {
    const length = Math.min(ZEROS.length, data.length - at);
    if (ZEROS.compare(data, at, at + length, 0, length) !== 0) return false;
  }
  return true;
}

function garbage(random: Random): Buffer {
  const content = Buffer.allocUnsafe(SECTOR_BYTES);
  // Not only noise: a run of one byte looks more like the inside of a file than random bytes do.
  const noise = random.integer(2) === 0;
  const byte = random.integer(256);
  for (let i = 0; i < SECTOR_BYTES; i++) content[i] = noise ? random.integer(256) : byte;
  return content;
}
