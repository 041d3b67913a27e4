import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { processIo } from '../../src/cli/io.ts';
import { program } from '../../src/cli/program.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const text = readFileSync(join(repositoryRoot(), 'docs/config-commands.md'), 'utf8');
const root = program(processIo());

test.each(['config', 'flag', 'env', 'audit'])(
  'the document names every command and every option of %s',
  (name) => {
    const group = root.commands.find((command) => command.name() === name)!;
    const rows = text.split('\n').filter((line) => line.startsWith(`| \`${name} `));
    const named = rows
      .flatMap((row) => [...row.split(' | ')[0]!.matchAll(/`(?:\w+ )?([a-z]+)/g)])
      .map(([, word]) => word!);
    expect([...new Set(named)].sort()).toEqual(group.commands.map((command) => command.name()).sort());
    const options = [group, ...group.commands].flatMap((command) => command.options);
    const given = options.flatMap(({ long, negate }) =>
      negate || long === undefined || long === null ? [] : [long],
    );
    expect(given.filter((option) => !text.includes(option))).toEqual([]);
  },
);

test('the options that the document names are those there are', () => {
  const groups = root.commands.filter((command) =>
    ['config', 'flag', 'env', 'audit'].includes(command.name()),
  );
  const all = [root, ...groups, ...groups.flatMap((group) => group.commands)].flatMap(
    (command) => command.options,
  );
  const known = new Set(all.map(({ long }) => long));
  const named = [...text.matchAll(/--([a-z][a-z-]+[a-z])/g)].map(([option]) => option);
  expect(named.filter((option) => !known.has(option))).toEqual([]);
});
