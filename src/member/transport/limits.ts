import type { UnpackLimits } from '../../lib/packed.ts';

const MIB = 1024 * 1024;

/** No frame is longer; a longer one announced from outside closes the connection. Bytes of payload. */
export const FRAME_BYTES_MAX = 64 * MIB;
/** Before a handshake is through, nothing longer than a hello or a probe is accepted. */
export const HANDSHAKE_FRAME_BYTES_MAX = MIB;
/** One request or answer between members; longer is refused with `request-too-large`. */
export const REQUEST_BYTES_MAX = 16 * MIB;
/** One frame of a snapshot stream. */
export const SNAPSHOT_FRAME_BYTES_MAX = 16 * MIB;
/** Pings, verdicts and refusals that a peer does not read: beyond this its connection is closed. */
export const UNREAD_REPLY_BYTES_MAX = 64 * 1024;
/** Text of a refusal or of a failed request; longer text is cut. UTF-16 units. */
export const REASON_LENGTH_MAX = 512;
/** Addresses that a member tells of itself, and UTF-16 units of one. It leaves others out; who tells them is refused. */
export const PEER_URLS_MAX = 16;
export const URL_LENGTH_MAX = 1_024;
/** What is packed here is flat and small: messages, their fields, lists of members. */
export const FIELDS_LIMITS: UnpackLimits = { depthMax: 4, itemsMax: 0xffff, valuesMax: 2 ** 18 };

/** Every bound and delay of the network between members. What happens at a bound stands beside it. */
export interface TransportLimits {
  /** A connection that has not finished its handshake by then is closed. */
  readonly handshakeTimeoutMs: number;
  /** How often an outgoing stream asks for a sign of life; each answer is a round-trip sample. */
  readonly pingIntervalMs: number;
  /** Heartbeat stream: no answer for this long means a half-open connection, which is closed. */
  readonly pingTimeoutMs: number;
  /** The same for append and request streams, whose pings may wait behind bulk data. */
  readonly bulkPingTimeoutMs: number;
  /** Accepted connections that bring no byte for this long are closed. Far above `pingIntervalMs`. */
  readonly idleTimeoutMs: number;
  /** How often accepted connections are looked over, and both ends of a snapshot say that they live. */
  readonly sweepIntervalMs: number;
  /** A snapshot's sender gives up after this much silence from the receiver. */
  readonly snapshotSilenceMs: number;
  /** First and longest delay before a new attempt to connect; doubled in between, with jitter. */
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  /** A connection being given up in peace may take this long to hand over its last bytes. */
  readonly lingerMs: number;
  /** Unsent bytes per stream and peer. Over it, messages are dropped and the peer reported unreachable. */
  readonly appendQueueBytesMax: number;
  readonly heartbeatQueueBytesMax: number;
  /** Unsent request bytes per peer: over it requests are refused. Also the bodies being served per connection: over it reading pauses. */
  readonly requestQueueBytesMax: number;
  /** Unanswered requests per peer: over it refused by the sender, a broken contract to the receiver. */
  readonly requestsInFlightMax: number;
  /** Received and not yet consumed bytes of one snapshot: over it reading pauses. */
  readonly snapshotReceiveBytesMax: number;
  /** Accepted connections before their handshake, and as many in that of TLS: the oldest makes room. */
  readonly pendingHandshakesMax: number;
  /** Accepted connections altogether, per listening address: further ones are closed at once. */
  readonly connectionsMax: number;
}

/** Fit for 3 to 7 members up to a few hundred milliseconds apart. */
export const defaultLimits: TransportLimits = {
  handshakeTimeoutMs: 5_000,
  pingIntervalMs: 1_000,
  pingTimeoutMs: 5_000,
  bulkPingTimeoutMs: 15_000,
  idleTimeoutMs: 20_000,
  sweepIntervalMs: 2_000,
  snapshotSilenceMs: 30_000,
  backoffMsMin: 50,
  backoffMsMax: 1_000,
  lingerMs: 1_000,
  appendQueueBytesMax: 32 * MIB,
  heartbeatQueueBytesMax: MIB,
  requestQueueBytesMax: 32 * MIB,
  requestsInFlightMax: 1_024,
  snapshotReceiveBytesMax: 4 * MIB,
  pendingHandshakesMax: 256,
  connectionsMax: 512,
};
