import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { PutOptions, RangeOptions, WatchOptions } from '../client/types.ts';
import { bytes, keyRange, leaseId, naturalNumber, UsageError } from './arguments.ts';
import { type Context, withContext } from './context.ts';
import { toJson } from './format.ts';
import type { CliIo } from './io.ts';
import { answerFields, answerLines, batchFields, eventLines, headerFields } from './kv-format.ts';
import { parseTxn } from './kv-txn.ts';

/** `conclave kv`: the keys of the store. */
export function kvCommands(parent: Command, io: CliIo): void {
  const kv = parent.command('kv').description('read and write keys, and watch them change');
  addGet(kv, io);
  addPut(kv, io);
  addDelete(kv, io);
  addTxn(kv, io);
  addWatch(kv, io);
  addCompact(kv, io);
}

const RANGE_HELP = {
  prefix: 'all keys that start with KEY',
  fromKey: 'all keys from KEY on, in byte order',
};

// ---- get ----------------------------------------------------------------------------------------------------

interface GetFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
  readonly limit: number;
  readonly rev: number;
  readonly sortBy: NonNullable<RangeOptions['sortTarget']>;
  readonly order?: 'ascend' | 'descend';
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly printValueOnly?: boolean;
  readonly serializable?: boolean;
}

function addGet(kv: Command, io: CliIo): void {
  kv.command('get')
    .description('print a key and its value, or those of a range [KEY, END)')
    .argument('<key>')
    .argument('[end]')
    .option('--prefix', RANGE_HELP.prefix)
    .option('--from-key', RANGE_HELP.fromKey)
    .option('--limit <n>', 'at most so many keys (0: all)', naturalNumber, 0)
    .option('--rev <revision>', 'as of this revision (0: now)', naturalNumber, 0)
    .addOption(
      new Option('--sort-by <what>', 'what to sort by')
        .choices(['key', 'version', 'create', 'mod', 'value'])
        .default('key'),
    )
    .addOption(new Option('--order <order>', 'which way to sort').choices(['ascend', 'descend']))
    .option('--keys-only', 'print no values')
    .option('--count-only', 'print how many keys there are')
    .option('--print-value-only', 'print no keys')
    .option(
      '--serializable',
      'take the answer of the member asked, which may be behind; works without a majority',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ conclave kv get greeting
  $ conclave kv get --prefix app/ --keys-only
  $ conclave kv get --prefix app/ --sort-by mod --order descend --limit 1   # changed last
  $ conclave kv get greeting --rev 42 --print-value-only                    # as it was`,
    )
    .action(async (key: string, end: string | undefined, flags: GetFlags, command: Command) => {
      await withContext(io, command, async ({ client, call, print }) => {
        const sorted = flags.order !== undefined || flags.sortBy !== 'key';
        const answer = await client.range(
          {
            ...keyRange(key, end, flags),
            limit: flags.limit,
            revision: flags.rev,
            sortTarget: flags.sortBy,
            sortOrder: sorted ? (flags.order ?? 'ascend') : 'none',
            keysOnly: flags.keysOnly ?? false,
            countOnly: flags.countOnly ?? false,
            serializable: flags.serializable ?? false,
          },
          call,
        );
        const format = {
          valueOnly: flags.printValueOnly ?? false,
          keysOnly: flags.keysOnly ?? false,
          countOnly: flags.countOnly ?? false,
        };
        await print({ lines: () => answerLines(answer, format), fields: () => answerFields(answer) });
      });
    });
}

// ---- put, del -----------------------------------------------------------------------------------------------

interface PutFlags {
  readonly lease?: bigint;
  readonly prevKv?: boolean;
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
}

function addPut(kv: Command, io: CliIo): void {
  kv.command('put')
    .description('write a key; without VALUE its value is read from standard input')
    .argument('<key>')
    .argument('[value]')
    .option('--lease <id>', 'delete the key when this lease ends', leaseId)
    .option('--prev-kv', 'print what was there before')
    .option('--ignore-value', 'keep the value, change only the lease')
    .option('--ignore-lease', 'keep the lease, change only the value')
    .addHelpText(
      'after',
      `
Examples:
  $ conclave kv put greeting hello
  $ conclave kv put app/config < config.json
  $ conclave kv put -- temperature -5          # a value that begins with a dash`,
    )
    .action(async (key: string, value: string | undefined, flags: PutFlags, command: Command) => {
      await withContext(io, command, async ({ client, call, print }) => {
        const answer = await client.put(await putOptions(io, { key, value, flags }), call);
        await print({ lines: () => answerLines(answer), fields: () => answerFields(answer) });
      });
    });
}

async function putOptions(
  io: CliIo,
  given: { readonly key: string; readonly value: string | undefined; readonly flags: PutFlags },
): Promise<PutOptions> {
  const { key, value, flags } = given;
  if (flags.ignoreValue && value !== undefined)
    throw new UsageError('--ignore-value keeps the value; give none');
  const text = value === undefined ? null : bytes(value);
  return {
    key: bytes(key),
    value: flags.ignoreValue ? Buffer.alloc(0) : (text ?? (await io.readStdin())),
    lease: flags.lease ?? 0n,
    prevKv: flags.prevKv ?? false,
    ignoreValue: flags.ignoreValue ?? false,
    ignoreLease: flags.ignoreLease ?? false,
  };
}

function addDelete(kv: Command, io: CliIo): void {
  kv.command('del')
    .description('delete a key, or all keys of a range [KEY, END), and print how many there were')
    .argument('<key>')
    .argument('[end]')
    .option('--prefix', RANGE_HELP.prefix)
    .option('--from-key', RANGE_HELP.fromKey)
    .option('--prev-kv', 'print what was there before')
    .addHelpText('after', '\nExamples:\n  $ conclave kv del greeting\n  $ conclave kv del --prefix app/old/')
    .action(
      async (
        key: string,
        end: string | undefined,
        flags: { readonly prefix?: boolean; readonly fromKey?: boolean; readonly prevKv?: boolean },
        command: Command,
      ) => {
        await withContext(io, command, async ({ client, call, print }) => {
          const answer = await client.delete(
            { ...keyRange(key, end, flags), prevKv: flags.prevKv ?? false },
            call,
          );
          await print({ lines: () => answerLines(answer), fields: () => answerFields(answer) });
        });
      },
    );
}

// ---- txn ----------------------------------------------------------------------------------------------------

function addTxn(kv: Command, io: CliIo): void {
  kv.command('txn')
    .description('run a transaction from FILE or standard input: all of it at one revision, or nothing')
    .argument('[file]')
    .addHelpText(
      'after',
      `
Comparisons, an empty line, what to do when all of them hold, an empty line, what to do otherwise:

  mod("stock") > "0"
  value("open") = "yes"

  put stock 41
  put order/7 "one apple"

  get stock

Comparisons are of mod, create, version, value or lease, with = != < >. What to do is
get, put or del, with --prefix, --from-key, --limit=N, --prev-kv, --lease=ID.

Examples:
  $ conclave kv txn order.txn
  $ printf 'create("lock") = "0"\\n\\nput lock me\\n\\nget lock\\n' | conclave kv txn`,
    )
    .action(async (file: string | undefined, _flags: unknown, command: Command) => {
      const text = file === undefined || file === '-' ? await io.readStdin() : await readFile(file);
      const txn = parseTxn(text.toString('utf8'));
      await withContext(io, command, async ({ client, call, print }) => {
        const answer = await client.txn(txn, call);
        await print({ lines: () => answerLines(answer), fields: () => answerFields(answer) });
      });
    });
}

// ---- watch --------------------------------------------------------------------------------------------------

interface WatchFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
  readonly rev: number;
  readonly prevKv?: boolean;
}

function addWatch(kv: Command, io: CliIo): void {
  kv.command('watch')
    .description('print every change of a key, or of a range [KEY, END), until Ctrl-C')
    .argument('<key>')
    .argument('[end]')
    .option('--prefix', RANGE_HELP.prefix)
    .option('--from-key', RANGE_HELP.fromKey)
    .option(
      '--rev <revision>',
      'begin with the changes of this revision (0: with what comes)',
      naturalNumber,
      0,
    )
    .option('--prev-kv', 'print what was there before each change')
    .addHelpText(
      'after',
      `
A watch goes on when its member fails: with several --endpoints it continues on another one,
behind the last change that it printed.

Examples:
  $ conclave kv watch greeting
  $ conclave kv watch --prefix app/ --rev 1 --write-out json`,
    )
    .action(async (key: string, end: string | undefined, flags: WatchFlags, command: Command) => {
      const range = keyRange(key, end, flags);
      await withContext(io, command, async (context) => {
        const { signal } = context.call;
        await printWatch(context, {
          ...range,
          startRevision: flags.rev,
          prevKv: flags.prevKv ?? false,
          signal,
        });
      });
    });
}

async function printWatch({ client, io, json }: Context, options: WatchOptions): Promise<void> {
  for await (const batch of client.watch(options)) {
    await io.out(json ? `${toJson(batchFields(batch))}\n` : eventLines(batch));
  }
}

// ---- compact ------------------------------------------------------------------------------------------------

function addCompact(kv: Command, io: CliIo): void {
  kv.command('compact')
    .description('forget what was before a revision; current values stay')
    .argument('<revision>', 'the oldest revision that can still be read', naturalNumber)
    .option('--physical', 'wait until the space is free')
    .action(async (revision: number, flags: { readonly physical?: boolean }, command: Command) => {
      await withContext(io, command, async ({ client, call, print }) => {
        const header = await client.compact({ revision, physical: flags.physical ?? false }, call);
        await print({
          lines: () => `compacted revision ${revision}\n`,
          fields: () => ({ header: headerFields(header) }),
        });
      });
    });
}
