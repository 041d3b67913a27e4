import type { Duplex } from 'node:stream';
import type { Unread } from '../../lib/unread-budget.ts';
import type { ConnectionOptions } from './connection-options.ts';
import { checkSetting, type FrameHead, settingsPayload, withoutPadding } from './frames.ts';
import { type Field, HpackDecoder } from './hpack.ts';
import { Outbox } from './outbox.ts';
import {
  ConnectionError,
  type ErrorCode,
  errorCode,
  FRAME_BYTES_MAX,
  FRAME_HEAD_BYTES,
  frameFlag,
  frameType,
  PREFACE,
  setting,
  WINDOW_BYTES_DEFAULT,
  WINDOW_BYTES_MAX,
  writeFrameHead,
} from './protocol.ts';
import { type RequestHead, requestHead } from './request-head.ts';
import { ServerStream } from './stream.ts';
import { STREAMS_PER_SLICE } from './turns.ts';

/** Receiving windows: what clients may send ahead of being read. */
const STREAM_WINDOW_BYTES = 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
/** One header block may come in this many bytes, compressed, and in this many CONTINUATION frames. */
const HEADER_BLOCK_BYTES_MAX = 64 * 1024;
const CONTINUATIONS_MAX = 16;
/** Frames of no use to a request that a client may send a second; more are a flood. Any DATA of ours starts anew. */
const IDLE_FRAMES_MAX = 10_000;
/** A change of all streams' windows counts as one of them for every so many streams. */
const STREAMS_PER_IDLE_FRAME = 20;
/** Streams that a client may reset a second before they are answered (CVE-2023-44487). */
const RESETS_MAX = 1_000;
/** Answers of all kinds that the client leaves unread; those that flow control holds back stay far below. */
const UNREAD_BYTES_MAX = 32 * 1024 * 1024;
/** A connection that has ended waits this long for the client to read the last words. */
const LINGER_MS = 1_000;

/** One HTTP/2 connection on the server's side (RFC 9113). Priorities are ignored, nothing is pushed. */
export class ServerConnection {
  readonly #options: ConnectionOptions;
  readonly #socket: Duplex;
  readonly outbox: Outbox;
  readonly #unread: Unread;
  readonly #decoder: HpackDecoder;
  readonly #streams = new Map<number, ServerStream>();
  /** Streams with something to send that the connection's window or the socket holds back. */
  readonly #waiting = new Set<ServerStream>();
  #held: Buffer | null = null;
  #prefaceLeft = PREFACE.length;
  #sawSettings = false;
  #lastStreamId = 0;
  /** A header block that CONTINUATION frames go on with. */
  #block: {
    readonly streamId: number;
    readonly flags: number;
    readonly parts: Buffer[];
    bytes: number;
  } | null = null;
  #sendWindow = WINDOW_BYTES_DEFAULT;
  #streamSendWindow = WINDOW_BYTES_DEFAULT;
  #receivedUnacknowledged = 0;
  #queuedBytes = 0;
  /** Streams opened by what is being read. */
  #openedNow = 0;
  #idleFrames = 0;
  #resets = 0;
  #draining = false;
  #closed = false;
  /** Anything came since the last look. */
  #heard = true;
  #pingSentMs: number | null = null;
  #lastHeardMs: number;
  readonly #openedMs: number;
  #idleSinceMs: number;
  /** The largest frame that the client takes. */
  frameBytesMax = FRAME_BYTES_MAX;

  /** @param socket at the very start of the client's preface */
  constructor(socket: Duplex, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#unread = options.unread.open(() => this.destroy());
    this.outbox = new Outbox(socket, (bytes) => {
      if (!this.#closed) this.#unread.add(bytes);
    });
    this.#decoder = new HpackDecoder({ listBytesMax: options.limits.headerListBytesMax });
    this.#openedMs = performance.now();
    this.#lastHeardMs = this.#openedMs;
    this.#idleSinceMs = this.#openedMs;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.pump());
    socket.on('end', () => this.#finish());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#close());
    this.#greet();
  }

  /** Bytes of answers that wait for a window, or for the socket to take what came before. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get sendWindow(): number {
    return this.#sendWindow;
  }

  /** What a stream may send at first. */
  get streamSendWindow(): number {
    return this.#streamSendWindow;
  }

  /** Since when it has had no stream, on the clock of `performance.now()`; Infinity while it has one, or ends. */
  get idleSinceMs(): number {
    return this.#streams.size > 0 || this.#closed || this.#draining
      ? Number.POSITIVE_INFINITY
      : this.#idleSinceMs;
  }

  /** New streams are refused from now on; the connection ends with its last stream. */
  drain(): void {
    if (this.#draining || this.#closed) return;
    this.#draining = true;
    this.#sendGoaway(errorCode.noError, '');
    if (this.#streams.size === 0) this.#finish();
  }

  destroy(): void {
    this.#socket.destroy();
    this.#close();
  }

  /**
   * To be called about once a second: starts the budgets anew and looks after connections that say nothing.
   *
   * @param times the client's SETTINGS must have come within `greetingMs`; after `idleMs` of silence it is pinged,
   *   and has `answerMs` to say anything
   */
  look(times: { readonly greetingMs: number; readonly idleMs: number; readonly answerMs: number }): void {
    const nowMs = performance.now();
    this.#idleFrames = 0;
    this.#resets = 0;
    if (this.#heard) {
      this.#heard = false;
      this.#lastHeardMs = nowMs;
      this.#pingSentMs = null;
    }
    if (!this.#sawSettings && nowMs - this.#openedMs > times.greetingMs) this.destroy();
    else if (this.#pingSentMs !== null) {
      if (nowMs - this.#pingSentMs > times.answerMs) this.destroy();
    } else if (nowMs - this.#lastHeardMs > times.idleMs) {
      this.#pingSentMs = nowMs;
      this.#frame(frameType.ping, 0, 0, Buffer.alloc(8));
    }
  }

  // ---- for streams --------------------------------------------------------------------------------------------

  /** DATA of that size goes out: the windows shrink, and the client is plainly waiting for it. */
  spend(bytes: number): void {
    this.#sendWindow -= bytes;
    this.#idleFrames = 0;
  }

  /** So many more bytes wait to be sent; fewer, when negative. */
  queue(bytes: number): void {
    this.#queuedBytes += bytes;
    if (!this.#closed) this.#unread.add(bytes);
  }

  /** The stream goes on when the connection can send again. */
  wait(stream: ServerStream): void {
    this.#waiting.add(stream);
  }

  forget(stream: ServerStream): void {
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
    if (this.#streams.size === 0) this.#idleSinceMs = performance.now();
    if (this.#draining && this.#streams.size === 0) this.#finish();
  }

  sendReset(streamId: number, code: ErrorCode): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(code);
    this.#frame(frameType.rstStream, 0, streamId, payload);
  }

  sendWindowUpdate(streamId: number, bytes: number): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(bytes);
    this.#frame(frameType.windowUpdate, 0, streamId, payload);
  }

  /** Lets streams that wait send on, each in its turn. */
  pump(): void {
    for (const stream of this.#waiting) {
      if (this.#sendWindow <= 0 || this.outbox.isFull) return;
      this.#waiting.delete(stream);
      stream.pump();
    }
  }

  // ---- receiving ----------------------------------------------------------------------------------------------

  #receive(chunk: Buffer): void {
    if (this.#closed) return;
    this.#heard = true;
    try {
      if (this.outbox.backlogBytes > UNREAD_BYTES_MAX) {
        throw new ConnectionError(errorCode.enhanceYourCalm, 'the client does not read its answers');
      }
      this.#readFrames(this.#held === null ? chunk : Buffer.concat([this.#held, chunk]));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Goes on after others have had their turn. */
  #resume(): void {
    const held = this.#held;
    if (this.#closed) return;
    this.#socket.resume();
    this.#held = null;
    if (held !== null) this.#receive(held);
  }

  #readFrames(bytes: Buffer): void {
    const { turns } = this.#options;
    let offset = this.#prefaceLeft > 0 ? this.#readPreface(bytes) : 0;
    this.#openedNow = 0;
    while (bytes.length - offset >= FRAME_HEAD_BYTES && !this.#closed) {
      if (turns.isOver || this.#openedNow >= STREAMS_PER_SLICE) {
        this.#held = bytes.subarray(offset);
        this.#socket.pause();
        turns.wait(() => this.#resume());
        return;
      }
      const length = (bytes[offset]! << 16) | (bytes[offset + 1]! << 8) | bytes[offset + 2]!;
      if (length > FRAME_BYTES_MAX)
        throw new ConnectionError(errorCode.frameSizeError, 'a frame is too large');
      const start = offset + FRAME_HEAD_BYTES;
      const end = start + length;
      if (end > bytes.length) break;
      const streamId = bytes.readUInt32BE(offset + 5) & 0x7fff_ffff;
      this.#readFrame(
        { type: bytes[offset + 3]!, flags: bytes[offset + 4]!, streamId },
        bytes.subarray(start, end),
      );
      offset = end;
    }
    // A frame that has begun does not keep those before it, which came with the same read.
    this.#held = offset === bytes.length ? null : offset === 0 ? bytes : Buffer.from(bytes.subarray(offset));
  }

  #readPreface(bytes: Buffer): number {
    const from = PREFACE.length - this.#prefaceLeft;
    const length = Math.min(this.#prefaceLeft, bytes.length);
    if (!bytes.subarray(0, length).equals(PREFACE.subarray(from, from + length))) {
      throw new ConnectionError(errorCode.protocolError, 'the preface is not that of HTTP/2');
    }
    this.#prefaceLeft -= length;
    return length;
  }

  #readFrame(head: FrameHead, payload: Buffer): void {
    if (this.#block !== null && head.type !== frameType.continuation) {
      throw new ConnectionError(errorCode.protocolError, 'a header block was interrupted');
    }
    if (!this.#sawSettings && head.type !== frameType.settings) {
      throw new ConnectionError(errorCode.protocolError, 'the first frame is not SETTINGS');
    }
    switch (head.type) {
      case frameType.data:
        return this.#readData(head, payload);
      case frameType.headers:
        return this.#readHeaders(head, payload);
      case frameType.continuation:
        return this.#readContinuation(head, payload);
      case frameType.rstStream:
        return this.#readReset(head, payload);
      case frameType.settings:
        return this.#readSettings(head, payload);
      case frameType.ping:
        return this.#readPing(head, payload);
      case frameType.windowUpdate:
        return this.#readWindowUpdate(head, payload);
      case frameType.goaway:
        return this.#readGoaway(head);
      case frameType.priority:
        return this.#readPriority(head, payload);
      case frameType.pushPromise:
        throw new ConnectionError(errorCode.protocolError, 'a client pushes nothing');
      default:
        // Unknown types are ignored (RFC 9113, 4.1).
        this.#countIdleFrame();
    }
  }

  #readData(head: FrameHead, payload: Buffer): void {
    if (head.streamId === 0 || head.streamId > this.#lastStreamId) {
      throw new ConnectionError(errorCode.protocolError, 'DATA for a stream that was never opened');
    }
    this.#acknowledge(payload.length);
    const ended = (head.flags & frameFlag.endStream) !== 0;
    if (payload.length === 0 && !ended) this.#countIdleFrame();
    const data = withoutPadding(head, payload);
    const stream = this.#streams.get(head.streamId);
    // One that is over already: its bytes were on their way.
    if (stream === undefined) return;
    stream.receive(data, { windowBytes: payload.length, ended });
  }

  /** The connection's window always opens again: what is held back is held by the streams' windows. */
  #acknowledge(bytes: number): void {
    this.#receivedUnacknowledged += bytes;
    if (this.#receivedUnacknowledged > CONNECTION_WINDOW_BYTES) {
      throw new ConnectionError(errorCode.flowControlError, 'more than the connection window was sent');
    }
    if (this.#receivedUnacknowledged < CONNECTION_WINDOW_BYTES / 2) return;
    this.sendWindowUpdate(0, this.#receivedUnacknowledged);
    this.#receivedUnacknowledged = 0;
  }

  #readHeaders(head: FrameHead, payload: Buffer): void {
    if (head.streamId % 2 === 0) {
      throw new ConnectionError(errorCode.protocolError, 'clients open streams of odd numbers');
    }
    let block = withoutPadding(head, payload);
    if ((head.flags & frameFlag.priority) !== 0) {
      if (block.length < 5) throw new ConnectionError(errorCode.frameSizeError, 'HEADERS is too short');
      block = block.subarray(5);
    }
    if ((head.flags & frameFlag.endHeaders) !== 0) this.#readBlock(head, block);
    else this.#block = { ...head, parts: [Buffer.from(block)], bytes: block.length };
  }

  #readContinuation(head: FrameHead, payload: Buffer): void {
    const block = this.#block;
    if (block === null || block.streamId !== head.streamId) {
      throw new ConnectionError(errorCode.protocolError, 'CONTINUATION continues nothing');
    }
    block.parts.push(Buffer.from(payload));
    block.bytes += payload.length;
    if (block.bytes > HEADER_BLOCK_BYTES_MAX || block.parts.length > CONTINUATIONS_MAX + 1) {
      throw new ConnectionError(errorCode.enhanceYourCalm, 'a header block is too large');
    }
    if ((head.flags & frameFlag.endHeaders) === 0) return;
    this.#block = null;
    this.#readBlock(block, Buffer.concat(block.parts));
  }

  /** A whole block: it is decoded whatever becomes of the stream, since the next one may build on it. */
  #readBlock(
    { streamId, flags }: { readonly streamId: number; readonly flags: number },
    block: Buffer,
  ): void {
    const head = this.#headOf(block);
    const ended = (flags & frameFlag.endStream) !== 0;
    if (streamId <= this.#lastStreamId) {
      this.#readTrailers(streamId, ended);
      return;
    }
    this.#lastStreamId = streamId;
    this.#openedNow += 1;
    this.#options.turns.count();
    if (this.#draining || this.#streams.size >= this.#options.limits.streamsMax) {
      this.#countReset();
      this.sendReset(streamId, errorCode.refusedStream);
      return;
    }
    if (head === null) {
      this.#countReset();
      this.sendReset(streamId, errorCode.protocolError);
      return;
    }
    const stream = new ServerStream(this, { id: streamId, receiveWindow: STREAM_WINDOW_BYTES, ended });
    this.#streams.set(streamId, stream);
    stream.receiver = this.#options.open(stream, head);
    if (ended) stream.complete();
  }

  /** Trailers of a request: they end it, and say nothing that a call would need. */
  #readTrailers(streamId: number, ended: boolean): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return this.#countIdleFrame();
    if (ended) stream.receive(EMPTY, { windowBytes: 0, ended });
    else stream.fail(errorCode.protocolError);
  }

  /** Clients send the same few blocks over and over. */
  #headOf(block: Buffer): RequestHead | null {
    const { heads } = this.#options;
    const key = this.#decoder.stateless ? heads.keyOf(block) : null;
    if (key === null) return this.#decodeHead(block);
    let head = heads.get(key);
    if (head !== undefined) return head;
    head = this.#decodeHead(block);
    if (this.#decoder.stateless) heads.put(key, head);
    return head;
  }

  #decodeHead(block: Buffer): RequestHead | null {
    const fields: readonly Field[] = this.#decoder.decode(block);
    return requestHead(fields);
  }

  #readReset(head: FrameHead, payload: Buffer): void {
    if (payload.length !== 4)
      throw new ConnectionError(errorCode.frameSizeError, 'RST_STREAM has four bytes');
    if (head.streamId === 0 || head.streamId > this.#lastStreamId) {
      throw new ConnectionError(errorCode.protocolError, 'RST_STREAM for a stream that was never opened');
    }
    const stream = this.#streams.get(head.streamId);
    if (stream === undefined) return this.#countIdleFrame();
    if (!stream.answered) this.#countReset();
    stream.cancel();
  }

  #readSettings(head: FrameHead, payload: Buffer): void {
    if (head.streamId !== 0) throw new ConnectionError(errorCode.protocolError, 'SETTINGS has no stream');
    this.#countIdleFrame();
    if ((head.flags & frameFlag.ack) !== 0) {
      if (payload.length > 0)
        throw new ConnectionError(errorCode.frameSizeError, 'an acknowledgement is empty');
      return;
    }
    if (payload.length % 6 !== 0)
      throw new ConnectionError(errorCode.frameSizeError, 'SETTINGS is cut short');
    this.#sawSettings = true;
    let window = this.#streamSendWindow;
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      if (payload.readUInt16BE(at) === setting.initialWindowSize) window = value;
      if (payload.readUInt16BE(at) === setting.maxFrameSize) this.frameBytesMax = value;
      checkSetting(payload.readUInt16BE(at), value);
    }
    if (window !== this.#streamSendWindow) this.#changeWindows(window);
    this.#frame(frameType.settings, frameFlag.ack, 0, EMPTY);
  }

  /** Of several changes in one frame only the last one counts: each touches every stream. */
  #changeWindows(bytes: number): void {
    this.#countIdleFrame(Math.floor(this.#streams.size / STREAMS_PER_IDLE_FRAME));
    const change = bytes - this.#streamSendWindow;
    this.#streamSendWindow = bytes;
    for (const stream of this.#streams.values()) {
      if (stream.widen(change)) continue;
      throw new ConnectionError(errorCode.flowControlError, 'a stream window is too large');
    }
  }

  #readPing(head: FrameHead, payload: Buffer): void {
    if (head.streamId !== 0) throw new ConnectionError(errorCode.protocolError, 'PING has no stream');
    if (payload.length !== 8) throw new ConnectionError(errorCode.frameSizeError, 'PING has eight bytes');
    this.#countIdleFrame();
    if ((head.flags & frameFlag.ack) === 0) this.#frame(frameType.ping, frameFlag.ack, 0, payload);
  }

  #readWindowUpdate(head: FrameHead, payload: Buffer): void {
    if (payload.length !== 4) {
      throw new ConnectionError(errorCode.frameSizeError, 'WINDOW_UPDATE has four bytes');
    }
    this.#countIdleFrame();
    const bytes = payload.readUInt32BE(0) & 0x7fff_ffff;
    if (head.streamId > this.#lastStreamId) {
      throw new ConnectionError(errorCode.protocolError, 'WINDOW_UPDATE for a stream that was never opened');
    }
    if (head.streamId !== 0) {
      const stream = this.#streams.get(head.streamId);
      if (stream === undefined) return;
      if (bytes === 0) stream.fail(errorCode.protocolError);
      else if (!stream.widen(bytes)) stream.fail(errorCode.flowControlError);
      return;
    }
    if (bytes === 0) throw new ConnectionError(errorCode.protocolError, 'a window grows by nothing');
    this.#sendWindow += bytes;
    if (this.#sendWindow > WINDOW_BYTES_MAX) {
      throw new ConnectionError(errorCode.flowControlError, 'the connection window is too large');
    }
    this.pump();
  }

  /** The client opens no more streams; those that it has go on. */
  #readGoaway(head: FrameHead): void {
    if (head.streamId !== 0) throw new ConnectionError(errorCode.protocolError, 'GOAWAY has no stream');
    this.#countIdleFrame();
    this.#draining = true;
    if (this.#streams.size === 0) this.#finish();
  }

  #readPriority(head: FrameHead, payload: Buffer): void {
    if (head.streamId === 0) throw new ConnectionError(errorCode.protocolError, 'PRIORITY has a stream');
    if (payload.length !== 5) throw new ConnectionError(errorCode.frameSizeError, 'PRIORITY has five bytes');
    this.#countIdleFrame();
  }

  // ---- budgets ------------------------------------------------------------------------------------------------

  #countIdleFrame(count = 1): void {
    this.#idleFrames += count;
    if (this.#idleFrames > IDLE_FRAMES_MAX) {
      throw new ConnectionError(errorCode.enhanceYourCalm, 'too many frames that serve no request');
    }
  }

  #countReset(): void {
    this.#resets += 1;
    if (this.#resets > RESETS_MAX) {
      throw new ConnectionError(errorCode.enhanceYourCalm, 'too many streams are reset');
    }
  }

  // ---- sending ------------------------------------------------------------------------------------------------

  #greet(): void {
    const settings: readonly (readonly [number, number])[] = [
      // Header blocks that depend on no state are looked up whole.
      [setting.headerTableSize, 0],
      [setting.maxConcurrentStreams, this.#options.limits.streamsMax],
      [setting.initialWindowSize, STREAM_WINDOW_BYTES],
      [setting.maxHeaderListSize, this.#options.limits.headerListBytesMax],
    ];
    this.#frame(frameType.settings, 0, 0, settingsPayload(settings));
    this.sendWindowUpdate(0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES_DEFAULT);
  }

  #frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (this.#closed) return;
    const offset = this.outbox.reserve(FRAME_HEAD_BYTES + payload.length);
    const { room } = this.outbox;
    writeFrameHead(room, offset, { bytes: payload.length, type, flags, streamId });
    payload.copy(room, offset + FRAME_HEAD_BYTES);
  }

  #sendGoaway(code: ErrorCode, text: string): void {
    const payload = Buffer.alloc(8 + text.length);
    payload.writeUInt32BE(this.#lastStreamId, 0);
    payload.writeUInt32BE(code, 4);
    payload.write(text, 8, 'latin1');
    this.#frame(frameType.goaway, 0, 0, payload);
  }

  // ---- ending -------------------------------------------------------------------------------------------------

  #fail(error: unknown): void {
    if (!(error instanceof ConnectionError)) {
      this.destroy();
      this.#options.onBug(error);
      return;
    }
    this.#sendGoaway(error.code, error.message);
    this.#finish();
  }

  /** Everything was said. */
  #finish(): void {
    if (this.#closed) return;
    this.outbox.flushAll();
    if (!this.#socket.writableEnded) this.#socket.end();
    this.#close();
    // A client that neither reads nor closes does not keep the socket.
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unread.close();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#waiting.clear();
    this.#cancel(streams, 0);
    this.#options.closed();
  }

  #cancel(streams: readonly ServerStream[], from: number): void {
    const { turns } = this.#options;
    const end = Math.min(from + STREAMS_PER_SLICE, streams.length);
    for (let at = from; at < end; at++) {
      streams[at]!.cancel();
      turns.count();
    }
    if (end < streams.length) turns.wait(() => this.#cancel(streams, end));
  }
}

const EMPTY = Buffer.alloc(0);
