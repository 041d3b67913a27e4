import type { FreshLease } from '../../src/client/fresh-lease.ts';
import type { WatchDelivery, WatchOptions } from '../../src/core/watch/hub.ts';
import { refusalOf } from '../../src/member/auth/watch-guard.ts';
import type { Acknowledgements } from './checkers/acknowledgements.ts';
import type { AppliedLog } from './checkers/applied-log.ts';
import { CacheAge } from './checkers/cache-age.ts';
import { WatchValidator } from './checkers/watch-validator.ts';
import type { Prng } from './prng.ts';
import type { Report } from './violation.ts';

/** How often a cache begins behind or ahead of what there is, and by how many revisions at most. */
const BEGIN_ELSEWHERE_PERCENT = 30;
const BEHIND_MAX = 30;
const AHEAD_MAX = 5;

export interface CachedRangeParts {
  readonly name: string;
  readonly options: Omit<WatchOptions, 'startRevision'>;
  readonly lease: FreshLease;
  readonly boundMs: number;
  readonly random: Prng;
  readonly log: AppliedLog;
  readonly acknowledgements: Acknowledgements;
  readonly report: Report;
}

/** What one watch of a caching client knows, over all the streams that it goes on, and the checkers that hold it to that. */
export class CachedRange {
  readonly lease: FreshLease;
  readonly age: CacheAge;
  renewalCount = 0;
  readonly #parts: CachedRangeParts;
  #validator: WatchValidator | null = null;
  #isSettled = false;
  #isFresh = false;

  constructor(parts: CachedRangeParts) {
    this.#parts = parts;
    this.lease = parts.lease;
    const { name, boundMs, acknowledgements, report } = parts;
    const isComplete = (revision: number): boolean => this.#validator?.missingCount(revision) === 0;
    this.age = new CacheAge({ name, boundMs, isComplete }, acknowledgements, report);
  }

  get watchId(): bigint {
    return this.#parts.options.watchId;
  }

  /** Whether its lease was renewed since it settled. */
  get isFresh(): boolean {
    return this.#isFresh;
  }

  settled(): void {
    this.#isSettled = true;
    this.#isFresh = false;
  }

  /** To be created at a member whose state is at this revision: behind what is known, or at first anywhere near. */
  begin(current: number, isSettled: boolean): WatchOptions {
    const { options, log, report, name } = this.#parts;
    if (this.#validator !== null) return { ...options, startRevision: this.#validator.covered + 1 };
    const startRevision = isSettled ? current + 1 : this.#firstStart(current);
    this.#validator = new WatchValidator({
      name,
      options: { ...options, startRevision },
      startRevision,
      log,
      report,
    });
    return { ...options, startRevision };
  }

  /** Before anything changes: judges the lease up to now. */
  look(nowMs: number): void {
    this.age.look(nowMs);
  }

  delivered(delivery: WatchDelivery, nowMs: number): void {
    if (delivery.type !== 'canceled') {
      this.#validator?.delivered(delivery);
      return;
    }
    // Who may not watch goes on, once he may, from where it was: what it knows does not change.
    if (refusalOf(delivery.reason) !== undefined) return;
    this.#validator?.delivered(delivery);
    this.age.lost(nowMs);
    this.lease.end();
    this.#validator?.restart(delivery.compactRevision);
  }

  /** The lease holds before this instant of true time. */
  renewed(nowMs: number, untilMs: number): void {
    this.age.renewed(nowMs, untilMs);
    this.renewalCount += 1;
    if (this.#isSettled) this.#isFresh = true;
  }

  #firstStart(current: number): number {
    const { random } = this.#parts;
    if (!random.chance(BEGIN_ELSEWHERE_PERCENT)) return current + 1;
    return Math.max(1, current + 1 + random.between(-BEHIND_MAX, AHEAD_MAX));
  }
}
