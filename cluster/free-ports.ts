import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Below the range from which systems take ports for outgoing connections: a port found free stays so until the
 * server that it is meant for listens.
 */
const PORTS = { from: 10_000, to: 32_000 } as const;
const ATTEMPTS_MAX = 1_000;
/** A file for each port that was handed out, with the id of the process that has it: others leave it alone. */
const CLAIMS = join(tmpdir(), `conclave-ports-${process.getuid?.() ?? 'all'}`);

/** Handed out by this process before; a server that restarts finds its port again. */
const taken = new Set<number>();

process.on('exit', () => {
  for (const port of taken) rmSync(claimOf(port), { force: true });
});

/** Ports that were free a moment ago, all different, and that no other process which asks here is given meanwhile. */
export async function freePorts(count: number): Promise<number[]> {
  mkdirSync(CLAIMS, { recursive: true });
  const held = new Map<number, Server>();
  for (let attempt = 0; held.size < count; attempt++) {
    if (attempt > ATTEMPTS_MAX) throw new Error(`no ${count} free ports`);
    const port = randomInt(PORTS.from, PORTS.to);
    if (taken.has(port) || !claim(port)) continue;
    taken.add(port);
    const server = await listen(port);
    if (server !== null) held.set(port, server);
  }
  await Promise.all([...held.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  return [...held.keys()];
}

/** False when another process has the port, or had it until now. */
function claim(port: number): boolean {
  try {
    writeFileSync(claimOf(port), String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  if (!holderRuns(port)) rmSync(claimOf(port), { force: true });
  return false;
}

function holderRuns(port: number): boolean {
  try {
    return process.kill(Number(readFileSync(claimOf(port), 'utf8')), 0);
  } catch (error) {
    // Neither the process nor its claim is there any more; anything else says nothing of the kind.
    return !['ESRCH', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '');
  }
}

/** The file that says which process has the port. */
export function claimOf(port: number): string {
  return join(CLAIMS, String(port));
}

/** Null when the port is in use. */
function listen(port: number): Promise<Server | null> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
