import type { Command } from 'commander';
import { type CallOptions, KvClient, type KvClientOptions } from '../client/kv-client.ts';
import type { Login } from '../client/sign-in.ts';
import { type TlsFlags, tlsFromFlags } from './client-tls.ts';
import { toJson } from './format.ts';
import type { CliIo } from './io.ts';

/** Options that every command that talks to a cluster takes. */
interface GlobalOptions extends TlsFlags {
  readonly endpoints?: string;
  readonly writeOut: 'simple' | 'json';
  /** The same as `writeOut: 'json'`, of the commands that have it. */
  readonly json?: boolean;
  readonly user?: string;
  readonly password?: string | boolean;
  /** Seconds. */
  readonly commandTimeout: number;
}

/** A result in both forms; only the one asked for is made. */
export interface Printable {
  readonly lines: () => string | Buffer;
  readonly fields: () => unknown;
}

/** What a command that talks to a cluster works with. */
export interface Context {
  readonly io: CliIo;
  readonly client: KvClient;
  /** To be given to every call: the time it may take, and Ctrl-C. */
  readonly call: Required<Omit<CallOptions, 'token'>>;
  readonly json: boolean;
  /** Prints a result in the form asked for. */
  readonly print: (result: Printable) => Promise<void>;
}

export const ENDPOINTS_DEFAULT = 'localhost:2379';

/** Runs a command's work with a client of the endpoints that were given, and closes it. */
export async function withContext(
  io: CliIo,
  command: Command,
  work: (context: Context) => Promise<void>,
): Promise<void> {
  const { connection, json } = await connectionOf(io, command);
  const { timeoutMs } = connection;
  using client = new KvClient(connection);
  await work({
    io,
    client,
    call: { timeoutMs, signal: io.interrupted() },
    json,
    print: async ({ lines, fields }) => io.out(json ? `${toJson(fields())}\n` : lines()),
  });
}

/** How a command reaches the store, and in which form it prints. @throws UsageError; Error when a file cannot be read */
export async function connectionOf(
  io: CliIo,
  command: Command,
): Promise<{
  readonly connection: KvClientOptions & { readonly timeoutMs: number };
  readonly json: boolean;
}> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const endpoints = options.endpoints ?? (io.env['CONCLAVE_ENDPOINTS'] || ENDPOINTS_DEFAULT);
  const tls = await tlsFromFlags(options, io.env);
  const login = await loginOf(io, options);
  return {
    connection: {
      endpoints: endpoints.split(',').map((part) => part.trim()),
      timeoutMs: options.commandTimeout * 1000,
      login,
      ...(tls === undefined ? {} : { tls }),
    },
    json: options.json === true || options.writeOut === 'json',
  };
}

/** `name` or `name:password`. */
export function nameAndPassword(text: string): { readonly name: string; readonly password: string | null } {
  const colon = text.indexOf(':');
  return colon === -1
    ? { name: text, password: null }
    : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Who is asking: by flags, else by variables; a password that is missing is asked for. */
async function loginOf(
  io: CliIo,
  options: Pick<GlobalOptions, 'user' | 'password'>,
): Promise<Login | undefined> {
  const user = options.user ?? io.env['CONCLAVE_USER'];
  if (user === undefined || user === '') return undefined;
  // `user add --no-password` is false here: not the password of who asks.
  const flag = typeof options.password === 'string' ? options.password : undefined;
  const given = flag ?? io.env['CONCLAVE_PASSWORD'];
  // With a password of its own the name may hold a colon.
  if (given !== undefined) return { user, password: given };
  const { name, password } = nameAndPassword(user);
  return { user: name, password: password ?? (await io.readPassword(`Password of ${name}: `)) };
}
