import { readFileSync } from 'node:fs';
import { GATEWAY_FLAGS, type GatewayOptions, parseGatewayOptions } from '../option-gateway.ts';
import type { CliIo } from './io.ts';
import { asksForHelp, flagHelp } from './server.ts';

/** Runs a gateway until it is told to stop. @returns the process's exit code */
export type RunGateway = (options: GatewayOptions) => Promise<number>;

/**
 * `conclave gateway`: reads its options as those of a server are read, and runs it.
 *
 * @param argv what follows the word `gateway`
 */
export async function gatewayCommand(
  argv: readonly string[],
  io: CliIo,
  runGateway: RunGateway,
): Promise<number> {
  if (asksForHelp(argv)) {
    await io.out(gatewayHelp());
    return 0;
  }
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  return runGateway(parseGatewayOptions(argv, { env: io.env, readFile }));
}

function gatewayHelp(): string {
  return `Usage: conclave gateway [options]

Runs the configuration service before any etcd v3 cluster. It keeps nothing itself: run as many as are needed.

${flagHelp(GATEWAY_FLAGS)}

Every option can also be given as a variable (CONCLAVE_ENDPOINTS) or in a YAML file (endpoints: ...) that
--config-file names. The command line wins over variables, variables over the file.

Examples:
  Before an etcd on this machine:
  $ conclave gateway --endpoints localhost:2379 --listen-http-urls http://localhost:8080

  Before a cluster that wants to know who asks, gRPC included:
  $ conclave gateway --endpoints https://etcd-1:2379,https://etcd-2:2379 --cacert ca.pem \\
      --user conclave --password ... \\
      --listen-http-urls https://0.0.0.0:8080 --listen-client-urls https://0.0.0.0:8079 \\
      --cert-file gateway.pem --key-file gateway-key.pem
`;
}
