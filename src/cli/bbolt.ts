import { type FileHandle, open } from 'node:fs/promises';

/**
 * Reads bbolt database files, which etcd keeps its data in and hands out as snapshots. Only what reading needs: the
 * two meta pages, branch and leaf pages, buckets inline or of their own. The format is little-endian throughout.
 */

/** The file is no bbolt database, or is damaged. */
export class DamagedFileError extends Error {
  override readonly name = 'DamagedFileError';
}

/** One entry of a bucket. */
export interface BoltEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

const PAGE_HEADER_BYTES = 16;
const ELEMENT_BYTES = 16;
const META_BYTES = 64;
const BUCKET_HEADER_BYTES = 16;
const MAGIC = 0xed0cdaed;
const VERSION = 2;
const FLAG = { branch: 1, leaf: 2 } as const;
const ELEMENT_IS_BUCKET = 1;
/** A tree of 64-bit page numbers is far lower; a cycle of damaged pages ends here. */
const DEPTH_MAX = 64;
const PAGE_BYTES = { min: 1024, max: 65_536 } as const;
/** Of one page with its overflow: a value is at most so long. */
const OVERFLOW_BYTES_MAX = 2 ** 31 - 1;

interface Meta {
  readonly pageBytes: number;
  readonly root: number;
  readonly txid: bigint;
}

/** An open database file; `close` gives it back. */
export class BoltFile {
  readonly #file: FileHandle;
  readonly #meta: Meta;
  readonly #fileBytes: number;

  private constructor(file: FileHandle, meta: Meta, fileBytes: number) {
    this.#file = file;
    this.#meta = meta;
    this.#fileBytes = fileBytes;
  }

  /** @throws DamagedFileError when neither meta page is whole */
  static async open(path: string): Promise<BoltFile> {
    const file = await open(path, 'r');
    try {
      return new BoltFile(file, await newestMeta(file), (await file.stat()).size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * The entries of a bucket at the top, in key order; buckets within it are left out.
   *
   * @throws DamagedFileError when there is no such bucket, or its pages are damaged
   */
  async *bucket(name: string): AsyncGenerator<BoltEntry> {
    const walk = { bytesLeft: this.#fileBytes };
    for await (const entry of this.#pages(this.#meta.root, walk)) {
      if (!entry.isBucket || entry.key.toString('latin1') !== name) continue;
      for await (const inner of this.#bucketEntries(entry.value, walk)) if (!inner.isBucket) yield inner;
      return;
    }
    throw new DamagedFileError(`there is no bucket "${name}"`);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** A bucket's value is where its root page is; page 0 is none: then the page follows. */
  #bucketEntries(value: Buffer, walk: Walk): AsyncIterable<Element> {
    check(value.length >= BUCKET_HEADER_BYTES, 'a bucket is too short');
    const root = pageNumber(value, 0);
    return root === 0 ? inline(value.subarray(BUCKET_HEADER_BYTES)) : this.#pages(root, walk);
  }

  async *#pages(number: number, walk: Walk, depth = 0): AsyncGenerator<Element> {
    check(depth < DEPTH_MAX, 'its tree is too deep');
    const page = await this.#page(number);
    walk.bytesLeft -= page.length;
    check(walk.bytesLeft >= 0, 'its tree is too deep, or a page stands in it twice');
    const flags = page.readUInt16LE(8);
    if (flags === FLAG.leaf) {
      yield* leafElements(page);
      return;
    }
    check(flags === FLAG.branch, 'a page of a tree is neither branch nor leaf');
    const count = page.readUInt16LE(10);
    check(PAGE_HEADER_BYTES + count * ELEMENT_BYTES <= page.length, 'a branch page is too short');
    for (let index = 0; index < count; index++) {
      yield* this.#pages(pageNumber(page, PAGE_HEADER_BYTES + index * ELEMENT_BYTES + 8), walk, depth + 1);
    }
  }

  /** A page with those that it overflows into. */
  async #page(number: number): Promise<Buffer> {
    const { pageBytes } = this.#meta;
    const first = await this.#read(number * pageBytes, pageBytes);
    check(pageNumber(first, 0) === number, 'a page has another number than its place');
    const overflow = first.readUInt32LE(12);
    if (overflow === 0) return first;
    const bytes = (overflow + 1) * pageBytes;
    check(bytes <= Math.min(OVERFLOW_BYTES_MAX, this.#fileBytes), 'a page is too long');
    return this.#read(number * pageBytes, bytes);
  }

  async #read(at: number, bytes: number): Promise<Buffer> {
    return readExactly(this.#file, at, bytes);
  }
}

/** One way through a tree: no page of the file is met twice. */
interface Walk {
  bytesLeft: number;
}

interface Element extends BoltEntry {
  readonly isBucket: boolean;
}

async function* inline(page: Buffer): AsyncGenerator<Element> {
  check(page.length >= PAGE_HEADER_BYTES, 'an inline bucket is too short');
  yield* leafElements(page);
}

function* leafElements(page: Buffer): Generator<Element> {
  const count = page.readUInt16LE(10);
  check(PAGE_HEADER_BYTES + count * ELEMENT_BYTES <= page.length, 'a leaf page is too short');
  for (let index = 0; index < count; index++) {
    const at = PAGE_HEADER_BYTES + index * ELEMENT_BYTES;
    const keyAt = at + page.readUInt32LE(at + 4);
    const valueAt = keyAt + page.readUInt32LE(at + 8);
    const end = valueAt + page.readUInt32LE(at + 12);
    check(end <= page.length, 'an entry leaves its page');
    yield {
      isBucket: (page.readUInt32LE(at) & ELEMENT_IS_BUCKET) !== 0,
      key: page.subarray(keyAt, valueAt),
      value: page.subarray(valueAt, end),
    };
  }
}

/** Of the two meta pages the whole one with the later transaction: the other is the one before, or torn. */
async function newestMeta(file: FileHandle): Promise<Meta> {
  const first = await metaAt(file, 0);
  // The first may be torn, page size and all: then the second is where the usual size puts it.
  const sizes = first === null ? [4096, 8192, 16_384, 65_536] : [first.pageBytes];
  let newest = first;
  for (const size of sizes) {
    const second = await metaAt(file, size);
    if (second !== null && (newest === null || second.txid > newest.txid)) newest = second;
  }
  if (newest === null)
    throw new DamagedFileError('the file is no bbolt database: neither meta page is whole');
  return newest;
}

async function metaAt(file: FileHandle, at: number): Promise<Meta | null> {
  const bytes = Buffer.alloc(META_BYTES);
  const { bytesRead } = await file.read(bytes, 0, META_BYTES, at + PAGE_HEADER_BYTES);
  if (bytesRead < META_BYTES) return null;
  if (bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(4) !== VERSION) return null;
  if (bytes.readBigUInt64LE(56) !== fnv1a(bytes.subarray(0, 56))) return null;
  const pageBytes = bytes.readUInt32LE(8);
  if (pageBytes < PAGE_BYTES.min || pageBytes > PAGE_BYTES.max) return null;
  return { pageBytes, root: pageNumber(bytes, 16), txid: bytes.readBigUInt64LE(48) };
}

async function readExactly(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done);
    check(bytesRead > 0, 'the file ends within a page');
    done += bytesRead;
  }
  return bytes;
}

/** Page numbers times page sizes are places in a file. */
function pageNumber(bytes: Buffer, at: number): number {
  const number = bytes.readBigUInt64LE(at);
  check(number < 2n ** 36n, 'a page is beyond any file');
  return Number(number);
}

/** Fowler, Noll and Vo's hash, 1a, of 64 bits. */
function fnv1a(bytes: Buffer): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new DamagedFileError(`the file is damaged: ${what}`);
}
