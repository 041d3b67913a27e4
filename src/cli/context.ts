import type { Command } from 'commander';
import { type CallOptions, KvClient } from '../client/kv-client.ts';
import { type TlsFlags, tlsFromFlags } from './client-tls.ts';
import { toJson } from './format.ts';
import type { CliIo } from './io.ts';

/** Options that every command that talks to a cluster takes. */
interface GlobalOptions extends TlsFlags {
  readonly endpoints?: string;
  readonly writeOut: 'simple' | 'json';
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
  /** Another client with the same options, for other endpoints; whoever asks closes it. */
  readonly clientOf: (endpoints: readonly string[]) => KvClient;
  /** To be given to every call: the time it may take, and Ctrl-C. */
  readonly call: Required<CallOptions>;
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
  const options = command.optsWithGlobals<GlobalOptions>();
  const endpoints = options.endpoints ?? (io.env['CONCLAVE_ENDPOINTS'] || ENDPOINTS_DEFAULT);
  const timeoutMs = options.commandTimeout * 1000;
  const tls = await tlsFromFlags(options, io.env);
  const clientOf = (list: readonly string[]): KvClient =>
    new KvClient({ endpoints: list, timeoutMs, ...(tls === undefined ? {} : { tls }) });
  const list = endpoints.split(',').map((part) => part.trim());
  using client = clientOf(list);
  const json = options.writeOut === 'json';
  await work({
    io,
    client,
    clientOf,
    call: { timeoutMs, signal: io.interrupted() },
    json,
    print: async ({ lines, fields }) => io.out(json ? `${toJson(fields())}\n` : lines()),
  });
}
