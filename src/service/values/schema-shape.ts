import type { Json } from '../model.ts';
import type { FieldProblem } from '../service-error.ts';
import { isObject, pointerToken } from './json-limits.ts';

/** Schemas within one schema, itself included. */
export const SUBSCHEMAS_MAX = 500;

/** Stands in every schema that is compiled, with a `LookCost`: there validation counts its steps. */
export const COST_KEYWORD = 'conclaveCost';

/** What a look at a value by one schema costs, what the schemas in it cost left out. */
export interface LookCost {
  readonly steps: number;
  /** It also goes through the names of an object. */
  readonly readsNames: boolean;
}

/** A schema that may be compiled, every schema in it with its cost; or why not. */
export type Shape =
  | { readonly type: 'good'; readonly schema: Json }
  | { readonly type: 'bad'; readonly problems: readonly FieldProblem[] };

/**
 * Goes through the schemas in a schema of draft 2020-12. Refused are keywords that nobody knows (a constraint that is
 * misspelled would silently not hold; those that begin with `x-` are annotations), references that lead out of it, and
 * ids below the root, which would change where references lead.
 */
export function shapeOf(schema: Json): Shape {
  const walk = new Walk();
  const copy = walk.schema(schema, '');
  const problems = [...walk.problems, ...walk.lostReferences()];
  return problems.length === 0 ? { type: 'good', schema: copy } : { type: 'bad', problems };
}

const SCHEMA = new Set(
  'additionalProperties propertyNames unevaluatedProperties items contains unevaluatedItems not if then else contentSchema'.split(
    ' ',
  ),
);
const SCHEMA_LIST = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems']);
const SCHEMA_MAP = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions']);
/** Their value is not made of schemas. */
const PLAIN = new Set(
  (
    '$anchor $dynamicAnchor $ref $dynamicRef $comment type enum const multipleOf maximum exclusiveMaximum minimum ' +
    'exclusiveMinimum maxLength minLength pattern format maxItems minItems uniqueItems maxContains minContains ' +
    'maxProperties minProperties required dependentRequired title description default deprecated readOnly writeOnly ' +
    'examples contentEncoding contentMediaType'
  ).split(' '),
);
const DRAFT = 'https://json-schema.org/draft/2020-12/schema';
/** With every member of these a look costs more. */
const COSTLY = ['enum', 'const', 'required', 'dependentRequired', 'properties', 'dependentSchemas'];
/** What they lead to is called as a function of its own, or may fail at the price of an error. */
const CALLING = ['$ref', '$dynamicRef', 'anyOf', 'oneOf', 'not', 'if'];
const CALL_STEPS = 4;
const READS_NAMES = [
  'minProperties',
  'maxProperties',
  'propertyNames',
  'patternProperties',
  'additionalProperties',
  'unevaluatedProperties',
];

class Walk {
  readonly problems: FieldProblem[] = [];
  readonly #pointers = new Set<string>();
  readonly #anchors = new Set<string>();
  readonly #references: { readonly at: string; readonly target: string }[] = [];

  schema(schema: Json, at: string): Json {
    if (this.#pointers.size === SUBSCHEMAS_MAX)
      this.#refuse(at, `there are more than ${SUBSCHEMAS_MAX} schemas`);
    this.#pointers.add(at);
    if (this.#pointers.size > SUBSCHEMAS_MAX || !isObject(schema)) return schema;
    const copy: [string, Json][] = [[COST_KEYWORD, costOf(schema)]];
    for (const [keyword, value] of Object.entries(schema)) {
      if (keyword.startsWith('x-') || this.#isOfRoot(keyword, value, at)) continue;
      copy.push([keyword, this.#keyword(keyword, value, `${at}/${pointerToken(keyword)}`)]);
    }
    return Object.fromEntries(copy);
  }

  lostReferences(): FieldProblem[] {
    return this.#references
      .filter(({ target }) => !this.#leadsToSchema(target))
      .map(({ at, target }) => problem(at, `${JSON.stringify(target)} leads to no schema in this one`));
  }

  #keyword(keyword: string, value: Json, at: string): Json {
    if (SCHEMA.has(keyword)) return this.schema(value, at);
    if (SCHEMA_LIST.has(keyword) && Array.isArray(value)) {
      return value.map((item: Json, index) => this.schema(item, `${at}/${index}`));
    }
    if (SCHEMA_MAP.has(keyword) && isObject(value)) {
      const members = Object.entries(value);
      return Object.fromEntries(
        members.map(([name, item]) => [name, this.schema(item, `${at}/${pointerToken(name)}`)]),
      );
    }
    if (PLAIN.has(keyword)) this.#note(keyword, value, at);
    else if (!SCHEMA_LIST.has(keyword) && !SCHEMA_MAP.has(keyword)) this.#refuse(at, 'is no keyword');
    return value;
  }

  #note(keyword: string, value: Json, at: string): void {
    if (typeof value !== 'string') return;
    if (keyword === '$anchor' || keyword === '$dynamicAnchor') this.#anchors.add(value);
    if (keyword === '$ref' || keyword === '$dynamicRef') this.#references.push({ at, target: value });
  }

  /** Says what the whole schema is, and is not needed to use it. */
  #isOfRoot(keyword: string, value: Json, at: string): boolean {
    if (keyword !== '$schema' && keyword !== '$id') return false;
    if (at !== '') this.#refuse(`${at}/${keyword}`, 'may stand at the root only');
    else if (keyword === '$schema' && value !== DRAFT && value !== `${DRAFT}#`) {
      this.#refuse(`/${keyword}`, `must be ${DRAFT}`);
    }
    return true;
  }

  #leadsToSchema(target: string): boolean {
    if (!target.startsWith('#')) return false;
    const fragment = decoded(target.slice(1));
    return fragment !== null && (this.#pointers.has(fragment) || this.#anchors.has(fragment));
  }

  #refuse(at: string, message: string): void {
    this.problems.push(problem(at, message));
  }
}

function decoded(fragment: string): string | null {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return null;
  }
}

function problem(at: string, message: string): FieldProblem {
  return { field: `schema${at}`, message };
}

function costOf(schema: { readonly [keyword: string]: Json }): Json {
  const has = (keyword: string): boolean => Object.hasOwn(schema, keyword);
  const listed = COSTLY.filter(has).reduce((sum, keyword) => sum + sizeOf(schema[keyword]!), 0);
  const called = CALLING.filter(has).reduce((sum, keyword) => sum + lengthOf(schema[keyword]!), 0);
  const steps = 2 + listed + CALL_STEPS * called;
  const cost: LookCost = { steps, readsNames: READS_NAMES.some(has) };
  return { ...cost };
}

function sizeOf(json: Json): number {
  if (typeof json !== 'object' || json === null) return 1;
  return Object.values(json).reduce((sum: number, member) => sum + sizeOf(member as Json), 1);
}

function lengthOf(json: Json): number {
  return Array.isArray(json) ? json.length : 1;
}
