import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { UsageError } from './arguments.ts';
import type { Progress } from './progress.ts';

const READ_BYTES = 1024 * 1024;

/** @throws UsageError when it is not a file; what the file system says otherwise */
export async function fileSizeBytes(path: string): Promise<number> {
  const found = await stat(path);
  if (!found.isFile()) throw new UsageError(`${path} is not a file`);
  return found.size;
}

/** A file's bytes from the beginning, reporting how far it has been read. */
export async function* fileChunks(path: string, progress: Progress): AsyncGenerator<Buffer> {
  let doneBytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES })) {
    yield chunk as Buffer;
    doneBytes += (chunk as Buffer).length;
    progress.update(doneBytes);
  }
}
