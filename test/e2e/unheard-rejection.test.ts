import { afterEach, expect, test } from 'vitest';
import { Cluster } from '../support/cluster.ts';

/** Loaded before the server: at a signal a promise fails that nobody waits for. */
const PRELOAD = `process.on('SIGUSR2', () => void Promise.reject(new Error('nobody hears this')));`;

let cluster: Cluster | null = null;
afterEach(() => cluster?.destroy());

test('a promise that fails unheard ends the member, says why, and is no way to lose data', async () => {
  cluster = await Cluster.create(1);
  const member = cluster.members[0]!;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(PRELOAD)}` };
  const server = cluster.launch(member, { env });
  await server.ready();
  server.signal('SIGUSR2');
  expect(await server.exit()).toBe(1);
  expect(server.log).toContain('nobody hears this');
  expect(server.log).toContain('the member stops: a bug');
  await cluster.launch(member).ready();
});
