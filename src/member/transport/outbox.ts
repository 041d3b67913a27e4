import type { Clock } from '../ports.ts';
import type { Connection } from './connection.ts';
import { deflateFrame, isDeflatable } from './deflate.ts';
import { FlowWindow } from './flow-window.ts';
import { encodeFrame, type Frame, frameKinds, ProtocolError } from './frame.ts';

/** Frames to a member nearer than this travel as they are: there, bytes are cheaper than the work to save them. */
const DEFLATE_ROUND_TRIP_MS_MIN = 10;
/** After frames that deflating made hardly smaller, so many go untried: one, two, four, up to this. */
const UNTRIED_FRAMES_MAX = 64;
/** What a report's payload takes: a position in the stream, u48. */
const POSITION_BYTES = 6;

export interface OutboxOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  /** What is known from elsewhere, asked while reports have not shown a round trip; in ms. */
  readonly roundTripMs: () => number | undefined;
  /** A frame was deflated, or was tried in vain and counts the same twice. Bytes, headers included. */
  readonly deflated: (bytes: DeflatedBytes) => void;
  /** `pendingBytes` may be less than before. */
  readonly progressed: () => void;
}

/** What deflating frames has saved. */
export interface DeflatedBytes {
  readonly before: number;
  readonly after: number;
}

interface Item {
  /** What is left to be sent; null while the frame is being deflated. */
  parts: readonly Buffer[] | null;
  sizeBytes: number;
}

/**
 * Frames on their way into one connection, in order: large ones are deflated off the main thread when the peer is
 * far, and no more is handed over than the window lets be on its way. Whoever writes bounds `pendingBytes`.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #window = new FlowWindow();
  readonly #queue: Item[] = [];
  #queuedBytes = 0;
  /** In the order of the queue. */
  readonly #toDeflate: { readonly item: Item; readonly frame: Frame }[] = [];
  #deflating = false;
  #untried = 0;
  #untriedNext = 1;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#window.sent(options.connection.writtenBytes, options.clock.nowMs());
  }

  /** Bytes taken that have not left this process. */
  get pendingBytes(): number {
    return this.#queuedBytes + this.#options.connection.pendingBytes;
  }

  /** Of these, what has yet to be handed over to the connection. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  write(frame: Frame): void {
    const item: Item = { parts: frame.parts, sizeBytes: frame.sizeBytes };
    this.#queue.push(item);
    this.#queuedBytes += item.sizeBytes;
    if (this.#isFar && isDeflatable(frame)) {
      item.parts = null;
      this.#toDeflate.push({ item, frame });
      if (!this.#deflating) void this.#deflateAll();
    }
    this.#pump();
  }

  /**
   * The listener's report of what has arrived.
   *
   * @throws ProtocolError
   */
  takeReport(payload: Buffer): void {
    const { clock } = this.#options;
    if (payload.length !== POSITION_BYTES) throw new ProtocolError('a report is not a position');
    if (!this.#window.arrived(payload.readUIntBE(0, POSITION_BYTES), clock.nowMs())) {
      throw new ProtocolError('a report tells of bytes that were never sent');
    }
    this.#pump();
  }

  get #isFar(): boolean {
    const roundTripMs = this.#window.roundTripMs ?? this.#options.roundTripMs();
    return roundTripMs !== undefined && roundTripMs > DEFLATE_ROUND_TRIP_MS_MIN;
  }

  /** One at a time, so that the order is kept and no stream takes all threads. */
  async #deflateAll(): Promise<void> {
    this.#deflating = true;
    for (let next = this.#toDeflate.shift(); next !== undefined; next = this.#toDeflate.shift()) {
      const { item, frame } = next;
      const { parts, sizeBytes } = this.#untried > 0 ? this.#passOver(frame) : await this.#deflate(frame);
      if (!this.#options.connection.open) return;
      this.#queuedBytes += sizeBytes - item.sizeBytes;
      item.parts = parts;
      item.sizeBytes = sizeBytes;
      this.#pump();
    }
    this.#deflating = false;
  }

  #passOver(frame: Frame): Frame {
    this.#untried--;
    return frame;
  }

  async #deflate(frame: Frame): Promise<Frame> {
    const deflated = await deflateFrame(frame);
    if (deflated === null) {
      this.#untried = this.#untriedNext;
      this.#untriedNext = Math.min(UNTRIED_FRAMES_MAX, this.#untriedNext * 2);
    } else this.#untriedNext = 1;
    const sent = deflated ?? frame;
    this.#options.deflated({ before: frame.sizeBytes, after: sent.sizeBytes });
    return sent;
  }

  /** Hands over what is ready, as far as the window reaches; a frame may be handed over in pieces. */
  #pump(): void {
    const { connection, clock, progressed } = this.#options;
    let wrote = false;
    for (let item = this.#queue[0]; item !== undefined && item.parts !== null; item = this.#queue[0]) {
      const room = this.#window.room();
      if (room === 0) break;
      const piece =
        item.sizeBytes <= room ? { parts: item.parts, sizeBytes: item.sizeBytes } : cut(item, room);
      if (piece.sizeBytes === item.sizeBytes) this.#queue.shift();
      else item.sizeBytes -= piece.sizeBytes;
      this.#queuedBytes -= piece.sizeBytes;
      connection.write(piece);
      this.#window.sent(piece.sizeBytes, clock.nowMs());
      wrote = true;
    }
    if (wrote) progressed();
  }
}

/** Takes so many bytes off the front of an item that is longer. */
function cut(item: Item, sizeBytes: number): Frame {
  const taken: Buffer[] = [];
  const left = [...(item.parts ?? [])];
  let missing = sizeBytes;
  while (missing > 0) {
    const part = left[0]!;
    if (part.length <= missing) {
      taken.push(part);
      left.shift();
    } else {
      taken.push(part.subarray(0, missing));
      left[0] = part.subarray(missing);
    }
    missing -= taken.at(-1)!.length;
  }
  item.parts = left;
  return { parts: taken, sizeBytes };
}

/** A report of what has arrived: every byte of the connection before `position`. */
export function encodeReport(position: number): Frame {
  const payload = Buffer.allocUnsafe(POSITION_BYTES);
  payload.writeUIntBE(position, 0, POSITION_BYTES);
  return encodeFrame(frameKinds.received, payload);
}
