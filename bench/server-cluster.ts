import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { KvClient } from '../src/client/kv-client.ts';

/** Whose servers are measured. */
export type Contestant = 'conclave' | 'etcd';

const MEMBERS = 3;
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const CLOCK_TICKS_PER_SECOND = 100;
const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));
/** Debian's package, unpacked, and its usual place; `ETCD_BIN` names any other. */
const ETCD_PLACES = ['/usr/bin/etcd', '/opt/etcd-server/usr/bin/etcd'];

/** The etcd to compare with. @throws Error when there is none */
export function etcdProgram(): string {
  const named = process.env['ETCD_BIN'];
  const found = [...(named === undefined ? [] : [named]), ...ETCD_PLACES].find((path) => existsSync(path));
  if (found === undefined) throw new Error('no etcd to compare with: set ETCD_BIN to one');
  return found;
}

interface BenchMember {
  readonly name: string;
  readonly clientUrl: string;
  readonly args: readonly string[];
  process: ChildProcess | null;
}

/** CPU time and memory of all members together. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** Three members of one contestant on this machine, with data of their own. */
export class ServerCluster {
  readonly contestant: Contestant;
  readonly #members: readonly BenchMember[];
  readonly #directory: string;

  private constructor(contestant: Contestant, members: readonly BenchMember[], directory: string) {
    this.contestant = contestant;
    this.#members = members;
    this.#directory = directory;
  }

  static async start(contestant: Contestant): Promise<ServerCluster> {
    const directory = await mkdtemp(join(tmpdir(), `bench-${contestant}-`));
    const ports = await freePorts(MEMBERS * 2);
    const places = Array.from({ length: MEMBERS }, (_, at) => ({
      name: `n${at + 1}`,
      clientUrl: `http://127.0.0.1:${ports[2 * at]}`,
      peerUrl: `http://127.0.0.1:${ports[2 * at + 1]}`,
    }));
    const initialCluster = places.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
    const members = places.map(({ name, clientUrl, peerUrl }) => ({
      name,
      clientUrl,
      process: null,
      args: [
        `--name=${name}`,
        `--data-dir=${join(directory, name)}`,
        `--listen-client-urls=${clientUrl}`,
        `--advertise-client-urls=${clientUrl}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=${initialCluster}`,
        '--initial-cluster-state=new',
        '--log-level=error',
      ],
    }));
    const cluster = new ServerCluster(contestant, members, directory);
    await cluster.startAll();
    return cluster;
  }

  get endpoints(): readonly string[] {
    return this.#members.map((member) => member.clientUrl);
  }

  client(endpoints: readonly string[] = this.endpoints): KvClient {
    return new KvClient({ endpoints, timeoutMs: READY_TIMEOUT_MS });
  }

  /** Starts every member; resolves with the milliseconds until the cluster takes a write. */
  async startAll(): Promise<number> {
    const startedMs = performance.now();
    for (const member of this.#members) this.#launch(member);
    const client = this.client();
    try {
      for (;;) {
        if (
          await client.put({ key: 'bench/ready', value: '' }, { timeoutMs: 1_000 }).then(
            () => true,
            () => false,
          )
        ) {
          return performance.now() - startedMs;
        }
        if (performance.now() - startedMs > READY_TIMEOUT_MS)
          throw new Error(`${this.contestant} does not start`);
        await delay(POLL_MS);
      }
    } finally {
      client.close();
    }
  }

  async stopAll(): Promise<void> {
    await Promise.all(
      this.#members.map(async ({ process }) => {
        if (process === null || process.exitCode !== null) return;
        const exited = once(process, 'exit');
        process.kill('SIGTERM');
        await exited;
      }),
    );
  }

  async destroy(): Promise<void> {
    for (const { process } of this.#members) process?.kill('SIGKILL');
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** The leader's client address, and those of the others, once every member answers. */
  async roles(): Promise<{ readonly leader: string; readonly followers: readonly string[] }> {
    const client = this.client();
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    try {
      for (;;) {
        const at = await leaderAmong(client).catch(() => -1);
        if (at !== -1) {
          return {
            leader: this.endpoints[at]!,
            followers: this.endpoints.filter((_, other) => other !== at),
          };
        }
        if (performance.now() > deadlineMs) throw new Error(`${this.contestant} has no leader`);
        await delay(POLL_MS);
      }
    } finally {
      client.close();
    }
  }

  usage(): Usage {
    let cpuSeconds = 0;
    let residentBytes = 0;
    for (const { process } of this.#members) {
      if (process?.pid === undefined || process.exitCode !== null) continue;
      const fields = readFileSync(`/proc/${process.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      cpuSeconds += (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
      const status = readFileSync(`/proc/${process.pid}/status`, 'utf8');
      residentBytes += Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
    }
    return { cpuSeconds, residentBytes };
  }

  #launch(member: BenchMember): void {
    const command = this.contestant === 'etcd' ? etcdProgram() : process.execPath;
    const args = this.contestant === 'etcd' ? member.args : [MAIN, 'server', ...member.args];
    member.process = spawn(command, args, {
      stdio: 'ignore',
      env: {
        PATH: process.env['PATH'],
        ...(this.contestant === 'etcd' ? { ETCD_UNSUPPORTED_ARCH: process.arch } : {}),
      },
    });
  }
}

/** The leader's place among the endpoints; -1 when there is none. @throws ClientError when a member does not answer */
async function leaderAmong(client: KvClient): Promise<number> {
  const statuses = await Promise.all(client.endpoints.map((endpoint) => client.status(endpoint)));
  return statuses.findIndex((status) => status.leader === status.header.memberId);
}

/** Ports that were free a moment ago, all different. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { readonly port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
