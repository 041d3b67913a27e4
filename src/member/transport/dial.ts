import type { MemberId } from '../../core/raft/messages.ts';
import type { PeerIdentity, Timer } from '../ports.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { type DialContext, setDeadline } from './context.ts';
import { frameKinds, ProtocolError } from './frame.ts';
import { decodeRefusal, decodeWelcome, encodeHello, refusalOf, type StreamKind } from './handshake.ts';
import { FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX } from './limits.ts';
import { parsePeerUrl } from './peer-url.ts';
import { connectTo } from './security.ts';

/** One attempt to open a stream to a member. */
export interface DialOptions {
  readonly context: DialContext;
  readonly url: string;
  readonly stream: StreamKind;
  readonly self: PeerIdentity;
  readonly to: MemberId;
  /** The dialer judges the listener just as the listener judges the dialer. */
  readonly admit: (identity: PeerIdentity) => string | null;
  /** `frame` sees only what follows the handshake. */
  readonly events: ConnectionEvents & { established(): void };
}

/**
 * Connects and shakes hands. The outcome comes as `established`, or as `closed` with the reason (refused included),
 * at the latest after the handshake's time; never before this has returned.
 */
export function dial(options: DialOptions): Connection {
  const { context, events } = options;
  let established = false;
  const connection = open(options, {
    frame(kind, payload) {
      if (established) {
        events.frame(kind, payload);
        return;
      }
      const refusal = judge(options, kind, payload);
      if (refusal !== null) {
        connection.close(refusal);
        return;
      }
      established = true;
      deadline.cancel();
      connection.trust(FRAME_BYTES_MAX);
      events.established();
    },
    readEnd: () => events.readEnd(),
    drained: () => {
      if (established) events.drained();
    },
    closed(reason) {
      deadline.cancel();
      context.connections.delete(connection);
      events.closed(reason);
    },
  });
  const deadline: Timer = setDeadline(
    context.clock,
    () => connection.close('no handshake in time'),
    context.limits.handshakeTimeoutMs,
  );
  context.connections.add(connection);
  connection.write(encodeHello({ stream: options.stream, sender: options.self, to: options.to }));
  return connection;
}

function open(options: DialOptions, events: ConnectionEvents): Connection {
  const { security } = options.context;
  return new Connection(connectTo(parsePeerUrl(options.url), security), {
    events,
    payloadBytesMax: HANDSHAKE_FRAME_BYTES_MAX,
  });
}

/** Null when the listener's first frame is a welcome from the member meant. */
function judge(options: DialOptions, kind: number, payload: Buffer): string | null {
  if (kind === frameKinds.refusal) return `refused by the peer: ${decodeRefusal(payload)}`;
  if (kind !== frameKinds.welcome) throw new ProtocolError('the first frame is not an answer to the hello');
  const peer = decodeWelcome(payload);
  if (peer.memberId !== options.to) {
    return `found member ${peer.memberId} where member ${options.to} should be`;
  }
  return refusalOf({ self: options.self, peer, admit: options.admit });
}
