import type { KvEvent } from '../mvcc/event.ts';
import type { KeyValue } from '../mvcc/operations.ts';

/** What one watch asks for. */
export interface WatchOptions {
  /** Unique on its stream; the face chooses it when the client did not. */
  readonly watchId: bigint;
  /** As in a range request; an empty key means the first possible one. */
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  /** The first revision of interest; 0 = from now on. One in the future waits for it. */
  readonly startRevision: number;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  /** Tell an idle watch now and then up to which revision it has seen everything. */
  readonly progressNotify: boolean;
  /** The watch ends when this lease does; 0n = it is bound to none. Whoever makes it sees to it that there is one. */
  readonly lease?: bigint;
  /** Kept with the watch for whoever made it; the hub does not look at it. */
  readonly owner?: unknown;
}

/**
 * One event as watchers get it. All watchers that get an event with equal need of `prevKv` get the same object, so
 * that a face can keep its encoding.
 */
export interface WatchEvent {
  readonly event: KvEvent;
  /** The key before the event; null when it was not asked for, did not exist, or is compacted. */
  readonly prevKv: KeyValue | null;
}

export type WatchDelivery =
  /**
   * Events in order, several whole revisions at most; a revision is never split. `revision`: everything up to it
   * that the watch asked for is now delivered.
   */
  | {
      readonly type: 'events';
      readonly watchId: bigint;
      readonly revision: number;
      readonly events: readonly WatchEvent[];
    }
  /** Everything up to `revision` was delivered before; `STREAM_WATCH_ID` answers for all watches of the stream. */
  | {
      readonly type: 'progress';
      readonly watchId: bigint;
      readonly revision: number;
      /** Of the request it answers; 0n: it answers none, or one without. */
      readonly nonce: bigint;
    }
  /** The watch is over by itself; nothing follows. `compactRevision` is where it could be started anew. */
  | {
      readonly type: 'canceled';
      readonly watchId: bigint;
      readonly reason: string;
      readonly compactRevision: number;
    };

/** Names no watch but its whole stream. */
export const STREAM_WATCH_ID = -1n;

/** Where the deliveries of one stream go. */
export interface WatchSink {
  /** Takes one delivery; never waits, never throws. It may cancel watches, but not create any. */
  deliver(delivery: WatchDelivery): void;
  /** False: the hub holds everything back until `WatchHub.resume`. Read before every delivery. */
  readonly writable: boolean;
}
