import { createHash } from 'node:crypto';
import type { MemberId } from '../core/raft/messages.ts';
import { StoreError } from '../lib/errors.ts';

/** A member as the command line names it: `--initial-cluster name=url,name=url2`. */
export interface InitialMember {
  readonly name: string;
  readonly peerUrls: readonly string[];
}

export interface InitialCluster {
  readonly clusterId: number;
  readonly members: readonly (InitialMember & { readonly id: MemberId })[];
}

/**
 * Ids that every member computes alike from its flags: hashes of the token, the initial cluster and the name.
 *
 * @throws StoreError `bad-options` when two ids collide
 */
export function initialCluster(token: string, members: readonly InitialMember[]): InitialCluster {
  const sorted = members
    .map((member) => ({ name: member.name, peerUrls: [...member.peerUrls].sort() }))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
  const description = JSON.stringify([token, sorted.map((member) => [member.name, member.peerUrls])]);
  const clusterId = hash53(`cluster ${description}`);
  const withIds = sorted.map((member) => ({ ...member, id: hash53(`member ${member.name} ${description}`) }));
  const ids = new Set(withIds.map((member) => member.id));
  if (ids.size !== withIds.length)
    throw new StoreError('bad-options', 'member ids collide: change --initial-cluster-token');
  return { clusterId, members: withIds };
}

/** The first 53 bits of a SHA-256, never 0: 0 means "no member". */
function hash53(text: string): number {
  const digest = createHash('sha256').update(text).digest();
  return digest.readUIntBE(0, 6) * 32 + ((digest[6] ?? 0) >>> 3) || 1;
}
