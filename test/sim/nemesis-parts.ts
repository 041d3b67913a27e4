import type { AppliedLog } from './checkers/applied-log.ts';
import type { ClientHistory } from './checkers/client-history.ts';
import type { ClientPort } from './client.ts';
import type { Cluster } from './cluster.ts';
import type { SimNetwork } from './network.ts';
import type { Plan } from './plan.ts';
import type { Prng } from './prng.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import type { Report } from './violation.ts';
import type { WorkloadClient } from './workload.ts';

/** What everything that does something to a cluster is given. */
export interface NemesisParts {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly network: SimNetwork;
  readonly cluster: Cluster;
  readonly port: ClientPort;
  readonly log: AppliedLog;
  readonly trace: Trace;
  /** Does what clients do at the places where a fault is. */
  readonly client: WorkloadClient;
  readonly history: ClientHistory;
  readonly report: Report;
}
