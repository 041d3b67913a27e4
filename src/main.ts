#!/usr/bin/env node
import { runCli } from './cli/cli.ts';
import { runServer } from './server.ts';

// grpc-js sends an IP address as TLS server name, which Node warns of at every command; nothing else depends on it.
process.noDeprecation = true;
// An explicit end: left to itself, Node 20 can spin for ever over sockets that close at that very moment.
process.exit(await runCli(process.argv.slice(2), { runServer }));
