import { type MemberId, NO_MEMBER, type VoteRequest, type VoteResponse } from './messages.ts';
import { voteOutcome } from './quorum.ts';
import type { Raft } from './raft.ts';

/** `transfer` skips the pre-vote, since the leader itself asked for the campaign (thesis 3.10). */
export type CampaignKind = 'pre-vote' | 'vote' | 'transfer';

/** An election timeout passed without a leader. A member that may not campaign at least stops naming the old one. */
export function timeOut(raft: Raft): void {
  if (raft.role === 'leader') return;
  if (mayCampaign(raft)) campaign(raft, 'pre-vote');
  else raft.becomeFollower(raft.term, NO_MEMBER);
}

/**
 * Begins a campaign, unless this member may not: it is the leader, no voter, not allowed to vote, or it knows of
 * committed membership changes that it has not applied, and so might count the wrong quorum.
 */
export function campaign(raft: Raft, kind: CampaignKind): void {
  if (!mayCampaign(raft)) return;
  if (kind === 'pre-vote') raft.becomePreCandidate();
  else raft.becomeCandidate();
  requestVotes(raft, kind);
  settle(raft);
}

/** Whether a vote request must be ignored because a leader was heard within an election timeout (thesis 4.2.3). */
export function hasRecentLeader(raft: Raft): boolean {
  return raft.leader !== NO_MEMBER && raft.electionElapsed < raft.options.electionTicks;
}

/**
 * Decides on a vote or pre-vote at or above the own term. Learners vote too: the candidate may know of their promotion
 * before they do. A vote is repeated to the same candidate, so that a lost answer stalls nobody.
 */
export function handleVote(raft: Raft, request: VoteRequest): void {
  const isFree = raft.vote === NO_MEMBER && raft.leader === NO_MEMBER;
  const canVote = raft.vote === request.from || isFree || (request.preVote && request.term > raft.term);
  const granted =
    raft.votingAllowed &&
    canVote &&
    raft.log.isUpToDate({ index: request.lastIndex, term: request.lastTerm });
  if (granted && !request.preVote) {
    raft.vote = request.from;
    raft.electionElapsed = 0;
  }
  // A granted pre-vote is for the term asked about; a refusal carries the own term, so that the asker can step up.
  answerVote(raft, { request, granted, term: granted ? request.term : raft.term });
}

/** Answers a request of an older term: its sender would otherwise never learn that it is behind. */
export function refuseOldVote(raft: Raft, request: VoteRequest): void {
  answerVote(raft, { request, granted: false, term: raft.term });
}

export function handleVoteResponse(raft: Raft, response: VoteResponse): void {
  if (!response.granted) learnCommit(raft, response);
  if (raft.role !== (response.preVote ? 'pre-candidate' : 'candidate')) return;
  // A granted pre-vote for another term answers an earlier campaign.
  if (response.preVote && response.granted && response.term !== raft.term + 1) return;
  countVote(raft, { from: response.from, granted: response.granted });
}

/**
 * Who refuses says what it knows to be committed. A leader that has left a joint configuration and is no voter any more
 * can neither campaign nor, with a longer log, vote; the others, who do not know yet that they may leave it too, need
 * its vote for ever unless it tells them.
 */
function learnCommit(raft: Raft, { commit, commitTerm }: VoteResponse): void {
  const { log } = raft;
  if (raft.role === 'leader' || commit <= log.commit) return;
  if (log.matches({ index: commit, term: commitTerm })) log.commitTo(commit);
  // The votes are those of a configuration that may be over.
  if (raft.role !== 'follower' && hasUnappliedConfChange(raft)) raft.becomeFollower(raft.term, NO_MEMBER);
}

/** The own vote of `term` is on disk: now it counts. */
export function countSelfVote(raft: Raft, term: number): void {
  if (raft.term !== term || raft.role !== 'candidate') return;
  countVote(raft, { from: raft.id, granted: true });
}

function countVote(raft: Raft, vote: { readonly from: MemberId; readonly granted: boolean }): void {
  if (!raft.votes.has(vote.from)) raft.votes.set(vote.from, vote.granted);
  settle(raft);
}

function settle(raft: Raft): void {
  switch (voteOutcome(raft.conf, raft.votes)) {
    case 'pending':
      return;
    case 'lost':
      raft.becomeFollower(raft.term, NO_MEMBER);
      return;
    case 'won':
      if (raft.role === 'pre-candidate') campaign(raft, 'vote');
      else raft.becomeLeader();
  }
}

function requestVotes(raft: Raft, kind: CampaignKind): void {
  const preVote = kind === 'pre-vote';
  for (const to of new Set([...raft.conf.voters, ...raft.conf.votersOutgoing])) {
    if (to === raft.id) continue;
    const request: VoteRequest = {
      type: 'vote',
      from: raft.id,
      to,
      term: preVote ? raft.term + 1 : raft.term,
      preVote,
      lastIndex: raft.log.lastIndex,
      lastTerm: raft.log.lastTerm,
      transfer: kind === 'transfer',
    };
    // A vote is asked for only once the term and the log it vouches for are durable. Else a crash could bring the
    // candidate back with a shorter log, campaigning in the same term, and an answer to the first request would
    // elect it.
    if (preVote) raft.send(request);
    else raft.sendAfterAppend(request);
  }
}

function answerVote(
  raft: Raft,
  answer: { readonly request: VoteRequest; readonly granted: boolean; readonly term: number },
): void {
  const { request, granted, term } = answer;
  const { commit } = raft.log;
  raft.sendAfterAppend({
    type: 'vote-response',
    from: raft.id,
    to: request.from,
    term,
    preVote: request.preVote,
    granted,
    commit: granted ? 0 : commit,
    commitTerm: granted ? 0 : (raft.log.term(commit) ?? 0),
  });
}

function mayCampaign(raft: Raft): boolean {
  return raft.role !== 'leader' && raft.isPromotable && !hasUnappliedConfChange(raft);
}

function hasUnappliedConfChange(raft: Raft): boolean {
  const from = Math.max(raft.applied, raft.confIndex) + 1;
  const unapplied = raft.log.slice({ from, to: raft.log.commit, bytesMax: Infinity });
  return unapplied.some((entry) => entry.kind === 'conf-change');
}
