import {
  _,
  type CodeKeywordDefinition,
  type ErrorObject,
  type FuncKeywordDefinition,
  Name,
  type ValidateFunction,
} from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Json } from '../model.ts';
import type { FieldProblem } from '../service-error.ts';
import { sameJson } from './json-limits.ts';
import { LinearRegex } from './linear-regex.ts';
import { FORMATS } from './schema-formats.ts';
import { COST_KEYWORD, type LookCost } from './schema-shape.ts';
import { StepMeter } from './step-meter.ts';

/** Steps that the check of one value against its schema may take: some 100 ms, whatever the schema. */
export const SCHEMA_STEPS_MAX = 2_000_000;
/** Findings about one value. */
export const VIOLATIONS_MAX = 20;
/** What a schema is compiled to. One that finds all stops at so many errors; it only runs where one was found. */
const ERRORS_MAX = 200;
/** So many characters, items or errors that were copied cost a step. */
const PARTS_PER_STEP = 16;
/** As dear as so many parts is each name of an object that is gone through. */
const NAME_PARTS = 32;

/** Schemas that one compiler has to do with. */
const USES_MAX = 200;

const meter = new StepMeter();

class TooManyErrors extends Error {}

/** A schema as code that counts its steps. Compiling does not check it: see `schemaProblems` and `shapeOf`. */
export class CompiledSchema {
  readonly #schema: boolean | object;
  readonly #first: ValidateFunction;
  #all: ValidateFunction | null = null;

  /** @throws PatternError, or an error of the compiler */
  constructor(schema: boolean | object) {
    this.#schema = schema;
    this.#first = firstOnly.compile(schema);
  }

  /** @throws StepLimitError, or RangeError when the schema goes round in circles */
  violations(json: Json): readonly FieldProblem[] {
    const found = this.#errorsOf(this.#first, json);
    if (found.length === 0) return [];
    this.#all ??= everything.compile(this.#schema);
    return problemsOf(this.#allErrors(json, this.#all) ?? found, 'value');
  }

  /** Null when they are too many: the bound is one of errors, not of findings. */
  #allErrors(json: Json, all: ValidateFunction): readonly ErrorObject[] | null {
    try {
      return this.#errorsOf(all, json);
    } catch (error) {
      if (error instanceof TooManyErrors) return null;
      throw error;
    }
  }

  #errorsOf(validate: ValidateFunction, json: Json): readonly ErrorObject[] {
    const isValid = meter.run(SCHEMA_STEPS_MAX, () => validate(json));
    const errors = validate.errors ?? [];
    // Compiled code keeps what it found last.
    validate.errors = null;
    return isValid ? [] : errors;
  }
}

/** Where the schema is none of draft 2020-12. */
export function schemaProblems(schema: boolean | object): readonly FieldProblem[] {
  metaSchema ??= new Ajv2020({ strict: false, validateFormats: false, logger: false });
  const isValid = metaSchema.validateSchema(schema) === true;
  return isValid ? [] : problemsOf(metaSchema.errors ?? [], 'schema');
}

/** Made when it is first needed: that takes a while. */
let metaSchema: Ajv2020 | null = null;

function problemsOf(errors: readonly ErrorObject[], field: string): FieldProblem[] {
  const problems = new Map<string, FieldProblem>();
  for (const error of errors) {
    const problem = { field: `${field}${error.instancePath}`, message: messageOf(error) };
    problems.set(JSON.stringify(problem), problem);
    if (problems.size === VIOLATIONS_MAX) break;
  }
  return [...problems.values()];
}

/** Nothing of it is of the value but names of members. */
function messageOf({ keyword, message, params }: ErrorObject): string {
  const text = message ?? `breaks ${keyword}`;
  const { additionalProperty, unevaluatedProperty, allowedValues } = params as Readonly<
    Record<string, unknown>
  >;
  const name = additionalProperty ?? unevaluatedProperty;
  if (typeof name === 'string') return `${text}: ${name}`;
  if (keyword === 'enum') return `${text}: ${shortened(JSON.stringify(allowedValues))}`;
  return shortened(text);
}

function shortened(text: string): string {
  return text.length <= 500 ? text : `${text.slice(0, 500)}...`;
}

/**
 * A compiler keeps something of whatever it has compiled, so that it gives way to a new one now and then; what was
 * compiled keeps the old one.
 */
class Compiler {
  readonly #options: CompilerOptions;
  #ajv: Ajv2020 | null = null;
  #uses = 0;

  constructor(options: CompilerOptions) {
    this.#options = options;
  }

  compile(schema: boolean | object): ValidateFunction {
    this.#uses += 1;
    if (this.#uses % USES_MAX === 0) this.#ajv = null;
    this.#ajv ??= makeAjv(this.#options);
    return this.#ajv.compile(schema);
  }
}

interface CompilerOptions {
  readonly allErrors: boolean;
  readonly errorsMax: number;
}

function makeAjv(options: CompilerOptions): Ajv2020 {
  const ajv = new Ajv2020({
    allErrors: options.allErrors,
    // What a misspelled keyword or format would silently let through is refused.
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allowUnionTypes: true,
    // Only what a value has itself counts as its member, not what every object inherits.
    ownProperties: true,
    // Each schema is compiled once, however often it is referred to.
    inlineRefs: false,
    validateSchema: false,
    meta: false,
    logger: false,
    code: {
      regExp: Object.assign((pattern: string) => new LinearRegex(pattern, meter), { code: 'linearRegex' }),
    },
    formats: FORMATS,
  });
  ajv.addKeyword('$anchor');
  ajv.addKeyword(costKeyword(options.errorsMax));
  for (const keyword of COMPARING) {
    ajv.removeKeyword(keyword.keyword as string);
    ajv.addKeyword({ ...keyword, errors: false });
  }
  return ajv;
}

function costKeyword(errorsMax: number): CodeKeywordDefinition {
  const look = (cost: LookCost, data: unknown, errors: number): void => {
    if (errors > errorsMax) throw new TooManyErrors();
    meter.charge(cost.steps + (sizeOf(data, cost) + errors) / PARTS_PER_STEP);
  };
  return {
    keyword: COST_KEYWORD,
    schemaType: 'object',
    code({ gen, data, schema }) {
      const call = gen.scopeValue('func', { ref: look });
      const cost = gen.scopeValue('obj', { ref: schema as LookCost });
      gen.code(_`${call}(${cost}, ${data}, ${new Name('errors')})`);
    },
  };
}

function sizeOf(data: unknown, { readsNames }: LookCost): number {
  if (typeof data === 'string' || Array.isArray(data)) return data.length;
  if (!readsNames || typeof data !== 'object' || data === null) return 0;
  return NAME_PARTS * Object.keys(data).length;
}

/**
 * In place of those of the compiler: its comparison trips over members that are named as methods of every object are,
 * and compares each item of a list with every other.
 */
const COMPARING: readonly FuncKeywordDefinition[] = [
  {
    keyword: 'const',
    error: { message: 'must be equal to constant' },
    validate: (constant: Json, data: Json) => sameJson(constant, data),
  },
  {
    keyword: 'enum',
    schemaType: 'array',
    error: {
      message: 'must be equal to one of the allowed values',
      params: ({ schemaCode }) => _`{allowedValues: ${schemaCode}}`,
    },
    validate: (allowed: readonly Json[], data: Json) => allowed.some((item) => sameJson(item, data)),
  },
  {
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    error: { message: 'must NOT have duplicate items' },
    validate: (isUnique: boolean, items: readonly Json[]) => !isUnique || areUnique(items),
  },
];

function areUnique(items: readonly Json[]): boolean {
  const seen = new Set<string>();
  for (const item of items) {
    const text = canonical(item);
    meter.charge(1 + text.length / PARTS_PER_STEP);
    if (seen.has(text)) return false;
    seen.add(text);
  }
  return true;
}

/** The same text for the same JSON, whatever the order of members. */
function canonical(json: Json): string {
  if (typeof json !== 'object' || json === null) return JSON.stringify(json);
  if (Array.isArray(json)) return `[${json.map(canonical).join()}]`;
  const members = Object.entries(json as { readonly [name: string]: Json });
  return `{${members
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
    .toSorted()
    .join()}}`;
}

const firstOnly = new Compiler({ allErrors: false, errorsMax: Number.POSITIVE_INFINITY });
const everything = new Compiler({ allErrors: true, errorsMax: ERRORS_MAX });
