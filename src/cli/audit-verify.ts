import type { Command } from 'commander';
import { EtcdKv } from '../kv/etcd-kv.ts';
import { KvError } from '../kv/kv.ts';
import type { Anchor, AuditReport } from '../service/audit/verify.ts';
import { verifyAudit } from '../service/audit/verify.ts';
import { UsageError } from './arguments.ts';
import { connectionOf } from './context.ts';
import { formatTable, toJson } from './format.ts';
import type { CliIo } from './io.ts';

/** How the end of a chain is written down. */
const ANCHOR = /^(\d{1,15}):([\w-]*)$/;

/** `conclave audit verify`: whether the record of changes is as it was sealed, by the store itself and not by the service. */
export function verifyAuditCommand(parent: Command, io: CliIo): void {
  parent
    .command('verify')
    .description('check every sealed change against the chain of hashes, and the chain against itself')
    .option(
      '--anchor <count:hash>',
      'an end of the chain that was printed before: the chain must lead through it',
    )
    .addHelpText(
      'after',
      `
Reads the store at --endpoints, not the service; where authentication is on, as --user, who may read
all of /_conclave/. Write down the anchor that it prints somewhere else: whoever rewrites the whole
chain is found by it.

Fails when something is not as it was sealed.

Example:
  $ conclave audit verify --endpoints localhost:2379 --anchor 1200:0gJ3x...`,
    )
    .action(async (flags: { readonly anchor?: string }, command: Command) => {
      const anchor = flags.anchor === undefined ? undefined : anchorOf(flags.anchor);
      const { connection, json } = await connectionOf(io, command);
      const kv = new EtcdKv(connection);
      try {
        const report = await verifyAudit(kv, { signal: io.interrupted(), anchor });
        await io.out(json ? `${toJson(report)}\n` : linesOf(report));
        if (report.findingCount > 0)
          throw new Error(`${report.findingCount} changes are not as they were sealed`);
      } catch (error) {
        // What the client said names the trouble better than what became of it.
        throw error instanceof KvError && error.cause instanceof Error ? error.cause : error;
      } finally {
        await kv.close();
      }
    });
}

/** @throws UsageError */
function anchorOf(text: string): Anchor {
  const [, count, link] = ANCHOR.exec(text) ?? [];
  if (count === undefined || link === undefined)
    throw new UsageError('--anchor is COUNT:HASH, as it was printed');
  return { count: Number(count), link };
}

function linesOf({ sealed, unsealed, anchor, findings, findingCount }: AuditReport): string {
  const table =
    findings.length === 0
      ? ''
      : formatTable(
          ['FOUND', 'REVISION', 'CHANGE', 'WHAT'],
          findings.map(({ type, revision, id, message }) => [type, String(revision), id ?? '', message]),
        );
  const more = findingCount - findings.length;
  const rest = more > 0 ? `and ${more} more\n` : '';
  const verdict = findingCount === 0 ? 'all as they were sealed' : 'not all as they were sealed';
  return `${table}${rest}${sealed} changes sealed, ${unsealed} not yet: ${verdict}\nanchor: ${anchor.count}:${anchor.link}\n`;
}
