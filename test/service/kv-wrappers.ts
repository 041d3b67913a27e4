import {
  type Kv,
  type KvCall,
  KvError,
  type KvTxnAnswer,
  type KvTxnRequest,
  type KvWatchBatch,
} from '../../src/kv/kv.ts';
import { HEAD_KEY } from '../../src/service/keyspace.ts';

type Perform = (request: KvTxnRequest, call: KvCall) => Promise<KvTxnAnswer>;

/** The store with another way of doing transactions that write; everything else goes through. */
export function withTxn(
  kv: Kv,
  txn: (perform: Perform, request: KvTxnRequest, call: KvCall) => Promise<KvTxnAnswer>,
): Kv {
  const perform: Perform = (request, call) => kv.txn(request, call);
  return {
    limits: kv.limits,
    range: (request, call) => kv.range(request, call),
    txn: (request, call) =>
      request.success.some(({ type }) => type !== 'range')
        ? txn(perform, request, call)
        : perform(request, call),
    watch: (request, call) => kv.watch(request, call),
    leaseGrant: (request, call) => kv.leaseGrant(request, call),
    leaseKeepAlive: (id, call) => kv.leaseKeepAlive(id, call),
    leaseRevoke: (id, call) => kv.leaseRevoke(id, call),
    authEnabled: (call) => kv.authEnabled(call),
    signIn: (login, call) => kv.signIn(login, call),
    permits: (request, call) => kv.permits(request, call),
    close: () => kv.close(),
  };
}

/** Hears nothing of changes from `hold` on, until it asks the store how far that is, or changes something. */
export class Behind {
  readonly kv: Kv;
  #release: () => void = () => undefined;
  #mayHear: Promise<void> = Promise.resolve();

  constructor(kv: Kv) {
    const inner = withTxn(kv, async (perform, request, call) => {
      this.#release();
      return perform(request, call);
    });
    this.kv = {
      ...inner,
      range: async (request, call) => {
        const answer = await kv.range(request, call);
        if (request.key.equals(HEAD_KEY)) this.#release();
        return answer;
      },
      watch: (request, call) => this.#heard(kv.watch(request, call)),
    };
  }

  hold(): void {
    this.#mayHear = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  async *#heard(batches: AsyncIterable<KvWatchBatch>): AsyncGenerator<KvWatchBatch> {
    for await (const batch of batches) {
      await this.#mayHear;
      yield batch;
    }
  }
}

/** While `isOn`, one more transaction is done and the following ones fail. */
export function failingAfterOne(kv: Kv, isOn: () => boolean): Kv {
  let done = 0;
  return withTxn(kv, (perform, request, call) => {
    if (!isOn()) return perform(request, call);
    done += 1;
    if (done > 1) return Promise.reject(new KvError('unavailable', 'no leader'));
    return perform(request, call);
  });
}

/** Runs something, once, just before a transaction that writes reaches the store: it comes first. */
export function interleaving(kv: Kv, intruders: (() => Promise<unknown>)[]): Kv {
  return withTxn(kv, async (perform, request, call) => {
    const intrude = intruders.shift();
    if (intrude !== undefined) await intrude();
    return perform(request, call);
  });
}

/** What becomes of the next transactions that write. */
export type Fate = 'fine' | 'lost' | 'done' | 'late' | 'refused';

/**
 * `lost`: never done. `done`: done, without an answer. `late`: done when the next one comes. Of these the outcome is unknown to
 * whoever asked. `refused`: never done, which is known.
 */
export function ambiguous(kv: Kv, fates: Fate[]): Kv {
  const late: (() => Promise<unknown>)[] = [];
  return withTxn(kv, async (perform, request, call) => {
    for (const run of late.splice(0)) await run();
    const fate = fates.shift() ?? 'fine';
    if (fate === 'fine') return perform(request, call);
    if (fate === 'refused') throw new KvError('unavailable', 'no leader');
    if (fate === 'done') await perform(request, call);
    if (fate === 'late') late.push(() => perform(request, call));
    throw new KvError('ambiguous', 'request timed out');
  });
}
