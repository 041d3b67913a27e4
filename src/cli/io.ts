import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/** What a command reads and writes; a test gives it buffers, the executable the process's own streams. */
export interface CliIo {
  /** Results. Resolves when the reader can take more. */
  out(chunk: string | Buffer): Promise<void>;
  /** Everything else: errors, progress, hints. */
  err(text: string): void;
  readStdin(): Promise<Buffer>;
  /** One line of standard input; a person is asked by `prompt`, and what is typed is not shown. */
  readPassword(prompt: string): Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether a person watches stderr, so that a progress bar makes sense. */
  readonly interactive: boolean;
  /** Aborts on Ctrl-C or SIGTERM, which end the process no longer once this was asked for. */
  interrupted(): AbortSignal;
  /** Whether it was asked for and has aborted. */
  wasInterrupted(): boolean;
}

/** The process's own streams and signals. */
export function processIo(): CliIo {
  let interruption: AbortController | null = null;
  // A reader that went away (`| head`) is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  return {
    out: async (chunk) => {
      if (process.stdout.write(chunk)) return;
      await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
    },
    err: (text) => {
      process.stderr.write(text);
    },
    readStdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    },
    readPassword,
    env: process.env,
    interactive: process.stderr.isTTY,
    interrupted: () => {
      if (interruption === null) {
        const control = new AbortController();
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => control.abort());
        interruption = control;
      }
      return interruption.signal;
    },
    wasInterrupted: () => interruption?.signal.aborted === true,
  };
}

async function readPassword(prompt: string): Promise<string> {
  const isTerminal = process.stdin.isTTY && process.stderr.isTTY;
  if (isTerminal) process.stderr.write(prompt);
  const lines = createInterface({
    input: process.stdin,
    // What the terminal would show goes nowhere.
    output: new Writable({ write: (_chunk, _encoding, done) => done() }),
    terminal: isTerminal,
  });
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
    if (isTerminal) process.stderr.write('\n');
  }
}
