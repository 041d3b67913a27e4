import { type Pair, parseLines, stringify } from 'dot-properties';
import type { Json } from '../model.ts';
import { stringProblem } from '../values/json-limits.ts';
import { subtypeOf, textOf } from '../values/value-types.ts';
import {
  lengthProblem,
  type ParsedSet,
  type PrintedSet,
  SetBuilder,
  withoutByteOrderMark,
} from './parsed-set.ts';

/** Values from a Java properties file. */
export function parsePropertiesSet(text: string): ParsedSet {
  const tooLong = lengthProblem(text);
  if (tooLong !== null) return tooLong;
  const source = withoutByteOrderMark(text);
  const builder = new SetBuilder();
  const lineAt = lineCounter(source);
  for (const node of parseLines(source, true)) {
    if (node.type !== 'PAIR') continue;
    const { key, value, range } = node as Required<Pair>;
    const line = lineAt(range[0]);
    const problem = problemOf(key, { value, source: source.slice(range[0], range[3]) });
    if (problem !== null) builder.refuse(line, problem);
    else builder.add({ key, line, value: { type: 'text', text: value } });
  }
  return builder.build();
}

function problemOf(
  key: string,
  { value, source }: { readonly value: string; readonly source: string },
): string | null {
  if (key === '') return 'the key is missing';
  if (source.includes('\\u') && hasBadEscape(source)) return 'an escape \\u needs four digits';
  return stringProblem(key) ?? stringProblem(value);
}

/** Java refuses an escape that is cut short; each other one is passed over as a whole. */
function hasBadEscape(source: string): boolean {
  for (let at = source.indexOf('\\'); at !== -1; at = source.indexOf('\\', at + 2)) {
    if (source[at + 1] === 'u' && !/^[0-9a-fA-F]{4}$/.test(source.slice(at + 2, at + 6))) return true;
  }
  return false;
}

/** Lines of offsets that only grow. */
function lineCounter(source: string): (offset: number) => number {
  let line = 1;
  let at = 0;
  return (offset) => {
    for (; at < offset; at++) {
      const isEnd = source[at] === '\n' || (source[at] === '\r' && source[at + 1] !== '\n');
      if (isEnd) line += 1;
    }
    return line;
  };
}

/** Strings as they are, everything else as JSON; in ASCII, as Java has always read it. */
export function printPropertiesSet(values: ReadonlyMap<string, Json>): PrintedSet {
  const good = [...values].filter(([key]) => key !== '');
  const pairs = good.map(([key, json]) => [key, textOf(json, subtypeOf(json))]);
  const lines = stringify(pairs, { keySep: '=', lineWidth: null, latin1: true });
  const text = lines.replaceAll(
    /[^\n\u0020-\u007e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const problems = values.has('') ? [{ key: '', message: 'is empty' }] : [];
  return { text: pairs.length === 0 ? '' : `${text}\n`, problems };
}
