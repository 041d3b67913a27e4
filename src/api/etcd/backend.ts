import type { WatchSink } from '../../core/watch/hub.ts';
import type { ClientContext } from '../../member/auth/access.ts';
import type { Accounts } from '../../member/auth/accounts.ts';
import type { GuardedStream } from '../../member/auth/watch-guard.ts';
import type { Member } from '../../member/member.ts';

/** The watches of one gRPC stream. */
export type WatchStream = Omit<GuardedStream, 'open'>;

/** The part of a member that the etcd face uses: the face translates, the member decides. */
export type EtcdBackend = Pick<
  Member,
  | 'range'
  | 'openRange'
  | 'put'
  | 'deleteRange'
  | 'txn'
  | 'compact'
  | 'leaseGrant'
  | 'leaseRevoke'
  | 'leaseKeepAlive'
  | 'leaseTimeToLive'
  | 'leaseLeases'
  | 'credentialsSettled'
  | 'resumeWatch'
  | 'leaseSettled'
  | 'ageMs'
  | 'region'
  | 'memberList'
  | 'memberAdd'
  | 'memberRemove'
  | 'memberUpdate'
  | 'memberPromote'
  | 'forRoot'
  | 'alarm'
  | 'statusFor'
  | 'defragment'
  | 'hash'
  | 'hashKv'
  | 'snapshot'
  | 'moveLeader'
  | 'header'
  | 'hasLeader'
  | 'onLeaderChange'
> & {
  readonly accounts: Omit<Pick<Accounts, keyof Accounts>, 'enabled' | 'permits' | 'follow' | 'applied'>;
  openWatch(sink: WatchSink, context: ClientContext): WatchStream;
};
