import type { MemberId } from '../core/raft/messages.ts';
import type { RaftStatus } from '../core/raft/raw-node.ts';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberInfo } from './membership.ts';
import type { Clock } from './ports.ts';

/** A look that comes so much later than it should saw nothing in between. */
const LATE_LOOKS = 5;
/** How long members wait for a leader before they campaign: where one is wanted, where it is allowed, elsewhere. */
const PATIENCE_BEST = 1;
const PATIENCE_NAMED = 1.5;
const PATIENCE_ELSEWHERE = 2;

/** When a leader goes where it is wanted. */
export interface PreferenceTiming {
  /** Between two looks at the voters. */
  readonly lookMs: number;
  /** A voter must have kept up for so long. */
  readonly healthyMs: number;
  /** A leader leads at least so long. */
  readonly tenureMs: number;
  /** After a transfer none is tried for so long; doubled each time, up to the second, and forgotten after as much. */
  readonly pauseMsMin: number;
  readonly pauseMsMax: number;
}
export const DEFAULT_PREFERENCE_TIMING: PreferenceTiming = {
  lookMs: 1_000,
  healthyMs: 30_000,
  tenureMs: 60_000,
  pauseMsMin: 60_000,
  pauseMsMax: 1_800_000,
};

/** A region's place among those that the leader should be in: 0 is best; the last is everywhere else. */
export function rankOf(region: string | undefined, leaderRegions: readonly string[]): number {
  const rank = region === undefined ? -1 : leaderRegions.indexOf(region);
  return rank < 0 ? leaderRegions.length : rank;
}

/** How many election timeouts a member of `region` waits at least before it campaigns. */
export function electionPatience(region: string | undefined, leaderRegions: readonly string[]): number {
  const rank = rankOf(region, leaderRegions);
  if (rank === 0) return PATIENCE_BEST;
  return rank < leaderRegions.length ? PATIENCE_NAMED : PATIENCE_ELSEWHERE;
}

export interface LeaderPreferenceOptions {
  readonly self: MemberId;
  /** Where this member runs. */
  readonly region: string | undefined;
  /** Best first; empty: the leader may be anywhere. */
  readonly leaderRegions: readonly string[];
  readonly timing: PreferenceTiming;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly logger: Logger;
  readonly status: () => RaftStatus;
  readonly isLeader: () => boolean;
  readonly members: () => readonly MemberInfo[];
  readonly isConnected: (id: MemberId) => boolean;
  /** Hands leadership over. Rejects with a StoreError when it did not come to that, within an election timeout or two. */
  readonly transfer: (to: MemberId) => Promise<void>;
  /** The member must not go on. */
  readonly fatal: (error: unknown) => void;
}

/**
 * Has a leader hand over to a voter of a better region, as soon as one has kept up for a while. Only ever a wish: no
 * vote is refused for it, and whoever is elected leads (RELIABILITY 8.1).
 *
 * A voter keeps up at a look when it is connected and holds all that was committed at the look before. A leader that
 * went and came back tried in vain, whatever the reason: it rests ever longer.
 */
export class LeaderPreference {
  readonly #options: LeaderPreferenceOptions;
  readonly #rank: number;
  #lookedMs = Number.NEGATIVE_INFINITY;
  /** The term this member leads in, since when, and what was committed at the last look. */
  #reign: { readonly term: number; readonly sinceMs: number; commit: number } | null = null;
  /** Voters of better regions that keep up, and since when. */
  readonly #healthy = new Map<MemberId, number>();
  #triedMs = Number.NEGATIVE_INFINITY;
  #pauseMs = 0;
  #transferring = false;

  constructor(options: LeaderPreferenceOptions) {
    this.#options = options;
    this.#rank = rankOf(options.region, options.leaderRegions);
  }

  tick(): void {
    if (this.#rank === 0) return;
    const { clock, timing, isLeader } = this.#options;
    if (!isLeader()) {
      this.#reign = null;
      this.#healthy.clear();
      return;
    }
    const nowMs = clock.nowMs();
    const passedMs = nowMs - this.#lookedMs;
    if (passedMs < timing.lookMs) return;
    this.#lookedMs = nowMs;
    if (passedMs > LATE_LOOKS * timing.lookMs) this.#healthy.clear();
    this.#look(nowMs);
  }

  #look(nowMs: number): void {
    const status = this.#options.status();
    const { term, commit } = status;
    if (this.#reign?.term !== term) {
      this.#reign = { term, sinceMs: nowMs, commit };
      this.#healthy.clear();
    }
    const better = this.#better();
    this.#noteHealth(better, status, nowMs);
    this.#reign.commit = commit;
    if (this.#transferring || status.leadTransferee !== 0 || !this.#isDue(nowMs)) return;
    const target = this.#target(better, status, nowMs);
    if (target !== null) this.#transfer(target, nowMs).catch(this.#options.fatal);
  }

  #better(): readonly MemberInfo[] {
    const { members, leaderRegions } = this.#options;
    return members().filter(
      ({ isLearner, region }) => !isLearner && rankOf(region, leaderRegions) < this.#rank,
    );
  }

  #noteHealth(better: readonly MemberInfo[], { progress }: RaftStatus, nowMs: number): void {
    const { isConnected } = this.#options;
    const fit = new Set<MemberId>();
    for (const { id } of better) {
      const match = progress.get(id)?.match ?? -1;
      if (isConnected(id) && match >= this.#reign!.commit) fit.add(id);
    }
    for (const id of this.#healthy.keys()) if (!fit.has(id)) this.#healthy.delete(id);
    for (const id of fit) if (!this.#healthy.has(id)) this.#healthy.set(id, nowMs);
  }

  #isDue(nowMs: number): boolean {
    const { tenureMs } = this.#options.timing;
    return nowMs - this.#reign!.sinceMs >= tenureMs && nowMs - this.#triedMs >= this.#pauseMs;
  }

  /** Of the best region that has any, the voter that is furthest. */
  #target(better: readonly MemberInfo[], { progress }: RaftStatus, nowMs: number): MemberInfo | null {
    const { leaderRegions, timing } = this.#options;
    const isHealthy = ({ id }: MemberInfo): boolean =>
      nowMs - (this.#healthy.get(id) ?? nowMs) >= timing.healthyMs;
    const matchOf = ({ id }: MemberInfo): number => progress.get(id)?.match ?? 0;
    const [first] = better
      .filter(isHealthy)
      .sort(
        (a, b) =>
          rankOf(a.region, leaderRegions) - rankOf(b.region, leaderRegions) || matchOf(b) - matchOf(a),
      );
    return first ?? null;
  }

  async #transfer(target: MemberInfo, nowMs: number): Promise<void> {
    const { transfer, logger, timing } = this.#options;
    const { pauseMsMin, pauseMsMax } = timing;
    const isLongAgo = nowMs - this.#triedMs >= this.#pauseMs + pauseMsMax;
    this.#pauseMs = isLongAgo ? pauseMsMin : Math.min(2 * this.#pauseMs, pauseMsMax);
    this.#triedMs = nowMs;
    this.#transferring = true;
    const fields = { to: target.id.toString(16), region: target.region };
    logger.info(fields, 'handing leadership over to a better region');
    try {
      await transfer(target.id);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#healthy.delete(target.id);
      logger.warn({ ...fields, code: error.code, pauseMs: this.#pauseMs }, 'leadership was not handed over');
    } finally {
      this.#transferring = false;
    }
  }
}
