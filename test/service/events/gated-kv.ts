import type { Kv } from '../../../src/kv/kv.ts';

/** Watches tell nothing while it is shut: whoever watches stays behind. */
export class Gate {
  #opened: Promise<void> = Promise.resolve();
  #open: () => void = () => undefined;

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
      range: (request, call) => kv.range(request, call),
      txn: (request, call) => kv.txn(request, call),
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
}
