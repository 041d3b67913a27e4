import { once } from 'node:events';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { DEFAULT_LIMITS } from '../../src/kv/check.ts';
import { ThreadKv } from '../../src/kv/thread-kv.ts';
import { kvContract } from '../contract/kv.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const BUILT = join(repositoryRoot(), 'dist/src/kv');

/** The store's side, in a thread of its own: what it is told besides calls comes over the parent's port. */
const PROGRAM = `
  const { parentPort } = require('node:worker_threads');
  const loaded = Promise.all([import('${BUILT}/memory-kv.js'), import('${BUILT}/serve-kv.js')]);
  let nowMs = 0;
  let store = null;
  parentPort.on('message', async (message) => {
    const [{ MemoryKv }, { serveKv }] = await loaded;
    store ??= new MemoryKv({ nowMs: () => nowMs });
    if (message.connect) serveKv(message.connect, store.connect(), (error) => { throw error; });
    if (message.compact) store.compact(message.compact);
    if (message.elapse) nowMs += message.elapse * 1000;
    parentPort.postMessage('done');
  });
`;

kvContract('a store in another thread', async () => {
  const worker = new Worker(PROGRAM, { eval: true });
  const tell = async (message: object, transfer: readonly MessagePort[] = []): Promise<void> => {
    const done = once(worker, 'message');
    worker.postMessage(message, transfer);
    await done;
  };
  return {
    connect: async () => {
      const { port1, port2 } = new MessageChannel();
      await tell({ connect: port1 }, [port1]);
      return new ThreadKv(port2, DEFAULT_LIMITS);
    },
    compact: (revision) => tell({ compact: revision }),
    elapse: (seconds) => tell({ elapse: seconds }),
    stop: async () => {
      await worker.terminate();
    },
  };
});
