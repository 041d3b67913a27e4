import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { exitWith, Launch, memberPorts, programPath, shownPath } from './launcher.ts';
import { LocalCluster, type LocalMember } from './local-cluster.ts';

/** `npm start`: a three-member cluster in three processes on this machine, until Ctrl-C. */

const HELP = `Runs a three-member Conclave cluster on this machine.

Usage: npm start -- [options]        (or: node dist/cluster/local.js [options])

  --data-dir DIR        where the members' data and logs are kept   (default .data)
  --client-ports A,B,C  ports for clients                           (default 2379,22379,32379)
  --peer-ports A,B,C    ports between the members                   (default 2380,22380,32380)
  --http-ports A,B,C    ports for the configuration service, health and metrics
                                                                    (default 8080,8081,8082)
  --secret-key-file F   keys that seal secrets, lines 'id:base64 of 32 bytes'
                                                                    (default none: secrets are refused)
  --help

Ctrl-C stops all members; starting again finds the data. Delete the directory to begin anew.`;

const MEMBERS = 3;

interface Settings {
  readonly dataDir: string;
  readonly members: readonly LocalMember[];
}

function settingsFrom(argv: readonly string[]): Settings | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      'data-dir': { type: 'string', default: '.data' },
      'client-ports': { type: 'string', default: '2379,22379,32379' },
      'peer-ports': { type: 'string', default: '2380,22380,32380' },
      'http-ports': { type: 'string', default: '8080,8081,8082' },
      'secret-key-file': { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const keys = values['secret-key-file'];
  const flags = keys === undefined ? [] : [`--secret-key-file=${resolve(keys)}`];
  const members = memberPorts(values, MEMBERS).map((ports, at) => ({ name: `n${at + 1}`, ...ports, flags }));
  return { dataDir: resolve(values['data-dir']), members };
}

function banner({ dataDir, members }: Settings): string {
  const directory = shownPath(dataDir);
  const rows = members.map(
    ({ name, clientPort, httpPort }) =>
      `  ${name}   clients http://127.0.0.1:${clientPort}   HTTP http://127.0.0.1:${httpPort}   log ${directory}/${name}.log`,
  );
  return [`Starting three members, data in ${directory}`, '', ...rows, ''].join('\n');
}

function usage({ members }: Settings): string {
  const endpoints = members.map(({ clientPort }) => `127.0.0.1:${clientPort}`).join(',');
  const httpEndpoints = members.map(({ httpPort }) => `http://127.0.0.1:${httpPort}`).join(',');
  const conclave = `node ${shownPath(programPath())}`;
  return `Try it in another terminal:

  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=${endpoints}
  etcdctl put greeting hello
  etcdctl get greeting
  etcdctl endpoint status --write-out=table

  export CONCLAVE_ENDPOINTS=${endpoints}
  ${conclave} status
  ${conclave} kv watch greeting

  export CONCLAVE_HTTP_ENDPOINT=${httpEndpoints}
  ${conclave} config set db.pool.max 20 --application pay --environment DEV
  ${conclave} config list
  ${conclave} --help

  curl http://127.0.0.1:${members[0]!.httpPort}/metrics

A tutorial: docs/tutorial.md. The API, to browse: http://127.0.0.1:${members[0]!.httpPort}/docs

Ctrl-C stops the cluster; the data stays.
`;
}

async function run(settings: Settings): Promise<number> {
  const launch = new Launch(settings.members.length);
  const cluster = new LocalCluster({
    ...settings,
    program: ['--enable-source-maps', programPath()],
    onMemberEnd: launch.onMemberEnd,
  });
  return launch.run(cluster, { banner: banner(settings), usage: `\n\n${usage(settings)}` });
}

await exitWith(async () => {
  const settings = settingsFrom(process.argv.slice(2));
  if (settings !== 'help') return run(settings);
  console.log(HELP);
  return 0;
});
