import type { MemberId } from '../core/raft/messages.ts';
import { askAny, type BootstrapOptions } from './bootstrap.ts';
import type { MemberInfo } from './membership.ts';

export interface RemovalCheckOptions extends BootstrapOptions {
  readonly self: MemberId;
  readonly clusterId: number;
  readonly hasLeader: () => boolean;
  readonly members: () => readonly MemberInfo[];
  /** Without a leader for this long the member asks whether it still belongs. */
  readonly patienceMs: number;
  readonly removed: () => void;
}

/**
 * A removed member hears no more of the cluster, not even of its removal. So a member that misses a leader asks the
 * others whether they have removed it.
 */
export class RemovalCheck {
  readonly #options: RemovalCheckOptions;
  #leaderSeenMs: number;
  #asking = false;

  constructor(options: RemovalCheckOptions) {
    this.#options = options;
    this.#leaderSeenMs = options.clock.nowMs();
  }

  tick(): void {
    const { clock, hasLeader, patienceMs, logger } = this.#options;
    if (hasLeader()) this.#leaderSeenMs = clock.nowMs();
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
    for (const member of members().filter((other) => other.id !== self)) {
      const account = await askAny(this.#options, member.peerUrls);
      if (account?.clusterId === clusterId && account.removed.includes(self)) {
        removed();
        return;
      }
    }
  }
}
