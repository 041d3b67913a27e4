import { parse } from 'dotenv';
import { variableOf } from '../../config-format/variables.ts';
import type { Json } from '../model.ts';
import { subtypeOf, textOf, VALUE_BYTES_MAX } from '../values/value-types.ts';
import {
  lengthProblem,
  type ParsedSet,
  type PrintedSet,
  SetBuilder,
  withoutByteOrderMark,
} from './parsed-set.ts';

/**
 * Values from a file of environment variables, one `NAME=value` a line; in quotes a value may go over several lines.
 * Their text is what dotenv reads. `DB_POOL_MAX` is `db.pool.max` unless a known key has this variable.
 *
 * @param knownKeys of the application
 */
export function parseDotenvSet(text: string, knownKeys: Iterable<string>): ParsedSet {
  const tooLong = lengthProblem(text);
  if (tooLong !== null) return tooLong;
  const builder = new SetBuilder();
  const keys = keysByVariable(knownKeys);
  const lines = withoutByteOrderMark(text).split(/\r\n|\r|\n/);
  for (let at = 0; at < lines.length; at++) {
    if (/^\s*(?:#|$)/.test(lines[at]!)) continue;
    const statement = statementAt(lines, at);
    if (typeof statement === 'string') {
      builder.refuse(at + 1, statement);
      // Where an open quote ends nobody knows.
      if (statement === OPEN_QUOTE) break;
      continue;
    }
    const key = keyOf(statement.name, keys);
    if (key.type === 'none') builder.refuse(at + 1, key.message);
    else builder.add({ key: key.key, line: at + 1, value: { type: 'text', text: statement.value } });
    at += statement.lines - 1;
  }
  return builder.build();
}

/** Strings as they are, everything else as JSON; quoted so that dotenv reads them back. */
export function printDotenvSet(values: ReadonlyMap<string, Json>): PrintedSet {
  const problems: { readonly key: string; readonly message: string }[] = [];
  const taken = new Map<string, string>();
  const lines: string[] = [];
  for (const [key, json] of values) {
    const name = variableOf(key);
    const other = taken.get(name);
    const line = other === undefined ? lineOf(name, textOf(json, subtypeOf(json))) : null;
    if (other !== undefined) problems.push({ key, message: `has the same variable ${name} as ${other}` });
    else if (line === null) problems.push({ key, message: 'cannot be quoted so that it is read back' });
    else {
      taken.set(name, key);
      lines.push(`${line}\n`);
    }
  }
  return { text: lines.join(''), problems };
}

const STATEMENT = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=(.*)$/;
const OPEN_QUOTE = 'the quote does not end, or more follows it';
const QUOTES = ["'", '`', '"'];
/** Text that needs no quotes, and means nothing to a shell. */
const BARE = /^[\w./:@%+,-]*$/;

interface Statement {
  readonly name: string;
  readonly value: string;
  readonly lines: number;
}

/** @returns what is wrong, when it is none */
function statementAt(lines: readonly string[], at: number): Statement | string {
  const [, name, rest] = STATEMENT.exec(lines[at]!) ?? [];
  if (name === undefined || rest === undefined) return 'is not NAME=value';
  const start = rest.trimStart();
  const isQuoted = QUOTES.includes(start.charAt(0));
  const whole = isQuoted ? quotedFrom(start, { lines, next: at + 1 }) : null;
  if (isQuoted && whole === null) return OPEN_QUOTE;
  if (!isQuoted && /\S#/.test(rest)) return 'a value with # in it must be quoted';
  const source = whole ?? rest;
  if (source.length > 2 * VALUE_BYTES_MAX) return 'the value is too large';
  // A name of its own: that of the variable may be one that every object has.
  const { VALUE: value, ...others } = parse(`VALUE=${source}`);
  if (value === undefined || Object.keys(others).length > 0) return 'is no value that dotenv reads';
  return { name, value, lines: source.split('\n').length };
}

/** From its quote to the one that ends it, and the comment after that; null when there is no such end. */
function quotedFrom(
  start: string,
  { lines, next }: { readonly lines: readonly string[]; readonly next: number },
): string | null {
  const quote = start.charAt(0);
  const parts: string[] = [];
  let line: string | undefined = start;
  for (let at = next, from = 1; line !== undefined; line = lines[at], at += 1, from = 0) {
    parts.push(line);
    for (let end = line.indexOf(quote, from); end !== -1; end = line.indexOf(quote, end + 1)) {
      if (line[end - 1] === '\\') continue;
      return /^\s*(?:#.*)?$/.test(line.slice(end + 1)) ? parts.join('\n') : null;
    }
  }
  return null;
}

type KeyOf =
  | { readonly type: 'key'; readonly key: string }
  | { readonly type: 'none'; readonly message: string };

function keyOf(name: string, keys: ReadonlyMap<string, readonly string[]>): KeyOf {
  const known = keys.get(name) ?? [];
  if (known.length > 1)
    return { type: 'none', message: `${name} may be any of ${known.slice(0, 5).join(', ')}` };
  const key = known[0] ?? name.toLowerCase().replaceAll('_', '.');
  if (key.split('.').includes(''))
    return { type: 'none', message: `${name} has no key: a word of it is empty` };
  return { type: 'key', key };
}

function keysByVariable(keys: Iterable<string>): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const key of keys) {
    const name = variableOf(key);
    const known = found.get(name);
    if (known === undefined) found.set(name, [key]);
    else if (!known.includes(key)) known.push(key);
  }
  return found;
}

/** The first way to write it that is read back as it is; null = there is none. */
function lineOf(name: string, value: string): string | null {
  const doubled = value.replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  const ways = [...(BARE.test(value) ? [value] : []), `'${value}'`, `\`${value}\``, `"${doubled}"`];
  const way = ways.find((source) => {
    const lines = source.split(/\r\n|\r|\n/);
    const statement = statementAt([`${name}=${lines[0]!}`, ...lines.slice(1)], 0);
    return typeof statement !== 'string' && statement.value === value && statement.lines === lines.length;
  });
  return way === undefined || value.includes('\0') ? null : `${name}=${way}`;
}
