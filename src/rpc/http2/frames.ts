import {
  ConnectionError,
  errorCode,
  FRAME_BYTES_MAX,
  frameFlag,
  setting,
  WINDOW_BYTES_MAX,
} from './protocol.ts';

/** What stands before a frame's payload, but its length. */
export interface FrameHead {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
}

/** What a frame of DATA or HEADERS holds. @throws ConnectionError when it is less than its padding */
export function withoutPadding(head: FrameHead, payload: Buffer): Buffer {
  if ((head.flags & frameFlag.padded) === 0) return payload;
  const padding = payload[0];
  if (padding === undefined) throw new ConnectionError(errorCode.frameSizeError, 'the padding is missing');
  if (padding >= payload.length) {
    throw new ConnectionError(errorCode.protocolError, 'there is more padding than frame');
  }
  return payload.subarray(1, payload.length - padding);
}

/** @throws ConnectionError for a value that the setting cannot have (RFC 9113, 6.5.2) */
export function checkSetting(name: number, value: number): void {
  if (name === setting.initialWindowSize && value > WINDOW_BYTES_MAX) {
    throw new ConnectionError(errorCode.flowControlError, 'a window cannot be that large');
  }
  if (name === setting.maxFrameSize && (value < FRAME_BYTES_MAX || value > 2 ** 24 - 1)) {
    throw new ConnectionError(errorCode.protocolError, 'frames cannot have that size');
  }
  if (name === setting.enablePush && value > 1) {
    throw new ConnectionError(errorCode.protocolError, 'ENABLE_PUSH is 0 or 1');
  }
}

/** The payload of SETTINGS: pairs of a setting and its value. */
export function settingsPayload(settings: readonly (readonly [name: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  for (const [at, [name, value]] of settings.entries()) {
    payload.writeUInt16BE(name, at * 6);
    payload.writeUInt32BE(value, at * 6 + 2);
  }
  return payload;
}
