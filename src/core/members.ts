import { assert } from '../lib/assert.ts';
import type { StoreErrorCode } from '../lib/errors.ts';
import type { MemberRecord, NewMember } from './command.ts';
import type { ConfState, MemberId } from './raft/messages.ts';
import type { TableRow } from './state.ts';
import type { TableChanges } from './table-changes.ts';
import { type MemberEntry, memberRow, readMemberRow } from './table-rows.ts';

/** A member with its part in the configuration. */
export interface MemberView extends MemberRecord {
  readonly isLearner: boolean;
}

/**
 * Who belongs to the cluster: names and addresses. Who votes is the configuration's matter; `views` brings both
 * together. Ids of removed members are remembered: an id never returns.
 */
export class MemberTable {
  readonly #changes: TableChanges;
  readonly #entries = new Map<MemberId, MemberEntry>();
  /** Made when they are first asked for after a change: much asks for them, and they seldom change. */
  #list: readonly MemberRecord[] | null = null;
  #views: { readonly of: ConfState; readonly views: readonly MemberView[] } | null = null;

  constructor(changes: TableChanges) {
    this.#changes = changes;
  }

  get(id: MemberId): MemberRecord | undefined {
    const entry = this.#entries.get(id);
    return entry === undefined || 'removed' in entry ? undefined : entry;
  }

  wasRemoved(id: MemberId): boolean {
    const entry = this.#entries.get(id);
    return entry !== undefined && 'removed' in entry;
  }

  /** Ids of removed members, ascending. */
  removed(): readonly MemberId[] {
    return [...this.#entries.keys()].filter((id) => this.wasRemoved(id)).sort((a, b) => a - b);
  }

  /** Present members by ascending id. */
  list(): readonly MemberRecord[] {
    if (this.#list !== null) return this.#list;
    const present: MemberRecord[] = [];
    for (const entry of this.#entries.values()) if (!('removed' in entry)) present.push(entry);
    this.#list = present.sort((a, b) => a.id - b.id);
    return this.#list;
  }

  /** The same array until the members or the configuration change. */
  views(confState: ConfState): readonly MemberView[] {
    if (this.#views?.of === confState) return this.#views.views;
    const learners = new Set([...confState.learners, ...confState.learnersNext]);
    const views = this.list().map((member) => ({ ...member, isLearner: learners.has(member.id) }));
    this.#views = { of: confState, views };
    return views;
  }

  /**
   * Why a member cannot be added, or null: `member-exists` (also for an id that was removed), `member-bad-urls`
   * without peer addresses, `peer-url-exists` when another member has one of them.
   */
  refusal(member: NewMember): StoreErrorCode | null {
    return this.#entries.has(member.id) ? 'member-exists' : this.urlRefusal(member);
  }

  /** Why a member cannot have these peer addresses, or null; codes as in `refusal`. */
  urlRefusal({
    id,
    peerUrls,
  }: {
    readonly id: MemberId;
    readonly peerUrls: readonly string[];
  }): StoreErrorCode | null {
    if (peerUrls.length === 0) return 'member-bad-urls';
    const taken = this.list().some(
      (other) => other.id !== id && other.peerUrls.some((url) => peerUrls.includes(url)),
    );
    return taken ? 'peer-url-exists' : null;
  }

  /** Adds a member or replaces its record. */
  set(member: MemberRecord): void {
    assert(!this.wasRemoved(member.id), 'a removed member never returns');
    this.#replace(member);
  }

  remove(id: MemberId): void {
    assert(this.get(id) !== undefined, 'a removed member was there');
    this.#replace({ id, removed: true });
  }

  rows(): readonly TableRow[] {
    return [...this.#entries.values()].sort((a, b) => a.id - b.id).map(memberRow);
  }

  /** @throws MalformedError */
  restore(row: TableRow): void {
    this.#put(readMemberRow(row));
  }

  clear(): void {
    this.#entries.clear();
    this.#forget();
  }

  #replace(entry: MemberEntry): void {
    const before = this.#entries.get(entry.id);
    this.#put(entry);
    this.#changes.change(before === undefined ? null : memberRow(before), memberRow(entry));
  }

  #put(entry: MemberEntry): void {
    this.#entries.set(entry.id, entry);
    this.#forget();
  }

  #forget(): void {
    this.#list = null;
    this.#views = null;
  }
}
