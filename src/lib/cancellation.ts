/** Called once the signal is aborted; an object in place of a function spares a closure for each of many waits. */
export type CancelListener = (() => void) | { handleEvent(): void };

/** What says that nobody waits for a result any more: of an `AbortSignal`, which is one, the part that is used here. */
export interface CancelSignal {
  readonly aborted: boolean;
  /** Why, once it is aborted. */
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: CancelListener, options?: { readonly once?: boolean }): void;
  removeEventListener(type: 'abort', listener: CancelListener): void;
}

/**
 * A signal and its control in one, as every call has: an `AbortController` with its signal took more time and memory
 * than the rest of a small call.
 */
export class Cancellation implements CancelSignal {
  aborted = false;
  reason: unknown = undefined;
  /** Hardly any call ever has a second one at a time. */
  #first: CancelListener | null = null;
  #others: Set<CancelListener> | null = null;

  /** The listener is called once at most, and never for what has already happened. */
  addEventListener(_type: 'abort', listener: CancelListener): void {
    if (this.aborted) return;
    if (this.#first === null) this.#first = listener;
    else (this.#others ??= new Set()).add(listener);
  }

  removeEventListener(_type: 'abort', listener: CancelListener): void {
    if (this.#first === listener) this.#first = null;
    else this.#others?.delete(listener);
  }

  /** The first reason stays. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const listeners = [this.#first, ...(this.#others ?? [])];
    this.#first = null;
    this.#others = null;
    for (const listener of listeners) {
      if (typeof listener === 'function') listener();
      else listener?.handleEvent();
    }
  }
}

/** Resolves once the signal is aborted. */
export function aborted(signal: CancelSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', resolve, { once: true });
  });
}
