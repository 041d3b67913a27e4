import type { Command } from 'commander';
import { naturalNumber } from './arguments.ts';
import { cell, configPath, plainText, type TypeWord, typeWord, when } from './config-words.ts';
import { formatTable } from './format.ts';
import { type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

/** Configurations and versions that are asked for at once. */
const PAGE_SIZE = 1_000;

/** 002's ConfigurationValue. */
export interface ShownValue {
  readonly key: string;
  readonly value: string;
  readonly valueType: string;
  readonly valueSubtype: string;
  readonly version: number;
  /** own, inherited or default. */
  readonly source: string;
  readonly environment?: string;
}
interface Listed {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
  readonly type: string;
  readonly value: unknown;
  readonly version: number;
  readonly updatedAt: string;
}
interface ListPage {
  readonly items: readonly Listed[];
  readonly total: number;
}
interface Version {
  readonly version: number;
  readonly value: unknown;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly reason: string;
  readonly deleted: boolean;
}

/** `conclave config get|list|history`: what there is, and was. */
export function readCommands(parent: Command, io: CliIo): void {
  addGet(parent, io);
  addList(parent, io);
  addHistory(parent, io);
}

/** What holds for a key, secrets masked unless they are to be revealed. @throws ProblemError, ClientError */
export async function lookUp(
  context: HttpContext,
  key: string,
  more: { readonly reveal?: boolean; readonly default?: string } = {},
): Promise<ShownValue> {
  const query = { ...nameQuery(context, key), ...more };
  return jsonOf<ShownValue>(await context.call({ method: 'GET', path: '/config/get', query }));
}

/** Names a configuration in a query. */
export function nameQuery(
  context: HttpContext,
  key: string,
): { readonly key: string; readonly application: string; readonly environment: string } {
  return { key, application: context.application(), environment: context.environment() };
}

// ---- get ----------------------------------------------------------------------------------------------------

interface GetFlags {
  readonly reveal?: boolean;
  readonly default?: string;
}

function addGet(parent: Command, io: CliIo): void {
  parent
    .command('get')
    .description('print the value that holds for a key, inherited and default ones included')
    .argument('<key>')
    .option('--reveal', 'print a secret itself, which is recorded')
    .option('--default <value>', 'what is printed when there is none')
    .action((key: string, flags: GetFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const found = await lookUp(context, key, flags);
        await context.print({ body: found, lines: () => `${found.value}\n` });
      }),
    );
}

// ---- list ---------------------------------------------------------------------------------------------------

interface ListFlags {
  readonly prefix?: string;
  readonly tag?: string;
  readonly search?: string;
  readonly type?: TypeWord;
  readonly limit?: number;
}

function addList(parent: Command, io: CliIo): void {
  parent
    .command('list')
    .description('list configurations, of all applications and environments unless they are named')
    .option('--prefix <text>', 'keys that begin so')
    .option('--tag <tag>', 'those that have this tag')
    .option('--search <words>', 'words that stand in key, application, tags or description')
    .option('--type <type>', 'string, integer, float, boolean, json, array or secret', typeWord)
    .option('--limit <n>', 'at most so many', naturalNumber)
    .action((flags: ListFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const { items, total } = await listed(context, flags);
        await context.print({
          body: { items, total },
          lines: () => listTable(items) + remark(total - items.length),
        });
      }),
    );
}

async function listed(context: HttpContext, flags: ListFlags): Promise<ListPage> {
  const { environment, application } = context.given;
  const { prefix: keyPrefix, tag, search, type, limit = Number.POSITIVE_INFINITY } = flags;
  const size = Math.max(1, Math.min(limit, PAGE_SIZE));
  const items: Listed[] = [];
  for (let page = 0; ; page += 1) {
    const query = { environment, application, keyPrefix, tag, search, type, page, size };
    const answer = await context.call({ method: 'GET', path: '/api/v1/configurations', query });
    const { items: more, total } = jsonOf<ListPage>(answer);
    items.push(...more);
    if (more.length < size || items.length >= Math.min(limit, total))
      return { items: items.slice(0, limit), total };
  }
}

function listTable(items: readonly Listed[]): string {
  return formatTable(
    ['APPLICATION', 'ENVIRONMENT', 'KEY', 'TYPE', 'VALUE', 'VERSION', 'UPDATED'],
    items.map(({ key, application, environment, type, value, version, updatedAt }) => [
      application,
      environment,
      key,
      type,
      cell(plainText(value)),
      String(version),
      when(updatedAt),
    ]),
  );
}

function remark(more: number): string {
  return more > 0 ? `and ${more} more\n` : '';
}

// ---- history ------------------------------------------------------------------------------------------------

interface HistoryPage {
  readonly items: readonly Version[];
  readonly next: number | null;
}

function addHistory(parent: Command, io: CliIo): void {
  parent
    .command('history')
    .description('list the versions of a configuration, newest first')
    .argument('<key>')
    .option('--limit <n>', 'at most so many', naturalNumber, 100)
    .action((key: string, flags: { readonly limit: number }, command: Command) =>
      withHttp(io, command, async (context) => {
        const versions = await versionsOf(context, key, flags.limit);
        await context.print({ body: { items: versions }, lines: () => versionTable(versions) });
      }),
    );
}

async function versionsOf(context: HttpContext, key: string, limit: number): Promise<readonly Version[]> {
  const versions: Version[] = [];
  let before: number | undefined;
  for (;;) {
    const size = Math.max(1, Math.min(limit - versions.length, PAGE_SIZE));
    const path = `${configPath(context, key)}/versions`;
    const page = jsonOf<HistoryPage>(await context.call({ method: 'GET', path, query: { before, size } }));
    versions.push(...page.items);
    if (page.next === null || versions.length >= limit) return versions.slice(0, limit);
    before = page.next;
  }
}

function versionTable(versions: readonly Version[]): string {
  return formatTable(
    ['VERSION', 'AT', 'BY', 'VALUE', 'REASON'],
    versions.map(({ version, createdAt, createdBy, value, deleted, reason }) => [
      String(version),
      when(createdAt),
      createdBy,
      deleted ? '(deleted)' : cell(plainText(value)),
      cell(reason),
    ]),
  );
}
