import { assert } from '../../lib/assert.ts';
import type { ServerConnection } from './connection.ts';
import { MESSAGE_HEAD_BYTES, writeMessageHead } from './message-reader.ts';
import {
  type ErrorCode,
  errorCode,
  FRAME_HEAD_BYTES,
  frameType,
  WINDOW_BYTES_MAX,
  writeFrameHead,
  writeStreamId,
} from './protocol.ts';

/** Who answers a stream. */
export interface StreamReceiver {
  /** Part of the request's body; valid until the call returns, unless it is copied. */
  data(bytes: Buffer): void;
  /** The request is complete. */
  end(): void;
  /** The client has gone, or the connection has: nothing more comes and nothing can be sent. */
  cancel(): void;
  /** Some of what was queued has left: `queuedBytes` and `queuedMessages` are smaller. */
  sent(): void;
}

/** Longer messages are not copied. */
const COPIED_BYTES_MAX = 4 * 1024;
/** What a message takes besides its bytes while it waits. */
const QUEUED_MESSAGE_BYTES = 256;

/** Bytes of DATA that wait for a window: a message and what precedes it. */
interface Item {
  readonly head: Buffer;
  readonly body: Buffer;
  offset: number;
  next: Item | null;
}

/** One request and its answer. */
export class ServerStream {
  readonly id: number;
  readonly #connection: ServerConnection;
  readonly #receiveWindow: number;
  receiver: StreamReceiver | null = null;
  #sendWindow: number;
  /** Received and not taken in. */
  #unread = 0;
  /** Taken in and not yet given back to the client's window. */
  #owed = 0;
  #first: Item | null = null;
  #last: Item | null = null;
  #trailers: Buffer | null = null;
  #remoteEnded: boolean;
  #over = false;
  queuedBytes = 0;
  queuedMessages = 0;
  /** The answer has begun. */
  answered = false;

  /** @param options.ended the request has no body */
  constructor(
    connection: ServerConnection,
    options: { readonly id: number; readonly receiveWindow: number; readonly ended: boolean },
  ) {
    this.#connection = connection;
    this.id = options.id;
    this.#receiveWindow = options.receiveWindow;
    this.#remoteEnded = options.ended;
    this.#sendWindow = connection.streamSendWindow;
  }

  /** Bytes that all streams of the connection have queued. */
  get connectionQueuedBytes(): number {
    return this.#connection.queuedBytes;
  }

  /** @param frame a whole HEADERS frame; its stream is set here */
  sendHeaders(frame: Buffer): void {
    if (this.#over) return;
    this.answered = true;
    this.#sendFrame(frame);
  }

  /** Sends `head` and `body` as DATA, as soon as the windows let them. They must not change any more. */
  send(head: Buffer, body: Buffer): void {
    if (this.#over) return;
    const item: Item = { head, body, offset: 0, next: null };
    if (this.#last === null) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.queuedBytes += body.length;
    this.queuedMessages += 1;
    this.#connection.queue(body.length + QUEUED_MESSAGE_BYTES);
    if (this.#first === item) this.pump();
  }

  /** @param frame a whole HEADERS frame with END_STREAM, sent after all DATA */
  finish(frame: Buffer): void {
    if (this.#over) return;
    assert(this.#trailers === null, 'a stream is finished once');
    this.answered = true;
    this.#trailers = frame;
    if (this.#first === null) this.#end();
  }

  /** Whether `sendWhole` and `answer` can be used: nothing stands in the way of the message. */
  canSendWhole(message: Buffer): boolean {
    const { outbox, sendWindow, frameBytesMax } = this.#connection;
    const bytes = MESSAGE_HEAD_BYTES + message.length;
    return (
      message.length <= COPIED_BYTES_MAX &&
      this.#first === null &&
      bytes <= Math.min(sendWindow, this.#sendWindow, frameBytesMax) &&
      !outbox.isFull
    );
  }

  /** What `send` does with a message and its head, in one piece. */
  sendWhole(message: Buffer): void {
    if (this.#over) return;
    assert(this.#first === null, 'a message goes out at once when none waits');
    const bytes = MESSAGE_HEAD_BYTES + message.length;
    const { outbox } = this.#connection;
    const start = outbox.reserve(FRAME_HEAD_BYTES + bytes);
    this.#writeMessage(outbox.room, start, message);
    this.#connection.spend(bytes);
    this.#sendWindow -= bytes;
    this.receiver?.sent();
  }

  /**
   * A whole answer at once, as nearly all are: what `sendHeaders`, `send` and `finish` do, in one piece.
   *
   * @param headers as for `sendHeaders`
   * @param trailers as for `finish`
   */
  answer(headers: Buffer, message: Buffer, trailers: Buffer): void {
    if (this.#over) return;
    assert(this.#first === null && this.#trailers === null, 'an answer begins with nothing before it');
    this.answered = true;
    const bytes = MESSAGE_HEAD_BYTES + message.length;
    const dataStart = headers.length + FRAME_HEAD_BYTES;
    const { outbox } = this.#connection;
    const start = outbox.reserve(dataStart + bytes + trailers.length);
    const { room } = outbox;
    writeFrame(room, start, headers, this.id);
    this.#writeMessage(room, start + headers.length, message);
    writeFrame(room, start + dataStart + bytes, trailers, this.id);
    this.#sendWindow -= bytes;
    this.#connection.spend(bytes);
    this.#close();
  }

  /** The receiver has taken in that many bytes of DATA: the client may send as many more. */
  consumed(bytes: number): void {
    if (this.#over || this.#remoteEnded) return;
    this.#unread -= bytes;
    this.#owed += bytes;
    if (this.#owed < this.#receiveWindow / 2) return;
    this.#connection.sendWindowUpdate(this.id, this.#owed);
    this.#owed = 0;
  }

  /** Ends the stream from this side, without an answer. */
  fail(code: ErrorCode): void {
    if (this.#over) return;
    this.#connection.sendReset(this.id, code);
    this.cancel();
  }

  // ---- for the connection -------------------------------------------------------------------------------------

  receive(data: Buffer, frame: { readonly windowBytes: number; readonly ended: boolean }): void {
    if (this.#remoteEnded) return this.fail(errorCode.streamClosed);
    this.#unread += frame.windowBytes;
    if (this.#unread + this.#owed > this.#receiveWindow) return this.fail(errorCode.flowControlError);
    if (frame.ended) this.#remoteEnded = true;
    // Padding is read as soon as it is there.
    if (frame.windowBytes > data.length) this.consumed(frame.windowBytes - data.length);
    if (data.length > 0) this.receiver?.data(data);
    if (frame.ended) this.complete();
  }

  /** The whole request is there. */
  complete(): void {
    if (!this.#over) this.receiver?.end();
  }

  /** @returns false when the window would be larger than there can be */
  widen(bytes: number): boolean {
    if (this.#sendWindow + bytes > WINDOW_BYTES_MAX) return false;
    this.#sendWindow += bytes;
    if (this.#first !== null && this.#sendWindow > 0) this.pump();
    return true;
  }

  /** Nothing more can be sent or heard. */
  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#drop();
    this.#connection.forget(this);
    this.receiver?.cancel();
  }

  /** Sends what the windows and the socket allow now. */
  pump(): void {
    const queued = this.queuedMessages;
    for (let item = this.#first; item !== null && !this.#over; item = this.#first) {
      if (this.#connection.outbox.isFull || this.#connection.sendWindow <= 0) {
        this.#connection.wait(this);
        break;
      }
      if (this.#sendWindow <= 0) break;
      this.#sendSome(item);
    }
    if (this.#over) return;
    const sent = this.queuedMessages < queued;
    if (this.#first === null && this.#trailers !== null) this.#end();
    if (sent) this.receiver?.sent();
  }

  /** One DATA frame, with as much of the item as may leave. */
  #sendSome(item: Item): void {
    const { outbox, sendWindow, frameBytesMax } = this.#connection;
    const headBytes = item.head.length;
    const left = headBytes + item.body.length - item.offset;
    const bytes = Math.min(left, sendWindow, this.#sendWindow, frameBytesMax);
    const fromHead = Math.max(0, Math.min(bytes, headBytes - item.offset));
    const offset = outbox.reserve(FRAME_HEAD_BYTES + fromHead);
    const { room } = outbox;
    writeFrameHead(room, offset, { bytes, type: frameType.data, flags: 0, streamId: this.id });
    if (fromHead > 0) item.head.copy(room, offset + FRAME_HEAD_BYTES, item.offset, item.offset + fromHead);
    const bodyStart = item.offset + fromHead - headBytes;
    const bodyBytes = bytes - fromHead;
    if (bodyBytes > 0) outbox.push(item.body.subarray(bodyStart, bodyStart + bodyBytes));
    this.#sendWindow -= bytes;
    this.#connection.spend(bytes);
    item.offset += bytes;
    this.queuedBytes -= bodyBytes;
    this.#connection.queue(bytes < left ? -bodyBytes : -bodyBytes - QUEUED_MESSAGE_BYTES);
    if (bytes < left) return;
    this.queuedMessages -= 1;
    this.#first = item.next;
    if (this.#first === null) this.#last = null;
  }

  /** The whole message in one DATA frame. */
  #writeMessage(room: Buffer, start: number, message: Buffer): void {
    const bytes = MESSAGE_HEAD_BYTES + message.length;
    writeFrameHead(room, start, { bytes, type: frameType.data, flags: 0, streamId: this.id });
    writeMessageHead(room, start + FRAME_HEAD_BYTES, message.length);
    room.set(message, start + FRAME_HEAD_BYTES + MESSAGE_HEAD_BYTES);
  }

  #end(): void {
    const trailers = this.#trailers;
    assert(trailers !== null, 'trailers end a stream');
    this.#sendFrame(trailers);
    this.#close();
  }

  /** Everything is said. */
  #close(): void {
    this.#over = true;
    // The client may still be sending: it is told that nobody reads it (RFC 9113, 8.1).
    if (!this.#remoteEnded) this.#connection.sendReset(this.id, errorCode.noError);
    this.#connection.forget(this);
  }

  #sendFrame(frame: Buffer): void {
    const { outbox } = this.#connection;
    const offset = outbox.reserve(frame.length);
    writeFrame(outbox.room, offset, frame, this.id);
  }

  #drop(): void {
    this.#first = null;
    this.#last = null;
    this.#connection.queue(-this.queuedBytes - this.queuedMessages * QUEUED_MESSAGE_BYTES);
    this.queuedBytes = 0;
    this.queuedMessages = 0;
  }
}

/** A frame made before, for the stream that it goes out on. */
function writeFrame(target: Buffer, offset: number, frame: Buffer, streamId: number): void {
  target.set(frame, offset);
  writeStreamId(target, offset, streamId);
}
