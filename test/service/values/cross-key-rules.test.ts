import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import { ServiceError } from '../../../src/service/service-error.ts';
import { brokenRules, checkRule, RULE_LENGTH_MAX } from '../../../src/service/values/cross-key-rules.ts';
import { json } from './arbitraries.ts';

const VALUES: Readonly<Record<string, Json>> = {
  max: 10,
  min: 2.5,
  'db.pool.max': 5,
  name: 'api',
  on: true,
  off: null,
  hosts: ['a', 'b'],
  odd: { constructor: 1 },
  limits: { cpu: 2, memory: 512 },
};

function findings(expression: string, values: Readonly<Record<string, Json>> = VALUES): readonly string[] {
  checkRule(expression);
  const rules = [{ name: 'r', expression, message: 'does not hold' }];
  return brokenRules(rules, new Map(Object.entries(values))).map(({ message }) => message);
}

describe('a rule', () => {
  test.each([
    'config.max > config.min',
    'config.max == 10 && config.max == 10.0',
    'config["db.pool.max"] * 2 <= config.max',
    'config.max / 4 == 2.5',
    '4 - config.min == 1.5',
    'config.max % 3 == 1',
    'config.max + 1 > 10 && 1 + config.max > 10',
    'config.on ? config.max > 5 : config.max < 5',
    'config.off == null',
    '!has(config.absent) && has(config.max)',
    '"db.pool.max" in config && !("absent" in config)',
    'config.name in ["api", "web"]',
    'config.name.matches("^a.i$") && config.name.startsWith("a")',
    'config.hosts.all(h, size(h) == 1) && config.hosts.exists(h, h == "b")',
    'config.hosts.map(h, h + "!") == ["a!", "b!"]',
    'size(config.hosts) < config.max',
    'config.hosts[1] == "b"',
    'config.limits.cpu == 2 && config.limits.all(k, config.limits[k] > 1)',
    'config.limits == {"memory": 512.0, "cpu": 2.0}',
    'config.exists(key, key.endsWith(".max"))',
    'cel.bind(m, config.max, m * m == 100)',
    'config.max == 11 || config.min < 3',
    'config.absent > 1 || true',
  ])('%s holds', (expression) => {
    expect(findings(expression)).toEqual([]);
  });

  test.each([
    ['config.max < config.min', 'does not hold'],
    ['config.max == config.name', 'does not hold'],
    ['config.absent > 1', 'cannot be checked: No such key: absent'],
    ['config.max', 'cannot be checked: it gives neither true nor false'],
    ['config.name > 5', 'cannot be checked: no such overload'],
    ['config.max.deep == 1', 'cannot be checked'],
    ['config.hosts[7] == "x"', 'cannot be checked: index out of bounds'],
    ['bool(config.name)', 'cannot be checked: bool conversion error'],
    ['config.constructor == 1', 'cannot be checked: No such key: constructor'],
    ['config.limits.toString == 1', 'cannot be checked: No such key: toString'],
    ['config.limits["__proto__"] == 1', 'cannot be checked: No such key: __proto__'],
    ['config.odd == config.odd', 'cannot be checked: unsupported type'],
    ['config.max.matches("x")', 'cannot be checked: no matching overload'],
    ['config.name.matches(config.name + "(")', 'cannot be checked: it failed'],
  ])('%s does not', (expression, message) => {
    const found = findings(expression);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
    expect(found[0]).not.toContain('api');
  });

  test.each([
    ['', 'Unexpected token'],
    ['1 +', 'Unexpected token'],
    ['other.max > 1', 'Unknown variable'],
    ['config.max > 1; true', 'Unexpected character'],
    ['1 + 2', 'not true or false'],
    ['"x"', 'not true or false'],
    ['"a" > 5', 'no such overload'],
    ['nothing(config)', 'no matching overload'],
    ['config.name.matches("(?=a)")', 'unsupported'],
    ['config.name.matches("(a)\\\\1")', 'invalid escape'],
    ['conclave_hook(true)', 'no function'],
    ['config.name.conclave_matches("a")', 'no function'],
    [`${'('.repeat(200)}true${')'.repeat(200)}`, 'maxDepth'],
    [`[${'1,'.repeat(101)}1] == []`, 'maxListElements'],
    [`true${' && true'.repeat(505)}`, 'maxAstNodes'],
    [`true ${' '.repeat(RULE_LENGTH_MAX)}`, 'longer than'],
  ])('%s is none', (expression, message) => {
    let failure: unknown;
    try {
      checkRule(expression);
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(ServiceError);
    expect((failure as ServiceError).problems[0]!.field).toBe('expression');
    expect((failure as Error).message).toContain(message);
  });

  test('that is none is a finding, when it comes from elsewhere', () => {
    expect(brokenRules([{ name: 'bad', expression: '1 +', message: '' }], new Map())).toEqual([
      { rule: 'bad', message: expect.stringContaining('cannot be checked') as string },
    ]);
  });

  test('only what does not hold is told, in order', () => {
    const rules = ['config.max > 1', 'config.max > 99', 'config.min < 0'].map((expression, at) => ({
      name: `r${at}`,
      expression,
      message: `m${at}`,
    }));
    expect(brokenRules(rules, new Map(Object.entries(VALUES)))).toEqual([
      { rule: 'r1', message: 'm1' },
      { rule: 'r2', message: 'm2' },
    ]);
  });
});

describe('values of any kind', () => {
  test('equal themselves, and numbers compare as they do in JavaScript', () => {
    const number = fc.oneof(fc.integer(), fc.double({ noNaN: true }));
    fc.assert(
      fc.property(json, number, number, (value, a, b) => {
        // CEL does not know an object with a member of this name: that is a finding, see below.
        if (!JSON.stringify(value).includes('"constructor":')) {
          expect(findings('config.v == config.v', { v: value })).toEqual([]);
        }
        expect(findings('config.a < config.b', { a, b })).toHaveLength(a < b ? 0 : 1);
        expect(findings('config.a - config.b > 1', { a, b })).toHaveLength(a - b > 1 ? 0 : 1);
      }),
    );
  });
});

describe('a rule that would never end', () => {
  const long = Array.from({ length: 20_000 }, (_, at) => at);
  const tooLong = ['cannot be checked: it takes too long'];
  const hundred = `[${Array.from({ length: 100 }, (_, at) => at).join()}]`;
  const nested = (levels: number, over: string): string =>
    levels === 0 ? 'true' : `${over}.all(x${levels}, ${nested(levels - 1, over)})`;

  test.each([
    ['loops in loops over a list', nested(3, 'config.long')],
    ['loops in loops over a literal', nested(4, hundred)],
    ['loops whose errors are put aside', nested(3, 'config.long').replace('true', 'config.absent')],
    ['errors put aside by or', 'config.long.exists(x, config.long.exists(y, config.absent || x < -1.0))'],
    ['loops over names', 'config.exists(a, config.exists(b, config.exists(c, false)))'],
    [
      'lists that double',
      '[[1]].map(a, a + a).map(a, a + a)'.repeat(1) + '.map(a, a + a)'.repeat(40) + ' == []',
    ],
    ['lists that double by binding', `${bound(20, 'config.long')} == []`],
    ['texts that double', `${bound(20, 'config.text')}.contains("y")`],
    ['texts that are joined', 'config.long.map(x, config.text).join() == ""'],
    ['texts that are split, again and again', 'config.long.all(x, size(config.text.split("")) > 0)'],
    ['large values that are compared, again and again', 'config.long.all(x, config.deep == config.deep2)'],
    ['large values looked for in a list', 'config.long.all(x, config.deep in [config.deep2])'],
    [
      'parts that are compared in a list',
      'config.long.map(x, config.deep) == config.long.map(x, config.deep2)',
    ],
    ['patterns over long texts', 'config.text.matches("[ab]*a[ab]{300}[cd]")'],
  ])('ends: %s', (_, expression) => {
    const names = Object.fromEntries(Array.from({ length: 1_000 }, (_unused, at) => [`k${at}`, at]));
    const deep = Array.from({ length: 30_000 }, (_unused, at) => [at]);
    const values = { ...names, long, deep, deep2: structuredClone(deep), text: 'ab'.repeat(100_000) };
    expect(findings(expression, values)).toEqual(tooLong);
    expect(findings('config.k1 == 1', values)).toEqual([]);
  });

  test('takes the steps of all rules of a check together', () => {
    const expression = 'config.long.all(x, x >= 0)';
    const rules = Array.from({ length: 20 }, (_, at) => ({ name: `r${at}`, expression, message: '' }));
    const found = brokenRules(rules, new Map([['long', long]]));
    expect(found.length).toBeGreaterThan(0);
    expect(found.length).toBeLessThan(20);
    expect(new Set(found.map(({ message }) => message))).toEqual(new Set(tooLong));
  });
});

/** x + x of x + x of ... */
function bound(levels: number, inner: string): string {
  let expression = `x${levels}`;
  for (let level = levels; level > 0; level--) {
    expression = `cel.bind(x${level}, ${level === 1 ? inner : `x${level - 1} + x${level - 1}`}, ${expression})`;
  }
  return expression;
}
