import { expect, test } from 'vitest';
import { blocksOf, matches } from './guide.ts';

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
