import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../cluster/free-ports.ts';
import { KvClient } from '../src/client/kv-client.ts';
import { putCall, type UnaryCall } from './load/calls.ts';
import { GrpcConnection } from './load/grpc-connection.ts';

/** Whose servers are measured. */
export type Contestant = 'conclave' | 'etcd';

const MEMBERS = 3;
/** A million keys take their time. */
const READY_TIMEOUT_MS = 180_000;
const POLL_MS = 10;
/** A call without an answer is joined by another after this. */
const ASK_AGAIN_MS = 100;
/** As docs/operations.md says, and every way of ours to start a member does. */
const UV_THREADPOOL_SIZE = '16';
const LOG_SHOWN_BYTES = 2_000;
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
  readonly logFile: string;
  readonly args: readonly string[];
  process: ChildProcess | null;
}

/** CPU time and memory of all members together. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** What is not the same for every cluster of a contestant. */
export interface ClusterOptions {
  /** For the interpreter of our members, before the program. */
  readonly nodeArguments?: readonly string[];
  /** More of the environment, by the member's name. */
  readonly environment?: (name: string) => Readonly<Record<string, string>>;
}

/** Clusters that would outlive this process if it ended now. */
const alive = new Set<ServerCluster>();
process.on('exit', () => {
  for (const cluster of alive) cluster.abandon();
});

/** Three members of one contestant on this machine, with data of their own. */
export class ServerCluster {
  readonly contestant: Contestant;
  readonly #members: readonly BenchMember[];
  readonly #directory: string;
  readonly #options: ClusterOptions;
  /** Of processes that have ended. */
  #endedCpuSeconds = 0;

  private constructor(
    contestant: Contestant,
    place: { readonly members: readonly BenchMember[]; readonly directory: string },
    options: ClusterOptions,
  ) {
    this.contestant = contestant;
    this.#members = place.members;
    this.#directory = place.directory;
    this.#options = options;
  }

  static async start(contestant: Contestant, options: ClusterOptions = {}): Promise<ServerCluster> {
    const directory = await mkdtemp(join(tmpdir(), `bench-${contestant}-`));
    const members = membersIn(directory, await freePorts(MEMBERS * 2));
    const cluster = new ServerCluster(contestant, { members, directory }, options);
    alive.add(cluster);
    try {
      await cluster.startAll();
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
    return cluster;
  }

  get endpoints(): readonly string[] {
    return this.#members.map((member) => member.clientUrl);
  }

  get processIds(): readonly number[] {
    return this.#members.flatMap(({ process }) => (isRunning(process) ? [process.pid!] : []));
  }

  client(endpoints: readonly string[] = this.endpoints): KvClient {
    return new KvClient({ endpoints, timeoutMs: READY_TIMEOUT_MS });
  }

  /** Starts every member; resolves with the milliseconds until the cluster takes a write. */
  async startAll(): Promise<number> {
    const startedMs = performance.now();
    for (const member of this.#members) this.#launch(member);
    const put = putCall(Buffer.from('bench/ready'), Buffer.alloc(0));
    return (await this.#answered(this.endpoints[0]!, put)) - startedMs;
  }

  /** Starts one member; resolves with the milliseconds until it answers `call`. */
  async startOne(endpoint: string, call: UnaryCall): Promise<number> {
    const startedMs = performance.now();
    this.#launch(this.#at(endpoint));
    return (await this.#answered(endpoint, call)) - startedMs;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.endpoints.map((endpoint) => this.stopOne(endpoint)));
  }

  /** Ends a member gracefully. */
  stopOne(endpoint: string): Promise<void> {
    return this.#end(endpoint, 'SIGTERM');
  }

  /** Ends a member as a power cut would: it says goodbye to nobody. */
  killOne(endpoint: string): Promise<void> {
    return this.#end(endpoint, 'SIGKILL');
  }

  async destroy(): Promise<void> {
    await Promise.all(this.endpoints.map((endpoint) => this.killOne(endpoint)));
    await rm(this.#directory, { recursive: true, force: true });
    alive.delete(this);
  }

  /** What can still be done while this process ends. */
  abandon(): void {
    for (const { process } of this.#members) process?.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
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

  /** What members that do not run have said last, each with its name; empty when all run. */
  lastWords(): string {
    return this.#members
      .filter(({ process }) => !isRunning(process))
      .map((member) => `${member.name} has ended:\n${lastWords(member)}`)
      .join('\n');
  }

  /** Processor time of all processes there have been, memory of those that run. */
  usage(): Usage {
    let cpuSeconds = this.#endedCpuSeconds;
    let residentBytes = 0;
    for (const pid of this.processIds) {
      cpuSeconds += cpuSecondsOf(pid);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      residentBytes += Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
    }
    return { cpuSeconds, residentBytes };
  }

  /**
   * Asks over and over until there is an answer: members may drop a call while they have no leader, and not say so.
   *
   * @returns when the answer came, on this process's clock
   * @throws Error after three minutes, or when the member has ended
   */
  async #answered(endpoint: string, { path, message }: UnaryCall): Promise<number> {
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    let connection: GrpcConnection | null = null;
    let answeredMs = Number.NaN;
    while (Number.isNaN(answeredMs)) {
      const member = this.#at(endpoint);
      if (!isRunning(member.process) || performance.now() > deadlineMs) {
        throw new Error(`${this.contestant} does not answer:\n${lastWords(member)}`);
      }
      if (connection === null || connection.isClosed) {
        connection = await GrpcConnection.open(endpoint).catch(() => null);
      }
      const attempt = connection?.call(path, message).then(
        () => {
          answeredMs = Number.isNaN(answeredMs) ? performance.now() : answeredMs;
        },
        () => undefined,
      );
      await Promise.race([attempt, delay(ASK_AGAIN_MS)]);
      if (Number.isNaN(answeredMs)) await delay(POLL_MS);
    }
    connection?.close();
    return answeredMs;
  }

  async #end(endpoint: string, signal: NodeJS.Signals): Promise<void> {
    const { process } = this.#at(endpoint);
    if (!isRunning(process)) return;
    const exited = once(process, 'exit');
    this.#endedCpuSeconds += cpuSecondsOf(process.pid!);
    process.kill(signal);
    await exited;
  }

  #at(endpoint: string): BenchMember {
    return this.#members.find(({ clientUrl }) => clientUrl === endpoint)!;
  }

  #launch(member: BenchMember): void {
    const { nodeArguments = [], environment = () => ({}) } = this.#options;
    const isEtcd = this.contestant === 'etcd';
    const command = isEtcd ? etcdProgram() : process.execPath;
    const args = isEtcd ? member.args : [...nodeArguments, MAIN, 'server', ...member.args];
    const log = openSync(member.logFile, 'a');
    member.process = spawn(command, args, {
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env['PATH'],
        ...(isEtcd
          ? { ETCD_UNSUPPORTED_ARCH: process.arch }
          : { UV_THREADPOOL_SIZE, ...environment(member.name) }),
      },
    });
    closeSync(log);
  }
}

function membersIn(directory: string, ports: readonly number[]): readonly BenchMember[] {
  const places = Array.from({ length: MEMBERS }, (_, at) => ({
    name: `n${at + 1}`,
    clientUrl: `http://127.0.0.1:${ports[2 * at]}`,
    peerUrl: `http://127.0.0.1:${ports[2 * at + 1]}`,
  }));
  const initialCluster = places.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
  return places.map(({ name, clientUrl, peerUrl }) => ({
    name,
    clientUrl,
    logFile: join(directory, `${name}.log`),
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
}

function isRunning(process: ChildProcess | null): process is ChildProcess {
  return process !== null && process.exitCode === null && process.signalCode === null;
}

function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

function lastWords({ logFile }: BenchMember): string {
  return existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-LOG_SHOWN_BYTES) : '';
}

/** The leader's place among the endpoints; -1 when there is none. @throws ClientError when a member does not answer */
async function leaderAmong(client: KvClient): Promise<number> {
  const statuses = await Promise.all(client.endpoints.map((endpoint) => client.status(endpoint)));
  return statuses.findIndex((status) => status.leader === status.header.memberId);
}
