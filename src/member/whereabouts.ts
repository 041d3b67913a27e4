import type { MemberId } from '../core/raft/messages.ts';
import type { MemberInfo } from './membership.ts';
import type { PeerAddress, PeerIdentity } from './ports.ts';

/** Unknown members remembered at a time; more is a sign of something else, and they come again. */
const UNKNOWN_MAX = 64;

export interface WhereaboutsOptions {
  /** Whom this member knows otherwise. */
  readonly members: () => readonly MemberInfo[];
  readonly wasRemoved: (id: MemberId) => boolean;
}

/** Where a member says that it lives, and which addresses it had here when it did: none for one that was unknown. */
interface Told {
  readonly urls: readonly string[];
  readonly insteadOf: readonly string[];
}

/**
 * Where the members live. One that lags hears from members that were added, or that have moved, after what is applied
 * here, perhaps from the leader, and cannot answer before it knows where to: so every peer says it when it connects.
 */
export class Whereabouts {
  readonly #options: WhereaboutsOptions;
  readonly #told = new Map<MemberId, Told>();

  constructor(options: WhereaboutsOptions) {
    this.#options = options;
  }

  /** This peer has connected. @returns whether `addresses` may have changed */
  met({ memberId, peerUrls }: PeerIdentity): boolean {
    const member = this.#options.members().find(({ id }) => id === memberId);
    const before = this.#told.get(memberId);
    if (member === undefined && before === undefined && this.#unknown().length >= UNKNOWN_MAX) return false;
    const insteadOf = member?.peerUrls ?? [];
    if (peerUrls.every((url) => insteadOf.includes(url))) return this.#told.delete(memberId);
    this.#told.set(memberId, { urls: peerUrls, insteadOf });
    return before === undefined || !sameUrls(before.urls, peerUrls);
  }

  /** Whom to talk to, and where. */
  addresses(): readonly PeerAddress[] {
    const unknown = this.#unknown().map(([id, { urls }]) => ({ id, peerUrls: urls }));
    return [...this.#options.members().map((member) => this.#address(member)), ...unknown];
  }

  /** What the state says comes first: a peer may have been started with an old option. */
  #address({ id, peerUrls }: MemberInfo): PeerAddress {
    const told = this.#told.get(id);
    // What the state has heard of since is newer.
    if (told === undefined || !sameUrls(told.insteadOf, peerUrls)) return { id, peerUrls };
    return { id, peerUrls: [...new Set([...peerUrls, ...told.urls])] };
  }

  #unknown(): readonly (readonly [MemberId, Told])[] {
    const { members, wasRemoved } = this.#options;
    const known = new Set(members().map(({ id }) => id));
    return [...this.#told].filter(([id]) => !known.has(id) && !wasRemoved(id));
  }
}

function sameUrls(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((url, at) => url === others[at]);
}
