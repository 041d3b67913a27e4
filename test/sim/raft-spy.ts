import { RaftLog } from '../../src/core/raft/log.ts';
import type { ConfState, Entry, Message } from '../../src/core/raft/messages.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import { RawNode } from '../../src/core/raft/raw-node.ts';
import type { LogRecord } from '../../src/member/ports.ts';
import { WriteAheadLog } from '../../src/member/storage/wal.ts';

/** What is seen of every member's Raft and of its log on disk. Whose it is, the running event tells. */
export interface RaftListener {
  /** A member's Raft comes to be; nothing has happened to it yet. */
  created(raft: Raft): void;
  /** A campaign or a term of office has just begun. */
  becameCandidate(preVote: boolean): void;
  becameLeader(): void;
  stepping(message: Message): void;
  stepped(message: Message): void;
  committed(log: RaftLog, before: number): void;
  /** A membership change was applied. */
  confChanged(): void;
  /** Entries stand in the log in memory. */
  appended(log: RaftLog, entries: readonly Entry[]): void;
  /** The log takes a part of itself for durable. */
  stabilized(log: RaftLog): void;
  /** A record was written to the log on disk, and is durable if it was written with `sync`. */
  recorded(record: LogRecord): void;
}

let listener: RaftListener | null = null;
let installed = false;

/**
 * Lets the checkers look over the shoulder of every Raft and every log on disk. The production classes are wrapped,
 * not changed; what they do and answer stays the same.
 */
export function watchRaft(next: RaftListener | null): void {
  listener = next;
  if (installed) return;
  installed = true;
  watchRoles();
  watchMessages();
  watchLogs();
  watchDisks();
}

function watchRoles(): void {
  const created = new WeakSet<Raft>();
  const { prototype } = Raft;
  // Here and below each is called on the very object that it was taken from the prototype of.
  // oxlint-disable-next-line typescript/unbound-method
  const { becomeFollower, becomePreCandidate, becomeCandidate, becomeLeader } = prototype;
  // The constructor ends with this call, when everything else is in place.
  prototype.becomeFollower = function (term, leader): void {
    if (listener !== null && !created.has(this)) {
      created.add(this);
      listener.created(this);
    }
    becomeFollower.call(this, term, leader);
  };
  prototype.becomePreCandidate = function (): void {
    becomePreCandidate.call(this);
    listener?.becameCandidate(true);
  };
  prototype.becomeCandidate = function (): void {
    becomeCandidate.call(this);
    listener?.becameCandidate(false);
  };
  prototype.becomeLeader = function (): void {
    becomeLeader.call(this);
    listener?.becameLeader();
  };
}

function watchMessages(): void {
  const { prototype } = RawNode;
  // oxlint-disable-next-line typescript/unbound-method
  const { step, applyConfChange } = prototype;
  prototype.step = function (message): void {
    listener?.stepping(message);
    step.call(this, message);
    listener?.stepped(message);
  };
  prototype.applyConfChange = function (change): ConfState {
    const conf = applyConfChange.call(this, change);
    listener?.confChanged();
    return conf;
  };
}

function watchLogs(): void {
  const { prototype } = RaftLog;
  // oxlint-disable-next-line typescript/unbound-method
  const { append, commitTo, reset, durable } = prototype;
  prototype.append = function (entries): void {
    append.call(this, entries);
    listener?.appended(this, entries);
  };
  prototype.commitTo = function (index): void {
    const before = this.commit;
    commitTo.call(this, index);
    if (this.commit !== before) listener?.committed(this, before);
  };
  prototype.reset = function (snapshot): void {
    const before = this.commit;
    reset.call(this, snapshot);
    listener?.committed(this, before);
  };
  prototype.durable = function (part): void {
    durable.call(this, part);
    listener?.stabilized(this);
  };
}

function watchDisks(): void {
  const { prototype } = WriteAheadLog;
  // oxlint-disable-next-line typescript/unbound-method
  const { append } = prototype;
  prototype.append = async function (record): Promise<void> {
    await append.call(this, record);
    listener?.recorded(record);
  };
}
