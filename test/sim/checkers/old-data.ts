import type { Message } from '../../../src/core/raft/messages.ts';
import type { Place } from '../place.ts';
import type { SimProcess } from '../process.ts';
import { type Report, Violation } from '../violation.ts';

/** Looks, one every 50 ms while the process runs, after which a meeting counts as written down. */
const LOOKS = 20;

/** Which processes a copy of data knows nothing of: those started after it was made and before it was put back. */
export interface Forgotten {
  readonly after: number;
  readonly upTo: number;
}

/** That a member let a process of a peer in. Processes are told apart by their numbers, which only rise. */
interface Meeting {
  readonly guest: Place;
  readonly guestNumber: number;
  readonly host: SimProcess;
  looks: number;
}

/**
 * No two lives of one member (RELIABILITY S5): who has met a member on newer data hears nothing from it any more once
 * it runs on an older copy, however often that is started: no vote, no acknowledgement, no append, nothing that Raft
 * says. Meetings are remembered over restarts. Nothing is promised by those who never met the newer data; and nobody can
 * tell a copy that was made while the newest process they have met was running.
 */
export class OldData {
  readonly #report: Report;
  /** Who was let in where. */
  readonly #meetings = new Map<Place, Meeting[]>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** A member has let a peer in. */
  introduced(host: Place, guest: Place): void {
    if (host.process === null || guest.process === null) return;
    const { number } = guest.process;
    const known = this.#of(host);
    if (known.some((each) => each.host === host.process && each.guestNumber === number)) return;
    known.push({ guest, guestNumber: number, host: host.process, looks: 0 });
  }

  /** Messages of a peer are handed to a member. */
  heard(host: Place, guest: Place, messages: readonly Message[]): void {
    const { forgotten } = guest;
    if (forgotten === null || host.lost || !this.hasMet(host, guest, forgotten)) return;
    const types = [...new Set(messages.map(({ type }) => type))].join();
    this.#report(
      new Violation(
        'old-data',
        `${host.process?.name} takes ${types} of ${guest.process?.name}, which runs on an old copy; it has met newer data of it`,
      ),
    );
  }

  /** To be called every 50 ms. */
  look(): void {
    for (const [place, meetings] of this.#meetings) {
      // A disk that is slow or fails may keep it from writing that down.
      if (place.storageFaulty) continue;
      for (const meeting of meetings) if (meeting.host.alive && !meeting.host.paused) meeting.looks += 1;
    }
  }

  /** Whether a member is sure to know of a peer's process that a copy of its data does not. */
  hasMet(host: Place, guest: Place, { after, upTo }: Forgotten): boolean {
    return this.#remembered(host, guest).some(
      ({ guestNumber }) => guestNumber > after && guestNumber <= upTo,
    );
  }

  /** The meetings with a peer that a member is sure to know of. */
  #remembered(host: Place, guest: Place): Meeting[] {
    return this.#of(host).filter(
      (meeting) => meeting.guest === guest && (meeting.host === host.process || meeting.looks >= LOOKS),
    );
  }

  #of(host: Place): Meeting[] {
    const known = this.#meetings.get(host) ?? [];
    this.#meetings.set(host, known);
    return known;
  }
}
