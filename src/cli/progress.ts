import { SingleBar } from 'cli-progress';
import { formatBytes } from './format.ts';
import type { CliIo } from './io.ts';

/** Work that is done sooner than this shows nothing. */
const SHOWN_AFTER_MS = 1000;
/** Without a person at a terminal: a line in the log this often. */
const LINE_INTERVAL_MS = 5000;

/** How far a long operation on bytes has got, on stderr: a bar for a person, a line now and then for a log. */
export class Progress {
  readonly #io: CliIo;
  readonly #label: string;
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  readonly #format: (amount: number) => string;
  #totalBytes: number;
  #doneBytes = 0;
  #bar: SingleBar | null = null;
  #lineAtMs = Number.NEGATIVE_INFINITY;

  /** @param options `totalBytes` may be 0 while it is not known; with `format` it is of something else than bytes */
  constructor(
    io: CliIo,
    options: {
      readonly label: string;
      readonly totalBytes: number;
      readonly nowMs?: () => number;
      readonly format?: (amount: number) => string;
    },
  ) {
    this.#io = io;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#startedAtMs = this.#nowMs();
    this.#label = options.label;
    this.#format = options.format ?? formatBytes;
    this.#totalBytes = options.totalBytes;
  }

  update(doneBytes: number, totalBytes: number = this.#totalBytes): void {
    this.#doneBytes = doneBytes;
    this.#totalBytes = totalBytes;
    const elapsedMs = this.#nowMs() - this.#startedAtMs;
    if (elapsedMs < SHOWN_AFTER_MS) return;
    if (this.#io.interactive) this.#draw();
    else if (elapsedMs - this.#lineAtMs >= LINE_INTERVAL_MS) {
      this.#lineAtMs = elapsedMs;
      this.#io.err(`${this.#label}: ${this.#fraction()}\n`);
    }
  }

  /** Ends the bar; what was done stays on the screen. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #draw(): void {
    if (this.#bar === null) {
      this.#bar = new SingleBar({
        format: `${this.#label} [{bar}] {percentage}% {amount}`,
        hideCursor: true,
      });
      this.#bar.start(Math.max(this.#totalBytes, 1), 0, { amount: '' });
    }
    this.#bar.setTotal(Math.max(this.#totalBytes, this.#doneBytes, 1));
    this.#bar.update(this.#doneBytes, { amount: this.#fraction() });
  }

  #fraction(): string {
    const done = this.#format(this.#doneBytes);
    return this.#totalBytes === 0 ? done : `${done} of ${this.#format(this.#totalBytes)}`;
  }
}
