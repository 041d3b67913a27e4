/** Numbers of HTTP/2 (RFC 9113), as far as a server needs them. */

export const FRAME_HEAD_BYTES = 9;
/** What a client may send at most in one frame: the least that every endpoint must take (RFC 9113, 4.2). */
export const FRAME_BYTES_MAX = 16_384;
export const WINDOW_BYTES_DEFAULT = 65_535;
export const WINDOW_BYTES_MAX = 2 ** 31 - 1;
export const HEADER_TABLE_BYTES_DEFAULT = 4_096;
/** What a client sends before its first frame (RFC 9113, 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const frameFlag = { ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const errorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;
export type ErrorCode = (typeof errorCode)[keyof typeof errorCode];

/** The client broke the protocol: the whole connection ends with this code. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function writeFrameHead(
  target: Buffer,
  offset: number,
  head: {
    readonly bytes: number;
    readonly type: number;
    readonly flags: number;
    readonly streamId: number;
  },
): void {
  const { bytes, streamId } = head;
  target[offset] = bytes >>> 16;
  target[offset + 1] = (bytes >>> 8) & 0xff;
  target[offset + 2] = bytes & 0xff;
  target[offset + 3] = head.type;
  target[offset + 4] = head.flags;
  writeStreamId(target, offset, streamId);
}

/** Sets the stream of the frame that begins at `offset`. */
export function writeStreamId(target: Buffer, offset: number, streamId: number): void {
  target[offset + 5] = streamId >>> 24;
  target[offset + 6] = (streamId >>> 16) & 0xff;
  target[offset + 7] = (streamId >>> 8) & 0xff;
  target[offset + 8] = streamId & 0xff;
}
