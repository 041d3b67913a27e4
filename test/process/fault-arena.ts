import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from '../../cluster/free-ports.ts';
import { WanNetwork } from '../../cluster/wan-proxy.ts';
import { Channels } from '../../src/client/channels.ts';
import { ClientError } from '../../src/client/client-error.ts';
import type { Method } from '../../src/client/connection.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import type { StatusAnswer } from '../../src/client/types.ts';
import { codec } from '../../src/rpc/codec.ts';
import {
  type AlarmRequest,
  AlarmRequest_AlarmAction,
  type AlarmResponse,
  AlarmType,
  type DefragmentRequest,
  type DefragmentResponse,
  type HashKVRequest,
  type HashKVResponse,
} from '../../src/rpc/generated/etcdserverpb/rpc.ts';
import type { Prng } from '../core/raft/prng.ts';
import { ServerProcess } from '../support/server-process.ts';

/** One member: its real addresses, and those that the others and the clients know it by. */
export interface ArenaMember {
  readonly name: string;
  listenPeerUrl: string;
  /** Leads through the network between the members. */
  peerUrl: string;
  /** Straight to the member, for what the test itself wants to know. */
  readonly clientUrl: string;
  /** Leads through the network between clients and members. */
  readonly workloadUrl: string;
  readonly httpUrl: string;
  /** A crash image replaces it. */
  dataDir: string;
  process: ServerProcess | null;
  /** Resolves when the process that was launched last serves; it may have ended before. */
  started: Promise<void>;
  paused: boolean;
}

export interface ArenaOptions {
  readonly size: number;
  readonly random: Prng;
  /** Entries that gather before the log is cut, and that are kept for those who lag. */
  readonly logEntries?: number;
  /** What the environment of a member's process holds besides, whenever it is launched. */
  readonly variables?: (member: ArenaMember) => NodeJS.ProcessEnv;
  /** Its place in the network, by its name; a place of its own when absent. */
  readonly placeOf?: (name: string) => string;
  /** Options of its process besides, whenever it is launched. */
  readonly flags?: (member: ArenaMember) => readonly string[];
}

/** Short, so that a run holds many elections. */
export const HEARTBEAT_MS = 60;
export const ELECTION_MS = 600;
/** The log is cut soon, so that who lags needs a snapshot. */
const LOG_ENTRIES_DEFAULT = 100;
/** Ours, not the server's: it refuses variables that it does not know. */
const TEST_VARIABLES = { CONCLAVE_FAULT_RUNS: undefined, CONCLAVE_FAULT_SEED: undefined };
/** The place of all clients in the network. */
export const CLIENTS = 'clients';
/** Between two looks at something that cannot tell by itself. */
const POLL_MS = 25;
const STATUS_TIMEOUT_MS = 500;
const ADMIN_TIMEOUT_MS = 3_000;
/** Whatever has not come about by then never will. */
export const PATIENCE_MS = 120_000;

const HASH_KV: Method<HashKVRequest, HashKVResponse> = {
  path: '/etcdserverpb.Maintenance/HashKV',
  encode: (request) => codec('etcdserverpb.HashKVRequest').encode(request),
  decode: (bytes) => codec('etcdserverpb.HashKVResponse').decode(bytes),
  mutating: false,
};
const ALARM: Method<AlarmRequest, AlarmResponse> = {
  path: '/etcdserverpb.Maintenance/Alarm',
  encode: (request) => codec('etcdserverpb.AlarmRequest').encode(request),
  decode: (bytes) => codec('etcdserverpb.AlarmResponse').decode(bytes),
  mutating: true,
};

const DEFRAGMENT: Method<DefragmentRequest, DefragmentResponse> = {
  path: '/etcdserverpb.Maintenance/Defragment',
  encode: (request) => codec('etcdserverpb.DefragmentRequest').encode(request),
  decode: (bytes) => codec('etcdserverpb.DefragmentResponse').decode(bytes),
  mutating: false,
};

/** A cluster of real processes in which every byte between two members, and from clients, crosses a `WanNetwork`. */
export class FaultArena {
  readonly network: WanNetwork;
  readonly members: ArenaMember[] = [];
  readonly #directory: string;
  readonly #variables: (member: ArenaMember) => NodeJS.ProcessEnv;
  readonly #placeOf: (name: string) => string;
  readonly #flags: (member: ArenaMember) => readonly string[];
  readonly #logEntries: number;
  #placesMade = 0;

  private constructor(directory: string, options: ArenaOptions) {
    const { random } = options;
    this.#directory = directory;
    this.#variables = options.variables ?? (() => ({}));
    this.#placeOf = options.placeOf ?? ((name) => name);
    this.#flags = options.flags ?? (() => []);
    this.#logEntries = options.logEntries ?? LOG_ENTRIES_DEFAULT;
    this.network = new WanNetwork({ random: () => random.below(2 ** 30) / 2 ** 30 });
  }

  /** A cluster of which nobody runs yet. */
  static async prepare(options: ArenaOptions): Promise<FaultArena> {
    const arena = new FaultArena(await mkdtemp(join(tmpdir(), 'conclave-faults-')), options);
    for (let i = 0; i < options.size; i++) await arena.addPlace();
    return arena;
  }

  static async start(options: ArenaOptions): Promise<FaultArena> {
    const arena = await FaultArena.prepare(options);
    try {
      for (const member of arena.members) arena.launch(member);
      await Promise.all(arena.members.map((member) => member.started));
      return arena;
    } catch (error) {
      await arena.destroy();
      throw error;
    }
  }

  get names(): readonly string[] {
    return this.members.map((member) => member.name);
  }

  get majority(): number {
    return Math.floor(this.members.length / 2) + 1;
  }

  member(name: string): ArenaMember {
    const found = this.members.find((member) => member.name === name);
    if (found === undefined) throw new Error(`no member ${name}`);
    return found;
  }

  /** Addresses and a place in the network for one more member; nothing is started. */
  async addPlace(): Promise<ArenaMember> {
    this.#placesMade += 1;
    const name = `n${this.#placesMade}`;
    const place = this.#placeOf(name);
    const [client, peer, http] = (await freePorts(3)).map((port) => `http://127.0.0.1:${port}`);
    const member: ArenaMember = {
      name,
      listenPeerUrl: peer!,
      peerUrl: await this.network.expose(place, { target: peer! }),
      clientUrl: client!,
      workloadUrl: await this.network.expose(place, { target: client!, dialer: CLIENTS }),
      httpUrl: http!,
      dataDir: join(this.#directory, name),
      process: null,
      started: Promise.resolve(),
      paused: false,
    };
    this.members.push(member);
    return member;
  }

  /** Adds a member of the cluster that does not vote. Resolves when it serves. */
  async addLearner(): Promise<ArenaMember> {
    const comer = await this.addPlace();
    await this.administer('adding a member', async (client) => {
      const { members } = await client.memberList();
      if (members.some((member) => member.peerUrls.includes(comer.peerUrl))) return;
      await client.memberAdd({ peerUrls: [comer.peerUrl], isLearner: true });
    });
    await this.launch(comer, { joins: true }).ready();
    return comer;
  }

  /** Does something through any member, again until it is done: `action` looks whether it was. */
  async administer(what: string, action: (client: KvClient) => Promise<void>): Promise<void> {
    const endpoints = this.members.map((member) => member.clientUrl);
    using client = new KvClient({ endpoints, timeoutMs: ADMIN_TIMEOUT_MS });
    await eventually(what, async () => {
      try {
        await action(client);
        return true;
      } catch (error) {
        if (error instanceof ClientError) return null;
        throw error;
      }
    });
  }

  /** Another address for a member's peers, and where it leads to; nothing listens there yet. */
  async newPeerAddress({ name }: ArenaMember): Promise<Pick<ArenaMember, 'listenPeerUrl' | 'peerUrl'>> {
    const [port] = await freePorts(1);
    const listenPeerUrl = `http://127.0.0.1:${port}`;
    return {
      listenPeerUrl,
      peerUrl: await this.network.expose(this.#placeOf(name), { target: listenPeerUrl }),
    };
  }

  /** Starts a member's process without waiting for it. `joins`: the cluster knows it already. */
  launch(
    member: ArenaMember,
    options: { readonly joins?: boolean; readonly flags?: readonly string[] } = {},
  ): ServerProcess {
    member.paused = false;
    member.process = new ServerProcess(
      [
        `--name=${member.name}`,
        `--data-dir=${member.dataDir}`,
        `--listen-client-urls=${member.clientUrl}`,
        `--listen-peer-urls=${member.listenPeerUrl}`,
        `--initial-advertise-peer-urls=${member.peerUrl}`,
        `--listen-http-urls=${member.httpUrl}`,
        `--initial-cluster=${this.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',')}`,
        `--initial-cluster-state=${options.joins === true ? 'existing' : 'new'}`,
        `--heartbeat-interval=${HEARTBEAT_MS}`,
        `--election-timeout=${ELECTION_MS}`,
        `--snapshot-count=${this.#logEntries}`,
        `--snapshot-catchup-entries=${this.#logEntries}`,
        ...this.#flags(member),
        ...(options.flags ?? []),
      ],
      { ...TEST_VARIABLES, ...this.#variables(member) },
    );
    member.started = member.process.ready();
    // Whoever waits is told; a process that a fault ends early is no failure by itself.
    member.started.catch(() => {});
    return member.process;
  }

  /** Ends a member as a crash of its process does. */
  async kill(member: ArenaMember): Promise<void> {
    await member.process?.stop('SIGKILL');
  }

  pause(member: ArenaMember): void {
    member.paused = true;
    member.process?.signal('SIGSTOP');
  }

  resume(member: ArenaMember): void {
    member.paused = false;
    member.process?.signal('SIGCONT');
  }

  /** From now on the member's files cannot grow beyond `bytes`, as on a full disk; its process fails to write. */
  async limitFiles(member: ArenaMember, bytes: number): Promise<void> {
    const { pid } = member.process!;
    await promisify(execFile)('prlimit', [`--pid=${pid}`, `--fsize=${bytes}:`]);
  }

  /** Copies a stopped member's data; the ballast, which is but room, is left out. */
  async copyData(member: ArenaMember, name: string): Promise<string> {
    const target = join(this.#directory, name);
    await cp(member.dataDir, target, {
      recursive: true,
      filter: (source) => !source.endsWith('/BALLAST') && !source.endsWith('/spare'),
    });
    return target;
  }

  /** Takes a member out of the list, for good. */
  forget(member: ArenaMember): void {
    this.members.splice(this.members.indexOf(member), 1);
  }

  /** Undoes whatever a fault has left behind: every member runs, nothing is cut, and all are ready. */
  async repair(): Promise<void> {
    this.network.clear();
    for (const member of this.members) {
      if (member.paused) this.resume(member);
      if (member.process?.running !== true) this.launch(member);
    }
    await Promise.all(this.members.map((member) => member.started));
  }

  /** What a member says about itself, or null when it does not answer in time. */
  async status(member: ArenaMember): Promise<StatusAnswer | null> {
    if (member.process?.running !== true || member.paused) return null;
    const client = new KvClient({ endpoints: [member.clientUrl], timeoutMs: STATUS_TIMEOUT_MS });
    try {
      return await client.status(client.endpoints[0]!);
    } catch {
      return null;
    } finally {
      client.close();
    }
  }

  /** The member that leads in the newest term anybody leads in. */
  async leader(): Promise<ArenaMember> {
    return eventually('a leader', async () => {
      const found: { readonly member: ArenaMember; readonly term: number }[] = [];
      for (const member of this.members) {
        const status = await this.status(member);
        if (status === null || status.leader !== status.header.memberId) continue;
        found.push({ member, term: status.raftTerm });
      }
      return found.toSorted((left, right) => right.term - left.term)[0]?.member ?? null;
    });
  }

  /** The newest entry that a member knows to be committed. */
  commitIndex(member: ArenaMember): Promise<number> {
    return reading(member, 'etcd_server_proposals_committed_total');
  }

  /** The oldest entry that a member's log still holds. */
  logFirstIndex(member: ArenaMember): Promise<number> {
    return reading(member, 'conclave_wal_first_index');
  }

  /** The hash of everything that a member holds up to `revision`, and where its history begins. */
  async hashKv(
    member: ArenaMember,
    revision: number,
  ): Promise<{ readonly hash: number; readonly compactRevision: number }> {
    const answer = await callOne(member, HASH_KV, { revision });
    return { hash: answer.hash, compactRevision: Number(answer.compact_revision) };
  }

  /** Has a member give the space of removed rows back. */
  async defragment(member: ArenaMember): Promise<void> {
    await callOne(member, DEFRAGMENT, {});
  }

  /** Says that there is room again: takes back the NOSPACE alarms of all members. */
  async disarm(): Promise<void> {
    const [any] = this.members;
    const request = { action: AlarmRequest_AlarmAction.GET, memberID: 0, alarm: AlarmType.NOSPACE };
    const { alarms } = await callOne(any!, ALARM, request);
    for (const { memberID } of alarms) {
      await callOne(any!, ALARM, { ...request, action: AlarmRequest_AlarmAction.DEACTIVATE, memberID });
    }
  }

  /** Ends every process and removes the data. */
  async destroy(): Promise<void> {
    await Promise.all(this.members.map(async (member) => member.process?.stop('SIGKILL')));
    await this.network.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The figure that a member's metrics page shows under `name`. */
async function reading(member: ArenaMember, name: string): Promise<number> {
  const page = await (await fetch(`${member.httpUrl}/metrics`)).text();
  const line = page.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  if (line === undefined) throw new Error(`${member.name} shows no ${name}`);
  return Number(line.slice(name.length + 1));
}

async function callOne<Req, Res>(
  member: ArenaMember,
  method: Method<Req, Res>,
  request: Partial<Req>,
): Promise<Res> {
  const address = member.clientUrl.replace('http://', '');
  const channels = new Channels([{ address, tls: null }]);
  try {
    return await channels.unaryAt(address, method, { request, timeoutMs: PATIENCE_MS });
  } finally {
    channels.close();
  }
}

/**
 * The first answer that is not null.
 *
 * @throws Error naming `what` when none comes within PATIENCE_MS
 */
export async function eventually<T>(what: string, look: () => Promise<T | null>): Promise<T> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * The outcome of `work`.
 *
 * @throws Error naming `what` when there is none within `patienceMs`
 */
export async function within<T>(what: string, work: Promise<T>, patienceMs = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${patienceMs} ms`)), patienceMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
