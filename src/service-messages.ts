import type { MessagePort } from 'node:worker_threads';
import type { Page } from './api/http/operations.ts';
import type { ServerOptions } from './options.ts';

/** What the service's thread is started with. */
export interface ServiceThreadData {
  readonly options: ServerOptions;
  /** To the store, served by `serveKv`. */
  readonly kv: MessagePort;
  /** Of an `AuthFlag`. */
  readonly auth: SharedArrayBuffer;
  /** From the client port, where `RemoteMethods` sends calls. */
  readonly methods: MessagePort;
}

/** To the service's thread. */
export type ToServiceThread =
  /** The page that was asked for; null = there is none. */
  | { readonly type: 'page'; readonly id: number; readonly page: Page | null }
  | { readonly type: 'metrics'; readonly id: number }
  /** Say that you do not hang. */
  | { readonly type: 'ping' }
  /** Finish what is under way, and end. */
  | { readonly type: 'drain' };

/** From the service's thread. */
export type FromServiceThread =
  /** The HTTP addresses are listened on. */
  | { readonly type: 'listening' }
  /** They cannot be: the thread ends. */
  | { readonly type: 'refused'; readonly reason: string }
  /** Everything is served. */
  | { readonly type: 'serving'; readonly revision: number }
  /** A page of the operations face, made where the member is. */
  | { readonly type: 'page'; readonly id: number; readonly target: string }
  | { readonly type: 'metrics'; readonly id: number; readonly text: string }
  /** To a ping. */
  | { readonly type: 'pong' };
