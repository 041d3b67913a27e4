import { FlagdCore } from '@openfeature/flagd-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EvaluationContext } from '../../src/evaluation/evaluation.ts';
import { compileFlags } from '../../src/evaluation/flag-set.ts';
import { exportFlagd, importFlagd } from '../../src/evaluation/flagd.ts';
import type { FlagDefinition, Json, Segment } from '../../src/evaluation/model.ts';
import { ask, flagOf, NEW_YEAR_MS, ruleOn, segmentOf } from './fixture.ts';
import { anyContext, anyFlag, anySegment } from './flag-arbitraries.ts';

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** flagd's own evaluation of a document. */
function flagdOf(document: object): FlagdCore {
  const core = new FlagdCore(undefined, SILENT);
  core.setConfigurations(JSON.stringify(document));
  return core;
}

/** The variant that flagd answers; undefined = the caller's default. */
function flagdVariant(core: FlagdCore, key: string, context: EvaluationContext): string | undefined {
  const flag = core.getFlag(key)!;
  if (flag.state === 'DISABLED') return undefined;
  return flag.evaluate(context as never, SILENT).variant;
}

function importOne(flag: object, evaluators: object = {}): ReturnType<typeof importFlagd> {
  return importFlagd({ flags: { f: flag }, $evaluators: evaluators });
}

const ON_OFF = { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off' };
const variable = (name: string): object => ({ var: name });

describe('import', () => {
  test('of a flag without targeting is a fallthrough', () => {
    const { flags, findings } = importFlagd({
      flags: { f: { ...ON_OFF, metadata: { team: 'shop' } } },
      metadata: { team: 'all', set: 'prod' },
    });
    expect(findings).toEqual([]);
    expect(flags).toEqual([flagOf({ key: 'f', offVariant: null, metadata: { team: 'shop', set: 'prod' } })]);
  });

  test('of nested ifs is a list of rules', () => {
    const targeting = {
      if: [
        { and: [{ '==': [variable('country'), 'DE'] }, { '>=': [variable('age'), 18] }] },
        { if: [{ in: [variable('plan'), ['pro', 'team']] }, 'on', null] },
        { starts_with: [variable('email'), 'test'] },
        'on',
        'off',
      ],
    };
    const { flags, findings } = importOne({ ...ON_OFF, targeting });
    expect(findings).toEqual([]);
    const country = { attribute: 'country', operator: 'EQUALS', values: ['DE'] };
    const age = { attribute: 'age', operator: 'GREATER_OR_EQUAL', values: [18] };
    expect(flags[0]!.rules.map(({ when, serve }) => [when, serve])).toEqual([
      [[country, age, { attribute: 'plan', operator: 'IN', values: ['pro', 'team'] }], { variant: 'on' }],
      [[country, age], { variant: 'off' }],
      [[{ attribute: 'email', operator: 'STARTS_WITH', values: ['test'] }], { variant: 'on' }],
    ]);
  });

  test('of fractional keeps the buckets', () => {
    const suits = ['clubs', 'diamonds', 'hearts', 'spades'];
    const flag = {
      state: 'ENABLED',
      variants: Object.fromEntries(suits.map((suit) => [suit, suit])),
      defaultVariant: 'clubs',
      targeting: {
        fractional: [
          { cat: [variable('$flagd.flagKey'), variable('user.name')] },
          ...suits.map((suit) => [suit, 25]),
        ],
      },
    };
    const { flags, findings } = importFlagd({ flags: { 'fractional-flag': flag } });
    expect(findings).toEqual([]);
    expect(flags[0]!.fallthrough).toMatchObject({
      split: { seed: null, bucketBy: 'user.name', total: 10_000 },
    });
    const names = ['jack', 'queen', 'ten', 'nine', '3'];
    const set = compileFlags(flags);
    const answers = names.map((name) => ask(set, 'fractional-flag', { user: { name } }));
    expect(answers).toEqual(
      ['hearts', 'spades', 'clubs', 'diamonds', 'clubs'].map((suit) => `${suit} SPLIT`),
    );
  });

  test('of fractional by an attribute that is absent answers the default, as flagd does, and no later rule', () => {
    const byCompany = { fractional: [variable('company'), ['on', 1]] };
    const flag = { ...ON_OFF, targeting: { if: [{ '==': [variable('a'), 'x'] }, byCompany, 'on'] } };
    const set = compileFlags(importOne(flag).flags);
    const core = flagdOf({ flags: { f: flag } });
    for (const context of [{ a: 'x' }, { a: 'x', company: 'acme' }, { a: 'y' }]) {
      const { variant } = set.evaluate('f', { targetingKey: 'anna', ...context }, { nowMs: 0 });
      expect(variant).toBe(flagdVariant(core, 'f', { targetingKey: 'anna', ...context }));
      expect(variant).toBe(context.a === 'x' && context.company === undefined ? 'off' : 'on');
    }
  });

  test('of evaluators that are conditions makes segments, of others puts them in', () => {
    const evaluators = {
      staff: { ends_with: [variable('email'), '@example.com'] },
      half: {
        fractional: [
          ['on', 1],
          ['off', 1],
        ],
      },
    };
    const targeting = { if: [{ $ref: 'staff' }, 'on', { $ref: 'half' }] };
    const { flags, segments, findings } = importOne({ ...ON_OFF, targeting }, evaluators);
    expect(findings).toEqual([]);
    expect(segments).toEqual([
      segmentOf({
        key: 'staff',
        when: [{ attribute: 'email', operator: 'ENDS_WITH', values: ['@example.com'] }],
      }),
    ]);
    expect(flags[0]).toMatchObject({
      rules: [{ when: [{ segment: 'staff' }], serve: { variant: 'on' } }],
      fallthrough: { split: { total: 10_000 } },
    });
  });

  test('of a condition answers the variants true and false', () => {
    const flag = {
      state: 'ENABLED',
      variants: { true: 1, false: 0 },
      defaultVariant: 'false',
      targeting: { '!': [{ '==': [variable('a'), 'x'] }] },
    };
    const set = compileFlags(importOne(flag).flags);
    expect([ask(set, 'f', { a: 'x' }), ask(set, 'f', { a: 'y' })]).toEqual([
      'false DEFAULT',
      'true TARGETING_MATCH',
    ]);
  });

  test('of the time goes by whole seconds', () => {
    const second = NEW_YEAR_MS / 1000;
    const cases: readonly (readonly [string, number, boolean])[] = [
      ['>=', NEW_YEAR_MS, true],
      ['>=', NEW_YEAR_MS - 1, false],
      ['>', NEW_YEAR_MS + 999, false],
      ['>', NEW_YEAR_MS + 1000, true],
      ['<', NEW_YEAR_MS - 1, true],
      ['<', NEW_YEAR_MS, false],
      ['<=', NEW_YEAR_MS + 999, true],
      ['<=', NEW_YEAR_MS + 1000, false],
    ];
    for (const [operator, nowMs, answer] of cases) {
      const targeting = { if: [{ [operator]: [variable('$flagd.timestamp'), second] }, 'on'] };
      expect(compileFlags(importOne({ ...ON_OFF, targeting }).flags).evaluate('f', {}, { nowMs }).value).toBe(
        answer,
      );
    }
  });

  const cannot: readonly (readonly [object, string, string])[] = [
    [
      { if: [{ '>': [variable('a'), variable('b')] }, 'on'] },
      'flags/f/targeting/if/0/>',
      'must compare an attribute with a constant',
    ],
    [{ if: [variable('a'), 'on'] }, 'flags/f/targeting/if/0/var', 'cannot be carried over'],
    [
      { if: [{ '==': [{ '%': [variable('a'), 2] }, 0] }, 'on'] },
      'flags/f/targeting/if/0/==',
      'must compare an attribute with a constant',
    ],
    [
      { if: [{ some: [variable('a'), true] }, 'on'] },
      'flags/f/targeting/if/0/some',
      'cannot be carried over',
    ],
    [
      { if: [{ in: [variable('a'), 'abc'] }, 'on'] },
      'flags/f/targeting/if/0/in',
      'must be an attribute in a list, or a constant in an attribute',
    ],
    [
      { if: [{ sem_ver: [variable('a'), '=>', '1.0.0'] }, 'on'] },
      'flags/f/targeting/if/0/sem_ver',
      'must be an attribute, an operator and a version',
    ],
    [{ if: [{ $ref: 'none' }, 'on'] }, 'flags/f/targeting/if/0/$ref', 'there is no evaluator none'],
    [
      { if: [{ '==': [variable('$flagd.flagKey'), 'f'] }, 'on'] },
      'flags/f/targeting/if/0/==',
      '$flagd.flagKey cannot be used here',
    ],
    [
      { fractional: [variable('a'), [variable('b'), 50]] },
      'flags/f/targeting/fractional/1/0',
      'must be the name of a variant: it cannot be computed',
    ],
    [
      { fractional: [['on', { '+': [1, 2] }]] },
      'flags/f/targeting/fractional/0/1',
      'must be an integer: it cannot be computed',
    ],
    [
      { fractional: ['constant', ['on', 1]] },
      'flags/f/targeting/fractional/0',
      'must be an attribute, or constants and then an attribute',
    ],
    [{ fractional: [['on', 0]] }, 'flags/f/targeting/fractional', 'must have a weight above 0'],
    [
      { if: [{ '==': [variable('a'), 'x'] }, 'none'] },
      'flags/f/rules/0/serve/variant',
      'there is no variant none',
    ],
  ];
  test.each(cannot)('of %j is refused', (targeting, field, message) => {
    const { flags, findings } = importOne({ ...ON_OFF, targeting });
    expect(flags).toEqual([]);
    expect(findings).toContainEqual({ field, message });
  });

  test('leaves out only the flags that it cannot carry', () => {
    const { flags, findings } = importFlagd({
      flags: {
        good: ON_OFF,
        mixed: { ...ON_OFF, variants: { on: true, off: 'no' } },
        paused: { ...ON_OFF, state: 'PAUSED' },
        none: 7,
      },
    });
    expect(flags.map(({ key }) => key)).toEqual(['good']);
    expect(findings.map(({ field, message }) => `${field}: ${message}`)).toEqual([
      'flags/mixed/variants: must all be of one type',
      'flags/paused/state: must be ENABLED or DISABLED',
      'flags/none: must be an object',
    ]);
  });

  test.each([null, [], 7, {}, { flags: [] }, { flags: {}, $evaluators: 7 }, { flags: {}, metadata: [] }])(
    'of %j is a finding',
    (document) => {
      expect(importFlagd(document).findings).toHaveLength(1);
    },
  );

  test('of evaluators that refer to one another without end, or too often, comes to an end', () => {
    const targeting = { if: [{ $ref: 'a' }, 'on'] };
    const circle = importOne(
      { ...ON_OFF, targeting },
      { a: { and: [{ $ref: 'b' }] }, b: { or: [{ $ref: 'a' }] } },
    );
    expect(circle.flags).toEqual([]);
    const names = 'abcdefgh'.split('');
    const bomb = Object.fromEntries(
      names.map((name, at) => [
        name,
        at === names.length - 1
          ? { if: [true, 'on'] }
          : { and: Array.from({ length: 50 }, () => ({ $ref: names[at + 1] })) },
      ]),
    );
    expect(importOne({ ...ON_OFF, targeting }, bomb).flags).toEqual([]);
  });

  test('of large evaluators that are put in often is refused before it is written out', () => {
    const keys = Array.from({ length: 100_000 }, (_, at) => `person-${at}`);
    // No condition, so that it is put in wherever it is referred to.
    const large = { if: [{ in: [variable('targetingKey'), keys] }, 'on'] };
    const targeting = {
      if: Array.from({ length: 900 }, (_, at) => [{ '==': [variable('a'), at] }, { $ref: 'large' }]).flat(),
    };
    const { flags, findings } = importOne({ ...ON_OFF, targeting }, { large });
    expect(flags).toEqual([]);
    expect(findings).toEqual([{ field: 'flags/f', message: 'must have at most 1048576 characters as JSON' }]);
  });
});

describe('export', () => {
  const variantOf = (
    flags: readonly FlagDefinition[],
    key: string,
    context: EvaluationContext,
    nowMs = NEW_YEAR_MS,
  ): string | undefined => {
    const { document, findings } = exportFlagd({ flags }, nowMs);
    expect(findings).toEqual([]);
    return flagdVariant(flagdOf(document), key, context);
  };

  test('of a disabled flag answers the same: the off variant, or none', () => {
    expect(variantOf([flagOf({ enabled: false, fallthrough: { variant: 'on' } })], 'flag', {})).toBe('off');
    const { document } = exportFlagd({ flags: [flagOf({ enabled: false, offVariant: null })] }, NEW_YEAR_MS);
    expect(document.flags['flag']!.state).toBe('DISABLED');
  });

  test('of schedules and ramps is what holds at that time', () => {
    const ramp = {
      kind: 'linear',
      points: [
        { at: '2026-01-01T00:00:00Z', share: 0 },
        { at: '2026-01-02T00:00:00Z', share: 10_000 },
      ],
    };
    const flag = flagOf({
      enabled: false,
      schedule: [{ at: '2026-01-01T06:00:00Z', set: { enabled: true } }],
      rules: [{ rollout: { share: 0, ramp }, serve: { variant: 'on' } }],
    });
    const set = compileFlags([flag]);
    for (const hours of [-1, 0, 5, 6, 12, 24, 30]) {
      const nowMs = NEW_YEAR_MS + hours * 3_600_000;
      for (const targetingKey of ['a', 'b', 'c', 'd', 'e']) {
        const ours = set.evaluate('flag', { targetingKey }, { nowMs }).variant;
        expect(variantOf([flag], 'flag', { targetingKey }, nowMs)).toBe(ours);
      }
    }
  });

  test('of prerequisites asks them in the same buckets', () => {
    const half = {
      split: {
        weights: [
          { variant: 'on', weight: 5_000 },
          { variant: 'off', weight: 5_000 },
        ],
      },
    };
    const flags = [
      flagOf({ key: 'base', fallthrough: half }),
      flagOf({
        key: 'dependent',
        prerequisites: [{ flag: 'base', variants: ['on'] }],
        fallthrough: { variant: 'on' },
      }),
    ];
    const set = compileFlags(flags);
    for (let at = 0; at < 50; at += 1) {
      const context = { targetingKey: `u${at}` };
      expect(variantOf(flags, 'dependent', context)).toBe(
        set.evaluate('dependent', context, { nowMs: 0 }).variant,
      );
    }
  });

  test("of what answers the caller's default in between has no default variant", () => {
    const flag = flagOf({
      offVariant: null,
      targetServices: ['shop'],
      fallthrough: { variant: 'on' },
    });
    expect(variantOf([flag], 'flag', { service: 'shop' })).toBe('on');
    expect(variantOf([flag], 'flag', { service: 'mail' })).toBe(undefined);
  });

  test.each([
    ['AFTER', 0, '>=', 1],
    ['GREATER_THAN', 999, '>=', 1],
    ['GREATER_OR_EQUAL', 0, '>=', 0],
    ['GREATER_OR_EQUAL', 1, '>=', 1],
    ['BEFORE', 0, '<', 0],
    ['BEFORE', 1, '<', 1],
    ['LESS_THAN', 1, '<', 1],
    ['LESS_OR_EQUAL', 0, '<', 1],
  ])('of the time is to the second: %s %d ms', (operator, ms, relation, seconds) => {
    const when = { attribute: '$now', operator, values: [NEW_YEAR_MS + ms] };
    const { document } = exportFlagd({ flags: [flagOf({ rules: [ruleOn(when)] })] }, 0);
    expect(document.flags['flag']!.targeting).toEqual({
      if: [{ [relation]: [{ var: '$flagd.timestamp' }, NEW_YEAR_MS / 1000 + seconds] }, 'on'],
    });
  });

  test('refers to segments by evaluators', () => {
    const staff = segmentOf({
      key: 'staff',
      included: ['anna'],
      excluded: ['zoe'],
      when: [{ segment: 'inner' }],
    });
    const inner = segmentOf({ key: 'inner', when: [{ attribute: 'a', operator: 'EXISTS', values: [] }] });
    const flags = [flagOf({ rules: [ruleOn({ segment: 'staff' })] })];
    const { document } = exportFlagd({ flags, segments: [staff, inner] }, 0);
    expect(Object.keys(document.$evaluators!)).toEqual(['staff']);
    expect(document.flags['flag']!.targeting).toEqual({ if: [{ $ref: 'staff' }, 'on'] });
    const core = flagdOf(document);
    const contexts = [
      { targetingKey: 'anna' },
      { targetingKey: 'zoe', a: 1 },
      { targetingKey: 'x', a: 1 },
      { a: 1 },
      {},
    ];
    expect(contexts.map((context) => flagdVariant(core, 'flag', context))).toEqual([
      'on',
      'off',
      'on',
      'on',
      'off',
    ]);
  });

  const cannot: readonly (readonly [object, string, string])[] = [
    [{ attribute: 'a', operator: 'MATCHES', values: ['x'] }, '', 'flagd has nothing like MATCHES'],
    [{ attribute: 'a', operator: 'BEFORE', values: [0] }, '', 'flagd has nothing like BEFORE'],
    [
      { any: [{ attribute: 'a', operator: 'EQUALS', values: [{}] }] },
      '/any/0',
      'flagd cannot compare objects',
    ],
    [{ attribute: '$now', operator: 'EQUALS', values: [1] }, '', 'flagd has nothing like EQUALS of the time'],
    [{ segment: 's' }, '/segment', 'there is no segment s'],
  ];
  test.each(cannot)('of %j is a finding, and the flag is left out', (condition, at, message) => {
    const { document, findings } = exportFlagd({ flags: [flagOf({ rules: [ruleOn(condition)] })] }, 0);
    expect(document.flags).toEqual({});
    expect(findings).toEqual([{ flag: 'flag', field: `rules/0/when/0${at}`, message }]);
  });
});

test('an export that would grow beyond all bounds is a finding', () => {
  const keys = Array.from({ length: 40_000 }, (_, at) => `person-${at}`);
  const crowd = segmentOf({ key: 'crowd', included: keys });
  const outer = segmentOf({ key: 'outer', when: Array.from({ length: 6 }, () => ({ segment: 'crowd' })) });
  const flags = [flagOf({ key: 'good' }), flagOf({ rules: [ruleOn({ segment: 'outer' })] })];
  const { document, findings } = exportFlagd({ flags, segments: [crowd, outer] }, 0);
  expect(Object.keys(document.flags)).toEqual(['good']);
  expect(findings).toEqual([
    {
      flag: 'flag',
      field: expect.stringMatching(/^rules\/0\/when\/0\/segment/),
      message: 'takes more than 200000 values of flagd, with what it refers to',
    },
  ]);
});

describe('any flag that can be carried', () => {
  const scene = fc.record({
    flag: anyFlag,
    segment: anySegment,
    contexts: fc.array(anyContext, { minLength: 5, maxLength: 20 }),
  });

  test('is answered by flagd as by us after its export', () => {
    fc.assert(
      fc.property(scene, ({ flag, segment, contexts }) => {
        const { core, ours } = exported(flag, segment);
        for (const context of contexts) {
          const { variant } = ours.evaluate('flag', context, { nowMs: NEW_YEAR_MS });
          expect([context, flagdVariant(core, 'flag', context)]).toEqual([context, variant]);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('comes back from its export with the same answers', () => {
    fc.assert(
      fc.property(scene, ({ flag, segment, contexts }) => {
        const { document, ours } = exported(flag, segment);
        const back = importFlagd(document as unknown as Json);
        expect(back.findings).toEqual([]);
        const theirs = compileFlags(back.flags, back.segments);
        for (const context of contexts) {
          const { variant } = ours.evaluate('flag', context, { nowMs: NEW_YEAR_MS });
          expect(theirs.evaluate('flag', context, { nowMs: NEW_YEAR_MS }).variant).toBe(variant);
        }
      }),
      { numRuns: 300 },
    );
  });

  function exported(
    flag: FlagDefinition,
    segment: Segment,
  ): { readonly document: object; readonly core: FlagdCore; readonly ours: ReturnType<typeof compileFlags> } {
    const { document, findings } = exportFlagd({ flags: [flag], segments: [segment] }, NEW_YEAR_MS);
    expect(findings).toEqual([]);
    return { document, core: flagdOf(document), ours: compileFlags([flag], [segment]) };
  }
});
