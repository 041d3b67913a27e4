import type { AlarmKind } from '../core/command.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { RaftStatus } from '../core/raft/raw-node.ts';
import type { StateMachine } from '../core/state-machine.ts';
import type { WatchHub } from '../core/watch/hub.ts';
import type { Freshness } from './freshness.ts';
import type { MemberFigures, PeerFigures } from './observer.ts';
import type { RoundTrip } from './ports.ts';
import type { Proposals } from './proposals.ts';
import type { ReadyLoop } from './ready-loop.ts';

export interface MemberAlarm {
  readonly member: MemberId;
  readonly alarm: AlarmKind;
}
export interface MemberStatus {
  readonly leader: MemberId;
  readonly raftIndex: number;
  readonly raftTerm: number;
  readonly appliedIndex: number;
  readonly isLearner: boolean;
  /** Where it runs; absent when it does not say. */
  readonly region?: string;
  /** Smoothed round trips to the members that it is connected to. */
  readonly roundTrips: readonly { readonly member: MemberId; readonly ms: number }[];
  readonly dbSizeBytes: number;
  readonly dbSizeInUseBytes: number;
  readonly quotaBytes: number;
  readonly alarms: readonly MemberAlarm[];
  /** How old its state may be; null when nothing is proven. */
  readonly ageMs: number | null;
}
export interface Readiness {
  readonly live: boolean;
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

export interface ConditionOptions {
  readonly self: MemberId;
  readonly region: string | undefined;
  readonly loop: ReadyLoop;
  readonly hub: WatchHub;
  readonly proposals: Pick<Proposals, 'pendingCount'>;
  readonly freshness: Pick<Freshness, 'ageMs'>;
  readonly quotaBytes: number;
  /** Without answers of its disk a member is not live. */
  readonly diskAnswers: () => boolean;
  readonly stateBytes: () => number;
  readonly logBytes: () => number;
  readonly tokensHeld: () => number;
  readonly isConnected: (id: MemberId) => boolean;
  readonly roundTrip: (id: MemberId) => RoundTrip | undefined;
  /** Whether heartbeat interval and election timeout are long enough for the round trips. */
  readonly timersFit: () => boolean;
}

/** How a member is: what it says of itself to operators, metrics and health checks. */
export class Condition {
  readonly #options: ConditionOptions;

  constructor(options: ConditionOptions) {
    this.#options = options;
  }

  hasLeader(): boolean {
    return this.#options.loop.view.leader !== 0;
  }

  isLeader(): boolean {
    return this.#options.loop.view.leader === this.#options.self;
  }

  status(): MemberStatus {
    const { loop, region, quotaBytes, stateBytes } = this.#options;
    const status = loop.node.status();
    return {
      leader: status.leader,
      raftIndex: status.commit,
      raftTerm: status.term,
      appliedIndex: status.applied,
      isLearner: this.#isLearner(),
      ...(region !== undefined && { region }),
      roundTrips: this.#roundTrips(),
      dbSizeBytes: stateBytes(),
      dbSizeInUseBytes: this.#machine.store.logicalBytes,
      quotaBytes,
      alarms: this.#machine.alarms.list(),
      ageMs: this.#ageMs(),
    };
  }

  readiness({ isLeaving }: { readonly isLeaving: boolean }): Readiness {
    const reasons: string[] = [];
    const live = this.#options.diskAnswers();
    if (!live) reasons.push('the disk does not answer');
    if (!this.hasLeader()) reasons.push('no leader');
    for (const item of this.#machine.alarms.list()) reasons.push(`alarm ${item.alarm}`);
    if (isLeaving) reasons.push('stopping');
    return { live, ready: reasons.length === 0, reasons };
  }

  figures(): MemberFigures {
    const { loop, region, hub, proposals, quotaBytes, stateBytes, logBytes, isConnected } = this.#options;
    const { store, lessor, auth } = this.#machine;
    const { watchers, slow, unsynced, noncesAnswered } = hub.stats;
    const status = loop.node.status();
    return {
      hasLeader: this.hasLeader(),
      isLeader: this.isLeader(),
      isLearner: this.#isLearner(),
      term: status.term,
      commitIndex: status.commit,
      appliedIndex: status.applied,
      proposalsPending: proposals.pendingCount,
      revision: store.currentRevision,
      compactRevision: store.compactRevision,
      keys: store.keyCount,
      dbSizeBytes: stateBytes(),
      dbSizeInUseBytes: store.logicalBytes,
      quotaBytes,
      logSizeBytes: logBytes(),
      logFirstIndex: status.firstIndex,
      leases: lessor.size,
      watchers,
      slowWatchers: slow + unsynced,
      stateAgeSeconds: (this.#ageMs() ?? Number.NaN) / 1000,
      freshAnswers: noncesAnswered,
      connectedPeers: this.#machine
        .memberList()
        .map((member) => member.id)
        .filter(isConnected),
      ...(region !== undefined && { region }),
      peers: this.#peers(status),
      timersFit: this.#options.timersFit(),
      auth: {
        enabled: auth.enabled,
        revision: auth.revision,
        ...auth.counts,
        tokens: this.#options.tokensHeld(),
      },
    };
  }

  #roundTrips(): MemberStatus['roundTrips'] {
    const known: { member: MemberId; ms: number }[] = [];
    for (const { id } of this.#machine.memberList()) {
      const roundTrip = this.#options.roundTrip(id);
      if (roundTrip !== undefined) known.push({ member: id, ms: roundTrip.smoothedMs });
    }
    return known;
  }

  #peers({ progress, commit }: RaftStatus): readonly PeerFigures[] {
    const { self, roundTrip } = this.#options;
    return this.#machine.memberList().flatMap(({ id, region }) => {
      if (id === self) return [];
      const match = progress.get(id)?.match;
      const lagEntries = match === undefined ? null : Math.max(0, commit - match);
      return [{ id, region: region ?? '', roundTrip: roundTrip(id) ?? null, lagEntries }];
    });
  }

  get #machine(): StateMachine {
    return this.#options.loop.replica.machine;
  }

  #ageMs(): number | null {
    const ageMs = Math.ceil(this.#options.freshness.ageMs());
    return ageMs === Number.POSITIVE_INFINITY ? null : ageMs;
  }

  #isLearner(): boolean {
    return this.#machine.memberList().some(({ id, isLearner }) => id === this.#options.self && isLearner);
  }
}
