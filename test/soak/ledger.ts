import { existsSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import type { BatchResult, Part } from './batch.ts';

/** One batch that is over. */
export interface LedgerLine extends BatchResult {
  readonly part: Part;
  readonly seed: number;
  /** Of the sources; ends with `+` when they, or the tests, had been changed since. */
  readonly commit: string;
  readonly seconds: number;
}

/** The batches of a soak, in a file as they end, so that one that was stopped can go on. */
export class Ledger {
  readonly #path: string | null;
  readonly #lines: LedgerLine[];

  private constructor(path: string | null, lines: LedgerLine[]) {
    this.#path = path;
    this.#lines = lines;
  }

  /** @param path a file of lines of JSON, made when absent; null keeps them in memory only */
  static async open(path: string | null): Promise<Ledger> {
    if (path === null || !existsSync(path)) return new Ledger(path, []);
    const text = await readFile(path, 'utf8');
    const lines = text.split('\n').filter((line) => line !== '');
    return new Ledger(
      path,
      lines.map((line) => JSON.parse(line) as LedgerLine),
    );
  }

  /** How many batches of a part there are, and the seed of the first. */
  batchesOf(part: Part): { readonly count: number; readonly firstSeed: number | null } {
    const own = this.#lines.filter((line) => line.part === part);
    return { count: own.length, firstSeed: own[0]?.seed ?? null };
  }

  async add(line: LedgerLine): Promise<void> {
    this.#lines.push(line);
    if (this.#path !== null) await appendFile(this.#path, `${JSON.stringify(line)}\n`);
  }

  /** Rows of the table in docs/soak.md: one for each part on each commit. */
  rows(command: string): readonly string[] {
    const groups = new Map<string, LedgerLine[]>();
    for (const line of this.#lines) {
      const key = `${line.commit} ${line.part}`;
      groups.set(key, [...(groups.get(key) ?? []), line]);
    }
    return [...groups.values()].map((lines) => row(lines, command));
  }
}

function row(lines: readonly LedgerLine[], command: string): string {
  const { commit, part } = lines[0]!;
  const totals = new Map<string, number>();
  for (const { counts } of lines) {
    for (const [name, count] of Object.entries(counts)) totals.set(name, (totals.get(name) ?? 0) + count);
  }
  const { operations = 0, watchEvents = 0, ...others } = Object.fromEntries(totals);
  const seeds = lines.map(({ seed }) => seed);
  const minutes = Math.round(lines.reduce((sum, { seconds }) => sum + seconds, 0) / 60);
  const what = Object.entries(others).map(([name, count]) => `${words(name)} ${count}`);
  const violations = lines.filter(({ violation }) => violation !== null).length;
  const cells = [
    commit,
    `\`${command}\``,
    part,
    `${Math.min(...seeds)} to ${Math.max(...seeds)} (${lines.length})`,
    what.join(', '),
    `${minutes} min`,
    operations,
    watchEvents,
    violations === 0 ? 'nothing' : `${violations} violations`,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** `statesCompared` as "states compared". */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
