import { crc32 } from 'node:zlib';
import { StoreError } from '../../lib/errors.ts';
import type { Disk } from '../ports.ts';
import { directoryOf } from './disk.ts';

/** What a small file says, and in which version of its own format. */
export interface SmallFile {
  readonly version: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A small file is read whole; a larger one is not ours. */
const SMALL_FILE_BYTES_MAX = 1024 * 1024;

/** One line of JSON with `version` first, and one line `crc32 xxxxxxxx` over the first with its line feed. */
export function encodeSmallFile({ version, fields }: SmallFile): Buffer {
  const line = `${JSON.stringify({ version, ...fields })}\n`;
  return Buffer.from(`${line}crc32 ${checksumOf(line)}\n`);
}

/**
 * @param path for the message
 * @throws StoreError `data-dir-corrupt`
 */
export function decodeSmallFile(content: Buffer, path: string): SmallFile {
  const corrupt = (problem: string): StoreError => new StoreError('data-dir-corrupt', `${path}: ${problem}`);
  if (content.length > SMALL_FILE_BYTES_MAX) throw corrupt('too large');
  const text = content.toString();
  const end = text.indexOf('\n') + 1;
  const line = text.slice(0, end);
  if (text.slice(end) !== `crc32 ${checksumOf(line)}\n`) throw corrupt('checksum mismatch');
  const parsed = parsedJson(line);
  if (typeof parsed !== 'object' || parsed === null) throw corrupt('not an object');
  const { version, ...fields } = parsed as Record<string, unknown>;
  if (!Number.isSafeInteger(version)) throw corrupt('no version');
  return { version: version as number, fields };
}

/** Undefined when the text is no JSON: whoever wrote it with a checksum that fits was not this program. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * Replaces a small file as a whole, durably: after a crash there is the old one or the new one. Writers of one path
 * take turns.
 *
 * @throws StoreError `storage`
 */
export async function writeSmallFile(disk: Disk, path: string, content: SmallFile): Promise<void> {
  const temporary = `${path}.tmp`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, 'create');
  try {
    await file.write(encodeSmallFile(content), 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await disk.rename({ from: temporary, to: path });
  await disk.syncDirectory(directoryOf(path));
}

/**
 * The file's content, or null when there is none.
 *
 * @throws StoreError `data-dir-corrupt`, `storage`
 */
export async function readSmallFile(disk: Disk, path: string): Promise<SmallFile | null> {
  return (await disk.exists(path)) ? decodeSmallFile(await disk.readFile(path), path) : null;
}

function checksumOf(line: string): string {
  return crc32(line).toString(16).padStart(8, '0');
}
