import type { RaftLog } from '../../../src/core/raft/log.ts';
import type { MemberId, Message } from '../../../src/core/raft/messages.ts';
import type { RaftRun, RaftRuns } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';

/** What a follower has verified of the log of the leader of its term. */
interface Verified {
  term: number;
  index: number;
  commit: number;
  /** Whether the append being taken follows an entry that is there. */
  fits: boolean;
}

/**
 * The commit rules, at every step of every member's commit index:
 *
 * - quorum log (RELIABILITY R6): what a leader commits is durable on a majority of the voters of each half of its
 *   configuration, learners not counted, at that very moment;
 * - commit rule (R9): a leader commits by counting only an entry of its own term, a follower commits only what it has
 *   verified against the leader of its term, and only what some leader has committed; and a leader commits what it
 *   knows a majority of its voters to have, as soon as it knows (R10, R15: nobody else is counted, nobody waited for);
 * - state-machine safety (R7) before anything is applied: an index is committed with one term, ever;
 * - leader completeness (R5): a new leader has everything that was committed in earlier terms. (One that was elected
 *   long ago and hears of it late may lack what a later term has committed meanwhile: nobody follows it.)
 * - monotonicity (R8): a commit index never falls, a snapshot's arrival included.
 */
export class Commits {
  /** Terms of the entries committed anywhere, by index. */
  readonly #terms: number[] = [];
  /** The highest index that the leader of each term has committed. */
  readonly #lastOfTerm = new Map<number, number>();
  /** What a member with a spoilt disk has committed: where the rot does no harm it may even lead. */
  #lastOfSpoilt = 0;
  readonly #verified = new WeakMap<RaftRun, Verified>();
  readonly #runs: RaftRuns;
  readonly #report: Report;

  constructor(runs: RaftRuns, report: Report) {
    this.#runs = runs;
    this.#report = report;
  }

  /** The highest index committed anywhere. */
  get last(): number {
    return Math.max(0, this.#terms.length - 1);
  }

  termAt(index: number): number | undefined {
    return this.#terms[index];
  }

  /** What a start found committed. */
  created(run: RaftRun): void {
    const { log } = run.raft;
    this.#verified.set(run, { term: 0, index: 0, commit: 0, fits: false });
    if (run.isSpoilt) return;
    // The first members begin with a state that no entry made.
    if (this.last < log.compacted.index && log.compacted.index === 1) this.#terms[1] = log.compacted.term;
    this.#compare(run, { from: log.firstIndex, to: log.commit });
  }

  committed(run: RaftRun, log: RaftLog, before: number): void {
    const { raft, name } = run;
    const index = log.commit;
    if (run.isSpoilt) {
      this.#lastOfSpoilt = Math.max(this.#lastOfSpoilt, index);
      return;
    }
    if (index < before) this.#fail(`${name}'s commit index falls from ${before} to ${index}`);
    if (raft.role === 'leader') {
      this.#checkLeader(run, index);
      this.#lastOfTerm.set(raft.term, index);
    }
    if (raft.role !== 'leader' && index > Math.max(this.last, this.#lastOfSpoilt)) {
      this.#fail(`${name} commits ${index} as a ${raft.role}; no leader has committed beyond ${this.last}`);
    }
    this.#compare(run, { from: Math.max(before + 1, log.compacted.index), to: index });
  }

  becameLeader(run: RaftRun): void {
    if (run.isSpoilt) return;
    const { log, term } = run.raft;
    let last = 0;
    for (const [earlier, index] of this.#lastOfTerm) if (earlier < term) last = Math.max(last, index);
    if (last < log.firstIndex) return;
    const own = log.term(last);
    if (own === this.#terms[last]) return;
    const text = own === undefined ? 'lacks it' : `has term ${own} there`;
    this.#fail(
      `${run.name} leads term ${term}, but ${last} was committed in term ${this.#terms[last]} and it ${text}`,
    );
  }

  stepping(run: RaftRun, message: Message): void {
    const verified = this.#verified.get(run)!;
    const { log } = run.raft;
    verified.commit = log.commit;
    if (message.type === 'append') verified.fits = log.term(message.prevIndex) === message.prevTerm;
  }

  stepped(run: RaftRun, message: Message): void {
    if (message.type === 'append-response' && run.raft.role === 'leader') this.#checkProgress(run);
    if (message.type !== 'append' && message.type !== 'heartbeat' && message.type !== 'snapshot') return;
    const { raft, name, isSpoilt } = run;
    const { log } = raft;
    if (message.term !== raft.term || raft.leader !== message.from) return;
    const verified = this.#verified.get(run)!;
    if (verified.term !== raft.term) Object.assign(verified, { term: raft.term, index: 0 });
    if (message.type === 'append' && verified.fits) {
      let index = message.prevIndex;
      for (const entry of message.entries) if (log.term(entry.index) === entry.term) index = entry.index;
      verified.index = Math.max(verified.index, index);
    } else if (message.type === 'snapshot' && message.snapshot.index <= log.commit) {
      verified.index = Math.max(verified.index, message.snapshot.index);
    }
    if (isSpoilt || log.commit <= verified.commit || log.commit <= verified.index) return;
    this.#fail(
      `${name} commits ${log.commit} (on ${message.type}, term ${raft.term}), ` +
        `it has verified its log only up to ${verified.index} against that term's leader`,
    );
  }

  #checkProgress({ name, raft, isSpoilt }: RaftRun): void {
    const { conf, log, term, progress } = raft;
    const index = Math.min(
      ...[conf.voters, conf.votersOutgoing]
        .filter((voters) => voters.length > 0)
        .map((voters) => {
          const matches = voters.map((id) => progress.get(id)?.match ?? 0).toSorted((a, b) => b - a);
          return matches[voters.length >> 1]!;
        }),
    );
    if (isSpoilt || index <= log.commit || log.term(index) !== term) return;
    this.#fail(
      `${name}, leader of term ${term}, knows that a majority of its voters has ${index}, and commits ${log.commit}`,
    );
  }

  #checkLeader({ name, raft }: RaftRun, index: number): void {
    const { conf, log, term } = raft;
    const entryTerm = log.term(index)!;
    if (entryTerm !== term) {
      this.#fail(
        `${name}, leader of term ${term}, commits ${index} of term ${entryTerm} by counting replicas`,
      );
    }
    const holds = (id: MemberId): boolean => this.#runs.holds(id, { index, term: entryTerm });
    for (const voters of [conf.voters, conf.votersOutgoing]) {
      const holders = voters.filter(holds).length;
      if (voters.length === 0 || 2 * holders > voters.length) continue;
      this.#fail(
        `${name}, leader of term ${term}, commits ${index}, which is durable on ${holders} of ${voters.length} voters`,
      );
    }
  }

  #compare(run: RaftRun, { from, to }: { readonly from: number; readonly to: number }): void {
    const { log } = run.raft;
    for (let index = from; index <= to; index++) {
      const term = log.term(index);
      if (term === undefined) continue;
      const known = this.#terms[index];
      if (known === undefined) this.#terms[index] = term;
      else if (known !== term)
        this.#fail(`${run.name} commits ${index} of term ${term}, it was committed in term ${known}`);
    }
  }

  #fail(message: string): void {
    this.#report(new Violation('commit', message));
  }
}
