import type { KvEvent } from '../mvcc/event.ts';
import type { KeyRange } from '../mvcc/key-index.ts';
import type { WatchEvent, WatchOptions } from './delivery.ts';
import type { Interval } from './interval-tree.ts';
import type { WatchStream } from './stream.ts';

const NO_NONCES: readonly bigint[] = [];

/** Above every key: no byte is this great. */
const END_OF_KEYS = '\u0100';

/** Which keys a watcher wants: one, or all of an interval. Keys are bytes as latin1, so strings order as bytes. */
export type WatchTarget = { readonly key: string } | Interval;

/**
 * Where a watcher stands. `synced`: it has everything and gets events as they happen. `unsynced`: it is being given
 * history. `slow`: its sink takes nothing, only the position is kept.
 */
export type WatcherPlace = 'synced' | 'unsynced' | 'slow' | 'closed';

/** One watch. The hub changes it; nobody else does. */
export class Watcher {
  readonly stream: WatchStream;
  readonly id: bigint;
  readonly target: WatchTarget;
  /** Whose it is: what was given with the options. */
  readonly owner: unknown;
  readonly prevKv: boolean;
  readonly progressNotify: boolean;
  /** The lease it ends with; 0n: none. */
  readonly lease: bigint;
  readonly #noPut: boolean;
  readonly #noDelete: boolean;
  place: WatcherPlace = 'unsynced';
  /** No revision below it is (still) to be delivered. While synced it may lag: the hub's revision counts then. */
  next: number;
  /** The last revision delivered. */
  last = 0;
  /** Something was delivered since the last progress tick. */
  sent = false;
  /** Progress asked for by nonce and not answered yet, oldest first. */
  nonces: readonly bigint[] = NO_NONCES;
  /** Its lease is over: it is canceled once it has everything. */
  ending = false;
  /** Events gathered for the delivery under way. */
  gathered: WatchEvent[] | null = null;

  constructor(options: WatchOptions & { readonly stream: WatchStream; readonly target: WatchTarget }) {
    this.stream = options.stream;
    this.id = options.watchId;
    this.target = options.target;
    this.owner = options.owner;
    this.prevKv = options.prevKv;
    this.progressNotify = options.progressNotify;
    this.lease = options.lease ?? 0n;
    this.#noPut = options.noPut;
    this.#noDelete = options.noDelete;
    this.next = options.startRevision;
  }

  /** Whether an event on one of its keys is to be delivered. */
  wants(event: KvEvent): boolean {
    if (event.row.main < this.next) return false;
    return event.type === 'put' ? !this.#noPut : !this.#noDelete;
  }
}

/** The keys of a watch, or null when its range is empty. An empty key is the first possible one, as in etcd. */
export function watchTarget({ key, rangeEnd }: Pick<WatchOptions, 'key' | 'rangeEnd'>): WatchTarget | null {
  const start = key.length === 0 ? '\0' : key.toString('latin1');
  if (rangeEnd.length === 0) return { key: start };
  const toEnd = rangeEnd.length === 1 && rangeEnd[0] === 0;
  const end = toEnd ? END_OF_KEYS : rangeEnd.toString('latin1');
  return start < end ? { start, end } : null;
}

/** The same keys, as a range of the store. */
export function targetRange(target: WatchTarget): KeyRange {
  if ('key' in target) return { key: target.key, end: `${target.key}\0` };
  return { key: target.start, end: target.end === END_OF_KEYS ? null : target.end };
}
