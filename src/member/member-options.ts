import type { Logger } from '../lib/logger.ts';
import type { JwtOptions } from './auth/jwt-tokens.ts';
import type { AutoCompactionPolicy } from './auto-compaction.ts';
import type { InitialMember } from './identity.ts';
import type { PreferenceTiming } from './leader-preference.ts';
import type { MemberObserver } from './observer.ts';
import type { Clock, Disk, LevelOpener, Random, Transport } from './ports.ts';

/** What one member needs to know at its start. Defaults stand in the process options. */
export interface MemberOptions {
  readonly name: string;
  /** Addresses the other members reach this one under. */
  readonly peerUrls: readonly string[];
  /** Addresses that clients are told. */
  readonly clientUrls: readonly string[];
  /** Where this member runs, as `isRegion` allows; default: it does not say. */
  readonly region?: string;
  /** Where the leader should be, best first; default: anywhere. */
  readonly leaderRegions?: readonly string[];
  /** Default: `DEFAULT_PREFERENCE_TIMING`. */
  readonly preferenceTiming?: PreferenceTiming;
  readonly initialCluster: readonly InitialMember[];
  readonly initialClusterToken: string;
  /** `existing`: join a running cluster; only read when the data directory is empty. */
  readonly initialClusterState: 'new' | 'existing';
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly snapshotCount: number;
  readonly catchUpEntries: number;
  readonly quotaBytes: number;
  readonly cacheBytesMax: number;
  readonly freeBytesMin: number;
  readonly ballastBytes: number;
  /** What history is kept for; null: until somebody compacts. */
  readonly autoCompaction: AutoCompactionPolicy | null;
  /** What a segment of the log is preallocated to; default as in `openLog`. */
  readonly logSegmentBytes?: number;
  /** Drop all other members and go on alone with this member's data: the last resort after losing a majority. */
  readonly forceNewCluster: boolean;
  /** Between two proofs of its state while clients rely on its age, in ms. Default FRESHNESS_INTERVAL_MS_DEFAULT. */
  readonly freshnessIntervalMs?: number;
  /** As a learner it serves linearizable reads, too. Default false, as etcd. */
  readonly learnerLinearizableReads?: boolean;
  /** How clients sign in; without it: simple tokens. */
  readonly auth?: AuthOptions;
}
export interface AuthOptions {
  /** Signed tokens instead of simple ones. */
  readonly jwt: JwtOptions | null;
  /** After so long without use a simple token is over. */
  readonly tokenTtlMs: number;
  /** Within `PASSWORD_COST`. */
  readonly passwordCost: number;
}

/** What a member is connected to. */
export interface MemberPorts {
  readonly disk: Disk;
  readonly levels: LevelOpener;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Who measures it, once its id is known. */
  readonly observe: (memberId: number) => MemberObserver;
  /** The member must not go on: a storage error, a broken invariant, or its removal from the cluster. */
  readonly fatal: (error: unknown) => void;
}
