import type { Operation } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import { invalid, ServiceError } from '../service-error.ts';

/** What a change of configurations is, as far as deployment rules ask. */
export interface Deployment {
  readonly operation: Operation;
  readonly reason: string;
  /** Of a promotion: where from. */
  readonly promotedFrom: string | null;
}

/** They bring back what was there by the rules before, or follow from what was said then. */
const ALWAYS_IN_ORDER: ReadonlySet<Operation> = new Set(['rollback', 'undelete', 'revert']);

/**
 * Holds a change to the rules of the environment that it changes.
 *
 * @throws ServiceError `conflict` where it is locked or changes come by promotion only, `invalid` without a reason
 */
export function checkDeployment(
  state: ProjectionState,
  { tenant, environment }: { readonly tenant: string; readonly environment: string },
  { operation, reason, promotedFrom }: Deployment,
): void {
  const rules = state.environment(tenant, environment)?.row.rules;
  // What expires was told so when it was made.
  if (rules === undefined || operation === 'expire') return;
  if (rules.locked) throw new ServiceError('conflict', `the environment ${environment} is locked`);
  if (rules.reasonRequired && reason.trim() === '') {
    throw invalid({ field: 'reason', message: `the environment ${environment} asks for one` });
  }
  const source = rules.promoteOnlyFrom;
  if (source !== null && source !== promotedFrom && !ALWAYS_IN_ORDER.has(operation)) {
    throw new ServiceError('conflict', `the environment ${environment} takes promotions from ${source} only`);
  }
}
