import type { SimNetwork } from './network.ts';
import type { SimTransport } from './transport.ts';

/**
 * One connection between two simulated processes. Streams keep their order unless told otherwise. Once something on
 * it was lost to a cut, the connection breaks a little later, as TCP's would.
 */
export class SimConnection {
  open = true;
  readonly #network: SimNetwork;
  readonly #dialer: SimTransport;
  readonly #listener: SimTransport;
  readonly #lastArrivalMs = new Map<string, number>();
  readonly #onBreak = new Map<() => void, SimTransport>();
  #breaking = false;

  constructor(options: {
    readonly network: SimNetwork;
    readonly dialer: SimTransport;
    readonly listener: SimTransport;
  }) {
    this.#network = options.network;
    this.#dialer = options.dialer;
    this.#listener = options.listener;
    this.#dialer.adopt(this);
    this.#listener.adopt(this);
  }

  other(side: SimTransport): SimTransport | null {
    if (side === this.#dialer) return this.#listener;
    return side === this.#listener ? this.#dialer : null;
  }

  /** Brings something to the other side. */
  carry(
    from: SimTransport,
    way: { readonly stream: string; readonly inOrder: boolean; readonly extraMs?: number },
    arrive: () => void,
  ): void {
    const to = this.other(from)!;
    if (!this.open || !from.process.alive || this.#network.isCut(from.place, to.place)) {
      if (this.open) this.breakWithin(this.#network.random.fraction() * 1_000);
      return;
    }
    const { scheduler } = this.#network;
    const key = `${way.stream} ${from.place}`;
    let atMs = scheduler.nowMs + this.#network.delayMs(from.place, to.place) + (way.extraMs ?? 0);
    if (way.inOrder) {
      atMs = Math.max(atMs, (this.#lastArrivalMs.get(key) ?? 0) + 1e-6);
      this.#lastArrivalMs.set(key, atMs);
    }
    const deliver = (): void => {
      if (this.#network.isCut(from.place, to.place))
        this.breakWithin(this.#network.random.fraction() * 1_000);
      else if (this.open) arrive();
    };
    to.process.schedule(atMs - scheduler.nowMs, 'network', deliver);
  }

  /** Calls back once when the connection breaks, as the given side. @returns a function that ends the listening */
  onBreak(side: SimTransport, listener: () => void): () => void {
    if (this.open) this.#onBreak.set(listener, side);
    else side.process.schedule(0, 'network', listener);
    return () => this.#onBreak.delete(listener);
  }

  breakWithin(delayMs: number): void {
    if (this.#breaking || !this.open) return;
    this.#breaking = true;
    this.#network.scheduler.schedule(delayMs, { owner: null, kind: 'network', run: () => this.end() });
  }

  /** Over, at once for whoever sends; each side hears of it in an event of its own. */
  end(): void {
    if (!this.open) return;
    this.open = false;
    const listeners = [...this.#onBreak];
    this.#onBreak.clear();
    for (const side of [this.#dialer, this.#listener]) {
      const mine = listeners.filter(([, owner]) => owner === side).map(([listener]) => listener);
      side.process.schedule(this.#network.delayMs(side.place, side.place), 'network', () => {
        for (const listener of mine) listener();
        side.disconnected(this);
      });
    }
  }
}
