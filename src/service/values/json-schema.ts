import type { Json } from '../model.ts';
import { type FieldProblem, invalid, ServiceError } from '../service-error.ts';
import { CompiledSchema, schemaProblems } from './compiled-schema.ts';
import { parseJsonText, TextProblem } from './json-text.ts';
import { PatternError } from './linear-regex.ts';
import { shapeOf } from './schema-shape.ts';
import { StepLimitError } from './step-meter.ts';

/** Characters of one schema. */
export const SCHEMA_LENGTH_MAX: number = 64 * 1024;
/** Characters of all schemas that are kept compiled, and how many they may be. */
const KEPT_LENGTH_MAX = 4 * 1024 * 1024;
const KEPT_MAX = 1_000;

/** What shows that a schema never ends, on any kind of value. */
const SAMPLES: readonly Json[] = [null, true, 0, '', [], {}, [[]], { a: {} }];

/**
 * Whether the text is a JSON Schema of draft 2020-12 that the service can use: its keywords and formats known, its
 * references within itself, its patterns in RE2's syntax, and its size within bounds.
 *
 * @throws ServiceError `invalid` or `too-large`, about the field `schema` or a place in it
 */
export function checkSchema(text: string): void {
  const compiled = compiledOf(text);
  try {
    for (const sample of SAMPLES) compiled.violations(sample);
  } catch (error) {
    throw unusable(stopped(error, 'refers to itself without end'));
  }
}

/**
 * Where the value breaks the schema; empty = nowhere. At most 20 are told. Formats are asserted.
 *
 * @param schema its text, which `checkSchema` has accepted; else that is the only finding, about `schema`
 */
export function violations(schema: string, json: Json): readonly FieldProblem[] {
  try {
    return compiledOf(schema).violations(json);
  } catch (error) {
    if (error instanceof ServiceError) return error.problems;
    return [stopped(error, 'takes too long to check against this value')];
  }
}

/** The newest used come last. */
const kept = new Map<string, CompiledSchema>();
let keptLength = 0;

function compiledOf(text: string): CompiledSchema {
  const known = kept.get(text);
  const compiled = known ?? compile(text);
  if (known === undefined) keptLength += text.length;
  else kept.delete(text);
  kept.set(text, compiled);
  for (const [oldest] of kept) {
    if (keptLength <= KEPT_LENGTH_MAX && kept.size <= KEPT_MAX) break;
    kept.delete(oldest);
    keptLength -= oldest.length;
  }
  return compiled;
}

function compile(text: string): CompiledSchema {
  const schema = parse(text);
  const shape = shapeOf(schema);
  if (shape.type === 'bad') throw unusable(...shape.problems);
  const wrong = schemaProblems(shape.schema as boolean | object);
  if (wrong.length > 0) throw unusable(...wrong);
  try {
    return new CompiledSchema(shape.schema as boolean | object);
  } catch (error) {
    throw unusable({ field: 'schema', message: compileMessage(error) });
  }
}

function parse(text: string): Json {
  if (text.length > SCHEMA_LENGTH_MAX) {
    const message = `is longer than ${SCHEMA_LENGTH_MAX.toLocaleString('en')} characters`;
    throw new ServiceError('too-large', `schema: ${message}`, { problems: [{ field: 'schema', message }] });
  }
  try {
    return parseJsonText(text);
  } catch (error) {
    if (!(error instanceof TextProblem)) throw error;
    const message = `is no JSON: line ${error.line}, column ${error.column}: ${error.message}`;
    throw unusable({ field: 'schema', message });
  }
}

/** The compiler knows what is wrong with a schema in words of its own. */
function compileMessage(error: unknown): string {
  if (error instanceof PatternError) return `a pattern cannot be used: ${error.message}`;
  return `cannot be used: ${error instanceof Error ? error.message : String(error)}`;
}

function stopped(error: unknown, message: string): FieldProblem {
  // Recursion on one and the same value uses the stack up before it uses the steps up.
  if (error instanceof StepLimitError || error instanceof RangeError) return { field: 'schema', message };
  throw error;
}

function unusable(...problems: readonly FieldProblem[]): ServiceError {
  return invalid(...problems);
}
