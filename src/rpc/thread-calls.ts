import type { RpcStatusCode } from './status.ts';

/** From where calls come to where their methods are. Ids are of the sender's choice, each used once. */
export type ToMethods =
  | {
      readonly type: 'call';
      readonly id: number;
      readonly path: string;
      readonly head: ThreadCallHead;
      readonly request: Buffer;
    }
  /** The client's connection took so many messages and bytes of the answers. */
  | { readonly type: 'taken'; readonly id: number; readonly messages: number; readonly bytes: number }
  /** Nobody waits for the call any more. */
  | { readonly type: 'cancel'; readonly id: number };

/** From where the methods are. */
export type FromMethods =
  | { readonly type: 'headers'; readonly id: number; readonly fields: Fields }
  | { readonly type: 'message'; readonly id: number; readonly message: Buffer }
  | {
      readonly type: 'end';
      readonly id: number;
      /** Null = all went well. */
      readonly failure: { readonly code: RpcStatusCode; readonly message: string } | null;
      readonly trailers: Fields;
    };

/** What a method may know of its call. */
export interface ThreadCallHead {
  readonly peer: string;
  readonly certificateName: string | undefined;
  /** Of the deadline, or Infinity: the threads' clocks begin at different times. */
  readonly remainingMs: number;
  readonly metadata: Fields;
}

export type Fields = readonly (readonly [name: string, value: string])[];

/** Calls of one thread under way; one more is refused. */
export const REMOTE_CALLS_MAX = 10_000;
/** Answers of one call on their way between the threads; beyond either its writer is not writable. */
export const AHEAD_BYTES_MAX: number = 256 * 1024;
export const AHEAD_MESSAGES_MAX = 256;
