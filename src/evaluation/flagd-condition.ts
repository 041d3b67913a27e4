import { textOf } from './attribute.ts';
import { compileCondition, holds } from './condition.ts';
import { isObject } from './fields.ts';
import { type Findings, inside, type Place } from './finding.ts';
import { type AttributeCondition, type Condition, type Json, NOW_ATTRIBUTE, type Operator } from './model.ts';

/** Reads conditions of JsonLogic, as far as ours can say them. Everything else is a finding and null. */

const TIMESTAMP = '$flagd.timestamp';
/** How far evaluators may refer to one another, and how often a flag may refer to those that are no segments. */
const REFERENCES_DEEP_MAX = 16;
const REFERENCES_MAX = 1_000;

/** Of JsonLogic's comparisons: what they are, and what they are with their sides changed. */
const COMPARISONS: ReadonlyMap<string, readonly [Operator, Operator]> = new Map([
  ['==', ['EQUALS', 'EQUALS']],
  ['===', ['EQUALS', 'EQUALS']],
  ['!=', ['NOT_EQUALS', 'NOT_EQUALS']],
  ['!==', ['NOT_EQUALS', 'NOT_EQUALS']],
  ['<', ['LESS_THAN', 'GREATER_THAN']],
  ['<=', ['LESS_OR_EQUAL', 'GREATER_OR_EQUAL']],
  ['>', ['GREATER_THAN', 'LESS_THAN']],
  ['>=', ['GREATER_OR_EQUAL', 'LESS_OR_EQUAL']],
]);

const VERSION_OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ['=', 'SEMVER_EQUALS'],
  ['!=', 'SEMVER_NOT_EQUALS'],
  ['>', 'SEMVER_GREATER_THAN'],
  ['>=', 'SEMVER_GREATER_OR_EQUAL'],
  ['<', 'SEMVER_LESS_THAN'],
  ['<=', 'SEMVER_LESS_OR_EQUAL'],
  ['^', 'SEMVER_CARET'],
  ['~', 'SEMVER_TILDE'],
]);

/** A variable of JsonLogic. */
export interface Variable {
  readonly name: string;
  /** Undefined = none. */
  readonly fallback: Json | undefined;
}

/** Reads the conditions of one flag, or of one evaluator. */
export class FlagdConditions {
  readonly #findings: Findings;
  readonly #evaluators: Readonly<Record<string, Json>>;
  readonly #segments: ReadonlySet<string>;
  #referencesDeep = 0;
  #references = 0;

  constructor(options: {
    readonly findings: Findings;
    readonly evaluators: Readonly<Record<string, Json>>;
    /** Those evaluators that are segments. */
    readonly segments: ReadonlySet<string>;
  }) {
    this.#findings = options.findings;
    this.#evaluators = options.evaluators;
    this.#segments = options.segments;
  }

  isSegment(named: Json | undefined): named is string {
    return typeof named === 'string' && this.#segments.has(named);
  }

  /** What `use` makes of the evaluator of this name. */
  resolve<Result>(
    named: Json | undefined,
    place: Place,
    use: (referred: Json) => Result | null,
  ): Result | null {
    this.#references += 1;
    if (this.#references > REFERENCES_MAX)
      return this.#findings.add(place, `more than ${REFERENCES_MAX} references`);
    if (this.#referencesDeep === REFERENCES_DEEP_MAX)
      return this.#findings.add(place, 'refers too deep, or in a circle');
    if (typeof named !== 'string' || !Object.hasOwn(this.#evaluators, named))
      return this.#findings.add(place, `there is no evaluator ${textOf(named) ?? 'of this name'}`);
    this.#referencesDeep += 1;
    const result = use(this.#evaluators[named]!);
    this.#referencesDeep -= 1;
    return result;
  }

  /** The condition, or null and a finding. */
  condition(expression: Json, place: Place | null): Condition | null {
    if (typeof expression === 'boolean') return expression ? { all: [] } : { any: [] };
    const operation = operationOf(expression);
    if (operation === null) return this.#findings.add(place, 'must be an operation that is true or false');
    const { name, operands } = operation;
    const at = inside(place, name);
    if (name === 'and') return this.#group('all', operands, at);
    if (name === 'or') return this.#group('any', operands, at);
    if (name === '!') {
      const part = this.condition(operands[0] ?? null, at);
      return part === null ? null : { not: part };
    }
    if (name === '!!') return this.condition(operands[0] ?? null, at);
    if (name === '$ref') return this.#reference(operands[0], at);
    if (name === 'in') return this.#inCondition(operands, at);
    if (name === 'sem_ver') return this.#versionCondition(operands, at);
    if (name === 'starts_with') return this.#textCondition('STARTS_WITH', operands, at);
    if (name === 'ends_with') return this.#textCondition('ENDS_WITH', operands, at);
    if (COMPARISONS.has(name)) return this.#comparison(name, operands, at);
    return this.#findings.add(at, 'cannot be carried over');
  }

  #group(kind: 'all' | 'any', operands: readonly Json[], place: Place): Condition | null {
    const parts = operands.map((operand, index) => this.condition(operand, inside(place, index)));
    const known = parts.filter((part) => part !== null);
    if (known.length < parts.length) return null;
    return kind === 'all' ? { all: known } : { any: known };
  }

  #reference(named: Json | undefined, place: Place): Condition | null {
    if (this.isSegment(named)) return { segment: named };
    return this.resolve(named, place, (referred) => this.condition(referred, place));
  }

  #inCondition(operands: readonly Json[], place: Place): Condition | null {
    const [needle = null, haystack = null] = operands;
    const [wanted, container] = [variableOf(needle), variableOf(haystack)];
    if (wanted !== null && Array.isArray(haystack) && haystack.length > 0)
      return this.#attribute(wanted, 'IN', haystack, place);
    if (wanted !== null && Array.isArray(haystack)) return { any: [] };
    if (container !== null && typeof needle !== 'object')
      return this.#attribute(container, 'CONTAINS', [needle], place);
    return this.#findings.add(place, 'must be an attribute in a list, or a constant in an attribute');
  }

  #textCondition(operator: Operator, operands: readonly Json[], place: Place): Condition | null {
    const [variable, text] = [variableOf(operands[0] ?? null), operands[1]];
    if (variable !== null && typeof text === 'string')
      return this.#attribute(variable, operator, [text], place);
    return this.#findings.add(place, 'must be an attribute and a text');
  }

  #versionCondition(operands: readonly Json[], place: Place): Condition | null {
    const [variable, relation, version] = [variableOf(operands[0] ?? null), operands[1], operands[2]];
    const operator = VERSION_OPERATORS.get(textOf(relation) ?? '');
    if (variable !== null && operator !== undefined && version !== undefined)
      return this.#attribute(variable, operator, [version], place);
    return this.#findings.add(place, 'must be an attribute, an operator and a version');
  }

  /** Of two, or of three with the attribute between: `{"<": [1, {"var": "age"}, 9]}`. */
  #comparison(name: string, operands: readonly Json[], place: Place): Condition | null {
    if (operands.length === 3) {
      const [low, middle, high] = operands as readonly [Json, Json, Json];
      return this.#group('all', [{ [name]: [low, middle] }, { [name]: [middle, high] }], place);
    }
    const [left = null, right = null] = operands;
    const [operator, changed] = COMPARISONS.get(name)!;
    const [first, second] = [variableOf(left), variableOf(right)];
    if (operands.length === 2 && first !== null && second === null)
      return this.#compared(first, operator, right, place);
    if (operands.length === 2 && second !== null && first === null)
      return this.#compared(second, changed, left, place);
    return this.#findings.add(place, 'must compare an attribute with a constant');
  }

  #compared(variable: Variable, operator: Operator, value: Json, place: Place): Condition | null {
    const { name } = variable;
    if (name === TIMESTAMP) return this.#timeCondition(operator, value, place);
    if (value === null && (operator === 'EQUALS' || operator === 'NOT_EQUALS')) {
      const exists: Condition = { attribute: name, operator: 'EXISTS', values: [] };
      return operator === 'EQUALS' ? { not: exists } : exists;
    }
    if (isObject(value)) return this.#findings.add(place, 'must compare an attribute with a constant');
    return this.#attribute(variable, operator, [value], place);
  }

  /** flagd's time has whole seconds: what holds for one holds for all of its milliseconds. */
  #timeCondition(operator: Operator, seconds: Json, place: Place): Condition | null {
    const ms = (value: number): AttributeCondition => ({
      attribute: NOW_ATTRIBUTE,
      operator: operator === 'LESS_THAN' || operator === 'LESS_OR_EQUAL' ? 'LESS_THAN' : 'GREATER_OR_EQUAL',
      values: [Math.ceil(value) * 1000],
    });
    if (typeof seconds !== 'number') return this.#findings.add(place, 'must compare the time with a number');
    if (operator === 'GREATER_OR_EQUAL' || operator === 'LESS_THAN') return ms(seconds);
    if (operator === 'GREATER_THAN' || operator === 'LESS_OR_EQUAL') return ms(Math.floor(seconds) + 1);
    return this.#findings.add(place, 'must ask whether the time is before or after');
  }

  /** With the meaning that the default of the variable, where it has one, gives to its absence. */
  #attribute(
    variable: Variable,
    operator: Operator,
    values: readonly Json[],
    place: Place,
  ): Condition | null {
    const { name, fallback } = variable;
    if (name.startsWith('$')) return this.#findings.add(place, `${name} cannot be used here`);
    const condition: AttributeCondition = { attribute: name, operator, values };
    if (fallback === undefined || fallback === null) return condition;
    const exists: Condition = { attribute: name, operator: 'EXISTS', values: [] };
    try {
      const compiled = compileCondition(condition, new Map());
      const byDefault = holds(compiled, { [name]: fallback }, 0);
      if (byDefault === holds(compiled, {}, 0)) return condition;
      return byDefault ? { any: [condition, { not: exists }] } : { all: [condition, exists] };
    } catch {
      return this.#findings.add(place, 'has values that cannot be compared');
    }
  }
}

/** An object of one field is an operation; operands that are no list are one. */
export function operationOf(
  expression: Json,
): { readonly name: string; readonly operands: readonly Json[] } | null {
  if (!isObject(expression)) return null;
  const entries = Object.entries(expression) as readonly (readonly [string, Json])[];
  if (entries.length !== 1) return null;
  const [name, operands] = entries[0]!;
  return { name, operands: Array.isArray(operands) ? (operands as readonly Json[]) : [operands] };
}

/** Null of what is no variable. */
export function variableOf(expression: Json): Variable | null {
  const operation = operationOf(expression);
  if (operation?.name !== 'var') return null;
  const [name, fallback] = operation.operands;
  return typeof name === 'string' && name !== '' ? { name, fallback } : null;
}
