import { describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { EtcdKv } from '../../src/kv/etcd-kv.ts';
import { type Kv, KvError } from '../../src/kv/kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openService, type Service } from '../../src/service/service.ts';
import { withTxn } from '../service/kv-wrappers.ts';
import { ada } from '../service/world.ts';
import { etcdBinary, type Server, startConclave, startEtcd } from './differential/server.ts';

const BINARY = etcdBinary();

/** A store whose watches break off, and begin again when they are let. */
class Interrupted {
  #control = new AbortController();
  #mended: Promise<void> = Promise.resolve();
  #mend = (): void => undefined;

  breakOff(): void {
    this.#mended = new Promise((resolve) => {
      this.#mend = resolve;
    });
    this.#control.abort();
  }

  mend(): void {
    this.#control = new AbortController();
    this.#mend();
  }

  before(kv: Kv): Kv {
    const isMended = (): Promise<void> => this.#mended;
    const controlOf = (): AbortSignal => this.#control.signal;
    return {
      ...withTxn(kv, (perform, request, call) => perform(request, call)),
      async *watch(request, call) {
        await isMended();
        const broken = controlOf();
        yield* kv.watch(request, { ...call, signal: AbortSignal.any([call.signal, broken]) });
        if (broken.aborted) throw new KvError('unavailable', 'the watch broke off');
      },
    };
  }
}

async function open(kv: Kv): Promise<Service> {
  return openService({
    kv,
    clock: { nowMs: Date.now },
    logger: silentLogger,
    keyring: null,
    sweeps: false,
    signal: ada.signal,
  });
}

describe.each([
  { name: 'Conclave', start: () => startConclave(), skip: false },
  {
    name: 'a real etcd (needs ETCD_BIN)',
    start: () => startEtcd(BINARY!),
    // In CI it must be there.
    skip: BINARY === null && process.env['CI'] !== 'true',
  },
])('on $name', ({ start, skip }) => {
  test.skipIf(skip)('a deletion at just the compacted revision is not missed', async () => {
    const store: Server = await start();
    const kvs = [store, store].map(({ clientUrl }) => new EtcdKv({ endpoints: [clientUrl] }));
    const interrupted = new Interrupted();
    const service = await open(interrupted.before(kvs[0]!));
    const other = await open(kvs[1]!);
    using client = new KvClient({ endpoints: [store.clientUrl] });
    try {
      const environment = { tenant: 'default', id: 'qa' };
      const application = { tenant: 'default', name: 'pay' };
      const deletions = [
        () => other.environments.delete(ada, environment),
        () => other.applications.delete(ada, application),
      ];
      await other.environments.create(ada, { ...environment, parent: 'test' });
      await other.applications.create(ada, application);
      for (const remove of deletions) {
        await service.projection.catchUp(ada.signal);
        interrupted.breakOff();
        const { revision } = await remove();
        expect(service.projection.revision).toBe(revision - 1);
        await client.compact({ revision });
        interrupted.mend();
        await service.projection.reach(revision, ada.signal);
      }
      expect(service.projection.state.environment('default', 'qa')).toBeUndefined();
      expect(service.projection.state.application('default', 'pay')).toBeUndefined();
      expect(other.projection.state.environment('default', 'qa')).toBeUndefined();
    } finally {
      await Promise.all([service.close(), other.close()]);
      await Promise.all(kvs.map((kv) => kv.close()));
      await store.destroy();
    }
  });
});
