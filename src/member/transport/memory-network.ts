import type { MemberId } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Clock, Random } from '../ports.ts';
import type { MemoryTransport } from './memory-transport.ts';

/** One direction between two members. */
export interface Direction {
  readonly from: MemberId;
  readonly to: MemberId;
}

/** What happens to the messages of one direction. Snapshots, requests and probes are delayed, never dropped. */
export interface LinkRules {
  readonly dropPermille: number;
  readonly duplicatePermille: number;
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** A message may overtake others of its stream, which a real connection never allows. */
  readonly reorder: boolean;
}
const plainRules: LinkRules = {
  dropPermille: 0,
  duplicatePermille: 0,
  delayMsMin: 0,
  delayMsMax: 0,
  reorder: false,
};

/** Something on its way. `lost` is called instead of `arrive` when the direction is cut first. */
export interface Delivery {
  readonly direction: Direction | null;
  /** Deliveries of one channel arrive in order. */
  readonly channel: string;
  arrive(): void;
  lost(): void;
}
interface Pending extends Delivery {
  readonly order: number;
  readonly dueMs: number;
}

export interface MemoryNetworkOptions {
  /** With a clock things arrive by themselves; without one only through `deliver`, and delays do not count. */
  readonly clock?: Clock;
  /** Needed for rules that choose. */
  readonly random?: Random;
}

/** The wires between memory transports: who can hear whom, what is lost, and when things arrive. */
export class MemoryNetwork {
  readonly #clock: Clock | null;
  readonly #random: Random | null;
  readonly #hosts = new Map<string, MemoryTransport>();
  readonly #channels = new Map<string, Pending[]>();
  readonly #cuts = new Set<string>();
  readonly #rules = new Map<string, LinkRules>();
  readonly #cutListeners = new Set<(direction: Direction) => void>();
  #defaultRules = plainRules;
  #order = 0;

  constructor(options: MemoryNetworkOptions = {}) {
    this.#clock = options.clock ?? null;
    this.#random = options.random ?? null;
  }

  /** Things on their way. */
  get pendingCount(): number {
    let count = 0;
    for (const queue of this.#channels.values()) count += queue.length;
    return count;
  }

  /** Loses everything in `direction` from now on, what is under way included, and breaks its connections. */
  cut(direction: Direction): void {
    this.#cuts.add(directionKey(direction));
    this.drop((delivery) => sameDirection(delivery.direction, direction));
    for (const listener of this.#cutListeners) listener(direction);
  }

  /** Cuts both directions between every member of `side` and every one of `other`. */
  partition(side: readonly MemberId[], other: readonly MemberId[]): void {
    for (const from of side) {
      for (const to of other) {
        this.cut({ from, to });
        this.cut({ from: to, to: from });
      }
    }
  }

  /** Undoes the cut of one direction, or all cuts. */
  heal(direction?: Direction): void {
    if (direction === undefined) this.#cuts.clear();
    else this.#cuts.delete(directionKey(direction));
  }

  isCut(direction: Direction): boolean {
    return this.#cuts.has(directionKey(direction));
  }

  /** Changes the rules of one direction, or those of all that have none of their own. */
  setRules(rules: Partial<LinkRules>, direction?: Direction): void {
    if (direction === undefined) this.#defaultRules = { ...this.#defaultRules, ...rules };
    else this.#rules.set(directionKey(direction), { ...this.rulesOf(direction), ...rules });
  }

  rulesOf(direction: Direction): LinkRules {
    return this.#rules.get(directionKey(direction)) ?? this.#defaultRules;
  }

  /**
   * Without a clock: lets up to `countMax` things arrive in the order they were sent, including those that
   * arrivals send in turn.
   *
   * @returns how many arrived
   */
  deliver(countMax = Number.POSITIVE_INFINITY): number {
    assert(this.#clock === null, 'a network with a clock delivers by itself');
    let count = 0;
    while (count < countMax) {
      const first = this.#oldest();
      if (first === undefined) break;
      this.#channels.get(first.channel)!.shift();
      first.arrive();
      count++;
    }
    return count;
  }

  // ---- for MemoryTransport ----

  /** @throws StoreError `bad-options` when an address is taken */
  attach(transport: MemoryTransport, urls: readonly string[]): void {
    for (const url of urls) {
      if (this.#hosts.has(url)) throw new StoreError('bad-options', `peer address ${url} is already in use`);
    }
    for (const url of urls) this.#hosts.set(url, transport);
  }

  detach(transport: MemoryTransport): void {
    for (const [url, host] of this.#hosts) if (host === transport) this.#hosts.delete(url);
  }

  host(url: string): MemoryTransport | undefined {
    return this.#hosts.get(url);
  }

  onCut(listener: (direction: Direction) => void): () => void {
    this.#cutListeners.add(listener);
    return () => this.#cutListeners.delete(listener);
  }

  /** Puts something on its way under the rules of its direction. */
  carry(delivery: Delivery): void {
    const { direction } = delivery;
    if (direction !== null && this.isCut(direction)) {
      delivery.lost();
      return;
    }
    const rules = direction === null ? this.#defaultRules : this.rulesOf(direction);
    const dueMs = (this.#clock?.nowMs() ?? 0) + this.#delayMs(rules);
    // A channel of its own is what lets a message overtake the others.
    const channel = rules.reorder ? `${delivery.channel} ${this.#order}` : delivery.channel;
    const queue = this.#channels.get(channel) ?? [];
    this.#channels.set(channel, queue);
    queue.push({ ...delivery, channel, order: this.#order++, dueMs });
    this.#wake(channel, dueMs);
  }

  /** True for `permille` out of a thousand calls. */
  chance(permille: number): boolean {
    if (permille === 0) return false;
    assert(this.#random !== null, 'a rule that chooses needs randomness');
    return this.#random.integer(1000) < permille;
  }

  /** Loses everything under way that `condition` picks. */
  drop(condition: (delivery: Delivery) => boolean): void {
    const lost: Pending[] = [];
    for (const [channel, queue] of this.#channels) {
      lost.push(...queue.filter(condition));
      this.#channels.set(
        channel,
        queue.filter((delivery) => !condition(delivery)),
      );
    }
    for (const delivery of lost) delivery.lost();
  }

  #delayMs(rules: LinkRules): number {
    const spread = rules.delayMsMax - rules.delayMsMin;
    if (spread <= 0) return rules.delayMsMin;
    assert(this.#random !== null, 'a rule that chooses needs randomness');
    return rules.delayMsMin + this.#random.integer(spread + 1);
  }

  #wake(channel: string, dueMs: number): void {
    const clock = this.#clock;
    if (clock === null) return;
    const delayMs = dueMs - clock.nowMs();
    if (delayMs <= 0) clock.setImmediate(() => this.#pump(channel, clock));
    else clock.setTimer(() => this.#pump(channel, clock), delayMs);
  }

  /** Only the head may arrive: a later one that is due earlier waits, as on a connection. */
  #pump(channel: string, clock: Clock): void {
    const head = this.#channels.get(channel)?.[0];
    if (head === undefined) return;
    if (head.dueMs > clock.nowMs()) {
      this.#wake(channel, head.dueMs);
      return;
    }
    const queue = this.#channels.get(channel)!;
    queue.shift();
    if (queue.length === 0) this.#channels.delete(channel);
    else this.#wake(channel, queue[0]!.dueMs);
    head.arrive();
  }

  #oldest(): Pending | undefined {
    let oldest: Pending | undefined;
    for (const [channel, queue] of this.#channels) {
      const head = queue[0];
      if (head === undefined) this.#channels.delete(channel);
      else if (oldest === undefined || head.order < oldest.order) oldest = head;
    }
    return oldest;
  }
}

function directionKey(direction: Direction): string {
  return `${direction.from}>${direction.to}`;
}

function sameDirection(a: Direction | null, b: Direction): boolean {
  return a !== null && a.from === b.from && a.to === b.to;
}
