import { EtcdKv } from '../../src/kv/etcd-kv.ts';
import { kvContract } from '../contract/kv.ts';
import { kvAuthContract, ROOT_LOGIN } from '../contract/kv-auth.ts';
import { MemberWorld } from './member-world.ts';

kvContract('a member over the wire', () =>
  MemberWorld.start(async ({ address }) => new EtcdKv({ endpoints: [address] })),
);

kvAuthContract('a member over the wire', () =>
  MemberWorld.start(async ({ address }) => new EtcdKv({ endpoints: [address], login: ROOT_LOGIN })),
);
