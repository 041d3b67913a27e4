import type { Prng } from './prng.ts';
import type { SimProcess } from './process.ts';
import type { Trace } from './trace.ts';

/** Events run before the real loop gets its turn. */
const BATCH = 64;

/** Something that will happen. */
export interface SimEvent {
  atMs: number;
  readonly tie: number;
  readonly seq: number;
  /** Whose code runs: it waits while its process is paused and never happens once the process is dead. */
  readonly owner: SimProcess | null;
  readonly kind: EventKind;
  readonly run: () => void;
  canceled: boolean;
}
/** Timers come before I/O after a pause, as in a real event loop (RELIABILITY P61). */
export type EventKind = 'timer' | 'immediate' | 'disk' | 'network' | 'client' | 'fault';
const KIND_CODES: Record<EventKind, number> = {
  timer: 1,
  immediate: 2,
  disk: 3,
  network: 4,
  client: 5,
  fault: 6,
};

/**
 * Virtual time: one queue of events for everything that runs, ordered by time, ties by chance. After each event all
 * promise reactions run before the next; nothing else moves.
 */
export class Scheduler {
  nowMs = 0;
  eventCount = 0;
  /** The process whose event is running, reactions included. */
  current: SimProcess | null = null;
  trace: Trace | null = null;
  readonly #random: Prng;
  readonly #heap: SimEvent[] = [];
  #seq = 0;
  #failure: { readonly error: unknown } | null = null;

  constructor(random: Prng) {
    this.#random = random;
  }

  get pendingCount(): number {
    return this.#heap.length;
  }

  schedule(delayMs: number, event: Pick<SimEvent, 'owner' | 'kind' | 'run'>): SimEvent {
    const scheduled: SimEvent = {
      atMs: this.nowMs + Math.max(0, delayMs),
      tie: this.#random.integer(2 ** 32),
      seq: this.#seq++,
      owner: event.owner,
      kind: event.kind,
      run: event.run,
      canceled: false,
    };
    this.#push(scheduled);
    return scheduled;
  }

  /** Puts an event back that was held for a paused process. */
  again(event: SimEvent, delayMs: number): void {
    event.atMs = this.nowMs + delayMs;
    this.#push(event);
  }

  /** Ends `run` with this error at the next event. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  get failed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Runs until `untilMs`, or until `done` holds after an event.
   *
   * @returns whether `done` held
   * @throws what an event threw, or what `fail` was given
   */
  run(untilMs: number, done: () => boolean = () => false): Promise<boolean> {
    return new Promise((resolve, reject) => {
      let ended = false;
      let queued = 0;
      const end = (settle: () => void): void => {
        ended = true;
        this.current = null;
        settle();
      };
      const step = (): void => {
        queued -= 1;
        if (ended) return;
        try {
          // The reactions of the event before have all run: what they found counts first.
          if (this.#failure !== null) throw this.#failure.error;
          if (done()) {
            end(() => resolve(true));
            return;
          }
          const next = this.#heap[0];
          if (next === undefined || next.atMs > untilMs) {
            this.nowMs = untilMs;
            end(() => resolve(false));
            return;
          }
          this.#runNext();
        } catch (error) {
          end(() => reject(error));
          return;
        }
        if (queued === 0) refill();
      };
      const refill = (): void => {
        for (; queued < BATCH; queued++) setImmediate(step);
      };
      refill();
    });
  }

  #runNext(): void {
    const event = this.#pop();
    if (event.canceled || event.owner?.alive === false) return;
    this.nowMs = Math.max(this.nowMs, event.atMs);
    if (event.owner?.paused === true) {
      event.owner.hold(event);
      return;
    }
    this.eventCount += 1;
    this.trace?.mix(KIND_CODES[event.kind] + 8 * (event.owner?.number ?? 0));
    this.trace?.mix(Math.floor(this.nowMs * 1000));
    this.current = event.owner;
    try {
      event.run();
    } catch (error) {
      if (event.owner === null) throw error;
      // As outside the simulation: what nobody catches ends the process.
      event.owner.uncaught(error);
    }
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): SimEvent {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  return a.tie === b.tie ? a.seq < b.seq : a.tie < b.tie;
}
