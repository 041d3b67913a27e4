import type { Row } from '../core/mvcc/row.ts';
import type { Entry, HardState, MemberId, Message, SnapshotMeta } from '../core/raft/messages.ts';
import type { StateBatch, StateMarker, TableRow } from '../core/state.ts';
import type { CancelSignal } from '../lib/cancellation.ts';

/**
 * What a member needs from the outside. Each port has a real implementation and a memory twin, and one contract
 * suite that both pass. Clock, timers and randomness reach the core and the member only through here.
 */

/** Monotonic time. Never goes back; may stand still while the machine sleeps. */
export interface Clock {
  /** Milliseconds since an arbitrary start, with fractions. */
  nowMs(): number;
  /**
   * Milliseconds since the machine's start, those it slept in included: runs at the rate of `nowMs`, and goes on while
   * that stands still. It lags by up to 10 ms, or by up to a second when it comes in whole ones.
   */
  uptimeMs(): number;
  /** Calls back once, not before `delayMs`. */
  setTimer(callback: () => void, delayMs: number): Timer;
  /** Calls back after the I/O that is already waiting has been taken. */
  setImmediate(callback: () => void): void;
}
export interface Timer {
  cancel(): void;
}
export interface Random {
  /** A uniform integer in [0, bound); bound <= 2^48. */
  integer(bound: number): number;
}

// ---- disk: the lower port of the log store and of the small files -------------------------------------------

/** Files below one root directory. Paths are relative, with `/`. Every method rejects with StoreError `storage`. */
export interface Disk {
  /** For messages to people only. */
  readonly root: string;
  makeDirectory(path: string): Promise<void>;
  /** Names directly below, sorted; empty when the directory does not exist. */
  list(path: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** `create` fails when it exists; `write` and `read` fail when it does not. */
  open(path: string, mode: 'create' | 'write' | 'read'): Promise<DiskFile>;
  readFile(path: string): Promise<Buffer>;
  rename(paths: { readonly from: string; readonly to: string }): Promise<void>;
  /** Removes a file or a whole tree; no error when it is absent. */
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals directly below `path` durable. */
  syncDirectory(path: string): Promise<void>;
  space(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }>;
}
export interface DiskFile {
  sizeBytes(): Promise<number>;
  /** Writes all of it or rejects; a short write rejects. */
  write(data: Buffer, offset: number): Promise<void>;
  /**
   * As `write`, then `datasync` of those bytes alone: what was written elsewhere need not be durable. After a rejection
   * any part of it may have been written, and the file's state is unknown.
   */
  writeDurably(data: Buffer, offset: number): Promise<void>;
  /** Reads up to `length` bytes; shorter only at the end of the file. */
  read(range: { readonly offset: number; readonly length: number }): Promise<Buffer>;
  /** fdatasync. After a rejection the file's state is unknown and the member must stop. */
  datasync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

// ---- level: the lower port of the state store ---------------------------------------------------------------

export interface LevelOpener {
  /**
   * @throws StoreError `data-dir-in-use` when another process holds it; `data-dir-corrupt`, here and from any
   *   operation, when the database finds its own files damaged; `storage` otherwise
   */
  open(path: string, options: { readonly create: boolean }): Promise<Level>;
  destroy(path: string): Promise<void>;
}
export type LevelOp =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer };
/** An ordered byte store with LevelDB's semantics. At most one `batch` may be in flight. */
export interface Level {
  batch(ops: readonly LevelOp[], options: { readonly sync: boolean }): Promise<void>;
  get(key: Buffer): Promise<Buffer | undefined>;
  /** Blocks the thread on a cache miss. */
  getSync(key: Buffer): Buffer | undefined;
  /** One bounded slice of rows in key order, from a short-lived iterator. `lt` is exclusive. */
  scan(range: {
    readonly gte: Buffer;
    readonly lt: Buffer;
    readonly limit: number;
    readonly reverse?: boolean;
    readonly keysOnly?: boolean;
  }): Promise<readonly (readonly [Buffer, Buffer])[]>;
  /** Forces the memtable into an fsynced table file; errors show only on the next write. */
  flush(): Promise<void>;
  /** Reclaims the space of deleted rows in the key range. */
  compactRange(range: { readonly gte: Buffer; readonly lt: Buffer }): Promise<void>;
  approximateSizeBytes(): Promise<number>;
  close(): Promise<void>;
}

// ---- log store ----------------------------------------------------------------------------------------------

/** What one fsync makes durable. */
export interface LogRecord {
  readonly hardState: HardState | null;
  /** Contiguous; replaces whatever the log holds at or above the first index. */
  readonly entries: readonly Entry[];
  /** The state `stateName` (a directory of the state store) replaces the log up to and including its index. */
  readonly snapshot: (SnapshotMeta & { readonly stateName: string }) | null;
  readonly sync: boolean;
}
export interface LogStore {
  /** One append in flight at a time. Resolves once durable (or written, with `sync` false). Any rejection is fatal. */
  append(record: LogRecord): Promise<void>;
  /** Entries up to `index` are no longer needed; whole segments below it are deleted. Their term is kept. */
  release(position: { readonly index: number; readonly term: number }): Promise<void>;
  /** Sequence number of the last record. */
  readonly lastSeq: number;
  readonly sizeBytes: number;
  close(): Promise<void>;
}
/** What the log store found at boot. */
export interface RecoveredLog {
  readonly hardState: HardState;
  /** The position just before `entries[0]`. */
  readonly compacted: { readonly index: number; readonly term: number };
  readonly entries: readonly Entry[];
  /** The newest snapshot installed through the log, if its record is still there. */
  readonly snapshot: (SnapshotMeta & { readonly stateName: string }) | null;
  readonly lastSeq: number;
  /** A torn final record was cut: until peers confirm, this member neither votes nor campaigns. */
  readonly droppedTail: boolean;
}

// ---- state store --------------------------------------------------------------------------------------------

export interface StateStore {
  readonly name: string;
  /** Queues one batch; batches reach the disk in order, one in flight, unsynced. Failures go to `onFatal`. */
  apply(batch: StateBatch): void;
  /** Bytes queued and not yet written; apply pauses above a bound and goes on after `drained`. */
  readonly pendingBytes: number;
  drained(): Promise<void>;
  /** Queued rows first, then the disk (see RowSource). */
  row(main: number, sub: number): Row | undefined;
  /** Makes everything applied so far durable; recovery returns to the last barrier. */
  barrier(): Promise<StateMarker>;
  /** The last durable barrier. */
  readonly durable: StateMarker;
  /**
   * Physically removes rows that a compaction dropped; takes effect only after a barrier that covers the
   * compaction, in small batches, paused while a stream is open.
   */
  discard(revisions: readonly { readonly main: number; readonly sub: number }[]): void;
  /** All physical rows with main <= `revision`, in revision order, in slices. Garbage collection waits meanwhile. */
  stream(revision: number): AsyncIterable<readonly Row[]>;
  sizeBytes(): Promise<number>;
  /** Gives space of removed rows back to the file system. */
  defragment(): Promise<void>;
  close(): Promise<void>;
}
/** Receives a state at boot or from a snapshot, rows in revision order, tables last, then verifies. */
export interface StateReceiver {
  row(row: Row): void;
  table(row: TableRow): void;
  /** @throws StoreError `data-dir-corrupt` when counts or hashes do not match */
  finish(marker: StateMarker): void;
}

// ---- transport ----------------------------------------------------------------------------------------------

export interface PeerAddress {
  readonly id: MemberId;
  readonly peerUrls: readonly string[];
}
/** Starts of a member that its data names, besides the present one. */
export const EARLIER_STARTS_MAX = 64;
/** What one member tells another about itself in the handshake. */
export interface PeerIdentity {
  readonly clusterId: number;
  readonly memberId: MemberId;
  /** Increases with every start of the process on the same data. */
  readonly incarnation: number;
  /** Incarnations before it, newest first, at most EARLIER_STARTS_MAX: nobody has them who runs on an older copy. */
  readonly earlier: readonly number[];
  /** The last sequence number of the member's log when it started. */
  readonly logSeq: number;
  /** Where members reach it, as far as it knows; for who cannot know it yet. */
  readonly peerUrls: readonly string[];
}
/** How long a small message to a member and its answer take, on the present connection. */
export interface RoundTrip {
  readonly lastMs: number;
  /** A mean that forgets. */
  readonly smoothedMs: number;
  /** The longest of the last minute or so. */
  readonly maxMs: number;
}
/** Requests outside Raft's own messages: forwarded proposals, bootstrap questions. Opaque to the transport. */
export interface Transport {
  /** Starts listening and serving `handlers`. */
  start(identity: PeerIdentity, handlers: TransportHandlers): Promise<void>;
  /** Who may be talked to. Connections to members no longer listed are closed. */
  setPeers(peers: readonly PeerAddress[]): void;
  /** Never waits. Over the peer's bounded queue messages are dropped (Raft repeats them). */
  send(messages: readonly Message[]): void;
  /**
   * Sends one request on the ordered request stream and waits for its answer.
   *
   * @throws StoreError `timeout-connection-lost` when the stream broke after it may have been sent (ambiguous),
   *   `no-leader` when it surely was not sent
   */
  request(to: MemberId, body: Buffer, signal: CancelSignal): Promise<Buffer>;
  /** Streams one snapshot: back-pressured, on a connection of its own. Resolves when the peer has taken it whole. */
  sendSnapshot(to: MemberId, frames: AsyncIterable<Buffer>, signal: CancelSignal): Promise<void>;
  /** Asks an address, before membership is known. Answers come from `handlers.probe`. */
  probe(peerUrl: string, body: Buffer, signal: CancelSignal): Promise<Buffer>;
  /** Of the heartbeat stream's pings; undefined when not connected, or when none has come back yet. */
  roundTrip(id: MemberId): RoundTrip | undefined;
  connected(id: MemberId): boolean;
  close(): Promise<void>;
}
export interface TransportHandlers {
  /** Messages of one peer, in order per stream. The sender was checked: right cluster, known member. */
  messages(from: MemberId, messages: readonly Message[]): void;
  request(from: MemberId, body: Buffer): Promise<Buffer>;
  /** Takes a whole snapshot or rejects. */
  snapshot(from: MemberId, frames: AsyncIterable<Buffer>): Promise<void>;
  probe(body: Buffer): Promise<Buffer>;
  /** Returns why this peer must be refused (unknown, removed, its data went back in time), or null. */
  admit(identity: PeerIdentity): string | null;
  unreachable(id: MemberId): void;
}
