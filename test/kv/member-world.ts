import { setTimeout as delay } from 'node:timers/promises';
import type { EtcdBackend } from '../../src/api/etcd/backend.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import type { Kv } from '../../src/kv/kv.ts';
import type { Member } from '../../src/member/member.ts';
import type { MemberOptions } from '../../src/member/member-options.ts';
import { FaceHarness } from '../api/etcd/harness.ts';
import type { KvWorld } from '../contract/kv.ts';
import { type KvAuthWorld, ROOT_LOGIN } from '../contract/kv-auth.ts';
import { TestCluster } from '../member/test-cluster.ts';

const AUTH = { jwt: null, tokenTtlMs: 300_000, passwordCost: 4 };

/** A cluster of one real member in this process, served on a port as well. */
export class MemberWorld implements KvWorld, KvAuthWorld {
  readonly cluster: TestCluster;
  readonly harness: FaceHarness<EtcdBackend>;
  #admin: KvClient | null = null;
  readonly #connect: (world: MemberWorld) => Promise<Kv>;

  private constructor(cluster: TestCluster, connect: (world: MemberWorld) => Promise<Kv>) {
    this.cluster = cluster;
    this.harness = new FaceHarness<EtcdBackend>(cluster.places[0]!.member!);
    this.#connect = connect;
  }

  static async start(
    connect: (world: MemberWorld) => Promise<Kv>,
    overrides: Partial<MemberOptions> = {},
  ): Promise<MemberWorld> {
    const world = new MemberWorld(await TestCluster.start(1, { auth: AUTH, ...overrides }), connect);
    await world.harness.start();
    return world;
  }

  get member(): Member {
    return this.cluster.places[0]!.member!;
  }

  /** `host:port` of the etcd face. */
  get address(): string {
    return this.harness.address;
  }

  get admin(): KvClient {
    this.#admin ??= new KvClient({ endpoints: [this.address], login: ROOT_LOGIN });
    return this.#admin;
  }

  connect(): Promise<Kv> {
    return this.#connect(this);
  }

  async compact(revision: number): Promise<void> {
    await this.admin.compact({ revision });
  }

  async elapse(seconds: number): Promise<void> {
    await delay(seconds * 1000);
  }

  async stop(): Promise<void> {
    this.#admin?.close();
    await this.harness[Symbol.asyncDispose]();
    await this.cluster.stopAll();
  }
}
