import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  parseAllDocuments,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import type { Json } from '../model.ts';
import { DEPTH_MAX, nameProblem, numberProblem, stringProblem } from './json-limits.ts';
import { literalProblem, placeOf, TextProblem } from './json-text.ts';

/** Characters of one text: reading YAML takes longer than reading JSON. */
export const YAML_LENGTH_MAX: number = 2 * 1024 * 1024;

/**
 * Reads YAML 1.2 as far as it is JSON, and changes nothing without saying so. Refused are anchors, aliases, tags, merge
 * keys, directives and several documents; names that are there twice; numbers that would lose digits; and what YAML 1.1
 * reads as something else: `yes`, `0777`, `1_000` and `12:30` must be quoted, or written as what they are.
 *
 * @throws TextProblem
 */
export function parseYamlText(text: string): Json {
  if (text.length > YAML_LENGTH_MAX) {
    throw new TextProblem(`longer than ${YAML_LENGTH_MAX.toLocaleString('en')} characters`, placeOf(text, 0));
  }
  return new Reader(text).read();
}

class Reader {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Json {
    const [document, second] = this.#documents();
    if (document === undefined) return null;
    if (second !== undefined) throw this.#problem('there is more than one document', second.range[0]);
    const [wrong] = [...document.errors, ...document.warnings];
    if (wrong !== undefined) throw this.#problem(wrong.message, wrong.pos[0]);
    if (/^%/m.test(this.#text.slice(0, document.range[0]))) throw this.#problem('there is a directive', 0);
    return document.contents === null ? null : this.#json(document.contents, 0);
  }

  /** What is too deep for the parser is too deep for us. */
  #documents(): readonly Document.Parsed[] {
    try {
      const found = parseAllDocuments(this.#text, OPTIONS);
      return 'empty' in found ? [] : found;
    } catch (error) {
      if (error instanceof RangeError) throw this.#problem(TOO_DEEP, 0);
      throw error;
    }
  }

  #json(node: Node, depth: number): Json {
    const at = node.range?.[0] ?? 0;
    if (isAlias(node)) throw this.#problem('aliases are not taken', at);
    if ('anchor' in node && node.anchor !== undefined) throw this.#problem('anchors are not taken', at);
    if (node.tag !== undefined) throw this.#problem('tags are not taken', at);
    if (isScalar(node)) return this.#scalar(node, at);
    if (depth >= DEPTH_MAX) throw this.#problem(TOO_DEEP, at);
    if (isSeq(node)) return node.items.map((item) => (isNode(item) ? this.#json(item, depth + 1) : null));
    if (isMap(node)) return this.#members(node, depth);
    throw this.#problem('is no JSON', at);
  }

  #members(map: YAMLMap, depth: number): Json {
    const members = new Map<string, Json>();
    for (const { key, value } of map.items) {
      const name = this.#name(key, map);
      const problem = members.has(name) ? `the name "${name}" is there already` : nameProblem(name);
      if (problem !== null) throw this.#problem(problem, (key as Node).range?.[0] ?? 0);
      members.set(name, isNode(value) ? this.#json(value, depth + 1) : null);
    }
    return Object.fromEntries(members);
  }

  /** A name is its text, whatever else it might mean as a value. */
  #name(key: unknown, map: YAMLMap): string {
    const at = (isNode(key) ? key.range?.[0] : undefined) ?? map.range?.[0] ?? 0;
    if (!isScalar(key) || key.anchor !== undefined || key.tag !== undefined) {
      throw this.#problem('a name must be plain text', at);
    }
    if (key.type !== 'PLAIN') return typeof key.value === 'string' ? key.value : (key.source ?? '');
    const name = key.source ?? '';
    if (name === '' || name === '<<') throw this.#problem('a name is missing, or a merge key', at);
    return name;
  }

  #scalar(scalar: Scalar, at: number): Json {
    const { value, source = '', type } = scalar;
    if (type === 'PLAIN' && OTHERWISE_IN_1_1.test(source)) {
      throw this.#problem(
        `${source} means something else in YAML 1.1: quote it, or write it another way`,
        at,
      );
    }
    if (value === null || typeof value === 'boolean') return value;
    if (typeof value === 'string') {
      const problem = stringProblem(value);
      if (problem !== null) throw this.#problem(problem, at);
      return value;
    }
    const number = Number(value);
    const problem =
      numberProblem(number) ??
      (/^[-+.\deE]+$/.test(source) ? literalProblem(source, { isWhole: typeof value === 'bigint' }) : null);
    if (problem !== null) throw this.#problem(`the number ${problem}`, at);
    return number + 0;
  }

  #problem(message: string, offset: number): TextProblem {
    return new TextProblem(message, placeOf(this.#text, offset));
  }
}

const TOO_DEEP = `nested deeper than ${DEPTH_MAX} levels`;
const OPTIONS = {
  version: '1.2',
  schema: 'core',
  // The parser compares each name with every other; names are compared here.
  uniqueKeys: false,
  intAsBigInt: true,
  merge: false,
  prettyErrors: false,
  stringKeys: false,
  logLevel: 'silent',
} as const;

/** Booleans, octal and binary numbers, digits set apart, and numbers to the base of 60. */
const OTHERWISE_IN_1_1 =
  /^(?:y|n|yes|no|on|off|[-+]?0\d+|[-+]?0o[0-7]+|[-+]?0b[01_]+|[-+]?\d[\d_]*_[\d_]*(?:\.[\d_]*)?|0x[\da-f_]*_[\da-f_]*|[-+]?\d+(?::[0-5]?\d)+(?:\.\d*)?)$/i;

/** The value as YAML that both YAML 1.1 and 1.2 read as this value: strings are plain only where nobody can err. */
export function printYamlText(json: Json): string {
  return `${block(json, '').trimStart()}\n`;
}

/** With what goes before it: a space, or a line end. */
function block(json: Json, indent: string): string {
  if (typeof json === 'object' && json !== null) {
    const inner = `${indent}  `;
    if (Array.isArray(json)) {
      if (json.length === 0) return ' []';
      return json.map((item: Json) => `\n${indent}-${block(item, inner)}`).join('');
    }
    const members = Object.entries(json as { readonly [name: string]: Json });
    if (members.length === 0) return ' {}';
    return members.map(([name, item]) => `\n${indent}${stringText(name)}:${block(item, inner)}`).join('');
  }
  return ` ${typeof json === 'string' ? stringText(json) : numberText(json)}`;
}

/** 1.1 knows an exponent only after a point. */
function numberText(scalar: number | boolean | null): string {
  const text = JSON.stringify(scalar);
  return /^-?\d+e/.test(text) ? text.replace('e', '.0e') : text;
}

const PLAIN = /^[A-Za-z_][A-Za-z0-9_./-]*$/;
const RESERVED = /^(?:y|n|yes|no|on|off|true|false|null)$/i;
/** What YAML does not let stand, or readers may take for something else. */
const UNSAFE = /[\u007f-\u00a0\u2028\u2029\ufeff\ufffe\uffff]/g;

function stringText(text: string): string {
  if (PLAIN.test(text) && !RESERVED.test(text)) return text;
  return JSON.stringify(text).replaceAll(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
