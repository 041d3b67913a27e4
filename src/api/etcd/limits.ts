/** Bounds on what one client may ask of the etcd face. */
export interface EtcdLimits {
  /** Operations in each part of a transaction; beyond: `too-many-ops`. Default 128, as etcd. */
  readonly txnOpsMax: number;
  /** Bytes of a request that writes; beyond: `request-too-large`. Default 1.5 MiB, as etcd. */
  readonly requestBytesMax: number;
  /**
   * How long the cluster may be without a leader before streams with `hasleader` fail. Default 3 s: etcd's three
   * election timeouts.
   */
  readonly leaderLossGraceMs: number;
  /** Bytes of the keys and ends of all open watches; beyond: a watch is refused. Default 256 MiB. */
  readonly watchKeyBytesMax: number;
  /** As much on one stream. Default 64 MiB. */
  readonly streamWatchKeyBytesMax: number;
  /**
   * Watches of one stream that are bound to leases unknown here, and wait until that is sure; beyond: refused. Default
   * 1,000.
   */
  readonly waitingWatchesMax: number;
}

export const DEFAULT_ETCD_LIMITS: EtcdLimits = {
  txnOpsMax: 128,
  requestBytesMax: 1.5 * 1024 * 1024,
  leaderLossGraceMs: 3000,
  watchKeyBytesMax: 256 * 1024 * 1024,
  streamWatchKeyBytesMax: 64 * 1024 * 1024,
  waitingWatchesMax: 1_000,
};

/** What a message may be larger than the request in it: gRPC's and protobuf's framing, as etcd counts it. */
export const GRPC_OVERHEAD_BYTES = 512 * 1024;
