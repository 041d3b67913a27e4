import type { Command } from 'commander';
import { naturalNumber, UsageError } from './arguments.ts';
import { nameQuery } from './config-read.ts';
import { cell, when } from './config-words.ts';
import { formatTable } from './format.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

interface Report {
  readonly revision: number;
  readonly counts: { readonly applied: number; readonly lagging: number; readonly rejected: number };
  readonly instances: readonly {
    readonly id: string;
    readonly environment: string;
    readonly application: string;
    readonly state: string;
    readonly applied: number;
    readonly reason: string | null;
    readonly reportedAt: string;
  }[];
}

/** `conclave config delivery`: which instances have a change. */
export function deliveryCommand(parent: Command, io: CliIo): void {
  parent
    .command('delivery')
    .description('show which instances have the last change of a key, which lag, and which rejected it')
    .argument('[key]')
    .option('--revision <n>', 'instead of a key: the change at this revision', naturalNumber)
    .action((key: string | undefined, { revision }: { readonly revision?: number }, command: Command) =>
      withHttp(io, command, async (context) => {
        const query = queryOf(context, { key, revision });
        const report = jsonOf<Report>(await context.call({ method: 'GET', path: '/api/v1/delivery', query }));
        await context.print({ body: report, lines: () => linesOf(report) });
      }),
    );
}

/** @throws UsageError unless one of the two is given */
function queryOf(
  context: HttpContext,
  { key, revision }: { readonly key: string | undefined; readonly revision: number | undefined },
) {
  if (key !== undefined && revision === undefined) return nameQuery(context, key);
  if (key === undefined && revision !== undefined) return { revision };
  throw new UsageError('either a key or --revision is needed');
}

function linesOf({ revision, counts, instances }: Report): string {
  const table = formatTable(
    ['STATE', 'INSTANCE', 'APPLIED', 'REPORTED', 'REASON'],
    instances.map((each) => [
      each.state,
      `${each.environment}/${each.application}/${each.id}`,
      String(each.applied),
      when(each.reportedAt),
      cell(each.reason ?? ''),
    ]),
  );
  const { applied, lagging, rejected } = counts;
  return `${instances.length === 0 ? '' : table}revision ${revision}: ${applied} applied, ${lagging} lagging, ${rejected} rejected\n`;
}
