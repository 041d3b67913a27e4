import { unreachable } from '../lib/assert.ts';
import { numberOf, textOf, textsOf } from './attribute.ts';
import { parseInstant } from './instant.ts';
import type { AttributeCondition, Json, Operator } from './model.ts';
import { Pattern } from './pattern.ts';
import { compareVersions, parseVersion, type SemanticVersion } from './semantic-version.ts';

/** An operator with its values, made ready to be applied to many attributes. Negations are the condition's. */
export type Test =
  | { readonly kind: 'equals-text'; readonly text: string }
  | {
      readonly kind: 'equals';
      readonly texts: ReadonlySet<string>;
      /** Objects and arrays among the values. */
      readonly structures: readonly Json[];
    }
  | { readonly kind: 'contains' | 'starts-with' | 'ends-with'; readonly texts: readonly string[] }
  | { readonly kind: 'matches'; readonly patterns: readonly Pattern[] }
  | { readonly kind: 'number'; readonly relation: Relation; readonly bound: number }
  | { readonly kind: 'time'; readonly relation: Relation; readonly boundMs: number }
  | { readonly kind: 'version'; readonly relation: VersionRelation; readonly bound: SemanticVersion }
  | { readonly kind: 'exists' };

type Relation = '<' | '<=' | '>' | '>=';
type VersionRelation = Relation | '=' | '!=' | '^' | '~';

/** Operators that hold exactly where another does not. */
export const NEGATIONS: { readonly [operator in Operator]?: true } = {
  NOT_EQUALS: true,
  NOT_IN: true,
  NOT_CONTAINS: true,
};

const NUMBER_RELATIONS: { readonly [operator in Operator]?: Relation } = {
  GREATER_THAN: '>',
  GREATER_OR_EQUAL: '>=',
  LESS_THAN: '<',
  LESS_OR_EQUAL: '<=',
};
const TIME_RELATIONS: { readonly [operator in Operator]?: Relation } = { BEFORE: '<', AFTER: '>' };
const VERSION_RELATIONS: { readonly [operator in Operator]?: VersionRelation } = {
  SEMVER_EQUALS: '=',
  SEMVER_NOT_EQUALS: '!=',
  SEMVER_GREATER_THAN: '>',
  SEMVER_GREATER_OR_EQUAL: '>=',
  SEMVER_LESS_THAN: '<',
  SEMVER_LESS_OR_EQUAL: '<=',
  SEMVER_CARET: '^',
  SEMVER_TILDE: '~',
};

/** @throws Error for values that the operator cannot use, which validation finds before */
export function testOf({ operator, values }: AttributeCondition): Test {
  switch (operator) {
    case 'EQUALS':
    case 'NOT_EQUALS':
    case 'IN':
    case 'NOT_IN':
      return equalityOf(values);
    case 'CONTAINS':
    case 'NOT_CONTAINS':
      return { kind: 'contains', texts: textsOf(values) };
    case 'STARTS_WITH':
      return { kind: 'starts-with', texts: textsOf(values) };
    case 'ENDS_WITH':
      return { kind: 'ends-with', texts: textsOf(values) };
    case 'MATCHES':
      return { kind: 'matches', patterns: textsOf(values).map((text) => new Pattern(text)) };
    case 'EXISTS':
      return { kind: 'exists' };
    default:
      return comparisonOf(operator, values[0]);
  }
}

function equalityOf(values: readonly Json[]): Test {
  const texts = textsOf(values);
  const structures = values.filter((value) => textOf(value) === null);
  if (texts.length === 1 && structures.length === 0) return { kind: 'equals-text', text: texts[0]! };
  return { kind: 'equals', texts: new Set(texts), structures };
}

function comparisonOf(operator: Operator, value: Json | undefined): Test {
  const number = NUMBER_RELATIONS[operator];
  if (number !== undefined) return { kind: 'number', relation: number, bound: numberOf(value) };
  const time = TIME_RELATIONS[operator];
  if (time !== undefined) return { kind: 'time', relation: time, boundMs: instantOf(value) };
  const bound = parseVersion(textOf(value) ?? '');
  const relation = VERSION_RELATIONS[operator];
  if (bound === null || relation === undefined) throw new Error('not a semantic version');
  return { kind: 'version', relation, bound };
}

/** Whether the operator holds for an attribute's value: of an array, for one of its elements. */
export function applies(test: Test, value: unknown): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value === 'object') return appliesToStructure(test, value);
  switch (test.kind) {
    case 'equals-text':
      return typeof value === 'string' ? value === test.text : textOf(value) === test.text;
    case 'equals': {
      const text = textOf(value);
      return text !== null && test.texts.has(text);
    }
    case 'contains':
    case 'starts-with':
    case 'ends-with': {
      const text = textOf(value);
      return text !== null && hasPart(test, text);
    }
    case 'matches': {
      const text = textOf(value);
      return text !== null && test.patterns.some((pattern) => pattern.matches(text));
    }
    case 'number':
      return relates(numberOf(value), test.relation, test.bound);
    case 'time':
      return relates(instantOf(value), test.relation, test.boundMs);
    case 'version':
      return versionRelates(value, test);
    case 'exists':
      return true;
    default:
      return unreachable(test);
  }
}

function appliesToStructure(test: Test, value: object): boolean {
  if (test.kind === 'exists') return true;
  if (test.kind === 'equals' && test.structures.some((structure) => isEqual(structure, value))) return true;
  if (!Array.isArray(value)) return false;
  for (const element of value as readonly unknown[]) {
    if (test.kind === 'contains') {
      const text = textOf(element);
      if (text !== null && test.texts.includes(text)) return true;
    } else if (typeof element !== 'object' && applies(test, element)) {
      return true;
    }
  }
  return false;
}

/** Goes as deep as `expected` goes, whatever the other is. */
function isEqual(expected: Json, actual: unknown): boolean {
  if (typeof expected !== 'object' || expected === null) return expected === actual;
  if (typeof actual !== 'object' || actual === null) return false;
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return false;
    return expected.every((element: Json, at) => isEqual(element, actual[at]));
  }
  if (Array.isArray(actual)) return false;
  const [wanted, found] = [Object.entries(expected), actual as Readonly<Record<string, unknown>>];
  if (Object.keys(actual).length !== wanted.length) return false;
  return wanted.every(([name, part]) => Object.hasOwn(found, name) && isEqual(part, found[name]));
}

function hasPart(
  { kind, texts }: Extract<Test, { readonly texts: readonly string[] }>,
  text: string,
): boolean {
  for (let at = 0; at < texts.length; at += 1) {
    const part = texts[at]!;
    if (kind === 'contains' ? text.includes(part) : hasEnd(kind, text, part)) return true;
  }
  return false;
}

function hasEnd(kind: 'starts-with' | 'ends-with', text: string, part: string): boolean {
  return kind === 'starts-with' ? text.startsWith(part) : text.endsWith(part);
}

/** Milliseconds since 1970; NaN for what is no instant. */
export function instantOf(value: unknown): number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' ? parseInstant(value) : Number.NaN;
}

/** False where one of the two is NaN. */
function relates(left: number, relation: Relation, right: number): boolean {
  switch (relation) {
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
    default:
      return unreachable(relation);
  }
}

function versionRelates(value: unknown, test: Extract<Test, { readonly kind: 'version' }>): boolean {
  const text = textOf(value);
  const version = text === null ? null : parseVersion(text);
  if (version === null) return false;
  const { relation, bound } = test;
  if (relation === '^') return version.major === bound.major;
  if (relation === '~') return version.major === bound.major && version.minor === bound.minor;
  const order = compareVersions(version, bound);
  if (relation === '=') return order === 0;
  return relation === '!=' ? order !== 0 : relates(order, relation, 0);
}
