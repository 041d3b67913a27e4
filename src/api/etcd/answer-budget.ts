import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import type { RpcCall } from '../../rpc/server.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';

/** Large answers on their way to clients, in bytes; beyond it further ones wait. */
export const ANSWERS_BYTES_MAX = 512 * 1024 * 1024;
/** The largest answer there can be: gRPC's own bound, as etcd's. */
const ANSWER_BYTES_MAX = 2 ** 31 - 1;
/** Large answers that may wait for room; beyond it `too-many-requests`. */
const WAITING_MAX = 1_000;
/** How long one waits for room before `too-many-requests`. */
const PATIENCE_MS = 30_000;

interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
}

/**
 * Room for large answers. A client that asks for 100 MB and then reads slowly keeps them in memory for as long: this
 * bounds how much of that there is. An answer larger than all of the room has it alone.
 */
export class AnswerBudget {
  readonly #bytesMax: number;
  readonly #patienceMs: number;
  readonly #waiting: Waiter[] = [];
  #bytes = 0;

  constructor(options: { readonly bytesMax?: number; readonly patienceMs?: number } = {}) {
    this.#bytesMax = options.bytesMax ?? ANSWERS_BYTES_MAX;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
  }

  /** Bytes of the answers that are on their way. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Resolves when there is room, in the order of asking. The room is given back when the call is over.
   *
   * @throws StoreError `too-many-requests`, or why the call ended
   * @throws RpcError `resource-exhausted` for an answer that no message can hold
   */
  async reserve(bytes: number, call: Pick<RpcCall, 'signal' | 'onOver'>): Promise<void> {
    if (bytes > ANSWER_BYTES_MAX) {
      throw new RpcError(
        rpcStatus.resourceExhausted,
        `trying to send message larger than max (${bytes} vs. ${ANSWER_BYTES_MAX})`,
      );
    }
    if (call.signal.aborted) throw abortError(call.signal);
    if (this.tryReserve(bytes, call)) return;
    await this.#wait(bytes, call.signal);
    this.#releaseWith(call, bytes);
    if (call.signal.aborted) throw abortError(call.signal);
  }

  /** As `reserve`, when nobody has to wait for it; else false, and nothing is reserved. */
  tryReserve(bytes: number, call: Pick<RpcCall, 'signal' | 'onOver'>): boolean {
    if (bytes > ANSWER_BYTES_MAX || call.signal.aborted) return false;
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes)) return false;
    this.#bytes += bytes;
    this.#releaseWith(call, bytes);
    return true;
  }

  #releaseWith(call: Pick<RpcCall, 'onOver'>, bytes: number): void {
    call.onOver(() => {
      this.#bytes -= bytes;
      this.#admit();
    });
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax;
  }

  #wait(bytes: number, signal: CancelSignal): Promise<void> {
    if (this.#waiting.length >= WAITING_MAX) throw new StoreError('too-many-requests');
    return new Promise((resolve, reject) => {
      const giveUp = (error: StoreError): void => {
        settle();
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(error);
        this.#admit();
      };
      const onAbort = (): void => giveUp(abortError(signal));
      const timer = setTimeout(() => giveUp(new StoreError('too-many-requests')), this.#patienceMs);
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const waiter = {
        bytes,
        admit: () => {
          settle();
          resolve();
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#hasRoom(next.bytes)) return;
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.admit();
    }
  }
}
