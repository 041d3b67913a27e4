import { readFileSync } from 'node:fs';
import { parseServerOptions, SERVER_FLAGS, type ServerFlag, type ServerOptions } from '../options.ts';
import type { CliIo } from './io.ts';

/** Runs a member until it is told to stop. @returns the process's exit code */
export type RunServer = (options: ServerOptions) => Promise<number>;

/**
 * `conclave server`: reads the options of a member and runs it. Its command line has a parser of its own, since
 * flags, environment and file have one table of names and one set of rules.
 *
 * @param argv what follows the word `server`
 */
export async function serverCommand(
  argv: readonly string[],
  io: CliIo,
  runServer: RunServer,
): Promise<number> {
  if (asksForHelp(argv)) {
    await io.out(serverHelp());
    return 0;
  }
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  return runServer(parseServerOptions(argv, { env: io.env, readFile }));
}

/** Whether the words of a command ask what it does. */
export function asksForHelp(argv: readonly string[]): boolean {
  return argv.some((word) => word === '--help' || word === '-h' || word === '-help');
}

const GROUPS: readonly ServerFlag['group'][] = [
  'Member',
  'Cluster',
  'Security',
  'Authentication',
  'Configuration service',
  'Limits',
  'Operations',
];
const KIND_WORDS = { text: ' VALUE', boolean: '', integer: ' N', urls: ' URLS' } as const;
const FLAG_COLUMN_WIDTH = 38;

/** The options of a command by their groups, for people. */
export function flagHelp(flags: readonly ServerFlag[]): string {
  const groups = GROUPS.flatMap((group) => {
    const lines = flags.filter((flag) => flag.group === group).map(flagLine);
    return lines.length === 0 ? [] : [`${group}:\n${lines.join('\n')}`];
  });
  return groups.join('\n\n');
}

function serverHelp(): string {
  return `Usage: conclave server [options]

Runs one member of a cluster. The options have etcd's names and, where they mean the same, its defaults.

${flagHelp(SERVER_FLAGS)}

Every option can also be given as a variable (CONCLAVE_DATA_DIR) or in a YAML file (data-dir: ...) that
--config-file names. The command line wins over variables, variables over the file. Options that are not
known, or that etcd has and this version has not, are refused.

Examples:
  A cluster of one member, data in default.conclave:
  $ conclave server

  The first of three members:
  $ conclave server --name n1 --data-dir /var/lib/conclave \\
      --listen-client-urls https://10.0.0.1:2379 --listen-peer-urls https://10.0.0.1:2380 \\
      --cert-file n1.pem --key-file n1-key.pem --trusted-ca-file ca.pem \\
      --peer-cert-file n1.pem --peer-key-file n1-key.pem --peer-trusted-ca-file ca.pem \\
      --initial-cluster n1=https://10.0.0.1:2380,n2=https://10.0.0.2:2380,n3=https://10.0.0.3:2380

  A member that was added to a running cluster ('conclave member add' prints its options):
  $ conclave server --name n4 --initial-cluster-state existing --initial-cluster ...
`;
}

function flagLine(flag: ServerFlag): string {
  const shown = flag.default === '' || flag.kind === 'boolean' ? '' : ` (default: ${flag.default})`;
  const left = `  --${flag.name}${KIND_WORDS[flag.kind]}`;
  return `${left.padEnd(FLAG_COLUMN_WIDTH)} ${flag.help}${shown}`;
}
