import type { Command } from 'commander';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { addChangeFlags } from './config-change.ts';
import { type ChangeFlags, changeQuery } from './config-words.ts';
import { formatTable } from './format.ts';
import { addServiceFlags, type HttpContext, jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

const PATH = '/api/v1/environments';

interface Rules {
  readonly locked: boolean;
  readonly promoteOnlyFrom: string | null;
  readonly reasonRequired: boolean;
}
interface Environment {
  readonly id: string;
  readonly description: string;
  readonly parent: string | null;
  /** Those that it inherits from, nearest first. */
  readonly inherits: readonly string[];
  readonly rules: Rules;
  readonly version: number;
}

interface EnvironmentFlags extends ChangeFlags {
  readonly description?: string;
  /** False: none. */
  readonly parent?: string | false;
  readonly promoteOnlyFrom?: string | false;
  readonly requireReason?: boolean;
}

/** `conclave env`: environments, what they inherit from, and what may be changed in them. */
export function envCommands(parent: Command, io: CliIo): void {
  const env = addServiceFlags(parent.command('env')).description(
    'show and change environments, what they inherit from, and how they may be changed',
  );
  addReads(env, io);
  addWrites(env, io);
  addDelete(env, io);
  addLocks(env, io);
}

function pathOf(id: string): string {
  return `${PATH}/${encodeURIComponent(canonicalEnvironment(id))}`;
}

function addReads(env: Command, io: CliIo): void {
  env
    .command('list')
    .description('list all environments')
    .action((_flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const answer = jsonOf<{ readonly items: readonly Environment[] }>(
          await context.call({ method: 'GET', path: PATH }),
        );
        await context.print({ body: answer, lines: () => table(answer.items) });
      }),
    );
  env
    .command('get')
    .description('print an environment')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const found = jsonOf<Environment>(await context.call({ method: 'GET', path: pathOf(name) }));
        await context.print({ body: found, lines: () => details(found) });
      }),
    );
}

function addWrites(env: Command, io: CliIo): void {
  const flagged = (command: Command): Command =>
    addChangeFlags(command)
      .option('--description <text>')
      .option('--parent <name>', 'the environment that shows through where this one has nothing')
      .option('--no-parent', 'none')
      .option('--promote-only-from <name>', 'changes come by promotion from there alone')
      .option('--no-promote-only-from', 'from anywhere')
      .option('--require-reason', 'every change needs a reason')
      .option('--no-require-reason', 'none does');
  flagged(env.command('create'))
    .description('make an environment')
    .argument('<name>')
    .action((name: string, flags: EnvironmentFlags, command: Command) =>
      withHttp(io, command, (context) =>
        write(context, { method: 'POST', path: PATH, body: { id: name, ...bodyOf(flags) } }),
      ),
    );
  flagged(env.command('update'))
    .description('change an environment; what is left out stays')
    .argument('<name>')
    .action((name: string, flags: EnvironmentFlags, command: Command) =>
      withHttp(io, command, (context) =>
        write(context, { method: 'PUT', path: pathOf(name), body: bodyOf(flags) }),
      ),
    );
}

function addDelete(env: Command, io: CliIo): void {
  addChangeFlags(env.command('delete'))
    .description('delete an environment of your own that has no configurations and no heirs')
    .argument('<name>')
    .action((name: string, flags: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        await context.change({ method: 'DELETE', path: pathOf(name), query: changeQuery(flags) });
        await context.print({ body: { id: name, deleted: true }, lines: () => `${name} is deleted\n` });
      }),
    );
}

function addLocks(env: Command, io: CliIo): void {
  for (const [word, locked, text] of [
    ['lock', true, 'from now on nothing may be changed in an environment'],
    ['unlock', false, 'let an environment be changed again'],
  ] as const) {
    addChangeFlags(env.command(word))
      .description(text)
      .argument('<name>')
      .action((name: string, flags: ChangeFlags, command: Command) =>
        withHttp(io, command, (context) =>
          write(context, {
            method: 'PUT',
            path: pathOf(name),
            body: { rules: { locked }, reason: flags.reason, changeSet: flags.changeSet },
          }),
        ),
      );
  }
}

function bodyOf(flags: EnvironmentFlags): Record<string, unknown> {
  const { description, parent, promoteOnlyFrom, requireReason, reason, changeSet } = flags;
  const rules = {
    ...(promoteOnlyFrom === undefined ? {} : { promoteOnlyFrom: idOrNull(promoteOnlyFrom) }),
    ...(requireReason === undefined ? {} : { reasonRequired: requireReason }),
  };
  return {
    description,
    ...(parent === undefined ? {} : { parent: idOrNull(parent) }),
    ...(Object.keys(rules).length === 0 ? {} : { rules }),
    reason,
    changeSet,
  };
}

function idOrNull(name: string | false): string | null {
  return name === false ? null : canonicalEnvironment(name);
}

async function write(
  context: HttpContext,
  call: { readonly method: 'POST' | 'PUT'; readonly path: string; readonly body: Record<string, unknown> },
): Promise<void> {
  const answer = await context.change({ ...call, body: JSON.stringify(call.body) });
  const written = jsonOf<Environment>(answer);
  await context.print({ body: written, lines: () => details(written) });
}

function table(items: readonly Environment[]): string {
  return formatTable(
    ['NAME', 'INHERITS', 'LOCKED', 'PROMOTE ONLY FROM', 'REASON', 'DESCRIPTION'],
    items.map(({ id, inherits, rules, description }) => [
      id,
      inherits.join(' < '),
      rules.locked ? 'locked' : '',
      rules.promoteOnlyFrom ?? '',
      rules.reasonRequired ? 'required' : '',
      description,
    ]),
  );
}

function details({ id, description, inherits, rules, version }: Environment): string {
  const lines = [
    `Environment: ${id}`,
    ...(description === '' ? [] : [`Description: ${description}`]),
    `Inherits: ${inherits.length === 0 ? 'nothing' : inherits.join(', then ')}`,
    `Locked: ${rules.locked ? 'yes' : 'no'}`,
    `Promotion: ${rules.promoteOnlyFrom === null ? 'from anywhere' : `only from ${rules.promoteOnlyFrom}`}`,
    `Reason: ${rules.reasonRequired ? 'required' : 'optional'}`,
    `Version: ${version}`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}
