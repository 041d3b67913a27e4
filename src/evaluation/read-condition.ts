import { numberOf } from './attribute.ts';
import { Fields } from './fields.ts';
import type { Findings, Place } from './finding.ts';
import {
  CONDITION_DEPTH_MAX,
  CONDITIONS_MAX,
  KEY_LENGTH_MAX,
  NAME_LENGTH_MAX,
  PATTERN_PROGRAM_MAX,
  TEXT_LENGTH_MAX,
  VALUES_MAX,
} from './limits.ts';
import {
  type Condition,
  EQUALITY_OPERATORS,
  type Json,
  NUMBER_OPERATORS,
  OPERATORS,
  type Operator,
  PATTERN_OPERATORS,
  PRESENCE_OPERATORS,
  TEXT_OPERATORS,
  TIME_OPERATORS,
  VERSION_OPERATORS,
} from './model.ts';
import { instantOf } from './operator.ts';
import { Pattern } from './pattern.ts';
import { parseVersion } from './semantic-version.ts';

const FORMS = ['attribute', 'all', 'any', 'not', 'segment'] as const;

/** What an operator takes: how many values, and what each must be. */
interface Values {
  readonly operators: readonly Operator[];
  readonly min: number;
  readonly max: number;
  /** @returns what is wrong, or null */
  readonly problem: (value: Json) => string | null;
}

const VALUES: readonly Values[] = [
  {
    operators: EQUALITY_OPERATORS,
    min: 1,
    max: VALUES_MAX,
    problem: (value) => (value === null ? 'must not be null, which equals nothing' : tooLong(value)),
  },
  {
    operators: TEXT_OPERATORS,
    min: 1,
    max: VALUES_MAX,
    problem: (value) => (typeof value === 'object' ? 'must be a text' : tooLong(value)),
  },
  { operators: PATTERN_OPERATORS, min: 1, max: CONDITIONS_MAX, problem: patternProblem },
  {
    operators: NUMBER_OPERATORS,
    min: 1,
    max: 1,
    problem: (value) => (Number.isFinite(numberOf(value)) ? null : 'must be a number'),
  },
  {
    operators: VERSION_OPERATORS,
    min: 1,
    max: 1,
    problem: (value) =>
      typeof value === 'object' || parseVersion(String(value)) === null ? 'must be a semantic version' : null,
  },
  {
    operators: TIME_OPERATORS,
    min: 1,
    max: 1,
    problem: (value) =>
      Number.isFinite(instantOf(value)) ? null : 'must be a time in ISO 8601 with a zone, or milliseconds',
  },
  { operators: PRESENCE_OPERATORS, min: 0, max: 0, problem: () => null },
];

/** The conditions of a list. */
export function readConditions(fields: Fields, name: string, depth = 0): readonly Condition[] {
  const { findings } = fields;
  return fields.list(name, { max: CONDITIONS_MAX }, (value, place) =>
    readCondition(value, { place, findings, depth }),
  );
}

interface Where {
  readonly place: Place;
  readonly findings: Findings;
  readonly depth: number;
}

function readCondition(value: unknown, { place, findings, depth }: Where): Condition | null {
  if (depth >= CONDITION_DEPTH_MAX)
    return findings.add(place, `is nested deeper than ${CONDITION_DEPTH_MAX}`);
  const fields = Fields.of(value, place, findings);
  if (fields === null) return null;
  const forms = FORMS.filter((form) => fields.has(form));
  if (forms.length !== 1) return findings.add(place, `must have exactly one of ${FORMS.join(', ')}`);
  const condition = readForm(fields, forms[0]!, depth);
  fields.end();
  return condition;
}

function readForm(fields: Fields, form: (typeof FORMS)[number], depth: number): Condition | null {
  const { findings } = fields;
  switch (form) {
    case 'all':
      return { all: readConditions(fields, 'all', depth + 1) };
    case 'any':
      return { any: readConditions(fields, 'any', depth + 1) };
    case 'not': {
      const part = readCondition(fields.get('not'), { place: fields.at('not'), findings, depth: depth + 1 });
      return part === null ? null : { not: part };
    }
    case 'segment': {
      const segment = fields.text('segment', { max: KEY_LENGTH_MAX });
      return segment === null ? null : { segment };
    }
    case 'attribute':
      return readAttributeCondition(fields);
  }
}

function readAttributeCondition(fields: Fields): Condition | null {
  const attribute = fields.text('attribute', { max: NAME_LENGTH_MAX });
  const operator = fields.oneOf('operator', OPERATORS);
  if (operator === null) {
    fields.get('values');
    return null;
  }
  const { min, max, problem } = VALUES.find(({ operators }) => operators.includes(operator))!;
  const values = fields.list('values', { min, max }, (value, place) => {
    // That it is JSON is known of the whole already.
    const found = problem(value as Json);
    if (found !== null) fields.findings.add(place, found);
    return value as Json;
  });
  return attribute === null ? null : { attribute, operator, values };
}

/** What is wrong with a value to equal, or null. */
export function equalityProblem(value: Json): string | null {
  return VALUES[0]!.problem(value);
}

function tooLong(value: Json): string | null {
  const isTooLong = typeof value === 'string' && value.length > TEXT_LENGTH_MAX;
  return isTooLong ? `must have at most ${TEXT_LENGTH_MAX} characters` : null;
}

function patternProblem(value: Json): string | null {
  if (typeof value !== 'string') return 'must be a regular expression';
  if (value.length > TEXT_LENGTH_MAX) return `must have at most ${TEXT_LENGTH_MAX} characters`;
  try {
    const size = new Pattern(value).instructions;
    return size > PATTERN_PROGRAM_MAX
      ? `is too large: ${size} instructions, at most ${PATTERN_PROGRAM_MAX}`
      : null;
  } catch (error) {
    return `is no regular expression of RE2: ${error instanceof Error ? error.message : ''}`;
  }
}
