import type { CancelSignal } from '../lib/cancellation.ts';
/**
 * The gRPC server as the faces see it: methods registered by path, bytes in, bytes out. Nothing here belongs to
 * one implementation, so that the server can be exchanged.
 *
 * A handler ends its call by settling its promise: resolved is status OK, rejected is the status that the server's
 * `errorStatus` makes of the reason.
 */
export interface RpcServer {
  /** @param path `/package.Service/Method`; registered once */
  unary(path: string, handler: UnaryHandler): void;
  serverStream(path: string, handler: ServerStreamHandler): void;
  bidi(path: string, handler: BidiHandler): void;
  /** The paths of every registered method, in order of registration. */
  paths(): readonly string[];
}

/** An answer may come in pieces: together they are one message, sent at the client's pace without being joined. */
export type UnaryAnswer = Buffer | readonly Buffer[];
/** It may also throw at once, which is as if its promise were rejected. */
export type UnaryHandler = (request: Buffer, call: RpcCall) => Promise<UnaryAnswer>;
export type ServerStreamHandler = (request: Buffer, call: RpcCall, out: RpcWriter) => Promise<void>;
/** `requests` ends when the client closed its side, or when the call is over. It never throws. */
export type BidiHandler = (requests: AsyncIterable<Buffer>, call: RpcCall, out: RpcWriter) => Promise<void>;

/** One call, while it lasts. */
export interface RpcCall {
  readonly path: string;
  /** `address:port` of the client. */
  readonly peer: string;
  /**
   * The subject's common name of the certificate that the client presented, when the server verifies client
   * certificates and this one was verified; else undefined.
   */
  readonly certificateName: string | undefined;
  /**
   * On the clock of `performance.now()`, or Infinity: a jump of the wall clock moves no deadline. The server itself ends
   * the call then.
   */
  readonly deadlineMs: number;
  /**
   * Aborts when the client went away, the deadline passed, or (streams only) the server stops.
   * Its reason is a StoreError `canceled`, `deadline-exceeded` or `stopped`.
   */
  readonly signal: CancelSignal;
  /** The first value of a request header; names are lower case. Binary headers are not given. */
  metadata(name: string): string | undefined;
  /** Calls back once: when the last of the answer has left for the client, or nothing more of it can. */
  onOver(listener: () => void): void;
  /** Sends the answer's headers at once, with these fields besides; once, and before the first message. */
  sendHeaders(fields: readonly (readonly [name: string, value: string])[]): void;
  /** Sent with the call's status. */
  setTrailer(name: string, value: string): void;
}

/** The answers of a stream. Writes never wait: a handler holds back while `writable` is false. */
export interface RpcWriter {
  /** Messages written after the call is over are dropped. */
  write(message: Buffer): void;
  /** False while more than the server's bound of bytes or messages is on its way to the client. */
  readonly writable: boolean;
  /** Calls back each time `writable` becomes true again. At most one listener. */
  onDrain(listener: () => void): void;
  /** Resolves once writable, or when the call is over. */
  drained(): Promise<void>;
}
