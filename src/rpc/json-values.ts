/**
 * JSON values one after the other in one text that comes in pieces, as streams over HTTP send them. What is between
 * them is white space; whether a value is well-formed is its reader's affair.
 */
export class JsonValues {
  readonly #charactersMax: number;
  /** The pieces of the value that has begun and is not complete. */
  #held: string[] = [];
  #heldCharacters = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #inScalar = false;

  /** @param charactersMax of one value; `overflowed` is true beyond it */
  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax;
  }

  /** A value has begun and is not complete. */
  get pending(): boolean {
    return this.#held.length > 0;
  }

  /** Characters of the value that has begun and is not complete. */
  get heldCharacters(): number {
    return this.#heldCharacters;
  }

  get overflowed(): boolean {
    return this.#heldCharacters > this.#charactersMax;
  }

  /** Takes the next piece of text and returns the values that are now complete. */
  push(text: string): string[] {
    const values: string[] = [];
    let start = this.#hasBegun ? 0 : -1;
    let backslash = -1;
    for (let at = 0; at < text.length; at++) {
      if (this.#inString && !this.#escaped) {
        // Most of a large request is in its texts, where nothing counts but what may end them.
        if (backslash < at) backslash = placeOf(text, '\\', at);
        at = Math.min(placeOf(text, '"', at), backslash);
        if (at === text.length) break;
      }
      const character = text.charCodeAt(at);
      if (!this.#hasBegun) {
        if (isSpace(character)) continue;
        start = at;
      } else if (this.#inScalar && isSpace(character)) {
        values.push(this.#complete(text.slice(start, at)));
        start = -1;
        continue;
      }
      if (this.#endsWith(character)) {
        values.push(this.#complete(text.slice(start, at + 1)));
        start = -1;
      }
    }
    if (start >= 0) this.#hold(text.slice(start));
    return values;
  }

  /** The text is over: a number or word at its end is complete now. */
  end(): string[] {
    return this.#inScalar ? [this.#complete('')] : [];
  }

  get #hasBegun(): boolean {
    return this.#depth > 0 || this.#inString || this.#inScalar;
  }

  /** Whether this character ends a value. */
  #endsWith(character: number): boolean {
    if (this.#inString) return this.#endsString(character);
    switch (character) {
      case QUOTE:
        this.#inString = true;
        return false;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        this.#depth += 1;
        this.#inScalar = false;
        return false;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        // One too many ends the value, too: its reader will find it malformed.
        this.#depth = Math.max(0, this.#depth - 1);
        return this.#depth === 0;
      default:
        if (this.#depth === 0) this.#inScalar = true;
        return false;
    }
  }

  #endsString(character: number): boolean {
    if (this.#escaped) this.#escaped = false;
    else if (character === BACKSLASH) this.#escaped = true;
    else if (character === QUOTE) {
      this.#inString = false;
      return this.#depth === 0 && !this.#inScalar;
    }
    return false;
  }

  #hold(text: string): void {
    this.#held.push(text);
    this.#heldCharacters += text.length;
  }

  #complete(text: string): string {
    this.#hold(text);
    const value = this.#held.join('');
    this.#held = [];
    this.#heldCharacters = 0;
    this.#depth = 0;
    this.#inScalar = false;
    return value;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Where a character is next, or the text's end. */
function placeOf(text: string, character: string, from: number): number {
  const at = text.indexOf(character, from);
  return at === -1 ? text.length : at;
}

function isSpace(character: number): boolean {
  return character === 0x20 || character === 0x0a || character === 0x0d || character === 0x09;
}
