import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { repositoryRoot } from './repository-root.ts';

const MAIN = join(repositoryRoot(), 'dist/src/main.js');
/** Log lines kept, for the message of a failed wait. */
export const LINES_KEPT = 200;

/** What a process may use, as the shell's `ulimit` sets it. */
export interface ProcessLimits {
  /** A write beyond this size of a file fails, in KiB: what a full disk does, on any machine. */
  readonly fileSizeKibMax?: number;
}

/** Default: a member. */
interface Program {
  readonly command?: 'server' | 'gateway';
}

/** One real `conclave server` or `conclave gateway` process, with its log lines at hand. */
export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiters: { readonly text: string; readonly resolve: () => void }[] = [];
  #exited: Promise<number | NodeJS.Signals> | null = null;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, limits: ProcessLimits & Program = {}) {
    const program = [process.execPath, MAIN, limits.command ?? 'server', ...args];
    const [command, ...words] = commandLine(program, limits);
    this.#child = spawn(command!, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, UV_THREADPOOL_SIZE: '16', VERIFY: '1', ...env },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#line(line));
    }
    // Not its `exit`: the last lines of its log may still be on their way then.
    this.#exited = once(this.#child, 'close').then(
      ([code, signal]) => (code ?? signal) as number | NodeJS.Signals,
    );
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  get log(): string {
    return this.#lines.join('\n');
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when a log line contains `text`; rejects with the log when the process ends first. */
  async logged(text: string): Promise<void> {
    if (this.#lines.some((line) => line.includes(text))) return;
    const seen = new Promise<void>((resolve) => this.#waiters.push({ text, resolve }));
    const ended = this.exit().then((status) => {
      throw new Error(`the server ended with ${status} before it said "${text}":\n${this.log}`);
    });
    await Promise.race([seen, ended]);
  }

  ready(): Promise<void> {
    return this.logged('ready to serve client requests');
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Exit code or signal. */
  exit(): Promise<number | NodeJS.Signals> {
    if (this.#exited === null) throw new Error('the process did not start');
    return this.#exited;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    if (this.running) this.signal(signal);
    return this.exit();
  }

  #line(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > LINES_KEPT) this.#lines.shift();
    for (const waiter of this.#waiters) if (line.includes(waiter.text)) waiter.resolve();
  }
}

/** A shell that sets the limits and becomes the program: signals and the exit code are the program's own. */
function commandLine(words: readonly string[], { fileSizeKibMax }: ProcessLimits): readonly string[] {
  if (fileSizeKibMax === undefined) return words;
  return ['bash', '-c', `ulimit -f ${fileSizeKibMax}; exec "$0" "$@"`, ...words];
}
