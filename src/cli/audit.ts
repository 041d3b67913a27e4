import type { Command } from 'commander';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { naturalNumber, UsageError } from './arguments.ts';
import { verifyAuditCommand } from './audit-verify.ts';
import { cell, plainText, when } from './config-words.ts';
import { formatTable } from './format.ts';
import { addScopeFlags, addServiceFlags, type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

const PATH = '/api/v1/audit';
const PAGE_SIZE = 1_000;

interface Side {
  readonly value: unknown;
}
interface Item {
  readonly kind: string;
  readonly type: string;
  readonly environment: string | null;
  readonly application: string | null;
  readonly key: string | null;
  readonly oldValue: Side | null;
  readonly newValue: Side | null;
}
interface Entry {
  readonly id: string;
  readonly revision: number;
  readonly at: string;
  readonly actor: { readonly name: string };
  readonly operation: string;
  readonly reason: string;
  readonly items: readonly Item[];
}
interface Page {
  readonly items: readonly Entry[];
  readonly next: number | null;
}

interface FilterFlags {
  readonly actor?: string;
  readonly from?: string;
  readonly to?: string;
  readonly operation?: string;
  readonly changeSet?: string;
  readonly prefix?: string;
}

/** `conclave audit`: who changed what, and whether the record is whole. */
export function auditCommands(parent: Command, io: CliIo): void {
  const audit = addScopeFlags(addServiceFlags(parent.command('audit'))).description(
    'show, export and verify the record of every change, and of every secret that was shown',
  );
  addList(audit, io);
  addExport(audit, io);
  verifyAuditCommand(audit, io);
}

function filtered(command: Command): Command {
  return command
    .option('--actor <name>', 'what this user did')
    .option('--from <time>', 'from this time on, in ISO 8601')
    .option('--to <time>', 'before this time')
    .option('--operation <name>', 'create, update, delete, rollback, promote, reveal and so on')
    .option('--change-set <name>', 'what belongs to this release')
    .argument('[key]', 'what happened to this key')
    .option('--prefix <text>', 'to keys that begin so');
}

/** The environment and application count when they were given to this command, or in the variables. */
function queryOf({ given }: HttpContext, key: string | undefined, flags: FilterFlags) {
  const { actor, from, to, operation, changeSet, prefix } = flags;
  const { environment, application } = given;
  return {
    actor,
    from,
    to,
    operation,
    changeSet,
    key,
    keyPrefix: prefix,
    application,
    environment: environment === undefined ? undefined : canonicalEnvironment(environment),
  };
}

// ---- list ---------------------------------------------------------------------------------------------------

function addList(parent: Command, io: CliIo): void {
  filtered(parent.command('list'))
    .description('list changes, newest first')
    .option('--limit <n>', 'at most so many', naturalNumber, 100)
    .action((key: string | undefined, flags: FilterFlags & { readonly limit: number }, command: Command) =>
      withHttp(io, command, async (context) => {
        const entries = await entriesOf(context, key, flags);
        await context.print({ body: { items: entries }, lines: () => table(entries) });
      }),
    );
}

async function entriesOf(
  context: HttpContext,
  key: string | undefined,
  flags: FilterFlags & { readonly limit: number },
): Promise<readonly Entry[]> {
  const { limit } = flags;
  const entries: Entry[] = [];
  let cursor: number | undefined;
  for (;;) {
    const size = Math.max(1, Math.min(limit - entries.length, PAGE_SIZE));
    const query = { ...queryOf(context, key, flags), cursor, size };
    const page = jsonOf<Page>(await context.call({ method: 'GET', path: PATH, query }));
    entries.push(...page.items);
    if (page.next === null || entries.length >= limit) return entries.slice(0, limit);
    cursor = page.next;
  }
}

function table(entries: readonly Entry[]): string {
  return formatTable(
    ['AT', 'WHO', 'OPERATION', 'WHAT', 'CHANGE', 'REASON'],
    entries.flatMap(({ at, actor, operation, reason, items }) =>
      items.map((item) => [
        when(at),
        actor.name,
        operation,
        [item.environment, item.application, item.key].filter((part) => part !== null).join('/'),
        cell(changeText(item)),
        cell(reason),
      ]),
    ),
  );
}

function changeText({ kind, type, oldValue, newValue }: Item): string {
  if (kind !== 'configuration' || type === 'revealed') return type;
  const [before, after] = [oldValue, newValue].map((side) =>
    side === null ? 'none' : plainText(side.value),
  );
  return `${before} -> ${after}`;
}

// ---- export -------------------------------------------------------------------------------------------------

const FORMATS = ['jsonl', 'csv'] as const;

function addExport(parent: Command, io: CliIo): void {
  filtered(parent.command('export'))
    .description('print changes as JSON lines, or as CSV')
    .option('--format <form>', FORMATS.join(' or '), 'jsonl')
    .action((key: string | undefined, flags: FilterFlags & { readonly format: string }, command: Command) =>
      withHttp(io, command, async (context) => {
        const format = FORMATS.find((word) => word === flags.format);
        if (format === undefined) throw new UsageError(`--format is ${FORMATS.join(' or ')}`);
        const query = { ...queryOf(context, key, flags), format };
        const accept = format === 'csv' ? 'text/csv' : 'application/x-ndjson';
        const { body } = await context.stream({
          method: 'GET',
          path: `${PATH}/export`,
          query,
          headers: { accept: `${accept}, application/problem+json` },
        });
        for await (const chunk of body) await io.out(chunk);
      }),
    );
}
