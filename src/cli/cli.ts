import { CommanderError } from 'commander';
import { ClientError } from '../client/client-error.ts';
import { ProblemError } from '../client/problem.ts';
import { StoreError } from '../lib/errors.ts';
import { UsageError } from './arguments.ts';
import { withTruths } from './client-tls.ts';
import { gatewayCommand, type RunGateway } from './gateway.ts';
import { type CliIo, processIo } from './io.ts';
import { type RunServer, serverCommand } from './server.ts';
import { oneLine, visible } from './visible.ts';

/** The process's exit codes. */
export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** What the command line cannot make itself. */
export interface CliDependencies {
  readonly runServer: RunServer;
  readonly runGateway: RunGateway;
  /** Default: the process's own streams. */
  readonly io?: CliIo;
}

/**
 * Runs one `conclave` command. Results go to standard output, everything else to standard error.
 *
 * @param argv what follows the program's name
 * @returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C; for `server` and `gateway`, what they say
 */
export async function runCli(argv: readonly string[], dependencies: CliDependencies): Promise<number> {
  const io = dependencies.io ?? processIo();
  try {
    if (argv[0] === 'server') return await serverCommand(argv.slice(1), io, dependencies.runServer);
    if (argv[0] === 'gateway') return await gatewayCommand(argv.slice(1), io, dependencies.runGateway);
    // A member starts without the other commands: they bring a client and its whole gRPC library.
    const { program } = await import('./program.ts');
    await program(io).parseAsync(withTruths(argv), { from: 'user' });
    return io.wasInterrupted() ? EXIT.interrupted : EXIT.done;
  } catch (error) {
    return failed(error, io);
  }
}

function failed(error: unknown, io: CliIo): number {
  if (error instanceof CommanderError) {
    // Help and version were asked for; a wrong word was already explained.
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
  if (error instanceof UsageError) {
    io.err(`error: ${error.message}\n`);
    return EXIT.usage;
  }
  if (error instanceof ClientError) return clientFailure(error, io);
  if (error instanceof ProblemError) return problemFailure(error, io);
  if (error instanceof StoreError) {
    io.err(`error: ${withoutCode(error)}\n`);
    return error.code === 'bad-options' ? EXIT.usage : EXIT.failed;
  }
  io.err(`error: ${visible(error instanceof Error ? plainMessage(error) : String(error))}\n`);
  return EXIT.failed;
}

/** What the file system reports, without its call names. */
function plainMessage(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT' && error.path !== undefined) return `${error.path} does not exist`;
  if (error.code === 'EACCES' && error.path !== undefined) return `${error.path}: permission denied`;
  return error.message;
}

function clientFailure(error: ClientError, io: CliIo): number {
  if (error.code === 'canceled' && io.wasInterrupted()) return EXIT.interrupted;
  io.err(`error: ${visible(error.message)}\n`);
  if (error.uncertain) io.err('It is not known whether the change was made; look before you repeat it.\n');
  if (error.code === 'unavailable' && error.unsent)
    io.err('Is the cluster running? --endpoints says where it is.\n');
  return error.code === 'invalid-argument' && error.unsent ? EXIT.usage : EXIT.failed;
}

/** Answers that say the request itself is wrong: sending it again will not help. */
const WRONG_REQUESTS: ReadonlySet<number> = new Set([400, 413, 415, 422]);

function problemFailure({ message, status, fields, isAmbiguous }: ProblemError, io: CliIo): number {
  io.err(`error: ${oneLine(message)}\n`);
  for (const { field, message: text } of fields) {
    if (!message.includes(text)) io.err(`  ${oneLine(field === '' ? text : `${field}: ${text}`)}\n`);
  }
  if (isAmbiguous) io.err('It is not known whether the change was made; look before you repeat it.\n');
  return WRONG_REQUESTS.has(status) ? EXIT.usage : EXIT.failed;
}

/** A StoreError's code is for programs; people get the detail, or the code when there is none. */
function withoutCode(error: StoreError): string {
  const prefix = `${error.code}: `;
  const detail = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
  return error.code === 'data-dir-in-use' ? `${detail}; stop the member first` : detail;
}
