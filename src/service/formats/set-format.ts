import type { Json } from '../model.ts';
import { parseDotenvSet, printDotenvSet } from './dotenv.ts';
import { parseJsonSet, printJsonSet } from './json.ts';
import type { ParsedSet, PrintedSet } from './parsed-set.ts';
import { parsePropertiesSet, printPropertiesSet } from './properties.ts';
import type { Shape } from './tree.ts';
import { parseYamlSet, printYamlSet } from './yaml.ts';

/** How a set of values is written as one text. */
export type SetFormat = 'json' | 'yaml' | 'dotenv' | 'properties';

export const SET_FORMATS: readonly SetFormat[] = ['json', 'yaml', 'dotenv', 'properties'];

/** What there is already, which decides how a text is read. */
export interface KnownValues {
  readonly keys: Iterable<string>;
  /** Nested: whether the object at this key is one value, not values of longer keys. */
  readonly isWhole: (key: string) => boolean;
}

/** @param how.shape matters to JSON and YAML only */
export function parseSet(
  text: string,
  how: { readonly format: SetFormat; readonly shape: Shape },
  { keys, isWhole }: KnownValues,
): ParsedSet {
  const { shape } = how;
  switch (how.format) {
    case 'json':
      return parseJsonSet(text, { shape, isWhole });
    case 'yaml':
      return parseYamlSet(text, { shape, isWhole });
    case 'dotenv':
      return parseDotenvSet(text, keys);
    case 'properties':
      return parsePropertiesSet(text);
  }
}

/** @param how.shape matters to JSON and YAML only */
export function printSet(
  values: ReadonlyMap<string, Json>,
  { format, shape }: { readonly format: SetFormat; readonly shape: Shape },
): PrintedSet {
  switch (format) {
    case 'json':
      return printJsonSet(values, shape);
    case 'yaml':
      return printYamlSet(values, shape);
    case 'dotenv':
      return printDotenvSet(values);
    case 'properties':
      return printPropertiesSet(values);
  }
}
