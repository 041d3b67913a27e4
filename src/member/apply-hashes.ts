import type { Operation } from '../core/command.ts';
import type { SetHash } from '../core/mvcc/row.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { StateMachine } from '../core/state-machine.ts';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { withDeadline } from './deadline.ts';
import type { MemberInfo } from './membership.ts';
import type { Ask } from './peer-requests.ts';
import type { Clock } from './ports.ts';

/** A member remembers its apply hash at every multiple of this index, */
const REMEMBER_EVERY = 1_024;
/** the newest so many of them. */
const REMEMBERED_MAX = 64;
/** How often the leader compares. */
const CHECK_INTERVAL_MS = 10_000;

export interface ApplyHashesOptions {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  readonly members: () => readonly MemberInfo[];
  readonly ask: Ask;
  readonly propose: (operation: Operation) => Promise<unknown>;
}

/**
 * Finds members whose state has diverged: equal members have equal running hashes at equal indexes (RELIABILITY 4.5).
 * The leader compares; a member outside the majority gets the CORRUPT alarm, which stops writes until an operator
 * has replaced it.
 */
export class ApplyHashes {
  readonly #options: ApplyHashesOptions;
  readonly #hashes = new Map<number, SetHash>();
  #checkedMs: number;
  #comparing = false;

  constructor(options: ApplyHashesOptions) {
    this.#options = options;
    this.#checkedMs = options.clock.nowMs();
  }

  /** To be called after each applied entry. */
  applied(index: number, machine: StateMachine): void {
    if (index % REMEMBER_EVERY !== 0) return;
    this.#hashes.set(index, machine.marker().applyHash);
    if (this.#hashes.size <= REMEMBERED_MAX) return;
    const [oldest] = this.#hashes.keys();
    if (oldest !== undefined) this.#hashes.delete(oldest);
  }

  at(index: number): SetHash | null {
    return this.#hashes.get(index) ?? null;
  }

  tick(): void {
    const { clock, isLeader, logger } = this.#options;
    if (this.#comparing || !isLeader() || clock.nowMs() - this.#checkedMs < CHECK_INTERVAL_MS) return;
    this.#checkedMs = clock.nowMs();
    this.#comparing = true;
    this.#compare()
      .catch((error: unknown) => logger.warn({ err: error }, 'the members could not be compared'))
      .finally(() => {
        this.#comparing = false;
      });
  }

  /** Compares at the newest index but one, which followers have most likely reached. */
  async #compare(): Promise<void> {
    const index = [...this.#hashes.keys()].at(-2);
    const own = index === undefined ? null : this.at(index);
    if (index === undefined || own === null) return;
    const { self, members, logger, propose } = this.#options;
    const answers = new Map<MemberId, string>([[self, text(own)]]);
    const others = members().filter((member) => member.id !== self);
    await Promise.all(
      others.map(async ({ id }) => {
        const hash = await this.#ask(id, index);
        if (hash !== null) answers.set(id, text(hash));
      }),
    );
    const diverged = outsideMajority(answers, members().length);
    for (const member of diverged) {
      logger.error(
        { member, index, hashes: Object.fromEntries(answers) },
        'a member has diverged: raising CORRUPT',
      );
      await propose({ type: 'alarm', action: 'activate', member, alarm: 'corrupt' });
    }
  }

  async #ask(member: MemberId, index: number): Promise<SetHash | null> {
    try {
      return await withDeadline(this.#options.clock, CHECK_INTERVAL_MS, (signal) =>
        this.#options.ask(member, { type: 'apply-hash', index }, signal),
      );
    } catch (error) {
      // Whoever does not answer cannot be compared now.
      if (error instanceof StoreError) return null;
      throw error;
    }
  }
}

/** Members whose answer is not the majority's; all who answered when there is disagreement and no majority. */
export function outsideMajority(answers: ReadonlyMap<MemberId, string>, memberCount: number): MemberId[] {
  const votes = new Map<string, number>();
  for (const answer of answers.values()) votes.set(answer, (votes.get(answer) ?? 0) + 1);
  if (votes.size <= 1) return [];
  const majority = [...votes].find(([, count]) => count > memberCount / 2)?.[0];
  return [...answers].filter(([, answer]) => answer !== majority).map(([id]) => id);
}

function text(hash: SetHash): string {
  return `${hash.a.toString(16)}-${hash.b.toString(16)}`;
}
