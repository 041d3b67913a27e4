import type { Operation } from '../core/command.ts';
import type { ConfChange, MemberId } from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import type { Applied } from '../core/state-machine.ts';
import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import type { Clock, Random, Transport } from './ports.ts';
import type { CallContext } from './proposals.ts';

/** Learners a cluster may have at once; one more is `too-many-learners`. */
export const LEARNERS_MAX = 8;
/** A learner may be promoted once it lacks no more than this many committed entries. */
const PROMOTE_LAG_ENTRIES_MAX = 1_000;
/** Pause before a change is tried again while an earlier one is not yet applied. */
const PENDING_RETRY_MS = 50;

/** A member as every face shows it. `name` is empty until the member has started for the first time. */
export interface MemberInfo {
  readonly id: MemberId;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** Where it runs; absent when it does not say. */
  readonly region?: string;
  readonly isLearner: boolean;
}

export interface MembershipOptions {
  readonly self: MemberId;
  readonly node: RawNode;
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly timeoutMs: number;
  readonly members: () => readonly MemberInfo[];
  readonly proposeWith: (
    operation: Operation,
    context: CallContext,
    enter: (data: Buffer) => StoreErrorCode | null,
  ) => Promise<Applied>;
  /** Gives leadership to another voter, if one is fit for it. Never fails. */
  readonly handOver: () => Promise<void>;
  /** Asks for a turn of the loop after something was put into Raft. */
  readonly schedule: () => void;
}

/**
 * Membership changes, carried out on the leader: it alone knows who is connected and how far each member is.
 * What is checked here spares a hopeless proposal; the state machine checks again at the entry's index.
 */
export class Membership {
  readonly #options: MembershipOptions;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /**
   * @throws StoreError `member-bad-urls`, `peer-url-exists`, `too-many-learners`, `unhealthy`,
   *   `not-enough-started-members`, `not-leader`, and those of a proposal
   */
  async add(
    request: { readonly peerUrls: readonly string[]; readonly isLearner: boolean },
    context: CallContext,
  ): Promise<MemberId> {
    const { members, random } = this.#options;
    this.#checkAddable(request);
    const id = 1 + random.integer(2 ** 48 - 1);
    if (members().some((member) => member.id === id)) throw new StoreError('member-exists');
    const operation: Operation = {
      type: 'member-add',
      member: { id, name: '', peerUrls: [...request.peerUrls], clientUrls: [] },
      learner: request.isLearner,
    };
    const type = request.isLearner ? 'add-learner' : 'add-voter';
    await this.#change({ steps: [{ type, id }] }, operation, {
      context,
      check: () => this.#checkAddable(request),
    });
    return id;
  }

  /**
   * A leader that is to go hands leadership over first and answers `not-leader`: were it to remove itself, the others
   * could lack the votes to elect anybody (they may not be a majority of the old voters).
   *
   * @throws StoreError `member-not-found`, `not-enough-started-members`, `unhealthy`, `not-leader`
   */
  async remove(id: MemberId, context: CallContext): Promise<void> {
    this.#find(id);
    const { self, members, handOver } = this.#options;
    if (id === self && voters(members()).length > 1) {
      await handOver();
      throw new StoreError('not-leader');
    }
    this.#checkRemovable(id);
    await this.#change(
      { steps: [{ type: 'remove', id }] },
      { type: 'member-remove', id },
      { context, check: () => this.#checkRemovable(id) },
    );
  }

  /** @throws StoreError `member-not-found`, `member-not-learner`, `learner-not-ready`, `not-leader` */
  async promote(id: MemberId, context: CallContext): Promise<void> {
    this.#checkPromotable(id);
    await this.#change(
      { steps: [{ type: 'add-voter', id }] },
      { type: 'member-promote', id },
      { context, check: () => this.#checkPromotable(id) },
    );
  }

  #checkAddable(request: { readonly peerUrls: readonly string[]; readonly isLearner: boolean }): void {
    const known = this.#options.members();
    checkPeerUrls(request.peerUrls);
    if (known.some((member) => member.peerUrls.some((url) => request.peerUrls.includes(url)))) {
      throw new StoreError('peer-url-exists');
    }
    if (request.isLearner) {
      if (known.filter((member) => member.isLearner).length >= LEARNERS_MAX)
        throw new StoreError('too-many-learners');
      return;
    }
    // A single member may grow: until the second has started nothing can be committed, and nothing is lost.
    if (voters(known).length > 1) this.#checkQuorumAfter({ votersAfter: voters(known).length + 1 });
    this.#checkConnected();
  }

  #checkRemovable(id: MemberId): void {
    const member = this.#find(id);
    if (member.isLearner || member.name === '') return;
    this.#checkQuorumAfter({ votersAfter: voters(this.#options.members()).length - 1, without: id });
  }

  #checkPromotable(id: MemberId): void {
    const member = this.#find(id);
    if (!member.isLearner) throw new StoreError('member-not-learner');
    const status = this.#options.node.status();
    const progress = status.progress.get(id);
    if (progress === undefined) throw new StoreError('not-leader');
    const caughtUp = progress.match + PROMOTE_LAG_ENTRIES_MAX >= status.commit;
    if (!caughtUp || !progress.recentActive || !this.#options.transport.connected(id)) {
      throw new StoreError('learner-not-ready');
    }
  }

  #find(id: MemberId): MemberInfo {
    const member = this.#options.members().find((candidate) => candidate.id === id);
    if (member === undefined) throw new StoreError('member-not-found');
    return member;
  }

  /** Refuses a change after which the connected, started voters would not be a majority (RELIABILITY P27). */
  #checkQuorumAfter(change: { readonly votersAfter: number; readonly without?: MemberId }): void {
    const active = voters(this.#options.members()).filter(
      (member) => member.id !== change.without && member.name !== '' && this.#isConnected(member.id),
    );
    if (active.length < Math.floor(change.votersAfter / 2) + 1) {
      throw new StoreError('not-enough-started-members');
    }
  }

  #checkConnected(): void {
    const lost = voters(this.#options.members()).some((member) => !this.#isConnected(member.id));
    if (lost) throw new StoreError('unhealthy');
  }

  #isConnected(id: MemberId): boolean {
    return id === this.#options.self || this.#options.transport.connected(id);
  }

  /**
   * Proposes one change; while an earlier one is unapplied it waits its turn. Then it is checked anew: of two changes
   * that the cluster could bear one by one, it may bear only the first.
   */
  async #change(
    change: ConfChange,
    operation: Operation,
    { context, check }: { readonly context: CallContext; readonly check: () => void },
  ): Promise<void> {
    const { clock, node, timeoutMs } = this.#options;
    const startedMs = clock.nowMs();
    for (;;) {
      let pending = false;
      try {
        const applied = await this.#options.proposeWith(operation, context, (data) => {
          const outcome = node.proposeConfChange(change, data);
          this.#options.schedule();
          if (outcome.ok) return null;
          pending = outcome.reason === 'conf-change-pending';
          if (outcome.reason === 'busy' || pending) return 'too-many-requests';
          return outcome.reason === 'conf-change-invalid' ? 'unhealthy' : 'not-leader';
        });
        if (!applied.outcome.ok) throw new StoreError(applied.outcome.code);
        return;
      } catch (error) {
        if (!pending || clock.nowMs() - startedMs >= timeoutMs) throw error;
        await new Promise<void>((resolve) => void clock.setTimer(resolve, PENDING_RETRY_MS));
        check();
      }
    }
  }
}

function voters(members: readonly MemberInfo[]): MemberInfo[] {
  return members.filter((member) => !member.isLearner);
}

/** @throws StoreError `member-bad-urls` unless every URL is `http(s)://host:port` */
export function checkPeerUrls(urls: readonly string[]): void {
  const good = urls.every((url) => {
    if (!URL.canParse(url)) return false;
    const parsed = new URL(url);
    return (
      (parsed.protocol === 'http:' || parsed.protocol === 'https:') &&
      /:\d+\/?$/.test(url) &&
      parsed.pathname === '/'
    );
  });
  if (!good || urls.length === 0) throw new StoreError('member-bad-urls');
}
