import { parseArgs } from 'node:util';
import { exitWith } from './launcher.ts';
import { parseRoundTrips, REGION_MEMBERS, ROUND_TRIPS, roundTripsText } from './region-layout.ts';
import { regionNetwork } from './region-network.ts';

/** The network between the members of cluster/compose.regions.yaml: all their peers' connections pass through it. */

const HELP = `Stands between the members of cluster/compose.regions.yaml and delays what passes between regions.

Usage: node dist/cluster/wan-regions.js [options]

  --round-trips LIST  milliseconds between regions (default ${roundTripsText(ROUND_TRIPS)})
  --help`;

/** Where every member listens for its peers, in its own container. */
const CONTAINER_PEER_PORT = 2380;

await exitWith(async () => {
  const { values } = parseArgs({
    options: {
      'round-trips': { type: 'string', default: roundTripsText(ROUND_TRIPS) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const roundTrips = parseRoundTrips(values['round-trips']);
  const proxied = REGION_MEMBERS.map((member) => ({
    member,
    target: `http://${member.name}:${CONTAINER_PEER_PORT}`,
  }));
  await using network = await regionNetwork(proxied, { host: '0.0.0.0', roundTrips });
  console.log(`round trips ${roundTripsText(roundTrips)} ms between regions ${network.places.join(', ')}`);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  return 0;
});
