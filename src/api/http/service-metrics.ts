import { Counter, exponentialBuckets, Gauge, Histogram, Registry } from 'prom-client';
import type { Kv } from '../../kv/kv.ts';
import { HEAD_KEY } from '../../service/keyspace.ts';
import type { UseOfService } from '../../service/observed.ts';
import type { Service } from '../../service/service.ts';

const READ_SECONDS = exponentialBuckets(0.0001, 2, 15);
const CHANGE_SECONDS = exponentialBuckets(0.001, 2, 14);
const PROPAGATION_SECONDS = exponentialBuckets(0.001, 2, 15);
/** Applications with a line of their own; what comes after them is counted together. */
export const APPLICATIONS_SHOWN_MAX = 1_000;
/** How long a page waits for the store to say how far it is. */
const HEAD_MS_MAX = 500;
const OTHERS = '(others)';

/** The metrics of the configuration service, as this server runs it. */
export class ServiceMetrics {
  readonly #registry = new Registry();
  readonly #service: Service;
  readonly #kv: Kv;
  readonly #sample: (lag: number | null) => void;
  readonly #unsubscribe: () => void;
  /** To be told of every use of the service. */
  readonly observer: (use: UseOfService) => void;

  constructor({ service, kv }: { readonly service: Service; readonly kv: Kv }) {
    this.#service = service;
    this.#kv = kv;
    this.observer = uses(this.#registry);
    this.#sample = sampler(this.#registry, service);
    this.#unsubscribe = service.projection.subscribe(propagation(this.#registry));
  }

  /** The whole page in the Prometheus text format. */
  async render(): Promise<string> {
    this.#sample(await this.#lag());
    return this.#registry.metrics();
  }

  close(): void {
    this.#unsubscribe();
  }

  /** How far the projection is behind what this server's store knows; null when that does not answer. */
  async #lag(): Promise<number | null> {
    try {
      const answer = await this.#kv.range(
        { key: HEAD_KEY, keysOnly: true, consistency: { type: 'serializable' } },
        { principal: { type: 'service' }, signal: AbortSignal.timeout(HEAD_MS_MAX) },
      );
      return Math.max(0, (answer.rows[0]?.modRevision ?? 0) - this.#service.projection.revision);
    } catch {
      return null;
    }
  }
}

/** Counts uses: reads, changes, roll-backs, rejections, and who they are about. */
function uses(registry: Registry): (use: UseOfService) => void {
  const registers = [registry];
  const reads = new Counter({
    name: 'conclave_service_reads_total',
    help: 'Reads of the configuration service, by use case and consistency',
    labelNames: ['use_case', 'consistency'],
    registers,
  });
  const changes = new Counter({
    name: 'conclave_service_updates_total',
    help: 'Changes made through this server, by use case',
    labelNames: ['use_case'],
    registers,
  });
  const rollbacks = new Counter({
    name: 'conclave_service_rollbacks_total',
    help: 'Configurations and change sets rolled back through this server',
    registers,
  });
  const rejections = new Counter({
    name: 'conclave_service_rejections_total',
    help: 'Requests that were not done, by cause',
    labelNames: ['cause', 'access'],
    registers,
  });
  const applications = new Counter({
    name: 'conclave_service_application_requests_total',
    help: `Requests by the application that they name; after ${APPLICATIONS_SHOWN_MAX} of them the others together`,
    labelNames: ['application', 'access'],
    registers,
  });
  const readSeconds = new Histogram({
    name: 'conclave_service_read_seconds',
    help: 'Time of one read, by consistency',
    labelNames: ['consistency'],
    buckets: READ_SECONDS,
    registers,
  });
  const changeSeconds = new Histogram({
    name: 'conclave_service_update_seconds',
    help: 'Time of one change',
    buckets: CHANGE_SECONDS,
    registers,
  });
  const shown = new Set<string>();
  const labelOf = (application: string): string => {
    if (shown.has(application)) return application;
    if (shown.size === APPLICATIONS_SHOWN_MAX) return OTHERS;
    shown.add(application);
    return application;
  };
  return (use) => {
    const { area, access, application, failure } = use;
    const useCase = `${area}.${use.useCase}`;
    if (failure !== null) {
      rejections.inc({ cause: failure, access });
      return;
    }
    // Only those that are there get a line: names that somebody makes up do not.
    if (application !== null) applications.inc({ application: labelOf(application), access });
    if (access === 'read') {
      const consistency = use.consistency ?? 'strong';
      reads.inc({ use_case: useCase, consistency });
      readSeconds.observe({ consistency }, use.durationMs / 1_000);
      return;
    }
    changes.inc({ use_case: useCase });
    changeSeconds.observe(use.durationMs / 1_000);
    if (use.useCase === 'rollback') rollbacks.inc();
  };
}

/** Measures how long after it was made a change is known here, by the clocks of both servers. */
function propagation(registry: Registry): Parameters<Service['projection']['subscribe']>[0] {
  const registers = [registry];
  const seconds = new Histogram({
    name: 'conclave_service_propagation_seconds',
    help: "From a change's own time until this server knows it; the clocks of the servers differ",
    buckets: PROPAGATION_SECONDS,
    registers,
  });
  const changes = new Counter({
    name: 'conclave_service_changes_total',
    help: 'Changes that this server has learned of, by operation, wherever they were made',
    labelNames: ['operation'],
    registers,
  });
  const jumps = new Counter({
    name: 'conclave_service_projection_reloads_total',
    help: 'How often history was compacted before it was read, and everything was read anew',
    registers,
  });
  return {
    changed: ({ record }) => {
      changes.inc({ operation: record.operation });
      seconds.observe(Math.max(0, Date.now() - Date.parse(record.at)) / 1_000);
    },
    jumped: () => jumps.inc(),
  };
}

type Reading = readonly [name: string, help: string, read: (service: Service) => number];

const READINGS: readonly Reading[] = [
  [
    'conclave_service_projection_revision',
    'Everything of the service up to this revision is known here',
    ({ projection }) => projection.revision,
  ],
  [
    'conclave_service_projection_live',
    'Whether the store can be watched',
    ({ projection }) => Number(projection.isLive),
  ],
  [
    'conclave_service_configurations',
    'Configurations in memory, deleted ones included',
    (service) => service.status().configurations,
  ],
  [
    'conclave_service_configuration_bytes',
    'What they take in memory, about',
    (service) => service.status().bytes,
  ],
  [
    'conclave_service_subscribers',
    'Streams of events that are open here, over HTTP and gRPC, and polls that wait',
    ({ events }) => events.subscribers,
  ],
  [
    'conclave_service_unreadable_rows',
    'Rows that could not be read since the start, and are left out',
    (service) => service.status().unreadableRows,
  ],
  [
    'conclave_service_secrets_waiting',
    'Secrets whose present version another key sealed than the one that seals here',
    ({ sweepers }) => sweepers.resealing.waiting,
  ],
  [
    'conclave_service_secrets_resealed',
    'Secrets and versions of secrets that this server sealed anew since its start',
    ({ sweepers }) => sweepers.resealing.resealed,
  ],
  [
    'conclave_service_secrets_unopened',
    'Secrets that no key here opened at the last look',
    ({ sweepers }) => sweepers.resealing.unopened,
  ],
  [
    'conclave_service_resealing_done',
    'Whether this server saw everything sealed under its first key since its start, and needs the others no more',
    ({ sweepers }) => Number(sweepers.resealing.isDone),
  ],
];

/** Answers a function that sets what is sampled. */
function sampler(registry: Registry, service: Service): (lag: number | null) => void {
  const registers = [registry];
  const gauges = READINGS.map(([name, help, read]) => [new Gauge({ name, help, registers }), read] as const);
  const lagging = new Gauge({
    name: 'conclave_service_projection_lag_revisions',
    help: 'Revisions of the store between the newest change and what is known here; not a number when it does not answer',
    registers,
  });
  const hits = new Counter({
    name: 'conclave_service_cache_reads_total',
    help: 'Reads answered from memory: hit when what was there was fresh enough, miss when they waited for more',
    labelNames: ['outcome'],
    registers,
  });
  const ratio = new Gauge({
    name: 'conclave_service_cache_hit_ratio',
    help: 'Hits among them since the start; 1 before the first',
    registers,
  });
  let last = { hits: 0, misses: 0 };
  return (lag) => {
    for (const [gauge, read] of gauges) gauge.set(read(service));
    lagging.set(lag ?? Number.NaN);
    const now = service.projection.freshened;
    hits.inc({ outcome: 'hit' }, now.hits - last.hits);
    hits.inc({ outcome: 'miss' }, now.misses - last.misses);
    last = now;
    ratio.set(now.hits + now.misses === 0 ? 1 : now.hits / (now.hits + now.misses));
  };
}
