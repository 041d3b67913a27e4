import { setTimeout as delay } from 'node:timers/promises';
import { describe } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { EtcdKv } from '../../src/kv/etcd-kv.ts';
import type { Kv } from '../../src/kv/kv.ts';
import { type KvWorld, kvContract } from '../contract/kv.ts';
import { type KvAuthWorld, kvAuthContract, ROOT_LOGIN } from '../contract/kv-auth.ts';
import { etcdBinary, startEtcd } from './differential/server.ts';

const BINARY = etcdBinary();
/** Without a real etcd there is nothing to stand on. In CI it must be there. */
const skip = BINARY === null && process.env['CI'] !== 'true';

/** A real etcd, without users until a test makes some. */
async function open(login: { readonly login?: typeof ROOT_LOGIN }): Promise<KvWorld & KvAuthWorld> {
  if (BINARY === null) throw new Error('no etcd to stand on: set ETCD_BIN');
  const etcd = await startEtcd(BINARY);
  const { clientUrl } = etcd;
  const admin = new KvClient({ endpoints: [clientUrl], ...login });
  return {
    admin,
    connect: async (): Promise<Kv> => new EtcdKv({ endpoints: [clientUrl], ...login }),
    compact: async (revision) => {
      await admin.compact({ revision });
    },
    elapse: (seconds) => delay(seconds * 1000),
    stop: async () => {
      admin.close();
      await etcd.destroy();
    },
  };
}

describe.skipIf(skip)('the port on a real etcd (needs one: ETCD_BIN)', () => {
  kvContract('a real etcd', () => open({}));
  kvAuthContract('a real etcd', () => open({ login: ROOT_LOGIN }));
});
