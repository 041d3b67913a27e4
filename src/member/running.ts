import { setMaxListeners } from 'node:events';
import type { CommandResult } from '../core/outcome.ts';
import type { Entry, MemberId, Message, SnapshotMeta } from '../core/raft/messages.ts';
import type { AppendBatch, ReadState } from '../core/raft/ready.ts';
import type { Applied } from '../core/state-machine.ts';
import { AssertionError } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import { assemble, type PartsEvents, type RunningOptions, type RunningParts } from './assembly.ts';
import type { Member } from './member.ts';
import type { PeerIdentity, TransportHandlers } from './ports.ts';
import { publish } from './publication.ts';
import type { LeadershipView, ReadyLoop } from './ready-loop.ts';
import type { Replica } from './replica.ts';
import { confirmCutTail } from './tail-check.ts';

/** A member that learns of its removal stays this long, so that answers and messages on their way can leave. */
const REMOVED_LINGER_MS = 500;

/** A running member: who hears of what, in which order it starts, and in which it stops. */
export class RunningMember implements PartsEvents, TransportHandlers {
  readonly published: Promise<void>;
  readonly #options: RunningOptions;
  readonly #self: MemberId;
  readonly #parts: RunningParts;
  readonly #loop: ReadyLoop;
  readonly #abort = new AbortController();
  #publishedNow: () => void = () => {};
  #appliedWaiters: { readonly index: number; readonly resolve: () => void }[] = [];
  /** The term whose no-op this leader has yet to apply before it keeps time for leases, or 0. */
  #leasesDueInTerm = 0;
  /** A whole state came: who may watch what is to be decided anew, once it is in its place. */
  #recheckDue = false;
  #leaving = false;

  constructor(options: RunningOptions) {
    this.#options = options;
    this.#self = options.data.identity.memberId;
    this.published = new Promise<void>((resolve) => {
      this.#publishedNow = resolve;
    });
    // Everything this member asks or proposes by itself listens to it.
    setMaxListeners(0, this.#abort.signal);
    this.#parts = assemble(options, this, this.#abort.signal);
    this.#loop = this.#parts.loop;
  }

  get member(): Member {
    return this.#parts.member;
  }

  /**
   * Resolves when everything that was committed before the start is applied again: only then may it serve.
   *
   * @throws StoreError `data-dir-foreign`
   */
  async start(): Promise<void> {
    const { ports, data } = this.#options;
    if (this.#isOnlyVoter()) await this.#refuseForeign();
    this.membershipChanged();
    this.#loop.start(() => this.#tick());
    if (data.cutAfterSeq !== null) this.#confirmTail(data.cutAfterSeq);
    if (this.#isOnlyVoter()) this.#loop.run(() => this.#loop.node.campaign());
    await this.#applied(data.raft.hardState.commit);
    this.#publish().then(this.#publishedNow, (error: unknown) => this.fatal(error));
    ports.logger.info(
      {
        memberId: this.#self.toString(16),
        clusterId: data.identity.clusterId.toString(16),
        commit: data.raft.hardState.commit,
      },
      'member started',
    );
  }

  // ---- the loop tells ---------------------------------------------------------------------------------------

  beforeReady(): void {
    this.#parts.proposals.flush();
    this.#parts.reads.flush();
  }

  applied(applied: Applied, entry: Entry): void {
    this.#parts.proposals.termApplied(entry.term);
    if (applied.events.length > 0) this.#parts.hub.notify(applied.revision, applied.events);
    if (applied.outcome.ok) this.#tableChanged(applied.outcome.result, entry.index);
    this.#parts.hashes.applied(entry.index, this.#loop.replica.machine);
    this.#parts.proposals.applied(applied);
    if (this.#leasesDueInTerm === entry.term) {
      this.#leasesDueInTerm = 0;
      this.#parts.leases.promote(entry.term);
    }
  }

  appliedTo(index: number, slice: { readonly seconds: number; readonly entries: number }): void {
    this.#parts.observer.applied(slice.seconds, slice.entries);
    this.#parts.accounts.applied();
    this.#parts.reads.appliedTo(index);
    this.#parts.access.appliedTo(index);
    if (this.#recheckDue) {
      this.#recheckDue = false;
      this.#parts.watches.recheck();
    }
    const due = this.#appliedWaiters.filter((waiter) => waiter.index <= index);
    if (due.length === 0) return;
    this.#appliedWaiters = this.#appliedWaiters.filter((waiter) => waiter.index > index);
    for (const waiter of due) waiter.resolve();
  }

  readState(state: ReadState): void {
    this.#parts.reads.readState(state);
  }

  snapshotWanted(message: Message & { readonly type: 'snapshot' }): void {
    this.#parts.snapshots.send(message);
  }

  stateNameOf(snapshot: SnapshotMeta): string {
    return this.#parts.snapshots.stateNameOf(snapshot);
  }

  restore(snapshot: SnapshotMeta): Replica {
    const replica = this.#parts.snapshots.restore(snapshot);
    this.#parts.proposals.restored();
    const { store, lessor } = replica.machine;
    const before = this.#loop.replica.machine.lessor;
    // One of the same id may have been granted since.
    const isKept = (id: bigint): boolean => {
      const lease = lessor.get(id);
      return lease !== undefined && lease.grantedAt === before.get(id)?.grantedAt;
    };
    this.#parts.hub.storeReplaced(store, isKept);
    this.#recheckDue = true;
    this.#parts.pump.wake();
    return replica;
  }

  roleChanged({ term, role, leader }: LeadershipView): void {
    this.#options.ports.logger.info({ term, role, leader: leader.toString(16) }, 'role');
    this.#parts.leases.demote();
    this.#leasesDueInTerm = role === 'leader' ? term : 0;
    this.#parts.observer.leaderChanged(leader === 0 ? null : leader);
    this.#parts.proposals.leadershipChanged();
    this.#parts.reads.leadershipChanged();
    this.#parts.leadership.changed(this.#loop.view);
  }

  membershipChanged(): void {
    this.#parts.acquaintances.changed();
    const members = this.#loop.replica.machine.memberList();
    if (members.length === 0 || members.some((member) => member.id === this.#self)) return;
    this.removed();
  }

  logWritten(seconds: number, batch: AppendBatch): void {
    const bytes = batch.entries.reduce((sum, entry) => sum + entry.data.length, 0);
    this.#parts.observer.walFsync(seconds, { entries: batch.entries.length, bytes });
  }

  removed(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    const reason = 'this member was removed from the cluster';
    this.#options.ports.logger.error({}, reason);
    this.#options.ports.clock.setTimer(
      () => this.fatal(new StoreError('stopped', reason)),
      REMOVED_LINGER_MS,
    );
  }

  fatal(error: unknown): void {
    this.#abort.abort();
    this.#options.ports.fatal(error);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#parts.proposals.stop();
    this.#parts.freshness.stop();
    this.#parts.reads.stop();
    this.#parts.leases.stop();
    this.#parts.pump.stop();
    await this.#options.ports.transport.close();
    await this.#loop.stop();
    await this.#parts.snapshots.close();
    await this.#parts.housekeeping.stop();
    await this.#options.data.log.close();
    await this.#loop.replica.store.close();
    await this.#options.met.close();
  }

  // ---- peers tell -------------------------------------------------------------------------------------------

  messages(from: MemberId, messages: readonly Message[]): void {
    this.#loop.run(() => {
      for (const message of messages) {
        // A state comes on a stream of its own; `from` was checked by the handshake, the message must agree.
        if (message.type !== 'snapshot' && message.from === from) this.#loop.node.step(message);
      }
    });
  }

  request(from: MemberId, body: Buffer): Promise<Buffer> {
    return this.#parts.server.serve(from, body).catch((error: unknown) => {
      if (error instanceof AssertionError) this.fatal(error);
      throw error;
    });
  }

  snapshot(from: MemberId, frames: AsyncIterable<Buffer>): Promise<void> {
    return this.#parts.snapshots.receive(from, frames);
  }

  async probe(): Promise<Buffer> {
    return this.#parts.acquaintances.account();
  }

  admit(peer: PeerIdentity): string | null {
    return this.#parts.acquaintances.admit(peer);
  }

  unreachable(id: MemberId): void {
    this.#loop.run(() => this.#loop.node.reportUnreachable(id));
  }

  /** Before the next entry is applied: members are dialed where they are, nobody hears of what he may not any more. */
  #tableChanged(result: CommandResult, index: number): void {
    if (result.type === 'authenticate') this.#parts.tokens.signedIn(result, index);
    // A member's addresses can change without a change of who is one.
    else if (result.type === 'member') this.#parts.acquaintances.changed();
    else if (result.type === 'auth' && result.narrows) this.#parts.watches.recheck();
    else if (result.type === 'lease-revoke') this.#parts.hub.leaseEnded(result.id);
    else if (result.type === 'lease-expire') for (const id of result.revoked) this.#parts.hub.leaseEnded(id);
  }

  // ---- own affairs ------------------------------------------------------------------------------------------

  #tick(): void {
    this.#parts.vitals.watchDisk();
    this.#parts.proposals.tick();
    this.#parts.freshness.tick();
    this.#parts.reads.tick();
    this.#parts.access.tick();
    this.#parts.leases.tick();
    this.#parts.housekeeping.tick();
    this.#parts.space.tick();
    this.#parts.hashes.tick();
    this.#parts.compaction.tick();
    this.#parts.removal.tick();
    this.#parts.pump.tick();
    this.#parts.vitals.measure();
    this.#parts.timers.tick();
    this.#parts.preference.tick();
  }

  #publish(): Promise<void> {
    const { name, clientUrls, region, heartbeatMs, electionMs } = this.#options.options;
    const { signal } = this.#abort;
    return publish({
      self: this.#self,
      name,
      clientUrls,
      ...(region !== undefined && { region }),
      clock: this.#options.ports.clock,
      lookMs: heartbeatMs,
      retryMs: electionMs,
      record: () => this.#loop.replica.machine.members.get(this.#self),
      propose: (operation) => this.#parts.proposals.propose(operation, { signal }),
      signal,
    });
  }

  #confirmTail(logSeq: number): void {
    const { clock, logger } = this.#options.ports;
    const { log, raft } = this.#options.data;
    confirmCutTail(
      {
        self: this.#self,
        node: this.#loop.node,
        clock,
        logger,
        members: () => this.#loop.replica.machine.memberList(),
        logSeq,
        lastIndex: raft.entries.at(-1)?.index ?? raft.compacted.index,
        confirm: () => log.confirmTail(),
        ask: this.#parts.ask,
      },
      this.#abort.signal,
    ).catch((error: unknown) => this.fatal(error));
  }

  /** An only voter is going to serve at once: with data in a wrong place there is nobody to keep it from that. */
  async #refuseForeign(): Promise<void> {
    const reason = await this.#parts.removal.foreignness();
    if (reason !== null) throw new StoreError('data-dir-foreign', reason);
  }

  #isOnlyVoter(): boolean {
    const { voters, votersOutgoing } = this.#loop.replica.machine.confState;
    return votersOutgoing.length === 0 && voters.length === 1 && voters[0] === this.#self;
  }

  #applied(index: number): Promise<void> {
    if (this.#loop.replica.machine.appliedIndex >= index) return Promise.resolve();
    return new Promise((resolve) => this.#appliedWaiters.push({ index, resolve }));
  }
}
