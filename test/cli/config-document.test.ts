import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { processIo } from '../../src/cli/io.ts';
import { program } from '../../src/cli/program.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const text = readFileSync(join(repositoryRoot(), 'docs/config-commands.md'), 'utf8');
const root = program(processIo());

const GROUPS = ['config', 'flag', 'env', 'app', 'audit'];

/** Each of a group's commands, those within others included. */
function within(group: Command): readonly Command[] {
  return group.commands.flatMap((command) => [command, ...within(command)]);
}

test.each(GROUPS)('the document names every command and every option of %s', (name) => {
  const group = root.commands.find((command) => command.name() === name)!;
  const rows = text.split('\n').filter((line) => line.startsWith(`| \`${name} `));
  const named = rows
    .flatMap((row) => [...row.split(' | ')[0]!.matchAll(/`(?:\w+ )?([a-z]+)/g)])
    .map(([, word]) => word!);
  expect([...new Set(named)].sort()).toEqual(group.commands.map((command) => command.name()).sort());
  const options = [group, ...within(group)].flatMap((command) => command.options);
  const given = options.flatMap(({ long, negate }) =>
    negate || long === undefined || long === null ? [] : [long],
  );
  expect(given.filter((option) => !text.includes(option))).toEqual([]);
});

test('the options that the document names are those there are', () => {
  const groups = root.commands.filter((command) => GROUPS.includes(command.name()));
  const all = [root, ...groups, ...groups.flatMap(within)].flatMap((command) => command.options);
  const known = new Set(all.map(({ long }) => long));
  const named = [...text.matchAll(/--([a-z][a-z-]+[a-z])/g)].map(([option]) => option);
  expect(named.filter((option) => !known.has(option))).toEqual([]);
});
