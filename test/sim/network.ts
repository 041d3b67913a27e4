import type { MemberId, Message } from '../../src/core/raft/messages.ts';
import type { Prng } from './prng.ts';
import type { Scheduler } from './scheduler.ts';
import type { SimTransport } from './transport.ts';

/** Message frames remembered for a replay much later. */
const OLD_FRAMES_MAX = 400;
/** The last frames to one address, remembered for `haunt`. */
const RECENT_FRAMES_MAX = 200;

/** What every link of a run does to what it carries. Percentages are of messages; delays in ms. */
export interface LinkRules {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** One in a hundred takes up to this long. */
  readonly tailMs: number;
  readonly dropPercent: number;
  readonly duplicatePercent: number;
  readonly reorderPercent: number;
  /** How often, for each message sent, some old one arrives once more. */
  readonly replayPercent: number;
  /** Bytes per ms of a snapshot's connection. */
  readonly bulkBytesPerMs: number;
}
export const QUIET_LINKS: LinkRules = {
  delayMsMin: 0.1,
  delayMsMax: 1,
  tailMs: 1,
  dropPercent: 0,
  duplicatePercent: 0,
  reorderPercent: 0,
  replayPercent: 0,
  bulkBytesPerMs: 100_000,
};

/** A batch of messages as it once was on the wire. */
interface OldFrame {
  readonly from: MemberId;
  readonly to: MemberId;
  readonly url: string;
  readonly frames: readonly Buffer[];
}

/**
 * The wires between members: who hears whom, what is lost, and when things arrive. Places are named by the host of
 * their peer URL. A cut loses what is on its way and breaks the connections over it a little later.
 */
export class SimNetwork {
  readonly scheduler: Scheduler;
  readonly random: Prng;
  rules: LinkRules = QUIET_LINKS;
  /** Hears of every message that leaves a member. */
  readonly said: (message: Message) => void;
  /** Hears whom a member lets in, and of what comes over the connection then. */
  readonly introduced: (host: SimTransport, guest: SimTransport) => void;
  readonly heard: (host: SimTransport, guest: SimTransport, messages: readonly Message[]) => void;
  /** What one way between two places takes because they are far apart, in ms and without what varies; undefined = they are not. */
  distanceMs: (from: string, to: string) => number | undefined = () => undefined;
  /** What a long way takes is up to so much longer, as a part of it. */
  jitter = 0;
  messageCount = 0;
  replayCount = 0;
  readonly #hosts = new Map<string, SimTransport>();
  readonly #cuts = new Set<string>();
  readonly #clogs = new Map<string, number>();
  readonly #mutes = new Set<string>();
  readonly #old: OldFrame[] = [];
  readonly #recent = new Map<string, OldFrame[]>();
  #healCount = 0;

  constructor(options: {
    readonly scheduler: Scheduler;
    readonly random: Prng;
    readonly said: (message: Message) => void;
    readonly introduced: (host: SimTransport, guest: SimTransport) => void;
    readonly heard: (host: SimTransport, guest: SimTransport, messages: readonly Message[]) => void;
  }) {
    this.said = options.said;
    this.introduced = options.introduced;
    this.heard = options.heard;
    this.scheduler = options.scheduler;
    this.random = options.random;
  }

  attach(transport: SimTransport, url: string): void {
    this.#hosts.set(url, transport);
  }

  detach(transport: SimTransport, url: string): void {
    if (this.#hosts.get(url) === transport) this.#hosts.delete(url);
  }

  host(url: string): SimTransport | undefined {
    return this.#hosts.get(url);
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
    for (const transport of this.#hosts.values()) transport.wireCut(from, to);
  }

  /** Delays everything from one place to another by so much more; 0 ends it. */
  clog(from: string, to: string, extraMs: number): void {
    if (extraMs === 0) this.#clogs.delete(`${from}>${to}`);
    else this.#clogs.set(`${from}>${to}`, extraMs);
  }

  /** Loses all Raft messages from one place to another; connections, requests and snapshots go on. */
  mute(from: string, to: string): void {
    this.#mutes.add(`${from}>${to}`);
  }

  unmute(from: string, to: string): void {
    this.#mutes.delete(`${from}>${to}`);
  }

  isMuted(from: string, to: string): boolean {
    return this.#mutes.size > 0 && this.#mutes.has(`${from}>${to}`);
  }

  /** Ends every cut, every delay and all that haunts. */
  heal(): void {
    this.#healCount += 1;
    this.#mutes.clear();
    this.#cuts.clear();
    this.#clogs.clear();
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  /** How long one thing travels from one place to another. */
  delayMs(from: string, to: string): number {
    const { delayMsMin, delayMsMax, tailMs } = this.rules;
    const farMs = this.distanceMs(from, to);
    const spreadMs = farMs === undefined ? delayMsMax - delayMsMin : farMs * this.jitter;
    const base = (farMs ?? delayMsMin) + this.random.fraction() * spreadMs;
    const tail = this.random.chance(1) ? this.random.fraction() * tailMs : 0;
    return base + tail + (this.#clogs.get(`${from}>${to}`) ?? 0);
  }

  /** Remembers a batch of messages, and perhaps lets an older one arrive again: any link, any term, any incarnation. */
  sent(frame: OldFrame): void {
    this.messageCount += 1;
    this.#remember(frame);
    if (this.rules.replayPercent === 0) return;
    // A place in the list is kept for long at random, so that very old frames stay possible.
    if (this.#old.length < OLD_FRAMES_MAX) this.#old.push(frame);
    else if (this.random.chance(10)) this.#old[this.random.integer(OLD_FRAMES_MAX)] = frame;
    if (!this.random.chance(this.rules.replayPercent)) return;
    const old = this.random.pick(this.#old);
    const delayMs = this.random.fraction() * 2_000;
    this.scheduler.schedule(delayMs, { owner: null, kind: 'network', run: () => this.#arrivesAgain(old) });
  }

  /**
   * Lets what was last sent to an address arrive there again and again, in any order and whatever is cut: answers
   * that were on their way for very long.
   */
  haunt(url: string, haunting: { readonly forMs: number; readonly everyMs: number }): void {
    const frames = [...(this.#recent.get(url) ?? [])];
    if (frames.length === 0) return;
    const untilMs = this.scheduler.nowMs + haunting.forMs;
    const began = this.#healCount;
    const again = (): void => {
      if (this.scheduler.nowMs > untilMs || this.#healCount !== began) return;
      this.#arrivesAgain(this.random.pick(frames));
      const delayMs = haunting.everyMs * (0.5 + this.random.fraction());
      this.scheduler.schedule(delayMs, { owner: null, kind: 'network', run: again });
    };
    again();
  }

  #remember(frame: OldFrame): void {
    const recent = this.#recent.get(frame.url) ?? [];
    this.#recent.set(frame.url, recent);
    recent.push(frame);
    if (recent.length >= 2 * RECENT_FRAMES_MAX) recent.splice(0, RECENT_FRAMES_MAX);
  }

  #arrivesAgain(old: OldFrame): void {
    const host = this.#hosts.get(old.url);
    if (host?.memberId !== old.to || !host.knows(old.from)) return;
    host.process.schedule(0, 'network', () => host.arrived(old.from, old.frames));
    this.replayCount += 1;
  }
}
