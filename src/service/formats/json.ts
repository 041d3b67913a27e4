import type { Json } from '../model.ts';
import { parseJsonText, TextProblem } from '../values/json-text.ts';
import { lengthProblem, type ParsedSet, type PrintedSet, withoutByteOrderMark } from './parsed-set.ts';
import { entriesOf, objectOf, type Shape } from './tree.ts';

/** Values from JSON: an object, its members named by the keys or nested at their dots. */
export function parseJsonSet(
  text: string,
  options: { readonly shape: Shape; readonly isWhole: (key: string) => boolean },
): ParsedSet {
  const tooLong = lengthProblem(text);
  if (tooLong !== null) return tooLong;
  try {
    return entriesOf(parseJsonText(withoutByteOrderMark(text)), options);
  } catch (error) {
    if (!(error instanceof TextProblem)) throw error;
    return {
      entries: [],
      problems: [{ line: error.line, message: `column ${error.column}: ${error.message}` }],
    };
  }
}

export function printJsonSet(values: ReadonlyMap<string, Json>, shape: Shape): PrintedSet {
  const { json, problems } = objectOf(values, shape);
  return { text: `${JSON.stringify(json, null, 2)}\n`, problems };
}
