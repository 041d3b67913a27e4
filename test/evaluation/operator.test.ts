import { describe, expect, test } from 'vitest';
import type { EvaluationContext } from '../../src/evaluation/evaluation.ts';
import { PATTERN_INPUT_LENGTH_MAX } from '../../src/evaluation/limits.ts';
import { evaluate, NEW_YEAR_MS, ruleOn } from './fixture.ts';

/** Whether one condition on the attribute `a` holds in a context of `a` alone; undefined = without it. */
function holds(operator: string, values: readonly unknown[], a?: unknown): boolean {
  const context = a === undefined ? {} : { a };
  return evaluate({ rules: [ruleOn({ attribute: 'a', operator, values })] }, context).value === true;
}

const CASES: readonly (readonly [string, readonly unknown[], unknown, boolean])[] = [
  ['EQUALS', ['x'], 'x', true],
  ['EQUALS', ['x'], 'X', false],
  ['EQUALS', ['x', 'y'], 'y', true],
  ['EQUALS', ['7'], 7, true],
  ['EQUALS', [7], '7', true],
  ['EQUALS', [true], 'true', true],
  ['EQUALS', ['true'], true, true],
  ['EQUALS', ['x'], undefined, false],
  ['EQUALS', ['x'], null, false],
  ['EQUALS', ['x'], ['w', 'x'], true],
  ['EQUALS', [{ b: [1] }], { b: [1] }, true],
  ['EQUALS', [{ b: [1] }], { b: [1], c: 2 }, false],
  ['EQUALS', [{ b: [1] }], { b: { 0: 1, length: 1 } }, false],
  ['EQUALS', [['x', 'y']], ['x', 'y'], true],
  ['EQUALS', [{}], [], false],
  ['NOT_EQUALS', ['x'], 'x', false],
  ['NOT_EQUALS', ['x', 'y'], 'y', false],
  ['NOT_EQUALS', ['x'], 'y', true],
  ['NOT_EQUALS', ['x'], undefined, true],
  ['IN', ['x', 'y', 'z'], 'z', true],
  ['IN', ['x', 'y', 'z'], 'w', false],
  ['IN', [1, 2], '2', true],
  ['NOT_IN', ['x', 'y'], 'w', true],
  ['NOT_IN', ['x', 'y'], 'x', false],
  ['NOT_IN', ['x', 'y'], undefined, true],
  ['CONTAINS', ['lo w'], 'hello world', true],
  ['CONTAINS', ['x', 'wor'], 'hello world', true],
  ['CONTAINS', ['World'], 'hello world', false],
  ['CONTAINS', ['12'], 3123, true],
  ['CONTAINS', ['x'], ['x', 'y'], true],
  ['CONTAINS', ['x'], ['xy'], false],
  ['NOT_CONTAINS', ['x'], 'hello', true],
  ['NOT_CONTAINS', ['x', 'ell'], 'hello', false],
  ['NOT_CONTAINS', ['x'], undefined, true],
  ['STARTS_WITH', ['he'], 'hello', true],
  ['STARTS_WITH', ['x', 'he'], 'hello', true],
  ['STARTS_WITH', ['lo'], 'hello', false],
  ['ENDS_WITH', ['lo'], 'hello', true],
  ['ENDS_WITH', ['he'], 'hello', false],
  ['ENDS_WITH', ['lo'], ['x', 'hello'], true],
  ['MATCHES', ['^a+b$'], 'aaab', true],
  ['MATCHES', ['a+b'], 'xaabx', true],
  ['MATCHES', ['^a', '^b'], 'bcd', true],
  ['MATCHES', ['^a+b$'], 'aaac', false],
  ['MATCHES', ['(?i)abc'], 'ABC', true],
  ['MATCHES', ['^\\d+$'], 123, true],
  ['GREATER_THAN', [5], 6, true],
  ['GREATER_THAN', [5], 5, false],
  ['GREATER_THAN', ['5'], '5.5', true],
  ['GREATER_THAN', [5], 'many', false],
  ['GREATER_THAN', [5], '', false],
  ['GREATER_THAN', [-1], undefined, false],
  ['GREATER_OR_EQUAL', [5], 5, true],
  ['LESS_THAN', [5], 4.9, true],
  ['LESS_THAN', [5], 5, false],
  ['LESS_THAN', [5], undefined, false],
  ['LESS_THAN', [5], true, false],
  ['LESS_OR_EQUAL', [5], 5, true],
  ['SEMVER_EQUALS', ['1.2.3'], 'v1.2.3', true],
  ['SEMVER_EQUALS', ['1.0.0'], '1', true],
  ['SEMVER_EQUALS', ['1.2.3'], '1.2.3+build.7', true],
  ['SEMVER_EQUALS', ['1.2.3'], '1.2.3-rc.1', false],
  ['SEMVER_NOT_EQUALS', ['1.2.3'], '1.2.4', true],
  ['SEMVER_NOT_EQUALS', ['1.2.3'], 'latest', false],
  ['SEMVER_NOT_EQUALS', ['1.2.3'], undefined, false],
  ['SEMVER_GREATER_THAN', ['1.2.3'], '1.10.0', true],
  ['SEMVER_GREATER_THAN', ['1.2.3-rc.1'], '1.2.3', true],
  ['SEMVER_GREATER_OR_EQUAL', ['1.2.3'], '1.2.3', true],
  ['SEMVER_LESS_THAN', ['2.0.0'], '2.0.0-alpha', true],
  ['SEMVER_LESS_THAN', ['2.0.0'], '10.0.0', false],
  ['SEMVER_LESS_OR_EQUAL', ['2.0.0'], '2.0.0', true],
  ['SEMVER_CARET', ['1.2.3'], '1.9.0', true],
  ['SEMVER_CARET', ['1.2.3'], '2.2.3', false],
  ['SEMVER_TILDE', ['1.2.3'], '1.2.9', true],
  ['SEMVER_TILDE', ['1.2.3'], '1.3.3', false],
  ['BEFORE', ['2026-01-01T00:00:00Z'], '2025-12-31T23:59:59.999Z', true],
  ['BEFORE', ['2026-01-01T00:00:00Z'], '2026-01-01T01:00:00+01:00', false],
  ['BEFORE', ['2026-01-01T00:00:00Z'], NEW_YEAR_MS - 1, true],
  ['AFTER', ['2026-01-01T00:00:00Z'], '2026-01-01T00:00:00.001Z', true],
  ['AFTER', [NEW_YEAR_MS], '2026-01-01', false],
  ['AFTER', ['2026-01-01T00:00:00Z'], 'tomorrow', false],
  ['EXISTS', [], '', true],
  ['EXISTS', [], false, true],
  ['EXISTS', [], {}, true],
  ['EXISTS', [], null, false],
  ['EXISTS', [], undefined, false],
];

test.each(CASES)('%s %j of %j: %s', (operator, values, attribute, answer) => {
  expect(holds(operator, values, attribute)).toBe(answer);
});

describe('regular expressions', () => {
  test('one that takes a backtracking engine for ever is answered', () => {
    expect(holds('MATCHES', ['^(a+)+$'], `${'a'.repeat(1_000)}b`)).toBe(false);
  });

  test('a text that is too long does not match', () => {
    expect(holds('MATCHES', ['a'], 'a'.repeat(PATTERN_INPUT_LENGTH_MAX))).toBe(true);
    expect(holds('MATCHES', ['a'], 'a'.repeat(PATTERN_INPUT_LENGTH_MAX + 1))).toBe(false);
  });
});

describe('attributes', () => {
  const ask = (attribute: string, context: EvaluationContext): boolean =>
    evaluate({ rules: [ruleOn({ attribute, operator: 'EQUALS', values: ['x'] })] }, context).value === true;

  test('a name with dots is looked up as it is, then in nested objects', () => {
    expect(ask('user.name', { 'user.name': 'x' })).toBe(true);
    expect(ask('user.name', { user: { name: 'x' } })).toBe(true);
    expect(ask('user.name', { 'user.name': 'y', user: { name: 'x' } })).toBe(false);
    expect(ask('user.name', { user: 'x' })).toBe(false);
  });

  test('what every object has from birth is no attribute', () => {
    for (const attribute of ['constructor', '__proto__', 'toString']) {
      const flag = { rules: [ruleOn({ attribute, operator: 'EXISTS', values: [] })] };
      expect(evaluate(flag, {}).value).toBe(false);
      expect(evaluate(flag, JSON.parse(`{"${attribute}": 1}`)).value).toBe(true);
    }
  });
});
