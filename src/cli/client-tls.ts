import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { ClientTls } from '../client/endpoint.ts';
import { UsageError } from './arguments.ts';
import type { CliIo } from './io.ts';

/** The options that say how connections are protected; names and meanings are those of etcdctl. */
export interface TlsFlags {
  readonly cacert?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly insecureTransport?: boolean;
}

/** Adds them to the command that all others are under. */
export function addTlsFlags(root: Command): Command {
  return root
    .option('--cacert <file>', 'authorities that members are verified by, PEM (default: CONCLAVE_CACERT)')
    .option('--cert <file>', 'certificate to present, PEM (default: CONCLAVE_CERT)')
    .option('--key <file>', 'its key (default: CONCLAVE_KEY)')
    .option('--insecure-skip-tls-verify [=yes]', 'encrypt, but accept whoever answers', truth)
    .option('--insecure-transport [=yes]', "plain text where no scheme is given; '=false' for TLS", truth);
}

/** The words with `=true` behind flags that stand alone: such a flag never takes the next word, as in etcdctl. */
export function withTruths(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((word, at) => {
    const isFlag = word === '--insecure-skip-tls-verify' || word === '--insecure-transport';
    return isFlag && (end === -1 || at < end) ? `${word}=true` : word;
  });
}

/**
 * What the flags and, where there is none, the environment ask for; undefined = nothing, so endpoints without a
 * scheme are plain text.
 *
 * @throws UsageError when they contradict each other; Error when a file cannot be read
 */
export async function tlsFromFlags(flags: TlsFlags, env: CliIo['env']): Promise<ClientTls | undefined> {
  const cacert = flags.cacert ?? variable(env, 'CONCLAVE_CACERT');
  const cert = flags.cert ?? variable(env, 'CONCLAVE_CERT');
  const key = flags.key ?? variable(env, 'CONCLAVE_KEY');
  const skipVerify =
    flags.insecureSkipTlsVerify ?? truthOf(env, 'CONCLAVE_INSECURE_SKIP_TLS_VERIFY') ?? false;
  const plain = flags.insecureTransport ?? truthOf(env, 'CONCLAVE_INSECURE_TRANSPORT') ?? true;
  if ((cert === undefined) !== (key === undefined))
    throw new UsageError('--cert and --key are needed together');
  if (cacert === undefined && cert === undefined && !skipVerify && plain) return undefined;
  return {
    ...(cacert === undefined ? {} : { ca: await readFile(cacert) }),
    ...(cert === undefined ? {} : { cert: await readFile(cert) }),
    ...(key === undefined ? {} : { key: await readFile(key) }),
    insecureSkipVerify: skipVerify,
  };
}

function variable(env: CliIo['env'], name: string): string | undefined {
  return env[name] || undefined;
}

function truthOf(env: CliIo['env'], name: string): boolean | undefined {
  const text = variable(env, name);
  return text === undefined ? undefined : truth(text);
}

function truth(text: string): boolean {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new InvalidArgumentError('It is neither true nor false.');
}
