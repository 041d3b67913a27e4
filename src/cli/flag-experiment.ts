import type { Command } from 'commander';
import { UsageError } from './arguments.ts';
import { formatTable } from './format.ts';
import { type HttpContext, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

interface ExperimentFlags {
  readonly control?: string;
  readonly csv?: boolean;
  readonly jsonLines?: boolean;
  readonly reset?: boolean;
}

/** One variant, as far as it is printed. */
interface Line {
  readonly variant: string;
  readonly isControl: boolean;
  readonly since: string;
  readonly exposures: number;
  readonly conversions: number;
  readonly rate: number;
  readonly rateLow: number;
  readonly rateHigh: number;
  readonly difference: number | null;
  readonly differenceLow: number | null;
  readonly differenceHigh: number | null;
  readonly pValue: number | null;
  readonly test: string | null;
  readonly isSignificant: boolean | null;
}

/** `conclave flag experiment`: which variant does better. */
export function flagExperimentCommand(parent: Command, io: CliIo): void {
  parent
    .command('experiment')
    .description('compare the variants of a flag by what those did who got them')
    .argument('<key>')
    .option('--control <variant>', 'what the others are compared with; default: the off variant')
    .option('--csv', 'as CSV')
    .option('--json-lines', 'a JSON object a line')
    .option('--reset', 'begin anew: forget who got what')
    .action((key: string, flags: ExperimentFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        if (flags.reset === true) return reset(context, key, flags);
        const { control, csv, jsonLines } = flags;
        if (csv === true && jsonLines === true) {
          throw new UsageError('--csv and --json-lines contradict each other');
        }
        const format = csv === true ? 'csv' : 'json-lines';
        const query = { environment: context.environment(), flag: key, control, format };
        const { body } = await context.call({ method: 'GET', path: pathOf(context), query });
        if (csv === true || jsonLines === true) return io.out(body.toString());
        const lines = linesOf(body.toString());
        await context.print({ body: { items: lines }, lines: () => table(key, lines) });
      }),
    );
}

function pathOf(context: HttpContext): string {
  return `/api/v1/feature-flags/${encodeURIComponent(context.application())}/experiments`;
}

async function reset(
  context: HttpContext,
  flag: string,
  { control, csv, jsonLines }: ExperimentFlags,
): Promise<void> {
  if (control !== undefined || csv === true || jsonLines === true) {
    throw new UsageError('--reset goes with nothing else');
  }
  const query = { environment: context.environment(), flag };
  await context.change({ method: 'DELETE', path: pathOf(context), query });
  const body = { key: flag, reset: true };
  await context.print({ body, lines: () => `The experiment of ${flag} begins anew\n` });
}

function linesOf(text: string): readonly Line[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

function table(key: string, lines: readonly Line[]): string {
  if (lines.length === 0) return `Nobody was exposed to ${key} yet\n`;
  return formatTable(
    ['VARIANT', 'EXPOSURES', 'CONVERSIONS', 'RATE', '95 %', 'DIFFERENCE', '95 %', 'P', 'TEST', 'SIGNIFICANT'],
    lines.map((line) => [
      line.isControl ? `${line.variant} (control)` : line.variant,
      String(line.exposures),
      String(line.conversions),
      percent(line.rate),
      `${percent(line.rateLow)} to ${percent(line.rateHigh)}`,
      signed(line.difference),
      line.difference === null ? '' : `${signed(line.differenceLow)} to ${signed(line.differenceHigh)}`,
      String(line.pValue ?? ''),
      line.test ?? '',
      line.isSignificant === null ? '' : line.isSignificant ? 'yes' : 'no',
    ]),
  );
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

function signed(share: number | null): string {
  if (share === null) return '';
  return share > 0 ? `+${percent(share)}` : percent(share);
}
