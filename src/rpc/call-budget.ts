/** What all clients together may hold of this member's memory. What happens at a bound stands beside it. */
export interface CallLimits {
  /**
   * Requests received, or being received, on all connections: further ones are refused, unless another connection
   * holds much more; it then loses calls whose requests are not whole. Bytes.
   */
  readonly requestBytesMax: number;
  /** The same for one connection. */
  readonly connectionRequestBytesMax: number;
  /** A request that is not whole by then ends. Streams of requests are not bounded. */
  readonly requestTimeoutMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_CALL_LIMITS: CallLimits = {
  requestBytesMax: 256 * MIB,
  connectionRequestBytesMax: 128 * MIB,
  requestTimeoutMs: 60_000,
};

/** What an open call costs besides its header fields and its body. Measured: 11 KiB for a watch. */
export const CALL_BYTES = 12 * 1024;

/** A call as the budget sees it. */
export interface BudgetedCall {
  /** The client has sent all of it. */
  readonly isWhole: boolean;
  /** Refuses it, for want of memory: it is over when this returns. */
  exhaust(): void;
}

/** One connection's share. */
class Share {
  heldBytes = 0;
  oldest: Holding | null = null;
  newest: Holding | null = null;
}

/**
 * What one call holds; it must be released when the call is over. Those of a connection are a list in the order of
 * their beginning, through the holdings themselves: every call enters and leaves it, and a set would cost more than
 * the rest of this file.
 */
export class Holding {
  readonly call: BudgetedCall;
  readonly endless: boolean;
  readonly sinceMs: number;
  readonly #budget: CallBudget;
  readonly #share: Share;
  #older: Holding | null;
  #newer: Holding | null = null;
  #heldBytes = 0;
  #released = false;

  constructor(
    budget: CallBudget,
    share: Share,
    options: { readonly call: BudgetedCall; readonly endless: boolean; readonly nowMs: number },
  ) {
    this.#budget = budget;
    this.#share = share;
    this.call = options.call;
    this.endless = options.endless;
    this.sinceMs = options.nowMs;
    this.#older = share.newest;
    if (share.newest === null) share.oldest = this;
    else share.newest.#newer = this;
    share.newest = this;
    budget.openCalls += 1;
  }

  /** The next one of the same connection; null, too, once this one is released. */
  get newer(): Holding | null {
    return this.#newer;
  }

  /** @returns false when there is no room for that many more bytes: none are held then */
  take(bytes: number): boolean {
    if (this.#released) return false;
    if (!this.#budget.fits(this.#share, bytes)) {
      this.#budget.refused += 1;
      return false;
    }
    this.#add(bytes);
    return true;
  }

  /** That many of them are no longer needed; what the call itself costs stays held. */
  give(bytes: number): void {
    if (!this.#released) this.#add(-Math.max(Math.min(bytes, this.#heldBytes - CALL_BYTES), 0));
  }

  release(): void {
    if (this.#released) return;
    this.#add(-this.#heldBytes);
    this.#released = true;
    this.#budget.openCalls -= 1;
    if (this.#older === null) this.#share.oldest = this.#newer;
    else this.#older.#newer = this.#newer;
    if (this.#newer === null) this.#share.newest = this.#older;
    else this.#newer.#older = this.#older;
    // What is no longer needed must not keep what came after it from the collector.
    this.#older = null;
    this.#newer = null;
  }

  #add(bytes: number): void {
    this.#heldBytes += bytes;
    this.#share.heldBytes += bytes;
    this.#budget.heldBytes += bytes;
  }
}

/** Counts what the calls of all connections hold. */
export class CallBudget {
  readonly #limits: CallLimits;
  readonly #shares = new Map<object, Share>();
  /** Calls that hold anything now. */
  openCalls = 0;
  heldBytes = 0;
  /** Since the start. */
  refused = 0;

  constructor(limits: CallLimits) {
    this.#limits = limits;
  }

  /** @param connection whatever stands for it, until `close` */
  open(
    connection: object,
    options: { readonly call: BudgetedCall; readonly endless: boolean; readonly nowMs: number },
  ): Holding {
    let share = this.#shares.get(connection);
    if (share === undefined) {
      share = new Share();
      this.#shares.set(connection, share);
    }
    return new Holding(this, share, options);
  }

  /** Its calls are over. */
  close(connection: object): void {
    this.#shares.delete(connection);
  }

  /** Calls whose request should have come whole by now, of each connection the oldest first. */
  late(nowMs: number): readonly BudgetedCall[] {
    const found: BudgetedCall[] = [];
    for (const { oldest } of this.#shares.values()) {
      for (let holding = oldest; holding !== null; holding = holding.newer) {
        if (nowMs - holding.sinceMs < this.#limits.requestTimeoutMs) break;
        if (!holding.endless && !holding.call.isWhole) found.push(holding.call);
      }
    }
    return found;
  }

  fits(share: Share, bytes: number): boolean {
    if (share.heldBytes + bytes > this.#limits.connectionRequestBytesMax) return false;
    return this.heldBytes + bytes <= this.#limits.requestBytesMax || this.#makeRoom(share, bytes);
  }

  /** The connection that holds most, and at least twice as much, gives up calls whose requests are not whole. */
  #makeRoom(share: Share, bytes: number): boolean {
    let largest = share;
    for (const other of this.#shares.values()) if (other.heldBytes > largest.heldBytes) largest = other;
    if (largest.heldBytes < 2 * (share.heldBytes + bytes)) return false;
    for (let next = largest.oldest; next !== null; ) {
      const { call, newer } = next;
      if (this.heldBytes + bytes <= this.#limits.requestBytesMax) return true;
      if (!call.isWhole) call.exhaust();
      next = newer;
    }
    return this.heldBytes + bytes <= this.#limits.requestBytesMax;
  }
}
