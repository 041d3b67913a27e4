import type { Json } from '../model.ts';
import { DEPTH_MAX, nameProblem, numberProblem, stringProblem } from './json-limits.ts';

/** A text cannot be read; `line` and `column` count from 1. */
export class TextProblem extends Error {
  override readonly name = 'TextProblem';
  readonly line: number;
  readonly column: number;

  constructor(message: string, place: TextPlace) {
    super(message);
    this.line = place.line;
    this.column = place.column;
  }
}

/** Both count from 1. */
export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

/** Where the character at `offset` stands. CRLF is one line end. */
export function placeOf(text: string, offset: number): TextPlace {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
    start = at + 1;
  }
  return { line, column: offset - start + 1 };
}

/**
 * Reads JSON text (RFC 8259) and changes nothing without saying so, as `JSON.parse` does: members that are there twice,
 * integers that a number does not hold exactly, numbers that become infinite or 0, half of a surrogate pair,
 * `__proto__`, and nesting beyond `DEPTH_MAX` are refused. -0 is 0.
 *
 * @throws TextProblem
 */
export function parseJsonText(text: string): Json {
  return new Reader(text).read();
}

const WHITE = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
/** Where a string goes on after characters that stand for themselves. */
const PLAIN = /[^"\\]*/y;
const LITERALS: readonly (readonly [string, Json])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Json {
    const json = this.#value(0);
    this.#skip(WHITE);
    if (this.#at < this.#text.length) throw this.#problem('there is more after the value');
    return json;
  }

  #value(depth: number): Json {
    this.#skip(WHITE);
    switch (this.#text[this.#at]) {
      case undefined:
        throw this.#problem('the text ends too early');
      case '{':
        return this.#object(depth);
      case '[':
        return this.#list(depth);
      case '"':
        return this.#string();
      default:
        return this.#scalar();
    }
  }

  #object(depth: number): Json {
    const object: Record<string, Json> = {};
    this.#open(depth);
    if (this.#take('}')) return object;
    do {
      this.#skip(WHITE);
      const start = this.#at;
      if (this.#text[start] !== '"') throw this.#problem('a member must begin with its name in quotes');
      const name = this.#string();
      const wrong = Object.hasOwn(object, name) ? 'this member is there already' : nameProblem(name);
      if (wrong !== null) throw this.#problem(wrong, start);
      if (!this.#take(':')) throw this.#problem('a colon must follow the name');
      object[name] = this.#value(depth + 1);
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#problem('a comma or } must follow');
    return object;
  }

  #list(depth: number): Json {
    const list: Json[] = [];
    this.#open(depth);
    if (this.#take(']')) return list;
    do list.push(this.#value(depth + 1));
    while (this.#take(','));
    if (!this.#take(']')) throw this.#problem('a comma or ] must follow');
    return list;
  }

  #open(depth: number): void {
    if (depth >= DEPTH_MAX) throw this.#problem(`nested deeper than ${DEPTH_MAX} levels`);
    this.#at += 1;
  }

  #string(): string {
    const start = this.#at;
    this.#at += 1;
    for (this.#skip(PLAIN); this.#text[this.#at] === '\\'; this.#skip(PLAIN)) this.#at += 2;
    if (this.#at >= this.#text.length) throw this.#problem('the string does not end', start);
    this.#at += 1;
    const string = unquote(this.#text.slice(start, this.#at));
    if (string === null) throw this.#problem('the string holds a bad escape or control character', start);
    const wrong = stringProblem(string);
    if (wrong !== null) throw this.#problem(`the string ${wrong}`, start);
    return string;
  }

  #scalar(): Json {
    for (const [word, json] of LITERALS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return json;
    }
    return this.#number();
  }

  #number(): number {
    const start = this.#at;
    NUMBER.lastIndex = start;
    const match = NUMBER.exec(this.#text);
    if (match === null) throw this.#problem('no JSON value begins here');
    const [literal, fraction, exponent] = match;
    this.#at = NUMBER.lastIndex;
    const wrong = literalProblem(literal, { isWhole: fraction === undefined && exponent === undefined });
    if (wrong !== null) throw this.#problem(`the number ${wrong}`, start);
    // Adding 0 makes 0 of -0.
    return Number(literal) + 0;
  }

  /** Goes past the white space and the character, if that is what comes. */
  #take(character: string): boolean {
    this.#skip(WHITE);
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #skip(what: RegExp): void {
    what.lastIndex = this.#at;
    if (what.test(this.#text)) this.#at = what.lastIndex;
  }

  #problem(message: string, at = this.#at): TextProblem {
    return new TextProblem(message, placeOf(this.#text, Math.min(at, this.#text.length)));
  }
}

/** Why a number's text cannot be kept, or null. `isWhole`: it has neither fraction nor exponent. */
export function literalProblem(literal: string, { isWhole }: { readonly isWhole: boolean }): string | null {
  const value = Number(literal);
  if (isWhole && !Number.isSafeInteger(value)) {
    return 'is beyond 2^53 - 1 and would lose digits; keep it as a string';
  }
  if (value === 0 && /[1-9]/.test(literal.split(/[eE]/, 1)[0]!)) return 'is too small to be told from 0';
  return numberProblem(value);
}

function unquote(token: string): string | null {
  if (!NEEDS_CARE.test(token)) return token.slice(1, -1);
  try {
    return JSON.parse(token) as string;
  } catch {
    return null;
  }
}

// oxlint-disable-next-line no-control-regex
const NEEDS_CARE = /[\\\u0000-\u001f]/;
