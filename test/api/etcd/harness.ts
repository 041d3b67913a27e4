import type { EtcdLimits } from '../../../src/api/etcd/limits.ts';
import { DEFAULT_ETCD_LIMITS } from '../../../src/api/etcd/limits.ts';
import { registerEtcd } from '../../../src/api/etcd/register.ts';
import { Harness } from '../../rpc/harness.ts';
import { FakeBackend } from './fake-backend.ts';

/** The etcd face over a fake backend, on a real server. */
export class EtcdHarness extends Harness {
  readonly backend = new FakeBackend();

  constructor(limits: Partial<EtcdLimits> = {}) {
    super();
    registerEtcd(this.server, this.backend, { ...DEFAULT_ETCD_LIMITS, leaderLossGraceMs: 0, ...limits });
  }
}
