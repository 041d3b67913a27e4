import fc from 'fast-check';
import type { EvaluationContext } from '../../src/evaluation/evaluation.ts';
import type { FlagDefinition, Segment } from '../../src/evaluation/model.ts';
import { flagOf, segmentOf } from './fixture.ts';

/** Flags of everything that flagd can say too, and people for whom their rules tell a difference. */

const VARIANTS = { red: 'r', green: 'g', blue: 'b' };
const variant = fc.constantFrom(...Object.keys(VARIANTS));
const country = fc.constantFrom('DE', 'FR', 'US');
const version = fc.constantFrom('1.0.0', '1.2.3', '1.3.0-rc.1', '2.0.0', 'v2.1');
const key = fc.constantFrom('anna', 'bert', 'carl', 'dora');

const attributeCondition = fc.oneof(
  fc.record({
    attribute: fc.constant('country'),
    operator: fc.constantFrom('EQUALS', 'NOT_EQUALS', 'IN', 'NOT_IN'),
    values: fc.array(country, { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    attribute: fc.constant('user.email'),
    operator: fc.constantFrom('CONTAINS', 'NOT_CONTAINS', 'STARTS_WITH', 'ENDS_WITH'),
    values: fc.array(fc.constantFrom('a', 'example', '.org', 'b@'), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    attribute: fc.constant('age'),
    operator: fc.constantFrom('GREATER_THAN', 'GREATER_OR_EQUAL', 'LESS_THAN', 'LESS_OR_EQUAL'),
    values: fc.tuple(fc.constantFrom<unknown>(-1, 0, 18, '18', 65.5)),
  }),
  fc.record({
    attribute: fc.constantFrom('age', 'vip'),
    operator: fc.constantFrom('EQUALS', 'NOT_EQUALS'),
    values: fc.tuple(fc.constantFrom<unknown>(18, '18', true, 'true', 'no')),
  }),
  fc.record({
    attribute: fc.constant('version'),
    operator: fc.constantFrom(
      'SEMVER_EQUALS',
      'SEMVER_NOT_EQUALS',
      'SEMVER_GREATER_THAN',
      'SEMVER_GREATER_OR_EQUAL',
      'SEMVER_LESS_THAN',
      'SEMVER_LESS_OR_EQUAL',
      'SEMVER_CARET',
      'SEMVER_TILDE',
    ),
    values: fc.tuple(version),
  }),
  fc.record({
    attribute: fc.constant('groups'),
    operator: fc.constantFrom('CONTAINS', 'NOT_CONTAINS'),
    values: fc.array(fc.constantFrom('beta', 'staff'), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    attribute: fc.constantFrom('country', 'age', 'user.email', 'groups'),
    operator: fc.constant('EXISTS'),
    values: fc.constant([]),
  }),
);

const { condition } = fc.letrec<{ readonly condition: object }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    attributeCondition,
    fc.record({ all: fc.array(tie('condition'), { maxLength: 2 }) }),
    fc.record({ any: fc.array(tie('condition'), { maxLength: 2 }) }),
    fc.record({ not: tie('condition') }),
  ),
}));

const bucketing = {
  seed: fc.constantFrom(null, '', 'spring'),
  bucketBy: fc.constantFrom(null, 'company'),
};
const split = fc.oneof(
  fc.record({
    ...bucketing,
    total: fc.constant(7),
    weights: fc.constant(Object.keys(VARIANTS).map((name, at) => ({ variant: name, weight: [2, 0, 5][at] }))),
  }),
  fc.integer({ min: 0, max: 10_000 }).chain((weight) =>
    fc.record({
      ...bucketing,
      weights: fc.tuple(variant, variant).map(([one, other]) => [
        { variant: one, weight },
        { variant: other, weight: 10_000 - weight },
      ]),
    }),
  ),
);
const serve = fc.oneof(fc.record({ variant }), fc.record({ split }));

const rule = fc
  .record({
    when: fc.array(fc.oneof(condition, fc.constant({ segment: 'segment' })), { maxLength: 2 }),
    rollout: fc.option(fc.record({ ...bucketing, share: fc.integer({ min: 0, max: 10_000 }) })),
    serve,
  })
  .filter((written) => {
    const seed = 'split' in written.serve ? written.serve.split.seed : undefined;
    return written.rollout === null || written.rollout.seed !== seed;
  });

export const anyFlag: fc.Arbitrary<FlagDefinition> = fc
  .record({
    type: fc.constant('string'),
    variants: fc.constant(VARIANTS),
    enabled: fc.boolean(),
    offVariant: variant,
    fallthrough: serve,
    targets: fc.constantFrom([], [{ variant: 'red', keys: ['anna'] }]),
    rules: fc.array(rule, { maxLength: 3 }),
    targetServices: fc.constantFrom([], ['shop', 'mail']),
    conditions: fc.constantFrom({}, { country: 'DE' }, { vip: true }),
  })
  .map(flagOf);

export const anySegment: fc.Arbitrary<Segment> = fc
  .record({
    key: fc.constant('segment'),
    included: fc.array(key, { maxLength: 2 }),
    excluded: fc.array(key, { maxLength: 2 }),
    when: fc.array(condition, { maxLength: 2 }),
  })
  .map(segmentOf);

/** Always with a targeting key: without one flagd has another answer. */
export const anyContext: fc.Arbitrary<EvaluationContext> = fc.record(
  {
    targetingKey: key,
    country,
    age: fc.constantFrom<unknown>(-5, 0, 18, '18', 70),
    vip: fc.boolean(),
    version: fc.oneof(version, fc.constant('latest')),
    company: fc.constantFrom<unknown>('acme', 'globex', 7),
    groups: fc.constantFrom([], ['beta'], ['staff', 'x']),
    user: fc.record({ email: fc.constantFrom('a@example.com', 'b@x.org') }),
    service: fc.constantFrom('shop', 'other'),
  },
  { requiredKeys: ['targetingKey'] },
);
