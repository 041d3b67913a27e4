import type { Json } from '../model.ts';
import { TextProblem } from '../values/json-text.ts';
import { parseYamlText, printYamlText } from '../values/yaml-text.ts';
import { lengthProblem, type ParsedSet, type PrintedSet, withoutByteOrderMark } from './parsed-set.ts';
import { entriesOf, objectOf, type Shape } from './tree.ts';

/** Values from YAML: a map, its members named by the keys or nested at their dots; an empty text holds none. */
export function parseYamlSet(
  text: string,
  options: { readonly shape: Shape; readonly isWhole: (key: string) => boolean },
): ParsedSet {
  const tooLong = lengthProblem(text);
  if (tooLong !== null) return tooLong;
  try {
    return entriesOf(parseYamlText(withoutByteOrderMark(text)) ?? {}, options);
  } catch (error) {
    if (!(error instanceof TextProblem)) throw error;
    return {
      entries: [],
      problems: [{ line: error.line, message: `column ${error.column}: ${error.message}` }],
    };
  }
}

export function printYamlSet(values: ReadonlyMap<string, Json>, shape: Shape): PrintedSet {
  const { json, problems } = objectOf(values, shape);
  return { text: printYamlText(json), problems };
}
