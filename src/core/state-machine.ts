import { AssertionError, assert } from '../lib/assert.ts';
import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { MalformedError } from '../lib/packed.ts';
import { alarmRefusal } from './admission.ts';
import { ALARMS_MAX, AlarmTable } from './alarms.ts';
import { APPLY_HASH_START, nextApplyHash } from './apply-hash.ts';
import { AuthStore } from './auth/auth-store.ts';
import { narrows, type Principal } from './auth/operations.ts';
import type { AccessState } from './auth/txn-access.ts';
import { authRefusal } from './auth-admission.ts';
import { authRemoval, authRow, readAuthRow } from './auth-rows.ts';
import { decodeCommand, type MemberRecord, type Operation, type ProposalId } from './command.ts';
import { LEASE_TTL_SECONDS_MAX } from './lease/lease.ts';
import { LEASES_MAX, type LeaseCheckpoint, Lessor } from './lease/lessor.ts';
import { MemberTable, type MemberView } from './members.ts';
import { decideMembership, isMembershipOperation, type MembershipOperation } from './membership-change.ts';
import type { Commit, KvEvent } from './mvcc/event.ts';
import { deleteRequest } from './mvcc/operations.ts';
import type { Revision, Row, RowSource } from './mvcc/row.ts';
import { Store } from './mvcc/store.ts';
import type { CommandResult, Outcome } from './outcome.ts';
import { PendingRows } from './pending-rows.ts';
import type { ConfChange, ConfState, Entry } from './raft/messages.ts';
import type { StateBatch, StateMarker, TableRow } from './state.ts';
import { TableChanges } from './table-changes.ts';
import { leaseRow, readLeaseRow, removalOf } from './table-rows.ts';

export type { CommandResult, Outcome } from './outcome.ts';

export interface StateMachineOptions {
  /** Answers for rows of batches that were taken; rows of the open batch are answered here. */
  readonly source: RowSource;
  /** Budget of rows kept in memory, in bytes. */
  readonly cacheBytesMax: number;
  /** The voters a new cluster begins with: part of the state at index 0. Empty for a member that joins. */
  readonly bootstrapMembers: readonly MemberRecord[];
  /** The same on every member: who grants decides at the entry. */
  readonly leasesMax?: number;
}

/** What one entry came to. */
export interface Applied {
  readonly index: number;
  /** Whose proposal it was; null for a no-op and for commands nobody waits for. */
  readonly proposal: ProposalId | null;
  readonly outcome: Outcome;
  /** In revision order; several revisions only for an expiry of several leases. */
  readonly events: readonly KvEvent[];
  /** The store's revision after the entry. */
  readonly revision: number;
  /**
   * Only for conf-change entries: what Raft must apply. Null = invalid at its index, Raft applies nothing. Unless
   * it is null, `confStateChanged` must follow before anything else.
   */
  readonly confChange?: ConfChange | null;
}

/**
 * The replicated state: key-value store, leases, members, alarms, users and roles, driven by committed entries in log order.
 * Deterministic: equal entries make an equal state, equal outcomes and equal hashes on every member, whatever its
 * clock, its disk or the pace of its compaction. Nothing here waits.
 *
 * A command that cannot be done is an outcome with a code and changes nothing. What cannot happen, such as bytes in
 * the log that are no command, is an AssertionError; a row that cannot be read is a StoreError `storage`. After
 * either the state must not be used any more.
 */
export class StateMachine {
  readonly store: Store;
  readonly lessor = new Lessor();
  readonly members: MemberTable;
  readonly alarms: AlarmTable;
  readonly auth: AuthStore;
  /** What decisions about requests are made from. */
  readonly access: AccessState;
  readonly #tables = new TableChanges();
  readonly #rows: PendingRows;
  readonly #leasesMax: number;
  #appliedIndex = 0;
  #appliedTerm = 0;
  #applyHash = APPLY_HASH_START;
  #confState: ConfState;
  /** Raft was given a change and has not said what came of it. */
  #confChangeOpen = false;
  /** The marker a disk was last given. */
  #taken: StateMarker | null = null;
  #restore: Restore | null = null;
  #droppedAtRestore: readonly Revision[] = [];

  constructor({ source, cacheBytesMax, bootstrapMembers, leasesMax = LEASES_MAX }: StateMachineOptions) {
    this.#leasesMax = leasesMax;
    this.#rows = new PendingRows(source);
    this.store = new Store({ source: this.#rows, cacheBytesMax });
    this.members = new MemberTable(this.#tables);
    this.alarms = new AlarmTable(this.#tables);
    this.auth = new AuthStore((before, after) => {
      this.#tables.change(before && authRow(before), after === null ? authRemoval(before!) : authRow(after));
    });
    this.access = { auth: this.auth, leaseKeys: (id) => this.lessor.keys(id) };
    for (const member of bootstrapMembers) {
      assert(this.members.get(member.id) === undefined, 'bootstrap members have different ids');
      this.members.set(member);
    }
    this.#confState = votersOnly(bootstrapMembers);
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  get confState(): ConfState {
    return this.#confState;
  }

  /** Members with their part in the configuration, by ascending id. */
  memberList(): readonly MemberView[] {
    return this.members.views(this.#confState);
  }

  /** Applies the next entry. */
  apply(entry: Entry): Applied {
    assert(this.#restore === null, 'an entry is applied to a whole state');
    assert(!this.#confChangeOpen, 'a configuration change is settled before the next entry');
    assert(entry.index === this.#appliedIndex + 1, 'entries are applied without a gap');
    assert(entry.term >= this.#appliedTerm, 'terms never go back');
    const revisionBefore = this.store.currentRevision;
    const { proposal, outcome, events, confChange } = this.#execute(entry);
    const revision = this.store.currentRevision;
    assert(outcome.ok || revision === revisionBefore, 'a failed command leaves the revision');
    this.#appliedIndex = entry.index;
    this.#appliedTerm = entry.term;
    this.#applyHash = nextApplyHash(this.#applyHash, { entry, outcome, revision });
    const applied = { index: entry.index, proposal, outcome, events, revision };
    if (entry.kind === 'normal') return applied;
    this.#confChangeOpen = confChange !== null;
    return { ...applied, confChange };
  }

  /** Raft's configuration after a configuration change. */
  confStateChanged(confState: ConfState): void {
    this.#confState = confState;
    this.#confChangeOpen = false;
  }

  /**
   * Everything written since the last call, for the disk, or null when nothing was applied and no compaction ended
   * since. The batch is atomic: its marker is the state after exactly its rows (RELIABILITY P35).
   */
  takeBatch(): StateBatch | null {
    const marker = this.marker();
    if (this.#taken !== null && sameMarker(this.#taken, marker)) {
      assert(this.#rows.size === 0 && !this.#tables.pending, 'rows come with an applied entry');
      return null;
    }
    this.#taken = marker;
    return { rows: this.#rows.take(), tables: this.#tables.take(), marker };
  }

  marker(): StateMarker {
    assert(!this.#confChangeOpen, 'a configuration change is settled before the state is described');
    return {
      appliedIndex: this.#appliedIndex,
      appliedTerm: this.#appliedTerm,
      currentRevision: this.store.currentRevision,
      compactRevision: this.store.compactRevision,
      hashCompactRevision: this.store.hashCompactRevision,
      confState: this.#confState,
      applyHash: this.#applyHash,
      rowSetHash: this.store.rowSetHash,
      rowCount: this.store.rowCount,
      tableSetHash: this.#tables.hash,
    };
  }

  /** The newest row of every id of the small tables: members, alarms, leases, users and roles, each by id. */
  tableRows(): TableRow[] {
    return [
      ...this.members.rows(),
      ...this.alarms.rows(),
      ...this.lessor.list().map(leaseRow),
      ...this.auth.records().map(authRow),
    ];
  }

  // ---- restore: rows in revision order, then tables, then the marker ----------------------------------------

  /** @throws StoreError `data-dir-corrupt` when rows are out of order or impossible */
  row(row: Row): void {
    this.#restoring().row(row);
    this.store.restoreRow(row);
  }

  /** @throws StoreError `data-dir-corrupt` when the row is malformed */
  table(row: TableRow): void {
    this.#restoring();
    try {
      this.#restoreTableRow(row);
    } catch (error) {
      if (error instanceof MalformedError || error instanceof AssertionError) {
        throw new StoreError('data-dir-corrupt', error.message);
      }
      throw error;
    }
    this.#tables.restored(row);
  }

  /**
   * Ends a restore; what follows is applied on top of it.
   *
   * @throws StoreError `data-dir-corrupt` when counts, hashes or leases do not match
   */
  finish(marker: StateMarker): void {
    const restore = this.#restoring();
    const { hash } = this.#tables;
    if (hash.a !== marker.tableSetHash.a || hash.b !== marker.tableSetHash.b) {
      throw new StoreError('data-dir-corrupt', 'the table rows are not those that were written');
    }
    this.#droppedAtRestore = this.store.finishRestore(marker);
    restore.attach(this.lessor);
    this.#appliedIndex = marker.appliedIndex;
    this.#appliedTerm = marker.appliedTerm;
    this.#applyHash = marker.applyHash;
    this.#confState = marker.confState;
    this.#taken = marker;
    this.#restore = null;
  }

  /** Once: rows that the restore found dropped by a compaction, in revision order, for `StateStore.discard`. */
  takeDroppedAtRestore(): readonly Revision[] {
    const dropped = this.#droppedAtRestore;
    this.#droppedAtRestore = [];
    return dropped;
  }

  #restoring(): Restore {
    if (this.#restore !== null) return this.#restore;
    assert(this.#appliedIndex === 0 && this.#taken === null, 'a state in use is not restored');
    this.members.clear();
    this.alarms.clear();
    this.#tables.clear();
    this.#restore = new Restore();
    return this.#restore;
  }

  #restoreTableRow(row: TableRow): void {
    switch (row.table) {
      case 'lease':
        this.lessor.grant(readLeaseRow(row));
        return;
      case 'member':
        this.members.restore(row);
        return;
      case 'alarm':
        this.alarms.restore(row);
        return;
      case 'auth':
        this.auth.restore(readAuthRow(row));
        return;
      case 'meta':
        throw new StoreError('data-dir-corrupt', `a row of the unknown table ${row.table}`);
    }
  }

  // ---- commands ---------------------------------------------------------------------------------------------

  #execute(entry: Entry): Execution {
    if (entry.data.length === 0) {
      return { ...DONE, proposal: null, outcome: succeeded({ type: 'none' }), confChange: { steps: [] } };
    }
    const { id: proposal, user, authRevision, operation } = decodeCommand(entry.data);
    const principal = { user, revision: authRevision };
    if (isMembershipOperation(operation)) {
      assert(entry.kind === 'conf-change', 'a membership change is a conf-change entry');
      return { ...this.#changeMembership(operation, principal), proposal };
    }
    assert(entry.kind === 'normal', 'a conf-change entry changes the membership');
    return this.#run(operation, { entry, principal, proposal });
  }

  #changeMembership(operation: MembershipOperation, principal: Principal): Execution {
    const { members } = this;
    const refusal = authRefusal(operation, principal, this.access);
    if (refusal !== null) return { ...DONE, outcome: failed(refusal) };
    const decision = decideMembership(operation, { members, confState: this.#confState });
    if (decision.change === null) return { ...DONE, outcome: failed(decision.code) };
    const id = operation.type === 'member-add' ? operation.member.id : operation.id;
    if (operation.type === 'member-add') members.set(operation.member);
    if (operation.type === 'member-remove') members.remove(id);
    return { ...DONE, outcome: succeeded({ type: 'member', id }), confChange: decision.change };
  }

  #run(operation: DataOperation, context: CommandContext): Execution {
    const refusal =
      alarmRefusal(operation, this.alarms) ?? authRefusal(operation, context.principal, this.access);
    const { proposal } = context;
    if (refusal !== null) return { proposal, outcome: failed(refusal), events: [], confChange: null };
    try {
      if (operation.type === 'put' || operation.type === 'delete-range' || operation.type === 'txn') {
        const { result, commit } = this.store.applyTxn(operation, this.lessor);
        this.#settle(commit);
        return { proposal, outcome: succeeded(result), events: commit.events, confChange: null };
      }
      const events: KvEvent[] = [];
      const result = this.#perform(operation, context, events);
      return { proposal, outcome: succeeded(result), events, confChange: null };
    } catch (error) {
      // A disk that fails is no answer to a client: members would disagree.
      if (!(error instanceof StoreError) || isOwnFailure(error.code)) throw error;
      return { proposal, outcome: failed(error.code), events: [], confChange: null };
    }
  }

  /** @throws StoreError before anything was changed */
  #perform(operation: OtherOperation, context: CommandContext, events: KvEvent[]): CommandResult {
    switch (operation.type) {
      case 'compact':
        this.store.compact(operation.revision);
        return { type: 'compact' };
      case 'lease-grant':
        return this.#grant(operation, context.entry);
      case 'lease-revoke':
        this.#revoke(operation.id, events);
        return { type: 'lease-revoke', id: operation.id };
      case 'lease-expire':
        return this.#expire(operation, context.entry, events);
      case 'lease-checkpoint':
        for (const checkpoint of operation.checkpoints) this.#checkpoint(checkpoint);
        return { type: 'lease-checkpoint' };
      case 'alarm':
        return this.#alarm(operation);
      case 'member-update':
      case 'member-publish':
        return this.#describeMember(operation);
      case 'authenticate':
        return this.#signIn(operation, context.principal.revision);
      default:
        this.auth.apply(operation);
        return { type: 'auth', narrows: narrows(operation) };
    }
  }

  /** Takes what a transaction changed: rows for the disk, events for the watchers, keys for their leases. */
  #settle(commit: Commit): void {
    this.#rows.add(commit.rows);
    for (const event of commit.events) {
      if (event.row.lease !== 0n) {
        if (event.row.lease !== event.previousLease) this.lessor.attach(event.row.lease, event.row.key);
      } else if (event.previousLease !== 0n) {
        this.lessor.detach(event.row.key);
      }
    }
  }

  #grant(
    { id, ttlSeconds }: Extract<Operation, { type: 'lease-grant' }>,
    { index: grantedAt }: Entry,
  ): CommandResult {
    if (id === 0n) throw new StoreError('lease-not-found');
    if (ttlSeconds > LEASE_TTL_SECONDS_MAX) throw new StoreError('lease-ttl-too-large');
    if (ttlSeconds < 1) throw new StoreError('lease-ttl-too-small');
    if (this.lessor.has(id)) throw new StoreError('lease-exists');
    this.checkLeaseRoom();
    const record = { id, ttlSeconds, remainingSeconds: 0, grantedAt };
    this.lessor.grant(record);
    this.#tables.change(null, leaseRow(record));
    return { type: 'lease-grant', id, ttlSeconds };
  }

  /** @throws StoreError `too-many-requests` when there are as many leases as may be */
  checkLeaseRoom(): void {
    if (this.lessor.size >= this.#leasesMax) throw new StoreError('too-many-requests');
  }

  /** Deletes a lease and its keys, all in one revision. */
  #revoke(id: bigint, events: KvEvent[]): void {
    const lease = this.lessor.get(id);
    if (lease === undefined) throw new StoreError('lease-not-found');
    const row = leaseRow(lease);
    this.#tables.change(row, removalOf(row));
    const keys = this.lessor.revoke(id);
    if (keys.length === 0) return;
    const txn = this.store.begin();
    for (const key of keys) {
      const { deleted } = txn.deleteRange(deleteRequest({ key }));
      assert(deleted === 1, 'an attached key is there');
    }
    const commit = txn.commit();
    this.#settle(commit);
    for (const event of commit.events) events.push(event);
  }

  #expire(
    { term, ids }: Extract<Operation, { type: 'lease-expire' }>,
    entry: Entry,
    events: KvEvent[],
  ): CommandResult {
    // Proposed by a leader that lost its term before the entry got into the log: its clock no longer counts.
    if (term !== entry.term) return { type: 'lease-expire', revoked: [] };
    const revoked: bigint[] = [];
    for (const id of ids) {
      if (!this.lessor.has(id)) continue;
      this.#revoke(id, events);
      revoked.push(id);
    }
    return { type: 'lease-expire', revoked };
  }

  #checkpoint(checkpoint: LeaseCheckpoint): void {
    const before = this.lessor.get(checkpoint.id);
    if (before === undefined) return;
    const row = leaseRow(before);
    this.lessor.checkpoint(checkpoint);
    this.#tables.change(row, leaseRow(this.lessor.get(checkpoint.id)!));
  }

  #alarm({ action, member, alarm }: Extract<Operation, { type: 'alarm' }>): CommandResult {
    const record = { member, alarm };
    if (action === 'activate') {
      // A member's own alarm has room always: it keeps the store from its end.
      const isMember = this.members.get(member) !== undefined;
      if (!isMember && this.alarms.size >= ALARMS_MAX) throw new StoreError('too-many-requests');
      this.alarms.activate(record);
      return { type: 'alarm', alarms: [record] };
    }
    return { type: 'alarm', alarms: this.alarms.deactivate(record) ? [record] : [] };
  }

  /** `revision`: where the password was found to fit. */
  #signIn(
    { name, tokenDigest }: Extract<Operation, { type: 'authenticate' }>,
    revision: number,
  ): CommandResult {
    const refusal = this.auth.signInRefusal({ user: name, revision });
    if (refusal !== null) throw new StoreError(refusal);
    return { type: 'authenticate', user: name, tokenDigest, authRevision: this.auth.revision };
  }

  #describeMember(
    operation: Extract<Operation, { type: 'member-update' | 'member-publish' }>,
  ): CommandResult {
    const { id } = operation;
    const member = this.members.get(id);
    if (member === undefined) throw new StoreError('member-not-found');
    if (operation.type === 'member-update') {
      const refusal = this.members.urlRefusal(operation);
      if (refusal !== null) throw new StoreError(refusal);
      this.members.set({ ...member, peerUrls: operation.peerUrls });
    } else {
      const { name, clientUrls, region } = operation;
      const { peerUrls } = member;
      // One that says no region any more has none.
      this.members.set({ id, name, peerUrls, clientUrls, ...(region !== undefined && { region }) });
    }
    return { type: 'member', id };
  }
}

/** Finds out, from the rows of a restore, which keys are attached to which lease (RELIABILITY P58). */
class Restore {
  readonly #leaseOfKey = new Map<string, bigint>();

  row({ key, lease }: Row): void {
    if (lease !== 0n) this.#leaseOfKey.set(key.toString('latin1'), lease);
    else if (this.#leaseOfKey.size > 0) this.#leaseOfKey.delete(key.toString('latin1'));
  }

  /** @throws StoreError `data-dir-corrupt` when a key's lease is missing */
  attach(lessor: Lessor): void {
    for (const [key, lease] of this.#leaseOfKey) {
      if (!lessor.has(lease)) throw new StoreError('data-dir-corrupt', 'a key has a lease that is not there');
      lessor.attach(lease, Buffer.from(key, 'latin1'));
    }
  }
}

type DataOperation = Exclude<Operation, MembershipOperation>;

/** All but those on keys. */
type OtherOperation = Exclude<DataOperation, { readonly type: 'put' | 'delete-range' | 'txn' }>;

interface CommandContext {
  readonly proposal: ProposalId | null;
  readonly entry: Entry;
  readonly principal: Principal;
}

interface Execution {
  readonly proposal: ProposalId | null;
  readonly outcome: Outcome;
  readonly events: readonly KvEvent[];
  readonly confChange: ConfChange | null;
}

const DONE = { proposal: null, events: [], confChange: null } as const;

function succeeded(result: CommandResult): Outcome {
  return { ok: true, result };
}

function failed(code: StoreErrorCode): Outcome {
  return { ok: false, code };
}

function isOwnFailure(code: StoreErrorCode): boolean {
  return code === 'storage' || code === 'data-dir-corrupt';
}

function votersOnly(members: readonly MemberRecord[]): ConfState {
  const voters = members.map(({ id }) => id).sort((a, b) => a - b);
  return { voters, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
}

/** Between equal markers nothing was applied; the configuration changes only with an entry. */
function sameMarker(a: StateMarker, b: StateMarker): boolean {
  return (
    a.appliedIndex === b.appliedIndex &&
    a.hashCompactRevision === b.hashCompactRevision &&
    a.confState === b.confState
  );
}
