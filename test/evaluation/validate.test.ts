import { describe, expect, test } from 'vitest';
import { checkSet } from '../../src/evaluation/check-set.ts';
import {
  CONDITION_DEPTH_MAX,
  CONDITIONS_MAX,
  DEFINITION_LENGTH_MAX,
  FINDINGS_MAX,
  JSON_DEPTH_MAX,
  KEY_LENGTH_MAX,
  METADATA_MAX,
  NAME_LENGTH_MAX,
  PREREQUISITES_MAX,
  RAMP_POINTS_MAX,
  REFERENCE_DEPTH_MAX,
  RULES_MAX,
  SCHEDULE_MAX,
  SERVICES_MAX,
  STEPS_MAX,
  TEXT_LENGTH_MAX,
  VARIANTS_MAX,
} from '../../src/evaluation/limits.ts';
import { OPERATORS } from '../../src/evaluation/model.ts';
import { validateFlag, validateSegment } from '../../src/evaluation/validate.ts';
import { flagOf, problemsOf, ruleOn, segmentOf, written } from './fixture.ts';

const AT = '2026-01-01T00:00:00Z';
const on = { variant: 'on' };
const where = (operator: string, ...values: readonly unknown[]): object => ({
  rules: [ruleOn({ attribute: 'a', operator, values })],
});
const many = <Thing>(count: number, make: (index: number) => Thing): readonly Thing[] =>
  Array.from({ length: count }, (_, index) => make(index));
const long = (length: number): string => 'x'.repeat(length);

test('what is absent has its default', () => {
  const input = { key: 'k', type: 'boolean', variants: { on: true }, fallthrough: { variant: 'on' } };
  expect(validateFlag(input)).toEqual({
    ok: true,
    value: {
      ...input,
      enabled: true,
      offVariant: null,
      targets: [],
      rules: [],
      prerequisites: [],
      targetServices: [],
      conditions: {},
      schedule: [],
      expiresAt: null,
      metadata: {},
    },
  });
});

test('what was validated is the same when it is validated again', () => {
  const flag = flagOf({
    targets: [{ variant: 'on', keys: ['anna'] }],
    rules: [
      {
        name: 'half',
        rollout: { share: 5_000, ramp: { kind: 'linear', points: [{ at: AT, share: 1 }] } },
        serve: on,
      },
      {
        when: [
          {
            any: [{ not: { segment: 's' } }, { all: [] }, { attribute: 'a', operator: 'EXISTS', values: [] }],
          },
        ],
        serve: {
          split: { weights: [{ variant: 'on', weight: 1 }], total: 1, seed: '', bucketBy: 'company' },
        },
      },
    ],
    prerequisites: [{ flag: 'other', variants: ['on'] }],
    targetServices: ['shop'],
    conditions: { region: 'eu', deep: { list: [1] } },
    schedule: [
      { at: AT, set: { enabled: false, offVariant: null, fallthrough: on, targets: [], rules: [] } },
    ],
    expiresAt: AT,
    metadata: { team: 'shop', tier: 1, old: false },
  });
  expect(validateFlag(JSON.parse(JSON.stringify(flag)))).toEqual({ ok: true, value: flag });
});

describe('refused, with the field named', () => {
  const cases: readonly (readonly [object, string])[] = [
    [{ key: '' }, 'key: must not be empty'],
    [{ key: 7 }, 'key: must be a text'],
    [{ key: long(KEY_LENGTH_MAX + 1) }, `key: must have at most ${KEY_LENGTH_MAX} characters`],
    [{ type: 'text' }, 'type: must be one of boolean, string, number, object'],
    [{ enabled: 'yes' }, 'enabled: must be true or false'],
    [{ color: 'red' }, 'color: is not known'],
    [{ offVariant: 'none' }, 'offVariant: there is no variant none'],
    [{ fallthrough: 'on' }, 'fallthrough: must be an object'],
    [{ fallthrough: {} }, 'fallthrough: must have either a variant or a split'],
    [{ fallthrough: { variant: 'on', split: {} } }, 'fallthrough: must have either a variant or a split'],
    [{ fallthrough: { variant: 'none' } }, 'fallthrough/variant: there is no variant none'],
    [{ variants: { on: true, off: 'no' } }, 'variants/off: must be of type boolean'],
    [{ variants: { on: true, off: null } }, 'variants/off: must be of type boolean'],
    [
      { variants: { on: true, off: false, [long(NAME_LENGTH_MAX + 1)]: true } },
      `variants/${long(NAME_LENGTH_MAX + 1)}: its name must have 1 to ${NAME_LENGTH_MAX} characters`,
    ],
    [{ targets: [{ variant: 'none', keys: ['a'] }] }, 'targets/0/variant: there is no variant none'],
    [{ targets: [{ variant: 'on', keys: [] }] }, 'targets/0/keys: must have 1 to 50000 elements'],
    [
      { targets: ['on', 'off'].map((variant) => ({ variant, keys: ['a', variant] })) },
      'targets/1/keys/0: a is there twice',
    ],
    [{ rules: 'all' }, 'rules: must be a list'],
    [{ rules: [{ when: [] }] }, 'rules/0/serve: must be an object'],
    [{ rules: [{ serve: { variant: 'none' } }] }, 'rules/0/serve/variant: there is no variant none'],
    [{ rules: [{ serve: on, percentage: 10 }] }, 'rules/0/percentage: is not known'],
    [{ rules: many(RULES_MAX + 1, () => ruleOn()) }, `rules: must have at most ${RULES_MAX} elements`],
    [{ prerequisites: [{ flag: 'flag', variants: ['on'] }] }, 'prerequisites/0/flag: must be another flag'],
    [
      { prerequisites: [{ flag: 'b', variants: [] }] },
      `prerequisites/0/variants: must have 1 to ${VARIANTS_MAX} elements`,
    ],
    [
      { prerequisites: many(PREREQUISITES_MAX + 1, (at) => ({ flag: `f${at}`, variants: ['on'] })) },
      `prerequisites: must have at most ${PREREQUISITES_MAX} elements`,
    ],
    [{ targetServices: [7] }, 'targetServices/0: must be a text'],
    [
      { targetServices: many(SERVICES_MAX + 1, String) },
      `targetServices: must have at most ${SERVICES_MAX} elements`,
    ],
    [{ conditions: { region: null } }, 'conditions/region: must not be null, which equals nothing'],
    [
      { conditions: Object.fromEntries(many(CONDITIONS_MAX + 1, (at) => [`c${at}`, 1])) },
      `conditions: must have at most ${CONDITIONS_MAX} entries`,
    ],
    [{ expiresAt: 'soon' }, 'expiresAt: must be a time in ISO 8601 with a zone'],
    [{ metadata: { owners: [] } }, 'metadata/owners: must be a text, a number, true or false'],
    [{ metadata: { note: long(TEXT_LENGTH_MAX + 1) } }, 'metadata/note: is too long'],
    [
      { metadata: Object.fromEntries(many(METADATA_MAX + 1, (at) => [`m${at}`, 1])) },
      `metadata: must have at most ${METADATA_MAX} entries`,
    ],
  ];

  test.each(cases)('%j', (fields, problem) => {
    expect(problemsOf(fields)).toContain(problem);
  });

  test('a flag without variants, or with too many', () => {
    const problem = `variants: must have 1 to ${VARIANTS_MAX} variants`;
    expect(problemsOf({ variants: {} })).toContain(problem);
    const variants = Object.fromEntries(many(VARIANTS_MAX + 1, (at) => [`v${at}`, true]));
    expect(problemsOf({ variants })).toContain(problem);
  });

  test.each([null, 7, 'flag', [], { nan: Number.NaN }, { call: () => 1 }])(
    '%j, which is no flag',
    (input) => {
      expect(validateFlag(input).ok).toBe(false);
    },
  );

  test('JSON that is nested too deep', () => {
    let value: unknown = 1;
    for (let depth = 0; depth < JSON_DEPTH_MAX; depth += 1) value = [value];
    expect(problemsOf({ metadata: value })).toEqual([
      `: must be JSON, nested at most ${JSON_DEPTH_MAX} deep`,
    ]);
  });

  test('a definition that is too large', () => {
    const variants = { on: 'x'.repeat(DEFINITION_LENGTH_MAX) };
    expect(problemsOf({ type: 'string', variants })).toEqual([
      `: must have at most ${DEFINITION_LENGTH_MAX} characters as JSON`,
    ]);
  });

  test('no more findings are listed than there is use for', () => {
    expect(
      problemsOf({ targetServices: many(SERVICES_MAX, () => 7), rules: many(RULES_MAX, () => 7) }),
    ).toHaveLength(FINDINGS_MAX);
  });
});

describe('conditions', () => {
  const cases: readonly (readonly [object, string])[] = [
    [where('LIKE', 'x'), `/operator: must be one of ${OPERATORS.join(', ')}`],
    [where('EQUALS'), '/values: must have 1 to 10000 elements'],
    [where('IN', null), '/values/0: must not be null, which equals nothing'],
    [where('IN', long(TEXT_LENGTH_MAX + 1)), `/values/0: must have at most ${TEXT_LENGTH_MAX} characters`],
    [where('CONTAINS', {}), '/values/0: must be a text'],
    [where('GREATER_THAN', 1, 2), '/values: must have 1 to 1 elements'],
    [where('GREATER_THAN', 'many'), '/values/0: must be a number'],
    [where('LESS_THAN', ''), '/values/0: must be a number'],
    [where('SEMVER_EQUALS', 'latest'), '/values/0: must be a semantic version'],
    [
      where('BEFORE', '2026-01-01T00:00:00'),
      '/values/0: must be a time in ISO 8601 with a zone, or milliseconds',
    ],
    [where('EXISTS', 'x'), '/values: must have at most 0 elements'],
    [where('MATCHES', 7), '/values/0: must be a regular expression'],
    [
      where('MATCHES', 'a', '('),
      '/values/1: is no regular expression of RE2: error parsing regexp: missing closing ): `(`',
    ],
    [
      where('MATCHES', '(?=x)'),
      '/values/0: is no regular expression of RE2: error parsing regexp: invalid or unsupported Perl syntax: `(?=`',
    ],
    [where('MATCHES', 'a{900}'), '/values/0: is too large: 902 instructions, at most 250'],
    [{ rules: [ruleOn({})] }, ': must have exactly one of attribute, all, any, not, segment'],
    [
      { rules: [ruleOn({ all: [], any: [] })] },
      ': must have exactly one of attribute, all, any, not, segment',
    ],
    [{ rules: [ruleOn({ segment: '' })] }, '/segment: must not be empty'],
    [{ rules: [ruleOn({ not: 'x' })] }, '/not: must be an object'],
    [{ rules: [ruleOn({ all: [{ any: [7] }] })] }, '/all/0/any/0: must be an object'],
    [{ rules: [ruleOn({ all: [], name: 'x' })] }, '/name: is not known'],
  ];

  test.each(cases)('%j', (fields, problem) => {
    expect(problemsOf(fields)).toContain(`rules/0/when/0${problem}`);
  });

  test('too many in a list, or nested too deep', () => {
    const all = many(CONDITIONS_MAX + 1, () => ({ segment: 's' }));
    expect(problemsOf({ rules: [ruleOn({ all })] })).toEqual([
      `rules/0/when/0/all: must have at most ${CONDITIONS_MAX} elements`,
    ]);
    let nested: object = { segment: 's' };
    for (let depth = 0; depth < CONDITION_DEPTH_MAX; depth += 1) nested = { not: nested };
    expect(problemsOf({ rules: [ruleOn(nested)] })[0]).toMatch(/(\/not){16}: is nested deeper than 16$/);
  });
});

describe('buckets', () => {
  const split = (fields: object): object => ({ fallthrough: { split: fields } });
  const weight = (variant: string, value: unknown): object => ({ variant, weight: value });

  const cases: readonly (readonly [object, string])[] = [
    [
      split({ weights: [weight('on', 9_999)] }),
      'fallthrough/split/weights: must add up to 10000, and are 9999',
    ],
    [
      split({ weights: [weight('on', 5_000), weight('off', 5_001)] }),
      'fallthrough/split/weights: must add up to 10000, and are 10001',
    ],
    [
      split({ weights: [weight('on', 3)], total: 4 }),
      'fallthrough/split/weights: must add up to 4, and are 3',
    ],
    [split({ weights: [] }), `fallthrough/split/weights: must have 1 to ${VARIANTS_MAX} elements`],
    [
      split({ weights: [weight('on', 0.5)] }),
      'fallthrough/split/weights/0/weight: must be an integer from 0 to 2147483647',
    ],
    [
      split({ weights: [weight('on', -1)] }),
      'fallthrough/split/weights/0/weight: must be an integer from 0 to 2147483647',
    ],
    [
      split({ weights: [weight('none', 10_000)] }),
      'fallthrough/split/weights/0/variant: there is no variant none',
    ],
    [
      split({ weights: [weight('on', 1)], total: 2_147_483_648 }),
      'fallthrough/split/total: must be an integer from 1 to 2147483647',
    ],
    [
      split({ weights: [weight('on', 10_000)], bucketBy: '' }),
      'fallthrough/split/bucketBy: must not be empty',
    ],
    [
      { rules: [{ rollout: { share: 10_001 }, serve: on }] },
      'rules/0/rollout/share: must be an integer from 0 to 10000',
    ],
    [
      { rules: [{ rollout: { share: 12.5 }, serve: on }] },
      'rules/0/rollout/share: must be an integer from 0 to 10000',
    ],
    [
      { rules: [{ rollout: { share: 1, ramp: { kind: 'fast', points: [] } }, serve: on }] },
      'rules/0/rollout/ramp/kind: must be one of steps, linear',
    ],
    [
      {
        rules: [
          {
            rollout: { share: 1, ramp: { kind: 'steps', points: [AT, AT].map((at) => ({ at, share: 2 })) } },
            serve: on,
          },
        ],
      },
      'rules/0/rollout/ramp/points/1/at: must be after the one before',
    ],
    [
      {
        rules: [
          {
            rollout: { share: 1, ramp: { kind: 'steps', points: many(RAMP_POINTS_MAX + 1, () => 1) } },
            serve: on,
          },
        ],
      },
      `rules/0/rollout/ramp/points: must have 1 to ${RAMP_POINTS_MAX} elements`,
    ],
    [
      { rules: [{ rollout: { share: 1 }, serve: { split: { weights: [weight('on', 10_000)] } } }] },
      'rules/0/serve/split/seed: must differ from that of the rollout, which would decide the split otherwise',
    ],
  ];

  test.each(cases)('%j', (fields, problem) => {
    expect(problemsOf(fields)).toContain(problem);
  });
});

describe('schedules', () => {
  const change = (set: unknown, at: unknown = AT): object => ({ at, set });

  const cases: readonly (readonly [readonly object[], string])[] = [
    [[change({ enabled: true }, 'soon')], 'schedule/0/at: must be a time in ISO 8601 with a zone'],
    [[change({ enabled: true }), change({ enabled: false })], 'schedule/1/at: must be after the one before'],
    [[change({})], 'schedule/0/set: must change something'],
    [[change({ key: 'other' })], 'schedule/0/set/key: is not known'],
    [
      [change({ rules: [{ serve: { variant: 'none' } }] })],
      'schedule/0/set/rules/0/serve/variant: there is no variant none',
    ],
    [many(SCHEDULE_MAX + 1, () => change({})), `schedule: must have at most ${SCHEDULE_MAX} elements`],
  ];

  test.each(cases)('%j', (schedule, problem) => {
    expect(problemsOf({ schedule })).toContain(problem);
  });
});

test('segments are refused with the field named', () => {
  const validated = validateSegment({ key: 's', included: [7], when: [{ segment: 1 }], name: 'x' });
  expect(validated).toEqual({
    ok: false,
    findings: [
      { field: 'included/0', message: 'must be a text' },
      { field: 'when/0/segment', message: 'must be a text' },
      { field: 'name', message: 'is not known' },
    ],
  });
});

describe('a set', () => {
  const requires = (key: string, ...flags: readonly string[]): object =>
    flagOf({ key, prerequisites: flags.map((flag) => ({ flag, variants: ['on'] })) });
  const inSegment = (key: string, ...segments: readonly string[]): object =>
    segmentOf({ key, when: segments.map((segment) => ({ segment })) });
  const check = (flags: readonly object[], segments: readonly object[] = []): ReturnType<typeof checkSet> =>
    checkSet(byKey(flags) as never, byKey(segments) as never);

  test('without faults has an order in which each comes after what it refers to', () => {
    const { flags, segments } = check(
      [requires('a', 'b', 'c'), requires('b', 'c'), requires('c')],
      [inSegment('s', 't'), inSegment('t')],
    );
    expect([flags.order, segments.order]).toEqual([
      ['c', 'b', 'a'],
      ['t', 's'],
    ]);
    expect([flags.findings.size, segments.findings.size]).toEqual([0, 0]);
  });

  test('with prerequisites in a circle names it, and what refers to it', () => {
    const { flags } = check([requires('a', 'b'), requires('b', 'c'), requires('c', 'b'), requires('d')]);
    const circle = (text: string): object => [
      { field: 'prerequisites/0/flag', message: `goes round in a circle: ${text}` },
    ];
    expect(Object.fromEntries(flags.findings)).toEqual({
      a: circle('b -> c -> b'),
      b: circle('b -> c -> b'),
      c: circle('c -> b -> c'),
    });
    expect(flags.order).toEqual(['d']);
  });

  test('with segments in a circle names it, and the flags that use them', () => {
    const user = flagOf({ rules: [ruleOn({ any: [{ segment: 's' }] })] });
    const { flags, segments } = check([user], [inSegment('s', 't'), inSegment('t', 's')]);
    expect(segments.findings.get('s')).toEqual([
      { field: 'when/0/segment', message: 'goes round in a circle: s -> t -> s' },
    ]);
    expect(flags.findings.get('flag')).toEqual([
      { field: 'rules/0/when/0/any/0/segment', message: 'segment s cannot be evaluated' },
    ]);
  });

  test('in which a prerequisite names an unknown variant', () => {
    const { flags } = check([
      flagOf({ prerequisites: [{ flag: 'b', variants: ['on', 'x'] }] }),
      requires('b'),
    ]);
    expect(flags.findings.get('flag')).toEqual([
      { field: 'prerequisites/0/variants/1', message: 'flag b has no variant x' },
    ]);
  });

  test('in which scheduled rules name an unknown segment', () => {
    const schedule = [{ at: AT, set: { rules: [ruleOn({ not: { segment: 's' } })] } }];
    expect(check([flagOf({ schedule })]).flags.findings.get('flag')).toEqual([
      { field: 'schedule/0/set/rules/0/when/0/not/segment', message: 'there is no segment s' },
    ]);
  });

  test('in which references reach too far', () => {
    const chain = (length: number): readonly object[] =>
      many(length, (at) => (at + 1 < length ? requires(`f${at}`, `f${at + 1}`) : requires(`f${at}`)));
    expect(check(chain(REFERENCE_DEPTH_MAX)).flags.findings.size).toBe(0);
    expect(check(chain(REFERENCE_DEPTH_MAX + 1)).flags.findings.get('f0')).toEqual([
      { field: '', message: `refers over more than ${REFERENCE_DEPTH_MAX} prerequisites` },
    ]);
  });

  test('in which an evaluation takes too many steps, however the references multiply', () => {
    const levels = many(REFERENCE_DEPTH_MAX, (level) =>
      many(10, (at) => requires(`f${level}-${at}`, ...below(level))),
    ).flat();
    const { flags } = check(levels);
    const [finding] = flags.findings.get('f3-0')!;
    expect(finding!.message).toBe(`evaluating it takes 11111 steps, more than ${STEPS_MAX}`);
    expect(flags.order).toHaveLength(40);

    function below(level: number): readonly string[] {
      return level + 1 === REFERENCE_DEPTH_MAX ? [] : many(10, (at) => `f${level + 1}-${at}`);
    }
  });
});

function byKey(things: readonly object[]): ReadonlyMap<string, object> {
  return new Map(things.map((thing) => [(thing as { readonly key: string }).key, thing]));
}

test('the fixture is what people write', () => {
  expect(validateFlag(written()).ok).toBe(true);
});
