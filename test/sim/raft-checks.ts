import type { RaftLog } from '../../src/core/raft/log.ts';
import type { Entry, Message } from '../../src/core/raft/messages.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import type { LogRecord } from '../../src/member/ports.ts';
import { Campaigns } from './checkers/campaigns.ts';
import { Commits } from './checkers/commits.ts';
import { Configurations } from './checkers/configurations.ts';
import { DurablePromises } from './checkers/durable-promises.ts';
import { LogMatching } from './checkers/log-matching.ts';
import { OlderTerms } from './checkers/older-terms.ts';
import type { SimProcess } from './process.ts';
import { type RaftRun, RaftRuns } from './raft-runs.ts';
import type { RaftListener } from './raft-spy.ts';
import type { Report } from './violation.ts';

/** What else wants to know of Raft's inner events: the faults that wait for their moment. */
export interface RaftAudience {
  created(run: RaftRun): void;
  committed(run: RaftRun): void;
  appended(run: RaftRun, entries: readonly Entry[]): void;
}

/** All checkers that look into Raft, fed with what the spy sees; every event belongs to the process that runs. */
export class RaftChecks implements RaftListener {
  readonly runs: RaftRuns;
  audience: RaftAudience | null = null;
  readonly #current: () => SimProcess | null;
  readonly #commits: Commits;
  readonly #promises: DurablePromises;
  readonly #matching: LogMatching;
  readonly #campaigns: Campaigns;
  readonly #configurations: Configurations;
  readonly #olderTerms: OlderTerms;

  constructor(parts: {
    readonly current: () => SimProcess | null;
    readonly isSpoilt: (process: SimProcess) => boolean;
    readonly report: Report;
  }) {
    const { report } = parts;
    this.#current = parts.current;
    this.runs = new RaftRuns(parts.isSpoilt);
    this.#commits = new Commits(this.runs, report);
    this.#promises = new DurablePromises(this.runs, this.#commits, report);
    this.#matching = new LogMatching(report);
    this.#campaigns = new Campaigns(report);
    this.#configurations = new Configurations(report);
    this.#olderTerms = new OlderTerms(report);
  }

  /** A message leaves a member. */
  said(message: Message): void {
    this.#promises.said(message);
  }

  created(raft: Raft): void {
    const process = this.#current();
    if (process === null) return;
    this.#promises.starting(raft, process);
    const run = this.runs.created(raft, process);
    this.#commits.created(run);
    this.audience?.created(run);
  }

  becameCandidate(preVote: boolean): void {
    const run = this.#run();
    if (run !== null) this.#campaigns.becameCandidate(run, preVote);
  }

  becameLeader(): void {
    const run = this.#run();
    if (run === null) return;
    this.#commits.becameLeader(run);
    this.#configurations.becameLeader(run);
  }

  stepping(message: Message): void {
    const run = this.#run();
    if (run === null) return;
    this.#commits.stepping(run, message);
    this.#campaigns.stepping(run);
    this.#configurations.stepping(run, message);
    this.#olderTerms.stepping(run, message);
  }

  stepped(message: Message): void {
    const run = this.#run();
    if (run === null) return;
    this.#commits.stepped(run, message);
    this.#olderTerms.stepped(run, message);
    this.#campaigns.stepped(run, message);
    this.#configurations.stepped(run, message);
    this.#promises.stepped(run, message);
  }

  committed(log: RaftLog, before: number): void {
    const run = this.#run();
    if (run === null) return;
    this.#commits.committed(run, log, before);
    this.audience?.committed(run);
  }

  appended(log: RaftLog, entries: readonly Entry[]): void {
    const run = this.#run();
    if (run === null) return;
    this.#matching.appended(run, log, entries);
    this.#configurations.appended(run, entries);
    this.audience?.appended(run, entries);
  }

  confChanged(): void {
    const run = this.#run();
    if (run !== null) this.#configurations.confChanged(run);
  }

  stabilized(log: RaftLog): void {
    const run = this.#run();
    if (run !== null) this.#promises.stabilized(run, log);
  }

  recorded(record: LogRecord): void {
    const run = this.#run();
    if (run === null) return;
    this.#promises.recording(run, record);
    run.disk.recorded(record);
  }

  #run(): RaftRun | null {
    const process = this.#current();
    return process === null ? null : (this.runs.of(process) ?? null);
  }
}
