#!/usr/bin/env node
import { runCli } from './cli/cli.ts';
import { runServer } from './server.ts';

// grpc-js sends an IP address as TLS server name, which Node warns of at every command; nothing else depends on it.
process.noDeprecation = true;
process.exitCode = await runCli(process.argv.slice(2), { runServer });
