import type { Json } from '../model.ts';

/** Values within values beyond this are refused. */
export const DEPTH_MAX = 100;

/**
 * A member of this name is refused wherever values come in: too many programs that read it take it for something else
 * (the prototype of what they build).
 */
export const FORBIDDEN_NAME = '__proto__';

/**
 * From here on a number is printed with an exponent. Below it, and beyond 2^53, a number may stand for an integer that
 * it does not hold exactly: those are refused, never rounded.
 */
const EXPONENT_MIN = 1e21;

/** Half of a character: it cannot be written in UTF-8. */
const LONE_SURROGATE = /[\ud800-\udfff]/u;

/** Why the number cannot be kept as it is, or null when it can. */
export function numberProblem(value: number): string | null {
  if (!Number.isFinite(value)) return 'must be a finite number';
  const size = Math.abs(value);
  if (size <= Number.MAX_SAFE_INTEGER || size >= EXPONENT_MIN) return null;
  return 'is beyond 2^53 - 1 and would lose digits; keep it as a string';
}

/** Why the string cannot be kept as it is, or null when it can. */
export function stringProblem(value: string): string | null {
  return LONE_SURROGATE.test(value) ? 'holds half of a surrogate pair, which is no text' : null;
}

/** Why a member cannot have this name, or null when it can. */
export function nameProblem(name: string): string | null {
  return name === FORBIDDEN_NAME ? `a member must not be named ${FORBIDDEN_NAME}` : stringProblem(name);
}

/** Where something in a value is wrong, as a JSON pointer, and why. */
export interface JsonProblem {
  readonly pointer: string;
  readonly message: string;
}

/**
 * The first thing in what a caller handed over that JSON could not keep as it is: NaN, a lossy integer, half a
 * character, a forbidden name, something that is no JSON at all, or nesting beyond `DEPTH_MAX`.
 */
export function jsonProblem(value: unknown, depth = 0): JsonProblem | null {
  switch (typeof value) {
    case 'boolean':
      return null;
    case 'number':
      return here(numberProblem(value));
    case 'string':
      return here(stringProblem(value));
    case 'object':
      if (value === null) return null;
      if (depth >= DEPTH_MAX) return here(`is nested deeper than ${DEPTH_MAX} levels`);
      return Array.isArray(value) ? listProblem(value, depth) : membersProblem(value, depth);
    default:
      return here(`is no JSON: ${typeof value}`);
  }
}

function listProblem(list: readonly unknown[], depth: number): JsonProblem | null {
  for (let at = 0; at < list.length; at++) {
    const problem = jsonProblem(list[at], depth + 1);
    if (problem !== null) return { ...problem, pointer: `/${at}${problem.pointer}` };
  }
  return null;
}

function membersProblem(value: object, depth: number): JsonProblem | null {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return here('is no JSON: an object of a class');
  for (const [name, member] of Object.entries(value)) {
    const wrongName = nameProblem(name);
    if (wrongName !== null) return here(wrongName);
    const problem = jsonProblem(member, depth + 1);
    if (problem !== null) return { ...problem, pointer: `/${pointerToken(name)}${problem.pointer}` };
  }
  return null;
}

function here(message: string | null): JsonProblem | null {
  return message === null ? null : { pointer: '', message };
}

/** A member's name as a part of a JSON pointer (RFC 6901). */
export function pointerToken(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** Whether JSON is an object: neither a list nor null. */
export function isObject(json: Json | undefined): json is { readonly [name: string]: Json } {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** What the object has under the name; never what it inherited. */
export function memberOf(object: { readonly [name: string]: Json }, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** Whether both say the same: members in any order, 0 and -0 alike. Bounded by the smaller of the two. */
export function sameJson(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, at) => sameJson(item, right[at]));
  }
  if (!isObject(left) || !isObject(right)) return false;
  const names = Object.keys(left);
  if (names.length !== Object.keys(right).length) return false;
  return names.every((name) => Object.hasOwn(right, name) && sameJson(left[name], right[name]));
}
