import { LocalClusterError, portInUse } from './local-cluster.ts';
import { REGIONS, type RegionMember, type RoundTrips, roundTripMs } from './region-layout.ts';
import { WanNetwork } from './wan-proxy.ts';

/** Where one member listens for its peers, and where its proxy does. */
export interface ProxiedMember {
  readonly member: Pick<RegionMember, 'name' | 'region' | 'peerPort'>;
  /** `http://host:port` of the member itself. */
  readonly target: string;
}

/**
 * Puts a proxy in front of every member and the round trips between the regions: each region is one place of the
 * network, so that its members share its links and reach each other at once.
 *
 * @param options.host where the proxies listen, each on its member's peer port
 * @throws LocalClusterError when a port is taken; nothing listens then
 */
export async function regionNetwork(
  members: readonly ProxiedMember[],
  options: { readonly host: string; readonly roundTrips: RoundTrips },
): Promise<WanNetwork> {
  const network = new WanNetwork();
  try {
    for (const proxied of members) await expose(network, proxied, options.host);
  } catch (error) {
    await network.close();
    throw error;
  }
  shapeRegions(network, options.roundTrips);
  return network;
}

/** Half of a round trip each way. */
export function shapeRegions(network: WanNetwork, roundTrips: RoundTrips): void {
  for (const from of REGIONS) {
    for (const to of REGIONS) {
      if (from !== to) network.shape({ from, to }, { delayMs: roundTripMs(roundTrips, { from, to }) / 2 });
    }
  }
}

async function expose(network: WanNetwork, { member, target }: ProxiedMember, host: string): Promise<void> {
  const { name, region, peerPort } = member;
  try {
    await network.expose(region, { target, listen: { host, port: peerPort } });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE')
      throw portInUse({ port: peerPort, use: 'peer', name });
    throw new LocalClusterError(`port ${peerPort} (peer port of ${name}): ${(cause as Error).message}`, {
      cause,
    });
  }
}
