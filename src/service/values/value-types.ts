import type { Json, ValueType } from '../model.ts';
import { type FieldProblem, invalid, ServiceError } from '../service-error.ts';
import { jsonProblem } from './json-limits.ts';
import { literalProblem, parseJsonText, TextProblem } from './json-text.ts';

export { subtypeOf } from '../../config-format/values.ts';

/** Bytes of one value as JSON text. */
export const VALUE_BYTES_MAX: number = 512 * 1024;

/**
 * A value from text, as the dialects have it that know text only. Strings and secrets are the text itself, numbers and
 * booleans what JSON has for them, without white space around; `json` is any JSON and `array` a list.
 *
 * @throws ServiceError `invalid` or `too-large`, about the field `value`
 */
export function parseText(text: string, type: ValueType): Json {
  if (text.length > VALUE_BYTES_MAX) throw tooLarge();
  return parseJson(jsonOfText(text, type), type);
}

function jsonOfText(text: string, type: ValueType): Json {
  switch (type) {
    case 'string':
    case 'secret':
      return text;
    case 'boolean':
      if (text === 'true' || text === 'false') return text === 'true';
      throw wrong('must be true or false');
    case 'integer':
      return numberOf(text, { pattern: INTEGER, otherwise: 'must be an integer' });
    case 'float':
      return numberOf(text, { pattern: FLOAT, otherwise: 'must be a number' });
    case 'json':
    case 'array':
      return jsonOf(text);
  }
}

/** Without needless zeros, which would be lost. */
const INTEGER = /^-?(?:0|[1-9]\d*)$/;
const FLOAT = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function numberOf(
  text: string,
  { pattern, otherwise }: { readonly pattern: RegExp; readonly otherwise: string },
): number {
  if (!pattern.test(text)) throw wrong(otherwise);
  const problem = literalProblem(text, { isWhole: INTEGER.test(text) });
  if (problem !== null) throw wrong(problem);
  return Number(text) + 0;
}

function jsonOf(text: string): Json {
  try {
    return parseJsonText(text);
  } catch (error) {
    if (!(error instanceof TextProblem)) throw error;
    throw wrong(`is no JSON: line ${error.line}, column ${error.column}: ${error.message}`);
  }
}

/**
 * A value of the type, as it came in JSON: nothing is converted. Where a body was read by `JSON.parse`, integers beyond
 * 2^53 may have been changed before; below 1e21 they are refused, and `parseJsonText` refuses all of them.
 *
 * @throws ServiceError `invalid` or `too-large`, about the field `value` or what is wrong in it
 */
export function parseJson(json: Json, type: ValueType): Json {
  const problem = jsonProblem(json);
  if (problem !== null) throw wrong(problem.message, `value${problem.pointer}`);
  if (!isOfType(json, type)) throw wrong(`must be ${NAMES[type]}`);
  if (bytesOf(json) > VALUE_BYTES_MAX) throw tooLarge();
  return json === 0 ? 0 : json;
}

const NAMES: Readonly<Record<ValueType, string>> = {
  string: 'a string',
  integer: 'an integer',
  float: 'a number',
  boolean: 'true or false',
  json: 'JSON',
  array: 'a list',
  secret: 'JSON',
};

function isOfType(json: Json, type: ValueType): boolean {
  switch (type) {
    case 'string':
      return typeof json === 'string';
    case 'integer':
      return Number.isSafeInteger(json);
    case 'float':
      return typeof json === 'number';
    case 'boolean':
      return typeof json === 'boolean';
    case 'array':
      return Array.isArray(json);
    case 'json':
    case 'secret':
      return true;
  }
}

/**
 * The finest type of a text where a dialect knows only that it is a number, or JSON. What is neither, `parseText`
 * refuses.
 */
export function typeOfText(text: string, coarse: 'number' | 'json'): 'integer' | 'float' | 'array' | 'json' {
  if (coarse === 'number') return INTEGER.test(text) ? 'integer' : 'float';
  return /^\s*\[/.test(text) ? 'array' : 'json';
}

/** Bytes of the value as JSON text in UTF-8. */
export function bytesOf(json: Json): number {
  return Buffer.byteLength(JSON.stringify(json));
}

/** The value as text: strings, and secrets that are strings, bare; everything else as JSON. `parseText` reads it. */
export function textOf(json: Json, type: ValueType): string {
  const isBare = typeof json === 'string' && type !== 'json';
  return isBare ? json : JSON.stringify(json);
}

/**
 * The value that a text means where no type is given: true, false, an integer or number written as JSON would write it,
 * a list or an object, else a string.
 */
export function guessText(text: string): Json {
  if (text === 'true' || text === 'false') return text === 'true';
  if (FLOAT.test(text)) return isExact(text) ? Number(text) : text;
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return parseJsonText(text);
  } catch (error) {
    if (error instanceof TextProblem) return text;
    throw error;
  }
}

/** Whether a number says all that its text says. */
function isExact(text: string): boolean {
  return String(Number(text)) === text && literalProblem(text, { isWhole: INTEGER.test(text) }) === null;
}

function wrong(message: string, field = 'value'): ServiceError {
  return invalid({ field, message });
}

function tooLarge(): ServiceError {
  const problem: FieldProblem = { field: 'value', message: `is larger than ${VALUE_BYTES_MAX / 1024} KiB` };
  return new ServiceError('too-large', `${problem.field}: ${problem.message}`, { problems: [problem] });
}
