import { StoreError, type StoreErrorCode } from '../../src/lib/errors.ts';
import type { Member } from '../../src/member/member.ts';
import type { Place } from './place.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './process.ts';
import type { Scheduler } from './scheduler.ts';

/** What came of a request. */
export type Answer<T> =
  | { readonly type: 'answered'; readonly value: T; readonly process: string }
  /** The member refused; whether that says that nothing happened depends on the code. */
  | { readonly type: 'refused'; readonly code: StoreErrorCode; readonly process: string }
  /** It never reached a running member. */
  | { readonly type: 'unreached' }
  /** No answer in time: it may have happened, may yet happen, or not. */
  | { readonly type: 'unknown' };

/** The way between clients and members, in ms. */
const WAY_MS_MAX = 2;
/** One answer in so many is lost on its way. */
const LOST_ANSWER_PERCENT = 0.5;

/** Sends requests to the process that runs at a place, over a network of their own that loses an answer now and then. */
export class ClientPort {
  /** Requests on their way or being served. */
  pendingCount = 0;
  readonly #scheduler: Scheduler;
  readonly #random: Prng;

  constructor(scheduler: Scheduler, random: Prng) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** `sent`: called as the member answers, in the very step; the answer may yet be lost. */
  call<T>(
    place: Place,
    timeoutMs: number,
    request: (member: Member, signal: AbortSignal) => Promise<T>,
    sent: (value: T, process: SimProcess) => void = () => {},
  ): Promise<Answer<T>> {
    const abort = new AbortController();
    this.pendingCount += 1;
    return new Promise((resolve) => {
      let settled = false;
      const settle = (answer: Answer<T>): void => {
        if (settled) return;
        settled = true;
        this.pendingCount -= 1;
        timer.canceled = true;
        resolve(answer);
      };
      const timer = this.#later(timeoutMs, () => {
        settle({ type: 'unknown' });
        // The member hears that the client has gone, if it still runs.
        place.process?.schedule(this.#wayMs(), 'client', () => abort.abort());
      });
      this.#later(this.#wayMs(), () => {
        const { process } = place;
        if (process === null) {
          this.#later(this.#wayMs(), () => settle({ type: 'unreached' }));
          return;
        }
        process.schedule(0, 'client', () => {
          const { member } = place;
          const reply = (answer: Answer<T>): void => {
            if (!process.alive || this.#random.chance(LOST_ANSWER_PERCENT)) return;
            this.#later(this.#wayMs(), () => settle(answer));
          };
          if (member === null) {
            reply({ type: 'unreached' });
            return;
          }
          this.#serve(request(member, abort.signal), { process, reply, sent });
        });
      });
    });
  }

  #serve<T>(
    work: Promise<T>,
    {
      process,
      reply,
      sent,
    }: {
      readonly process: SimProcess;
      readonly reply: (answer: Answer<T>) => void;
      readonly sent: (value: T, process: SimProcess) => void;
    },
  ): void {
    work.then(
      (value) => {
        if (process.alive) sent(value, process);
        reply({ type: 'answered', value, process: process.name });
      },
      (error: unknown) => {
        if (!(error instanceof StoreError)) throw error;
        reply({ type: 'refused', code: error.code, process: process.name });
      },
    );
  }

  /** Runs something on the client's side. */
  #later(delayMs: number, run: () => void): { canceled: boolean } {
    return this.#scheduler.schedule(delayMs, { owner: null, kind: 'client', run });
  }

  #wayMs(): number {
    return 0.05 + this.#random.fraction() * WAY_MS_MAX;
  }
}

/** Resolves after a while of virtual time. */
export function pause(scheduler: Scheduler, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    scheduler.schedule(delayMs, { owner: null, kind: 'client', run: resolve });
  });
}
