import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import { type FieldProblem, ServiceError } from '../../../src/service/service-error.ts';
import { VIOLATIONS_MAX } from '../../../src/service/values/compiled-schema.ts';
import { checkSchema, SCHEMA_LENGTH_MAX, violations } from '../../../src/service/values/json-schema.ts';
import { PATTERN_LENGTH_MAX } from '../../../src/service/values/linear-regex.ts';
import { FORMAT_LENGTH_MAX } from '../../../src/service/values/schema-formats.ts';
import { SUBSCHEMAS_MAX } from '../../../src/service/values/schema-shape.ts';
import { json } from './arbitraries.ts';

function refusal(schema: unknown): readonly FieldProblem[] {
  try {
    checkSchema(typeof schema === 'string' ? schema : JSON.stringify(schema));
    return [];
  } catch (error) {
    if (error instanceof ServiceError) return error.problems;
    throw error;
  }
}

function findings(schema: unknown, value: Json): readonly FieldProblem[] {
  const text = JSON.stringify(schema);
  expect(refusal(text)).toEqual([]);
  return violations(text, value);
}
const accepts = (schema: unknown, value: Json): boolean => findings(schema, value).length === 0;

describe('a schema', () => {
  test.each([
    ['{', 'schema', 'is no JSON: line 1'],
    ['{"type":"string","type":"number"}', 'schema', 'already'],
    ['[]', 'schema', 'must be object'],
    [{ type: 'strin' }, 'schema/type', 'must'],
    [{ maxLenght: 5 }, 'schema/maxLenght', 'is no keyword'],
    [{ properties: { a: { nullable: true } } }, 'schema/properties/a/nullable', 'is no keyword'],
    [{ $async: true }, 'schema/$async', 'is no keyword'],
    [{ format: 'emial' }, 'schema', 'unknown format "emial"'],
    [{ pattern: '(?=a)' }, 'schema', 'a pattern cannot be used'],
    [{ pattern: '(a)\\1' }, 'schema', 'a pattern cannot be used'],
    [{ pattern: '(' }, 'schema', 'a pattern cannot be used'],
    [{ pattern: '((a{100}){100}){100}' }, 'schema', 'a pattern cannot be used'],
    [{ pattern: 'a'.repeat(PATTERN_LENGTH_MAX + 1) }, 'schema', 'longer than'],
    [{ patternProperties: { '(?!x)': true } }, 'schema', 'a pattern cannot be used'],
    [{ $ref: 'https://example.com/a.json' }, 'schema/$ref', 'leads to no schema'],
    [{ $ref: 'file:///etc/passwd' }, 'schema/$ref', 'leads to no schema'],
    [{ $ref: 'https://json-schema.org/draft/2020-12/schema' }, 'schema/$ref', 'leads to no schema'],
    [{ $ref: '#/$defs/absent' }, 'schema/$ref', 'leads to no schema'],
    [{ $ref: '#/enum/0', enum: [{ type: 'string' }] }, 'schema/$ref', 'leads to no schema'],
    [{ $ref: '#%' }, 'schema/$ref', 'leads to no schema'],
    [{ $dynamicRef: '#absent' }, 'schema/$dynamicRef', 'leads to no schema'],
    [{ $schema: 'http://json-schema.org/draft-07/schema#' }, 'schema/$schema', '2020-12'],
    [{ $defs: { a: { $id: 'https://example.com/' } } }, 'schema/$defs/a/$id', 'root only'],
    [{ $ref: '#' }, 'schema', 'without end'],
    [{ allOf: [{ $ref: '#/$defs/a' }], $defs: { a: { anyOf: [{ $ref: '#' }] } } }, 'schema', 'without end'],
    ['{"if":{"type":"array"},"then":{"$ref":"#"}}', 'schema', 'without end'],
    ['{"properties":{"__proto__":{"type":"string"}}}', 'schema', '__proto__'],
    ['{"then":{}}', 'schema', 'then'],
    [{ items: [{}] }, 'schema/items', 'must be object'],
    [`{"title":"${'x'.repeat(SCHEMA_LENGTH_MAX)}"}`, 'schema', 'longer than'],
    [
      { allOf: Array.from({ length: SUBSCHEMAS_MAX }, () => ({})) },
      expect.stringContaining('schema'),
      'more than',
    ],
  ])('%# is refused', (schema, field: string, message) => {
    const problems = refusal(schema);
    expect(problems.map((problem) => problem.field)).toContainEqual(field);
    expect(problems.map((problem) => problem.message).join()).toContain(message);
  });

  test('that was not checked is the finding itself', () => {
    expect(violations('{', 1)).toEqual([expect.objectContaining({ field: 'schema' })]);
    expect(violations('{"$ref":"#"}', 1)).toEqual([expect.objectContaining({ field: 'schema' })]);
  });

  test('may be recursive, with anchors, definitions, an id and annotations of its own', () => {
    const tree = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: 'https://example.com/tree',
      'x-owner': { anything: [1] },
      $ref: '#node',
      $defs: {
        'a/b': {
          $anchor: 'node',
          properties: { left: { $ref: '#/$defs/a~1b' }, value: { type: 'integer' } },
          required: ['value'],
        },
      },
    };
    expect(accepts(tree, { value: 1, left: { value: 2 } })).toBe(true);
    expect(findings(tree, { value: 1, left: { left: { value: 'x' } } })).toEqual([
      { field: 'value/left', message: "must have required property 'value'" },
      { field: 'value/left/left/value', message: 'must be integer' },
    ]);
  });

  test('two of one id do not meet', () => {
    expect(accepts({ $id: 'https://example.com/x', type: 'string' }, 'x')).toBe(true);
    expect(accepts({ $id: 'https://example.com/x', type: 'number' }, 1)).toBe(true);
  });

  test('true takes everything and false nothing', () => {
    expect(accepts(true, 1)).toBe(true);
    expect(accepts(false, 1)).toBe(false);
  });
});

describe('findings', () => {
  test('name each place, and no value', () => {
    const schema = {
      properties: {
        port: { type: 'integer', maximum: 65_535 },
        hosts: { type: 'array', items: { pattern: '^[a-z]+$' } },
        mode: { enum: ['on', 'off'] },
      },
      required: ['name'],
      additionalProperties: false,
    };
    expect(
      findings(schema, { port: 'hunter2', hosts: ['ok', 'HUNTER2'], mode: 'hunter2', more: 'hunter2' }),
    ).toEqual([
      { field: 'value', message: "must have required property 'name'" },
      { field: 'value', message: 'must NOT have additional properties: more' },
      { field: 'value/port', message: 'must be integer' },
      { field: 'value/hosts/1', message: 'must match pattern "^[a-z]+$"' },
      { field: 'value/mode', message: 'must be equal to one of the allowed values: ["on","off"]' },
    ]);
  });

  test('are bounded', () => {
    const found = findings(
      { items: { type: 'string' } },
      Array.from({ length: 100_000 }, (_, at) => at),
    );
    expect(found.length).toBeGreaterThan(0);
    expect(found.length).toBeLessThanOrEqual(VIOLATIONS_MAX);
  });

  test('what an object inherits is not its own', () => {
    const schema = {
      required: ['constructor', 'toString'],
      properties: { hasOwnProperty: { type: 'number' } },
    };
    expect(findings(schema, {}).length).toBe(2);
    expect(accepts({ maxProperties: 0 }, {})).toBe(true);
    expect(accepts({ properties: { constructor: { type: 'string' } } }, { constructor: 1 })).toBe(false);
  });

  test('values whose members are named as methods are can be compared', () => {
    const value = { toString: 1, constructor: { valueOf: null } };
    for (const keyword of [{ const: value }, { enum: [1, value] }]) {
      expect(accepts(keyword, { constructor: { valueOf: null }, toString: 1 })).toBe(true);
      expect(accepts(keyword, { ...value, toString: 2 })).toBe(false);
      expect(accepts(keyword, { toString: 1 })).toBe(false);
    }
  });

  test('unique means another JSON, not another text of it', () => {
    const unique = { uniqueItems: true };
    expect(
      accepts(unique, [
        { a: 1, b: [2] },
        { b: [2], a: 1 },
      ]),
    ).toBe(false);
    expect(accepts(unique, [1, '1', [1], { 1: 1 }, true, null, 'null'])).toBe(true);
    expect(accepts({ uniqueItems: false }, [1, 1])).toBe(true);
  });

  test.each([
    ['email', 'a@example.com', 'a@'],
    ['uri', 'https://example.com/x', 'x'],
    ['date-time', '2026-11-22T08:00:00Z', '2026-13-01'],
    ['ipv4', '10.0.0.1', '10.0.0.256'],
    ['uuid', '2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d', '2c5ea4c0'],
    ['duration', 'PT5S', '5s'],
    ['json', '{"a":[1]}', '{a:1}'],
    ['json', '1', '{"a":1,"a":2}'],
  ])('the format %s is asserted', (format, good, bad) => {
    expect(accepts({ format }, good)).toBe(true);
    expect(accepts({ format }, bad)).toBe(false);
    expect(accepts({ format }, 5)).toBe(true);
  });
});

describe('agree with a plain ajv', () => {
  const leaf = fc.constantFrom<object>(
    { type: 'string' },
    { type: ['integer', 'null'] },
    { minimum: 0 },
    { minLength: 2 },
    { pattern: '^[a-c]+$' },
    { required: ['a'] },
    { uniqueItems: true },
    { enum: [1, 'a', null, [], {}] },
    { const: { a: 1 } },
    { maxProperties: 1 },
    { contains: { type: 'number' } },
    { dependentRequired: { a: ['b'] } },
  );
  const schemas = fc.letrec<{ schema: object }>((tie) => ({
    schema: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.tuple(leaf, leaf).map(([left, right]) => ({ ...left, ...right })),
      fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((allOf) => ({ allOf })),
      fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
      fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((oneOf) => ({ oneOf })),
      tie('schema').map((not) => ({ not })),
      tie('schema').map((items) => ({ items })),
      fc.tuple(tie('schema'), tie('schema')).map(([a, rest]) => ({
        properties: { a },
        additionalProperties: rest,
      })),
      fc.tuple(tie('schema'), tie('schema')).map(([some, rest]) => ({
        patternProperties: { '^[ab]': some },
        unevaluatedProperties: rest,
      })),
      fc.tuple(tie('schema'), tie('schema')).map(
        ([condition, branch]) =>
          Object.fromEntries([
            ['if', condition],
            ['else', branch],
          ]) as object,
      ),
    ),
  })).schema;

  /** A plain ajv trips over members that are named as methods are: those are tested apart. */
  const plainJson = json.filter(
    (value) => !/"(toString|constructor|hasOwnProperty)":/.test(JSON.stringify(value)),
  );

  test('on any schema and value', () => {
    const plain = new Ajv2020({ strict: false, ownProperties: true });
    fc.assert(
      fc.property(schemas, plainJson, (schema, value) => {
        expect(accepts(schema, value)).toBe(plain.validate(schema, value));
      }),
      { numRuns: 100 },
    );
  });
});

describe('what would never end', () => {
  const big = Array.from({ length: 100_000 }, () => ({}));
  const doubling = (leaf: object): object => {
    const levels = Array.from({ length: 60 }, (_, at) => [
      `d${at}`,
      { allOf: [{ $ref: `#/$defs/d${at + 1}` }, { $ref: `#/$defs/d${at + 1}` }] },
    ]);
    return { $ref: '#/$defs/d0', $defs: Object.fromEntries([...levels, ['d60', leaf]]) as object };
  };
  const stops = [{ field: 'schema', message: expect.stringContaining('without end') as string }];
  const tooLong = [{ field: 'schema', message: expect.stringContaining('too long') as string }];

  test('references that double at each step', () => {
    expect(refusal(doubling({ type: 'string' }))).toEqual(stops);
    expect(violations(JSON.stringify(doubling({ type: 'object' })), {})).toEqual(tooLong);
  });

  test('references that double at each level of the value', () => {
    const schema = {
      $ref: '#/$defs/n',
      $defs: { n: { allOf: [{ items: { $ref: '#/$defs/n' } }, { items: { $ref: '#/$defs/n' } }] } },
    };
    let deep: Json = 1;
    for (let level = 0; level < 90; level++) deep = [deep];
    expect(findings(schema, deep)).toEqual(tooLong);
  });

  test.each([
    ['comparing every item with every other', { uniqueItems: true }, false],
    [
      'many keywords for each of many items',
      { items: { not: { required: Array.from({ length: 5_000 }, (_, at) => `k${at}`) } } },
      true,
    ],
    [
      'a long list of values for each of many items',
      { items: { not: { enum: Array.from({ length: 5_000 }, (_, at) => `v${at}`) } } },
      true,
    ],
    [
      'branches whose failures pile up',
      { items: { anyOf: [...Array.from({ length: 400 }, () => ({ type: 'string' })), true] } },
      true,
    ],
  ])('%s', (_, schema, isStopped) => {
    const found = findings(schema, big);
    expect(found).toEqual(isStopped ? tooLong : [expect.objectContaining({ field: 'value' })]);
  });

  test('expressions that make a backtracking engine run for ages', () => {
    const text = `${'a'.repeat(100_000)}!`;
    for (const pattern of ['^(a+)+$', '^(a|a)*$', '^(a|aa)+$', '^(.*a){20}$', '(x+x+)+y']) {
      expect(accepts({ pattern }, text)).toBe(false);
      expect(violations(JSON.stringify({ pattern }), text)[0]!.field).toBe('value');
    }
    const heavy = JSON.stringify({ pattern: '[ab]*a[ab]{900}[cd]' });
    expect(violations(heavy, 'ab'.repeat(100_000))).toEqual(tooLong);
    expect(violations(heavy, 'ab'.repeat(100))[0]!.field).toBe('value');
  });

  test('expressions over the names of members', () => {
    const names = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`name${at}`, at]));
    const patterns = Object.fromEntries(
      Array.from({ length: 100 }, (_, at) => [`^${'x'.repeat(at)}(a+)+$`, true]),
    );
    expect(findings({ patternProperties: patterns }, names)).toEqual(tooLong);
    const counted = { allOf: Array.from({ length: 400 }, (_, at) => ({ minProperties: at % 5 })) };
    expect(findings(counted, names)).toEqual(tooLong);
  });

  test('texts that are no short format are not read', () => {
    for (const format of ['email', 'uri', 'uri-reference', 'hostname', 'ipv6', 'regex', 'date-time', 'url']) {
      expect(accepts({ format }, 'a'.repeat(FORMAT_LENGTH_MAX + 1))).toBe(false);
    }
    expect(accepts({ format: 'byte' }, 'a'.repeat(4 * FORMAT_LENGTH_MAX))).toBe(true);
  });

  test('thousands of different schemas do not stay', () => {
    for (let at = 0; at < 1_200; at++)
      expect(violations(`{"minimum":${at}}`, 600).length).toBe(at > 600 ? 1 : 0);
  });
});
