import type { Command } from 'commander';
import { flagChangeCommands } from './flag-change.ts';
import { flagReadCommands } from './flag-read.ts';
import { addScopeFlags, addServiceFlags } from './http-context.ts';
import type { CliIo } from './io.ts';

/** `conclave flag`: feature flags, over HTTP. */
export function flagCommands(parent: Command, io: CliIo): void {
  const flag = addScopeFlags(addServiceFlags(parent.command('flag')))
    .description('show, switch and change feature flags of applications')
    .addHelpText(
      'after',
      `
Examples:
  $ conclave flag set new-checkout --boolean --application shop --environment PROD
  $ conclave flag rollout new-checkout 12.5 --application shop --environment PROD
  $ conclave flag explain new-checkout --context plan=gold --user-key ada --application shop --environment PROD
  $ conclave flag disable new-checkout --reason 'it burns' --application shop --environment PROD

Exit codes: 0 done, 1 refused or failed, 2 the request itself is wrong, 130 interrupted.`,
    );
  flagReadCommands(flag, io);
  flagChangeCommands(flag, io);
}
