import type {
  AppendRequest,
  Entry,
  EntryKind,
  Heartbeat,
  Message,
  VoteRequest,
  VoteResponse,
} from '../../../src/core/raft/messages.ts';
import { bootstrapDisk, TestMember, testOptions } from './test-member.ts';

/** Entries from `first` on, one per term given; the data names term and index. */
export function entriesOf(
  first: number,
  terms: readonly number[],
  kind: EntryKind = 'normal',
): readonly Entry[] {
  return terms.map((term, at) => ({
    index: first + at,
    term,
    kind,
    data: Buffer.from(`${term}/${first + at}`),
  }));
}

/** Member 1 of three, whose log holds entries of the given terms from index 2 on and whose term is the last of them. */
export function lonelyMember(terms: readonly number[] = []): TestMember {
  const disk = bootstrapDisk([1, 2, 3]);
  disk.entries = [...entriesOf(2, terms)];
  disk.hardState = { term: terms.at(-1) ?? 1, vote: 0, commit: 1 };
  return new TestMember(testOptions(1), disk);
}

/** Everything the member sends once all it has to do is done. */
export function sentBy(member: TestMember): readonly Message[] {
  member.processAll();
  return member.outbox.splice(0);
}

export function voteRequest(fields: Partial<VoteRequest> = {}): VoteRequest {
  return {
    type: 'vote',
    from: 2,
    to: 1,
    term: 2,
    preVote: false,
    lastIndex: 1,
    lastTerm: 1,
    transfer: false,
    ...fields,
  };
}

export function voteResponse(fields: Partial<VoteResponse> = {}): VoteResponse {
  return {
    type: 'vote-response',
    from: 2,
    to: 1,
    term: 2,
    preVote: true,
    granted: true,
    commit: 0,
    commitTerm: 0,
    ...fields,
  };
}

export function appendRequest(fields: Partial<AppendRequest> = {}): AppendRequest {
  return {
    type: 'append',
    from: 2,
    to: 1,
    term: 2,
    prevIndex: 1,
    prevTerm: 1,
    entries: [],
    commit: 1,
    ...fields,
  };
}

export function heartbeat(fields: Partial<Heartbeat> = {}): Heartbeat {
  return { type: 'heartbeat', from: 2, to: 1, term: 2, commit: 1, readSeq: 0, ...fields };
}
