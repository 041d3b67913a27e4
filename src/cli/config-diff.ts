import type { Command } from 'commander';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { naturalNumber, UsageError } from './arguments.ts';
import { configId, plainText } from './config-words.ts';
import { diffLines, type JsonDiff } from './diff-format.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

interface Side {
  readonly environment: string;
  readonly key: string;
  readonly version: number;
}
interface Comparison {
  readonly left: Side;
  readonly right: Side;
  readonly equal: boolean;
  readonly valueEqual: boolean;
  readonly diff: JsonDiff | null;
  readonly fields: readonly { readonly name: string; readonly before: unknown; readonly after: unknown }[];
}
interface Difference {
  readonly key: string;
  readonly difference: 'added' | 'removed' | 'changed';
  readonly diff: JsonDiff | null;
}
interface DiffFlags {
  readonly from?: number;
  readonly to?: number;
  readonly with?: string;
  readonly patch?: boolean;
  readonly exitCode?: boolean;
}

/** `conclave config diff`: two versions, or two environments, beside each other. */
export function diffCommand(parent: Command, io: CliIo): void {
  parent
    .command('diff')
    .description('print what differs between two versions of a configuration, or between two environments')
    .argument('[key]', 'all keys of the application when it is left out')
    .option('--from <version>', 'the version on the left; default: the present one', naturalNumber)
    .option('--to <version>', 'the version on the right; default: the present one', naturalNumber)
    .option('--with <environment>', 'compare --environment with this one')
    .option('--patch', 'print a JSON Patch that makes the right value of the left one')
    .option('--exit-code', 'exit with 1 when something differs')
    .addHelpText(
      'after',
      `
Examples:
  $ conclave config diff db.pool --from 3 --application pay --environment PROD
  $ conclave config diff db.pool --with STAGING --application pay --environment PROD
  $ conclave config diff --with STAGING --application pay --environment PROD`,
    )
    .action((key: string | undefined, flags: DiffFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const isEqual =
          key === undefined
            ? await diffEnvironments(context, flags)
            : await diffVersions(context, key, flags);
        if (!isEqual && flags.exitCode === true) throw new Error('they differ');
      }),
    );
}

async function diffVersions(context: HttpContext, key: string, flags: DiffFlags): Promise<boolean> {
  const { from, to, with: other } = flags;
  if (from === undefined && to === undefined && other === undefined)
    throw new UsageError('--from, --to or --with says what to compare with');
  const query = {
    left: configId(context, key),
    right: other === undefined ? undefined : configId(context, key, canonicalEnvironment(other)),
    leftVersion: from,
    rightVersion: to,
  };
  const found = jsonOf<Comparison>(await context.call({ method: 'GET', path: '/api/v1/compare', query }));
  const lines = (): string =>
    flags.patch === true ? `${JSON.stringify(found.diff?.patch ?? null)}\n` : comparisonLines(found);
  await context.print({ body: found, lines });
  return found.equal;
}

function comparisonLines({ left, right, equal, valueEqual, diff, fields }: Comparison): string {
  const name = ({ environment, key, version }: Side): string =>
    `${key} in ${environment}, version ${version}`;
  const heading = `- ${name(left)}\n+ ${name(right)}\n`;
  if (equal) return `${heading}the same\n`;
  const others = fields.map(
    ({ name: field, before, after }) => `~ ${field}: ${plainText(before)} -> ${plainText(after)}\n`,
  );
  return heading + (valueEqual ? '' : diffLines(diff)) + others.join('');
}

async function diffEnvironments(context: HttpContext, flags: DiffFlags): Promise<boolean> {
  if (flags.with === undefined)
    throw new UsageError('without a key --with says which environment to compare with');
  if (flags.from !== undefined || flags.to !== undefined || flags.patch === true)
    throw new UsageError('--from, --to and --patch are about one key');
  const query = {
    application: context.application(),
    left: context.environment(),
    right: canonicalEnvironment(flags.with),
  };
  const call = { method: 'GET', path: '/api/v1/compare/environments', query } as const;
  const found = jsonOf<{ readonly items: readonly Difference[]; readonly more: boolean }>(
    await context.call(call),
  );
  const { items, more } = found;
  await context.print({
    body: found,
    lines: () =>
      items.length === 0
        ? 'the same\n'
        : items.map(differenceLines).join('') + (more ? 'and more; name keys to see them\n' : ''),
  });
  return items.length === 0;
}

const SIGNS = { added: '+', removed: '-', changed: '~' } as const;

function differenceLines({ key, difference, diff }: Difference): string {
  return `${SIGNS[difference]} ${key}\n${diffLines(diff, '    ')}`;
}
