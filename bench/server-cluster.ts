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
  /** Where it serves the configuration service over HTTP, if it does. */
  readonly httpUrl: string | null;
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
  /** With the configuration service: in our members, and in a gateway of ours before etcd. */
  readonly service?: boolean;
  /** For the interpreter of our members, before the program. */
  readonly nodeArguments?: readonly string[];
  /** More of the environment, by the member's name. */
  readonly environment?: (name: string) => Readonly<Record<string, string>>;
}

/** Where the configuration service is asked. */
export interface ServicePlace {
  readonly httpUrl: string;
  /** Of gRPC. */
  readonly clientUrl: string;
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
  /** Before etcd, when it is to serve configurations. */
  readonly #gateway: BenchMember | null;
  readonly #directory: string;
  readonly #options: ClusterOptions;
  /** Of processes that have ended. */
  #endedCpuSeconds = 0;

  private constructor(
    contestant: Contestant,
    place: {
      readonly members: readonly BenchMember[];
      readonly gateway: BenchMember | null;
      readonly directory: string;
    },
    options: ClusterOptions,
  ) {
    this.contestant = contestant;
    this.#members = place.members;
    this.#gateway = place.gateway;
    this.#directory = place.directory;
    this.#options = options;
  }

  static async start(contestant: Contestant, options: ClusterOptions = {}): Promise<ServerCluster> {
    const directory = await mkdtemp(join(tmpdir(), `bench-${contestant}-`));
    const { service = false } = options;
    const ports = await freePorts(MEMBERS * 3 + 2);
    const isOurs = contestant === 'conclave';
    const members = membersIn(directory, ports, { servesHttp: service && isOurs });
    const gateway = service && !isOurs ? gatewayIn(directory, ports.slice(MEMBERS * 3), members) : null;
    const cluster = new ServerCluster(contestant, { members, gateway, directory }, options);
    alive.add(cluster);
    try {
      await cluster.startAll();
      if (service) await cluster.serviceAnswers();
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
    return cluster;
  }

  get endpoints(): readonly string[] {
    return this.#members.map((member) => member.clientUrl);
  }

  /** Of every member, or of the gateway; none when the cluster was started without the service. */
  get services(): readonly ServicePlace[] {
    return this.#processes.flatMap(({ httpUrl, clientUrl }) =>
      httpUrl === null ? [] : [{ httpUrl, clientUrl }],
    );
  }

  get processIds(): readonly number[] {
    return this.#processes.flatMap(({ process }) => (isRunning(process) ? [process.pid!] : []));
  }

  client(endpoints: readonly string[] = this.endpoints): KvClient {
    return new KvClient({ endpoints, timeoutMs: READY_TIMEOUT_MS });
  }

  /** Starts every member; resolves with the milliseconds until the cluster takes a write. */
  async startAll(): Promise<number> {
    const startedMs = performance.now();
    for (const member of this.#processes) if (!isRunning(member.process)) this.#launch(member);
    const put = putCall(Buffer.from('bench/ready'), Buffer.alloc(0));
    return (await this.#answered(this.endpoints[0]!, put)) - startedMs;
  }

  /** Starts one member; resolves with the milliseconds until it answers `call`. */
  async startOne(endpoint: string, call: UnaryCall): Promise<number> {
    const startedMs = performance.now();
    this.#launch(this.#at(endpoint));
    return (await this.#answered(endpoint, call)) - startedMs;
  }

  /** Waits until the service answers everywhere; resolves with the milliseconds. @throws Error after three minutes */
  async serviceAnswers(): Promise<number> {
    const startedMs = performance.now();
    for (const { httpUrl } of this.services) {
      while (!(await answersRequests(httpUrl))) {
        if (this.lastWords() !== '' || performance.now() - startedMs > READY_TIMEOUT_MS) {
          throw new Error(`${this.contestant} does not serve configurations:\n${this.lastWords()}`);
        }
        await delay(POLL_MS);
      }
    }
    return performance.now() - startedMs;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.#processes.map((member) => this.#end(member, 'SIGTERM')));
  }

  /** Ends a member gracefully. */
  stopOne(endpoint: string): Promise<void> {
    return this.#end(this.#at(endpoint), 'SIGTERM');
  }

  /** Ends a member as a power cut would: it says goodbye to nobody. */
  killOne(endpoint: string): Promise<void> {
    return this.#end(this.#at(endpoint), 'SIGKILL');
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#processes.map((member) => this.#end(member, 'SIGKILL')));
    await rm(this.#directory, { recursive: true, force: true });
    alive.delete(this);
  }

  /** What can still be done while this process ends. */
  abandon(): void {
    for (const { process } of this.#processes) process?.kill('SIGKILL');
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
    return this.#processes
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

  async #end({ process }: BenchMember, signal: NodeJS.Signals): Promise<void> {
    if (!isRunning(process)) return;
    const exited = once(process, 'exit');
    this.#endedCpuSeconds += cpuSecondsOf(process.pid!);
    process.kill(signal);
    await exited;
  }

  #at(endpoint: string): BenchMember {
    return this.#members.find(({ clientUrl }) => clientUrl === endpoint)!;
  }

  get #processes(): readonly BenchMember[] {
    return this.#gateway === null ? this.#members : [...this.#members, this.#gateway];
  }

  #launch(member: BenchMember): void {
    const { nodeArguments = [], environment = () => ({}) } = this.#options;
    const isEtcd = this.contestant === 'etcd' && member !== this.#gateway;
    const command = isEtcd ? etcdProgram() : process.execPath;
    const role = member === this.#gateway ? 'gateway' : 'server';
    const args = isEtcd ? member.args : [...nodeArguments, MAIN, role, ...member.args];
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

/** @param ports two for each member, and one more for each */
function membersIn(
  directory: string,
  ports: readonly number[],
  { servesHttp }: { readonly servesHttp: boolean },
): readonly BenchMember[] {
  const places = Array.from({ length: MEMBERS }, (_, at) => ({
    name: `n${at + 1}`,
    clientUrl: `http://127.0.0.1:${ports[2 * at]}`,
    peerUrl: `http://127.0.0.1:${ports[2 * at + 1]}`,
    httpUrl: servesHttp ? `http://127.0.0.1:${ports[2 * MEMBERS + at]}` : null,
  }));
  const initialCluster = places.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
  return places.map(({ name, clientUrl, peerUrl, httpUrl }) => ({
    name,
    clientUrl,
    httpUrl,
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
      ...(httpUrl === null ? [] : [`--listen-http-urls=${httpUrl}`]),
    ],
  }));
}

function gatewayIn(
  directory: string,
  ports: readonly number[],
  members: readonly BenchMember[],
): BenchMember {
  const [httpUrl, clientUrl] = [`http://127.0.0.1:${ports[0]}`, `http://127.0.0.1:${ports[1]}`];
  return {
    name: 'gateway',
    clientUrl,
    httpUrl,
    logFile: join(directory, 'gateway.log'),
    process: null,
    args: [
      `--endpoints=${members.map((member) => new URL(member.clientUrl).host).join(',')}`,
      `--listen-http-urls=${httpUrl}`,
      `--listen-client-urls=${clientUrl}`,
      '--log-level=error',
    ],
  };
}

async function answersRequests(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/api/v1/configurations?size=1`).catch(() => null);
  await answer?.arrayBuffer();
  return answer?.ok === true;
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
