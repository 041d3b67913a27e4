import { definitionAt } from '../../evaluation/compile.ts';
import { type FlagDefinition, WHOLE } from '../../evaluation/model.ts';
import type { Caller } from '../caller.ts';
import type { Answer, ReadOptions } from '../configurations/reads.ts';
import type { ServiceContext } from '../context.ts';
import { checkEnvironmentName, checkTenant } from '../names.ts';
import { invalid } from '../service-error.ts';
import { plainNameOf } from './feature-access.ts';
import { type FeatureView, featureViewOf } from './feature-apply.ts';

/** After how many days without a change a flag that decides nothing counts as left behind. */
export const STALE_DAYS_DEFAULT = 30;
const DAYS_MAX = 36_500;
const DAY_MS = 86_400_000;

/**
 * Why a flag may go: it was to be gone by now; it is enabled and answers everybody alike; it is disabled. The latter two
 * only without a change for some time.
 */
export type StaleReason = 'expired' | 'answers-everybody-alike' | 'disabled';

export interface StaleFlag {
  readonly flag: FeatureView;
  readonly reasons: readonly StaleReason[];
  /** Whole days since it was changed. */
  readonly unchangedDays: number;
}

export interface StaleRequest extends ReadOptions {
  readonly tenant: string;
  readonly application?: string | undefined;
  readonly environment?: string | undefined;
  /** Default: 30. */
  readonly days?: number | undefined;
}

/** The use case of those who clear up. */
export class StaleFlags {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Flags that may go, of those that the caller may read; the longest unchanged first. @throws ServiceError `invalid` */
  async report(caller: Caller, request: StaleRequest): Promise<Answer<readonly StaleFlag[]>> {
    const { tenant, application, environment, days = STALE_DAYS_DEFAULT } = request;
    checkTenant(tenant);
    if (environment !== undefined) checkEnvironmentName(environment);
    if (!Number.isInteger(days) || days < 0 || days > DAYS_MAX) {
      throw invalid({ field: 'days', message: `must be a whole number from 0 to ${DAYS_MAX}` });
    }
    const { projection, access, clock } = this.#context;
    await projection.freshen(request.consistency ?? { type: 'strong' }, caller.signal);
    const { revision } = projection;
    const filter = access.filter(caller, 'read');
    const nowMs = clock.nowMs();
    // What is there now, whatever changes while rights are asked for.
    const flags = [...projection.state.features.all('flag', tenant)];
    const found: StaleFlag[] = [];
    for (const { row, modRevision } of flags) {
      const isMeant =
        (application ?? row.application) === row.application &&
        (environment ?? row.environment) === row.environment;
      if (!isMeant || !(await filter(plainNameOf(row)))) continue;
      const unchangedDays = Math.floor((nowMs - Date.parse(row.updatedAt)) / DAY_MS);
      const reasons = reasonsOf(row.definition, { nowMs, isOld: unchangedDays >= days });
      if (reasons.length > 0) found.push({ flag: featureViewOf(row, modRevision), reasons, unchangedDays });
    }
    found.sort(
      (left, right) => right.unchangedDays - left.unchangedDays || byKey(left.flag.key, right.flag.key),
    );
    return { revision, result: found };
  }
}

function reasonsOf(
  flag: FlagDefinition,
  { nowMs, isOld }: { readonly nowMs: number; readonly isOld: boolean },
): readonly StaleReason[] {
  const reasons: StaleReason[] = [];
  if (flag.expiresAt !== null && Date.parse(flag.expiresAt) <= nowMs) reasons.push('expired');
  const willChange = flag.schedule.some(({ at }) => Date.parse(at) > nowMs);
  if (!isOld || willChange) return reasons;
  const now = definitionAt(flag, nowMs);
  if (!now.enabled) reasons.push('disabled');
  else if (answersAllAlike(now)) reasons.push('answers-everybody-alike');
  return reasons;
}

/** Whether nobody is told from anybody: what comes first decides for all. */
function answersAllAlike(flag: FlagDefinition): boolean {
  const { prerequisites, targetServices, conditions, targets, rules, fallthrough } = flag;
  const asks =
    prerequisites.length + targetServices.length + Object.keys(conditions).length + targets.length > 0;
  if (asks) return false;
  const [first] = rules;
  if (first === undefined) return 'variant' in fallthrough;
  const letsAllIn = first.rollout === null || (first.rollout.share === WHOLE && first.rollout.ramp === null);
  return first.when.length === 0 && letsAllIn && 'variant' in first.serve;
}

function byKey(left: string, right: string): number {
  return left < right ? -1 : 1;
}
