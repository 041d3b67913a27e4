import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/**
 * Below the range from which systems take ports for outgoing connections: a port found free stays so until the
 * server that it is meant for listens.
 */
const PORTS = { from: 10_000, to: 32_000 } as const;
const ATTEMPTS_MAX = 1_000;

/** Handed out by this process before; a server that restarts finds its port again. */
const taken = new Set<number>();

/** Ports that were free a moment ago, all different: they are held open together before any is given back. */
export async function freePorts(count: number): Promise<number[]> {
  const held = new Map<number, Server>();
  for (let attempt = 0; held.size < count; attempt++) {
    if (attempt > ATTEMPTS_MAX) throw new Error(`no ${count} free ports`);
    const port = randomInt(PORTS.from, PORTS.to);
    if (taken.has(port)) continue;
    const server = await listen(port);
    if (server === null) continue;
    taken.add(port);
    held.set(port, server);
  }
  await Promise.all([...held.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  return [...held.keys()];
}

/** Null when the port is in use. */
function listen(port: number): Promise<Server | null> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
