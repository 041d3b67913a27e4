import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../cluster/free-ports.ts';
import { type ProcessLimits, ServerProcess } from './server-process.ts';

export interface ClusterMember {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly httpUrl: string;
  readonly dataDir: string;
  process: ServerProcess | null;
}

export interface LaunchOptions {
  readonly initialCluster?: string;
  readonly state?: string;
  /** In the place of the flags that the cluster was made with. */
  readonly flags?: readonly string[];
  /** In the place of the member's own addresses. */
  readonly clientUrls?: readonly string[];
  readonly httpUrl?: string;
  readonly limits?: ProcessLimits;
  /** Beside the environment of the tests. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A cluster of real processes on free ports, its data in a temporary directory. */
export class Cluster {
  readonly directory: string;
  readonly members: ClusterMember[];
  readonly #flags: readonly string[];

  constructor(directory: string, members: ClusterMember[], flags: readonly string[]) {
    this.directory = directory;
    this.members = members;
    this.#flags = flags;
  }

  static async create(
    size: number,
    flags: readonly string[] = [],
    scheme: 'http' | 'https' = 'http',
  ): Promise<Cluster> {
    const directory = await mkdtemp(join(tmpdir(), 'conclave-test-'));
    const ports = await freePorts(size * 3);
    const members = Array.from({ length: size }, (_, i) =>
      member({ directory, name: `n${i + 1}`, scheme }, ports.slice(i * 3)),
    );
    return new Cluster(directory, members, flags);
  }

  static async start(size: number, flags: readonly string[] = []): Promise<Cluster> {
    const cluster = await Cluster.create(size, flags);
    await cluster.startAll();
    return cluster;
  }

  get endpoints(): string {
    return this.members.map((item) => item.clientUrl).join(',');
  }

  /** A further member's place, with ports and a directory of its own; it is not started. */
  async addPlace(name: string): Promise<ClusterMember> {
    const place = member({ directory: this.directory, name, scheme: 'http' }, await freePorts(3));
    this.members.push(place);
    return place;
  }

  async startAll(): Promise<void> {
    for (const item of this.members) this.launch(item);
    await Promise.all(this.members.map(async (item) => item.process?.ready()));
  }

  /** Starts one member's process without waiting for it. */
  launch(item: ClusterMember, extra: LaunchOptions = {}): ServerProcess {
    const initialCluster =
      extra.initialCluster ?? this.members.map((other) => `${other.name}=${other.peerUrl}`).join(',');
    const flags = [
      `--name=${item.name}`,
      `--data-dir=${item.dataDir}`,
      `--listen-client-urls=${(extra.clientUrls ?? [item.clientUrl]).join()}`,
      `--advertise-client-urls=${(extra.clientUrls ?? [item.clientUrl]).join()}`,
      `--listen-peer-urls=${item.peerUrl}`,
      `--initial-advertise-peer-urls=${item.peerUrl}`,
      `--listen-http-urls=${extra.httpUrl ?? item.httpUrl}`,
      `--initial-cluster=${initialCluster}`,
      `--initial-cluster-state=${extra.state ?? 'new'}`,
      ...(extra.flags ?? this.#flags),
    ];
    item.process = new ServerProcess(flags, extra.env, extra.limits);
    return item.process;
  }

  async restart(item: ClusterMember): Promise<void> {
    await item.process?.stop();
    await this.launch(item).ready();
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.members.map(async (item) => item.process?.stop()));
  }

  /** Ends every process and removes the data. */
  async destroy(): Promise<void> {
    await Promise.all(this.members.map(async (item) => item.process?.stop('SIGKILL')));
    await rm(this.directory, { recursive: true, force: true });
  }
}

function member(
  place: { readonly directory: string; readonly name: string; readonly scheme: 'http' | 'https' },
  ports: readonly number[],
): ClusterMember {
  const { directory, name, scheme } = place;
  const [client, peer, http] = ports;
  return {
    name,
    clientUrl: `${scheme}://127.0.0.1:${client}`,
    peerUrl: `${scheme}://127.0.0.1:${peer}`,
    httpUrl: `${scheme}://127.0.0.1:${http}`,
    dataDir: join(directory, name),
    process: null,
  };
}
