import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { blocksOf, GuideShell, matches } from './guide.ts';
import { repositoryRoot } from './repository-root.ts';

test('blocks are found with their language and line', () => {
  const text = 'prose\n```sh\none\ntwo\n```\n\n```text\n1\n```\n```\nplain\n```\n';
  expect(blocksOf(text)).toEqual([
    { language: 'sh', text: 'one\ntwo', line: 3 },
    { language: 'text', text: '1', line: 8 },
    { language: '', text: 'plain', line: 11 },
  ]);
  expect(() => blocksOf('```sh\nnever closed')).toThrow('line 2: the block does not end');
});

test('output is compared line by line; dots stand for what varies', () => {
  expect(matches('OK', 'OK\n')).toBe(true);
  expect(matches('OK', 'OK\nOK\n')).toBe(false);
  expect(matches('lease ... granted', 'lease 7 granted')).toBe(true);
  expect(matches('lease ... granted', 'lease 7 revoked')).toBe(false);
  expect(matches('a\n...\nz', 'a\nz\n')).toBe(true);
  expect(matches('a\n...\nz', 'a\nb\nc\nz\n')).toBe(true);
  expect(matches('a\n...\nz', 'a\nb\n')).toBe(false);
  expect(matches('1.5 (x)', '1.5 (x)\n')).toBe(true);
  expect(matches('1.5', '1x5\n')).toBe(false);
});

test('what a command in the background says is waited for', async () => {
  const shell = new GuideShell();
  const guide = 'guide.md';
  try {
    const program = 'tail -n +1 -F said    # until Ctrl-C';
    const blocks = `\`\`\`sh\ntouch said\n${program}\n\`\`\`\n\`\`\`sh\necho one >>said\necho two >>said\n\`\`\`\n\`\`\`text elsewhere\none\ntwo\n\`\`\`\n`;
    writeFileSync(join(shell.directory, guide), blocks);
    expect(await shell.run(relative(repositoryRoot(), join(shell.directory, guide)))).toBe(3);
  } finally {
    await shell.close();
  }
});
