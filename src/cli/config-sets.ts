import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { type Command, Option } from 'commander';
import { ClientError } from '../client/client-error.ts';
import type { HttpStream } from '../client/http-client.ts';
import { problemIn } from '../client/problem.ts';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { UsageError } from './arguments.ts';
import { addChangeFlags } from './config-change.ts';
import { type ChangeFlags, cell, changeQuery, plainText } from './config-words.ts';
import { formatTable } from './format.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';
import { linesFrom } from './lines.ts';
import { Progress } from './progress.ts';
import { oneLine } from './visible.ts';

const FORMATS = ['json', 'yaml', 'dotenv', 'properties'] as const;
type Format = (typeof FORMATS)[number];

const MEDIA_TYPES: Readonly<Record<Format, string>> = {
  json: 'application/json',
  yaml: 'application/yaml',
  dotenv: 'text/plain',
  properties: 'text/x-java-properties',
};
const EXTENSIONS: Readonly<Record<string, Format>> = {
  '.json': 'json',
  '.yaml': 'yaml',
  '.yml': 'yaml',
  '.env': 'dotenv',
  '.properties': 'properties',
};

interface Side {
  readonly value: unknown;
}
/** A key that an import or a promotion changes. */
interface Changed {
  readonly key: string;
  readonly type: string;
  readonly before: Side | null;
  readonly after: Side | null;
}
interface Warning {
  readonly field: string;
  readonly message: string;
}

/** `conclave config import|export|promote`: many configurations at once. */
export function setCommands(parent: Command, io: CliIo): void {
  addImport(parent, io);
  addExport(parent, io);
  addPromote(parent, io);
}

function addShape(command: Command): Command {
  return command
    .addOption(new Option('--format <form>', 'how the values are written').choices(FORMATS))
    .addOption(
      new Option('--shape <shape>', 'of JSON and YAML: keys as they are, or objects in objects at their dots')
        .choices(['flat', 'nested'])
        .default('flat'),
    );
}

// ---- import -------------------------------------------------------------------------------------------------

interface ImportFlags extends ChangeFlags {
  readonly format?: Format;
  readonly shape: string;
  readonly dryRun?: boolean;
  readonly deleteMissing?: boolean;
  readonly secretKey?: readonly string[];
}
interface Imported {
  readonly created: number;
  readonly updated: number;
  readonly deleted: number;
  readonly unchanged: number;
  readonly items: readonly Changed[];
  readonly more: boolean;
  readonly warnings: readonly Warning[];
}

function addImport(parent: Command, io: CliIo): void {
  addChangeFlags(addShape(parent.command('import')))
    .description('take the values of an application from a file; what is there already is left alone')
    .argument('<file>', "'-' for standard input")
    .option('--dry-run', 'print what would be different, but change nothing')
    .option('--delete-missing', 'also delete what the environment has and the file has not')
    .option('--secret-key <key...>', 'keys whose values are secrets')
    .addHelpText(
      'after',
      `
The format is that of the file's name (.json, .yaml, .yml, .env, .properties) unless --format says it.
An import that was interrupted is gone on with by repeating it.

Example:
  $ conclave config import pay.yaml --shape nested --dry-run --application pay --environment TEST`,
    )
    .action((file: string, flags: ImportFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const result = await importFile(context, file, flags);
        for (const { field, message } of result.warnings)
          io.err(`warning: ${oneLine(`${field}: ${message}`)}\n`);
        await context.print({ body: result, lines: () => importLines(result, flags) });
      }),
    );
}

async function importFile(context: HttpContext, file: string, flags: ImportFlags): Promise<Imported> {
  const format = flags.format ?? EXTENSIONS[extname(file === '.env' ? 'file.env' : file)];
  if (format === undefined) throw new UsageError(`--format is one of ${FORMATS.join(', ')}`);
  const text = file === '-' ? await context.io.readStdin() : await readFile(file);
  const { shape, dryRun, deleteMissing, secretKey } = flags;
  const answer = await context.streamChange({
    method: 'POST',
    path: '/api/v1/import',
    query: {
      application: context.application(),
      environment: context.environment(),
      format,
      shape,
      dryRun,
      deleteMissing,
      secretKeys: secretKey?.join(','),
      ...changeQuery(flags),
    },
    headers: {
      'content-type': `${MEDIA_TYPES[format]}; charset=utf-8`,
      accept: 'application/x-ndjson, application/json, application/problem+json',
    },
    body: text,
  });
  return followed(context, answer);
}

/** What a line may say besides the result. */
interface Line {
  readonly progress?: { readonly done: number; readonly total: number };
  readonly problem?: Readonly<Record<string, unknown>>;
}

/** A line now and then says how far it is; the last one is the result. */
async function followed({ io }: HttpContext, { body }: HttpStream): Promise<Imported> {
  using progress = new Progress(io, {
    label: 'importing',
    totalBytes: 0,
    format: (count) => `${count} values`,
  });
  let result: Imported | null = null;
  for await (const line of linesFrom(body)) {
    const json = jsonOf<Imported & Line>({ body: Buffer.from(line) });
    if (json.problem !== undefined) throw problemIn(Number(json.problem['status']), json.problem);
    if (json.progress === undefined) result = json;
    else progress.update(json.progress.done, json.progress.total);
  }
  if (result === null)
    throw new ClientError('unavailable', 'the answer ended early; repeat the import to go on with it');
  return result;
}

function importLines(result: Imported, { dryRun }: ImportFlags): string {
  const { created, updated, deleted, unchanged, items, more } = result;
  const counts = `${created} created, ${updated} updated, ${deleted} deleted, ${unchanged} as they were\n`;
  if (dryRun !== true) return counts;
  const table = items.length === 0 ? '' : changeTable(items);
  return `${table}${more ? 'and more\n' : ''}Nothing was changed; it would be: ${counts}`;
}

function changeTable(items: readonly Changed[]): string {
  const shown = (side: Side | null): string => (side === null ? '' : cell(plainText(side.value)));
  return formatTable(
    ['', 'KEY', 'BEFORE', 'AFTER'],
    items.map(({ type, key, before, after }) => [type, key, shown(before), shown(after)]),
  );
}

// ---- export -------------------------------------------------------------------------------------------------

interface ExportFlags {
  readonly format?: Format;
  readonly shape: string;
  readonly inherited?: boolean;
  readonly reveal?: boolean;
}

function addExport(parent: Command, io: CliIo): void {
  addShape(parent.command('export'))
    .description('print the values of an application in an environment as one text')
    .option('--inherited', 'also what the environment inherits, and defaults')
    .option('--reveal', 'secrets themselves, which is recorded; else their mask, which an import passes over')
    .addHelpText(
      'after',
      '\nExample:\n  $ conclave config export --format dotenv --application pay --environment PROD',
    )
    .action((flags: ExportFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const { format = 'json', shape, inherited, reveal } = flags;
        const { body } = await context.stream({
          method: 'GET',
          path: '/api/v1/export',
          query: {
            application: context.application(),
            environment: context.environment(),
            format,
            shape,
            inherited,
            reveal,
          },
          headers: { accept: '*/*' },
        });
        for await (const chunk of body) await io.out(chunk);
      }),
    );
}

// ---- promote ------------------------------------------------------------------------------------------------

interface PromoteFlags extends ChangeFlags {
  readonly from?: string;
  readonly to?: string;
  readonly deleteMissing?: boolean;
  readonly dryRun?: boolean;
}
interface Promoted {
  readonly items: readonly {
    readonly type: 'created' | 'updated' | 'deleted' | 'unchanged';
    readonly before: Side | null;
    readonly after: Side & { readonly key: string };
  }[];
  readonly warnings: readonly Warning[];
}

function addPromote(parent: Command, io: CliIo): void {
  addChangeFlags(parent.command('promote'))
    .description(
      'take configurations of an application from one environment to another, together or not at all',
    )
    .argument('[key...]', 'default: all that --from has itself')
    .option('--from <environment>')
    .option('--to <environment>')
    .option('--delete-missing', 'also delete what --from does not have')
    .option('--dry-run', 'print what would be different, but change nothing')
    .addHelpText(
      'after',
      '\nExample:\n  $ conclave config promote --from STAGING --to PROD --application pay --dry-run',
    )
    .action((keys: readonly string[], flags: PromoteFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const { from, to, deleteMissing, dryRun, reason, changeSet } = flags;
        if (from === undefined || to === undefined) throw new UsageError('--from and --to are needed');
        const body = JSON.stringify({
          application: context.application(),
          from: canonicalEnvironment(from),
          to: canonicalEnvironment(to),
          ...(keys.length === 0 ? {} : { keys }),
          deleteMissing,
          dryRun,
          reason,
          changeSet,
        });
        const answer = await context.change({ method: 'POST', path: '/api/v1/promotions', body });
        const result = jsonOf<Promoted>(answer);
        for (const { field, message } of result.warnings)
          io.err(`warning: ${oneLine(`${field}: ${message}`)}\n`);
        await context.print({ body: result, lines: () => promotedLines(result, flags) });
      }),
    );
}

function promotedLines({ items }: Promoted, { dryRun }: PromoteFlags): string {
  const changed = items
    .filter(({ type }) => type !== 'unchanged')
    .map(({ type, before, after }) => ({
      key: after.key,
      type,
      before,
      after: type === 'deleted' ? null : after,
    }));
  if (changed.length === 0) return 'Nothing is different\n';
  return `${changeTable(changed)}${dryRun === true ? 'Nothing was changed\n' : ''}`;
}
