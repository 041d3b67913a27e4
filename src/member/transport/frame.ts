import { assert } from '../../lib/assert.ts';
import { MalformedError } from '../../lib/packed.ts';
import { FRAME_BYTES_MAX } from './limits.ts';

/**
 * Frames on a member connection: u32 payload length (big endian), u8 kind, payload. TCP checks the bytes; what
 * decodes a payload checks the meaning. Numbers are part of the wire format and never reused.
 */
export const frameKinds = {
  hello: 1,
  welcome: 2,
  refusal: 3,
  messages: 4,
  append: 5,
  ping: 6,
  pong: 7,
  request: 8,
  answer: 9,
  failure: 10,
  snapshotChunk: 11,
  snapshotEnd: 12,
  snapshotTaken: 13,
  alive: 14,
  probe: 15,
  probeAnswer: 16,
  received: 17,
  deflated: 18,
} as const;
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export const FRAME_HEADER_BYTES = 5;

/** Parts below this are copied together: one short copy is cheaper than one more element of a writev. */
export const COPY_BYTES_MAX = 16 * 1024;
/** A frame that arrives in pieces starts with this much memory, whatever length it announces. */
const BODY_BYTES_START = 64 * 1024;

/**
 * Bytes from outside that break the protocol. As every MalformedError in what a connection brings, it closes that
 * connection and nothing else.
 */
export class ProtocolError extends MalformedError {
  override readonly name = 'ProtocolError';
}

/** One frame ready to be written: its parts in order, header included. Parts are not copied and must not change. */
export interface Frame {
  readonly parts: readonly Buffer[];
  readonly sizeBytes: number;
}

/** Frames a payload given in parts. Large parts travel by reference. The payload is at most FRAME_BYTES_MAX. */
export function encodeFrame(kind: FrameKind, ...payload: readonly Buffer[]): Frame {
  let payloadBytes = 0;
  for (const part of payload) payloadBytes += part.length;
  assert(payloadBytes <= FRAME_BYTES_MAX, 'a frame is longer than the format allows');
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32BE(payloadBytes, 0);
  header[4] = kind;
  return { parts: joinSmall([header, ...payload]), sizeBytes: FRAME_HEADER_BYTES + payloadBytes };
}

/** Joins neighbouring small parts, keeps large ones as they are. */
function joinSmall(parts: readonly Buffer[]): readonly Buffer[] {
  const joined: Buffer[] = [];
  let run: Buffer[] = [];
  const closeRun = (): void => {
    if (run.length === 1) joined.push(run[0]!);
    else if (run.length > 1) joined.push(Buffer.concat(run));
    run = [];
  };
  for (const part of parts) {
    if (part.length < COPY_BYTES_MAX) run.push(part);
    else {
      closeRun();
      joined.push(part);
    }
  }
  closeRun();
  return joined;
}

/**
 * Cuts a byte stream into frames. Memory grows with the bytes that really arrived, at most twofold, never with
 * an announced length.
 */
export class FrameDecoder {
  #payloadBytesMax: number;
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #headerFilled = 0;
  /** Of the frame being gathered; `#bodyBytes` is -1 between frames. */
  #body: Buffer = Buffer.alloc(0);
  #bodyBytes = -1;
  #bodyFilled = 0;

  constructor(payloadBytesMax: number) {
    this.#payloadBytesMax = payloadBytesMax;
  }

  /** Applies to frames whose header has not been read yet. */
  setPayloadBytesMax(bytesMax: number): void {
    this.#payloadBytesMax = bytesMax;
  }

  /**
   * Takes the next bytes and hands over every frame that they complete.
   *
   * @param onFrame its payload is borrowed memory of the socket: valid until `onFrame` returns, to be copied before
   *   it is kept
   * @throws ProtocolError when a frame announces more than the limit; the decoder is then of no further use
   */
  push(chunk: Buffer, onFrame: (kind: number, payload: Buffer) => void): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#bodyBytes < 0) {
        offset += this.#takeHeader(chunk, offset);
        if (this.#headerFilled < FRAME_HEADER_BYTES) return;
        this.#bodyBytes = this.#announcedBytes();
        this.#bodyFilled = 0;
      }
      const missing = this.#bodyBytes - this.#bodyFilled;
      const present = Math.min(missing, chunk.length - offset);
      const part = chunk.subarray(offset, offset + present);
      offset += present;
      if (present < missing) {
        this.#gather(part);
        return;
      }
      const whole = this.#bodyFilled === 0 ? part : this.#gather(part);
      const kind = this.#header[4]!;
      this.#headerFilled = 0;
      this.#bodyBytes = -1;
      this.#body = Buffer.alloc(0);
      onFrame(kind, whole);
    }
  }

  #takeHeader(chunk: Buffer, offset: number): number {
    const taken = Math.min(FRAME_HEADER_BYTES - this.#headerFilled, chunk.length - offset);
    chunk.copy(this.#header, this.#headerFilled, offset, offset + taken);
    this.#headerFilled += taken;
    return taken;
  }

  #announcedBytes(): number {
    const bytes = this.#header.readUInt32BE(0);
    if (bytes > this.#payloadBytesMax) {
      throw new ProtocolError(`a frame of ${bytes} bytes is over the limit of ${this.#payloadBytesMax}`);
    }
    return bytes;
  }

  /** Appends to the gathered body and returns what is there now. */
  #gather(part: Buffer): Buffer {
    const filled = this.#bodyFilled + part.length;
    if (filled > this.#body.length) {
      const grown = Math.min(this.#bodyBytes, Math.max(BODY_BYTES_START, filled, this.#body.length * 2));
      const body = Buffer.allocUnsafeSlow(grown);
      this.#body.copy(body, 0, 0, this.#bodyFilled);
      this.#body = body;
    }
    part.copy(this.#body, this.#bodyFilled);
    this.#bodyFilled = filled;
    return this.#body.subarray(0, filled);
  }
}
