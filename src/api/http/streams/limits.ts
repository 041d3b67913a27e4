/** What streams over HTTP may take. */
export interface StreamLimits {
  /** Between two signs of life to a client. */
  readonly heartbeatMs: number;
  /** Signs of life that a WebSocket client may leave unanswered. */
  readonly heartbeatsMissedMax: number;
  /** A client that has not taken what was sent by then is cut off. */
  readonly stallMsMax: number;
  /** Bytes of a message from a WebSocket client. */
  readonly messageBytesMax: number;
  /** Messages from one WebSocket client between two signs of life. */
  readonly messagesMax: number;
  /** At a stop, clients may take this long to answer that they are done. */
  readonly closeMsMax: number;
}

export const STREAM_LIMITS_DEFAULT: StreamLimits = {
  heartbeatMs: 15_000,
  heartbeatsMissedMax: 2,
  stallMsMax: 60_000,
  messageBytesMax: 16 * 1024,
  messagesMax: 1_000,
  closeMsMax: 1_000,
};

/** After which a client of server-sent events comes back, unless it knows better. */
export const RETRY_MS = 2_000;
/** Events that are kept as they go out, for all who take the same ones: of each kind of stream. */
export const SHARED_EVENTS_BYTES_MAX: number = 16 * 1024 * 1024;
