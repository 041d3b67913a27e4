import type { Level, LevelOpener } from '../../../src/member/ports.ts';
import { type Report, Violation } from '../violation.ts';

/** What a removed key had is not known any more, only that it was removed. */
const REMOVED = null;

/**
 * A key of the state is written with the same bytes each time, and not again once it was removed: LevelDB 1.20 can
 * answer with what was overwritten or removed (RELIABILITY 4.1, wrong reads), which must then not matter. One per
 * machine: it remembers what all processes wrote, also what a loss of power took.
 */
export class WriteOnce {
  readonly #report: Report;
  readonly #written = new Map<string, Map<string, Buffer | typeof REMOVED>>();

  constructor(report: Report) {
    this.#report = report;
  }

  watch(levels: LevelOpener): LevelOpener {
    return {
      open: async (path, options) => {
        const level = await levels.open(path, options);
        if (options.create || !this.#written.has(path)) this.#written.set(path, new Map());
        return this.#watched(path, level);
      },
      destroy: (path) => levels.destroy(path),
    };
  }

  #watched(path: string, level: Level): Level {
    const batch = level.batch.bind(level);
    level.batch = (ops, options) => {
      for (const op of ops) this.#note(path, op.key, op.type === 'put' ? op.value : REMOVED);
      return batch(ops, options);
    };
    return level;
  }

  #note(path: string, key: Buffer, value: Buffer | typeof REMOVED): void {
    const name = key.toString('latin1');
    const written = this.#written.get(path);
    const before = written?.get(name);
    written?.set(name, value);
    if (before === undefined || value === REMOVED || before?.equals(value) === true) return;
    const was = before === REMOVED ? 'after it was removed' : `over ${before.toString('hex')}`;
    this.#report(
      new Violation(
        'write-once',
        `${path} ${key.toString('hex')} is written ${was}: ${value.toString('hex')}`,
      ),
    );
  }
}
