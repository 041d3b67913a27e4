import type { RaftLog } from '../../../src/core/raft/log.ts';
import type { MemberId, Message } from '../../../src/core/raft/messages.ts';
import type { Raft } from '../../../src/core/raft/raft.ts';
import type { LogRecord } from '../../../src/member/ports.ts';
import type { SimProcess } from '../process.ts';
import { hex, type RaftRun, type RaftRuns } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';
import type { Commits } from './commits.ts';

/**
 * What a member says is durable before it says so (RELIABILITY R2, R6): a vote given or asked for, an entry
 * acknowledged, an entry that its own Raft takes for durable. And what was acknowledged or committed stays (R12): no
 * truncation and no snapshot takes it away, and no start (S1, S2, S4): it finds the term, the vote and every committed
 * entry that were there.
 */
export class DurablePromises {
  readonly #runs: RaftRuns;
  readonly #commits: Commits;
  readonly #report: Report;
  /** Up to where each member has acknowledged the log of the leader of a term. */
  readonly #acked = new Map<MemberId, { readonly term: number; readonly index: number }>();

  constructor(runs: RaftRuns, commits: Commits, report: Report) {
    this.#runs = runs;
    this.#commits = commits;
    this.#report = report;
  }

  /**
   * A member starts with what it found on its disk. To be called before that counts as all that it holds. Entries that
   * nobody committed may be gone: a write that replaced them may have been under way.
   */
  starting(raft: Raft, process: SimProcess): void {
    const kept = this.#runs.keptFor(raft, process);
    if (kept === null) return;
    const { log, term, vote } = raft;
    const { name } = process;
    if (term < kept.term || (term === kept.term && kept.vote !== 0 && vote !== kept.vote)) {
      this.#fail(
        `${name} starts in term ${term} with vote ${hex(vote)}, on its disk were ${kept.term} and ${hex(kept.vote)}`,
      );
    }
    if (log.lastIndex < kept.compacted) {
      this.#fail(`${name} starts with a log up to ${log.lastIndex}, its state had come to ${kept.compacted}`);
    }
    for (let index = Math.max(kept.compacted, log.compacted.index) + 1; index <= kept.last; index++) {
      const committed = this.#commits.termAt(index);
      if (kept.termAt(index) !== committed || log.term(index) === committed) continue;
      this.#fail(
        `${name} starts without ${index} of term ${committed}, which was on its disk and is committed`,
      );
      return;
    }
  }

  /** A message leaves a member. */
  said(message: Message): void {
    if (message.type === 'vote' && !message.preVote) this.#vote(message, message.from);
    else if (message.type === 'vote-response' && !message.preVote && message.granted)
      this.#vote(message, message.to);
    else if (message.type === 'append-response' && !message.reject) this.#acknowledgement(message);
  }

  /** A leader has taken an acknowledgement: what it believes of the member is true. */
  stepped(run: RaftRun, message: Message): void {
    const { raft, name } = run;
    if (message.type !== 'append-response' || raft.role !== 'leader') return;
    const { from } = message;
    const index = raft.progress.get(from)?.match ?? 0;
    const term = raft.log.term(index);
    // A member of a newer term may have given up what it acknowledged in this one, which is over then.
    if (term === undefined || index === 0 || this.#runs.durableTerm(from) > raft.term) return;
    if (this.#runs.member(from) === undefined || this.#runs.holds(from, { index, term })) return;
    this.#fail(
      `${name}, leader of term ${raft.term}, believes that ${hex(from)} has its log up to ${index} of term ${term}, it has not`,
    );
  }

  /** A member takes a part of its log for durable. */
  stabilized(run: RaftRun, log: RaftLog): void {
    const term = log.term(log.stable);
    if (run.isSpoilt || term === undefined || run.disk.covers(log.stable, term)) return;
    this.#fail(
      `${run.name} takes ${log.stable} of term ${term} for durable, on its disk is ${describe(run.disk.termAt(log.stable))}`,
    );
  }

  /** Something was written to a member's log on disk. To be called before that counts as there. */
  recording(run: RaftRun, { hardState, entries, snapshot }: LogRecord): void {
    if (run.isSpoilt) return;
    const { disk, name, raft } = run;
    const first = entries[0]?.index;
    if (snapshot === null && first === undefined) return;
    const keptTo = snapshot === null ? first! - 1 : snapshot.index;
    const last = entries.at(-1)?.index ?? keptTo;
    const acked = this.#acked.get(raft.id);
    const term = hardState?.term ?? disk.term;
    const what = snapshot === null ? 'a truncation' : `a snapshot at ${snapshot.index}`;
    if (acked?.term === term && last < acked.index) {
      this.#fail(
        `${name} ends its log at ${last} by ${what}, it has acknowledged ${acked.index} in term ${term}`,
      );
    }
    for (let index = keptTo + 1; index <= Math.min(disk.last, this.#commits.last); index++) {
      const committed = this.#commits.termAt(index);
      const after = entries[index - (first ?? 0)]?.term;
      if (disk.termAt(index) !== committed || after === committed) continue;
      this.#fail(`${name} loses ${index} of term ${committed} by ${what}, but that is committed`);
      return;
    }
  }

  #vote({ from, term }: Message, candidate: MemberId): void {
    const run = this.#runs.member(from);
    if (run === undefined || run.isSpoilt) return;
    const { disk } = run;
    if (disk.term > term || (disk.term === term && disk.vote === candidate)) return;
    const verb = from === candidate ? 'asks for votes' : `votes for ${hex(candidate)}`;
    this.#fail(
      `${run.name} ${verb} in term ${term}, on its disk is term ${disk.term}, vote ${disk.vote === 0 ? '-' : hex(disk.vote)}`,
    );
  }

  #acknowledgement({ from, term, index }: Message & { readonly type: 'append-response' }): void {
    const run = this.#runs.member(from);
    if (run === undefined || run.isSpoilt) return;
    const { disk, name } = run;
    // The promise of a term that is over here binds nobody any more.
    if (disk.term > term) return;
    const entryTerm = this.#runs.leaderOf(term)?.raft.log.term(index);
    const isThere = entryTerm === undefined ? disk.last >= index : disk.covers(index, entryTerm);
    if (disk.term < term || !isThere) {
      this.#fail(
        `${name} acknowledges ${index} in term ${term}, on its disk is term ${disk.term} and ${describe(disk.termAt(index))} there`,
      );
    }
    const before = this.#acked.get(from);
    if (before === undefined || before.term < term || before.index < index) {
      this.#acked.set(from, { term, index });
    }
  }

  #fail(message: string): void {
    this.#report(new Violation('durable', message));
  }
}

function describe(term: number | undefined): string {
  return term === undefined ? 'nothing' : `an entry of term ${term}`;
}
