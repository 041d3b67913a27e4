import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { naturalNumber, positiveSeconds, UsageError } from './arguments.ts';
import { lookUp, nameQuery, type ShownValue } from './config-read.ts';
import {
  type ChangeFlags,
  changeQuery,
  configPath,
  guessedType,
  isAbsent,
  type TypeWord,
  typeFields,
  typeWord,
} from './config-words.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

/** 002's ConfigurationResponse, as far as it is printed. */
interface Written {
  readonly key: string;
  readonly environment: string;
  readonly application: string;
  readonly version: number;
  readonly warnings?: readonly { readonly field: string; readonly message: string }[];
}

/** The options of a command that says what a configuration is to be. */
export interface ContentFlags extends ChangeFlags {
  readonly type?: TypeWord;
  readonly secret?: boolean;
  readonly description?: string;
  readonly schemaFile?: string;
  readonly tag?: readonly string[];
  readonly ttl?: number;
}

/** `conclave config set|delete|undelete|rollback`: changes of one configuration. */
export function changeCommands(parent: Command, io: CliIo): void {
  addSet(parent, io);
  addDelete(parent, io);
  addUndelete(parent, io);
  addRollback(parent, io);
}

/** Adds what every change may say of itself. */
export function addChangeFlags(command: Command): Command {
  return command
    .option('--reason <text>', 'why, for the history and the audit trail')
    .option('--change-set <name>', 'the named release that the change belongs to');
}

/** Adds the options that say what a configuration is to be. */
export function addContentFlags(command: Command): Command {
  return addChangeFlags(command)
    .option(
      '--type <type>',
      'string, number, integer, float, boolean, json, array or secret; default: as it is, of a new one what it looks like',
      typeWord,
    )
    .option('--secret', 'the same as --type secret')
    .option('--description <text>')
    .option('--schema-file <file>', "a JSON Schema that values must keep to; '' for none")
    .option('--tag <tag...>', 'in place of the tags that it has')
    .option('--ttl <duration>', 'after which it ends by itself, such as 90s or 5m', positiveSeconds);
}

/**
 * The body of a request that sets a value, in 000's form.
 *
 * @param text undefined = it is read from standard input
 */
export async function setBody(
  context: HttpContext,
  {
    key,
    text,
    flags,
  }: { readonly key: string; readonly text: string | undefined; readonly flags: ContentFlags },
): Promise<Record<string, unknown>> {
  if (flags.secret === true && flags.type !== undefined && flags.type !== 'secret')
    throw new UsageError('--secret and --type contradict each other');
  const value = text ?? withoutLineEnd((await context.io.readStdin()).toString());
  const type = flags.secret === true ? 'secret' : (flags.type ?? (await presentType(context, key, value)));
  const { description, schemaFile, tag, ttl, reason, changeSet } = flags;
  return {
    ...nameQuery(context, key),
    value,
    ...typeFields(type),
    description,
    schema: schemaFile === undefined || schemaFile === '' ? schemaFile : await readFile(schemaFile, 'utf8'),
    tags: tag,
    ttlSeconds: ttl,
    reason,
    changeSet,
  };
}

/** Of a configuration that is there undefined: it stays what it is. Else that of what shows through, or what the text means. */
async function presentType(context: HttpContext, key: string, value: string): Promise<TypeWord | undefined> {
  try {
    const found = await lookUp(context, key);
    return found.source === 'own' ? undefined : coarseType(found);
  } catch (error) {
    if (!isAbsent(error)) throw error;
    return guessedType(value);
  }
}

function coarseType({ valueType }: ShownValue): TypeWord {
  return valueType.toLowerCase() as TypeWord;
}

/** What a shell adds at the end. */
function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, '');
}

// ---- set ----------------------------------------------------------------------------------------------------

interface SetFlags extends ContentFlags {
  readonly ifMatch?: string;
}

function addSet(parent: Command, io: CliIo): void {
  addContentFlags(parent.command('set'))
    .description('create or change a configuration; a value that is not given is read from standard input')
    .argument('<key>')
    .argument('[value]')
    .option('--if-match <etag>', 'only if nobody has changed it since that entity tag')
    .addHelpText(
      'after',
      `
Examples:
  $ conclave config set db.pool.max 20 --application pay --environment PROD --reason 'more load'
  $ conclave config set db.password --secret < password.txt`,
    )
    .action((key: string, text: string | undefined, flags: SetFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const body = await setBody(context, { key, text, flags });
        const headers = flags.ifMatch === undefined ? {} : { 'if-match': quoted(flags.ifMatch) };
        const answer = await context.change({
          method: 'POST',
          path: '/config/set',
          headers,
          body: JSON.stringify(body),
        });
        await told(context, jsonOf<Written>(answer), 'is');
      }),
    );
}

/** An entity tag as it stands in the header. */
function quoted(etag: string): string {
  return /^(?:"|W\/|\*$)/.test(etag) ? etag : `"${etag}"`;
}

async function told(context: HttpContext, written: Written, what: string): Promise<void> {
  for (const { field, message } of written.warnings ?? []) context.io.err(`warning: ${field}: ${message}\n`);
  await context.print({
    body: written,
    lines: () => `${nameOf(written)} ${what} at version ${written.version}\n`,
  });
}

/** Answers spell the environment as 002 does, or as our own paths do. */
function nameOf({ key, application, environment }: Written): string {
  return `${key} of ${application} in ${canonicalEnvironment(environment)}`;
}

// ---- delete -------------------------------------------------------------------------------------------------

function addDelete(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('delete'))
    .description('delete a configuration; its versions stay, and undelete brings it back')
    .argument('<key>')
    .action((key: string, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        await context.change({
          method: 'DELETE',
          path: configPath(context, key),
          query: changeQuery(flags),
        });
        await context.print({ body: { key, deleted: true }, lines: () => `${key} is deleted\n` });
      }),
    );
}

function addUndelete(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('undelete'))
    .description('bring back a configuration that was deleted, or has expired')
    .argument('<key>')
    .action((key: string, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const path = `${configPath(context, key)}/undelete`;
        const answer = await context.change({ method: 'POST', path, query: changeQuery(flags) });
        await told(context, jsonOf<Written>(answer), 'is back,');
      }),
    );
}

// ---- rollback -----------------------------------------------------------------------------------------------

interface RollbackFlags extends ChangeFlags {
  readonly ofChangeSet?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

function addRollback(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('rollback'))
    .description('make an earlier version the present one, as a new version; or take back a named release')
    .argument('[key]')
    .argument('[version]', 'as `history` lists it', naturalNumber)
    .option('--of-change-set <name>', 'all that was changed under this name, without a key')
    .option('--force', 'of a release: also what somebody has changed since')
    .option('--dry-run', 'of a release: print what would be different, but change nothing')
    .action((key: string | undefined, version: number | undefined, flags: RollbackFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const { ofChangeSet, reason, changeSet } = flags;
        if (ofChangeSet !== undefined && key === undefined) return rollBackSet(context, ofChangeSet, flags);
        if (key === undefined || version === undefined || ofChangeSet !== undefined)
          throw new UsageError('either a key and a version, or --of-change-set');
        const answer = await context.change({
          method: 'POST',
          path: `${configPath(context, key)}/rollback`,
          body: JSON.stringify({ version, reason, changeSet }),
        });
        await told(context, jsonOf<Written>(answer), `is as it was in version ${version},`);
      }),
    );
}

interface RolledBack {
  readonly items: readonly { readonly type: string; readonly after: Written }[];
  readonly features: readonly (Written & { readonly kind: string })[];
}

async function rollBackSet(
  context: HttpContext,
  name: string,
  { force, dryRun, reason }: RollbackFlags,
): Promise<void> {
  const answer = await context.change({
    method: 'POST',
    path: `/api/v1/change-sets/${encodeURIComponent(name)}/rollback`,
    body: JSON.stringify({ force, dryRun, reason }),
  });
  const result = jsonOf<RolledBack>(answer);
  await context.print({
    body: result,
    lines: () => {
      const { items, features } = result;
      if (items.length + features.length === 0) return `what ${name} changed is as it was before\n`;
      const lines = items.map((item) => rolledBackLine(item, dryRun === true));
      return [...lines, ...features.map((each) => featureBackLine(each, dryRun === true))].join('');
    },
  });
}

function featureBackLine(
  { kind, key, application, environment, version }: RolledBack['features'][number],
  isDry: boolean,
): string {
  const what = `${kind} ${key} of ${application} in ${environment}`;
  return `${what} ${isDry ? 'would be' : 'is'} as it was before, at version ${version}\n`;
}

function rolledBackLine({ type, after }: RolledBack['items'][number], isDry: boolean): string {
  const what = nameOf(after);
  return isDry ? `${what} would be ${type}\n` : `${what} is ${type}, at version ${after.version}\n`;
}
