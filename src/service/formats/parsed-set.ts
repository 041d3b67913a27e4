import type { Json, ValueType } from '../model.ts';
import { guessText, parseText } from '../values/value-types.ts';

/** Characters of one text. */
export const SET_LENGTH_MAX: number = 8 * 1024 * 1024;
/** Values in one text. */
export const ENTRIES_MAX = 100_000;
/** Problems that are told of one text. */
export const PROBLEMS_MAX = 100;

/** One value of a text. Formats that know no types have text only: `valueOf` makes a value of it. */
export interface ParsedEntry {
  readonly key: string;
  /** Where it begins, from 1; null where the format has no lines of its own (JSON, YAML). */
  readonly line: number | null;
  readonly value:
    | { readonly type: 'json'; readonly json: Json }
    | { readonly type: 'text'; readonly text: string };
}

export interface LineProblem {
  /** From 1; null = the text as a whole. */
  readonly line: number | null;
  readonly message: string;
}

/** What a text holds; with problems, nothing of it should be used. */
export interface ParsedSet {
  readonly entries: readonly ParsedEntry[];
  readonly problems: readonly LineProblem[];
}

/** Values as text; what a format cannot hold is left out and told. */
export interface PrintedSet {
  readonly text: string;
  readonly problems: readonly { readonly key: string; readonly message: string }[];
}

/**
 * The value of an entry.
 *
 * @param type of the configuration; undefined = there is none yet: of text the type is guessed
 * @throws ServiceError `invalid` or `too-large` when the text is no value of the type
 */
export function valueOf({ value }: ParsedEntry, type: ValueType | undefined): Json {
  if (value.type === 'json') return value.json;
  return type === undefined ? guessText(value.text) : parseText(value.text, type);
}

/** Gathers entries and problems within bounds; a key that comes twice is a problem. */
export class SetBuilder {
  readonly #entries: ParsedEntry[] = [];
  readonly #lines = new Map<string, number | null>();
  readonly #problems: LineProblem[] = [];

  add(entry: ParsedEntry): void {
    const { key, line } = entry;
    const earlier = this.#lines.get(key);
    if (earlier !== undefined) {
      const where = earlier === null ? '' : `, in line ${earlier}`;
      this.refuse(line, `"${key}" is there already${where}`);
    } else if (this.#entries.length === ENTRIES_MAX) {
      if (this.#problems.at(-1)?.message !== TOO_MANY) this.refuse(line, TOO_MANY);
    } else {
      this.#lines.set(key, line);
      this.#entries.push(entry);
    }
  }

  refuse(line: number | null, message: string): void {
    if (this.#problems.length < PROBLEMS_MAX) this.#problems.push({ line, message });
  }

  build(): ParsedSet {
    return { entries: this.#entries, problems: this.#problems };
  }
}

const TOO_MANY = `there are more than ${ENTRIES_MAX.toLocaleString('en')} values`;

/** Why the text cannot be read at all, or null. */
export function lengthProblem(text: string): ParsedSet | null {
  if (text.length <= SET_LENGTH_MAX) return null;
  const message = `is longer than ${SET_LENGTH_MAX.toLocaleString('en')} characters`;
  return { entries: [], problems: [{ line: null, message }] };
}

/** Editors on Windows put it before the text. */
export function withoutByteOrderMark(text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}
