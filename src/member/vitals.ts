import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberObserver } from './observer.ts';
import type { Clock, Transport } from './ports.ts';
import type { ReadyLoop } from './ready-loop.ts';

/** How often the size of the state on disk and the ways to the peers are measured. */
const MEASURE_INTERVAL_MS = 5_000;

export interface VitalsOptions {
  readonly loop: ReadyLoop;
  readonly clock: Clock;
  readonly transport: Pick<Transport, 'roundTripMs'>;
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
  #measuredMs = Number.NEGATIVE_INFINITY;

  constructor(options: VitalsOptions) {
    this.#options = options;
  }

  /** The size of the state on disk, as last measured. */
  get stateBytes(): number {
    return this.#stateBytes;
  }

  /** A leader whose disk has stalled must not keep the others waiting (RELIABILITY P8). */
  watchDisk(): void {
    const { loop, electionMs, stallMsMax, logger, fatal } = this.#options;
    const stalledMs = loop.diskStalledMs;
    if (stalledMs > stallMsMax) {
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
      const roundTripMs = transport.roundTripMs(id);
      if (roundTripMs !== undefined) observer.peerRoundTrip(id, roundTripMs / 1000);
    }
  }
}
