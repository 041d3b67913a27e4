import { createHash, type Hash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { ClientError } from '../client/client-error.ts';
import { readSnapshotFile } from '../member/storage/snapshot-file.ts';
import { type Context, withContext } from './context.ts';
import { fileChunks, fileSizeBytes } from './file-chunks.ts';
import { formatBytes, formatTable, toJson } from './format.ts';
import type { CliIo } from './io.ts';
import { Progress } from './progress.ts';
import { restoreCommand } from './snapshot-restore.ts';

/** A backup ends in the SHA-256 of what precedes it, at this size modulo a block. */
const SHA_BYTES = 32;
const BLOCK_BYTES = 512;

/** `conclave snapshot`: backups of the whole store. */
export function snapshotCommands(parent: Command, io: CliIo): void {
  const snapshot = parent
    .command('snapshot')
    .description('save, inspect and restore backups of the whole store');
  addSave(snapshot, io);
  restoreCommand(snapshot, io);
  addStatus(snapshot, io);
}

// ---- save ---------------------------------------------------------------------------------------------------

function addSave(parent: Command, io: CliIo): void {
  parent
    .command('save')
    .description('write a backup of everything, as one member has it now, to FILE')
    .argument('<file>')
    .addHelpText(
      'after',
      `
The first endpoint that answers is asked. FILE appears only when it is whole and its checksum was
verified; a file that exists is replaced then.

Example:
  $ conclave snapshot save backup-$(date +%F).db`,
    )
    .action(async (file: string, _flags: unknown, command: Command) => {
      await withContext(io, command, async (context) => {
        const endpoint = await firstAnswering(context);
        const sizeBytes = await save(context, { endpoint, file });
        await context.print({
          lines: () => `Saved ${formatBytes(sizeBytes)} from ${endpoint} to ${file}\n`,
          fields: () => ({ file, endpoint, sizeBytes }),
        });
      });
    });
}

async function firstAnswering({ client, call }: Context): Promise<string> {
  let failure: unknown;
  for (const endpoint of client.endpoints) {
    try {
      await client.status(endpoint, call);
      return endpoint;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** Writes beside FILE and renames: whoever sees FILE sees a whole backup. */
async function save(
  { client, io, call }: Context,
  { endpoint, file }: { readonly endpoint: string; readonly file: string },
): Promise<number> {
  const partial = `${file}.part`;
  const target = await open(partial, 'w', 0o600);
  try {
    using progress = new Progress(io, { label: 'saving', totalBytes: 0 });
    const check = new TrailingSha();
    for await (const { blob, remainingBytes } of client.snapshot(endpoint, call.signal)) {
      await target.writeFile(blob);
      check.update(blob);
      progress.update(check.sizeBytes, check.sizeBytes + remainingBytes);
    }
    check.verify();
    await target.sync();
    await rename(partial, file);
    await syncDirectory(dirname(file));
    return check.sizeBytes;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    await target.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Checks that a stream ends in the SHA-256 of everything before. */
class TrailingSha {
  readonly #sha: Hash = createHash('sha256');
  #tail: Buffer = Buffer.alloc(0);
  sizeBytes = 0;

  update(chunk: Buffer): void {
    this.sizeBytes += chunk.length;
    const bytes = Buffer.concat([this.#tail, chunk]);
    const end = Math.max(0, bytes.length - SHA_BYTES);
    this.#sha.update(bytes.subarray(0, end));
    this.#tail = bytes.subarray(end);
  }

  /** @throws ClientError `data-loss` */
  verify(): void {
    if (this.sizeBytes % BLOCK_BYTES !== SHA_BYTES) {
      throw new ClientError('data-loss', `the backup ended early, after ${this.sizeBytes} bytes`);
    }
    if (!this.#sha.digest().equals(this.#tail))
      throw new ClientError('data-loss', 'the backup fails its checksum');
  }
}

// ---- status -------------------------------------------------------------------------------------------------

function addStatus(parent: Command, io: CliIo): void {
  parent
    .command('status')
    .description('verify a backup and say what it holds')
    .argument('<file>')
    .action(async (file: string, _flags: unknown, command: Command) => {
      const { writeOut } = command.optsWithGlobals<{ readonly writeOut: string }>();
      using progress = new Progress(io, { label: 'verifying', totalBytes: await fileSizeBytes(file) });
      const summary = await readSnapshotFile(fileChunks(file, progress), {
        header: () => {},
        table: () => {},
        row: () => {},
      });
      progress.stop();
      const { clusterId, marker, rowCount, sizeBytes, sha256 } = summary;
      const { currentRevision } = marker;
      const compactRevision = Math.max(marker.compactRevision, 0);
      if (writeOut === 'json') {
        const hash = sha256.toString('hex');
        const fields = {
          hash,
          revision: currentRevision,
          compactRevision,
          totalKey: rowCount,
          totalSize: sizeBytes,
        };
        await io.out(`${toJson({ ...fields, clusterId })}\n`);
        return;
      }
      const row = [
        sha256.toString('hex').slice(0, 16),
        clusterId.toString(16),
        String(currentRevision),
        String(compactRevision),
        String(rowCount),
        formatBytes(sizeBytes),
      ];
      await io.out(formatTable(['SHA-256', 'CLUSTER', 'REVISION', 'COMPACTED', 'ROWS', 'SIZE'], [row]));
    });
}
