import type { MemberId } from '../core/raft/messages.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError } from '../lib/errors.ts';
import { orAborted, withDeadline } from './deadline.ts';
import { rankOf } from './leader-preference.ts';
import type { MemberInfo } from './membership.ts';
import type { Ask, PeerAnswer, PeerRequest } from './peer-requests.ts';
import type { Clock, Transport } from './ports.ts';
import type { LeadershipView, ReadyLoop } from './ready-loop.ts';

/** Pause before asking again who leads, when a change of leader is not seen earlier. */
const RETRY_MS = 50;

/** Requests to the leader that may be asked again when it is not known to have done them: twice is as good as once. */
const REPEATABLE: ReadonlySet<PeerRequest['type']> = new Set(['lease-renew', 'lease-remaining']);

export interface LeadershipOptions {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly timeoutMs: number;
  readonly electionMs: number;
  readonly loop: () => ReadyLoop;
  readonly members: () => readonly MemberInfo[];
  /** Where the leader should be, best first; empty: anywhere. */
  readonly leaderRegions: readonly string[];
  readonly ask: Ask;
}

/** Who leads, what only the leader can answer, and handing leadership over. */
export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #listeners = new Set<(hasLeader: boolean) => void>();
  /** Called at the next change, unless their own time is up before. */
  readonly #waiters = new Set<() => void>();
  #hadLeader = false;

  constructor(options: LeadershipOptions) {
    this.#options = options;
  }

  /** Calls back when a leader is found or lost. @returns a function that ends the listening */
  listen(listener: (hasLeader: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves once there is a leader. @throws StoreError why `signal` was aborted */
  async known(signal: CancelSignal): Promise<void> {
    if (this.#options.loop().view.leader !== 0) return;
    let unlisten = (): void => {};
    const found = new Promise<void>((resolve) => {
      unlisten = this.listen((hasLeader) => {
        if (hasLeader) resolve();
      });
    });
    await orAborted(signal, found).finally(unlisten);
  }

  changed(view: LeadershipView): void {
    const hasLeader = view.leader !== 0;
    const isNews = hasLeader !== this.#hadLeader;
    this.#hadLeader = hasLeader;
    if (isNews) for (const listener of this.#listeners) listener(hasLeader);
    for (const waiter of this.#waiters) waiter();
  }

  /**
   * Has the leader do something, wherever it is, waiting for an election if need be.
   *
   * @throws StoreError the leader's refusal, `timeout`, `canceled`, or `timeout-connection-lost` when it is unknown
   *   whether it was done
   */
  async atLeader<T extends PeerRequest>(
    request: T,
    here: () => Promise<PeerAnswer<T['type']>>,
    signal: CancelSignal,
  ): Promise<PeerAnswer<T['type']>> {
    const { self, clock, timeoutMs, ask, loop } = this.#options;
    const startedMs = clock.nowMs();
    while (clock.nowMs() - startedMs < timeoutMs) {
      if (signal.aborted) throw abortError(signal);
      const { leader } = loop().view;
      try {
        if (leader === self) return await here();
        if (leader !== 0) return await ask(leader, request, signal);
      } catch (error) {
        if (!isWorthRepeating(error, request.type)) throw error;
      }
      await this.#nextChange();
    }
    throw new StoreError('timeout');
  }

  /** @throws StoreError `not-leader`, `bad-leader-transferee`, `timeout`, `canceled` */
  async transfer(target: MemberId, signal: CancelSignal): Promise<void> {
    const { self, loop, clock, timeoutMs } = this.#options;
    if (loop().view.leader !== self) throw new StoreError('not-leader');
    if (target === self) return;
    const outcome = loop().node.transferLeadership(target);
    loop().schedule();
    if (outcome === 'not-leader') throw new StoreError('not-leader');
    if (outcome !== 'ok') throw new StoreError('bad-leader-transferee');
    const startedMs = clock.nowMs();
    while (loop().view.leader !== target) {
      if (signal.aborted) throw abortError(signal);
      if (clock.nowMs() - startedMs >= timeoutMs) throw new StoreError('timeout');
      await this.#nextChange();
    }
  }

  /**
   * Before a stop: gives leadership to a connected voter, if there is one: of those that hold all that is committed to
   * one where leaders should be, else to the one that is furthest. Never fails.
   */
  async handOver(): Promise<void> {
    const { self, loop, clock, electionMs } = this.#options;
    if (loop().view.leader !== self) return;
    const target = this.#successor();
    if (target === undefined) return;
    try {
      await withDeadline(clock, 2 * electionMs, (signal) => this.transfer(target.id, signal));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  #successor(): MemberInfo | undefined {
    const { self, loop, transport, members, leaderRegions } = this.#options;
    const { progress, commit } = loop().node.status();
    const matchOf = ({ id }: MemberInfo): number => progress.get(id)?.match ?? 0;
    const rank = (member: MemberInfo): number =>
      matchOf(member) >= commit ? rankOf(member.region, leaderRegions) : leaderRegions.length + 1;
    const [first] = members()
      .filter((member) => member.id !== self && !member.isLearner && transport.connected(member.id))
      .sort((a, b) => rank(a) - rank(b) || matchOf(b) - matchOf(a));
    return first;
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#waiters.delete(wake);
        resolve();
      };
      const timer = this.#options.clock.setTimer(wake, RETRY_MS);
      this.#waiters.add(wake);
    });
  }
}

function isWorthRepeating(error: unknown, type: PeerRequest['type']): boolean {
  if (!(error instanceof StoreError)) return false;
  if (error.code === 'not-leader' || error.code === 'no-leader') return true;
  // Overload passes, and a client that is told of it may give up all its leases.
  const mayPass = error.code === 'timeout-connection-lost' || error.code === 'too-many-requests';
  return mayPass && REPEATABLE.has(type);
}
