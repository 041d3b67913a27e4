import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EvaluationContext } from '../../src/evaluation/evaluation.ts';
import type { Explanation } from '../../src/evaluation/explain.ts';
import { compileFlags } from '../../src/evaluation/flag-set.ts';
import { flagOf, NEW_YEAR_MS, ruleOn, segmentOf } from './fixture.ts';

const AT = '2026-01-01T00:00:00.000Z';
const GERMAN = { attribute: 'country', operator: 'IN', values: ['DE', 'AT'] };
const STAFF = segmentOf({ key: 'staff', included: ['anna'] });
const BASE = flagOf({ key: 'base' });

function explain(fields: object, context: EvaluationContext = {}, nowMs = NEW_YEAR_MS): Explanation {
  return compileFlags([flagOf(fields), BASE], [STAFF]).explain('flag', context, { nowMs });
}

describe('the way to an answer', () => {
  test('of a rule that matches names what holds, and what did not before', () => {
    const flag = {
      rules: [
        { name: 'staff', when: [{ segment: 'staff' }], serve: { variant: 'on' } },
        ruleOn(GERMAN, { not: { attribute: 'age', operator: 'LESS_THAN', values: [18] } }),
      ],
    };
    expect(explain(flag, { targetingKey: 'bert', country: 'AT', age: 30 })).toMatchObject({
      matched: { kind: 'rule', index: 1, name: '' },
      lines: [
        'Rule 1 (staff) does not match: must belong to segment staff: does not hold.',
        'Rule 2 matches: country must be one of "DE", "AT", and is "AT": holds; not (age must be below 18, and is 30): holds.',
        'The answer is variant on (true), for the reason TARGETING_MATCH.',
      ],
    });
  });

  test('of a rollout tells the bucket', () => {
    const flag = { rules: [{ rollout: { share: 2_500 }, serve: { variant: 'on' } }] };
    const { matched, lines } = explain(flag, { targetingKey: 'anna' });
    expect(matched).toEqual({ kind: 'fallthrough' });
    expect(lines).toEqual([
      expect.stringMatching(/^Bucket \d+ of 10000 lies outside of the 25 % of the rollout\.$/),
      'Rule 1 does not let them in: they are outside of its rollout.',
      'Nothing matched.',
      'The answer is variant off (false), for the reason DEFAULT.',
    ]);
  });

  test('of a disabled flag says so, and what was scheduled', () => {
    const schedule = [{ at: AT, set: { enabled: false } }];
    expect(explain({ schedule })).toMatchObject({
      matched: { kind: 'disabled' },
      lines: [
        `What was scheduled for ${AT} holds.`,
        'The flag is disabled.',
        'The answer is variant off (false), for the reason DISABLED.',
      ],
    });
  });

  test('of a target', () => {
    const flag = { targets: [{ variant: 'on', keys: ['anna'] }] };
    expect(explain(flag, { targetingKey: 'anna' })).toMatchObject({
      matched: { kind: 'target' },
      lines: ['The targeting key "anna" is targeted by itself.', expect.stringContaining('TARGETING_MATCH')],
    });
    expect(explain(flag, {}).lines[0]).toBe(
      'The targeting key is not among those that are targeted by themselves.',
    );
  });

  test('of prerequisites, services and conditions that do not hold', () => {
    const prerequisites = [{ flag: 'base', variants: ['on'] }];
    expect(explain({ prerequisites })).toMatchObject({
      matched: { kind: 'prerequisite' },
      lines: ['Prerequisite base must answer on, and answers off: the flag is off.', expect.any(String)],
    });
    expect(
      explain({ targetServices: ['shop'], conditions: { region: 'eu' } }, { service: 'shop' }),
    ).toMatchObject({
      matched: { kind: 'requirement' },
      lines: [
        'Required: service must be one of "shop", and is "shop": holds.',
        'Required: region must be "eu", and is absent: does not hold: the flag is off.',
        expect.any(String),
      ],
    });
  });

  test('of an error says what is missing, or what is wrong with the flag', () => {
    const flag = { rules: [{ rollout: { share: 1 }, serve: { variant: 'on' } }] };
    expect(explain(flag)).toMatchObject({
      matched: null,
      lines: [
        'Rule 1 needs targetingKey, which is absent.',
        "TARGETING_KEY_MISSING: flag flag needs a targeting key; the caller's default holds.",
      ],
    });
    expect(explain({ rules: [ruleOn({ segment: 'none' })] }).lines).toEqual([
      'flag flag cannot be evaluated.',
      'rules/0/when/0/segment: there is no segment none.',
    ]);
    expect(compileFlags([]).explain('none', {}, { nowMs: 0 }).lines).toEqual(['there is no such flag.']);
  });

  test('of a flag without rules', () => {
    expect(explain({}).lines).toEqual([
      'The flag has no rules.',
      'The answer is variant off (false), for the reason STATIC.',
    ]);
  });

  test('does not fill pages with what is long', () => {
    const values = Array.from({ length: 1_000 }, (_, at) => `value-${at}`);
    const { lines } = explain(
      { rules: [ruleOn({ attribute: 'a', operator: 'IN', values })] },
      { a: 'x'.repeat(10_000) },
    );
    expect(lines.join('').length).toBeLessThan(500);
    expect(lines[0]).toContain('"value-4" and 995 more');
  });
});

test('an explanation has the answer of the evaluation, whatever the context', () => {
  const flags = compileFlags(
    [
      flagOf({
        targets: [{ variant: 'on', keys: ['anna'] }],
        rules: [
          ruleOn(GERMAN),
          { rollout: { share: 5_000 }, when: [{ segment: 'staff' }], serve: { variant: 'on' } },
        ],
        fallthrough: { split: { weights: [{ variant: 'on', weight: 10_000 }], bucketBy: 'company' } },
      }),
    ],
    [STAFF],
  );
  const context = fc.record(
    {
      targetingKey: fc.constantFrom('anna', 'bert', '', 7),
      country: fc.constantFrom('DE', 'FR', ['AT']),
      company: fc.anything(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(context, (attributes) => {
      const explanation = flags.explain('flag', attributes, { nowMs: 0 });
      expect(explanation.evaluation).toBe(flags.evaluate('flag', attributes, { nowMs: 0 }));
      expect(explanation.matched === null).toBe(explanation.evaluation.errorCode !== undefined);
      expect(explanation.lines.length).toBeGreaterThan(1);
    }),
  );
});
