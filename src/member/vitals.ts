import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberObserver } from './observer.ts';
import type { Clock, Transport } from './ports.ts';
import type { ReadyLoop } from './ready-loop.ts';

/** Ticks that may pass between two looks before it is this process that stood still, and not the disk. */
const LOOK_TICKS_MAX = 5;
/** How often the size of the state on disk and the ways to the peers are measured. */
const MEASURE_INTERVAL_MS = 5_000;

export interface VitalsOptions {
  readonly loop: Pick<ReadyLoop, 'diskStalledMs' | 'node' | 'replica' | 'view'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly tickMs: number;
  readonly transport: Pick<Transport, 'roundTrip'>;
  readonly observer: MemberObserver;
  readonly logger: Logger;
  /** A leader whose log write is outstanding for longer gives leadership up. */
  readonly electionMs: number;
  /** A log write outstanding for longer ends the process. */
  readonly stallMsMax: number;
  /** The member must not go on. */
  readonly fatal: (error: unknown) => void;
}

/** What a member watches in passing: whether its disk answers, how large its state is, how far its peers are. */
export class Vitals {
  readonly #options: VitalsOptions;
  #stateBytes = 0;
  #diskStalledMs = 0;
  #lookedMs: number;
  #measuredMs = Number.NEGATIVE_INFINITY;

  constructor(options: VitalsOptions) {
    this.#options = options;
    this.#lookedMs = options.clock.nowMs();
  }

  /** The size of the state on disk, as last measured. */
  get stateBytes(): number {
    return this.#stateBytes;
  }

  get diskAnswers(): boolean {
    return this.#diskStalledMs <= this.#options.stallMsMax;
  }

  /**
   * At every tick. A leader whose disk has stalled must not keep the others waiting (RELIABILITY P8). Time in which this
   * process was stopped, or its machine suspended, is not the disk's: what it wrote may long be done, unheard.
   */
  watchDisk(): void {
    const { loop, clock, tickMs, electionMs, logger, fatal } = this.#options;
    const nowMs = clock.nowMs();
    const lookMs = Math.min(nowMs - this.#lookedMs, LOOK_TICKS_MAX * tickMs);
    this.#lookedMs = nowMs;
    this.#diskStalledMs = Math.min(loop.diskStalledMs, this.#diskStalledMs + lookMs);
    const stalledMs = this.#diskStalledMs;
    if (!this.diskAnswers) {
      fatal(new StoreError('storage', `the disk has not answered for ${Math.round(stalledMs)} ms`));
    } else if (stalledMs > electionMs && loop.view.role === 'leader') {
      logger.warn({ stalledMs }, 'the disk has stalled: giving leadership up');
      loop.node.abandonLeadership();
    }
  }

  measure(): void {
    const { loop, clock, transport, observer, fatal } = this.#options;
    if (clock.nowMs() - this.#measuredMs < MEASURE_INTERVAL_MS) return;
    this.#measuredMs = clock.nowMs();
    loop.replica.store.sizeBytes().then((bytes) => {
      this.#stateBytes = bytes;
    }, fatal);
    for (const { id } of loop.replica.machine.memberList()) {
      const roundTrip = transport.roundTrip(id);
      if (roundTrip !== undefined) observer.peerRoundTrip(id, roundTrip.lastMs / 1000);
    }
  }
}
