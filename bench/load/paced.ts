import { setTimeout as delay } from 'node:timers/promises';

/** Calls that are due at even times, whatever became of those before: an open loop. */
export interface PacedLoad {
  readonly perSecond: number;
  /** At most; fewer when `signal` ends the load before. */
  readonly count: number;
  readonly signal?: AbortSignal;
  /** Sends one call; resolves when it is answered, rejects when it failed. */
  readonly send: (index: number) => Promise<unknown>;
}

/** What became of one call, in milliseconds of this process's clock. */
export interface PacedCall {
  readonly dueMs: number;
  /** Answered; null when it failed. */
  doneMs: number | null;
  /** Why it failed. */
  failure: Error | null;
}

const TICK_MS = 1;
const PATIENCE_MS = 60_000;

/**
 * Offers the load and waits for the answers. A call counts from when it was due: a server that stalls is charged for
 * every call that would have been made meanwhile.
 *
 * @throws Error when a call has neither an answer nor a failure a minute after the last was sent
 */
export async function paced(load: PacedLoad): Promise<readonly PacedCall[]> {
  const calls: PacedCall[] = [];
  const open = new Set<Promise<void>>();
  const startedMs = performance.now();
  const goesOn = (): boolean => load.signal?.aborted !== true;
  while (calls.length < load.count && goesOn()) {
    const due = Math.min(load.count, Math.ceil(((performance.now() - startedMs) * load.perSecond) / 1000));
    while (calls.length < due && goesOn()) {
      const call: PacedCall = {
        dueMs: startedMs + (calls.length * 1000) / load.perSecond,
        doneMs: null,
        failure: null,
      };
      const answered: Promise<void> = settle(load.send(calls.length), call).then(
        () => void open.delete(answered),
      );
      open.add(answered);
      calls.push(call);
    }
    await delay(TICK_MS);
  }
  await Promise.race([Promise.all(open), tooLate()]);
  return calls;
}

/** Of the calls that were answered. */
export function latenciesMs(calls: readonly PacedCall[]): readonly number[] {
  return calls.flatMap(({ dueMs, doneMs }) => (doneMs === null ? [] : [doneMs - dueMs]));
}

/**
 * How long who had each call to make had to wait until one was answered: a call that failed has waited for the first
 * answer to a call that was due after it; without one, at least until the last call was due.
 */
export function waitsMs(calls: readonly PacedCall[]): readonly number[] {
  const waits: number[] = [];
  let nextDoneMs: number | null = null;
  for (const { dueMs, doneMs } of calls.toReversed()) {
    if (doneMs !== null) nextDoneMs = Math.min(nextDoneMs ?? doneMs, doneMs);
    waits.push((doneMs ?? nextDoneMs ?? calls.at(-1)!.dueMs) - dueMs);
  }
  return waits.reverse();
}

export function failures(calls: readonly PacedCall[]): readonly Error[] {
  return calls.flatMap(({ failure }) => (failure === null ? [] : [failure]));
}

async function settle(answer: Promise<unknown>, call: PacedCall): Promise<void> {
  try {
    await answer;
    call.doneMs = performance.now();
  } catch (error) {
    call.failure = error as Error;
  }
}

async function tooLate(): Promise<never> {
  await delay(PATIENCE_MS, undefined, { ref: false });
  throw new Error('calls of a paced load were never answered');
}
