import type { MemberId } from '../core/raft/messages.ts';
import { StoreError } from '../lib/errors.ts';
import { askAny, type BootstrapOptions } from './bootstrap.ts';
import type { MemberInfo } from './membership.ts';

/** Unknown members remembered at a time; more is a sign of something else, and they come again. */
const UNKNOWN_MAX = 64;
/** Rest between two rounds of questions. */
const ASK_INTERVAL_MS = 500;

export interface NewcomersOptions extends BootstrapOptions {
  readonly clusterId: number;
  /** Whom this member knows already. */
  readonly members: () => readonly MemberInfo[];
  /** `list` has become longer. */
  readonly learned: () => void;
}

/**
 * Members that were added after what is applied here. A member that lags hears of one when it connects, perhaps as
 * the leader, but cannot answer it before it knows where it lives: so it asks the members it knows.
 */
export class Newcomers {
  readonly #options: NewcomersOptions;
  readonly #unknown = new Set<MemberId>();
  #found: readonly MemberInfo[] = [];
  #asking = false;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(options: NewcomersOptions) {
    this.#options = options;
  }

  /** This member has connected. */
  met(id: MemberId): void {
    if (this.#isKnown(id) || this.#unknown.size >= UNKNOWN_MAX) return;
    this.#unknown.add(id);
  }

  /** Those found that are still not among those it knows otherwise. */
  list(): readonly MemberInfo[] {
    const known = new Set(this.#options.members().map((member) => member.id));
    return this.#found.filter((member) => !known.has(member.id));
  }

  tick(): void {
    const { clock, logger } = this.#options;
    if (this.#unknown.size === 0 || this.#asking || clock.nowMs() - this.#askedMs < ASK_INTERVAL_MS) return;
    this.#askedMs = clock.nowMs();
    this.#asking = true;
    this.#ask()
      .catch((error: unknown) => {
        if (!(error instanceof StoreError)) throw error;
        logger.warn({ err: error }, 'could not ask who a new member is');
      })
      .finally(() => {
        this.#asking = false;
      });
  }

  async #ask(): Promise<void> {
    const { clusterId, members, signal, learned } = this.#options;
    for (const { peerUrls } of members()) {
      for (const id of this.#unknown) if (this.#isKnown(id)) this.#unknown.delete(id);
      if (this.#unknown.size === 0 || signal.aborted) return;
      const account = await askAny(this.#options, peerUrls);
      if (account?.clusterId !== clusterId) continue;
      const found = account.members.filter((member) => this.#unknown.has(member.id));
      if (found.length === 0) continue;
      this.#found = [...this.list(), ...found];
      learned();
    }
  }

  #isKnown(id: MemberId): boolean {
    return [...this.#options.members(), ...this.#found].some((member) => member.id === id);
  }
}
