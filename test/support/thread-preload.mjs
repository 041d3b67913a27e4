// Loaded before a server's own code: SIGUSR2 ends the threads that it has started, as the one who started them could.
import { syncBuiltinESMExports } from 'node:module';
import threads, { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  const running = new Set();
  threads.Worker = class extends threads.Worker {
    constructor(...words) {
      super(...words);
      running.add(this);
      this.once('exit', () => running.delete(this));
    }
  };
  syncBuiltinESMExports();
  process.on('SIGUSR2', () => {
    for (const worker of running) void worker.terminate();
  });
}
