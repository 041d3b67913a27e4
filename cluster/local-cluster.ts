import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** One member's place on this machine. */
export interface LocalMember {
  readonly name: string;
  readonly clientPort: number;
  /** Where it listens for the other members. */
  readonly peerPort: number;
  readonly httpPort: number;
  /** Where the others are told to find it, when something stands in between; the peer port when absent. */
  readonly advertisedPeerPort?: number;
  /** Options of `conclave server` besides those that every member of a local cluster gets. */
  readonly flags?: readonly string[];
  /** True: not one of those that found the cluster, but added to it by `admit` once they are ready. */
  readonly joins?: boolean;
}

/** What a local cluster is made of. */
export interface LocalClusterOptions {
  readonly members: readonly LocalMember[];
  /** Holds one directory and one log file per member, and a file with its process id (`n1.pid`) while it runs. */
  readonly dataDir: string;
  /** Arguments to node that run the `conclave` command, its path last. */
  readonly program: readonly string[];
  /** Told when a member ends without having been asked to, and how many still run. */
  readonly onMemberEnd: (name: string, how: string, runningCount: number) => void;
  /** Makes a member that joins known to the cluster, unless it is; wanted when there is such a member. */
  readonly admit?: (member: LocalMember, signal: AbortSignal) => Promise<void>;
}

/** Something a person can put right: a taken port, a member that does not start. */
export class LocalClusterError extends Error {
  override readonly name = 'LocalClusterError';
}

const HOST = '127.0.0.1';
/** LevelDB and fsync of one member run on this pool; the default of 4 makes them wait for each other. */
const THREADPOOL_SIZE = 16;
const READY_POLL_MS = 50;
const PROBE_TIMEOUT_MS = 1000;
/** A member that has not stopped by itself by then is killed. */
const STOP_TIMEOUT_MS = 15_000;
/** A log of this size is put aside at the next start; one old log is kept. */
const LOG_BYTES_MAX = 64 * 1024 * 1024;
const LOG_TAIL_LINES = 5;

interface Running {
  readonly member: LocalMember;
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
  /** How it ended, or null while it runs. */
  ended: string | null;
  isExpectedToEnd: boolean;
}

/** Member processes on this machine, all with plain connections on the loopback address. */
export class LocalCluster {
  readonly #options: LocalClusterOptions;
  readonly #running: Running[] = [];
  #stopping = false;

  constructor(options: LocalClusterOptions) {
    this.#options = options;
  }

  /** How many member processes run. */
  get runningCount(): number {
    return this.#running.filter((running) => running.ended === null).length;
  }

  /** Process ids of the members that run, by name. */
  get processIds(): ReadonlyMap<string, number> {
    const alive = this.#running.filter((running) => running.ended === null);
    return new Map(alive.map(({ member, process }) => [member.name, process.pid!]));
  }

  /**
   * Starts every member on the data it finds and waits until all are ready.
   *
   * @param signal gives up waiting; the caller then stops the cluster
   * @throws LocalClusterError when a port is taken or a member ends; nothing runs then
   */
  async start(signal: AbortSignal): Promise<void> {
    await this.#checkPorts();
    await mkdir(this.#options.dataDir, { recursive: true });
    try {
      await this.#startAll(this.#founders, signal);
      for (const member of this.#options.members.filter(({ joins }) => joins === true)) {
        await this.#options.admit?.(member, signal);
        await this.#startAll([member], signal);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Ends one member at once, as a crash would; `onMemberEnd` is not told.
   *
   * @throws LocalClusterError when it does not run
   */
  async killOne(name: string): Promise<void> {
    const running = this.#running.find(({ member, ended }) => member.name === name && ended === null);
    if (running === undefined) throw new LocalClusterError(`${name} does not run`);
    running.isExpectedToEnd = true;
    running.process.kill('SIGKILL');
    await running.exited;
  }

  /** Starts a member again that has ended, and waits until it is ready. @throws LocalClusterError when it ends */
  async startOne(name: string, signal: AbortSignal): Promise<void> {
    const member = this.#options.members.find((candidate) => candidate.name === name)!;
    await this.#startAll([member], signal);
  }

  /** Asks every member to hand over and stop, waits, and kills what does not stop in time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { process, ended } of this.#running) if (ended === null) process.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), STOP_TIMEOUT_MS);
    await Promise.all(this.#running.map(async (running) => running.exited));
    clearTimeout(timer);
  }

  /** Ends every member at once, as a crash would; the data survives it. */
  kill(): void {
    this.#stopping = true;
    for (const { process, ended } of this.#running) if (ended === null) process.kill('SIGKILL');
  }

  get #founders(): readonly LocalMember[] {
    return this.#options.members.filter(({ joins }) => joins !== true);
  }

  async #startAll(members: readonly LocalMember[], signal: AbortSignal): Promise<void> {
    const started: Running[] = [];
    for (const member of members) started.push(await this.#spawn(member));
    await Promise.all(started.map(async (running) => this.#ready(running, signal)));
  }

  async #checkPorts(): Promise<void> {
    for (const member of this.#options.members) {
      const uses = { client: member.clientPort, peer: member.peerPort, http: member.httpPort };
      for (const [use, port] of Object.entries(uses)) {
        if (await isFree(port)) continue;
        throw portInUse({ port, use, name: member.name });
      }
    }
  }

  async #spawn(member: LocalMember): Promise<Running> {
    const logPath = this.#logPath(member);
    await putAsideLargeLog(logPath);
    const log = await open(logPath, 'a');
    try {
      if (this.#stopping) throw new LocalClusterError('stopped while starting');
      const child = spawn(process.execPath, [...this.#options.program, 'server', ...this.#flags(member)], {
        env: { ...withoutOptions(process.env), UV_THREADPOOL_SIZE: String(THREADPOOL_SIZE) },
        stdio: ['ignore', log.fd, log.fd],
        // In a process group of its own a member hears of Ctrl-C once, from here.
        detached: true,
      });
      return this.#watch(member, child);
    } finally {
      await log.close();
    }
  }

  #watch(member: LocalMember, child: ChildProcess): Running {
    const settled = deferred();
    const running: Running = {
      member,
      process: child,
      exited: settled.promise,
      ended: null,
      isExpectedToEnd: false,
    };
    const end = (how: string): void => {
      if (running.ended !== null) return;
      running.ended = how;
      rmSync(this.#pidPath(member), { force: true });
      settled.resolve();
      if (this.#stopping || running.isExpectedToEnd) return;
      this.#options.onMemberEnd(member.name, how, this.runningCount);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
    this.#running.push(running);
    // Nothing has ended yet: that is told in a later turn.
    if (child.pid !== undefined) writeFileSync(this.#pidPath(member), `${child.pid}\n`);
    return running;
  }

  #flags(member: LocalMember): readonly string[] {
    const url = (port: number): string => `http://${HOST}:${port}`;
    const advertised = (item: LocalMember): string => url(item.advertisedPeerPort ?? item.peerPort);
    const joins = member.joins === true;
    const known = joins ? [...this.#founders, member] : this.#founders;
    return [
      `--name=${member.name}`,
      `--data-dir=${join(this.#options.dataDir, member.name)}`,
      `--listen-client-urls=${url(member.clientPort)}`,
      `--listen-peer-urls=${url(member.peerPort)}`,
      `--initial-advertise-peer-urls=${advertised(member)}`,
      `--listen-http-urls=${url(member.httpPort)}`,
      `--initial-cluster=${known.map((item) => `${item.name}=${advertised(item)}`).join(',')}`,
      `--initial-cluster-state=${joins ? 'existing' : 'new'}`,
      '--initial-cluster-token=conclave-local',
      ...(member.flags ?? []),
    ];
  }

  async #ready(running: Running, signal: AbortSignal): Promise<void> {
    const url = `http://${HOST}:${running.member.httpPort}/readyz`;
    while (running.ended === null && !signal.aborted) {
      if ((await probe(url)) === 'ready') return;
      await Promise.race([delay(READY_POLL_MS), running.exited]);
    }
    const { name } = running.member;
    if (running.ended === null) throw new LocalClusterError(`${name} is not ready: ${await probe(url)}`);
    throw new LocalClusterError(`${name} ended (${running.ended}). ${await this.logTail(name)}`);
  }

  /** The last lines a member logged, as text for a person. */
  async logTail(name: string): Promise<string> {
    const member = this.#options.members.find((candidate) => candidate.name === name)!;
    const path = this.#logPath(member);
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n').slice(-LOG_TAIL_LINES);
    return `The end of ${path}:\n${lines.map((line) => `  ${line}`).join('\n')}`;
  }

  #pidPath(member: LocalMember): string {
    return join(this.#options.dataDir, `${member.name}.pid`);
  }

  #logPath(member: LocalMember): string {
    return join(this.#options.dataDir, `${member.name}.log`);
  }
}

/** What to tell a person whose port is taken. */
export function portInUse(taken: {
  readonly port: number;
  readonly use: string;
  readonly name: string;
}): LocalClusterError {
  const { port, use, name } = taken;
  return new LocalClusterError(
    `port ${port} (${use} port of ${name}) is in use by another process; ` +
      'is another local cluster or an etcd running?',
  );
}

/** The person's own CONCLAVE_* variables are for their server or commands, not for all members here. */
function withoutOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('CONCLAVE_')));
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen({ port, host: HOST });
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}

/** Answers `ready`, or why not. */
async function probe(url: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get(url, { timeout: PROBE_TIMEOUT_MS, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8').trim().replaceAll('\n', ' ');
        resolve(response.statusCode === 200 ? 'ready' : body);
      });
      response.on('error', (error) => resolve(error.message));
    });
    request.on('timeout', () => request.destroy(new Error('it does not answer in time')));
    request.on('error', (error) => resolve(error.message));
  });
}

async function putAsideLargeLog(path: string): Promise<void> {
  const found = await stat(path).catch(() => null);
  if (found !== null && found.size > LOG_BYTES_MAX) await rename(path, `${path}.1`);
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
