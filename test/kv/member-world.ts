import { setTimeout as delay } from 'node:timers/promises';
import type { EtcdBackend } from '../../src/api/etcd/backend.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import type { Kv } from '../../src/kv/kv.ts';
import type { Member } from '../../src/member/member.ts';
import type { MemberOptions } from '../../src/member/member-options.ts';
import { FaceHarness } from '../api/etcd/harness.ts';
import type { KvWorld } from '../contract/kv.ts';
import { TestCluster } from '../member/test-cluster.ts';

/** A cluster of one real member in this process, served on a port as well. */
export class MemberWorld implements KvWorld {
  readonly cluster: TestCluster;
  readonly harness: FaceHarness<EtcdBackend>;
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
    const world = new MemberWorld(await TestCluster.start(1, overrides), connect);
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

  connect(): Promise<Kv> {
    return this.#connect(this);
  }

  async compact(revision: number): Promise<void> {
    using client = new KvClient({ endpoints: [this.address] });
    await client.compact({ revision });
  }

  async elapse(seconds: number): Promise<void> {
    await delay(seconds * 1000);
  }

  async stop(): Promise<void> {
    await this.harness[Symbol.asyncDispose]();
    await this.cluster.stopAll();
  }
}
