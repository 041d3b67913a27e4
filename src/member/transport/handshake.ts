import type { MemberId } from '../../core/raft/messages.ts';
import { Fields, type Packed, pack, unpack } from '../../lib/packed.ts';
import { EARLIER_STARTS_MAX, type PeerIdentity } from '../ports.ts';
import { encodeFrame, type Frame, frameKinds, ProtocolError } from './frame.ts';
import { FIELDS_LIMITS, PEER_URLS_MAX, REASON_LENGTH_MAX, URL_LENGTH_MAX } from './limits.ts';

/**
 * The first frames on every connection. The dialer says hello: magic, format version, what the connection is for,
 * who it is and whom it means. The listener answers with its own identity or with a refusal and the reason. No
 * frame after them carries a sender: it is the one of the handshake, so a message of a foreign cluster or of an
 * unknown member cannot reach the core.
 */

const MAGIC = Buffer.from('CNCLPEER', 'latin1');
const VERSION_OFFSET = MAGIC.length;
const FIELDS_OFFSET = VERSION_OFFSET + 2;

/** Version of everything this folder puts on the wire. Raised with every incompatible change. */
export const FORMAT_VERSION = 4;

/** What a connection carries. Each has an order of its own; none waits for another. */
export type StreamKind = 'append' | 'heartbeat' | 'request' | 'snapshot' | 'probe';
const streamTags: Record<StreamKind, number> = { append: 1, heartbeat: 2, request: 3, snapshot: 4, probe: 5 };
const streamKinds = new Map(Object.entries(streamTags).map(([kind, tag]) => [tag, kind as StreamKind]));

export interface Hello {
  readonly stream: StreamKind;
  /** All zero in a probe: the asking side may not have an identity yet. */
  readonly sender: PeerIdentity;
  /** The member meant, so that a reused address is noticed; `NO_MEMBER` in a probe. */
  readonly to: MemberId;
}

/** An identity for probes: nobody yet. */
export const nobody: PeerIdentity = {
  clusterId: 0,
  memberId: 0,
  incarnation: 0,
  earlier: [],
  logSeq: 0,
  peerUrls: [],
};

export function encodeHello(hello: Hello): Frame {
  const start = Buffer.alloc(FIELDS_OFFSET);
  MAGIC.copy(start);
  start.writeUInt16BE(FORMAT_VERSION, VERSION_OFFSET);
  const { stream, sender, to } = hello;
  const fields = pack([streamTags[stream], to, ...identityFields(sender)]);
  return encodeFrame(frameKinds.hello, start, fields);
}

/**
 * Either the hello, or the reason to answer a peer that speaks another format version.
 *
 * @throws MalformedError when these are not the words of a member at all
 */
export function decodeHello(payload: Buffer): { readonly hello: Hello } | { readonly refusal: string } {
  if (payload.length < FIELDS_OFFSET || !payload.subarray(0, VERSION_OFFSET).equals(MAGIC)) {
    throw new ProtocolError('not a member connection');
  }
  const version = payload.readUInt16BE(VERSION_OFFSET);
  if (version !== FORMAT_VERSION) {
    return { refusal: `format version ${version} is not spoken here, version ${FORMAT_VERSION} is` };
  }
  const fields = new Fields(unpack(payload.subarray(FIELDS_OFFSET), FIELDS_LIMITS));
  const stream = streamKinds.get(fields.natural());
  if (stream === undefined) throw new ProtocolError('a hello names an unknown kind of stream');
  const idMin = stream === 'probe' ? 0 : 1;
  const to = fields.integer(idMin);
  const sender = readIdentity(fields, idMin);
  fields.end();
  return { hello: { stream, sender, to } };
}

export function encodeWelcome(identity: PeerIdentity): Frame {
  return encodeFrame(frameKinds.welcome, pack(identityFields(identity)));
}

/** @throws MalformedError */
export function decodeWelcome(payload: Buffer): PeerIdentity {
  const fields = new Fields(unpack(payload, FIELDS_LIMITS));
  const identity = readIdentity(fields, 1);
  fields.end();
  return identity;
}

function identityFields(identity: PeerIdentity): Packed[] {
  const { clusterId, memberId, incarnation, earlier, logSeq, peerUrls } = identity;
  const told = peerUrls.filter((url) => url.length <= URL_LENGTH_MAX).slice(0, PEER_URLS_MAX);
  return [clusterId, memberId, incarnation, earlier, logSeq, told];
}

function readIdentity(fields: Fields, idMin: 0 | 1): PeerIdentity {
  const identity: PeerIdentity = {
    clusterId: fields.natural(),
    memberId: fields.integer(idMin),
    incarnation: fields.natural(),
    earlier: fields.naturals(),
    logSeq: fields.natural(),
    peerUrls: fields.texts(),
  };
  if (identity.earlier.length > EARLIER_STARTS_MAX)
    throw new ProtocolError('an identity names more starts than members remember');
  const { length } = identity.peerUrls;
  const isShort = length <= PEER_URLS_MAX && identity.peerUrls.every((url) => url.length <= URL_LENGTH_MAX);
  if (!isShort) throw new ProtocolError('an identity names too many addresses, or too long ones');
  return identity;
}

/** Ends a connection with a reason for people; cut to REASON_LENGTH_MAX. */
export function encodeRefusal(reason: string): Frame {
  return encodeFrame(frameKinds.refusal, pack([reason.slice(0, REASON_LENGTH_MAX)]));
}

/** @throws MalformedError */
export function decodeRefusal(payload: Buffer): string {
  const fields = new Fields(unpack(payload, FIELDS_LIMITS));
  const reason = fields.text().slice(0, REASON_LENGTH_MAX);
  fields.end();
  return reason;
}

/**
 * Why the member `self` must not talk to `peer`, or null. Both ends of a connection ask it, each about the other.
 *
 * @param admit knows the members: unknown, removed, or data that went back in time
 */
export function refusalOf(options: {
  readonly self: PeerIdentity;
  readonly peer: PeerIdentity;
  readonly admit: (identity: PeerIdentity) => string | null;
}): string | null {
  const { self, peer } = options;
  if (peer.clusterId !== self.clusterId) {
    return `cluster ID mismatch: cluster ${peer.clusterId} meets cluster ${self.clusterId}`;
  }
  if (peer.memberId === self.memberId) return `member ${self.memberId} meets itself`;
  return options.admit(peer);
}

/** Why a hello meant for `to` is refused by `self`, or null. */
export function addresseeRefusal(to: MemberId, self: PeerIdentity): string | null {
  return to === self.memberId ? null : `this is member ${self.memberId}, not member ${to}`;
}
