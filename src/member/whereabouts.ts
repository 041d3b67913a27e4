import { decodeCommand } from '../core/command.ts';
import type { Entry, MemberId } from '../core/raft/messages.ts';
import type { MemberInfo } from './membership.ts';
import type { PeerAddress, PeerIdentity } from './ports.ts';

/** Unknown members remembered at a time; more is a sign of something else, and they come again. */
const UNKNOWN_MAX = 64;

export interface WhereaboutsOptions {
  /** Whom this member knows by the state it has applied. */
  readonly members: () => readonly MemberInfo[];
  readonly wasRemoved: (id: MemberId) => boolean;
}

/**
 * Where the members live. One that lags hears from members that were added, or that have moved, after what is applied
 * here, perhaps from the leader, and cannot answer before it knows where to: so every peer says it when it connects.
 */
export class Whereabouts {
  readonly #options: WhereaboutsOptions;
  /** Addresses besides those of the state. An old one does no harm: whoever lives there is asked who he is. */
  readonly #told = new Map<MemberId, readonly string[]>();

  constructor(options: WhereaboutsOptions) {
    this.#options = options;
  }

  /** This peer has connected. @returns whether `addresses` has changed */
  met({ memberId, peerUrls }: PeerIdentity): boolean {
    const isKnown = this.#stateUrls(memberId).length > 0 || this.#told.has(memberId);
    if (!isKnown && this.#unknown().length >= UNKNOWN_MAX) return false;
    const before = this.#urls(memberId);
    this.#told.set(memberId, peerUrls);
    return this.#urls(memberId).join() !== before.join();
  }

  /**
   * Takes from the end of a log what may not have been committed: when all members start anew, nobody may be where the
   * others know him to be, and nobody could say so.
   */
  read(entries: readonly Entry[]): void {
    for (const { kind, data } of entries) {
      if (kind !== 'normal' || data.length === 0) continue;
      const { operation } = decodeCommand(data);
      if (operation.type === 'member-update') this.#told.set(operation.id, operation.peerUrls);
    }
  }

  /**
   * Whom to talk to, and where. What a member said itself stays good when the state gives it another address: it lives
   * at the old one until it is started at the new.
   */
  addresses(): readonly PeerAddress[] {
    const known = this.#options.members().map(({ id }) => ({ id, peerUrls: this.#urls(id) }));
    return [...known, ...this.#unknown()];
  }

  #urls(id: MemberId): readonly string[] {
    return [...new Set([...this.#stateUrls(id), ...(this.#told.get(id) ?? [])])];
  }

  #stateUrls(id: MemberId): readonly string[] {
    return this.#options.members().find((member) => member.id === id)?.peerUrls ?? [];
  }

  #unknown(): readonly PeerAddress[] {
    const { members, wasRemoved } = this.#options;
    const known = new Set(members().map(({ id }) => id));
    return [...this.#told]
      .filter(([id]) => !known.has(id) && !wasRemoved(id))
      .map(([id, peerUrls]) => ({ id, peerUrls }));
  }
}
