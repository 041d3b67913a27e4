import type { MemberId } from '../core/raft/messages.ts';
import { askAny, type BootstrapOptions } from './bootstrap.ts';
import type { InitialMember } from './identity.ts';
import type { PeerAddress } from './ports.ts';

export interface RemovalCheckOptions extends BootstrapOptions {
  readonly self: MemberId;
  readonly clusterId: number;
  readonly hasLeader: () => boolean;
  readonly members: () => readonly PeerAddress[];
  /** The whole cluster as the command line names it, this member included. */
  readonly initialCluster: readonly InitialMember[];
  readonly ownUrls: readonly string[];
  /** Without a leader for this long the member asks whether it still belongs. */
  readonly patienceMs: number;
  readonly removed: () => void;
  /** The data is another cluster's than the addresses it was started with. */
  readonly foreign: (reason: string) => void;
}

/**
 * A removed member hears no more of the cluster, not even of its removal. So a member that misses a leader asks the
 * others whether they have removed it. And one that never had a leader since its start may run on a data directory
 * that was put in a wrong place: it asks at the addresses it was started with.
 */
export class RemovalCheck {
  readonly #options: RemovalCheckOptions;
  #leaderSeenMs: number;
  #asking = false;
  #hadLeader = false;

  constructor(options: RemovalCheckOptions) {
    this.#options = options;
    this.#leaderSeenMs = options.clock.nowMs();
  }

  tick(): void {
    const { clock, hasLeader, patienceMs, logger } = this.#options;
    if (hasLeader()) {
      this.#leaderSeenMs = clock.nowMs();
      this.#hadLeader = true;
    }
    if (this.#asking || clock.nowMs() - this.#leaderSeenMs < patienceMs) return;
    this.#leaderSeenMs = clock.nowMs();
    this.#asking = true;
    this.#ask()
      .catch((error: unknown) =>
        logger.warn({ err: error }, 'could not ask whether this member still belongs'),
      )
      .finally(() => {
        this.#asking = false;
      });
  }

  async #ask(): Promise<void> {
    const { self, clusterId, members, removed } = this.#options;
    const others = members().filter(({ id }) => id !== self);
    // One that has joined and heard nothing since knows only whom it was started with.
    for (const { peerUrls } of others.length > 0 ? others : this.#named()) {
      const account = await askAny(this.#options, peerUrls);
      if (account?.clusterId === clusterId && account.removed.includes(self)) {
        removed();
        return;
      }
    }
    const reason = this.#hadLeader ? null : await this.foreignness();
    if (reason !== null) this.#options.foreign(reason);
  }

  /** The others that the command line names. */
  #named(): readonly InitialMember[] {
    const { initialCluster, ownUrls } = this.#options;
    return initialCluster.filter(({ peerUrls }) => !peerUrls.some((url) => ownUrls.includes(url)));
  }

  /**
   * Why the data is not that of the cluster whose addresses the member was started with, or null. One address that
   * went to another cluster may be an old option; so many that the rest is no majority mean that it is this data
   * which does not belong here.
   */
  async foreignness(): Promise<string | null> {
    const { clusterId, initialCluster } = this.#options;
    const others = this.#named();
    const accounts = await Promise.all(others.map(({ peerUrls }) => askAny(this.#options, peerUrls)));
    const strangers = others.flatMap(({ name, peerUrls }, i) => {
      const account = accounts[i] ?? null;
      if (account === null || account.members.length === 0 || account.clusterId === clusterId) return [];
      return [`${name} at ${peerUrls.join()} to cluster ${account.clusterId.toString(16)}`];
    });
    const majority = Math.floor(initialCluster.length / 2) + 1;
    if (strangers.length === 0 || initialCluster.length - strangers.length >= majority) return null;
    return (
      `this data directory belongs to cluster ${clusterId.toString(16)}, but ${strangers.join(', ')}: ` +
      'the directory is in the wrong place, or --initial-cluster is'
    );
  }
}
