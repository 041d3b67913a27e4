/** Lines kept of a run, the newest; a failing seed is replayed for more. */
const LINES_MAX = 4_000;

/**
 * What happened in a run: readable lines, and a hash over every event, by which two runs of one seed are compared.
 */
export class Trace {
  readonly #lines: string[] = [];
  readonly #now: () => number;
  readonly #print: ((line: string) => void) | null;
  #hash = 0x811c9dc5;

  constructor(options: { readonly now: () => number; readonly print?: (line: string) => void }) {
    this.#now = options.now;
    this.#print = options.print ?? null;
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** Oldest first. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  line(who: string, text: string): void {
    this.mixText(who);
    this.mixText(text);
    const line = this.#line(who, text);
    this.#print?.(line);
    this.#lines.push(line);
    if (this.#lines.length > 2 * LINES_MAX) this.#lines.splice(0, LINES_MAX);
  }

  /** A line for whoever reads the whole trace as it is made: neither kept nor part of the hash. */
  detail(who: string, text: () => string): void {
    if (this.#print === null) return;
    this.#print(this.#line(who, text()));
  }

  mix(word: number): void {
    this.#hash = Math.imul(this.#hash ^ (word | 0), 0x01000193);
    this.#hash ^= this.#hash >>> 15;
  }

  mixText(text: string): void {
    for (let i = 0; i < text.length; i++) this.mix(text.charCodeAt(i));
  }

  #line(who: string, text: string): string {
    return `${this.#now().toFixed(3).padStart(11)} ${who.padEnd(6)} ${text}`;
  }
}
