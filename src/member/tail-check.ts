import type { MemberId } from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberInfo } from './membership.ts';
import type { Ask } from './peer-requests.ts';
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
 * have said that they know of no acknowledgement beyond what it has. (That its log reaches back as far as at its
 * last start, its peers check whenever it connects: see `MetPeers`.)
 *
 * @throws StoreError `data-dir-corrupt` when a peer knows of more; `canceled`
 */
export async function confirmCutTail(options: TailCheckOptions, signal: CancelSignal): Promise<void> {
  const { node, clock, logger, self } = options;
  node.setVotingAllowed(false);
  logger.warn({ logSeq: options.logSeq }, 'a torn log record was cut: not voting until the peers confirm');
  const confirmed = new Set<MemberId>();
  while (!signal.aborted) {
    const voters = options.members().filter((member) => !member.isLearner);
    const others = voters.filter((member) => member.id !== self);
    const majority = Math.floor(voters.length / 2) + 1;
    for (const { id } of others) {
      if (!confirmed.has(id) && (await isConfirmed(options, id, signal))) confirmed.add(id);
    }
    if (confirmed.size >= Math.min(others.length, voters.length - majority + 1)) {
      await options.confirm();
      node.setVotingAllowed(true);
      logger.info({ logSeq: options.logSeq }, 'the peers confirmed the cut: voting again');
      return;
    }
    await new Promise<void>((resolve) => void clock.setTimer(resolve, ROUND_PAUSE_MS));
  }
}

async function isConfirmed(
  options: TailCheckOptions,
  peer: MemberId,
  signal: CancelSignal,
): Promise<boolean> {
  const { node, lastIndex, ask } = options;
  const before = node.status().lastIndex;
  let acknowledged: number;
  try {
    acknowledged = await ask(peer, { type: 'tail-check' }, signal);
  } catch (error) {
    if (error instanceof StoreError) return false;
    throw error;
  }
  // Meanwhile it goes on taking entries and acknowledging them: those are no news.
  if (acknowledged > Math.max(lastIndex, before, node.status().lastIndex))
    throw new StoreError('data-dir-corrupt', 'the log lost a record that a peer had an acknowledgement of');
  return true;
}
