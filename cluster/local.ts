import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { exitWith, portList, programPath, shownPath, stopOnSignals } from './launcher.ts';
import { LocalCluster, type LocalMember } from './local-cluster.ts';

/** `npm start`: a three-member cluster in three processes on this machine, until Ctrl-C. */

const HELP = `Runs a three-member Conclave cluster on this machine.

Usage: npm start -- [options]        (or: node dist/cluster/local.js [options])

  --data-dir DIR        where the members' data and logs are kept   (default .data)
  --client-ports A,B,C  ports for clients                           (default 2379,22379,32379)
  --peer-ports A,B,C    ports between the members                   (default 2380,22380,32380)
  --http-ports A,B,C    ports for health and metrics                (default 8080,8081,8082)
  --help

Ctrl-C stops all members; starting again finds the data. Delete the directory to begin anew.`;

const MEMBERS = 3;
const READY_TIMEOUT_MS = 120_000;

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
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const clients = portList(values['client-ports'], { flag: '--client-ports', count: MEMBERS });
  const peers = portList(values['peer-ports'], { flag: '--peer-ports', count: MEMBERS });
  const https = portList(values['http-ports'], { flag: '--http-ports', count: MEMBERS });
  const members = clients.map((clientPort, at) => ({
    name: `n${at + 1}`,
    clientPort,
    peerPort: peers[at]!,
    httpPort: https[at]!,
  }));
  return { dataDir: resolve(values['data-dir']), members };
}

function banner({ dataDir, members }: Settings): string {
  const directory = shownPath(dataDir);
  const rows = members.map(
    ({ name, clientPort, httpPort }) =>
      `  ${name}   clients http://127.0.0.1:${clientPort}   health, metrics http://127.0.0.1:${httpPort}   log ${directory}/${name}.log`,
  );
  return [`Starting three members, data in ${directory}`, '', ...rows, ''].join('\n');
}

function usage({ members }: Settings): string {
  const endpoints = members.map(({ clientPort }) => `127.0.0.1:${clientPort}`).join(',');
  const conclave = `node ${shownPath(programPath())}`;
  return `Try it in another terminal:

  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=${endpoints}
  etcdctl put greeting hello
  etcdctl get greeting
  etcdctl endpoint status --write-out=table

  export CONCLAVE_ENDPOINTS=${endpoints}
  ${conclave} status
  ${conclave} kv watch greeting
  ${conclave} --help

  curl http://127.0.0.1:${members[0]!.httpPort}/metrics

Ctrl-C stops the cluster; the data stays.
`;
}

async function run(settings: Settings): Promise<number> {
  const interrupted = new AbortController();
  const ended = new AbortController();
  const cluster = new LocalCluster({
    members: settings.members,
    dataDir: settings.dataDir,
    program: ['--enable-source-maps', programPath()],
    onMemberEnd: (name, how) => {
      console.error(
        `\n${name} ended (${how}); ${cluster.runningCount} of ${settings.members.length} members run`,
      );
      if (cluster.runningCount === 0) ended.abort();
    },
  });
  const stopped = stopOnSignals(cluster, interrupted);

  console.log(banner(settings));
  const startedAt = performance.now();
  try {
    await cluster.start(AbortSignal.any([interrupted.signal, AbortSignal.timeout(READY_TIMEOUT_MS)]));
  } catch (error) {
    if (interrupted.signal.aborted) return stopped;
    throw error;
  }
  console.log(`Ready after ${((performance.now() - startedAt) / 1000).toFixed(1)} s.\n\n${usage(settings)}`);
  const died = new Promise<number>((settle) => ended.signal.addEventListener('abort', () => settle(1)));
  return Promise.race([stopped, died]);
}

await exitWith(async () => {
  const settings = settingsFrom(process.argv.slice(2));
  if (settings !== 'help') return run(settings);
  console.log(HELP);
  return 0;
});
