import type { Command } from 'commander';
import { ALL_FROM } from '../lib/range-end.ts';
import { keyRange, type RangeFlags, UsageError } from './arguments.ts';
import { withContext } from './context.ts';
import type { ImportedKey } from './etcd-snapshot.ts';
import type { CliIo } from './io.ts';

/** Keys asked for at a time. */
const PAGE_KEYS = 500;

/** `conclave export`: keys with their values as lines of JSON. */
export function exportCommand(parent: Command, io: CliIo): void {
  parent
    .command('export')
    .description('print every key with its value, one JSON object a line, as of one revision')
    .argument('[key]', 'only this key, or those that the flags name from it', '')
    .option('--prefix', 'all keys that start with KEY')
    .option('--from-key', 'all keys from KEY on, in byte order')
    .addHelpText(
      'after',
      `
Keys and values are base64. Leases are left out: who reads the file elsewhere has none of them.

Example:
  $ conclave export > keys.jsonl
  $ conclave import keys keys.jsonl --endpoints elsewhere:2379`,
    )
    .action(async (key: string, flags: RangeFlags, command: Command) => {
      const range = keyRange(key, undefined, key === '' ? { fromKey: true } : flags);
      await withContext(io, command, async ({ client, call }) => {
        let revision = 0;
        for (let from: Buffer | null = Buffer.from(range.key); from !== null; ) {
          const page = await client.range({ ...range, key: from, limit: PAGE_KEYS, revision }, call);
          // Further pages are of the same moment as the first.
          revision ||= page.header.revision;
          const lines = page.kvs.map((kv) => `${JSON.stringify(exported(kv))}\n`);
          await io.out(lines.join(''));
          const last = page.kvs.at(-1);
          from = page.more && last !== undefined ? Buffer.concat([last.key, ALL_FROM_START]) : null;
        }
      });
    });
}

/** Put behind a key, it makes the next possible one. */
const ALL_FROM_START = Buffer.from(ALL_FROM);

function exported({ key, value }: Pick<ImportedKey, 'key' | 'value'>): object {
  return { key: key.toString('base64'), value: value.toString('base64') };
}

/** @throws UsageError naming the first line that is none of `conclave export` */
export function parseExported(text: string): ImportedKey[] {
  return text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, number }) => parseLine(line, number));
}

function parseLine(line: string, number: number): ImportedKey {
  const { key, value } = parsed(line);
  const [keyBytes, valueBytes] = [bytesOf(key), bytesOf(value)];
  if (keyBytes === null || keyBytes.length === 0 || valueBytes === null) {
    throw new UsageError(`line ${number} is not one that 'conclave export' prints`);
  }
  return { key: keyBytes, value: valueBytes, lease: 0n };
}

/** Of base64 exactly as it is printed: Node would pass over what is none of it, and over a text that is cut short. */
function bytesOf(text: unknown): Buffer | null {
  if (typeof text !== 'string') return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** Of what is no object, nothing. */
function parsed(line: string): { readonly key?: unknown; readonly value?: unknown } {
  try {
    return (JSON.parse(line) as object | null) ?? {};
  } catch {
    return {};
  }
}
