import { rangeRequest } from '../../src/core/mvcc/operations.ts';
import type { WatchDelivery, WatchOptions } from '../../src/core/watch/hub.ts';
import { refusalOf } from '../../src/member/auth/watch-guard.ts';
import { describe } from '../linearizability/findings.ts';
import type { WatchHistory } from '../linearizability/history.ts';
import type { AppliedLog } from './checkers/applied-log.ts';
import type { Permissions, Reading } from './checkers/permissions.ts';
import { WatchValidator } from './checkers/watch-validator.ts';
import { pause } from './client.ts';
import type { Place } from './place.ts';
import type { Prng } from './prng.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import { type Report, Violation } from './violation.ts';
import { Arrivals, WatchAttachment } from './watch-attachment.ts';
import { WatchLog } from './watch-log.ts';

/** How far a delivery travels, in ms. */
const WAY_MS_MAX = 3;
/** How often it begins anew, far back, instead of where it left off. */
const BEGIN_ANEW_PERCENT = 20;
/** A client that hears nothing looks this often whether its member still runs. */
const LOOK_MS = 200;

export interface WatchClientParts {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly places: () => readonly Place[];
  readonly log: AppliedLog;
  readonly report: Report;
  readonly trace: Trace;
  readonly keys: number;
  readonly permissions: Permissions;
  /** Who it signs in as, where authentication is on. */
  readonly user: string;
}

/**
 * A client with one watch, held for the whole run: when its member dies, or when it likes, it goes on at another
 * from the revision after the last it has heard of everything.
 */
export class WatchClient {
  stopped = false;
  readonly #parts: WatchClientParts;
  readonly #options: Omit<WatchOptions, 'startRevision'>;
  #validator: WatchValidator | null = null;
  readonly #log: WatchLog;
  readonly #arrivals: Arrivals;
  #attachment: WatchAttachment | null = null;
  /** How far its member had applied when the watch was made. */
  #createdIndex = 0;
  #settledAt: Place | null = null;

  constructor(parts: WatchClientParts) {
    this.#parts = parts;
    const { random, keys } = parts;
    const key = `k${String(random.integer(keys)).padStart(2, '0')}`;
    this.#options = {
      watchId: BigInt(random.integer(1000)),
      key: Buffer.from(random.chance(50) ? 'k' : key),
      rangeEnd: Buffer.from(random.pick(['', '\0', 'k1', '\0'])),
      noPut: random.chance(10),
      noDelete: random.chance(10),
      prevKv: random.chance(50),
      progressNotify: random.chance(30),
    };
    this.#log = new WatchLog(this.#options);
    this.#arrivals = new Arrivals(parts.scheduler);
  }

  get eventCount(): number {
    return this.#validator?.eventCount ?? 0;
  }

  /** What it asked for and was sent, a history for every time it began anew. */
  histories(): readonly WatchHistory[] {
    return this.#log.histories();
  }

  async run(): Promise<void> {
    const { scheduler, random, places } = this.#parts;
    while (!this.stopped) {
      await pause(scheduler, random.fraction() * LOOK_MS);
      const attachment = this.#attachment;
      if (attachment?.isLive === true) this.#play(attachment);
      else this.#attachTo(random.pick(places()));
    }
  }

  /** Whether everything up to this revision was heard. */
  isComplete(revision: number): boolean {
    return this.#validator === null || this.#validator.missingCount(revision) === 0;
  }

  /** The cluster is at rest, and everything up to this revision was heard. */
  delivered(revision: number): void {
    this.#log.deliveredThrough(revision);
  }

  /** The cluster is at rest and has been given time: reports what was never heard. */
  finish(revision: number): void {
    this.#validator?.finish(revision);
  }

  /** Goes on at this place, taking everything at once. */
  settleAt(place: Place): void {
    this.stopped = true;
    this.#settledAt = place;
    this.#attachment?.detach();
    this.#attachTo(place);
  }

  /** Once settled: attaches again if its member has died. */
  lookAfter(): void {
    if (this.#settledAt === null || this.#validator === null) return;
    if (this.#attachment?.isLive !== true) this.#attachTo(this.#settledAt);
  }

  #play(attachment: WatchAttachment): void {
    const { random } = this.#parts;
    const { process, stream } = attachment;
    const act = random.integer(100);
    if (act < 3) {
      attachment.detach();
    } else if (act < 15) {
      attachment.toggle();
    } else if (act < 25) {
      process.schedule(0, 'client', () => {
        if (stream?.open === true) stream.requestProgress();
      });
    }
  }

  #attachTo(place: Place): void {
    const { process } = place;
    if (process === null || place.member === null) return;
    const attachment: WatchAttachment = new WatchAttachment({
      process,
      place,
      random: this.#parts.random,
      wayMsMax: WAY_MS_MAX,
      deliver: (delivery) =>
        this.#arrivals.add(attachment.wayMs(), () => this.#arrived(attachment, delivery)),
    });
    this.#attachment = attachment;
    const startRevision = this.#nextStart();
    process.schedule(attachment.wayMs(), 'client', () => this.#open(attachment, startRevision));
  }

  /** Where it left off; now and then far behind that, as another client would. */
  #nextStart(): number {
    const { random, log } = this.#parts;
    const validator = this.#validator;
    if (validator === null) return this.#firstStart();
    if (this.#settledAt !== null || !random.chance(BEGIN_ANEW_PERCENT)) return validator.covered + 1;
    const { compacted } = log.model;
    const from = random.pick([1, compacted, compacted + 1, compacted + random.integer(30)]);
    return Math.max(1, Math.min(from, validator.covered + 1));
  }

  #firstStart(): number {
    const { random, log } = this.#parts;
    return random.chance(50) ? 0 : Math.max(1, log.model.revision + random.between(-10, 5));
  }

  #open(attachment: WatchAttachment, startRevision: number): void {
    const { member } = attachment.place;
    if (member === null || this.#attachment !== attachment) {
      attachment.ended = true;
      return;
    }
    const current = member.header().revision;
    const { user } = this.#parts;
    const credentials = { certificateName: user };
    const stream = member.openWatch(attachment, { signal: new AbortController().signal, credentials });
    attachment.stream = stream;
    this.#createdIndex = member.status().result.appliedIndex;
    const refusal = stream.create({ ...this.#options, startRevision });
    if (refusal !== null) {
      attachment.ended = true;
      if (this.#isDenied(refusal)) return;
      if (refusal !== 'mvcc: watcher range is empty') this.#fail(`the watch was refused: ${refusal}`);
      this.stopped = true;
      return;
    }
    const { name, log, report } = this.#parts;
    if (this.#validator !== null && startRevision <= this.#validator.covered) {
      this.#validator.restart(startRevision);
      this.#log.begin(startRevision);
    }
    if (this.#validator === null) this.#log.begin(startRevision === 0 ? current + 1 : startRevision);
    this.#validator ??= new WatchValidator({
      name,
      options: { ...this.#options, startRevision },
      startRevision: startRevision === 0 ? current + 1 : startRevision,
      log,
      report,
    });
  }

  #arrived(attachment: WatchAttachment, delivery: WatchDelivery): void {
    if (attachment.ended || this.#attachment !== attachment || this.#validator === null) return;
    this.#parts.trace.detail(
      this.#parts.name,
      () => `hears of ${attachment.process.name}: ${deliveryText(delivery)}`,
    );
    if (delivery.type === 'canceled' && this.#isDenied(delivery.reason)) {
      attachment.ended = true;
      return;
    }
    this.#checkAllowed(delivery);
    this.#validator.delivered(delivery);
    this.#log.delivered(delivery);
    if (delivery.type !== 'canceled') return;
    attachment.ended = true;
    if (delivery.compactRevision <= 0) this.#fail(`the watch was canceled: ${delivery.reason}`);
    this.#validator.restart(delivery.compactRevision);
    this.#log.begin(delivery.compactRevision);
    if (this.#settledAt !== null) this.#attachTo(this.#settledAt);
  }

  /** Whether a watch was refused or ended because of who watches. */
  #isDenied(reason: string): boolean {
    const code = refusalOf(reason);
    if (code === undefined) return false;
    const { permissions, name, log } = this.#parts;
    if (code === 'permission-denied') permissions.ended(name, this.#reading, this.#createdIndex);
    else if (!log.model.auth.now.enabled) this.#fail(`was refused without authentication: ${reason}`);
    return true;
  }

  #checkAllowed(delivery: WatchDelivery): void {
    if (delivery.type !== 'events') return;
    for (const { event } of delivery.events) {
      const seen = { revision: event.row.main, createdIndex: this.#createdIndex };
      this.#parts.permissions.shown(this.#parts.name, this.#reading, seen);
    }
  }

  get #reading(): Reading {
    const { key, rangeEnd } = this.#options;
    return { user: this.#parts.user, request: rangeRequest({ key, rangeEnd }), serializable: false };
  }

  #fail(message: string): void {
    this.#parts.report(new Violation('watch', `${this.#parts.name} ${message}`));
  }
}

/** For people. */
function deliveryText(delivery: WatchDelivery): string {
  if (delivery.type !== 'events') return describe(delivery);
  const events = delivery.events.map(
    ({ event: { type, row } }) => `${type} ${row.key.toString('latin1')} ${row.main}`,
  );
  return `up to ${delivery.revision}: ${events.join(', ')}`;
}
