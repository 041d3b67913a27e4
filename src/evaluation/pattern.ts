import { RE2JS } from 're2js';
import { PATTERN_INPUT_LENGTH_MAX, PATTERN_MEMORY_LENGTH } from './limits.ts';

/** A regular expression of RE2's syntax, in time linear in the text however it is written. */
export class Pattern {
  readonly #compiled: RE2JS;
  /** Since it has forgotten what it learnt last. */
  #testedLength = 0;

  /** @throws Error for what is no regular expression of RE2 */
  constructor(source: string) {
    this.#compiled = RE2JS.compile(source);
  }

  /** How large it is once its repetitions are written out. */
  get instructions(): number {
    return this.#compiled.programSize();
  }

  /** Whether it is found anywhere in the text. One that is too long does not match: linear is not free. */
  matches(text: string): boolean {
    if (text.length > PATTERN_INPUT_LENGTH_MAX) return false;
    this.#testedLength += text.length;
    if (this.#testedLength > PATTERN_MEMORY_LENGTH) {
      this.#compiled.reset();
      this.#testedLength = text.length;
    }
    return this.#compiled.test(text);
  }
}
