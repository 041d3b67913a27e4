#!/usr/bin/env node
import { runCli } from './cli/cli.ts';
import { runServer } from './server.ts';

// An explicit end: left to itself, Node 20 can spin for ever over sockets that close at that very moment.
process.exit(await runCli(process.argv.slice(2), { runServer }));
