import type { Kv } from '../../../src/kv/kv.ts';

/** Watches tell nothing while it is shut: whoever watches stays behind. Reads take some turns of the event loop. */
export class Gate {
  readonly #turnsMax: number;
  #reads = 0;
  #opened: Promise<void> = Promise.resolve();
  #open: () => void = () => undefined;

  constructor(turnsMax = 0) {
    this.#turnsMax = turnsMax;
  }

  shut(): void {
    this.#open();
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open();
    this.#opened = Promise.resolve();
  }

  /** The store whose watches pass through the gate. */
  before(kv: Kv): Kv {
    const passed = (): Promise<void> => this.#opened;
    return {
      limits: kv.limits,
      range: async (request, call) => {
        await this.#wait();
        return kv.range(request, call);
      },
      txn: async (request, call) => {
        await this.#wait();
        return kv.txn(request, call);
      },
      watch: async function* (request, call) {
        for await (const batch of kv.watch(request, call)) {
          await passed();
          yield batch;
        }
      },
      leaseGrant: (request, call) => kv.leaseGrant(request, call),
      leaseKeepAlive: (id, call) => kv.leaseKeepAlive(id, call),
      leaseRevoke: (id, call) => kv.leaseRevoke(id, call),
      authEnabled: (call) => kv.authEnabled(call),
      signIn: (login, call) => kv.signIn(login, call),
      permits: (request, call) => kv.permits(request, call),
      close: () => kv.close(),
    };
  }

  async #wait(): Promise<void> {
    this.#reads += 1;
    // Some take long, others none, the same ones each time.
    const turns = (Math.imul(this.#reads, 2_654_435_761) >>> 8) % (this.#turnsMax + 1);
    for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
