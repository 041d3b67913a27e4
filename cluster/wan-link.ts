/** What the network between two places does, in one direction. */
export interface LinkConditions {
  /** How long a byte is on its way. */
  readonly delayMs: number;
  /** Up to this much is added to the delay, evenly spread; bytes of one connection still arrive in order. */
  readonly jitterMs: number;
  /** Above 0; shared by all connections in this direction. Infinity = as fast as the machine. */
  readonly bytesPerSecond: number;
  /**
   * Nothing arrives, the end of a connection included, and nobody is told. What was on its way arrives when the cut
   * ends, as TCP would then send it again.
   */
  readonly cut: boolean;
}

/** A link that does nothing to what passes over it. */
export const CLEAR: LinkConditions = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  cut: false,
};

/** Time and chance as the proxies need them. */
export interface LinkPorts {
  readonly nowMs: () => number;
  /** Even over [0, 1). */
  readonly random: () => number;
}

/** One directed link. All connections between the two places share its bandwidth. */
export class Link {
  readonly #ports: LinkPorts;
  /** When the last byte handed over will have left. */
  #busyUntilMs = 0;
  #conditions: LinkConditions = CLEAR;

  constructor(ports: LinkPorts) {
    this.#ports = ports;
  }

  get conditions(): LinkConditions {
    return this.#conditions;
  }

  /** New conditions hold for what is on its way too: the lanes over this link hand it over again. */
  set conditions(conditions: LinkConditions) {
    this.#conditions = conditions;
    this.#busyUntilMs = 0;
  }

  /** When bytes handed over now arrive at the other end, if nothing cuts the link. */
  arrivalMs(sizeBytes: number): number {
    const { delayMs, jitterMs, bytesPerSecond } = this.#conditions;
    const startMs = Math.max(this.#ports.nowMs(), this.#busyUntilMs);
    this.#busyUntilMs = startMs + (sizeBytes / bytesPerSecond) * 1000;
    return this.#busyUntilMs + delayMs + jitterMs * this.#ports.random();
  }
}

/** What travels: bytes, the orderly end of one direction, or the abrupt end of the connection. */
export type Parcel =
  | { readonly type: 'bytes'; readonly bytes: Buffer }
  | { readonly type: 'end' }
  | { readonly type: 'reset' };

/** Bytes that one direction of a connection holds; above it the sender is not read any more. */
const HELD_BYTES_MAX = 4 * 1024 * 1024;
/** Longest timer; whatever is due later is looked at again then. */
const WAIT_MS_MAX = 60_000;

export interface LaneOptions {
  readonly ports: LinkPorts;
  /** Asked for every parcel: who is at the ends is known only after the first bytes. */
  readonly link: () => Link;
  /** False: nothing is delivered now; `pump` is called when that may have changed. */
  readonly open: () => boolean;
  /** @returns false while the receiver takes no more; `pump` is called when it does again */
  readonly deliver: (parcel: Parcel) => boolean;
  /** Too much is held: stop reading the sender, or go on. */
  readonly holdBack: (hold: boolean) => void;
}

/** One direction of one connection: parcels in order, each delivered when it is due. */
export class Lane {
  readonly #options: LaneOptions;
  readonly #held: { readonly parcel: Parcel; dueMs: number }[] = [];
  /** What the times of the held parcels were reckoned from. */
  #conditions: LinkConditions | null = null;
  #heldBytes = 0;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #receiverFull = false;
  #closed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  push(parcel: Parcel): void {
    if (this.#closed) return;
    this.#conditions ??= this.#options.link().conditions;
    this.#held.push({ parcel, dueMs: this.#dueMs(parcel) });
    this.#heldBytes += sizeOf(parcel);
    this.#pump();
    if (this.#heldBytes > HELD_BYTES_MAX) this.#options.holdBack(true);
  }

  /** To be called when the link's conditions have changed or its end has opened. */
  changed(): void {
    const { conditions } = this.#options.link();
    if (conditions !== this.#conditions) {
      this.#conditions = conditions;
      this.#lastDueMs = 0;
      for (const item of this.#held) item.dueMs = this.#dueMs(item.parcel);
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
    }
    this.#pump();
  }

  /** To be called when the receiver takes more. */
  drained(): void {
    this.#receiverFull = false;
    this.#pump();
  }

  /** Drops what is on its way. */
  close(): void {
    this.#closed = true;
    this.#held.length = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Never before what was pushed earlier. */
  #dueMs(parcel: Parcel): number {
    this.#lastDueMs = Math.max(this.#lastDueMs, this.#options.link().arrivalMs(sizeOf(parcel)));
    return this.#lastDueMs;
  }

  #pump(): void {
    const { link, open, deliver, holdBack, ports } = this.#options;
    while (!this.#closed && !this.#receiverFull && !link().conditions.cut && open()) {
      const first = this.#held[0];
      if (first === undefined) break;
      const waitMs = first.dueMs - ports.nowMs();
      if (waitMs > 0) {
        this.#wakeAfter(waitMs);
        break;
      }
      this.#held.shift();
      this.#heldBytes -= sizeOf(first.parcel);
      this.#receiverFull = !deliver(first.parcel);
    }
    if (this.#heldBytes <= HELD_BYTES_MAX / 2) holdBack(false);
  }

  #wakeAfter(waitMs: number): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#pump();
      },
      Math.min(Math.ceil(waitMs), WAIT_MS_MAX),
    );
  }
}

function sizeOf(parcel: Parcel): number {
  return parcel.type === 'bytes' ? parcel.bytes.length : 0;
}
