import type { StoreErrorCode } from '../lib/errors.ts';
import type { AlarmKind } from './command.ts';
import type { DeleteRangeResult, PutResult, TxnResult } from './mvcc/operations.ts';
import type { MemberId } from './raft/messages.ts';

/** One raised alarm. */
export interface AlarmRecord {
  readonly member: MemberId;
  readonly alarm: AlarmKind;
}

/** What a command answers when it succeeds. The header's revision is `Applied.revision`. */
export type CommandResult =
  | PutResult
  | DeleteRangeResult
  | TxnResult
  /** A leader's no-op, or the end of a joint configuration. */
  | { readonly type: 'none' }
  | { readonly type: 'compact' }
  | { readonly type: 'lease-grant'; readonly id: bigint; readonly ttlSeconds: number }
  | { readonly type: 'lease-revoke'; readonly id: bigint }
  /** The leases that were revoked; none when the entry was of another term. */
  | { readonly type: 'lease-expire'; readonly revoked: readonly bigint[] }
  | { readonly type: 'lease-checkpoint' }
  /** The alarm that is now raised or was lowered; empty when there was none to lower. */
  | { readonly type: 'alarm'; readonly alarms: readonly AlarmRecord[] }
  /** The member list is `StateMachine.memberList()`, once the configuration change is in force. */
  | { readonly type: 'member'; readonly id: MemberId }
  /** With `narrows` somebody may be allowed less than before: who keeps decisions must make them anew. */
  | { readonly type: 'auth'; readonly narrows: boolean }
  /** The user is signed in from this auth revision on. */
  | {
      readonly type: 'authenticate';
      readonly user: string;
      readonly tokenDigest: string;
      readonly authRevision: number;
    };

/** A failure leaves the whole state as it was, its revision included; only the applied index moves. */
export type Outcome =
  | { readonly ok: true; readonly result: CommandResult }
  | { readonly ok: false; readonly code: StoreErrorCode };
