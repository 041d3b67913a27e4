import { FlagdCore } from '@openfeature/flagd-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileFlags } from '../../src/evaluation/flag-set.ts';
import { importFlagd } from '../../src/evaluation/flagd.ts';
import { validateFlag } from '../../src/evaluation/validate.ts';
import { NEW_YEAR_MS, written } from './fixture.ts';

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const variable = (name: string): object => ({ var: name });
const country = fc.constantFrom('DE', 'FR', 'US');
const age = fc.constantFrom(0, 17, 18, 65.5);
const version = fc.constantFrom('1.0.0', '1.2.3', '2.0.0-rc.1', 'v2.1');
const variant = fc.constantFrom('red', 'green', 'blue');

const comparison = fc.oneof(
  fc
    .tuple(fc.constantFrom('==', '===', '!=', '!=='), country)
    .map(([name, value]) => ({ [name]: [variable('country'), value] })),
  fc
    .tuple(fc.constantFrom('==', '!='), country)
    .map(([name, value]) => ({ [name]: [value, variable('country')] })),
  fc
    .tuple(fc.constantFrom('<', '<=', '>', '>='), age)
    .map(([name, value]) => ({ [name]: [variable('age'), value] })),
  fc
    .tuple(fc.constantFrom('<', '<=', '>', '>='), age)
    .map(([name, value]) => ({ [name]: [value, variable('age')] })),
  fc
    .tuple(fc.constantFrom('<', '<='), age, age)
    .map(([name, low, high]) => ({ [name]: [low, variable('age'), high] })),
  fc.array(country, { maxLength: 2 }).map((countries) => ({ in: [variable('country'), countries] })),
  fc.constantFrom('exam', '.org').map((part) => ({ in: [part, variable('user.email')] })),
  fc.constantFrom('beta', 'x').map((group) => ({ in: [group, variable('groups')] })),
  fc.constantFrom('a@', 'b').map((part) => ({ starts_with: [variable('user.email'), part] })),
  fc.constantFrom('.com', 'b').map((part) => ({ ends_with: [variable('user.email'), part] })),
  fc
    .tuple(fc.constantFrom('=', '!=', '<', '<=', '>', '>=', '^', '~'), version)
    .map(([relation, bound]) => ({ sem_ver: [variable('version'), relation, bound] })),
  fc.constantFrom(0, NEW_YEAR_MS).map((ms) => ({ '>=': [variable('$flagd.timestamp'), ms / 1000] })),
  fc.boolean(),
);

const { condition } = fc.letrec<{ readonly condition: unknown }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    comparison,
    fc.array(tie('condition'), { minLength: 1, maxLength: 3 }).map((parts) => ({ and: parts })),
    fc.array(tie('condition'), { minLength: 1, maxLength: 3 }).map((parts) => ({ or: parts })),
    tie('condition').map((part) => ({ '!': [part] })),
    tie('condition').map((part) => ({ '!!': [part] })),
  ),
}));

const bucketBy = fc.constantFrom<readonly object[]>(
  [],
  [{ cat: [variable('$flagd.flagKey'), variable('country')] }],
  [{ cat: ['salt', '-', variable('user.email')] }],
  [variable('country')],
);
const fractional = fc
  .tuple(
    bucketBy,
    fc.array(
      fc.oneof(
        fc.tuple(fc.oneof(variant, fc.constant(null)), fc.integer({ min: -1, max: 100 })),
        fc.tuple(variant),
      ),
      { minLength: 1, maxLength: 4 },
    ),
  )
  .filter(([, entries]) => entries.some(([, weight = 1]) => weight > 0))
  .map(([by, entries]) => ({ fractional: [...by, ...entries] }));

const { targeting } = fc.letrec<{ readonly targeting: unknown }>((tie) => ({
  targeting: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(variant, fc.constant(null), fractional, fc.constant({ $ref: 'half' })),
    fc.tuple(condition, tie('targeting')).map((operands) => ({ if: operands })),
    fc.tuple(condition, tie('targeting'), tie('targeting')).map((operands) => ({ if: operands })),
    fc
      .tuple(condition, tie('targeting'), condition, tie('targeting'), tie('targeting'))
      .map((operands) => ({ if: operands })),
    tie('targeting').map((otherwise) => ({ if: [{ $ref: 'group' }, 'red', otherwise] })),
  ),
}));

const person = fc.record({
  targetingKey: fc.constantFrom('anna', 'bert', 'carl', 'dora'),
  country,
  age: fc.constantFrom(0, 17, 18, 70),
  version: fc.oneof(version, fc.constant('latest')),
  user: fc.record({ email: fc.constantFrom('a@example.com', 'b@x.org') }),
  groups: fc.constantFrom([], ['beta'], ['staff', 'x']),
});

test("what is imported answers as flagd's own evaluation does", () => {
  const scene = fc.record({
    targeting,
    group: condition,
    half: fractional,
    people: fc.array(person, { minLength: 5, maxLength: 10 }),
  });
  fc.assert(
    fc.property(scene, ({ targeting: logic, group, half, people }) => {
      const document = {
        flags: {
          flag: {
            state: 'ENABLED',
            variants: { red: 'r', green: 'g', blue: 'b' },
            defaultVariant: 'blue',
            targeting: logic,
          },
        },
        $evaluators: { group, half },
      };
      const core = new FlagdCore(undefined, SILENT);
      core.setConfigurations(JSON.stringify(document));
      const { flags, segments, findings } = importFlagd(JSON.parse(JSON.stringify(document)));
      expect(findings).toEqual([]);
      const ours = compileFlags(flags, segments);
      const nowMs = Date.now();
      for (const context of people) {
        const { variant: answer } = ours.evaluate('flag', context, { nowMs });
        expect([context, answer]).toEqual([
          context,
          core.getFlag('flag')!.evaluate(context as never, SILENT).variant,
        ]);
      }
    }),
    { numRuns: 300 },
  );
});

/** Names that mean something somewhere, and those that every object has from birth. */
const word = fc.constantFrom(
  'if',
  'fractional',
  'and',
  'var',
  'in',
  'sem_ver',
  '<',
  '==',
  'cat',
  '$ref',
  'group',
  '!',
  'constructor',
  '__proto__',
  'toString',
  'key',
  'type',
  'variants',
  'rules',
  'when',
  'serve',
  'variant',
  'split',
  'weights',
  'rollout',
  'share',
  'attribute',
  'operator',
  'values',
  'MATCHES',
  'EQUALS',
  'flags',
  '$evaluators',
  'state',
  'ENABLED',
  'defaultVariant',
  'targeting',
  'schedule',
  'set',
  'at',
);
const { nonsense } = fc.letrec<{ readonly nonsense: unknown }>((tie) => ({
  nonsense: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null)),
    fc.array(tie('nonsense'), { maxLength: 3 }),
    fc.array(fc.tuple(word, tie('nonsense')), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
  ),
}));

test('nonsense is refused with findings, and nothing throws', () => {
  const flag = fc.tuple(word, nonsense).map(([name, value]) => ({ ...written(), [name]: value }));
  const document = fc.record({
    flags: fc.dictionary(
      word,
      fc.oneof(
        nonsense,
        nonsense.map((logic) => ({ state: 'ENABLED', variants: { on: 1 }, targeting: logic })),
      ),
    ),
    $evaluators: fc.dictionary(word, nonsense),
  });
  fc.assert(
    fc.property(fc.oneof(nonsense, flag), fc.oneof(nonsense, document), (ours, theirs) => {
      const validated = validateFlag(ours);
      if (validated.ok) compileFlags([validated.value]).evaluate(validated.value.key, {}, { nowMs: 0 });
      else expect(validated.findings.length).toBeGreaterThan(0);
      const { flags, segments } = importFlagd(theirs);
      for (const key of compileFlags(flags, segments).keys()) expect(key).not.toBe('');
    }),
    { numRuns: 2_000 },
  );
});

test('no context makes an evaluation throw', () => {
  const flag = validateFlag(
    written({
      rules: [
        {
          when: [{ attribute: 'a.b', operator: 'EQUALS', values: [{ c: [1] }, 'x'] }],
          serve: { variant: 'on' },
        },
        {
          when: [{ attribute: 'a', operator: 'MATCHES', values: ['x'] }],
          rollout: { share: 1, bucketBy: 'a' },
          serve: { variant: 'on' },
        },
      ],
    }),
  );
  const flags = compileFlags(flag.ok ? [flag.value] : []);
  const context = fc.oneof(fc.anything(), fc.record({ a: fc.anything(), targetingKey: fc.anything() }));
  fc.assert(
    fc.property(context, (anything) => {
      expect(flags.evaluate('flag', anything as never, { nowMs: 0 }).reason).not.toBe('');
      expect(flags.explain('flag', anything as never, { nowMs: 0 }).lines).not.toEqual([]);
    }),
    { numRuns: 1_000 },
  );
});
