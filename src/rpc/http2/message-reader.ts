import { gunzipSync } from 'node:zlib';
import { RpcError, rpcStatus } from '../status.ts';

/** A flag byte and the length, before every message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export const MESSAGE_HEAD_BYTES = 5;

/** @param bytes of the message, which is sent as it is */
export function writeMessageHead(target: Buffer, offset: number, bytes: number): void {
  target[offset] = 0;
  target[offset + 1] = bytes >>> 24;
  target[offset + 2] = (bytes >>> 16) & 0xff;
  target[offset + 3] = (bytes >>> 8) & 0xff;
  target[offset + 4] = bytes & 0xff;
}

/** Longer messages are gathered in room that doubles, up to what the message needs. */
const ROOM_BYTES_MIN = 1024;
/** A message that is part of a larger read of the socket is copied out of it: it may be kept for long. */
const READ_BYTES_KEPT_MAX = 8 * 1024;

/** Who takes the messages of a body. */
export interface MessageTaker {
  /** Of one message, decompressed. */
  readonly bytesMax: number;
  /** The request named an encoding; it is gzip. */
  readonly compressed: boolean;
  /** A message takes that many more bytes than came; throws when there is no room for them. */
  admit(bytes: number): void;
  take(message: Buffer): void;
}

/** Cuts a request's body into messages. What it holds is never much more than was received. */
export class MessageReader {
  readonly #taker: MessageTaker;
  /** Begins with the message that is not complete, its head included. */
  #room: Buffer = NO_ROOM;
  #heldBytes = 0;

  constructor(taker: MessageTaker) {
    this.#taker = taker;
  }

  /** A message has begun and is not complete. */
  get isPartial(): boolean {
    return this.#heldBytes > 0;
  }

  /** @throws RpcError when a message is too large or malformed; nothing more may be pushed then */
  push(bytes: Buffer): void {
    let rest = this.#heldBytes > 0 ? this.#goOn(bytes) : bytes;
    while (rest.length >= MESSAGE_HEAD_BYTES) {
      const end = MESSAGE_HEAD_BYTES + this.#checkedBytes(rest);
      if (rest.length < end) break;
      this.#give(rest[0]!, kept(rest.subarray(MESSAGE_HEAD_BYTES, end)));
      if (rest.length === end) return;
      rest = rest.subarray(end);
    }
    if (rest.length > 0) this.#hold(rest);
  }

  /** Adds to the message that has begun, and gives it when it is complete. @returns what follows it */
  #goOn(bytes: Buffer): Buffer {
    let rest = bytes;
    if (this.#heldBytes < MESSAGE_HEAD_BYTES) {
      rest = this.#fill(rest, MESSAGE_HEAD_BYTES);
      if (this.#heldBytes < MESSAGE_HEAD_BYTES) return rest;
    }
    const end = MESSAGE_HEAD_BYTES + this.#checkedBytes(this.#room);
    rest = this.#fill(rest, end);
    if (this.#heldBytes < end) return rest;
    const room = this.#room;
    this.#room = NO_ROOM;
    this.#heldBytes = 0;
    this.#give(room[0]!, room.subarray(MESSAGE_HEAD_BYTES, end));
    return rest;
  }

  #hold(bytes: Buffer): void {
    const isHeadThere = bytes.length >= MESSAGE_HEAD_BYTES;
    this.#fill(bytes, isHeadThere ? MESSAGE_HEAD_BYTES + this.#checkedBytes(bytes) : MESSAGE_HEAD_BYTES);
  }

  /** Takes bytes until `end` are held. @returns those left */
  #fill(bytes: Buffer, end: number): Buffer {
    const taken = Math.min(bytes.length, end - this.#heldBytes);
    const needed = this.#heldBytes + taken;
    if (needed > this.#room.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(end, needed * 2), ROOM_BYTES_MIN));
      this.#room.copy(room, 0, 0, this.#heldBytes);
      this.#room = room;
    }
    bytes.copy(this.#room, this.#heldBytes, 0, taken);
    this.#heldBytes = needed;
    return bytes.subarray(taken);
  }

  #give(flag: number, message: Buffer): void {
    this.#taker.take(flag === 0 ? message : this.#inflate(message));
  }

  #checkedBytes(head: Buffer): number {
    const bytes = head.readUInt32BE(1);
    if (bytes > this.#taker.bytesMax) throw this.#tooLarge(bytes);
    if (head[0]! > 1) {
      throw new RpcError(rpcStatus.internal, `grpc: received unexpected payload format ${head[0]}`);
    }
    if (head[0] === 1 && !this.#taker.compressed) {
      throw new RpcError(rpcStatus.internal, 'grpc: compressed flag set with identity or empty encoding');
    }
    return bytes;
  }

  #inflate(message: Buffer): Buffer {
    const inflated = inflate(message, this.#taker.bytesMax);
    if (inflated === null) throw this.#tooLarge(this.#taker.bytesMax + 1);
    if (inflated.length > message.length) this.#taker.admit(inflated.length - message.length);
    return inflated;
  }

  #tooLarge(bytes: number): RpcError {
    return new RpcError(
      rpcStatus.resourceExhausted,
      `grpc: received message larger than max (${bytes} vs. ${this.#taker.bytesMax})`,
    );
  }
}

const NO_ROOM: Buffer = Buffer.alloc(0);

function inflate(message: Buffer, bytesMax: number): Buffer | null {
  try {
    return gunzipSync(message, { maxOutputLength: bytesMax });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw new RpcError(rpcStatus.internal, 'grpc: failed to decompress the received message');
  }
}

function kept(message: Buffer): Buffer {
  const readBytes = message.buffer.byteLength;
  return readBytes > READ_BYTES_KEPT_MAX && message.length * 2 < readBytes ? Buffer.from(message) : message;
}
