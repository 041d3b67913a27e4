import { RE2JS } from 're2js';
import type { StepMeter } from './step-meter.ts';

/** Characters of one pattern. */
export const PATTERN_LENGTH_MAX = 2_048;
/** Instructions of one pattern, once its repetitions are written out. */
export const PATTERN_INSTRUCTIONS_MAX = 2_000;

/** At worst each character costs a look at each instruction: so many of them are a step. */
const INSTRUCTIONS_PER_STEP = 16;
/** After longer texts what the pattern remembers of them (megabytes) is let go. */
const KEPT_TEXT_LENGTH_MAX = 1_024;

/** A pattern cannot be used; says why. */
export class PatternError extends Error {
  override readonly name = 'PatternError';
}

/**
 * A regular expression of a user, in time linear in the text however it is written: RE2's syntax, which is that of
 * JavaScript without look-around and references back.
 */
export class LinearRegex {
  readonly #pattern: string;
  readonly #compiled: RE2JS;
  readonly #meter: StepMeter;
  readonly #stepsPerCharacter: number;

  /** @throws PatternError */
  constructor(pattern: string, meter: StepMeter) {
    this.#pattern = pattern;
    this.#meter = meter;
    this.#compiled = compile(pattern);
    const instructions = this.#compiled.programSize();
    if (instructions > PATTERN_INSTRUCTIONS_MAX) throw new PatternError('its repetitions make it too large');
    this.#stepsPerCharacter = 1 + Math.floor(instructions / INSTRUCTIONS_PER_STEP);
  }

  /** Whether it matches anywhere in the text. @throws StepLimitError */
  test(text: string): boolean {
    this.#meter.charge(1 + text.length * this.#stepsPerCharacter);
    const matches = this.#compiled.test(text);
    if (text.length > KEPT_TEXT_LENGTH_MAX) this.#compiled.reset();
    return matches;
  }

  toString(): string {
    return this.#pattern;
  }
}

function compile(pattern: string): RE2JS {
  if (pattern.length > PATTERN_LENGTH_MAX) {
    throw new PatternError(`it is longer than ${PATTERN_LENGTH_MAX} characters`);
  }
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern));
  } catch (error) {
    throw new PatternError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
