import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePorts } from '../../cluster/free-ports.ts';
import { ETCDCTL_PATIENCE } from './etcdctl.ts';
import { eventually } from './eventually.ts';
import { repositoryRoot } from './repository-root.ts';

/**
 * Runs the commands of a guide as its reader would: one shell, block after block, against what was built.
 *
 * What a guide keeps to: blocks of the language `sh` are run, and must succeed; `sh fails` must fail, in a shell of its
 * own. A block of the language `text` is the output of the block before it, where `...` stands for anything, and on a
 * line of its own for any lines. A command that ends in `# until Ctrl-C` goes on in the background; `text elsewhere` is
 * what the newest of them must have said in the end. Addresses are `127.0.0.1` or `localhost`, with ports; each port
 * becomes a free one.
 */

const RUN = ['sh', 'sh fails'];
const OUTPUT = 'text';
const ELSEWHERE = 'text elsewhere';
/** A command that hangs is reported, not waited for. */
const BLOCK_TIMEOUT_MS = 120_000;
/** Lines of each log that a report shows. */
const LOG_LINES = 12;
const ADDRESS = /\b(127\.0\.0\.1|localhost):(\d{4,5})\b/g;
/** The shell tells that a block is over, and how it ended. */
const MARK = '--block-is-over--';

export interface Block {
  readonly language: string;
  readonly text: string;
  /** Of its first line in the guide, from 1 on. */
  readonly line: number;
}

/** A command block with the output that the guide shows for it. */
interface Step {
  readonly block: Block;
  readonly output: Block | null;
}

export function blocksOf(markdown: string): readonly Block[] {
  const blocks: Block[] = [];
  let open: { readonly language: string; readonly line: number; readonly lines: string[] } | null = null;
  for (const [i, line] of markdown.split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === null) open = { language: fence[1]!.trim(), line: i + 2, lines: [] };
    else {
      blocks.push({ language: open.language, line: open.line, text: open.lines.join('\n') });
      open = null;
    }
  }
  if (open !== null) throw new Error(`line ${open.line}: the block does not end`);
  return blocks;
}

/** Whether output is as shown: `...` stands for anything. */
export function matches(shown: string, output: string): boolean {
  const lines = shown.split('\n').map((line) => {
    if (line.trim() === '...') return '(?:.*\\n)*?';
    return `${line.split('...').map(escaped).join('.*')}[ \\t]*\\n`;
  });
  return new RegExp(`^${lines.join('')}$`).test(`${output.replace(/\n+$/, '')}\n`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A shell in a directory of its own, in which guides' commands are run. */
export class GuideShell {
  readonly directory = mkdtempSync(join(tmpdir(), 'conclave-guide-'));
  readonly #ports = new Map<string, number>();
  readonly #shell: ChildProcess;
  readonly #exited: Promise<unknown>;
  #count = 0;
  /** The output of the newest command in the background. */
  #elsewhere = '';
  #over: (status: number) => void = () => {};

  /** @param programs further programs, by name; `conclave` is always there */
  constructor(
    programs: Readonly<Record<string, string>> = {},
    variables: Readonly<Record<string, string>> = {},
  ) {
    const bin = join(this.directory, '.bin');
    mkdirSync(bin);
    const main = join(repositoryRoot(), 'dist/src/main.js');
    writeFileSync(join(bin, 'conclave'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
    chmodSync(join(bin, 'conclave'), 0o755);
    // The reader's machine is not as busy as one that runs tests.
    const patient = `PATH='${process.env['PATH']}'\nexec etcdctl ${ETCDCTL_PATIENCE.join(' ')} "$@"`;
    writeFileSync(join(bin, 'etcdctl'), `#!/bin/sh\n${patient}\n`, { mode: 0o755 });
    for (const [name, path] of Object.entries(programs)) symlinkSync(path, join(bin, name));
    const own = Object.entries(process.env).filter(([name]) => !/^(ETCD|CONCLAVE|VERIFY)/.test(name));
    this.#shell = spawn('bash', ['--noprofile', '--norc'], {
      cwd: this.directory,
      env: {
        ...Object.fromEntries(own),
        ...variables,
        HOME: this.directory,
        PATH: `${bin}:${process.env['PATH']}`,
      },
      stdio: ['pipe', 'pipe', 'ignore'],
      // A group of its own: what a guide leaves running ends with it.
      detached: true,
    });
    this.#exited = once(this.#shell, 'exit').then(() => this.#over(1));
    createInterface({ input: this.#shell.stdout! }).on('line', (line) => {
      if (line.startsWith(MARK)) this.#over(Number(line.slice(MARK.length)));
    });
    this.#shell.stdin!.on('error', () => {});
  }

  /** Lets a port of guides be one that is in use already. */
  usePort(inGuide: number, port: number): void {
    this.#ports.set(String(inGuide), port);
  }

  /**
   * Runs the commands of a Markdown file from top to bottom.
   *
   * @param file from the repository's root
   * @param chosen which blocks are run; all unless told
   * @param input what every command that asks is told; nothing unless given
   * @throws Error naming file and line of the block that did not do what it says, with its output
   */
  async run(
    file: string,
    { chosen = () => true, input = '' }: { chosen?: (block: Block) => boolean; input?: string } = {},
  ): Promise<number> {
    const markdown = readFileSync(join(repositoryRoot(), file), 'utf8');
    const steps = stepsOf(blocksOf(markdown)).filter(({ block }) => chosen(block));
    await this.#assignPorts(markdown);
    for (const step of steps) await this.#step(file, step, input);
    return steps.length;
  }

  /** Ends everything that the guide started, and removes its files. */
  async close(): Promise<void> {
    try {
      process.kill(-this.#shell.pid!, 'SIGKILL');
    } catch {
      // All of it has ended.
    }
    await this.#exited;
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20 });
  }

  async #assignPorts(markdown: string): Promise<void> {
    const found = [...markdown.matchAll(ADDRESS)].map(([, , port]) => port!);
    const unknown = [...new Set(found)].filter((port) => !this.#ports.has(port));
    const free = await freePorts(unknown.length);
    for (const [i, port] of unknown.entries()) this.#ports.set(port, free[i]!);
  }

  #onFreePorts(text: string): string {
    return text.replace(ADDRESS, (_, host: string, port: string) => `${host}:${this.#ports.get(port)}`);
  }

  async #step(file: string, { block, output }: Step, input: string): Promise<void> {
    if (block.language === ELSEWHERE) return this.#shownElsewhere(file, block);
    const n = (this.#count += 1);
    const path = (kind: string) => join(this.directory, `.${kind}-${n}`);
    const commands = block.text.replace(/ +# until Ctrl-C$/gm, ` >.until-${n} 2>&1 &`);
    if (commands !== block.text) this.#elsewhere = path('until');
    const fails = block.language === 'sh fails';
    writeFileSync(path('commands'), `${this.#onFreePorts(commands)}\n`);
    const typed = input === '' ? '</dev/null' : `< <(yes '${input}')`;
    const source = `. ${path('commands')} ${typed} >${path('output')} 2>&1`;
    // Each command must succeed, as a reader would stop at the first that does not; pipes as a whole.
    const line = fails ? `(set -eo pipefail; ${source})` : `set -eo pipefail; ${source}; set +e`;
    const status = await this.#told(`${line}; echo "${MARK}$?"\n`);
    const where = `${file}:${block.line}`;
    const said = readFileSync(path('output'), 'utf8');
    const all = `\n${this.#onFreePorts(block.text)}\n--- output ---\n${said}${this.#logs()}`;
    if (status === null) throw new Error(`${where} does not end${all}`);
    if ((status !== 0) !== fails) throw new Error(`${where} ${fails ? 'succeeds' : 'fails'}${all}`);
    if (output !== null && !matches(this.#onFreePorts(output.text), said)) {
      throw new Error(`${file}:${output.line} shows another output than that of${all}`);
    }
  }

  async #shownElsewhere(file: string, { line, text }: Block): Promise<void> {
    const said = (): string => readFileSync(this.#elsewhere, 'utf8');
    try {
      await eventually('that output', () => matches(this.#onFreePorts(text), said()), BLOCK_TIMEOUT_MS);
    } catch (error) {
      throw new Error(`${file}:${line} shows another output than\n${said()}${this.#logs()}`, {
        cause: error,
      });
    }
  }

  /** What programs in the background have said last. */
  #logs(): string {
    const logs = readdirSync(this.directory).filter((name) => name.endsWith('.log'));
    const tail = (name: string): string =>
      readFileSync(join(this.directory, name), 'utf8').split('\n').slice(-LOG_LINES).join('\n');
    return logs.map((name) => `--- ${name} ---\n${tail(name)}`).join('');
  }

  /** The exit status, or null after too long. */
  async #told(line: string): Promise<number | null> {
    let timer: NodeJS.Timeout | undefined;
    const status = await new Promise<number | null>((resolve) => {
      this.#over = resolve;
      timer = setTimeout(() => resolve(null), BLOCK_TIMEOUT_MS);
      this.#shell.stdin!.write(line);
    });
    clearTimeout(timer);
    return status;
  }
}

function stepsOf(blocks: readonly Block[]): readonly Step[] {
  return blocks.flatMap((block, i) => {
    if (block.language === ELSEWHERE) return [{ block, output: null }];
    if (!RUN.includes(block.language)) return [];
    const next = blocks[i + 1];
    return [{ block, output: next?.language === OUTPUT ? next : null }];
  });
}
