import { FreshLease } from '../../src/client/fresh-lease.ts';
import { STREAM_WATCH_ID } from '../../src/core/watch/delivery.ts';
import type { WatchDelivery } from '../../src/core/watch/hub.ts';
import { refusalOf } from '../../src/member/auth/watch-guard.ts';
import { OPERATOR } from './auth-operator.ts';
import { CachedRange } from './cached-range.ts';
import type { Acknowledgements } from './checkers/acknowledgements.ts';
import type { AppliedLog } from './checkers/applied-log.ts';
import type { ProgressAge } from './checkers/progress-age.ts';
import { pause } from './client.ts';
import type { Place } from './place.ts';
import type { Prng } from './prng.ts';
import type { RegionPlan } from './region-plan.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import { type Report, Violation } from './violation.ts';
import { Arrivals, WatchAttachment } from './watch-attachment.ts';

/** Ways between a client and its member, in ms: beside it, or somewhere else in the world. */
const WAYS_MS_MAX = [3, 3, 60, 150] as const;
const SETTLED_WAY_MS_MAX = 3;
/** Between two looks whether there is anything to do, in ms. */
const LOOK_MS_MAX = 40;
/** Renewals in one bound, and bounds without any answer after which another member is tried. */
const RENEWALS_PER_BOUND = 3;
const SILENT_BOUNDS = 4;

export interface FreshWatchClientParts {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly places: () => readonly Place[];
  readonly regions: RegionPlan;
  readonly log: AppliedLog;
  readonly acknowledgements: Acknowledgements;
  readonly progress: ProgressAge;
  readonly report: Report;
  readonly trace: Trace;
  readonly keys: number;
}

/** A progress answer as it is sent: its age is that of the moment at which it takes its place in the stream. */
type Told = WatchDelivery & { readonly ageMs: number };

/**
 * A client that caches what it watches: it renews the fresh lease of each watch, by its own clock, goes on at another
 * member when it likes or must, and claims to know everything that is older than its bound while a lease holds.
 */
export class FreshWatchClient {
  stopped = false;
  readonly #parts: FreshWatchClientParts;
  readonly #ranges: readonly CachedRange[];
  readonly #boundMs: number;
  /** Its own clock: nothing but this clock's rate is relied on. */
  readonly #rate: number;
  readonly #arrivals: Arrivals;
  #attachment: WatchAttachment | null = null;
  #renewedMs = Number.NEGATIVE_INFINITY;
  #heardMs = 0;
  #settledAt: Place | null = null;
  /** What was asked of the whole stream: the nonce of each range, by that of the request. */
  readonly #shared = new Map<bigint, readonly number[]>();
  #sharedNonce = 0n;
  /** When linearizable progress was asked for, as its member took it; by watch and nonce. */
  readonly #askedAtMs = new Map<string, number>();

  constructor(parts: FreshWatchClientParts) {
    this.#parts = parts;
    const { random, regions } = parts;
    this.#arrivals = new Arrivals(parts.scheduler);
    this.#rate = 1 + regions.skew * (2 * random.fraction() - 1);
    this.#boundMs = random.pick(regions.leaseBoundsMs);
    const count = random.between(1, 2);
    this.#ranges = Array.from({ length: count }, (_, i) => this.#aRange(BigInt(i + 1)));
  }

  get ranges(): readonly CachedRange[] {
    return this.#ranges;
  }

  async run(): Promise<void> {
    const { scheduler, random } = this.#parts;
    while (!this.stopped) {
      await pause(scheduler, random.fraction() * LOOK_MS_MAX);
      this.#live();
    }
  }

  /** Goes on at this place, renewing, taking everything at once. */
  settleAt(place: Place): void {
    this.#settledAt = place;
    this.#detach();
    for (const range of this.#ranges) range.settled();
    this.stopped = false;
    this.run().catch((error: unknown) => this.#parts.scheduler.fail(error));
  }

  /** Whether every lease was renewed since it settled. */
  get isFresh(): boolean {
    return this.#ranges.every(({ isFresh }) => isFresh);
  }

  /** The run is over: judges what was claimed to the last. */
  finish(): void {
    this.stopped = true;
    for (const range of this.#ranges) range.look(this.#parts.scheduler.nowMs);
  }

  #live(): void {
    const attachment = this.#attachment;
    if (attachment?.isLive !== true) {
      this.#attach();
      return;
    }
    const { nowMs } = this.#parts.scheduler;
    const isSilent = nowMs - this.#heardMs > SILENT_BOUNDS * Math.max(this.#boundMs, 1_000);
    if (isSilent && this.#settledAt === null) this.#detach();
    else this.#play(attachment);
    if (this.#nowMs() - this.#renewedMs >= this.#boundMs / RENEWALS_PER_BOUND) this.#renew();
  }

  #play(attachment: WatchAttachment): void {
    const { random } = this.#parts;
    if (this.#settledAt !== null) return;
    const act = random.fraction() * 100;
    if (act < 0.5) {
      this.#detach();
    } else if (act < 2) {
      attachment.toggle();
    } else if (act < 5 && !attachment.writable) {
      attachment.resume();
    }
  }

  // ---- streams ----------------------------------------------------------------------------------------------

  #attach(): void {
    const { random, places, scheduler } = this.#parts;
    const place = this.#settledAt ?? random.pick(places());
    const { process } = place;
    this.#forget();
    this.#heardMs = scheduler.nowMs;
    if (process === null || place.member === null) return;
    const attachment: WatchAttachment = new WatchAttachment({
      process,
      place,
      random,
      wayMsMax: this.#settledAt === null ? random.pick(WAYS_MS_MAX) : SETTLED_WAY_MS_MAX,
      deliver: (delivery) => this.#deliver(attachment, delivery),
    });
    this.#attachment = attachment;
    process.schedule(attachment.wayMs(), 'client', () => this.#open(attachment));
  }

  #open(attachment: WatchAttachment): void {
    const { member } = attachment.place;
    if (member === null || this.#attachment !== attachment || attachment.ended) {
      attachment.ended = true;
      return;
    }
    const context = { signal: new AbortController().signal, credentials: OPERATOR };
    const stream = member.openWatch(attachment, context);
    attachment.stream = stream;
    const { revision } = member.header();
    for (const range of this.#ranges) {
      const refusal = stream.create(range.begin(revision, this.#settledAt !== null));
      if (refusal === null) continue;
      attachment.ended = true;
      if (refusalOf(refusal) === undefined) this.#fail(`the watch was refused: ${refusal}`);
      return;
    }
  }

  #detach(): void {
    const attachment = this.#attachment;
    if (attachment === null) return;
    this.#forget();
    attachment.detach();
  }

  /** What was asked on a stream that is gone stays unanswered; what is known stays known, and leases run on. */
  #forget(): void {
    for (const { lease } of this.#ranges) lease.forget();
    this.#shared.clear();
    this.#renewedMs = Number.NEGATIVE_INFINITY;
  }

  // ---- leases -----------------------------------------------------------------------------------------------

  #renew(): void {
    const { random } = this.#parts;
    const attachment = this.#attachment;
    if (attachment === null || attachment.ended || attachment.stream === null) return;
    const nowMs = this.#nowMs();
    this.#renewedMs = nowMs;
    const linearizable = random.chance(10);
    if (random.chance(30) && !this.#ranges.some(({ lease }) => lease.isAskedEnough)) {
      const nonce = ++this.#sharedNonce;
      this.#shared.set(
        nonce,
        this.#ranges.map(({ lease }) => lease.ask(nowMs)),
      );
      this.#ask(attachment, { watchId: STREAM_WATCH_ID, nonce, linearizable });
      return;
    }
    for (const { lease, watchId } of this.#ranges) {
      if (lease.isAskedEnough) continue;
      this.#ask(attachment, { watchId, nonce: BigInt(lease.ask(nowMs)), linearizable });
    }
  }

  #ask(
    attachment: WatchAttachment,
    request: { readonly watchId: bigint; readonly nonce: bigint; readonly linearizable: boolean },
  ): void {
    attachment.process.schedule(attachment.wayMs(), 'client', () => {
      const { stream } = attachment;
      if (stream?.open !== true) return;
      if (request.linearizable)
        this.#askedAtMs.set(`${request.watchId} ${request.nonce}`, this.#parts.scheduler.nowMs);
      stream.requestFresh(request);
    });
  }

  #deliver(attachment: WatchAttachment, delivery: WatchDelivery): void {
    const { scheduler, progress } = this.#parts;
    const { process, place } = attachment;
    const isFresh = delivery.type === 'progress' && delivery.nonce > 0n;
    const told: Told = { ...delivery, ageMs: isFresh ? place.member!.ageMs() : 0 };
    if (isFresh) {
      const asked = `${delivery.watchId} ${delivery.nonce}`;
      const { revision } = delivery;
      const provenMs = this.#askedAtMs.get(asked);
      progress.told({ process, revision, ageMs: told.ageMs, provenMs, atMs: scheduler.nowMs });
      this.#askedAtMs.delete(asked);
    }
    this.#arrivals.add(attachment.wayMs(), () => this.#arrived(attachment, told));
  }

  #arrived(attachment: WatchAttachment, told: Told): void {
    if (attachment.ended || this.#attachment !== attachment) return;
    const { name, trace, scheduler } = this.#parts;
    const { nowMs } = scheduler;
    this.#heardMs = nowMs;
    trace.detail(name, () => `hears of ${attachment.process.name}: ${toldText(told)}`);
    const ranges = this.#ranges.filter(
      ({ watchId }) => told.watchId === STREAM_WATCH_ID || told.watchId === watchId,
    );
    for (const range of ranges) {
      range.look(nowMs);
      range.delivered(told, nowMs);
    }
    if (told.type === 'canceled') {
      // The others go on with it, at the next member.
      this.#detach();
      return;
    }
    if (told.type === 'progress' && told.nonce > 0n) this.#answered(ranges, told);
  }

  #answered(ranges: readonly CachedRange[], told: Told & { readonly type: 'progress' }): void {
    const shared = told.watchId === STREAM_WATCH_ID ? this.#shared.get(told.nonce) : undefined;
    if (told.watchId === STREAM_WATCH_ID && shared === undefined) return;
    this.#shared.delete(told.nonce);
    for (const [i, range] of ranges.entries()) {
      const nonce = shared?.[i] ?? Number(told.nonce);
      if (!range.lease.answered(nonce, told.ageMs)) continue;
      range.renewed(this.#parts.scheduler.nowMs, range.lease.untilMs / this.#rate);
    }
  }

  // ---- parts ------------------------------------------------------------------------------------------------

  #aRange(watchId: bigint): CachedRange {
    const { name, random, keys, log, acknowledgements, report } = this.#parts;
    const isWide = random.chance(60);
    const key = `k${String(random.integer(keys)).padStart(2, '0')}`;
    return new CachedRange({
      name: `${name}.${watchId}`,
      options: {
        watchId,
        key: Buffer.from(isWide ? 'k' : key),
        rangeEnd: Buffer.from(isWide ? random.pick(['\0', 'k1']) : ''),
        noPut: false,
        noDelete: random.chance(10),
        prevKv: random.chance(30),
        progressNotify: false,
      },
      lease: new FreshLease(this.#boundMs),
      boundMs: this.#boundMs,
      random,
      log,
      acknowledgements,
      report,
    });
  }

  #nowMs(): number {
    return this.#parts.scheduler.nowMs * this.#rate;
  }

  #fail(message: string): void {
    this.#parts.report(new Violation('watch', `${this.#parts.name} ${message}`));
  }
}

/** For people. */
function toldText(told: Told): string {
  switch (told.type) {
    case 'events':
      return `up to ${told.revision}, ${told.events.length} events of ${told.watchId}`;
    case 'progress':
      return `progress to ${told.revision} of ${told.watchId}, nonce ${told.nonce}, age ${told.ageMs}`;
    case 'canceled':
      return `${told.watchId} is canceled: ${told.reason}`;
  }
}
