import { Duplex } from 'node:stream';
import { huffmanText } from './huffman.ts';

/**
 * Clients made with grpc-go of etcd 3.4's age send their whole endpoint, `http://host:port`, as `:authority`. Node's
 * HTTP/2 refuses the slashes in it and resets the stream. Here they become dashes, on the way in; nobody reads the
 * value. It keeps its length, so the compression state that both sides keep (RFC 7541, 2.3.2) stays the same.
 */

const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const HEADERS = 1;
const FLAG_END_HEADERS = 0x4;
const FLAG_PADDED = 0x8;
const FLAG_PRIORITY = 0x20;
const PRIORITY_BYTES = 5;
/** The longest frame worth holding back to look at; header blocks of clients are far smaller. */
const HEADERS_BYTES_MAX = 64 * 1024;
/** Handed on at a time: a few hundred of the smallest requests. */
const SLICE_BYTES_MAX = 16 * 1024;
/** Index of `:authority` in HPACK's static table. */
const AUTHORITY = 1;

/** Sees the frames of a connection pass, and says when. */
export interface FrameWatcher {
  /** @param work answers how many header blocks it let pass; done at once or later, always in order */
  schedule(work: () => number): void;
  /** As `schedule`, for the end of all that is still open. */
  scheduleEnd(end: () => void): void;
  /** The head of a frame of the client's. @returns false to let nothing more pass */
  frame(type: number, payloadBytes: number): boolean;
  /** Bytes that go to the client. */
  sent(bytes: number): void;
}

/** The connection, with slashes in `:authority` replaced. */
export function withPlainAuthority(socket: Duplex, watcher: FrameWatcher): Duplex {
  const rewriter = new AuthorityRewriter(watcher);
  let waiting = 0;
  const filtered = new Duplex({
    read: () => {
      if (waiting === 0) socket.resume();
    },
    write: (chunk: Buffer, _encoding, done) => {
      watcher.sent(chunk.length);
      if (socket.write(chunk)) done();
      else socket.once('drain', done);
    },
    writev: (chunks, done) => {
      socket.cork();
      for (const { chunk } of chunks) {
        watcher.sent((chunk as Buffer).length);
        socket.write(chunk as Buffer);
      }
      const isFull = socket.writableNeedDrain;
      socket.uncork();
      if (isFull) socket.once('drain', done);
      else done();
    },
    final: (done) => {
      socket.end();
      done();
    },
    destroy: (error, done) => {
      // A client that is sent away is heard out: cut at once, it would not hear why.
      if (!rewriter.stopped) socket.destroy();
      done(error);
    },
  });
  const pass = (bytes: Buffer): number => {
    waiting -= 1;
    const before = rewriter.headerBlocks;
    for (const piece of rewriter.push(bytes)) filtered.push(piece);
    const isFull = filtered.readableLength >= filtered.readableHighWaterMark;
    if (isFull) socket.pause();
    else if (waiting === 0 && socket.isPaused()) socket.resume();
    return rewriter.headerBlocks - before;
  };
  socket.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; at += SLICE_BYTES_MAX) {
      const slice = chunk.subarray(at, at + SLICE_BYTES_MAX);
      waiting += 1;
      watcher.schedule(() => pass(slice));
    }
    // What is read while other work goes first is one chunk at most.
    if (waiting > 0) socket.pause();
  });
  socket.on('end', () =>
    watcher.schedule(() => {
      filtered.push(null);
      return 0;
    }),
  );
  socket.on('close', () => watcher.scheduleEnd(() => filtered.destroy()));
  return filtered;
}

/** Splits what a client sends into frames as far as needed to find the header blocks. */
export class AuthorityRewriter {
  /** Bytes to let pass before the next frame begins: the preface at first, then the rest of a frame. */
  #pass = PREFACE_BYTES;
  #held: Buffer = Buffer.alloc(0);
  readonly #watcher: Pick<FrameWatcher, 'frame'>;
  #stopped = false;
  #headerBlocks = 0;

  constructor(watcher: Pick<FrameWatcher, 'frame'>) {
    this.#watcher = watcher;
  }

  /** How many have begun. */
  get headerBlocks(): number {
    return this.#headerBlocks;
  }

  /** The watcher wanted no more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Takes bytes in pieces of any size and returns what may go on. */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    if (this.#stopped) return out;
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = Buffer.alloc(0);
    while (bytes.length > 0) {
      if (this.#pass > 0) {
        const passed = Math.min(this.#pass, bytes.length);
        out.push(bytes.subarray(0, passed));
        this.#pass -= passed;
        bytes = bytes.subarray(passed);
        continue;
      }
      if (bytes.length < FRAME_HEAD_BYTES) break;
      const frameBytes = FRAME_HEAD_BYTES + bytes.readUIntBE(0, 3);
      const whole = bytes[3] === HEADERS && frameBytes <= HEADERS_BYTES_MAX;
      if (whole && bytes.length < frameBytes) break;
      if (!this.#watcher.frame(bytes[3]!, frameBytes - FRAME_HEAD_BYTES)) {
        this.#stopped = true;
        return out;
      }
      if (bytes[3] === HEADERS) this.#headerBlocks += 1;
      if (!whole) {
        this.#pass = frameBytes;
        continue;
      }
      out.push(rewriteHeaders(bytes.subarray(0, frameBytes)));
      bytes = bytes.subarray(frameBytes);
    }
    this.#held = bytes;
    return out;
  }
}

/** A HEADERS frame with a plain authority; the frame itself when there is nothing to change or to understand. */
function rewriteHeaders(frame: Buffer): Buffer {
  const flags = frame[4]!;
  if ((flags & FLAG_END_HEADERS) === 0 || (flags & FLAG_PADDED) !== 0) return frame;
  const blockStart = FRAME_HEAD_BYTES + ((flags & FLAG_PRIORITY) === 0 ? 0 : PRIORITY_BYTES);
  const value = findAuthority(frame, blockStart);
  if (value === null || !value.text.includes('/')) return frame;
  const plain = Buffer.from(value.text.replaceAll('/', '-'), 'latin1');
  if (plain.length >= 127) return frame;
  const rewritten = Buffer.concat([
    frame.subarray(0, value.start),
    Buffer.from([plain.length]),
    plain,
    frame.subarray(value.end),
  ]);
  rewritten.writeUIntBE(rewritten.length - FRAME_HEAD_BYTES, 0, 3);
  return rewritten;
}

/** Where the value of `:authority` stands as a literal, length prefix included, or null. */
function findAuthority(
  block: Buffer,
  from: number,
): { readonly start: number; readonly end: number; readonly text: string } | null {
  let offset = from;
  while (offset < block.length) {
    const first = block[offset]!;
    // Indexed field, or a change of the table's size: one integer.
    if ((first & 0x80) !== 0 || (first & 0xe0) === 0x20) {
      const field = readInteger(block, offset, (first & 0x80) !== 0 ? 7 : 5);
      if (field === null) return null;
      offset = field.end;
      continue;
    }
    const name = readInteger(block, offset, (first & 0x40) !== 0 ? 6 : 4);
    if (name === null) return null;
    offset = name.end;
    if (name.value === 0) {
      const literal = readString(block, offset);
      if (literal === null) return null;
      offset = literal.end;
    }
    const value = readString(block, offset);
    if (value === null) return null;
    if (name.value === AUTHORITY) {
      const bytes = block.subarray(value.dataStart, value.end);
      const text = value.isHuffman ? huffmanText(bytes) : bytes.toString('latin1');
      return text === null ? null : { start: offset, end: value.end, text };
    }
    offset = value.end;
  }
  return null;
}

function readString(
  block: Buffer,
  offset: number,
): { readonly dataStart: number; readonly end: number; readonly isHuffman: boolean } | null {
  const length = readInteger(block, offset, 7);
  if (length === null || length.end + length.value > block.length) return null;
  return { dataStart: length.end, end: length.end + length.value, isHuffman: (block[offset]! & 0x80) !== 0 };
}

/** An integer with a prefix of `bits` (RFC 7541, 5.1); null when it is cut short or absurdly large. */
function readInteger(
  block: Buffer,
  offset: number,
  bits: number,
): { readonly value: number; readonly end: number } | null {
  const first = block[offset];
  if (first === undefined) return null;
  const limit = 2 ** bits - 1;
  if ((first & limit) < limit) return { value: first & limit, end: offset + 1 };
  let value = limit;
  for (let i = 0; i < 4; i++) {
    const byte = block[offset + 1 + i];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, end: offset + 2 + i };
  }
  return null;
}
