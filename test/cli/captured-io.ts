import { runCli } from '../../src/cli/cli.ts';
import type { CliIo } from '../../src/cli/io.ts';
import type { GatewayOptions } from '../../src/option-gateway.ts';
import type { ServerOptions } from '../../src/options.ts';

/** What one run of the command printed and returned. */
export interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** What the server was started with, if it was. */
  readonly server: ServerOptions | null;
  readonly gateway: GatewayOptions | null;
}

export interface RunInput {
  readonly stdin?: string | Buffer;
  readonly env?: Record<string, string>;
  readonly interruption?: AbortController;
  /** Called with everything printed so far, after each piece. */
  readonly onOut?: (text: string) => void;
}

/** Runs `conclave` with buffers in the place of the process's streams. */
export async function run(argv: readonly string[], input: RunInput = {}): Promise<Run> {
  const out: Buffer[] = [];
  const err: string[] = [];
  const interruption = input.interruption ?? new AbortController();
  let server: ServerOptions | null = null;
  let gateway: GatewayOptions | null = null;
  const io: CliIo = {
    out: async (chunk) => {
      out.push(Buffer.from(chunk));
      input.onOut?.(Buffer.concat(out).toString());
    },
    err: (text) => {
      err.push(text);
    },
    readStdin: async () => Buffer.from(input.stdin ?? ''),
    readPassword: async () => String(input.stdin ?? '').split('\n')[0]!,
    env: input.env ?? {},
    interactive: false,
    interrupted: () => interruption.signal,
    wasInterrupted: () => interruption.signal.aborted,
  };
  const runServer = async (options: ServerOptions): Promise<number> => {
    server = options;
    return 0;
  };
  const runGateway = async (options: GatewayOptions): Promise<number> => {
    gateway = options;
    return 0;
  };
  const code = await runCli(argv, { runServer, runGateway, io });
  return { code, out: Buffer.concat(out).toString(), err: err.join(''), server, gateway };
}
