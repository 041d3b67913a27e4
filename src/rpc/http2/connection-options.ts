import type { UnreadBudget } from '../../lib/unread-budget.ts';
import type { HeadCache } from './head-cache.ts';
import type { RequestHead } from './request-head.ts';
import type { ServerStream, StreamReceiver } from './stream.ts';
import type { Turns } from './turns.ts';

/** Named bounds of one connection; over any of them the client is told why and loses the stream or the connection. */
export interface ConnectionLimits {
  /** Streams at a time; more are refused (REFUSED_STREAM). */
  readonly streamsMax: number;
  /** One request's header fields, counted as RFC 9113 6.5.2 does. */
  readonly headerListBytesMax: number;
}

export interface ConnectionOptions {
  readonly limits: ConnectionLimits;
  /** Shared with other connections. */
  readonly heads: HeadCache;
  /** Shared with other connections. */
  readonly turns: Turns;
  /** What it has not read counts there; it may be ended for it. */
  readonly unread: UnreadBudget;
  /** A request has begun. What it returns is told of the rest. */
  readonly open: (stream: ServerStream, head: RequestHead) => StreamReceiver;
  readonly closed: () => void;
  /** Told of errors that are no client's fault. */
  readonly onBug: (error: unknown) => void;
}
