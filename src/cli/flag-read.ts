import type { Command } from 'commander';
import { naturalNumber, UsageError } from './arguments.ts';
import { cell, plainText, when } from './config-words.ts';
import { diffLines, type JsonDiff } from './diff-format.ts';
import { flagExperimentCommand } from './flag-experiment.ts';
import { flagPath, percent, type ShownFlag } from './flag-words.ts';
import { formatTable } from './format.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

/** Flags of one page. */
const PAGE_SIZE = 1_000;

/** `conclave flag list|get|explain|history|diff|stale|export|evaluations|experiment`: what changes no flag. */
export function flagReadCommands(parent: Command, io: CliIo): void {
  addList(parent, io);
  addGet(parent, io);
  addExplain(parent, io);
  addHistory(parent, io);
  addDiff(parent, io);
  addStale(parent, io);
  addExport(parent, io);
  addEvaluations(parent, io);
  flagExperimentCommand(parent, io);
}

interface ListFlags {
  readonly tag?: string;
  readonly search?: string;
  readonly prefix?: string;
}
interface FlagPage {
  readonly items: readonly ShownFlag[];
  readonly total: number;
}

function addList(parent: Command, io: CliIo): void {
  parent
    .command('list')
    .description('list flags, of all applications and environments unless they are named')
    .option('--tag <tag>', 'those that have it')
    .option('--search <words>', 'those with these words in key, application, tags or description')
    .option('--prefix <text>', 'those whose keys begin so')
    .action((flags: ListFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const { tag, search, prefix: keyPrefix } = flags;
        const { application, environment } = context.given;
        const query = { application, environment, tag, search, keyPrefix, size: PAGE_SIZE };
        const items: ShownFlag[] = [];
        for (let page = 0; ; page += 1) {
          const path = '/api/v1/flags';
          const answer = jsonOf<FlagPage>(
            await context.call({ method: 'GET', path, query: { ...query, page } }),
          );
          items.push(...answer.items);
          if (items.length >= answer.total || answer.items.length === 0) break;
        }
        await context.print({ body: { items }, lines: () => table(items) });
      }),
    );
}

function table(items: readonly ShownFlag[]): string {
  return formatTable(
    ['KEY', 'APPLICATION', 'ENVIRONMENT', 'STATE', 'TYPE', 'ROLLOUT', 'VERSION', 'CHANGED', 'BY'],
    items.map(({ key, application, environment, definition, version, updatedAt, updatedBy }) => [
      key,
      application,
      environment,
      definition.enabled ? 'on' : 'off',
      definition.type,
      rolloutOf(definition),
      String(version),
      when(updatedAt),
      updatedBy,
    ]),
  );
}

function rolloutOf({ rules }: ShownFlag['definition']): string {
  const rollout = rules.at(-1)?.rollout;
  return rollout === undefined || rollout === null ? '' : percent(rollout.share);
}

function addGet(parent: Command, io: CliIo): void {
  parent
    .command('get')
    .description('print a flag; of one that is inherited the one that holds')
    .argument('<key>')
    .action((key: string, _flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const query = { application: context.application(), environment: context.environment() };
        const path = '/api/v1/flags/effective';
        const { items } = jsonOf<FlagPage>(await context.call({ method: 'GET', path, query }));
        const flag = items.find((each) => each.key === key);
        if (flag === undefined) {
          throw new Error(`there is no flag ${key} of ${query.application} in ${query.environment}`);
        }
        await context.print({ body: flag, lines: () => details(flag) });
      }),
    );
}

function details({ key, application, environment, definition, ...flag }: ShownFlag): string {
  const { description, tags, version, updatedAt, updatedBy, source } = flag;
  const variants = Object.entries(definition.variants).map(
    ([name, value]) => `${name} = ${cell(plainText(value))}`,
  );
  const lines = [
    `Flag: ${key} of ${application} in ${environment}${source === 'inherited' ? ' (inherited)' : ''}`,
    ...(description === '' ? [] : [`Description: ${description}`]),
    `State: ${definition.enabled ? 'on' : 'off'}`,
    `Variants: ${variants.join(', ')}`,
    ...(tags.length === 0 ? [] : [`Tags: ${tags.join(', ')}`]),
    `Version: ${version}, ${when(updatedAt)} by ${updatedBy}`,
    `Definition: ${JSON.stringify(definition, null, 2)}`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}

interface Explained {
  readonly variant: string | null;
  readonly value: unknown;
  readonly reason: string;
  readonly lines: readonly string[];
}
interface ExplainFlags {
  readonly context?: readonly string[];
  readonly userKey?: string;
  readonly at?: string;
}

function addExplain(parent: Command, io: CliIo): void {
  parent
    .command('explain')
    .description('say what a flag answers for somebody, and why')
    .argument('<key>')
    .option('--user-key <key>', 'whom for: the targeting key')
    .option('--context <name=value...>', 'attributes; a value that is JSON counts as such')
    .option('--at <time>', 'at another time than now, in ISO 8601')
    .action((key: string, { context: attributes = [], userKey, at }: ExplainFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const asked = Object.fromEntries(attributes.map(attributeOf));
        const body = {
          key,
          application: context.application(),
          environment: context.environment(),
          context: userKey === undefined ? asked : { ...asked, targetingKey: userKey },
          at,
        };
        const path = '/api/v1/flags/explain';
        const answer = jsonOf<Explained>(
          await context.call({ method: 'POST', path, body: JSON.stringify(body) }),
        );
        await context.print({ body: answer, lines: () => answer.lines.map((line) => `${line}\n`).join('') });
      }),
    );
}

/** @throws UsageError */
function attributeOf(text: string): readonly [name: string, value: unknown] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`${text} is not of the form name=value`);
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value) as unknown];
  } catch {
    return [text.slice(0, at), value];
  }
}

interface Version {
  readonly version: number;
  readonly createdAt: string;
  readonly createdBy: string;
  readonly reason: string;
  readonly deleted: boolean;
  readonly definition: ShownFlag['definition'];
}

function addHistory(parent: Command, io: CliIo): void {
  parent
    .command('history')
    .description('list the versions of a flag, newest first; a deleted one has a history, too')
    .argument('<key>')
    .option('--limit <count>', 'at most so many', naturalNumber, 20)
    .action((key: string, { limit }: { readonly limit: number }, command: Command) =>
      withHttp(io, command, async (context) => {
        const items = await versionsOf(context, key, limit);
        await context.print({ body: { items }, lines: () => versionTable(items) });
      }),
    );
}

async function versionsOf(context: HttpContext, key: string, limit: number): Promise<readonly Version[]> {
  const items: Version[] = [];
  let before: number | undefined;
  while (items.length < limit) {
    const size = Math.min(100, limit - items.length);
    const path = `${flagPath(context, key)}/versions`;
    const page = jsonOf<{ readonly items: readonly Version[]; readonly next: number | null }>(
      await context.call({ method: 'GET', path, query: { before, size } }),
    );
    items.push(...page.items);
    if (page.next === null) break;
    before = page.next;
  }
  return items;
}

function versionTable(items: readonly Version[]): string {
  return formatTable(
    ['VERSION', 'AT', 'BY', 'STATE', 'ROLLOUT', 'REASON'],
    items.map(({ version, createdAt, createdBy, deleted, definition, reason }) => [
      String(version),
      when(createdAt),
      createdBy,
      stateOf(deleted, definition.enabled),
      rolloutOf(definition),
      reason,
    ]),
  );
}

function stateOf(isDeleted: boolean, isEnabled: boolean): string {
  if (isDeleted) return 'deleted';
  return isEnabled ? 'on' : 'off';
}

function addDiff(parent: Command, io: CliIo): void {
  parent
    .command('diff')
    .description('show what differs between two versions of a flag')
    .argument('<key>')
    .argument('<version>', 'as `history` lists it', naturalNumber)
    .argument('[other]', 'default: the present one', naturalNumber)
    .action((key: string, left: number, right: number | undefined, _flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const path = `${flagPath(context, key)}/compare`;
        const answer = jsonOf<{ readonly diff: JsonDiff; readonly isEqual: boolean }>(
          await context.call({ method: 'GET', path, query: { left, right } }),
        );
        const lines = (): string => (answer.isEqual ? 'nothing differs\n' : diffLines(answer.diff));
        await context.print({ body: answer, lines });
      }),
    );
}

interface Stale {
  readonly items: readonly {
    readonly flag: ShownFlag;
    readonly reasons: readonly string[];
    readonly unchangedDays: number;
  }[];
}

function addStale(parent: Command, io: CliIo): void {
  parent
    .command('stale')
    .description('list flags that may go: expired, or long unchanged and deciding nothing')
    .option('--days <count>', 'without a change (default: 30)', naturalNumber)
    .action(({ days }: { readonly days?: number }, command: Command) =>
      withHttp(io, command, async (context) => {
        const query = { ...context.given, days };
        const answer = jsonOf<Stale>(
          await context.call({ method: 'GET', path: '/api/v1/flags/stale', query }),
        );
        await context.print({
          body: answer,
          lines: () =>
            formatTable(
              ['KEY', 'APPLICATION', 'ENVIRONMENT', 'UNCHANGED', 'WHY'],
              answer.items.map(({ flag, reasons, unchangedDays }) => [
                flag.key,
                flag.application,
                flag.environment,
                `${unchangedDays} days`,
                reasons.join(', '),
              ]),
            ),
        });
      }),
    );
}

interface Exported {
  readonly document: unknown;
  readonly findings: readonly { readonly flag: string; readonly field: string; readonly message: string }[];
}

function addExport(parent: Command, io: CliIo): void {
  parent
    .command('export')
    .description("print the flags of an application in an environment as flagd's JSON, as they stand now")
    .action((_flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const query = { application: context.application(), environment: context.environment() };
        const path = '/api/v1/flags/export';
        const { document, findings } = jsonOf<Exported>(await context.call({ method: 'GET', path, query }));
        for (const { flag, field, message } of findings) {
          io.err(`warning: ${flag} is left out: ${field === '' ? '' : `${field}: `}${message}\n`);
        }
        await context.print({ body: document, lines: () => `${JSON.stringify(document, null, 2)}\n` });
      }),
    );
}

interface EvaluationFlags {
  readonly flag?: string;
  readonly from?: string;
  readonly to?: string;
  readonly csv?: boolean;
}

function addEvaluations(parent: Command, io: CliIo): void {
  parent
    .command('evaluations')
    .description('print how often flags answered what, by hour, variant, reason and service')
    .option('--flag <key>', 'one flag alone')
    .option('--from <time>', 'default: 24 hours ago')
    .option('--to <time>', 'default: now')
    .option('--csv', 'as CSV; default: a JSON object a line')
    .action(({ flag, from, to, csv }: EvaluationFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const path = `/api/v1/feature-flags/${encodeURIComponent(context.application())}/evaluations`;
        const format = csv === true ? 'csv' : 'json-lines';
        const query = { environment: context.environment(), flag, from, to, format };
        const { body } = await context.call({ method: 'GET', path, query });
        await io.out(body.toString());
      }),
    );
}
