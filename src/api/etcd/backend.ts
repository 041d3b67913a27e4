import type { WatchStream as HubStream, WatchSink } from '../../core/watch/hub.ts';
import type { Member } from '../../member/member.ts';

/** The watches of one gRPC stream. */
export type WatchStream = Pick<HubStream, 'create' | 'cancel' | 'requestProgress' | 'close'>;

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
  | 'resumeWatch'
  | 'memberList'
  | 'memberAdd'
  | 'memberRemove'
  | 'memberUpdate'
  | 'memberPromote'
  | 'alarm'
  | 'status'
  | 'defragment'
  | 'hash'
  | 'hashKv'
  | 'snapshot'
  | 'moveLeader'
  | 'header'
  | 'hasLeader'
  | 'onLeaderChange'
> & { openWatch(sink: WatchSink): WatchStream };
