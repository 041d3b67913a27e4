import { KvClient } from '../../src/client/kv-client.ts';
import type { Cluster, ClusterMember } from './cluster.ts';
import { eventually } from './eventually.ts';

/** The running member that says of itself that it leads; waits for an election when there is none. */
export function leaderOf(cluster: Cluster): Promise<ClusterMember> {
  const running = cluster.members.filter((member) => member.process?.running === true);
  return eventually('an election', async () => {
    for (const member of running) if (await leads(member)) return member;
    return undefined;
  });
}

async function leads({ clientUrl }: ClusterMember): Promise<boolean> {
  using client = new KvClient({ endpoints: [clientUrl], timeoutMs: 1_000 });
  try {
    const { header, leader } = await client.status(client.endpoints[0]!);
    return leader !== 0n && leader === header.memberId;
  } catch {
    // Down or starting: it does not lead.
    return false;
  }
}
