import type { MemberId } from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberInfo } from './membership.ts';
import type { Ask, PeerAnswer } from './peer-requests.ts';
import type { Clock } from './ports.ts';

/** Rest between two rounds of questions. */
const ROUND_PAUSE_MS = 500;

export interface TailCheckOptions {
  readonly self: MemberId;
  readonly node: RawNode;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly members: () => readonly MemberInfo[];
  /** The last sequence number and index that the log had after the cut. */
  readonly logSeq: number;
  readonly lastIndex: number;
  readonly confirm: () => Promise<void>;
  readonly ask: Ask;
}

/**
 * For a member that found a torn record at the end of its log and cut it. A torn record was never acknowledged,
 * unless the disk lied; so the member neither votes nor campaigns until enough of its peers, one in every majority,
 * have said that they know of no acknowledgement beyond what it has. Nobody waits for a peer whose removal is
 * committed: it may have been switched off since, and its word counts in no majority. (That its log reaches back as
 * far as at its last start, its peers check whenever it connects: see `MetPeers`.)
 *
 * @throws StoreError `data-dir-corrupt` when a peer knows of more; `canceled`
 */
export async function confirmCutTail(options: TailCheckOptions, signal: CancelSignal): Promise<void> {
  const { node, clock, logger, self } = options;
  node.setVotingAllowed(false);
  logger.warn({ logSeq: options.logSeq }, 'a torn log record was cut: not voting until the peers confirm');
  const confirmed = new Set<MemberId>();
  const removed = new Set<MemberId>();
  const isVoter = ({ id, isLearner }: MemberInfo): boolean => !isLearner && !removed.has(id);
  while (!signal.aborted) {
    for (const { id } of options.members().filter(isVoter)) {
      if (id === self || confirmed.has(id)) continue;
      const answer = await check(options, id, signal);
      if (answer === null) continue;
      confirmed.add(id);
      for (const gone of answer.removed) removed.add(gone);
    }
    const voters = options.members().filter(isVoter);
    const others = voters.filter((member) => member.id !== self);
    const majority = Math.floor(voters.length / 2) + 1;
    const count = others.filter(({ id }) => confirmed.has(id)).length;
    if (count >= Math.min(others.length, voters.length - majority + 1)) {
      await options.confirm();
      node.setVotingAllowed(true);
      logger.info({ logSeq: options.logSeq }, 'the peers confirmed the cut: voting again');
      return;
    }
    await new Promise<void>((resolve) => void clock.setTimer(resolve, ROUND_PAUSE_MS));
  }
}

/** The peer's answer, when it confirms; null when there is none. */
async function check(
  options: TailCheckOptions,
  peer: MemberId,
  signal: CancelSignal,
): Promise<PeerAnswer<'tail-check'> | null> {
  const { node, lastIndex, ask } = options;
  const before = node.status().lastIndex;
  let answer: PeerAnswer<'tail-check'>;
  try {
    answer = await ask(peer, { type: 'tail-check' }, signal);
  } catch (error) {
    if (error instanceof StoreError) return null;
    throw error;
  }
  // Meanwhile it goes on taking entries and acknowledging them: those are no news.
  if (answer.acknowledged > Math.max(lastIndex, before, node.status().lastIndex))
    throw new StoreError('data-dir-corrupt', 'the log lost a record that a peer had an acknowledgement of');
  return answer;
}
