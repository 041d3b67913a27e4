import type { FastifyInstance } from 'fastify';
import { COMPONENTS_000, config } from './dialects/000/config.ts';
import { features as managedFeatures } from './dialects/000/features.ts';
import { FLAG_COMPONENTS_001, serviceFlags } from './dialects/001/flags.ts';
import { COMPONENTS_001 } from './dialects/001/schemas.ts';
import { serviceConfig } from './dialects/001/service-config.ts';
import { serviceWatch } from './dialects/001/watch.ts';
import { configs } from './dialects/002/configs.ts';
import { FLAG_COMPONENTS_002 } from './dialects/002/flag-schemas.ts';
import { featureFlags } from './dialects/002/flags.ts';
import { COMPONENTS_002 } from './dialects/002/schemas.ts';
import { services } from './dialects/004/service.ts';
import { ofrep } from './ofrep/routes.ts';
import { OFREP_COMPONENTS } from './ofrep/schemas.ts';
import type { RestContext } from './rest/context.ts';
import { environmentRoutes } from './rest/environment-routes.ts';
import { ENVIRONMENT, ENVIRONMENT_CREATION, ENVIRONMENT_UPDATE } from './rest/environment-shape.ts';
import { PROBLEM } from './rest/problem-schema.ts';
import { APPLICATION_COMPONENTS, applications } from './v1/applications.ts';
import { audit } from './v1/audit.ts';
import { AUDIT_ENTRY } from './v1/audit-operations.ts';
import { bulk } from './v1/bulk.ts';
import { compare } from './v1/compare.ts';
import { configurations } from './v1/configurations.ts';
import { delivery } from './v1/delivery.ts';
import { INSTANCE } from './v1/delivery-operations.ts';
import { drift } from './v1/drift.ts';
import { EVENT_COMPONENTS, events } from './v1/events.ts';
import { experiments } from './v1/experiments.ts';
import { FEATURE_COMPONENTS } from './v1/feature-shapes.ts';
import { features } from './v1/features.ts';
import { flagActions } from './v1/flag-actions.ts';
import { flagUsage } from './v1/flag-usage.ts';
import { importExport } from './v1/import-export.ts';
import { PROMOTION_COMPONENTS, promotions } from './v1/promotions.ts';
import {
  CHANGE,
  CHANGED,
  CONFIGURATION,
  CREATION,
  EFFECTIVE,
  FINDING,
  PATCH,
  UPDATE,
  VERSION,
} from './v1/schemas.ts';

/** The schemas that have names of their own in the document. */
export const COMPONENTS: readonly object[] = [
  ...COMPONENTS_002,
  ...FLAG_COMPONENTS_002,
  ...FLAG_COMPONENTS_001,
  ...FEATURE_COMPONENTS,
  ...COMPONENTS_001,
  ...COMPONENTS_000,
  PROBLEM,
  ENVIRONMENT,
  ENVIRONMENT_CREATION,
  ENVIRONMENT_UPDATE,
  ...APPLICATION_COMPONENTS,
  ...PROMOTION_COMPONENTS,
  ...EVENT_COMPONENTS,
  CONFIGURATION,
  VERSION,
  EFFECTIVE,
  FINDING,
  CHANGE,
  CHANGED,
  CREATION,
  UPDATE,
  PATCH,
  ...OFREP_COMPONENTS,
  AUDIT_ENTRY,
  INSTANCE,
];

/** Registers every dialect; each tells failures in its own words. */
export async function registerDialects(api: FastifyInstance, context: RestContext): Promise<void> {
  await api.register(async (dialect) => configs(dialect, context));
  await api.register(async (dialect) => serviceConfig(dialect, context));
  await api.register(async (dialect) => serviceWatch(dialect, context));
  await api.register(async (dialect) => config(dialect, context));
  await api.register(async (dialect) => featureFlags(dialect, context));
  await api.register(async (dialect) => serviceFlags(dialect, context));
  await api.register(async (dialect) => managedFeatures(dialect, context));
  await api.register(async (dialect) => services(dialect, context));
  await api.register(async (dialect) =>
    environmentRoutes(dialect, context, {
      path: '/environments/control',
      tag: 'Environments',
      prefix: 'control',
    }),
  );
  await api.register(async (own) =>
    environmentRoutes(own, context, { path: '/api/v1/environments', tag: 'Environments', prefix: 'v1' }),
  );
  await api.register(async (own) => ofrep(own, context));
  await api.register(async (own) => applications(own, context));
  await api.register(async (own) => events(own, context));
  await api.register(async (own) => {
    configurations(own, context);
    bulk(own, context);
    compare(own, context);
    promotions(own, context);
    drift(own, context);
    features(own, context, 'flag');
    features(own, context, 'segment');
    flagActions(own, context);
    flagUsage(own, context);
    experiments(own, context);
    audit(own, context);
    delivery(own, context);
    await importExport(own, context);
  });
}
