import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { ClientError } from '../client/client-error.ts';
import { UsageError } from './arguments.ts';
import { type Context, withContext } from './context.ts';
import { type ImportedKey, readEtcdSnapshot } from './etcd-snapshot.ts';
import { parseExported } from './export.ts';
import type { CliIo } from './io.ts';

/** Keys in one transaction: a comparison and a put each. */
const BATCH_KEYS_MAX = 100;
/** Their bytes: well below what a request may have. */
const BATCH_BYTES_MAX = 512 * 1024;

interface ImportFlags {
  readonly overwrite?: boolean;
}

/** `conclave import`: keys from elsewhere into a running cluster. */
export function importCommands(parent: Command, io: CliIo): void {
  const root = parent.command('import').description('write keys from a file into a running cluster');
  root
    .command('etcd-snapshot')
    .description('write what a snapshot of etcd holds')
    .argument('<file>')
    .option('--overwrite', 'replace keys that exist, and take leases that exist')
    .addHelpText(
      'after',
      `
FILE is what 'etcdctl snapshot save' wrote. Every key gets its newest value; revisions begin anew.
Leases with keys are granted again under their ids, for their whole time; others are left out. Users
and roles are left out.

Example:
  $ etcdctl snapshot save etcd.db
  $ conclave import etcd-snapshot etcd.db`,
    )
    .action(async (path: string, flags: ImportFlags, command: Command) => {
      const { keys, leases } = await readEtcdSnapshot(path);
      await withContext(io, command, async (context) => importKeys(context, { keys, leases, flags }));
    });
  root
    .command('keys')
    .description("write what 'conclave export' printed")
    .argument('<file>')
    .option('--overwrite', 'replace keys that exist')
    .action(async (path: string, flags: ImportFlags, command: Command) => {
      const keys = parseExported(await readFile(path, 'utf8'));
      await withContext(io, command, async (context) =>
        importKeys(context, { keys, leases: new Map(), flags }),
      );
    });
}

interface Import {
  readonly keys: readonly ImportedKey[];
  /** Seconds by id. */
  readonly leases: ReadonlyMap<bigint, number>;
  readonly flags: ImportFlags;
}

async function importKeys(context: Context, work: Import): Promise<void> {
  const { client, call, print } = context;
  for (const { key, lease } of work.keys) {
    if (lease !== 0n && !work.leases.has(lease)) {
      throw new UsageError(`the file has no lease for the key ${JSON.stringify(key.toString())}`);
    }
  }
  for (const [id, ttlSeconds] of work.leases) {
    try {
      await client.leaseGrant({ id, ttlSeconds }, call);
    } catch (error) {
      if (!(work.flags.overwrite && isThere(error))) throw error;
    }
  }
  let written = 0;
  for (const batch of batches(work.keys)) {
    await writeBatch(context, batch, work.flags.overwrite === true);
    written += batch.length;
  }
  await print({
    lines: () => `Wrote ${written} keys, ${work.leases.size} leases\n`,
    fields: () => ({ keys: written, leases: work.leases.size }),
  });
}

/** The lease exists: an earlier import granted it. */
function isThere(error: unknown): boolean {
  return error instanceof ClientError && error.message.endsWith('lease already exists');
}

/** All keys of a batch or none. @throws ClientError when one exists and is not to be replaced */
async function writeBatch(
  { client, call }: Context,
  batch: readonly ImportedKey[],
  overwrite: boolean,
): Promise<void> {
  const { succeeded } = await client.txn(
    {
      compare: overwrite
        ? []
        : batch.map(({ key }) => ({ key, target: 'version', result: 'equal', number: 0 }) as const),
      success: batch.map(({ key, value, lease }) => ({ type: 'put', key, value, lease }) as const),
      failure: [],
    },
    call,
  );
  if (succeeded) return;
  const from = JSON.stringify(batch[0]!.key.toString());
  const to = JSON.stringify(batch.at(-1)!.key.toString());
  throw new ClientError(
    'failed-precondition',
    `a key between ${from} and ${to} exists already; keys before ${from} were written. --overwrite replaces`,
  );
}

function* batches(keys: readonly ImportedKey[]): Generator<readonly ImportedKey[]> {
  let batch: ImportedKey[] = [];
  let bytes = 0;
  for (const item of keys) {
    const size = item.key.length * 2 + item.value.length;
    if (batch.length > 0 && (batch.length >= BATCH_KEYS_MAX || bytes + size > BATCH_BYTES_MAX)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
