import { type Command, Option } from 'commander';
import { ProblemError } from '../client/problem.ts';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { naturalNumber, UsageError } from './arguments.ts';
import { addChangeFlags } from './config-change.ts';
import { type ChangeFlags, configPath, plainText } from './config-words.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

interface Conflict {
  readonly pointer: string;
  readonly base?: unknown;
  readonly ours?: unknown;
  readonly theirs?: unknown;
}
interface Merged {
  readonly merged: unknown;
  readonly conflicts: readonly Conflict[];
  readonly saved: boolean;
}
interface MergeFlags extends ChangeFlags {
  readonly base?: number;
  readonly theirVersion?: number;
  readonly value?: string;
  readonly from?: string;
  readonly strategy: string;
  readonly dryRun?: boolean;
}

/** `conclave config merge`: two changes of one value made one. */
export function mergeCommand(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('merge'))
    .description('merge another change of the same value into the present one')
    .argument('<key>')
    .option('--base <version>', 'the version that both sides began with', naturalNumber)
    .option('--their-version <version>', 'merge a version of the same configuration', naturalNumber)
    .option('--value <json>', 'merge a value; what is no JSON is a string')
    .option('--from <environment>', 'merge what the key is in another environment')
    .addOption(
      new Option(
        '--strategy <side>',
        'which side wins where both changed the same; manual: nothing is saved then',
      )
        .choices(['ours', 'theirs', 'manual'])
        .default('manual'),
    )
    .option('--dry-run', 'print the merge, but save nothing')
    .addHelpText('after', '\nFails when there are conflicts that --strategy does not decide.')
    .action((key: string, flags: MergeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const result = await merge(context, key, flags);
        await context.print({ body: result, lines: () => linesOf(result) });
        const { saved, conflicts } = result;
        if (!saved && flags.dryRun !== true)
          throw new Error(`${conflicts.length} conflicts; nothing was saved`);
      }),
    );
}

async function merge(context: HttpContext, key: string, flags: MergeFlags): Promise<Merged> {
  const { base, strategy, dryRun, reason, changeSet } = flags;
  if (base === undefined) throw new UsageError('--base is needed');
  const theirs = theirsOf(context, key, flags);
  const body = JSON.stringify({ base, theirs, strategy, dryRun, reason, changeSet });
  try {
    const path = `${configPath(context, key)}/merge`;
    return jsonOf<Merged>(await context.change({ method: 'POST', path, body }));
  } catch (error) {
    // Conflicts are an answer, too.
    if (error instanceof ProblemError && Array.isArray(error.body?.['conflicts'])) {
      return error.body as unknown as Merged;
    }
    throw error;
  }
}

function theirsOf(context: HttpContext, key: string, flags: MergeFlags): Record<string, unknown> {
  const { theirVersion, value, from } = flags;
  if ([theirVersion, value, from].filter((flag) => flag !== undefined).length !== 1)
    throw new UsageError('one of --their-version, --value and --from says what to merge');
  if (theirVersion !== undefined) return { version: theirVersion };
  if (value !== undefined) return { value: jsonOrText(value) };
  return { ref: { application: context.application(), environment: canonicalEnvironment(from!), key } };
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function linesOf({ merged, conflicts, saved }: Merged): string {
  const shown = (side: unknown): string => (side === undefined ? 'nothing' : plainText(side));
  const lines = conflicts.map(
    ({ pointer, base, ours, theirs }) =>
      `conflict at ${pointer === '' ? 'the value' : pointer}: it was ${shown(base)}, ours is ${shown(ours)}, theirs ${shown(theirs)}\n`,
  );
  return `${lines.join('')}${saved ? 'saved' : 'not saved'}: ${plainText(merged)}\n`;
}
