import { expect, test } from 'vitest';
import { parseTxn } from '../../src/cli/kv-txn.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

test('three sections: comparisons, success, failure', () => {
  const { compare, success, failure } = parseTxn('mod("a") = "1"\n\nput a 2\nput b 3\n\nget a\n');
  expect([compare.length, success.length, failure.length]).toEqual([1, 2, 1]);
});

test('each section may be empty', () => {
  expect(parseTxn('')).toEqual({ compare: [], success: [], failure: [] });
  expect(parseTxn('\nput a 1')).toMatchObject({ compare: [], success: [{ type: 'put' }], failure: [] });
  expect(parseTxn('\n\nget a\n\n\n')).toMatchObject({ success: [], failure: [{ type: 'range' }] });
});

test('every comparison, in long and short form', () => {
  const { compare } = parseTxn(
    ['c("k") = "0"', 'create("k") != "0"', 'mod(k) > 5', 'ver("k") < "2"', 'value("k") = "v w"'].join('\n'),
  );
  const key = bytes('k');
  expect(compare).toEqual([
    { key, target: 'create', result: 'equal', number: 0 },
    { key, target: 'create', result: 'not-equal', number: 0 },
    { key, target: 'mod', result: 'greater', number: 5 },
    { key, target: 'version', result: 'less', number: 2 },
    { key, target: 'value', result: 'equal', value: bytes('v w') },
  ]);
  expect(parseTxn('lease("k") = "ffffffffffffffff"').compare[0]).toMatchObject({
    target: 'lease',
    lease: -1n,
  });
});

test('operations take quoted words and their flags', () => {
  const { success } = parseTxn(
    '\nput "a b" "say \\"hi\\"" --lease=1f --prev-kv\nput k --ignore-value\nget k --prefix --limit=3\nget k z\ndel k --from-key\nput d "--prefix"',
  );
  expect(success).toMatchObject([
    { type: 'put', key: bytes('a b'), value: bytes('say "hi"'), lease: 0x1fn, prevKv: true },
    { type: 'put', key: bytes('k'), value: bytes(''), ignoreValue: true },
    { type: 'range', key: bytes('k'), rangeEnd: bytes('l'), limit: 3 },
    { type: 'range', key: bytes('k'), rangeEnd: bytes('z') },
    { type: 'delete', key: bytes('k'), rangeEnd: Buffer.from([0]) },
    { type: 'put', key: bytes('d'), value: bytes('--prefix') },
  ]);
});

test('what makes no sense is refused with its line', () => {
  const cases: Record<string, string> = {
    'size("k") > "1"': 'line 1 (\'size("k") > "1"\') is not a comparison',
    'mod("k") > "x"': "compares with 'x', which is not a number",
    '\nmove a b': "line 2 ('move a b') begins with 'move' instead of get, put or del",
    '\nput a': 'puts no value',
    '\nput': 'names no key',
    '\nput a b c': 'has too many words',
    '\nget a --lease=1': 'has the unknown flag --lease',
    '\nget a --limit=x': 'has a wrong limit',
    '\nget a z --prefix': 'has a wrong range',
    '\nput a "\\q"': 'malformed quoted word',
  };
  for (const [text, message] of Object.entries(cases)) expect(() => parseTxn(text)).toThrow(message);
});
