import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { UsageError } from './arguments.ts';
import { addChangeFlags } from './config-change.ts';
import { type ChangeFlags, cell, changeQuery, guessedType, plainText } from './config-words.ts';
import { formatTable } from './format.ts';
import { addServiceFlags, type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

const PATH = '/api/v1/applications';

type Values = Readonly<Record<string, unknown>>;

interface Application {
  readonly name: string;
  readonly description: string;
  readonly defaults: Values;
  readonly rules: readonly { readonly name: string; readonly expression: string; readonly message: string }[];
  readonly version: number;
  readonly etag: string;
}

interface ApplicationFlags extends ChangeFlags {
  readonly description?: string;
  /** Each `key=value`. */
  readonly default?: readonly string[];
  readonly unsetDefault?: readonly string[];
  readonly rulesFile?: string;
}

/** `conclave app`: applications, the values they have by default, and their rules over several keys. */
export function appCommands(parent: Command, io: CliIo): void {
  const app = addServiceFlags(parent.command('app')).description(
    'show and change applications: their default values, and rules over several keys',
  );
  addReads(app, io);
  addCreate(app, io);
  addSet(app, io);
  addDelete(app, io);
}

function pathOf(name: string): string {
  return `${PATH}/${encodeURIComponent(name)}`;
}

async function read(context: HttpContext, name: string): Promise<Application> {
  return jsonOf<Application>(await context.call({ method: 'GET', path: pathOf(name) }));
}

function addReads(app: Command, io: CliIo): void {
  app
    .command('list')
    .description('list all applications')
    .action((_flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const answer = jsonOf<{ readonly items: readonly Application[] }>(
          await context.call({ method: 'GET', path: PATH }),
        );
        await context.print({ body: answer, lines: () => table(answer.items) });
      }),
    );
  app
    .command('get')
    .description('print an application')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const found = await read(context, name);
        await context.print({ body: found, lines: () => details(found) });
      }),
    );
}

// ---- create, set, delete ------------------------------------------------------------------------------------

function addContentFlags(command: Command): Command {
  return addChangeFlags(command)
    .option('--description <text>')
    .option(
      '--default <key=value...>',
      'what holds where no environment has a value; its type is what it looks like',
    )
    .option(
      '--rules-file <file>',
      "the rules, as a JSON list of name, expression (CEL) and message; '' for none",
    );
}

function addCreate(app: Command, io: CliIo): void {
  addContentFlags(app.command('create'))
    .description('make an application; its first configuration does so, too')
    .argument('<name>')
    .action((name: string, flags: ApplicationFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const body = { name, ...(await bodyOf(flags, {})) };
        const answer = await context.change({ method: 'POST', path: PATH, body: JSON.stringify(body) });
        await printWritten(context, jsonOf<Application>(answer));
      }),
    );
}

function addSet(app: Command, io: CliIo): void {
  addContentFlags(app.command('set'))
    .description('change an application; what is left out stays')
    .argument('<name>')
    .option('--unset-default <key...>', 'it has no value by default any more')
    .action((name: string, flags: ApplicationFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const present = await read(context, name);
        const answer = await context.change({
          method: 'PUT',
          path: pathOf(name),
          // Default values are sent whole: those that somebody else sets meanwhile must not be lost.
          headers: { 'if-match': `"${present.etag}"` },
          body: JSON.stringify(await bodyOf(flags, present.defaults)),
        });
        await printWritten(context, jsonOf<Application>(answer));
      }),
    );
}

function addDelete(app: Command, io: CliIo): void {
  addChangeFlags(app.command('delete'))
    .description('delete an application that has no configurations')
    .argument('<name>')
    .action((name: string, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        await context.change({ method: 'DELETE', path: pathOf(name), query: changeQuery(flags) });
        await context.print({ body: { name, deleted: true }, lines: () => `${name} is deleted\n` });
      }),
    );
}

/** @param present the default values that it has */
async function bodyOf(flags: ApplicationFlags, present: Values): Promise<Record<string, unknown>> {
  const { description, reason, changeSet, rulesFile } = flags;
  return {
    description,
    defaults: defaultsOf(flags, present),
    rules: rulesFile === undefined ? undefined : await rulesIn(rulesFile),
    reason,
    changeSet,
  };
}

function defaultsOf(
  { default: given = [], unsetDefault = [] }: ApplicationFlags,
  present: Values,
): Values | undefined {
  if (given.length === 0 && unsetDefault.length === 0) return undefined;
  const unknown = unsetDefault.filter((key) => !Object.hasOwn(present, key));
  if (unknown.length > 0) throw new UsageError(`there is no default value of ${unknown.join(', ')}`);
  const staying = Object.entries(present).filter(([key]) => !unsetDefault.includes(key));
  return Object.fromEntries([...staying, ...given.map(keyAndValue)]);
}

/** @throws UsageError */
function keyAndValue(word: string): readonly [string, unknown] {
  const at = word.indexOf('=');
  if (at < 1) throw new UsageError(`--default: ${word} is not KEY=VALUE`);
  const text = word.slice(at + 1);
  return [word.slice(0, at), guessedType(text) === 'string' ? text : JSON.parse(text)];
}

async function rulesIn(file: string): Promise<unknown> {
  if (file === '') return [];
  const text = await readFile(file, 'utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${file} is no JSON: ${(cause as Error).message}`, { cause });
  }
}

// ---- for people ---------------------------------------------------------------------------------------------

async function printWritten(context: HttpContext, written: Application): Promise<void> {
  await context.print({ body: written, lines: () => details(written) });
}

function table(items: readonly Application[]): string {
  return formatTable(
    ['NAME', 'DEFAULTS', 'RULES', 'VERSION', 'DESCRIPTION'],
    items.map(({ name, defaults, rules, version, description }) => [
      name,
      String(Object.keys(defaults).length),
      String(rules.length),
      String(version),
      cell(description),
    ]),
  );
}

function details({ name, description, defaults, rules, version }: Application): string {
  const lines = [
    `Application: ${name}`,
    ...(description === '' ? [] : [`Description: ${description}`]),
    ...Object.entries(defaults).map(([key, value]) => `Default: ${key} = ${plainText(value)}`),
    ...rules.map((rule) => `Rule: ${rule.name}: ${rule.expression} (${rule.message})`),
    `Version: ${version}`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}
