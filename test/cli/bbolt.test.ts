import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BoltFile, DamagedFileError } from '../../src/cli/bbolt.ts';

const PAGE = 4096;
const LEAF = 2;
const BRANCH = 1;
const META = 4;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-bbolt-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

interface Entry {
  readonly key: string;
  readonly value: Buffer;
  readonly isBucket?: boolean;
}

/** A page as bbolt lays it out: header, elements, then keys and values in their order. */
function leaf(number: number, entries: readonly Entry[], pages = 1): Buffer {
  const parts = entries.flatMap(({ key, value }) => [Buffer.from(key), value]);
  const page = header(number, { flags: LEAF, count: entries.length, pages });
  let dataAt = 16 + 16 * entries.length;
  entries.forEach(({ key, value, isBucket }, index) => {
    const at = 16 + 16 * index;
    page.writeUInt32LE(isBucket ? 1 : 0, at);
    page.writeUInt32LE(dataAt - at, at + 4);
    page.writeUInt32LE(key.length, at + 8);
    page.writeUInt32LE(value.length, at + 12);
    dataAt += key.length + value.length;
  });
  Buffer.concat(parts).copy(page, 16 + 16 * entries.length);
  return page;
}

function branch(number: number, children: readonly number[]): Buffer {
  const page = header(number, { flags: BRANCH, count: children.length, pages: 1 });
  children.forEach((child, index) => {
    page.writeBigUInt64LE(BigInt(child), 16 + 16 * index + 8);
  });
  return page;
}

function header(number: number, rest: { flags: number; count: number; pages: number }): Buffer {
  const page = Buffer.alloc(PAGE * rest.pages);
  page.writeBigUInt64LE(BigInt(number), 0);
  page.writeUInt16LE(rest.flags, 8);
  page.writeUInt16LE(rest.count, 10);
  page.writeUInt32LE(rest.pages - 1, 12);
  return page;
}

function meta(number: number, { root, txid }: { readonly root: number; readonly txid: number }): Buffer {
  const page = header(number, { flags: META, count: 0, pages: 1 });
  const body = page.subarray(16);
  body.writeUInt32LE(0xed0cdaed, 0);
  body.writeUInt32LE(2, 4);
  body.writeUInt32LE(PAGE, 8);
  body.writeBigUInt64LE(BigInt(root), 16);
  body.writeBigUInt64LE(BigInt(txid), 48);
  let hash = 0xcbf29ce484222325n;
  for (const byte of body.subarray(0, 56)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  body.writeBigUInt64LE(hash, 56);
  return page;
}

/** A bucket's value: its root page, and the page itself when that is 0. */
function bucket(root: number, page: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(root), 0);
  return Buffer.concat([head, page]);
}

async function read(pages: readonly Buffer[], name = 'b'): Promise<readonly string[]> {
  const path = join(directory, 'db');
  await writeFile(path, Buffer.concat(pages));
  const file = await BoltFile.open(path);
  try {
    const found: string[] = [];
    for await (const { key, value } of file.bucket(name)) found.push(`${key.toString()}=${value.length}`);
    return found;
  } finally {
    await file.close();
  }
}

const entry = (key: string, bytes = 1): Entry => ({ key, value: Buffer.alloc(bytes) });
const root = (value: Buffer): Buffer => leaf(2, [{ key: 'b', value, isBucket: true }]);
const metas = [meta(0, { root: 2, txid: 1 }), meta(1, { root: 2, txid: 2 })];

test('a bucket is read through branches, in order, without the buckets in it', async () => {
  const inner = { key: 'y', value: bucket(0), isBucket: true };
  const pages = [root(bucket(3)), branch(3, [4, 5]), leaf(4, [entry('x', 5), inner]), leaf(5, [entry('z')])];
  expect(await read([...metas, ...pages])).toEqual(['x=5', 'z=1']);
});

test('an inline bucket, and a value longer than a page', async () => {
  expect(await read([...metas, root(bucket(0, leaf(0, [entry('x', 7)]).subarray(0, 64)))])).toEqual(['x=7']);
  const long = leaf(3, [entry('x', 3 * PAGE)], 4);
  expect(await read([...metas, root(bucket(3)), long])).toEqual([`x=${3 * PAGE}`]);
});

test('the later meta page counts, and the other when that is torn', async () => {
  const pages = [root(bucket(3)), leaf(3, [entry('old')]), leaf(4, [{ ...entry('b'), isBucket: true }])];
  const later = leaf(4, [
    { key: 'b', value: bucket(0, leaf(0, [entry('new')]).subarray(0, 64)), isBucket: true },
  ]);
  const [first, second] = [meta(0, { root: 2, txid: 8 }), meta(1, { root: 4, txid: 9 })];
  const rest = [...pages.slice(0, 2), later];
  expect(await read([first, second, ...rest])).toEqual(['new=1']);
  const torn = Buffer.from(second);
  torn.writeUInt8(torn.readUInt8(16 + 48) ^ 1, 16 + 48);
  expect(await read([first, torn, ...rest])).toEqual(['old=1']);
  expect(await read([Buffer.alloc(PAGE), second, ...rest])).toEqual(['new=1']);
});

test.each([
  ['no meta page', [Buffer.alloc(PAGE), Buffer.alloc(PAGE)], 'neither meta page'],
  ['nothing', [], 'neither meta page'],
  ['no such bucket', [...metas, leaf(2, [])], 'no bucket "b"'],
  ['a root beyond the end', [...metas], 'ends within a page'],
  ['a page in the place of another', [...metas, leaf(9, [])], 'another number'],
  [
    'pages that branch into each other without an end',
    [
      ...metas,
      root(bucket(3)),
      ...Array.from({ length: 40 }, (_, i) => branch(3 + i, Array<number>(200).fill(4 + i))),
      leaf(43, [entry('x')]),
    ],
    'stands in it twice',
  ],
  ['pages in a circle', [...metas, root(bucket(3)), branch(3, [3])], 'too deep'],
  [
    'a page of another kind',
    [...metas, root(bucket(3)), meta(3, { root: 0, txid: 0 })],
    'neither branch nor leaf',
  ],
  [
    'an entry that leaves its page',
    [...metas, root(bucket(0, leaf(0, [entry('x', 64)]).subarray(0, 64)))],
    'leaves',
  ],
])('%s is told', async (_what, pages, text) => {
  const failed = read(pages);
  await expect(failed).rejects.toThrow(DamagedFileError);
  await expect(failed).rejects.toThrow(text);
});
