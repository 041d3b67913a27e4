import {
  type Entry,
  type MemberId,
  type Message,
  NO_MEMBER,
  type SnapshotMeta,
} from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import type { AppendBatch, ReadState, Ready, Role } from '../core/raft/ready.ts';
import type { Applied, StateMachine } from '../core/state-machine.ts';
import { assert } from '../lib/assert.ts';
import { AppendLane } from './append-lane.ts';
import type { Clock, LogStore, Timer, Transport } from './ports.ts';
import type { Replica } from './replica.ts';

/** Bytes queued for the state store above which apply pauses until the disk has caught up. */
const STATE_PENDING_BYTES_MAX = 8 * 1024 * 1024;
/** Entries applied in one turn, and the time that may take, before sockets get their chance again. */
const APPLY_ENTRIES_PER_TURN = 2_000;
const APPLY_MS_PER_TURN = 20;
/** Entries between two looks at the clock. */
const APPLY_ENTRIES_PER_LOOK = 16;

/** What the loop tells the rest of the member. Called synchronously, in order, within a turn. */
export interface ReadyLoopListener {
  /** Runs at the start of a turn: gathered proposals and reads enter Raft here, as one batch. */
  beforeReady(): void;
  applied(applied: Applied, entry: Entry): void;
  /** After each run of applied entries, or an installed state (no entries). */
  appliedTo(index: number, slice: { readonly seconds: number; readonly entries: number }): void;
  readState(state: ReadState): void;
  /** Raft wants `message.to` to get the whole state. */
  snapshotWanted(message: Message & { readonly type: 'snapshot' }): void;
  /** Names the staged state of a snapshot that Raft has accepted. */
  stateNameOf(snapshot: SnapshotMeta): string;
  /** The accepted snapshot is durable in the log: hand over the staged replica that replaces the current one. */
  restore(snapshot: SnapshotMeta): Replica;
  roleChanged(change: LeadershipView): void;
  membershipChanged(): void;
  logWritten(seconds: number, batch: AppendBatch): void;
  /** Anything here ends the member: a storage error or a broken invariant. */
  fatal(error: unknown): void;
}

export interface LeadershipView {
  readonly term: number;
  readonly role: Role;
  readonly leader: MemberId;
}

export interface ReadyLoopOptions {
  readonly node: RawNode;
  readonly replica: Replica;
  readonly log: LogStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly tickMs: number;
  readonly listener: ReadyLoopListener;
}

/** Somebody who waits until Raft's answer to an event is in the log, `writesLeft` completed writes from now. */
interface Settling {
  readonly resolve: () => void;
  writesLeft: number;
}

/** `entries` of one Ready, possibly behind a restore, waiting for the apply lane. */
interface ApplyWork {
  readonly restore: SnapshotMeta | null;
  readonly entries: readonly Entry[];
}

/**
 * The one loop that owns a member's Raft state. Everything from outside is queued with `run` and taken in a
 * turn; a turn ends by carrying out what Raft wants: send, append, apply. Nothing in a turn waits.
 */
export class ReadyLoop {
  readonly node: RawNode;
  readonly #options: ReadyLoopOptions;
  readonly #appendLane: AppendLane;
  #replica: Replica;
  #events: (() => void)[] = [];
  #settling: Settling[] = [];
  #applyWork: ApplyWork[] = [];
  #applyOffset = 0;
  #turnScheduled = false;
  #applyPausedSinceMs: number | null = null;
  #stopped = false;
  #tickTimer: Timer | null = null;
  #view: LeadershipView = { term: 0, role: 'follower', leader: NO_MEMBER };

  constructor(options: ReadyLoopOptions) {
    this.#options = options;
    this.node = options.node;
    this.#replica = options.replica;
    this.#appendLane = new AppendLane({
      log: options.log,
      clock: options.clock,
      durable: (batch) => this.#guard(() => this.#durable(batch)),
      stateNameOf: (batch) => {
        assert(batch.snapshot !== null, 'only a snapshot batch has a staged state');
        return options.listener.stateNameOf(batch.snapshot);
      },
      written: (seconds, batch) => options.listener.logWritten(seconds, batch),
      failed: (error) => this.#fail(error),
    });
  }

  get replica(): Replica {
    return this.#replica;
  }

  get view(): LeadershipView {
    return this.#view;
  }

  /** How long the log or the state store has kept this member waiting, in ms: the disk watchdog's measure. */
  get diskStalledMs(): number {
    const pausedSinceMs = this.#applyPausedSinceMs;
    const pausedMs = pausedSinceMs === null ? 0 : this.#options.clock.nowMs() - pausedSinceMs;
    return Math.max(this.#appendLane.stalledMs(), pausedMs);
  }

  start(onTick: () => void): void {
    this.#scheduleTick(onTick);
    this.schedule();
  }

  /** Queues an outside event for the next turn. */
  run(event: () => void): void {
    this.#events.push(event);
    this.schedule();
  }

  /** Runs the event in a turn and resolves once everything Raft had to say to it is in the log or handed on. */
  runSettled(event: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.run(() => {
        event();
        // What it led to is in the next batch, and that may have to wait for the one in flight.
        this.#settling.push({ resolve, writesLeft: this.#appendLane.writing ? 2 : 1 });
      });
    });
  }

  /** Asks for a turn. */
  schedule(): void {
    if (this.#turnScheduled || this.#stopped) return;
    this.#turnScheduled = true;
    this.#options.clock.setImmediate(() => this.#guard(() => this.#turn()));
  }

  /** Stops turning; what is being written is awaited. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tickTimer?.cancel();
    await this.#appendLane.drained();
  }

  /**
   * One tick per timer, however late the timer is, and never before the sockets that were readable after a
   * stall have been taken: otherwise a stalled member would depose a healthy leader (RELIABILITY P61).
   */
  #scheduleTick(onTick: () => void): void {
    const { clock, tickMs } = this.#options;
    this.#tickTimer = clock.setTimer(() => {
      clock.setImmediate(() => {
        this.run(() => {
          this.node.tick();
          onTick();
        });
        if (!this.#stopped) this.#scheduleTick(onTick);
      });
    }, tickMs);
  }

  #turn(): void {
    this.#turnScheduled = false;
    if (this.#stopped) return;
    const events = this.#events;
    this.#events = [];
    for (const event of events) event();
    this.#options.listener.beforeReady();
    this.#drainReady();
  }

  #drainReady(): void {
    while (this.node.hasReady()) this.#carryOut(this.node.ready());
    this.#noteLeadership();
    this.#applyPending();
    if (this.#settling.length > 0) this.#settle();
  }

  #carryOut(ready: Ready): void {
    this.#noteLeadership();
    this.#send(ready.messages);
    if (ready.append !== null) this.#appendLane.push(ready.append);
    if (ready.restore !== null || ready.entries.length > 0) {
      this.#applyWork.push({ restore: ready.restore, entries: ready.entries });
    }
    for (const state of ready.readStates) this.#options.listener.readState(state);
  }

  #settle(): void {
    const isDone = ({ writesLeft }: Settling): boolean => writesLeft <= 0 || !this.#appendLane.writing;
    const done = this.#settling.filter(isDone);
    this.#settling = this.#settling.filter((settling) => !isDone(settling));
    for (const { resolve } of done) resolve();
  }

  #durable(batch: AppendBatch): void {
    this.node.appended(batch.seq);
    this.#send(batch.messages);
    for (const settling of this.#settling) settling.writesLeft -= 1;
    if (!this.#stopped) this.#drainReady();
  }

  #send(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    const plain: Message[] = [];
    for (const message of messages) {
      if (message.type === 'snapshot') this.#options.listener.snapshotWanted(message);
      else plain.push(message);
    }
    if (plain.length > 0) this.#options.transport.send(plain);
  }

  #noteLeadership(): void {
    const { term, role, leader } = this.node.leadership;
    if (term === this.#view.term && role === this.#view.role && leader === this.#view.leader) return;
    this.#view = { term, role, leader };
    this.#options.listener.roleChanged(this.#view);
  }

  #applyPending(): void {
    if (this.#applyPausedSinceMs !== null) return;
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + APPLY_MS_PER_TURN;
    let budget = APPLY_ENTRIES_PER_TURN;
    while (this.#applyWork.length > 0 && budget > 0 && clock.nowMs() < deadlineMs) {
      const work = this.#applyWork[0];
      assert(work !== undefined, 'apply work is taken from a non-empty queue');
      if (work.restore !== null && this.#applyOffset === 0) this.#restore(work.restore);
      const endMax = Math.min(work.entries.length, this.#applyOffset + budget);
      const end = this.#applyEntries(work.entries, { endMax, deadlineMs });
      budget -= end - this.#applyOffset + 1;
      this.#applyOffset = end;
      if (end === work.entries.length) {
        this.#applyWork.shift();
        this.#applyOffset = 0;
      }
      if (this.#replica.store.pendingBytes > STATE_PENDING_BYTES_MAX) {
        this.#pauseApply();
        return;
      }
    }
    if (this.#applyWork.length > 0 || this.node.hasReady()) this.schedule();
  }

  /** Applies entries up to `endMax`, or fewer when time is up. @returns where it stopped */
  #applyEntries(
    entries: readonly Entry[],
    bounds: { readonly endMax: number; readonly deadlineMs: number },
  ): number {
    const { machine, store } = this.#replica;
    const { clock } = this.#options;
    const startedMs = clock.nowMs();
    let end = this.#applyOffset;
    while (end < bounds.endMax) {
      const entry = entries[end];
      assert(entry !== undefined, 'the apply lane has no gaps');
      this.#applyEntry(machine, entry);
      end += 1;
      if (end % APPLY_ENTRIES_PER_LOOK === 0 && clock.nowMs() >= bounds.deadlineMs) break;
    }
    if (end === this.#applyOffset) return end;
    const batch = machine.takeBatch();
    if (batch !== null) store.apply(batch);
    const last = entries[end - 1];
    assert(last !== undefined, 'a run of applied entries has a last one');
    this.node.applied(last.index);
    const seconds = (clock.nowMs() - startedMs) / 1000;
    this.#options.listener.appliedTo(last.index, { seconds, entries: end - this.#applyOffset });
    return end;
  }

  #applyEntry(machine: StateMachine, entry: Entry): void {
    const applied = machine.apply(entry);
    if (entry.kind === 'conf-change') {
      machine.confStateChanged(this.node.applyConfChange(applied.confChange ?? null));
      this.#options.listener.membershipChanged();
    }
    this.#options.listener.applied(applied, entry);
  }

  #restore(snapshot: SnapshotMeta): void {
    this.#replica = this.#options.listener.restore(snapshot);
    this.node.applied(snapshot.index);
    this.#options.listener.membershipChanged();
    this.#options.listener.appliedTo(snapshot.index, { seconds: 0, entries: 0 });
  }

  #pauseApply(): void {
    this.#applyPausedSinceMs = this.#options.clock.nowMs();
    this.#replica.store.drained().then(
      () => {
        this.#applyPausedSinceMs = null;
        this.schedule();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #guard(action: () => void): void {
    if (this.#stopped) return;
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#tickTimer?.cancel();
    this.#options.listener.fatal(error);
  }
}
