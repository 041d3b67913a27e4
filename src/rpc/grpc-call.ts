import { Cancellation } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import { type BudgetedCall, CALL_BYTES, type CallBudget, type Holding } from './call-budget.ts';
import type { ClientConnection } from './client-connection.ts';
import { encodeFields, type Field } from './http2/hpack.ts';
import {
  MESSAGE_HEAD_BYTES,
  MessageReader,
  type MessageTaker,
  writeMessageHead,
} from './http2/message-reader.ts';
import { errorCode, FRAME_HEAD_BYTES, frameFlag, frameType, writeFrameHead } from './http2/protocol.ts';
import type { RequestHead } from './http2/request-head.ts';
import type { ServerStream, StreamReceiver } from './http2/stream.ts';
import type { RpcCall, RpcWriter } from './server.ts';
import { RpcError, type RpcStatusCode, rpcStatus } from './status.ts';

/** Beyond either, a stream's writer is not writable; a message is never refused. */
const STREAM_PENDING_BYTES_MAX = 1024 * 1024;
const STREAM_PENDING_MESSAGES_MAX = 32 * 1024;

/** Thousands of calls may end with one connection: their common reason, made once. */
export const CANCELED = new StoreError('canceled');
/** etcd's words for it. */
export const TOO_MANY_REQUESTS = 'etcdserver: too many requests';

const HEADER_FIELDS: readonly Field[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];
const HEADERS = headersFrame(HEADER_FIELDS, { ends: false });
const TRAILERS_OK = headersFrame([['grpc-status', '0']], { ends: true });

/** Takes what clients send: one for all calls of a method, or one for each. */
export interface RequestTaker {
  /** A message has come whole. @throws RpcError the status that ends the call */
  onMessage(call: GrpcCall, message: Buffer): void;
  /** The request is complete. */
  onEnd(call: GrpcCall): void;
}

/** What all calls of a server share. */
export interface GrpcCallHost {
  readonly receiveBytesMax: number;
  readonly budget: CallBudget;
  /** Nothing of the call is left: its answer has gone, or never will. Called once for each. */
  onSettled(call: GrpcCall): void;
}

export interface GrpcCallOptions {
  readonly host: GrpcCallHost;
  readonly taker: RequestTaker;
  readonly stream: ServerStream;
  readonly head: RequestHead;
  readonly client: ClientConnection;
  /** The request is a stream, which may last. */
  readonly endless: boolean;
  /** On the clock of `performance.now()`, as the deadline. */
  readonly nowMs: number;
  /** Or Infinity: a jump of the wall clock moves no deadline. */
  readonly deadlineMs: number;
}

/**
 * One gRPC call over one HTTP/2 stream ("gRPC over HTTP/2"). Thousands are under way at once, and whatever each of them
 * keeps is copied by the collector again and again: it has no closures of its own.
 */
export class GrpcCall implements RpcCall, StreamReceiver, BudgetedCall, MessageTaker {
  readonly deadlineMs: number;
  readonly signal = new Cancellation();
  /** What it holds of the server's memory. */
  readonly holding: Holding;
  /** The request, of a method that takes one, once it is there. */
  request: Buffer | null = null;
  readonly #host: GrpcCallHost;
  readonly #taker: RequestTaker;
  readonly #head: RequestHead;
  readonly #client: ClientConnection;
  readonly #stream: ServerStream;
  readonly #reader: MessageReader;
  #trailers: Field[] | null = null;
  #headersSent = false;
  #over = false;
  #isSettled = false;
  /** Few calls have any. */
  #listeners: (() => void)[] | null = null;
  #writer: Writer | null = null;
  /** Runs while an answer in pieces is on its way. */
  #stall: NodeJS.Timeout | undefined;
  /** Nothing is given back to the client's window now. */
  #held = false;
  #heldBytes = 0;
  isWhole = false;

  constructor(options: GrpcCallOptions) {
    const { host, head, client } = options;
    this.#host = host;
    this.#taker = options.taker;
    this.#head = head;
    this.#client = client;
    this.#stream = options.stream;
    this.deadlineMs = options.deadlineMs;
    this.#reader = new MessageReader(this);
    this.holding = host.budget.open(client, { call: this, endless: options.endless, nowMs: options.nowMs });
    if (!this.holding.take(CALL_BYTES + head.bytes)) this.exhaust();
  }

  get path(): string {
    return this.#head.path;
  }

  get peer(): string {
    return this.#client.peer;
  }

  get certificateName(): string | undefined {
    return this.#client.certificateName;
  }

  get isOver(): boolean {
    return this.#over;
  }

  get writer(): Writer {
    this.#writer ??= new Writer(this, this.#stream);
    return this.#writer;
  }

  metadata(name: string): string | undefined {
    return name.endsWith('-bin') ? undefined : this.#head.fields.get(name);
  }

  sendHeaders(fields: readonly Field[]): void {
    if (this.#over || this.#headersSent) return;
    this.#headersSent = true;
    const more = fields.map(([name, value]): Field => [name, encodeText(value)]);
    this.#stream.sendHeaders(headersFrame([...HEADER_FIELDS, ...more], { ends: false }));
  }

  setTrailer(name: string, value: string): void {
    this.#trailers ??= [];
    this.#trailers.push([name, encodeText(value)]);
  }

  /** Stops the handler; what becomes of the call is said by `succeed` or `fail`. */
  abort(reason: StoreError): void {
    if (this.signal.aborted) return;
    this.signal.abort(reason);
    this.#writer?.release();
  }

  write(message: Buffer): void {
    if (this.#over) return;
    this.#sendHeaders();
    if (this.#stream.canSendWhole(message)) this.#stream.sendWhole(message);
    else this.#stream.send(messageHead(message.length), message);
  }

  /**
   * Sends one message that comes in pieces, at the client's pace: no more of it waits for the client than of any
   * stream. A client that takes less than a piece in `stallMs`, the last one included, is cut off.
   */
  async writePieces(pieces: readonly Buffer[], stallMs: number): Promise<void> {
    if (this.#over) return;
    this.#sendHeaders();
    this.#stall = setTimeout(() => this.#stream.fail(errorCode.cancel), stallMs);
    let head = messageHead(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
    for (const piece of pieces) {
      if (this.#over) return;
      this.#stream.send(head, piece);
      head = NO_HEAD;
      if (this.writer.writable) continue;
      this.writer.blocked();
      await this.writer.drained();
    }
  }

  onOver(listener: () => void): void {
    if (this.#isSettled) listener();
    else (this.#listeners ??= []).push(listener);
  }

  /** The whole answer: one message, and that all went well. */
  answer(message: Buffer): void {
    if (this.#over) return;
    if (this.#headersSent || this.#trailers !== null || !this.#stream.canSendWhole(message)) {
      this.write(message);
      this.succeed();
      return;
    }
    this.#headersSent = true;
    this.#end();
    this.#stream.answer(HEADERS, message, TRAILERS_OK);
    this.#settle();
  }

  succeed(): void {
    if (this.#over) return;
    this.#sendHeaders();
    this.#finish(
      this.#trailers === null
        ? TRAILERS_OK
        : headersFrame([['grpc-status', '0'], ...this.#trailers], { ends: true }),
    );
  }

  fail({ code, message }: { readonly code: RpcStatusCode; readonly message: string }): void {
    if (this.#over) return;
    const fields: Field[] = this.#headersSent ? [] : [...HEADER_FIELDS];
    fields.push(['grpc-status', String(code)], ['grpc-message', encodeText(message)]);
    this.#finish(headersFrame([...fields, ...(this.#trailers ?? [])], { ends: true }));
  }

  /** Lets the client send no more than its window until `go`: its requests are not taken fast enough. */
  hold(): void {
    this.#held = true;
  }

  go(): void {
    this.#held = false;
    if (this.#heldBytes > 0) this.#stream.consumed(this.#heldBytes);
    this.#heldBytes = 0;
  }

  // ---- for the stream -----------------------------------------------------------------------------------------

  data(bytes: Buffer): void {
    if (this.#over) return;
    if (!this.holding.take(bytes.length)) {
      this.exhaust();
      return;
    }
    if (this.#held) this.#heldBytes += bytes.length;
    else this.#stream.consumed(bytes.length);
    try {
      this.#reader.push(bytes);
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.fail(error);
      this.abort(CANCELED);
    }
  }

  end(): void {
    this.isWhole = true;
    if (this.#over) return;
    if (this.#reader.isPartial) {
      this.fail({ code: rpcStatus.internal, message: 'grpc: the request ends within a message' });
      this.abort(CANCELED);
    } else this.#taker.onEnd(this);
  }

  exhaust(): void {
    this.refuse({ code: rpcStatus.resourceExhausted, message: TOO_MANY_REQUESTS });
  }

  /** Ends the call and its handler. */
  refuse(status: { readonly code: RpcStatusCode; readonly message: string }): void {
    if (this.#over) return;
    // What is queued would hold the status back, and the memory with it.
    if (this.#stream.queuedMessages > 0) this.#stream.fail(errorCode.enhanceYourCalm);
    else this.fail(status);
    this.abort(CANCELED);
  }

  cancel(): void {
    this.#end();
    this.abort(CANCELED);
    this.#settle();
  }

  sent(): void {
    this.#stall?.refresh();
    this.#writer?.sent();
    if (this.#over && this.#stream.queuedMessages === 0) this.#settle();
  }

  /**
   * The client does not wait any longer: nothing that is queued for it need be sent, be the call over or not. What it
   * has not taken by now would only stay in memory.
   */
  expire(status: RpcError): void {
    if (this.#isSettled) return;
    const reason = new StoreError('deadline-exceeded');
    if (this.#stream.queuedMessages > 0) {
      this.abort(reason);
      this.#stream.fail(errorCode.cancel);
    } else {
      this.fail(status);
      this.abort(reason);
    }
  }

  // ---- for the reader of messages -----------------------------------------------------------------------------

  get bytesMax(): number {
    return this.#host.receiveBytesMax;
  }

  get compressed(): boolean {
    return this.#head.fields.get('grpc-encoding') === 'gzip';
  }

  admit(bytes: number): void {
    if (!this.holding.take(bytes)) throw new RpcError(rpcStatus.resourceExhausted, TOO_MANY_REQUESTS);
  }

  take(message: Buffer): void {
    this.#taker.onMessage(this, message);
  }

  #sendHeaders(): void {
    if (this.#headersSent) return;
    this.#headersSent = true;
    this.#stream.sendHeaders(HEADERS);
  }

  #finish(frame: Buffer): void {
    this.#end();
    this.#stream.finish(frame);
    if (this.#stream.queuedMessages === 0) this.#settle();
  }

  /** The last of the answer has left, or nothing more of it can. */
  #settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    clearTimeout(this.#stall);
    this.#host.onSettled(this);
    if (this.#listeners !== null) for (const listener of this.#listeners) listener();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.holding.release();
  }
}

class Writer implements RpcWriter {
  readonly #call: GrpcCall;
  readonly #stream: ServerStream;
  #listener: (() => void) | null = null;
  #waiting: (() => void)[] = [];
  #wasWritable = true;

  constructor(call: GrpcCall, stream: ServerStream) {
    this.#call = call;
    this.#stream = stream;
  }

  get writable(): boolean {
    const { queuedBytes, queuedMessages } = this.#stream;
    return queuedBytes <= STREAM_PENDING_BYTES_MAX && queuedMessages <= STREAM_PENDING_MESSAGES_MAX;
  }

  write(message: Buffer): void {
    this.#call.write(message);
    if (!this.writable) this.#wasWritable = false;
  }

  /** Something was sent past this writer, and there is no room now. */
  blocked(): void {
    this.#wasWritable = false;
  }

  onDrain(listener: () => void): void {
    this.#listener = listener;
  }

  drained(): Promise<void> {
    if (this.writable || this.#call.isOver) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Some of what was queued has left. */
  sent(): void {
    if (this.#wasWritable || !this.writable) return;
    this.#wasWritable = true;
    this.release();
    this.#listener?.();
  }

  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Answers a request that is no gRPC call, and ends its stream. */
export function refuse(stream: ServerStream, fields: readonly Field[]): void {
  stream.finish(headersFrame(fields, { ends: true }));
}

/** Before the later pieces of a message stands nothing. */
const NO_HEAD = Buffer.alloc(0);

function messageHead(bytes: number): Buffer {
  const head = Buffer.allocUnsafe(MESSAGE_HEAD_BYTES);
  writeMessageHead(head, 0, bytes);
  return head;
}

/** A whole HEADERS frame whose stream is yet to be set. Trailers of ours always fit in one frame. */
function headersFrame(fields: readonly Field[], { ends }: { readonly ends: boolean }): Buffer {
  const block = encodeFields(fields);
  const frame = Buffer.concat([Buffer.alloc(FRAME_HEAD_BYTES), block]);
  const flags = frameFlag.endHeaders | (ends ? frameFlag.endStream : 0);
  writeFrameHead(frame, 0, { bytes: block.length, type: frameType.headers, flags, streamId: 0 });
  return frame;
}

/** Longest text in a trailer, so that its frame is one that every client takes. */
const TEXT_BYTES_MAX = 4 * 1024;

/** "Percent-Encoded" of gRPC over HTTP/2: visible ASCII but the percent sign stays. */
function encodeText(text: string): string {
  if (/^[ -$&-~]*$/.test(text) && text.length <= TEXT_BYTES_MAX) return text;
  let encoded = '';
  for (const byte of Buffer.from(text).subarray(0, TEXT_BYTES_MAX / 3)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
