import type { Format } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { parseJsonText, TextProblem } from './json-text.ts';

/** Nothing that has a format is longer; whole documents (`json`, `byte`, `binary`, `password`) may be. */
export const FORMAT_LENGTH_MAX = 2_048;

/** The formats of JSON Schema and OpenAPI, bounded; and `json`: a string that holds JSON. */
export const FORMATS: Readonly<Record<string, Format>> = {
  ...Object.fromEntries(Object.entries(fullFormats).map(([name, format]) => [name, bounded(name, format)])),
  json: isJsonText,
};

/** Their expressions backtrack in the square of the text, at worst. */
function bounded(name: string, format: Format): Format {
  if (format === true || name === 'byte') return format;
  if (typeof format === 'object' && !(format instanceof RegExp) && format.type === 'number') return format;
  const check = checkOf(format);
  return (text: string) => text.length <= FORMAT_LENGTH_MAX && check(text);
}

function checkOf(format: Format): (text: string) => boolean {
  if (typeof format === 'function') return (text) => format(text) === true;
  if (typeof format === 'string') return checkOf(new RegExp(format, 'u'));
  if (format instanceof RegExp) {
    return (text) => {
      // Those with the flag g go on where they ended.
      format.lastIndex = 0;
      return format.test(text);
    };
  }
  if (format === true) return () => true;
  return checkOf(format.validate as Format);
}

function isJsonText(text: string): boolean {
  try {
    parseJsonText(text);
    return true;
  } catch (error) {
    if (error instanceof TextProblem) return false;
    throw error;
  }
}
