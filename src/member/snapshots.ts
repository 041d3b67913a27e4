import type { MemberId, Message, SnapshotMeta } from '../core/raft/messages.ts';
import type { StateMarker } from '../core/state.ts';
import { assert } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberObserver } from './observer.ts';
import type { Clock, Disk, Transport } from './ports.ts';
import type { ReadyLoop } from './ready-loop.ts';
import { type OpenedReplica, openReplica, type Replica, type ReplicaOptions } from './replica.ts';
import { writeActive } from './storage/data-dir.ts';
import { encodeSnapshot, installState, sealSnapshotFile } from './storage/snapshot-file.ts';

/** What precedes a snapshot on its stream: the leader's term, as a big-endian double. */
const TERM_BYTES = 8;

export interface SnapshotsOptions {
  readonly self: MemberId;
  readonly clusterId: number;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly observer: MemberObserver;
  readonly replicaOptions: ReplicaOptions;
  readonly loop: () => ReadyLoop;
  readonly fatal: (error: unknown) => void;
}

/** A whole state as a backup file. */
export interface Backup {
  /** About how many bytes will come. */
  readonly sizeBytes: number;
  readonly frames: AsyncIterable<Buffer>;
}

/** A received state, whole and verified, that Raft has yet to take or to leave. */
interface Staged {
  readonly replica: OpenedReplica;
  readonly name: string;
  /** Raft has taken it: it is in a batch on its way to the log. */
  taken: boolean;
  readonly settled: () => void;
}

/** Whole states on their way: to a member whose entries are gone from the log, from the leader, into a backup. */
export class Snapshots {
  readonly #options: SnapshotsOptions;
  readonly #abort = new AbortController();
  /** Index of the state on its way to each member: the log is kept from there. */
  readonly #sending = new Map<MemberId, number>();
  #receiving = false;
  #staged: Staged | null = null;
  #replacing: Promise<void> = Promise.resolve();

  constructor(options: SnapshotsOptions) {
    this.#options = options;
  }

  /** The lowest index that a state in flight still needs the log from, or Infinity. */
  pinnedIndex(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#sending.values());
  }

  /** Streams the current state to the member that Raft names. The outcome is reported to Raft. */
  send(message: Message & { readonly type: 'snapshot' }): void {
    const { to } = message;
    if (this.#sending.has(to)) return;
    const { loop, logger, clock, observer } = this.#options;
    const captured = this.#capture();
    this.#sending.set(to, captured.marker.appliedIndex);
    const startedMs = clock.nowMs();
    logger.info({ to, index: captured.marker.appliedIndex }, 'sending a snapshot');
    const done = (ok: boolean): void => {
      this.#sending.delete(to);
      if (ok) observer.snapshot('sent', (clock.nowMs() - startedMs) / 1000);
      loop().run(() => loop().node.reportSnapshot(to, ok));
    };
    this.#options.transport
      .sendSnapshot(to, withTerm(message.term, captured.frames), this.#abort.signal)
      .then(
        () => done(true),
        (error: unknown) => {
          logger.warn({ to, err: error }, 'a snapshot was not delivered');
          done(false);
        },
      );
  }

  /**
   * Takes a whole state from the leader: into a directory of its own, verified, then offered to Raft.
   *
   * @throws StoreError what is wrong with the stream, or `unhealthy` while another one is being received
   */
  async receive(from: MemberId, frames: AsyncIterable<Buffer>): Promise<void> {
    if (this.#receiving) throw new StoreError('unhealthy', 'another snapshot is being received');
    this.#receiving = true;
    const { clock, observer, logger } = this.#options;
    const startedMs = clock.nowMs();
    try {
      await this.#replacing;
      const term: { value: number } = { value: 0 };
      const name = nextStateName(this.#options.loop().replica.store.name);
      await installState(
        { ...this.#options.replicaOptions, name, clusterId: this.#options.clusterId },
        withoutTerm(frames, term),
      );
      const replica = await openReplica(this.#options.replicaOptions, name);
      logger.info({ from, index: replica.marker.appliedIndex }, 'received a snapshot');
      await this.#offer(replica, { from, term: term.value });
      observer.snapshot('received', (clock.nowMs() - startedMs) / 1000);
    } catch (error) {
      // What is wrong with the stream is the sender's affair; this member's own disk failing is not.
      if (error instanceof StoreError && error.code === 'storage') this.#options.fatal(error);
      throw error;
    } finally {
      this.#receiving = false;
    }
  }

  /** Raft has taken this snapshot: the directory that the log record names. */
  stateNameOf(snapshot: SnapshotMeta): string {
    const staged = this.#staged;
    assert(
      staged?.replica.marker.appliedIndex === snapshot.index,
      'Raft takes only the state that was offered',
    );
    staged.taken = true;
    return staged.name;
  }

  /** The log has the snapshot: the staged state is the member's state from here on. */
  restore(snapshot: SnapshotMeta): Replica {
    const staged = this.#staged;
    assert(staged?.replica.marker.appliedIndex === snapshot.index, 'the restored state is the staged one');
    this.#staged = null;
    const before = this.#options.loop().replica;
    this.#replacing = this.#replace(before, staged.name).catch(this.#options.fatal);
    staged.settled();
    return staged.replica;
  }

  /** The state as a backup file, as of now. */
  async backup(): Promise<Backup> {
    const { store } = this.#options.loop().replica;
    const sizeBytes = await store.sizeBytes();
    return { sizeBytes, frames: sealSnapshotFile(this.#capture().frames) };
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#replacing;
  }

  /** The current state, fixed at this moment; its rows are read later, in slices. */
  #capture(): { readonly marker: StateMarker; readonly frames: AsyncIterableIterator<Buffer> } {
    const { machine, store } = this.#options.loop().replica;
    const marker = machine.marker();
    const header = { clusterId: this.#options.clusterId, marker, tables: machine.tableRows() };
    return { marker, frames: encodeSnapshot(header, store.stream(marker.currentRevision)) };
  }

  /** Resolves when Raft has taken the state or has shown that it does not want it. */
  async #offer(
    replica: OpenedReplica,
    message: { readonly from: MemberId; readonly term: number },
  ): Promise<void> {
    const { loop, self } = this.#options;
    const { marker } = replica;
    let settled: () => void = () => {};
    const restored = new Promise<void>((resolve) => {
      settled = resolve;
    });
    const staged: Staged = { replica, name: replica.store.name, taken: false, settled };
    this.#staged = staged;
    const snapshot = { index: marker.appliedIndex, term: marker.appliedTerm, confState: marker.confState };
    await loop().runSettled(() => loop().node.step({ type: 'snapshot', ...message, to: self, snapshot }));
    if (staged.taken) return restored;
    this.#options.logger.info({ index: marker.appliedIndex }, 'the snapshot was not needed any more');
    this.#staged = null;
    await replica.store.close();
    await this.#options.replicaOptions.levels.destroy(staged.name);
  }

  async #replace(before: Replica, name: string): Promise<void> {
    await writeActive(this.#options.disk, name);
    await before.store.close();
    await this.#options.replicaOptions.levels.destroy(before.store.name);
  }
}

function nextStateName(current: string): string {
  const number = Number(/^state-(\d+)$/.exec(current)?.[1]);
  assert(Number.isSafeInteger(number), 'state directories are numbered');
  return `state-${number + 1}`;
}

async function* withTerm(term: number, frames: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const head = Buffer.alloc(TERM_BYTES);
  head.writeDoubleBE(term);
  yield head;
  yield* frames;
}

/** Takes the term off the front; pieces may be of any size. */
async function* withoutTerm(frames: AsyncIterable<Buffer>, term: { value: number }): AsyncGenerator<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  for await (const frame of frames) {
    if (head.length === TERM_BYTES) {
      yield frame;
      continue;
    }
    const bytes = Buffer.concat([head, frame]);
    head = bytes.subarray(0, TERM_BYTES);
    if (head.length < TERM_BYTES) continue;
    term.value = head.readDoubleBE();
    if (bytes.length > TERM_BYTES) yield bytes.subarray(TERM_BYTES);
  }
}
