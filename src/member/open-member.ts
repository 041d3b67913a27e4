import type { MemberId } from '../core/raft/messages.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import {
  bootFromDisk,
  confirmNew,
  createDataDirectory,
  existingIdentity,
  placeFromCluster,
  placeFromFlags,
} from './boot.ts';
import { encodeAccount } from './bootstrap.ts';
import { forceNewCluster } from './force-new-cluster.ts';
import type { Member } from './member.ts';
import type { MemberOptions, MemberPorts } from './member-options.ts';
import { MetPeers } from './met-peers.ts';
import type { PeerIdentity, TransportHandlers } from './ports.ts';
import type { ReplicaOptions } from './replica.ts';
import { RunningMember } from './running.ts';
import type { Identity } from './storage/data-dir.ts';

/**
 * Starts a member: from its data directory when that holds one, else as a new member, once its peers have confirmed
 * that it may be. Resolves when it has applied again all that it knew to be committed; it may not have a leader yet.
 *
 * @throws StoreError `bad-options`, `data-dir-*`, `member-data-lost`, `member-not-found`, `cluster-id-mismatch`,
 *   `canceled` when `signal` aborts first
 */
export async function openMember(
  options: MemberOptions,
  ports: MemberPorts,
  signal: CancelSignal,
): Promise<Member> {
  const replicaOptions: ReplicaOptions = {
    ...ports,
    cacheBytesMax: options.cacheBytesMax,
    onFatal: ports.fatal,
  };
  const met = await MetPeers.open(ports.disk, ports.fatal);
  const handlers = new PeerHandlers(met);
  try {
    let identity = await existingIdentity(ports);
    const isNew = identity === null;
    identity ??= await firstStart(options, ports, { replicaOptions, handlers, signal });
    if (options.forceNewCluster) identity = await forceNewCluster(ports, replicaOptions, identity);
    const data = await bootFromDisk(ports, options, replicaOptions, identity);
    if (!isNew) {
      const { clusterId, memberId, incarnation, earlier } = data.identity;
      handlers.clusterId = clusterId;
      const record = data.replica.machine.members.get(memberId);
      const peerUrls = [...new Set([...(record?.peerUrls ?? []), ...options.peerUrls])];
      const logSeq = data.log.lastSeq;
      const told = { clusterId, memberId, incarnation, earlier, logSeq, peerUrls };
      await ports.transport.start(told, handlers);
    }
    const running = new RunningMember({ options, ports, data, replicaOptions, met });
    handlers.running = running;
    await running.start();
    return running.member;
  } catch (error) {
    if (handlers.running === null) await ports.transport.close();
    else await handlers.running.member.stop();
    throw error;
  }
}

/** Gives a member without data its place in the cluster and its data directory. The transport runs afterwards. */
async function firstStart(
  options: MemberOptions,
  ports: MemberPorts,
  context: {
    readonly replicaOptions: ReplicaOptions;
    readonly handlers: PeerHandlers;
    readonly signal: CancelSignal;
  },
): Promise<Identity> {
  const { replicaOptions, handlers, signal } = context;
  const joins = options.initialClusterState === 'existing';
  const place = joins ? await placeFromCluster(ports, options, signal) : placeFromFlags(options);
  handlers.clusterId = place.clusterId;
  const { clusterId, memberId } = place;
  const { peerUrls } = options;
  const told = { clusterId, memberId, incarnation: 1, earlier: [], logSeq: 0, peerUrls };
  await ports.transport.start(told, handlers);
  if (!joins) await confirmNew(ports, options, place, { told: handlers.told, signal });
  return createDataDirectory(ports, options, replicaOptions, place);
}

/** Peers whose addresses are remembered before the member runs; more is a sign of something else. */
const TOLD_MAX = 64;

/** Until the member runs, it answers only the question whether it has met somebody. */
class PeerHandlers implements TransportHandlers {
  running: RunningMember | null = null;
  clusterId = 0;
  /** Where those say that they live who have connected before this member could let them in. */
  readonly told = new Map<MemberId, readonly string[]>();
  readonly #met: MetPeers;

  constructor(met: MetPeers) {
    this.#met = met;
  }

  messages(...args: Parameters<TransportHandlers['messages']>): void {
    this.running?.messages(...args);
  }

  request(...args: Parameters<TransportHandlers['request']>): Promise<Buffer> {
    return this.running?.request(...args) ?? notStarted();
  }

  snapshot(...args: Parameters<TransportHandlers['snapshot']>): Promise<void> {
    return this.running?.snapshot(...args) ?? notStarted();
  }

  async probe(): Promise<Buffer> {
    if (this.running !== null) return this.running.probe();
    const { clusterId } = this;
    return encodeAccount({ clusterId, members: [], met: this.#met.ids(), removed: [] });
  }

  admit(peer: PeerIdentity): string | null {
    if (this.running !== null) return this.running.admit(peer);
    if (this.told.size < TOLD_MAX || this.told.has(peer.memberId))
      this.told.set(peer.memberId, peer.peerUrls);
    return 'this member is still starting';
  }

  unreachable(...args: Parameters<TransportHandlers['unreachable']>): void {
    this.running?.unreachable(...args);
  }
}

function notStarted(): Promise<never> {
  return Promise.reject(new StoreError('no-leader', 'this member is still starting'));
}
