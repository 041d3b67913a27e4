import type { Writable } from 'node:stream';
import { assert } from '../../lib/assert.ts';

/**
 * Where the next bytes of any connection's small frames are put; a new one is made when it is used up. A client that
 * reads nothing keeps all of it in memory by one frame: that is why there is no more of it, and why connections that
 * are waited for put their frames elsewhere.
 */
const SLAB_BYTES = 64 * 1024;
/** Room that a connection takes from the slab: as much as it last filled in one flush, doubled while it fills more. */
const ROOM_BYTES_MIN = 1024;
const ROOM_BYTES_MAX = 32 * 1024;
/** Longer pieces are handed to the socket as they are; shorter ones are cheaper to copy. */
const COPY_BYTES_MAX = 4 * 1024;
/** So much does not wait for the end of the turn: the client takes it while the rest is put together. */
const WRITE_BYTES_MIN = 32 * 1024;
/** Above it the connection sends nothing that can wait. */
const BACKLOG_BYTES_MAX = 1024 * 1024;

let slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

/**
 * The bytes of one connection on their way out: gathered while the event loop turns once, until they are many, or while
 * the system has not taken what was written before, then written at once.
 */
export class Outbox {
  readonly #socket: Writable;
  /** Whole pieces, in order, before what stands in the room. */
  #parts: Buffer[] = [];
  #room: Buffer | null = null;
  #roomStart = 0;
  #roomUsed = 0;
  #nextRoomBytes = ROOM_BYTES_MIN;
  #gatheredBytes = 0;
  /** Of those, in pieces that were not copied. */
  #handedBytes = 0;
  #scheduled = false;
  /** Those that the system has not taken. */
  #writes = 0;
  readonly #onChange: (bytes: number) => void;
  /** Of those bytes: what was told. */
  #toldBytes = 0;
  readonly #onTurn = (): void => this.#flush();
  readonly #onTaken = (): void => {
    this.#writes -= 1;
    if (!this.#scheduled && this.#writes === 0) this.flushAll();
    this.#tell();
  };

  /** @param onChange told how many more bytes wait for the system now, or how many fewer */
  constructor(socket: Writable, onChange: (bytes: number) => void = () => undefined) {
    this.#socket = socket;
    this.#onChange = onChange;
  }

  /** Bytes that the operating system has not taken yet. */
  get backlogBytes(): number {
    return this.#gatheredBytes + this.#socket.writableLength;
  }

  get isFull(): boolean {
    return this.backlogBytes > BACKLOG_BYTES_MAX;
  }

  /** Where what was reserved last is to be written. */
  get room(): Buffer {
    assert(this.#room !== null, 'room was reserved');
    return this.#room;
  }

  /** Takes so many bytes of `room`, which count as written. @returns where the caller fills them, before anything else */
  reserve(bytes: number): number {
    // What was reserved before is filled by now.
    if (this.#gatheredBytes >= WRITE_BYTES_MIN && this.#socket.writableLength === 0) this.flushAll();
    if (this.#room === null || this.#roomUsed + bytes > this.#room.length) this.#takeRoom(bytes);
    const offset = this.#roomUsed;
    this.#roomUsed += bytes;
    this.#note(bytes);
    return offset;
  }

  /** `bytes` must not change any more. */
  push(bytes: Buffer): void {
    if (bytes.length <= COPY_BYTES_MAX) {
      const offset = this.reserve(bytes.length);
      bytes.copy(this.room, offset);
      return;
    }
    this.#cutRoom();
    this.#parts.push(bytes);
    this.#note(bytes.length);
    this.#handedBytes += bytes.length;
  }

  /** Writes everything, whether what was written before is taken or not. */
  flushAll(): void {
    this.#cutRoom();
    const parts = this.#parts;
    if (parts.length === 0) return;
    this.#giveBackRoom();
    this.#parts = [];
    const roomBytes = this.#gatheredBytes - this.#handedBytes;
    this.#nextRoomBytes = Math.max(ROOM_BYTES_MIN, Math.min(roomBytes, ROOM_BYTES_MAX));
    this.#gatheredBytes = 0;
    this.#handedBytes = 0;
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    this.#writes += 1;
    const last = parts.pop()!;
    if (parts.length === 0) {
      socket.write(last, this.#onTaken);
      return;
    }
    socket.cork();
    for (const part of parts) socket.write(part);
    socket.write(last, this.#onTaken);
    socket.uncork();
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#writes === 0) this.flushAll();
    this.#tell();
  }

  #tell(): void {
    const bytes = this.backlogBytes;
    if (bytes === this.#toldBytes) return;
    this.#onChange(bytes - this.#toldBytes);
    this.#toldBytes = bytes;
  }

  #note(bytes: number): void {
    this.#gatheredBytes += bytes;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#onTurn);
  }

  #takeRoom(bytesMin: number): void {
    this.#cutRoom();
    const bytes = Math.max(bytesMin, this.#nextRoomBytes);
    this.#nextRoomBytes = Math.min(bytes * 2, ROOM_BYTES_MAX);
    this.#room = this.#writes > 0 ? Buffer.allocUnsafeSlow(bytes) : takeFromSlab(bytes);
    this.#roomStart = 0;
    this.#roomUsed = 0;
  }

  /** What stands in the room so far becomes a piece. */
  #cutRoom(): void {
    if (this.#room === null || this.#roomUsed === this.#roomStart) return;
    this.#parts.push(this.#room.subarray(this.#roomStart, this.#roomUsed));
    this.#roomStart = this.#roomUsed;
  }

  /** The unused end goes back when nobody took room after it. */
  #giveBackRoom(): void {
    const room = this.#room;
    if (room === null) return;
    this.#room = null;
    const ends = room.buffer === slab.buffer && room.byteOffset + room.length === slab.byteOffset + slabUsed;
    if (ends) slabUsed -= room.length - this.#roomUsed;
  }
}

function takeFromSlab(bytes: number): Buffer {
  if (slabUsed + bytes > slab.length) {
    slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes));
    slabUsed = 0;
  }
  slabUsed += bytes;
  return slab.subarray(slabUsed - bytes, slabUsed);
}
