import { type ServerResponse, STATUS_CODES } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Unread } from '../../lib/unread-budget.ts';
import type { Messages } from '../../rpc/generated/messages.ts';
import { decodeJson } from '../../rpc/json.ts';
import type { RpcWriter, UnaryAnswer } from '../../rpc/server.ts';
import { type RpcError, type RpcStatusCode, rpcStatus } from '../../rpc/status.ts';

/** JSON text gathered before it is written, in characters. */
const CHUNK_CHARACTERS = 64 * 1024;
/** Beyond it a stream's writer is not writable, in bytes. */
const STREAM_PENDING_BYTES_MAX = 1024 * 1024;

/** An answer, and how it is sent. */
export interface AnswerOptions {
  readonly message: keyof Messages;
  readonly answer: UnaryAnswer;
  readonly unread: Unread;
  /** A client that takes nothing of a waiting answer for this long is cut off. */
  readonly stallMs: number;
}

/** Answers one message, a piece at a time when it is large. All of it is unread until the last piece is taken. */
export async function sendAnswer(
  response: ServerResponse,
  { message, answer, unread, stallMs }: AnswerOptions,
): Promise<void> {
  const bytes = Buffer.isBuffer(answer) ? answer : await joined(answer);
  unread.add(bytes.length);
  response.setHeader('content-type', 'application/json');
  let text = '';
  for (const piece of decodeJson(message, bytes)) {
    text += piece;
    if (text.length < CHUNK_CHARACTERS) continue;
    await written(response, text, stallMs);
    text = '';
  }
  response.end(text);
}

/** A failure before anything was answered, in the forms of etcd 3.4 and 3.6 at once. */
export function sendError(response: ServerResponse, { code, message }: RpcError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (code === rpcStatus.unauthenticated) response.setHeader('www-authenticate', headerText(message));
  const body = JSON.stringify({ error: message, message, code });
  // What is left of the request's body is not read: the connection cannot serve another one.
  if (!response.req.complete) response.setHeader('connection', 'close');
  response.writeHead(HTTP_STATUS[code], {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

/** A stream's failure: its last line. Before the first line the HTTP status tells of it, too. */
export function sendStreamError(response: ServerResponse, { code, message }: RpcError): void {
  if (response.destroyed) return;
  const httpCode = HTTP_STATUS[code];
  if (!response.headersSent) {
    if (!response.req.complete) response.setHeader('connection', 'close');
    response.writeHead(httpCode, { 'content-type': 'application/json' });
  }
  const status = STATUS_CODES[httpCode] ?? 'Client Closed Request';
  const error = { grpc_code: code, http_code: httpCode, message, http_status: status, code };
  response.end(`${JSON.stringify({ error })}\n`);
}

/** The answers of a stream, one `{"result":...}` a line. */
export class GatewayStream implements RpcWriter {
  readonly #response: ServerResponse;
  readonly #message: keyof Messages;
  readonly #unread: Unread;
  readonly #signal: CancelSignal;
  #listener: (() => void) | null = null;
  #waiting: (() => void)[] = [];

  constructor(
    response: ServerResponse,
    options: { readonly message: keyof Messages; readonly unread: Unread; readonly signal: CancelSignal },
  ) {
    this.#response = response;
    this.#message = options.message;
    this.#unread = options.unread;
    this.#signal = options.signal;
    response.setHeader('content-type', 'application/json');
    response.on('drain', () => {
      this.#count();
      this.#release();
      if (!this.#signal.aborted) this.#listener?.();
    });
    options.signal.addEventListener('abort', () => this.#release(), { once: true });
  }

  get writable(): boolean {
    // Above its own mark the response will say `drain`; below it nothing waits.
    return this.#response.writableLength <= STREAM_PENDING_BYTES_MAX || !this.#response.writableNeedDrain;
  }

  write(message: Buffer): void {
    if (this.#signal.aborted) return;
    this.#response.write(`{"result":${[...decodeJson(this.#message, message)].join('')}}\n`);
    this.#count();
  }

  onDrain(listener: () => void): void {
    this.#listener = listener;
  }

  drained(): Promise<void> {
    if (this.writable || this.#signal.aborted) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  end(): void {
    this.#response.end();
  }

  /** What the response will say `drain` of. */
  #count(): void {
    const bytes = this.#response.writableNeedDrain ? this.#response.writableLength : 0;
    if (!this.#signal.aborted) this.#unread.add(bytes - this.#unread.bytes);
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

async function joined(pieces: readonly Buffer[]): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    at += piece.copy(whole, at);
    await setImmediate();
  }
  return whole;
}

/** Resolves when the client has taken enough for more. */
async function written(response: ServerResponse, text: string, stallMs: number): Promise<void> {
  if (response.destroyed) throw new StoreError('canceled');
  if (response.write(text)) {
    await setImmediate();
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer);
      response.off('drain', onDrain);
      response.off('close', onClose);
    };
    const onDrain = (): void => {
      settle();
      resolve();
    };
    const onClose = (): void => {
      settle();
      reject(new StoreError('canceled'));
    };
    const timer = setTimeout(() => response.destroy(), stallMs);
    response.once('drain', onDrain);
    response.once('close', onClose);
  });
}

/** What HTTP makes of gRPC's codes (google.rpc.Code); client closed request has no name in the registry. */
const HTTP_STATUS: Readonly<Record<RpcStatusCode, number>> = {
  [rpcStatus.ok]: 200,
  [rpcStatus.canceled]: 499,
  [rpcStatus.unknown]: 500,
  [rpcStatus.invalidArgument]: 400,
  [rpcStatus.deadlineExceeded]: 504,
  [rpcStatus.notFound]: 404,
  [rpcStatus.alreadyExists]: 409,
  [rpcStatus.permissionDenied]: 403,
  [rpcStatus.resourceExhausted]: 429,
  [rpcStatus.failedPrecondition]: 400,
  [rpcStatus.aborted]: 409,
  [rpcStatus.outOfRange]: 400,
  [rpcStatus.unimplemented]: 501,
  [rpcStatus.internal]: 500,
  [rpcStatus.unavailable]: 503,
  [rpcStatus.dataLoss]: 500,
  [rpcStatus.unauthenticated]: 401,
};

/** Header values hold no control characters. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
