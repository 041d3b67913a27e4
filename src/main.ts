#!/usr/bin/env node
import { runCli } from './cli/cli.ts';
import { runServer } from './server.ts';

process.exitCode = await runCli(process.argv.slice(2), { runServer });
