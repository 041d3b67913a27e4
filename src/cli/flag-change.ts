import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { naturalNumber, UsageError } from './arguments.ts';
import { addChangeFlags } from './config-change.ts';
import { type ChangeFlags, changeQuery, isAbsent } from './config-words.ts';
import { flagPath, type ShownFlag } from './flag-words.ts';
import { formatTable } from './format.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

/** What `--boolean` makes. */
const BOOLEAN_FLAG = {
  type: 'boolean',
  enabled: false,
  variants: { on: true, off: false },
  offVariant: 'off',
  fallthrough: { variant: 'on' },
};

/** `conclave flag set|enable|disable|rollout|rollback|delete|undelete|import|promote`: changes of flags. */
export function flagChangeCommands(parent: Command, io: CliIo): void {
  addSet(parent, io);
  addSwitches(parent, io);
  addRollout(parent, io);
  addRollback(parent, io);
  addDelete(parent, io);
  addUndelete(parent, io);
  addImport(parent, io);
  addPromote(parent, io);
}

interface SetFlags extends ChangeFlags {
  readonly file?: string;
  readonly boolean?: boolean;
  readonly description?: string;
  readonly tag?: readonly string[];
}

function addSet(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('set'))
    .description('create or change a flag; its definition is JSON, from --file or from standard input (-)')
    .argument('<key>')
    .option('--file <file>', 'the definition; - reads standard input')
    .option('--boolean', 'a plain switch with the variants on and off, off until it is enabled')
    .option('--description <text>')
    .option('--tag <tag...>', 'in place of the tags that it has')
    .addHelpText(
      'after',
      `
Examples:
  $ conclave flag set new-checkout --boolean --description 'The new checkout'
  $ conclave flag set banner --file banner.json --reason 'another colour'`,
    )
    .action((key: string, flags: SetFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const definition = await definitionOf(context, flags);
        const { description, tag: tags, reason, changeSet } = flags;
        const content = { definition, description, tags, reason, changeSet };
        await told(context, await put(context, key, content), 'is');
      }),
    );
}

async function definitionOf({ io }: HttpContext, { file, boolean }: SetFlags): Promise<unknown> {
  if (file !== undefined && boolean === true)
    throw new UsageError('--file and --boolean contradict each other');
  if (boolean === true) return BOOLEAN_FLAG;
  if (file === undefined) return undefined;
  const text = file === '-' ? (await io.readStdin()).toString() : await readFile(file, 'utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new UsageError(`${file} is no JSON`, { cause });
  }
}

/** Changes what is there, else makes it. */
async function put(context: HttpContext, key: string, content: Record<string, unknown>): Promise<ShownFlag> {
  const body = JSON.stringify(content);
  try {
    const answer = await context.change({ method: 'PUT', path: flagPath(context, key), body });
    return jsonOf<ShownFlag>(answer);
  } catch (error) {
    if (!isAbsent(error)) throw error;
    const name = { application: context.application(), environment: context.environment(), key };
    const made = JSON.stringify({ ...name, ...content });
    return jsonOf<ShownFlag>(await context.change({ method: 'POST', path: '/api/v1/flags', body: made }));
  }
}

async function told(context: HttpContext, flag: ShownFlag, what: string): Promise<void> {
  const { key, application, environment, version } = flag;
  await context.print({
    body: flag,
    lines: () => `${key} of ${application} in ${environment} ${what} at version ${version}\n`,
  });
}

function addSwitches(parent: Command, io: CliIo): void {
  for (const [word, text] of [
    ['enable', 'turn a flag on'],
    ['disable', 'turn a flag off for everybody, whatever its rules say'],
  ] as const) {
    addChangeFlags(parent.command(word))
      .description(text)
      .argument('<key>')
      .action((key: string, flags: ChangeFlags, command: Command) =>
        withHttp(io, command, async (context) => {
          const path = `${flagPath(context, key)}/${word}`;
          const answer = await context.change({ method: 'POST', path, query: changeQuery(flags) });
          await told(context, jsonOf(answer), `is ${word}d,`);
        }),
      );
  }
}

interface RolloutFlags extends ChangeFlags {
  readonly variant?: string;
}

function addRollout(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('rollout'))
    .description('let a share of everybody in; who was in at a smaller share stays in')
    .argument('<key>')
    .argument('<percentage>', '0 to 100, with two decimals at most', percentage)
    .option('--variant <name>', 'what those get who are let in; default: what is on')
    .action((key: string, share: number, { variant, ...flags }: RolloutFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const answer = await context.change({
          method: 'POST',
          path: `${flagPath(context, key)}/rollout`,
          body: JSON.stringify({ percentage: share, variant, ...changeQuery(flags) }),
        });
        await told(context, jsonOf(answer), `is rolled out to ${share} %,`);
      }),
    );
}

function percentage(text: string): number {
  if (!/^\d{1,3}(?:\.\d{1,2})?$/.test(text) || Number(text) > 100) {
    throw new InvalidArgumentError('It is not a percentage from 0 to 100 with two decimals at most.');
  }
  return Number(text);
}

function addRollback(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('rollback'))
    .description('make an earlier version the present one, as a new version')
    .argument('<key>')
    .argument('<version>', 'as `history` lists it', naturalNumber)
    .action((key: string, version: number, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const answer = await context.change({
          method: 'POST',
          path: `${flagPath(context, key)}/rollback`,
          body: JSON.stringify({ version, ...changeQuery(flags) }),
        });
        await told(context, jsonOf(answer), `is as it was in version ${version},`);
      }),
    );
}

function addDelete(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('delete'))
    .description('delete a flag; its versions stay, and undelete brings it back')
    .argument('<key>')
    .action((key: string, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        await context.change({ method: 'DELETE', path: flagPath(context, key), query: changeQuery(flags) });
        await context.print({ body: { key, deleted: true }, lines: () => `${key} is deleted\n` });
      }),
    );
}

function addUndelete(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('undelete'))
    .description('bring back a flag that was deleted')
    .argument('<key>')
    .action((key: string, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const path = `${flagPath(context, key)}/undelete`;
        const answer = await context.change({ method: 'POST', path, query: changeQuery(flags) });
        await told(context, jsonOf(answer), 'is back,');
      }),
    );
}

interface ImportFlags extends ChangeFlags {
  readonly dryRun?: boolean;
  readonly partial?: boolean;
}
interface Imported {
  readonly items: readonly { readonly kind: string; readonly key: string; readonly type: string }[];
  readonly findings: readonly { readonly field: string; readonly message: string }[];
}

function addImport(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('import'))
    .description("take flags over from flagd's JSON; those that are not in it stay")
    .argument('<file>', '- reads standard input')
    .option('--dry-run', 'print what would become of each, but change nothing')
    .option('--partial', 'leave out what cannot be taken over')
    .action((file: string, { dryRun, partial, ...flags }: ImportFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const body = file === '-' ? await io.readStdin() : await readFile(file);
        const scope = { application: context.application(), environment: context.environment() };
        const query = { ...scope, dryRun, partial, ...changeQuery(flags) };
        const path = '/api/v1/flags/import';
        const answer = jsonOf<Imported>(
          await context.change({ method: 'POST', path, query, body: body.toString() }),
        );
        for (const { field, message } of answer.findings) io.err(`warning: ${field}: ${message}\n`);
        await context.print({
          body: answer,
          lines: () =>
            formatTable(
              ['KIND', 'KEY', dryRun === true ? 'WOULD BE' : 'IS'],
              answer.items.map(({ kind, key, type }) => [kind, key, type]),
            ),
        });
      }),
    );
}

interface PromoteFlags extends ChangeFlags {
  readonly from?: string;
  readonly to?: string;
  readonly segment?: readonly string[];
  readonly dryRun?: boolean;
}
interface Promoted {
  readonly items: readonly { readonly type: string; readonly after: ShownFlag & { readonly kind: string } }[];
}

function addPromote(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('promote'))
    .description(
      'take flags and segments of an application from one environment to another, together or not at all',
    )
    .argument('[key...]', 'flags; default: all flags and segments that --from has itself')
    .option('--segment <key...>', 'segments')
    .option('--from <environment>')
    .option('--to <environment>')
    .option('--dry-run', 'print what would be different, but change nothing')
    .action((keys: readonly string[], flags: PromoteFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const { from, to, segment, dryRun, reason, changeSet } = flags;
        if (from === undefined || to === undefined) throw new UsageError('--from and --to are needed');
        const body = JSON.stringify({
          application: context.application(),
          from: canonicalEnvironment(from),
          to: canonicalEnvironment(to),
          ...(keys.length === 0 ? {} : { flags: keys }),
          segments: segment,
          dryRun,
          reason,
          changeSet,
        });
        const path = '/api/v1/flags/promotions';
        const answer = jsonOf<Promoted>(await context.change({ method: 'POST', path, body }));
        await context.print({ body: answer, lines: () => promoted(answer, dryRun === true) });
      }),
    );
}

function promoted({ items }: Promoted, isTried: boolean): string {
  const changed = items.filter(({ type }) => type !== 'unchanged');
  if (changed.length === 0) return 'Nothing is different\n';
  return formatTable(
    ['KIND', 'KEY', isTried ? 'WOULD BE' : 'IS', 'VERSION'],
    changed.map(({ type, after }) => [after.kind, after.key, type, String(after.version)]),
  );
}
