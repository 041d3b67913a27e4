import { describe, expect, test } from 'vitest';
import type { EvaluationContext } from '../../src/evaluation/evaluation.ts';
import { compileFlags } from '../../src/evaluation/flag-set.ts';
import { ask, brief, evaluate, flagOf, NEW_YEAR_MS, ruleOn, segmentOf } from './fixture.ts';

const GERMAN = { attribute: 'country', operator: 'EQUALS', values: ['DE'] };

describe('reasons', () => {
  test('a flag without rules answers everybody alike: STATIC', () => {
    expect(brief(evaluate({ fallthrough: { variant: 'on' } }))).toBe('on STATIC');
  });

  test('a rule that matches is TARGETING_MATCH, none is DEFAULT', () => {
    const flag = { rules: [ruleOn(GERMAN)] };
    expect(brief(evaluate(flag, { country: 'DE' }))).toBe('on TARGETING_MATCH');
    expect(brief(evaluate(flag, { country: 'FR' }))).toBe('off DEFAULT');
  });

  test('a disabled flag answers its off variant, or no value where it has none: DISABLED', () => {
    const flag = { enabled: false, rules: [ruleOn()], fallthrough: { variant: 'on' } };
    expect(brief(evaluate(flag))).toBe('off DISABLED');
    const none = evaluate({ ...flag, offVariant: null });
    expect(none).toMatchObject({
      value: undefined,
      variant: undefined,
      reason: 'DISABLED',
      errorCode: undefined,
    });
  });

  test('whom a bucket decides about gets SPLIT', () => {
    const fallthrough = { split: { weights: [{ variant: 'on', weight: 10_000 }] } };
    expect(brief(evaluate({ fallthrough }, { targetingKey: 'a' }))).toBe('on SPLIT');
  });

  test("a fallthrough without a variant leaves it to the caller's default", () => {
    expect(evaluate({ fallthrough: { variant: null } })).toMatchObject({
      value: undefined,
      reason: 'DEFAULT',
    });
  });
});

describe('the order', () => {
  test('the first rule that matches wins', () => {
    const flag = {
      rules: [
        { when: [GERMAN], serve: { variant: 'off' } },
        { when: [], serve: { variant: 'on' } },
      ],
    };
    expect(brief(evaluate(flag, { country: 'DE' }))).toBe('off TARGETING_MATCH');
    expect(brief(evaluate(flag, { country: 'FR' }))).toBe('on TARGETING_MATCH');
  });

  test('individual targets come before rules', () => {
    const flag = { targets: [{ variant: 'on', keys: ['anna'] }], rules: [{ serve: { variant: 'off' } }] };
    expect(brief(evaluate(flag, { targetingKey: 'anna' }))).toBe('on TARGETING_MATCH');
    expect(brief(evaluate(flag, { targetingKey: 'bert' }))).toBe('off TARGETING_MATCH');
    expect(brief(evaluate(flag, {}))).toBe('off TARGETING_MATCH');
  });

  test('all conditions of a rule must hold', () => {
    const flag = { rules: [ruleOn(GERMAN, { attribute: 'age', operator: 'GREATER_THAN', values: [17] })] };
    expect(brief(evaluate(flag, { country: 'DE', age: 18 }))).toBe('on TARGETING_MATCH');
    expect(brief(evaluate(flag, { country: 'DE', age: 17 }))).toBe('off DEFAULT');
  });
});

describe('requirements', () => {
  test('a flag that is meant for other services is off', () => {
    const flag = { targetServices: ['shop', 'cart'], fallthrough: { variant: 'on' } };
    expect(brief(evaluate(flag, { service: 'cart' }))).toBe('on DEFAULT');
    expect(brief(evaluate(flag, { service: 'mail' }))).toBe('off DEFAULT');
    expect(brief(evaluate(flag, {}))).toBe('off DEFAULT');
  });

  test('every entry of the conditions map must be equal', () => {
    const conditions = { region: 'eu', beta: true, limits: { orders: [1, 2] } };
    const flag = { conditions, fallthrough: { variant: 'on' } };
    const context = { region: 'eu', beta: true, limits: { orders: [1, 2] } };
    expect(brief(evaluate(flag, context))).toBe('on DEFAULT');
    expect(brief(evaluate(flag, { ...context, region: 'us' }))).toBe('off DEFAULT');
    expect(brief(evaluate(flag, { ...context, limits: { orders: [1, 2, 3] } }))).toBe('off DEFAULT');
  });

  test('a prerequisite must answer one of the variants named, whatever its reason', () => {
    const dependent = flagOf({
      key: 'dependent',
      prerequisites: [{ flag: 'base', variants: ['on'] }],
      fallthrough: { variant: 'on' },
    });
    const answer = (base: object, context: EvaluationContext = {}): string =>
      ask(compileFlags([dependent, flagOf({ key: 'base', ...base })]), 'dependent', context);
    expect(answer({ rules: [ruleOn(GERMAN)] }, { country: 'DE' })).toBe('on DEFAULT');
    expect(answer({ rules: [ruleOn(GERMAN)] }, { country: 'FR' })).toBe('off DEFAULT');
    expect(answer({ enabled: false, offVariant: 'on' })).toBe('on DEFAULT');
    expect(answer({ fallthrough: { variant: null } })).toBe('off DEFAULT');
  });

  test('a prerequisite that fails makes the flag off', () => {
    const base = flagOf({
      key: 'base',
      fallthrough: { split: { weights: [{ variant: 'on', weight: 10_000 }] } },
    });
    const dependent = flagOf({ key: 'dependent', prerequisites: [{ flag: 'base', variants: ['on'] }] });
    const flags = compileFlags([dependent, base]);
    expect(ask(flags, 'base', {})).toBe('TARGETING_KEY_MISSING');
    expect(ask(flags, 'dependent', {})).toBe('off DEFAULT');
  });
});

describe('segments', () => {
  const staff = segmentOf({
    key: 'staff',
    included: ['anna'],
    excluded: ['zoe'],
    when: [{ attribute: 'email', operator: 'ENDS_WITH', values: ['@example.com'] }],
  });
  const flag = flagOf({ rules: [ruleOn({ segment: 'staff' })] });
  const flags = compileFlags([flag], [staff]);

  test.each([
    [{ targetingKey: 'anna' }, 'on TARGETING_MATCH'],
    [{ targetingKey: 'bert', email: 'bert@example.com' }, 'on TARGETING_MATCH'],
    [{ email: 'x@example.com' }, 'on TARGETING_MATCH'],
    [{ targetingKey: 'zoe', email: 'zoe@example.com' }, 'off DEFAULT'],
    [{ targetingKey: 'bert' }, 'off DEFAULT'],
  ])('of %j', (context, answer) => {
    expect(ask(flags, 'flag', context)).toBe(answer);
  });

  test('one without rules has only those that are included', () => {
    const named = compileFlags([flag], [segmentOf({ key: 'staff', included: ['anna'] })]);
    expect(ask(named, 'flag', { targetingKey: 'anna' })).toBe('on TARGETING_MATCH');
    expect(ask(named, 'flag', { targetingKey: 'bert' })).toBe('off DEFAULT');
  });

  test('one may refer to another', () => {
    const outer = segmentOf({ key: 'outer', when: [{ not: { segment: 'staff' } }] });
    const set = compileFlags([flagOf({ rules: [ruleOn({ segment: 'outer' })] })], [outer, staff]);
    expect(ask(set, 'flag', { targetingKey: 'anna' })).toBe('off DEFAULT');
    expect(ask(set, 'flag', { targetingKey: 'bert' })).toBe('on TARGETING_MATCH');
  });
});

describe('groups', () => {
  test('all, any and not', () => {
    const french = { attribute: 'country', operator: 'EQUALS', values: ['FR'] };
    const adult = { attribute: 'age', operator: 'GREATER_OR_EQUAL', values: [18] };
    const flag = { rules: [ruleOn({ all: [{ any: [GERMAN, french] }, { not: { not: adult } }] })] };
    expect(brief(evaluate(flag, { country: 'FR', age: 18 }))).toBe('on TARGETING_MATCH');
    expect(brief(evaluate(flag, { country: 'FR', age: 17 }))).toBe('off DEFAULT');
    expect(brief(evaluate(flag, { country: 'US', age: 18 }))).toBe('off DEFAULT');
  });

  test('all of none is true, any of none is false', () => {
    expect(brief(evaluate({ rules: [ruleOn({ all: [] })] }))).toBe('on TARGETING_MATCH');
    expect(brief(evaluate({ rules: [ruleOn({ any: [] })] }))).toBe('off DEFAULT');
  });
});

describe('schedules', () => {
  const schedule = [
    { at: '2026-01-02T00:00:00Z', set: { enabled: true } },
    { at: '2026-01-03T00:00:00Z', set: { rules: [ruleOn(GERMAN)] } },
    { at: '2026-01-04T01:00:00+01:00', set: { fallthrough: { variant: 'on' } } },
  ];
  const flag = { enabled: false, schedule };
  const DAY_MS = 86_400_000;

  test.each([
    [0, 'off DISABLED'],
    [1 - 1e-8, 'off DISABLED'],
    [1, 'off DEFAULT'],
    [2, 'on TARGETING_MATCH'],
    [3, 'on TARGETING_MATCH'],
  ])('after %d days', (days, answer) => {
    expect(brief(evaluate(flag, { country: 'DE' }, NEW_YEAR_MS + Math.floor(days * DAY_MS)))).toBe(answer);
  });

  test('each change starts from what the ones before have made', () => {
    expect(brief(evaluate(flag, { country: 'FR' }, NEW_YEAR_MS + 2 * DAY_MS))).toBe('off DEFAULT');
    expect(brief(evaluate(flag, { country: 'FR' }, NEW_YEAR_MS + 3 * DAY_MS))).toBe('on DEFAULT');
  });

  test('a set knows when its next change comes', () => {
    const set = compileFlags([flagOf(flag)]);
    expect(set.nextChangeMs(NEW_YEAR_MS)).toBe(NEW_YEAR_MS + DAY_MS);
    expect(set.nextChangeMs(NEW_YEAR_MS + DAY_MS)).toBe(NEW_YEAR_MS + 2 * DAY_MS);
    expect(set.nextChangeMs(NEW_YEAR_MS + 3 * DAY_MS)).toBe(null);
  });

  test('a condition on the time is among them', () => {
    const after = { attribute: '$now', operator: 'AFTER', values: ['2026-01-02T00:00:00Z'] };
    const set = compileFlags([flagOf({ rules: [ruleOn(after)] })]);
    const changeMs = set.nextChangeMs(NEW_YEAR_MS)!;
    const nextMs = set.nextChangeMs(changeMs)!;
    expect([changeMs, nextMs]).toEqual([NEW_YEAR_MS + DAY_MS, NEW_YEAR_MS + DAY_MS + 1]);
    expect(ask(set, 'flag', {}, changeMs)).toBe('off DEFAULT');
    expect(ask(set, 'flag', {}, nextMs)).toBe('on TARGETING_MATCH');
  });

  test('what waits for its time is not STATIC, which clients would keep', () => {
    expect(brief(evaluate({ schedule }))).toBe('off DEFAULT');
  });
});

describe('errors', () => {
  const split = { split: { weights: [{ variant: 'on', weight: 10_000 }] } };

  test('an unknown flag is FLAG_NOT_FOUND', () => {
    expect(compileFlags([]).evaluate('none', {}, { nowMs: 0 })).toMatchObject({
      value: undefined,
      reason: 'ERROR',
      errorCode: 'FLAG_NOT_FOUND',
    });
  });

  test.each(['string', 'number', 'object'] as const)('a boolean asked for as %s is TYPE_MISMATCH', (type) => {
    const flags = compileFlags([flagOf()]);
    expect(brief(flags.evaluate('flag', {}, { nowMs: 0, type }))).toBe('TYPE_MISMATCH');
    expect(brief(flags.evaluate('flag', {}, { nowMs: 0, type: 'boolean' }))).toBe('off STATIC');
  });

  test('a targeting key is missing only where a rule needs it', () => {
    const flag = { rules: [{ when: [GERMAN], serve: split }] };
    expect(brief(evaluate(flag, { country: 'FR' }))).toBe('off DEFAULT');
    for (const targetingKey of [undefined, null, ''])
      expect(brief(evaluate(flag, { country: 'DE', targetingKey }))).toBe('TARGETING_KEY_MISSING');
    expect(brief(evaluate(flag, { country: 'DE', targetingKey: 'a' }))).toBe('on SPLIT');
  });

  test('a targeting key that is no text is INVALID_CONTEXT where it is needed', () => {
    expect(brief(evaluate({ fallthrough: split }, { targetingKey: 7 }))).toBe('INVALID_CONTEXT');
    expect(brief(evaluate({ fallthrough: { variant: 'on' } }, { targetingKey: 7 }))).toBe('on STATIC');
  });

  test.each([null, undefined, 'text', 7])('the context %j is INVALID_CONTEXT', (context) => {
    expect(ask(compileFlags([flagOf()]), 'flag', context as never)).toBe('INVALID_CONTEXT');
  });

  test('a context that throws is GENERAL, and nothing throws', () => {
    const context = {
      get country(): string {
        throw new Error('no');
      },
    };
    const flags = compileFlags([flagOf({ rules: [ruleOn(GERMAN)] })]);
    expect(brief(flags.evaluate('flag', context, { nowMs: 0 }))).toBe('GENERAL');
    expect(flags.explain('flag', context, { nowMs: 0 }).evaluation.errorCode).toBe('GENERAL');
  });

  test('a flag that cannot be evaluated answers PARSE_ERROR, and the others are as they are', () => {
    const flags = compileFlags([
      flagOf({ key: 'a', prerequisites: [{ flag: 'none', variants: ['on'] }] }),
      flagOf({ key: 'b', rules: [ruleOn({ segment: 'none' })] }),
      flagOf({ key: 'c', prerequisites: [{ flag: 'a', variants: ['on'] }] }),
      {
        ...flagOf({ key: 'd' }),
        rules: [{ name: '', when: [bad('MATCHES', '(')], rollout: null, serve: { variant: 'on' } }],
      },
      flagOf({ key: 'e' }),
    ]);
    expect(['a', 'b', 'd', 'e'].map((key) => ask(flags, key, {}))).toEqual([
      'PARSE_ERROR',
      'PARSE_ERROR',
      'PARSE_ERROR',
      'off STATIC',
    ]);
    expect(flags.findings.get('a')).toEqual([
      { field: 'prerequisites/0/flag', message: 'there is no flag none' },
    ]);
    expect(flags.findings.get('b')).toEqual([
      { field: 'rules/0/when/0/segment', message: 'there is no segment none' },
    ]);
    expect(flags.findings.get('c')).toEqual([
      { field: 'prerequisites/0/flag', message: 'flag a cannot be evaluated' },
    ]);
    expect(flags.findings.has('e')).toBe(false);
  });

  test('what no evaluation can change is frozen, values included', () => {
    const answer = evaluate({
      type: 'object',
      variants: { on: { list: [1] } },
      offVariant: null,
      fallthrough: { variant: 'on' },
    });
    expect(Object.isFrozen(answer)).toBe(true);
    expect(() => (answer.value as { list: number[] }).list.push(2)).toThrow(TypeError);
  });

  test('metadata comes with every answer', () => {
    const flags = compileFlags([flagOf({ metadata: { team: 'shop', tier: 1 } })]);
    for (const type of ['boolean', 'string'] as const) {
      const { flagMetadata } = flags.evaluate('flag', {}, { nowMs: 0, type });
      expect(flagMetadata).toEqual({ team: 'shop', tier: 1 });
    }
  });
});

test('the same answer is the same object: evaluation makes none', () => {
  const flags = compileFlags([flagOf({ rules: [ruleOn(GERMAN)] })]);
  const [first, second] = [{ country: 'DE' }, { country: 'DE' }].map((context) =>
    flags.evaluate('flag', context, { nowMs: 0 }),
  );
  expect(first).toBe(second);
});

function bad(
  operator: 'MATCHES',
  value: string,
): { attribute: string; operator: 'MATCHES'; values: string[] } {
  return { attribute: 'a', operator, values: [value] };
}
