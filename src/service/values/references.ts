import type { Json } from '../model.ts';
import { isObject, pointerToken } from './json-limits.ts';
import { textOf } from './value-types.ts';

/** Characters of a value once its references are filled in. */
export const RESOLVED_LENGTH_MAX: number = 512 * 1024;
/** References that lead to one another in a row. */
export const REFERENCE_DEPTH_MAX = 32;

/** Further ones are not told. */
const PROBLEMS_MAX = 100;

/** Why a reference could not be filled in; it stays as it is. */
export interface ReferenceProblem {
  readonly type: 'unknown' | 'cycle' | 'too-deep' | 'too-large';
  /** Where in the value, as a JSON pointer. */
  readonly pointer: string;
  /** What it refers to: of a cycle, the key that was met again. */
  readonly key: string;
  readonly message: string;
}

export interface Resolved {
  readonly json: Json;
  readonly problems: readonly ReferenceProblem[];
}

/**
 * `${other.key}` in a string stands for the value of that key, `$${` for `${` itself. What is no key between the braces
 * is left alone: it may be another program's business.
 */
const REFERENCE = /\$\$\{|\$\{([\p{L}\p{N}_](?:[\p{L}\p{N}_./-]{0,253}[\p{L}\p{N}_])?)\}/gu;

/** The keys that the value's strings refer to, each once, in order. Names of members are none. */
export function referencesOf(json: Json): string[] {
  const keys = new Set<string>();
  const visit = (part: Json): void => {
    if (typeof part === 'string') {
      for (const [, key] of part.matchAll(REFERENCE)) if (key !== undefined) keys.add(key);
    } else if (typeof part === 'object' && part !== null) {
      for (const inner of Object.values(part)) visit(inner as Json);
    }
  };
  visit(json);
  return [...keys];
}

/** The text as it must be written to be taken as it is. */
export function escapeReferences(text: string): string {
  return text.replaceAll('${', '$$${');
}

/**
 * The value with its references filled in: by the text of a string, by the JSON of anything else. What they lead to is
 * resolved as well.
 *
 * @param lookup the value of a key of the same application and environment as it is stored; undefined = there is none
 */
export function resolve(json: Json, lookup: (key: string) => Json | undefined): Resolved {
  const resolver = new Resolver(lookup);
  const result = resolver.value(json, { pointer: '', filled: 0 });
  return { json: result, problems: resolver.problems };
}

/** Where references are being filled in. */
interface Place {
  /** Of the value that was asked for. */
  readonly pointer: string;
  /** Characters that were filled in so far, in this value as a whole. */
  filled: number;
}

class Resolver {
  readonly problems: ReferenceProblem[] = [];
  readonly #lookup: (key: string) => Json | undefined;
  /** Keys that are being resolved, from the outermost in. */
  readonly #open = new Set<string>();
  /** Each key is resolved once, whatever comes out. */
  readonly #texts = new Map<string, string>();

  constructor(lookup: (key: string) => Json | undefined) {
    this.#lookup = lookup;
  }

  value(json: Json, place: Place): Json {
    if (typeof json === 'string') return this.#string(json, place);
    if (typeof json !== 'object' || json === null) return json;
    if (!isObject(json)) return json.map((item, at) => this.#part(item, { name: String(at), place }));
    const members = Object.entries(json);
    return Object.fromEntries(
      members.map(([name, member]) => [name, this.#part(member, { name: pointerToken(name), place })]),
    );
  }

  #part(json: Json, { name, place }: { readonly name: string; readonly place: Place }): Json {
    // Of a value that is referred to, the places are not those of the one that was asked for.
    if (this.#open.size > 0) return this.value(json, place);
    const inner = { pointer: `${place.pointer}/${name}`, filled: place.filled };
    const result = this.value(json, inner);
    place.filled = inner.filled;
    return result;
  }

  #string(text: string, place: Place): string {
    if (!text.includes('${')) return text;
    return text.replace(REFERENCE, (whole: string, key: string | undefined) =>
      key === undefined ? '${' : (this.#filled(key, place) ?? whole),
    );
  }

  #filled(key: string, place: Place): string | null {
    const text = place.filled > RESOLVED_LENGTH_MAX ? '' : this.#textOf(key, place.pointer);
    if (text === null) return null;
    place.filled += text.length;
    if (place.filled <= RESOLVED_LENGTH_MAX) return text;
    return this.#refuse({
      type: 'too-large',
      pointer: place.pointer,
      key,
      message: 'the value becomes too large',
    });
  }

  #textOf(key: string, pointer: string): string | null {
    if (this.#open.has(key)) {
      const open = [...this.#open];
      const message = `${[...open.slice(open.indexOf(key)), key].join(' -> ')} goes round in a circle`;
      return this.#refuse({ type: 'cycle', pointer, key, message });
    }
    if (this.#open.size === REFERENCE_DEPTH_MAX) {
      const message = `more than ${REFERENCE_DEPTH_MAX} references follow one another`;
      return this.#refuse({ type: 'too-deep', pointer, key, message });
    }
    const known = this.#texts.get(key);
    if (known !== undefined) return known;
    const json = this.#lookup(key);
    if (json === undefined) {
      return this.#refuse({ type: 'unknown', pointer, key, message: `there is no key "${key}"` });
    }
    this.#open.add(key);
    const text = textOf(this.value(json, { pointer, filled: 0 }), 'string');
    this.#open.delete(key);
    this.#texts.set(key, text);
    return text;
  }

  #refuse(problem: ReferenceProblem): null {
    const isKnown = this.problems.some(
      ({ type, pointer, key }) => type === problem.type && pointer === problem.pointer && key === problem.key,
    );
    if (!isKnown && this.problems.length < PROBLEMS_MAX) this.problems.push(problem);
    return null;
  }
}
