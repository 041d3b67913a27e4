import type { MessagePort } from 'node:worker_threads';
import { ThreadPort } from '../lib/thread-port.ts';
import { type Kv, KvError, type Principal } from './kv.ts';
import {
  BATCHES_AHEAD_MAX,
  type FromStore,
  type ThreadCall,
  type ThreadFailure,
  type ToStore,
} from './thread-messages.ts';

/** A call or watch under way; of a watch, how many batches may still be sent. */
interface Served {
  readonly control: AbortController;
  room: number;
  /** Called when there is room again. */
  onRoom: () => void;
}

/**
 * Serves a store to a `ThreadKv` at the other end of a port. What is under way ends when the port is closed, by
 * whichever side; the store itself stays open.
 *
 * @param onBug told of whatever is no KvError; who called hears of `internal`
 */
export function serveKv(port: MessagePort, kv: Kv, onBug: (error: unknown) => void): { close(): void } {
  return new KvServer(port, kv, onBug);
}

class KvServer {
  readonly #kv: Kv;
  readonly #onBug: (error: unknown) => void;
  readonly #port: ThreadPort<FromStore, ToStore>;
  readonly #served = new Map<number, Served>();

  constructor(port: MessagePort, kv: Kv, onBug: (error: unknown) => void) {
    this.#kv = kv;
    this.#onBug = onBug;
    this.#port = new ThreadPort(port, {
      message: (message) => this.#take(message),
      close: () => this.#cancelAll(),
    });
  }

  close(): void {
    this.#port.close();
    this.#cancelAll();
  }

  #take(message: ToStore): void {
    switch (message.type) {
      case 'call':
        void this.#serve(message.id, async (served) => {
          const { signal } = served.control;
          const answer = await performed(this.#kv, message, { principal: message.principal, signal });
          this.#port.send({ type: 'answer', id: message.id, answer });
        });
        return;
      case 'watch':
        void this.#serve(message.id, (served) => this.#watch(message, served));
        return;
      case 'taken': {
        const served = this.#served.get(message.id);
        if (served === undefined) return;
        served.room += 1;
        served.onRoom();
        return;
      }
      case 'cancel':
        this.#served.get(message.id)?.control.abort();
        return;
    }
  }

  async #serve(id: number, work: (served: Served) => Promise<void>): Promise<void> {
    const served = { control: new AbortController(), room: BATCHES_AHEAD_MAX, onRoom: () => undefined };
    this.#served.set(id, served);
    try {
      await work(served);
    } catch (error) {
      this.#port.send({ type: 'failure', id, failure: this.#failure(error) });
    } finally {
      this.#served.delete(id);
    }
  }

  async #watch(message: ToStore & { readonly type: 'watch' }, served: Served): Promise<void> {
    const { id, principal, request } = message;
    const { signal } = served.control;
    signal.addEventListener('abort', () => served.onRoom(), { once: true });
    for await (const batch of this.#kv.watch(request, { principal, signal })) {
      this.#port.send({ type: 'batch', id, batch });
      served.room -= 1;
      while (served.room === 0 && !signal.aborted) await roomOf(served);
      if (signal.aborted) return;
    }
  }

  #failure(error: unknown): ThreadFailure {
    if (error instanceof KvError) {
      const { code, message, compactRevision } = error;
      return { code, message, compactRevision };
    }
    this.#onBug(error);
    return { code: 'internal', message: 'the store failed', compactRevision: undefined };
  }

  #cancelAll(): void {
    for (const { control } of this.#served.values()) control.abort();
  }
}

function performed(
  kv: Kv,
  call: ThreadCall,
  context: { readonly principal: Principal; readonly signal: AbortSignal },
): Promise<unknown> {
  switch (call.method) {
    case 'range':
      return kv.range(call.request, context);
    case 'txn':
      return kv.txn(call.request, context);
    case 'leaseGrant':
      return kv.leaseGrant(call.request, context);
    case 'leaseKeepAlive':
      return kv.leaseKeepAlive(call.request, context);
    case 'leaseRevoke':
      return kv.leaseRevoke(call.request, context);
    case 'authEnabled':
      return kv.authEnabled(context);
    case 'signIn':
      return kv.signIn(call.request, context);
    case 'permits':
      return kv.permits(call.request, context);
  }
}

/** Resolves when there may be room, or when nobody waits any more. */
async function roomOf(served: Served): Promise<void> {
  await new Promise<void>((resolve) => {
    served.onRoom = resolve;
  });
  served.onRoom = () => undefined;
}
