import type { RpcServer } from '../../rpc/server.ts';
import { refuseRest } from '../../rpc/service.ts';
import { registerAuth } from './auth.ts';
import type { EtcdBackend } from './backend.ts';
import { registerCluster } from './cluster.ts';
import { registerDowngrade } from './downgrade.ts';
import { registerElection } from './election.ts';
import { registerKv } from './kv.ts';
import { registerLease } from './lease.ts';
import type { EtcdLimits } from './limits.ts';
import { registerLock } from './lock.ts';
import { registerMaintenance } from './maintenance.ts';
import { registerWatch } from './watch.ts';

/** Every service of etcd's gRPC API. */
const ETCD_SERVICES = [
  'etcdserverpb.KV',
  'etcdserverpb.Watch',
  'etcdserverpb.Lease',
  'etcdserverpb.Cluster',
  'etcdserverpb.Maintenance',
  'etcdserverpb.Auth',
  'v3lockpb.Lock',
  'v3electionpb.Election',
] as const;

/**
 * Registers etcd's API. A method of it that this server does not have fails with `unimplemented` and a text that names
 * it.
 */
export function registerEtcd(server: RpcServer, backend: EtcdBackend, limits: EtcdLimits): void {
  registerKv(server, backend, limits);
  registerWatch(server, backend, limits);
  registerLease(server, backend, limits);
  registerCluster(server, backend);
  registerMaintenance(server, backend);
  registerDowngrade(server, backend);
  registerLock(server, backend);
  registerElection(server, backend);
  registerAuth(server, backend);
  for (const service of ETCD_SERVICES) refuseRest(server, service);
}
