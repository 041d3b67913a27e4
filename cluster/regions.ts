import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exitWith, Launch, memberPorts, shownPath } from './launcher.ts';
import { RegionCluster } from './region-cluster.ts';
import {
  parseRoundTrips,
  REGION_MEMBERS,
  type RegionMember,
  ROUND_TRIPS,
  type RoundTrips,
  roundTripsText,
  timersFor,
} from './region-layout.ts';
import { RegionProbe } from './region-probe.ts';
import { regionTable } from './region-table.ts';

/** `npm run regions`: five voters and a learner in three regions of this machine, with the delays between them. */

const portsText = (of: (member: RegionMember) => number): string => REGION_MEMBERS.map(of).join(',');
const CLIENT_PORTS = portsText(({ clientPort }) => clientPort);
const PEER_PORTS = portsText(({ peerPort }) => peerPort);
const HTTP_PORTS = portsText(({ httpPort }) => httpPort);
const TRIPS = roundTripsText(ROUND_TRIPS);

const HELP = `Runs a Conclave cluster in three regions of this machine: n1, n2 in a, n3, n4 in b, n5 and the learner n6 in c.

Usage: npm run regions -- [options]        (or: node dist/cluster/regions.js [options])

  --round-trips LIST  milliseconds between regions   (default ${TRIPS})
  --data-dir DIR      where the members' data and logs are kept, and found again (default .data/regions)
  --client-ports LIST ports for clients              (default ${CLIENT_PORTS})
  --peer-ports LIST   ports between the members      (default ${PEER_PORTS})
  --http-ports LIST   ports for health and metrics   (default ${HTTP_PORTS})
  --help

What members tell each other passes through proxies on the peer ports, which delay it. Clients connect directly: a
client of a port is a client in that member's region. Ctrl-C stops all members; starting again finds the data.`;

const HOST = '127.0.0.1';
const DRAW_PAUSE_MS = 1_000;
/** Between two tables where nobody can redraw them. */
const PLAIN_PAUSE_MS = 10_000;

interface Settings {
  readonly dataDir: string;
  readonly members: readonly RegionMember[];
  readonly roundTrips: RoundTrips;
}

function settingsFrom(argv: readonly string[]): Settings | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      'round-trips': { type: 'string', default: TRIPS },
      'data-dir': { type: 'string', default: '.data/regions' },
      'client-ports': { type: 'string', default: CLIENT_PORTS },
      'peer-ports': { type: 'string', default: PEER_PORTS },
      'http-ports': { type: 'string', default: HTTP_PORTS },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const ports = memberPorts(values, REGION_MEMBERS.length);
  return {
    dataDir: resolve(values['data-dir']),
    members: REGION_MEMBERS.map((member, at) => ({ ...member, ...ports[at]! })),
    roundTrips: parseRoundTrips(values['round-trips']),
  };
}

function banner({ dataDir, members }: Settings): string {
  const rows = members.map(
    ({ name, region, clientPort, httpPort, learner }) =>
      `  ${region}  ${name}${learner ? ' (learner)' : ''}\tclients http://${HOST}:${clientPort}\thealth, metrics http://${HOST}:${httpPort}`,
  );
  return [`Starting six members, data and logs in ${shownPath(dataDir)}`, '', ...rows, ''].join('\n');
}

function usage({ members, roundTrips }: Settings): string {
  const { heartbeatMs, electionMs } = timersFor(roundTrips);
  const at = (name: string): string =>
    `127.0.0.1:${members.find((member) => member.name === name)!.clientPort}`;
  return `Heartbeats every ${heartbeatMs} ms, election timeout ${electionMs} ms. In another terminal:

  export ETCDCTL_API=3
  etcdctl --endpoints=${at('n1')} put greeting hello               # from region a
  etcdctl --endpoints=${at('n6')} get greeting                     # from region c, linearizable
  etcdctl --endpoints=${at('n6')} get greeting --consistency=s     # from region c, as the member there has it
  curl -i ${at('n6')}/v3/kv/range -H 'Conclave-Max-Staleness-Ms: 500' -d '{"key":"Z3JlZXRpbmc="}'

docs/multi-region.md says what each kind of read promises. Ctrl-C stops the cluster; the data stays.
`;
}

async function run(settings: Settings): Promise<number> {
  const launch = new Launch(settings.members.length);
  await using regions = await RegionCluster.prepare({ ...settings, onMemberEnd: launch.onMemberEnd });
  return await launch.run(regions.members, {
    banner: banner(settings),
    usage: ` ${usage(settings)}`,
    meanwhile: async (signal) => show(settings, signal),
  });
}

/** Probes and shows until the signal: one table that changes in a terminal, else one after the other. */
async function show({ members, roundTrips }: Settings, signal: AbortSignal): Promise<void> {
  const probe = new RegionProbe(members);
  const probed = probe.run(signal);
  const isTerminal = process.stdout.isTTY;
  let drawnLines = 0;
  while (!signal.aborted) {
    await delay(isTerminal ? DRAW_PAUSE_MS : PLAIN_PAUSE_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    const lines = regionTable(probe.found, roundTrips, isTerminal ? process.stdout.columns : undefined);
    const again = isTerminal && drawnLines > 0 ? `\x1b[${drawnLines}A\x1b[0J` : '';
    process.stdout.write(`${again}${lines.join('\n')}\n${isTerminal ? '' : '\n'}`);
    drawnLines = lines.length;
  }
  await probed;
}

await exitWith(async () => {
  const settings = settingsFrom(process.argv.slice(2));
  if (settings !== 'help') return run(settings);
  console.log(HELP);
  return 0;
});
