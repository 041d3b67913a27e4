import { assert } from '../../lib/assert.ts';
import type { MemberId } from './messages.ts';

/** Read requests a leader holds at once, in flight and waiting; one more is refused. */
export const READ_REQUESTS_MAX = 8192;
/** Read requests a member has waiting at its leader; one more is refused. */
export const FORWARDED_READS_MAX = 4096;

export interface ReadRequest {
  readonly from: MemberId;
  readonly context: number;
}

/** All requests that one exchange of heartbeats confirms, and the index it gives them. */
export interface ReadRound {
  readonly seq: number;
  readonly index: number;
  readonly requests: readonly ReadRequest[];
}

/**
 * A leader's ReadIndex requests (thesis 6.4) in rounds of its own numbering: some in flight, one filling. An
 * acknowledgement names the latest round its sender saw in this term, so a delayed one can never confirm a round
 * that began after it was sent, whatever contexts the requests carry; it confirms all that began before that one.
 */
export class ReadRounds {
  readonly #inFlightMax: number;
  #seq = 0;
  /** Oldest first. */
  #inFlight: ReadRound[] = [];
  #filling: ReadRequest[] = [];
  /** Requests of the rounds in flight. */
  #askedCount = 0;

  /** @param inFlightMax a round that would be one more waits, and gathers requests meanwhile */
  constructor(inFlightMax: number) {
    this.#inFlightMax = inFlightMax;
  }

  /** The latest round begun in this term; 0 before the first. Every heartbeat carries it. */
  get seq(): number {
    return this.#seq;
  }
  get hasInFlight(): boolean {
    return this.#inFlight.length > 0;
  }
  /** Whether requests wait and may begin. */
  get mayBegin(): boolean {
    return this.#filling.length > 0 && this.#inFlight.length < this.#inFlightMax;
  }

  /** Registers a request for the round that is filling. False when the limit is reached. */
  add(request: ReadRequest): boolean {
    if (this.#filling.length + this.#askedCount >= READ_REQUESTS_MAX) return false;
    this.#filling.push(request);
    return true;
  }

  /** Begins the round that was filling. Its index is the commit index now, after all its requests came in. */
  begin(index: number): ReadRound {
    assert(this.mayBegin, 'a read round has requests, and its turn');
    this.#seq += 1;
    const round = { seq: this.#seq, index, requests: this.#filling };
    this.#inFlight.push(round);
    this.#askedCount += round.requests.length;
    this.#filling = [];
    return round;
  }

  /** Ends the oldest round in flight if a quorum has acknowledged `seq`. */
  confirmTo(seq: number): ReadRound | null {
    const round = this.#inFlight[0];
    if (round === undefined || seq < round.seq) return null;
    this.#inFlight.shift();
    this.#askedCount -= round.requests.length;
    return round;
  }

  /** Gives up every request and starts numbering anew: the term or the leadership ended. */
  clear(): readonly ReadRequest[] {
    const requests = [...this.#inFlight.flatMap((round) => round.requests), ...this.#filling];
    this.#seq = 0;
    this.#inFlight = [];
    this.#askedCount = 0;
    this.#filling = [];
    return requests;
  }
}

/** Read requests sent to the leader and not answered yet, oldest first. Each is given up after a number of ticks. */
export class ForwardedReads {
  readonly #deadlines = new Map<number, number>();
  #now = 0;

  /** False when the limit is reached. */
  add(request: { readonly context: number; readonly ticksMax: number }): boolean {
    if (this.#deadlines.size >= FORWARDED_READS_MAX) return false;
    this.#deadlines.set(request.context, this.#now + request.ticksMax);
    return true;
  }

  /** Takes an answered request out. False when it was not waiting: given up, or never asked. */
  take(context: number): boolean {
    return this.#deadlines.delete(context);
  }

  /** Advances by one tick and returns the requests it gave up. */
  tick(): readonly number[] {
    this.#now += 1;
    const late: number[] = [];
    for (const [context, deadline] of this.#deadlines) {
      if (deadline > this.#now) break;
      late.push(context);
    }
    for (const context of late) this.#deadlines.delete(context);
    return late;
  }

  clear(): readonly number[] {
    const contexts = [...this.#deadlines.keys()];
    this.#deadlines.clear();
    return contexts;
  }
}
