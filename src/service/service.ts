import type { Kv } from '../kv/kv.ts';
import type { Logger } from '../lib/logger.ts';
import { Access } from './access.ts';
import { Applications } from './applications/applications.ts';
import { Audit } from './audit/audit.ts';
import { AuditIndex } from './audit/audit-index.ts';
import { Sealer } from './audit/sealer.ts';
import type { Clock } from './caller.ts';
import { Committer } from './commit.ts';
import { ChangeSets } from './configurations/change-sets.ts';
import { Comparisons } from './configurations/comparison.ts';
import { Configurations } from './configurations/configurations.ts';
import { Drifts } from './configurations/drift.ts';
import { History } from './configurations/history.ts';
import { Importing } from './configurations/importing.ts';
import { Merging } from './configurations/merging.ts';
import { Promotion } from './configurations/promotion.ts';
import { Reads } from './configurations/reads.ts';
import { TextExport } from './configurations/text-export.ts';
import { TextImport } from './configurations/text-import.ts';
import { Validations } from './configurations/validation.ts';
import type { ServiceContext } from './context.ts';
import { Delivery } from './delivery/delivery.ts';
import { Instances } from './delivery/instances.ts';
import { Environments } from './environments/environments.ts';
import { EventHub, type EventLimits } from './events/event-hub.ts';
import { Events } from './events/events.ts';
import { Experiments } from './flags/experiments.ts';
import { Exposures } from './flags/exposures.ts';
import { FeatureHistory } from './flags/feature-history.ts';
import { FlagImport } from './flags/feature-import.ts';
import { FeaturePromotion } from './flags/feature-promotion.ts';
import { FeatureReads } from './flags/feature-reads.ts';
import { Features } from './flags/features.ts';
import { FlagReads } from './flags/flag-reads.ts';
import { FlagSets } from './flags/flag-sets.ts';
import { FlagUsage } from './flags/flag-usage.ts';
import { StaleFlags } from './flags/stale-flags.ts';
import { UsageReports } from './flags/usage-reports.ts';
import type { Scope } from './model.ts';
import { Projection } from './projection.ts';
import type { Keyring } from './secrets/keyring.ts';
import { RETENTION_DEFAULT, type Retention } from './sweepers/retention.ts';
import { Sweepers } from './sweepers/sweepers.ts';

export interface ServiceOptions {
  readonly kv: Kv;
  readonly logger: Logger;
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** Null = secrets are refused. */
  readonly keyring: Keyring | null;
  /** The instances that run an application in an environment; default: those that registered. */
  readonly instancesOf?: ((scope: Scope) => readonly string[]) | undefined;
  /** Default: versions are kept for 12 months at least. */
  readonly retention?: Retention | undefined;
  /** The newest changes that the audit finds in memory; default 500,000. */
  readonly indexedChangesMax?: number | undefined;
  /** Default: `EVENT_LIMITS_DEFAULT`. */
  readonly eventLimits?: EventLimits | undefined;
  /** Default: true; false where something else sweeps, and seals. */
  readonly sweeps?: boolean | undefined;
  /** Gives up the opening. */
  readonly signal: AbortSignal;
}

/** How the service is doing. */
export interface ServiceStatus {
  readonly revision: number;
  /** False while the store cannot be watched. */
  readonly isLive: boolean;
  /** Deleted ones included. */
  readonly configurations: number;
  /** In memory, about. */
  readonly bytes: number;
  readonly unreadableRows: number;
}

/** The configuration service: its use cases by what they are about. Faces translate, and decide nothing. */
export interface Service {
  readonly configurations: Configurations;
  readonly reads: Reads;
  readonly history: History;
  readonly comparisons: Comparisons;
  readonly merging: Merging;
  readonly promotion: Promotion;
  readonly importing: Importing;
  readonly changeSets: ChangeSets;
  readonly textImport: TextImport;
  readonly textExport: TextExport;
  readonly drifts: Drifts;
  readonly validations: Validations;
  readonly environments: Environments;
  readonly applications: Applications;
  readonly audit: Audit;
  readonly events: Events;
  readonly delivery: Delivery;
  readonly instances: Instances;
  /** Flags and segments as people edit them. */
  readonly features: Features;
  readonly featureReads: FeatureReads;
  readonly featureHistory: FeatureHistory;
  readonly featurePromotion: FeaturePromotion;
  readonly flagImport: FlagImport;
  readonly staleFlags: StaleFlags;
  /** Counts what flags answer. */
  readonly flagUsage: FlagUsage;
  readonly usageReports: UsageReports;
  /** Who got which variant. */
  readonly exposures: Exposures;
  readonly experiments: Experiments;
  /** Flags as they are evaluated. */
  readonly flagReads: FlagReads;
  readonly sweepers: Sweepers;
  readonly sealer: Sealer;
  /** Hears of every change, and answers what changed lately. */
  readonly projection: Projection;
  status(): ServiceStatus;
  /** Ends what runs; the port stays open. */
  close(): Promise<void>;
}

/** Reads the store, and is ready when it returns. @throws ServiceError when the store cannot be read */
export async function openService(options: ServiceOptions): Promise<Service> {
  const { kv, logger, keyring, signal } = options;
  const clock = options.clock ?? { nowMs: () => Date.now() };
  const projection = await Projection.open(kv, { logger, signal });
  const instances = new Instances(kv, { clock, logger });
  instances.start();
  const instancesOf = options.instancesOf ?? ((scope: Scope) => instances.idsOf(scope));
  const context: ServiceContext = {
    kv,
    clock,
    projection,
    committer: new Committer(kv, { projection, clock }),
    access: new Access(kv),
    keyring,
    instancesOf,
  };
  const auditIndex = new AuditIndex(kv, {
    projection,
    logger,
    changesMax: options.indexedChangesMax,
  });
  const hub = new EventHub({ kv, projection, instancesOf }, { logger, limits: options.eventLimits });
  const sealer = new Sealer(kv, { projection, logger });
  const sweepers = new Sweepers(context, { logger, retention: options.retention ?? RETENTION_DEFAULT });
  if (options.sweeps !== false) {
    sweepers.start();
    sealer.start();
  }
  const importing = new Importing(context);
  const reads = new Reads(context);
  const flagSets = new FlagSets(projection);
  const flagUsage = new FlagUsage(kv, { clock, logger });
  flagUsage.start();
  const exposures = new Exposures(kv, { clock, logger });
  exposures.start();
  return {
    configurations: new Configurations(context),
    reads,
    history: new History(context),
    comparisons: new Comparisons(context),
    merging: new Merging(context),
    promotion: new Promotion(context),
    importing,
    changeSets: new ChangeSets(context),
    textImport: new TextImport(context, importing),
    textExport: new TextExport(reads),
    drifts: new Drifts(context),
    validations: new Validations(context),
    environments: new Environments(context),
    applications: new Applications(context),
    audit: new Audit(context, auditIndex),
    events: new Events(context, hub),
    delivery: new Delivery(context, instances),
    instances,
    features: new Features(context),
    featureReads: new FeatureReads(context),
    featureHistory: new FeatureHistory(context),
    featurePromotion: new FeaturePromotion(context),
    flagImport: new FlagImport(context),
    staleFlags: new StaleFlags(context),
    flagUsage,
    usageReports: new UsageReports(context, flagUsage),
    exposures,
    experiments: new Experiments(context, exposures),
    flagReads: new FlagReads(context, flagSets, flagUsage),
    sweepers,
    sealer,
    projection,
    status: () => ({
      revision: projection.revision,
      isLive: projection.isLive,
      configurations: projection.state.configurations.size,
      bytes: projection.state.configurations.bytes,
      unreadableRows: projection.unreadable,
    }),
    close: async () => {
      await Promise.all([
        hub.close(),
        auditIndex.close(),
        sealer.close(),
        instances.close(),
        sweepers.close(),
        flagUsage.close(),
        exposures.close(),
      ]);
      flagSets.close();
      await projection.close();
    },
  };
}
