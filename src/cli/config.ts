import type { Command } from 'commander';
import { changeCommands } from './config-change.ts';
import { deliveryCommand } from './config-delivery.ts';
import { diffCommand } from './config-diff.ts';
import { driftCommands } from './config-drift.ts';
import { mergeCommand } from './config-merge.ts';
import { readCommands } from './config-read.ts';
import { setCommands } from './config-sets.ts';
import { validateCommand } from './config-validate.ts';
import { watchCommand } from './config-watch.ts';
import { addScopeFlags, addServiceFlags } from './http-context.ts';
import type { CliIo } from './io.ts';

/** `conclave config`: the configuration service, over HTTP. */
export function configCommands(parent: Command, io: CliIo): void {
  const config = addScopeFlags(addServiceFlags(parent.command('config')))
    .description('read, change and compare configurations of applications')
    .addHelpText(
      'after',
      `
Examples:
  $ conclave config set db.pool.max 20 --application pay --environment PROD
  $ conclave config get db.pool.max --application pay --environment PROD
  $ conclave config history db.pool.max --application pay --environment PROD --json

Exit codes: 0 done, 1 refused or failed, 2 the request itself is wrong, 130 interrupted.`,
    );
  readCommands(config, io);
  changeCommands(config, io);
  validateCommand(config, io);
  diffCommand(config, io);
  mergeCommand(config, io);
  setCommands(config, io);
  driftCommands(config, io);
  watchCommand(config, io);
  deliveryCommand(config, io);
}
