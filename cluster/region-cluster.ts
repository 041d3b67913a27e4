import { setTimeout as delay } from 'node:timers/promises';
import { ClientError } from '../src/client/client-error.ts';
import { KvClient } from '../src/client/kv-client.ts';
import { freePorts } from './free-ports.ts';
import { programPath } from './launcher.ts';
import { LocalCluster, type LocalClusterOptions, type LocalMember } from './local-cluster.ts';
import { type RegionMember, type RoundTrips, regionFlags, timersFor } from './region-layout.ts';
import { regionNetwork } from './region-network.ts';
import type { WanNetwork } from './wan-proxy.ts';

export interface RegionClusterOptions {
  readonly members: readonly RegionMember[];
  readonly roundTrips: RoundTrips;
  /** Holds one directory and one log file per member; found again at the next start on the same peer ports. */
  readonly dataDir: string;
  readonly onMemberEnd: LocalClusterOptions['onMemberEnd'];
}

const HOST = '127.0.0.1';
const ADMIT_PAUSE_MS = 250;

/** Members in regions as processes of this machine, with the network between them. */
export class RegionCluster implements AsyncDisposable {
  readonly members: LocalCluster;
  readonly network: WanNetwork;

  private constructor(members: LocalCluster, network: WanNetwork) {
    this.members = members;
    this.network = network;
  }

  /**
   * The network, and members of which none runs yet: start them by `members`.
   *
   * @throws LocalClusterError when a peer port is taken; nothing listens then
   */
  static async prepare(options: RegionClusterOptions): Promise<RegionCluster> {
    const { roundTrips, dataDir, onMemberEnd } = options;
    const local = await localMembers(options);
    const proxied = options.members.map((member, at) => ({ member, target: urlOf(local[at]!.peerPort) }));
    const network = await regionNetwork(proxied, { host: HOST, roundTrips });
    const members = new LocalCluster({
      members: local,
      dataDir,
      program: ['--enable-source-maps', programPath()],
      onMemberEnd,
      admit: async (member, signal) => admit(options, member, signal),
    });
    return new RegionCluster(members, network);
  }

  /** Stops what runs and closes the network. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.members.stop();
    await this.network.close();
  }
}

function urlOf(port: number): string {
  return `http://${HOST}:${port}`;
}

/** Each listens for its peers behind its proxy, at a port that is free today. */
async function localMembers(options: RegionClusterOptions): Promise<readonly LocalMember[]> {
  const timers = timersFor(options.roundTrips);
  const peerPorts = await freePorts(options.members.length);
  return options.members.map(({ name, region, clientPort, peerPort, httpPort, learner }, at) => ({
    name,
    clientPort,
    peerPort: peerPorts[at]!,
    advertisedPeerPort: peerPort,
    httpPort,
    flags: [...regionFlags(region, timers), ...(learner ? ['--learner-linearizable-reads=true'] : [])],
    joins: learner,
  }));
}

/** Adds the learner to the cluster unless it is one of it, again until it is done. */
async function admit(
  { members }: RegionClusterOptions,
  learner: LocalMember,
  signal: AbortSignal,
): Promise<void> {
  const voters = members.filter((member) => !member.learner);
  const peerUrl = urlOf(learner.advertisedPeerPort ?? learner.peerPort);
  using client = new KvClient({ endpoints: voters.map(({ clientPort }) => urlOf(clientPort)) });
  for (;;) {
    try {
      const { members: known } = await client.memberList({ signal });
      if (known.some(({ peerUrls }) => peerUrls.includes(peerUrl))) return;
      await client.memberAdd({ peerUrls: [peerUrl], isLearner: true }, { signal });
    } catch (error) {
      // A cluster this young may have no leader yet, or not yet every member.
      if (!(error instanceof ClientError) || signal.aborted) throw error;
      await delay(ADMIT_PAUSE_MS);
    }
  }
}
