import { ClientError } from '../../src/client/client-error.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import type { WatchOptions } from '../../src/client/types.ts';
import type { CommittedRevision, HistoryEvent, WatchHistory, WatchItem } from '../linearizability/history.ts';
import { ALL_KEYS } from './workload.ts';

const EMPTY = Buffer.alloc(0);

/** As the client takes them, keys as bytes. */
export interface ObserverOptions extends WatchOptions {
  readonly key: Buffer;
  readonly rangeEnd?: Buffer;
}

/** One watch over any number of lost connections and members, and all that it was sent. */
export class Observer {
  readonly #options: ObserverOptions;
  readonly #client: KvClient;
  readonly #abort = new AbortController();
  readonly #items: WatchItem[] = [];
  readonly #following: Promise<void>;
  #waiters: { readonly revision: number; readonly resolve: () => void }[] = [];
  #revision = 0;
  #ended: string | null = null;

  /** @param urls turned to one after the other, in this order */
  constructor(urls: readonly string[], options: ObserverOptions) {
    this.#options = { ...options, signal: this.#abort.signal };
    this.#client = new KvClient({ endpoints: urls });
    this.#following = this.#follow();
  }

  /** The newest revision of which it has been sent events. */
  get revision(): number {
    return this.#revision;
  }

  /** Why it is over, or null while it goes on. */
  get ended(): string | null {
    return this.#ended;
  }

  /** Resolves when events of `revision`, or of a later one, have come, or none can come any more. */
  async reached(revision: number): Promise<void> {
    if (this.#revision >= revision || this.#ended !== null) return;
    await new Promise<void>((resolve) => this.#waiters.push({ revision, resolve }));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#following;
    this.#client.close();
  }

  /** @param deliveredThrough a revision that `reached` has resolved for */
  history(deliveredThrough: number): WatchHistory {
    const { key, rangeEnd, startRevision, prevKv } = this.#options;
    return {
      key,
      rangeEnd: rangeEnd ?? EMPTY,
      startRevision: startRevision ?? 0,
      prevKv: prevKv ?? false,
      filters: [],
      items: this.#items,
      deliveredThrough: this.#ended === null ? deliveredThrough : 0,
    };
  }

  /** What it was sent, by revision. */
  committed(): readonly CommittedRevision[] {
    const revisions: { revision: number; events: HistoryEvent[] }[] = [];
    for (const item of this.#items) {
      if (item.type !== 'events') continue;
      for (const event of item.events) {
        const last = revisions.at(-1);
        if (last?.revision === event.kv.modRevision) last.events.push(event);
        else revisions.push({ revision: event.kv.modRevision, events: [event] });
      }
    }
    return revisions;
  }

  async #follow(): Promise<void> {
    try {
      for await (const { header, events } of this.#client.watch(this.#options)) {
        const { revision } = header;
        if (events.length === 0) this.#items.push({ type: 'progress', revision });
        else this.#items.push({ type: 'events', revision, events, fragment: false });
        this.#revision = events.at(-1)?.kv.modRevision ?? this.#revision;
        this.#wake();
      }
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      this.#ended = error.message;
      if (error.compactRevision !== undefined) {
        this.#items.push({ type: 'canceled', compactRevision: error.compactRevision });
      }
      this.#wake();
    }
  }

  #wake(): void {
    const due = this.#waiters.filter(({ revision }) => this.#ended !== null || revision <= this.#revision);
    this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter));
    for (const { resolve } of due) resolve();
  }
}

/** A watch that hears of everything from the beginning: what it was sent is the store's history. */
export function observeEverything(urls: readonly string[]): Observer {
  return new Observer(urls, { ...ALL_KEYS, startRevision: 1, prevKv: true });
}
