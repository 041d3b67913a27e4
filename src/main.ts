#!/usr/bin/env node
import { runCli } from './cli/cli.ts';

// grpc-js sends an IP address as TLS server name, which Node warns of at every command; nothing else depends on it.
process.noDeprecation = true;
// An explicit end: left to itself, Node 20 can spin for ever over sockets that close at that very moment.
process.exit(
  await runCli(process.argv.slice(2), {
    // Commands do not wait for a server to be loaded that they do not run.
    runServer: async (options) => (await import('./server.ts')).runServer(options),
    runGateway: async (options) => (await import('./gateway.ts')).runGateway(options),
  }),
);
