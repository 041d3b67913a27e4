import { gunzipSync } from 'node:zlib';
import { RpcError, rpcStatus } from '../status.ts';

/** A flag byte and the length, before every message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export const MESSAGE_HEAD_BYTES = 5;

/** Cuts a request's body into messages. */
export class MessageReader {
  readonly #bytesMax: number;
  readonly #compressed: boolean;
  readonly #take: (message: Buffer) => void;
  #parts: Buffer[] = [];
  #partsBytes = 0;
  /** Of the message that is being read, with its head; unknown while the head is not complete. */
  #neededBytes = MESSAGE_HEAD_BYTES;

  /**
   * @param options.compressed the request named an encoding; it is gzip
   * @param options.bytesMax of one message, decompressed
   */
  constructor(options: {
    readonly bytesMax: number;
    readonly compressed: boolean;
    readonly take: (message: Buffer) => void;
  }) {
    this.#bytesMax = options.bytesMax;
    this.#compressed = options.compressed;
    this.#take = options.take;
  }

  /** A message has begun and is not complete. */
  get isPartial(): boolean {
    return this.#partsBytes > 0;
  }

  /** @throws RpcError when a message is too large or malformed; nothing more may be pushed then */
  push(bytes: Buffer): void {
    let rest = bytes;
    if (this.#partsBytes > 0) {
      this.#partsBytes += rest.length;
      this.#parts.push(this.#partsBytes < this.#neededBytes ? kept(rest) : rest);
      if (this.#partsBytes < this.#neededBytes) return;
      rest = Buffer.concat(this.#parts, this.#partsBytes);
      this.#parts = [];
      this.#partsBytes = 0;
      this.#neededBytes = MESSAGE_HEAD_BYTES;
    }
    while (rest.length >= MESSAGE_HEAD_BYTES) {
      const messageBytes = this.#checkedBytes(rest);
      const end = MESSAGE_HEAD_BYTES + messageBytes;
      this.#neededBytes = end;
      if (rest.length < end) break;
      const message = rest.subarray(MESSAGE_HEAD_BYTES, end);
      this.#neededBytes = MESSAGE_HEAD_BYTES;
      this.#take(rest[0] === 0 ? message : this.#inflate(message));
      rest = rest.subarray(end);
    }
    if (rest.length === 0) return;
    this.#parts.push(kept(rest));
    this.#partsBytes = rest.length;
  }

  #checkedBytes(head: Buffer): number {
    const bytes = head.readUInt32BE(1);
    if (bytes > this.#bytesMax) throw this.#tooLarge(bytes);
    if (head[0]! > 1) {
      throw new RpcError(rpcStatus.internal, `grpc: received unexpected payload format ${head[0]}`);
    }
    if (head[0] === 1 && !this.#compressed) {
      throw new RpcError(rpcStatus.internal, 'grpc: compressed flag set with identity or empty encoding');
    }
    return bytes;
  }

  #inflate(message: Buffer): Buffer {
    try {
      return gunzipSync(message, { maxOutputLength: this.#bytesMax });
    } catch (error) {
      if (error instanceof RangeError) throw this.#tooLarge(this.#bytesMax + 1);
      throw new RpcError(rpcStatus.internal, 'grpc: failed to decompress the received message');
    }
  }

  #tooLarge(bytes: number): RpcError {
    return new RpcError(
      rpcStatus.resourceExhausted,
      `grpc: received message larger than max (${bytes} vs. ${this.#bytesMax})`,
    );
  }
}

/** What waits for the rest of its message, without the whole read of the socket that it came with. */
function kept(part: Buffer): Buffer {
  return part.length * 2 < part.buffer.byteLength ? Buffer.from(part) : part;
}
