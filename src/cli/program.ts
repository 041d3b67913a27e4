import { Command, Option } from 'commander';
import { ETCD_VERSION, VERSION } from '../lib/version.ts';
import { appCommands } from './app.ts';
import { positiveSeconds } from './arguments.ts';
import { auditCommands } from './audit.ts';
import { authCommands } from './auth.ts';
import { addTlsFlags } from './client-tls.ts';
import { configCommands } from './config.ts';
import { ENDPOINTS_DEFAULT } from './context.ts';
import { envCommands } from './env.ts';
import { exportCommand } from './export.ts';
import { flagCommands } from './flag.ts';
import { importCommands } from './import.ts';
import type { CliIo } from './io.ts';
import { kvCommands } from './kv.ts';
import { memberCommands } from './member.ts';
import { snapshotCommands } from './snapshot.ts';
import { statusCommand } from './status.ts';
import { verifyCommand } from './verify.ts';

/** Every command but `server`, with all that they need: as much to load as a server is. */
export function program(io: CliIo): Command {
  const root = addTlsFlags(new Command('conclave'))
    .description(
      'A configuration store that a platform can stand on: replicated by Raft, spoken to as etcd v3.',
    )
    .version(`conclave ${VERSION} (etcd API ${ETCD_VERSION})`, '--version', 'print the version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => void io.out(text),
      writeErr: (text) => io.err(text),
    })
    .option(
      '--endpoints <list>',
      `members to talk to, comma-separated (default: CONCLAVE_ENDPOINTS or ${ENDPOINTS_DEFAULT})`,
    )
    .addOption(
      new Option('-w, --write-out <form>', 'how results are printed')
        .choices(['simple', 'json'])
        .default('simple'),
    )
    .option(
      '--user <name[:password]>',
      'who is asking, where authentication is enabled (default: CONCLAVE_USER); a missing password is asked for',
    )
    .option('--password <password>', "the user's password (default: CONCLAVE_PASSWORD)")
    .option('--command-timeout <duration>', 'how long one call may take', positiveSeconds, 5)
    .addHelpText(
      'after',
      `
Examples:
  $ conclave server                                  # a cluster of one, on this machine
  $ conclave kv put greeting hello
  $ conclave kv get greeting
  $ conclave kv watch --prefix app/
  $ conclave status --endpoints localhost:2379,localhost:22379,localhost:32379
  $ conclave snapshot save backup.db
  $ conclave config get db.pool.max --application pay --environment PROD

'conclave COMMAND --help' tells more. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`,
    );
  // Shown in the list only: their words are read by `serverCommand` and `gatewayCommand`.
  root.command('server').description('run a member of a cluster').allowUnknownOption().helpOption(false);
  root
    .command('gateway')
    .description('run the configuration service before any etcd v3 cluster')
    .allowUnknownOption()
    .helpOption(false);
  kvCommands(root, io);
  statusCommand(root, io);
  memberCommands(root, io);
  snapshotCommands(root, io);
  importCommands(root, io);
  exportCommand(root, io);
  authCommands(root, io);
  verifyCommand(root, io);
  configCommands(root, io);
  envCommands(root, io);
  flagCommands(root, io);
  appCommands(root, io);
  auditCommands(root, io);
  return root;
}
