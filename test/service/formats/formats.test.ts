import { parse as parseDotenv } from 'dotenv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { variableOf } from '../../../src/config-format/variables.ts';
import { parseDotenvSet, printDotenvSet } from '../../../src/service/formats/dotenv.ts';
import { parseJsonSet, printJsonSet } from '../../../src/service/formats/json.ts';
import {
  ENTRIES_MAX,
  type ParsedSet,
  PROBLEMS_MAX,
  SET_LENGTH_MAX,
  valueOf,
} from '../../../src/service/formats/parsed-set.ts';
import { parsePropertiesSet, printPropertiesSet } from '../../../src/service/formats/properties.ts';
import { parseYamlSet, printYamlSet } from '../../../src/service/formats/yaml.ts';
import type { Json } from '../../../src/service/model.ts';
import { subtypeOf, textOf } from '../../../src/service/values/value-types.ts';
import { json, text } from '../values/arbitraries.ts';

const word = fc.constantFrom('a', 'b', 'db', 'max', 'on', '1', 'constructor', 'x-y', 'x_y', 'ü', 'null');
const key = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join('.'));
const values: fc.Arbitrary<ReadonlyMap<string, Json>> = fc
  .array(fc.tuple(key, fc.oneof(json, text())), { maxLength: 6 })
  .map((entries) => new Map(entries));

const jsonOf = (set: ParsedSet): Record<string, Json> => {
  expect(set.problems).toEqual([]);
  return Object.fromEntries(set.entries.map((entry) => [entry.key, valueOf(entry, undefined)]));
};
const textsOf = (set: ParsedSet): Record<string, string> => {
  expect(set.problems).toEqual([]);
  return Object.fromEntries(
    set.entries.map(({ key: name, value }) => [name, value.type === 'text' ? value.text : '']),
  );
};
const isWhole = (known: ReadonlyMap<string, Json>) => (name: string) => known.has(name);
const FLAT = { shape: 'flat' as const, isWhole: () => false };
const NESTED = { shape: 'nested' as const, isWhole: () => false };

describe.each([
  ['JSON', parseJsonSet, printJsonSet],
  ['YAML', parseYamlSet, printYamlSet],
])('%s', (_, parse, print) => {
  test.each(['flat', 'nested'] as const)('%s: what is printed is read back', (shape) => {
    fc.assert(
      fc.property(values, (set) => {
        const printed = print(set, shape);
        expect(printed.problems).toEqual([]);
        expect(jsonOf(parse(printed.text, { shape, isWhole: isWhole(set) }))).toEqual(
          Object.fromEntries(set),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('nests keys at their dots, where none is a value itself', () => {
    const set = new Map<string, Json>([
      ['db.pool.max', 1],
      ['a', 2],
      ['a.b', 3],
      ['a.b.c', 4],
      ['db.host', { x: {} }],
    ]);
    const { text: printed } = print(set, 'nested');
    const object = parseYaml(printed) as Json;
    expect(object).toEqual({ db: { pool: { max: 1 }, host: { x: {} } }, a: 2, 'a.b': 3, 'a.b.c': 4 });
    expect(jsonOf(parse(printed, NESTED))).toEqual({
      ...Object.fromEntries(set),
      'db.host': undefined,
      'db.host.x': {},
    });
  });

  test('a key that comes twice is a problem, also in two shapes', () => {
    expect(parse('{"a.b": 1, "a": {"b": 2}}', NESTED).problems[0]!.message).toContain(
      '"a.b" is there already',
    );
    expect(parse('{"a": 1,\n "a": 2}', FLAT).problems[0]).toMatchObject({ line: 2 });
    expect(parse('{"": 1}', FLAT).problems[0]!.message).toContain('empty');
    expect(parse('{"a": {"": 1}}', NESTED).problems[0]!.message).toContain('below "a"');
    expect(parse('[1]', FLAT).problems[0]!.message).toContain('must be an object');
    expect(parse('{"__proto__": 1}', FLAT).problems[0]!.message).toContain('__proto__');
    expect(print(new Map([['a.__proto__', 1]]), 'nested').problems).toHaveLength(1);
  });

  test('byte order mark and line ends of Windows are no trouble, but too much is', () => {
    expect(jsonOf(parse('\ufeff{"a":\r\n 1}\r\n', FLAT))).toEqual({ a: 1 });
    expect(parse(`{"a": "${'x'.repeat(SET_LENGTH_MAX)}"}`, FLAT).problems[0]!.message).toContain('longer');
    expect(parse('['.repeat(100_000), FLAT).problems).toHaveLength(1);
    expect(parse('{a: '.repeat(20_000), FLAT).problems).toHaveLength(1);
  });
});

describe('YAML', () => {
  test('is read by other readers of both versions as what it was', () => {
    fc.assert(
      fc.property(values, (set) => {
        const { text: printed } = printYamlSet(set, 'flat');
        for (const version of ['1.1', '1.2'] as const) {
          // Of 1.1 floats lose the sign of a zero only.
          expect(parseYaml(printed, { version, maxAliasCount: 0 }) ?? {}).toEqual(Object.fromEntries(set));
        }
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['a: yes', 1, 'YAML 1.1'],
    ['x: 1\na: Off', 2, 'YAML 1.1'],
    ['a: 0777', 1, 'YAML 1.1'],
    ['a: 0o17', 1, 'YAML 1.1'],
    ['a: 1_000', 1, 'YAML 1.1'],
    ['a: 12:30:45', 1, 'YAML 1.1'],
    ['a: 0b11', 1, 'YAML 1.1'],
    ['a: &x 1', 1, 'anchors'],
    ['a: &x [1]\nb: *x', 1, 'anchors'],
    ['&k a: 1', 1, 'name must be plain'],
    ['a: *x', 1, 'alias'],
    ['a: !!str 1', 1, 'tags'],
    ['a: !secret x', 1, 'tag'],
    ['a: !!binary aGk=', 1, 'tag'],
    ['a: 1\nb:\n  <<: {c: 1}', 3, 'merge key'],
    ['a: 9007199254740993', 1, '2^53'],
    ['a: 0xfffffffffffffffff', 1, '2^53'],
    ['a: 1e400', 1, 'finite'],
    ['a: .nan', 1, 'finite'],
    ['a: -.inf', 1, 'finite'],
    ['a: 1e-400', 1, 'too small'],
    ['a: "\\ud800"', 1, 'surrogate'],
    ['a: 1\nb: 2\na: 3', 3, 'already'],
    ['1: x\n"1": y', 2, 'already'],
    ['? [a]\n: 1', 1, 'name must be plain'],
    [': 1', 1, 'name is missing'],
    ['a: 1\n---\nb: 2', 2, 'more than one'],
    ['%YAML 1.1\n---\na: 1', 1, 'directive'],
    ['a: [1', 1, ''],
    ['a: b: c', 1, ''],
    ['a:\n\t- 1', 2, ''],
    ['a: "x', 1, ''],
    ['__proto__: 1', 1, '__proto__'],
  ])('refuses %j', (source, line, message) => {
    const { problems, entries } = parseYamlSet(source, FLAT);
    expect(entries).toEqual([]);
    expect(problems).toHaveLength(1);
    expect(problems[0]!.message).toContain(message);
    expect(problems[0]!.line).toBe(line);
  });

  test('reads what is plain', () => {
    const source =
      '# c\non: true\n5: "yes"\nnull: ~\nf: 1.50\nl:\n- a b\n-\n  - 0x1F\nt: |\n  x\n  y\nd: 2001-12-14\ne:\n';
    expect(jsonOf(parseYamlSet(source, FLAT))).toEqual({
      on: true,
      5: 'yes',
      null: null,
      f: 1.5,
      l: ['a b', [31]],
      t: 'x\ny\n',
      d: '2001-12-14',
      e: null,
    });
    expect(jsonOf(parseYamlSet('', FLAT))).toEqual({});
    expect(jsonOf(parseYamlSet('# nothing\n', FLAT))).toEqual({});
  });

  test('thousands of names are compared without comparing all with all', () => {
    const source = Array.from({ length: 20_000 }, (_unused, at) => `k${at}: ${at}`).join('\n');
    expect(parseYamlSet(source, FLAT).entries).toHaveLength(20_000);
  });

  test('what is nested too deep is refused, however it is written', () => {
    for (const source of ['- '.repeat(5_000), 'a: ['.repeat(5_000), `${'['.repeat(120)}${']'.repeat(120)}`]) {
      expect(parseYamlSet(`x: ${source}`, FLAT).problems).toHaveLength(1);
    }
  });
});

describe('dotenv', () => {
  test('what is printed is read back, by us and by dotenv', () => {
    fc.assert(
      fc.property(values, (set) => {
        const { text: printed, problems } = printDotenvSet(set);
        const lost = new Set(problems.map(({ key: name }) => name));
        const kept = [...set].filter(([name]) => !lost.has(name));
        const wanted = kept.map(([name, value]) => [name, textOf(value, subtypeOf(value))] as const);
        expect(
          textsOf(
            parseDotenvSet(
              printed,
              kept.map(([name]) => name),
            ),
          ),
        ).toEqual(Object.fromEntries(wanted));
        const theirs = Object.fromEntries(wanted.map(([name, value]) => [variableOf(name), value]));
        expect({ ...parseDotenv(printed) }).toEqual(theirs);
      }),
      { numRuns: 500 },
    );
  });

  test('names stand for keys, for known ones first', () => {
    const source = 'DB_POOL_MAX=10\nexport DB_X_Y = "a\nb" # c\nlower.key=1\n';
    expect(textsOf(parseDotenvSet(source, ['db.x-y']))).toEqual({
      'db.pool.max': '10',
      'db.x-y': 'a\nb',
      'lower.key': '1',
    });
    expect(parseDotenvSet('A_B=1', ['a.b', 'a-b']).problems).toEqual([
      { line: 1, message: 'A_B may be any of a.b, a-b' },
    ]);
    expect(parseDotenvSet('A__B=1\n_A=1', []).problems).toHaveLength(2);
    expect([variableOf('db.pool.max'), variableOf('1a')]).toEqual(['DB_POOL_MAX', '_1A']);
    expect(
      printDotenvSet(
        new Map([
          ['a.b', 1],
          ['a-b', 2],
        ]),
      ).problems,
    ).toEqual([{ key: 'a-b', message: 'has the same variable A_B as a.b' }]);
  });

  test.each([
    ['A', 1, 'NAME=value'],
    ['# c\n\nA B=1', 3, 'NAME=value'],
    ['1A=1', 1, 'NAME=value'],
    ['A="x', 1, 'does not end'],
    ["A='x\ny\nB=1", 1, 'does not end'],
    ['A="x" y', 1, 'more follows'],
    ['A="x" "y"', 1, 'more follows'],
    ['A=x#y', 1, 'must be quoted'],
    ['A=1\nB=2\nA=3', 3, '"a" is there already, in line 1'],
  ])('refuses %j', (source, line, message) => {
    const { problems } = parseDotenvSet(source, []);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ line, message: expect.stringContaining(message) as string });
  });

  test('reads values as dotenv does', () => {
    const source = `A=\nB= x y # c\nC='a\\nb'\nD="a\\nb"\nE=\`it's "x"\`\nF='#x'\r\nCONSTRUCTOR=1\nTOSTRING=${'x'.repeat(1000)}`;
    const ours = textsOf(parseDotenvSet(source, []));
    const theirs = Object.entries(parseDotenv(source)).map(([name, value]) => [name.toLowerCase(), value]);
    expect(ours).toEqual(Object.fromEntries(theirs));
  });

  test('what opens quotes and never ends them costs no more than one look', () => {
    expect(parseDotenvSet("A='x\n".repeat(200_001), []).problems.length).toBeGreaterThan(0);
    expect(parseDotenvSet(`A="${'\\"'.repeat(400_000)}`, []).problems).toHaveLength(1);
    expect(parseDotenvSet(`A="${'x'.repeat(3_000_000)}"`, []).problems[0]!.message).toContain('too large');
  });
});

describe('properties', () => {
  test('what is printed is read back, in ASCII', () => {
    const any = fc.array(fc.tuple(fc.oneof(key, text()), fc.oneof(json, text())), { maxLength: 5 });
    fc.assert(
      fc.property(any, (entries) => {
        const set = new Map(entries);
        const { text: printed, problems } = printPropertiesSet(set);
        expect(problems).toHaveLength(set.has('') ? 1 : 0);
        expect(/^[\n -~]*$/.test(printed)).toBe(true);
        set.delete('');
        const wanted = [...set].map(([name, value]) => [name, textOf(value, subtypeOf(value))] as const);
        expect(textsOf(parsePropertiesSet(printed))).toEqual(Object.fromEntries(wanted));
      }),
      { numRuns: 500 },
    );
  });

  test('reads what Java reads', () => {
    const source = '# c\r\n! d\r\na = b \\\r\n   c\r\nd:e=f\ng h\n\\u0061b\\=\\:=\\u00fc\\t\\\\u12\nempty\n';
    expect(textsOf(parsePropertiesSet(source))).toEqual({
      a: 'b c',
      d: 'e=f',
      g: 'h',
      'ab=:': 'ü\t\\u12',
      empty: '',
    });
  });

  test.each([
    ['a=1\n\na=2', 3, '"a" is there already, in line 1'],
    ['# x\r\n\r\n=1', 3, 'key is missing'],
    ['x=1\ny=\\\n  1\na=\\u12', 4, 'four digits'],
    ['a=\\ud800', 1, 'surrogate'],
    ['x=1\ra=\\uzzzz', 2, 'four digits'],
  ])('refuses %j', (source, line, message) => {
    const { problems } = parsePropertiesSet(source);
    expect(problems).toEqual([{ line, message: expect.stringContaining(message) as string }]);
  });
});

describe('every format', () => {
  test('knows types by those of the configurations, else guesses', () => {
    const [entry] = parsePropertiesSet('a=10').entries;
    expect(valueOf(entry!, undefined)).toBe(10);
    expect(valueOf(entry!, 'string')).toBe('10');
    expect(() => valueOf(entry!, 'boolean')).toThrow('must be true or false');
  });

  test('tells some problems and takes so many values', () => {
    expect(parsePropertiesSet('=1\n'.repeat(1_000)).problems).toHaveLength(PROBLEMS_MAX);
    const many = Array.from({ length: ENTRIES_MAX + 5 }, (_unused, at) => `k${at}=1`).join('\n');
    expect(parsePropertiesSet(many).problems).toHaveLength(1);
    for (const parse of [parsePropertiesSet, (source: string) => parseDotenvSet(source, [])]) {
      expect(parse('x'.repeat(SET_LENGTH_MAX + 1)).problems[0]).toMatchObject({ line: null });
    }
  });
});
