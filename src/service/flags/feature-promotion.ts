import type { Caller } from '../caller.ts';
import type { ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { hasEnvironment } from '../environments/inheritance.ts';
import type { FeatureKind, FeatureName } from '../model.ts';
import { checkScope } from '../names.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { checkScopeAccess, plainNameOf } from './feature-access.ts';
import { applyFeatureEdits, type FeaturesAnswer } from './feature-apply.ts';
import { checkFeatureName } from './feature-content.ts';
import { type FeatureEdit, storedFeature } from './feature-edits.ts';

/** Takes flags and segments of an application from one environment to another. */
export interface FeaturePromotionRequest extends ChangeOptions {
  readonly tenant: string;
  readonly application: string;
  /** Canonical ids. */
  readonly from: string;
  readonly to: string;
  /** Which; default, where neither is named: all that `from` has itself. */
  readonly flags?: readonly string[] | undefined;
  readonly segments?: readonly string[] | undefined;
  /** Show what would be different, but change nothing. */
  readonly dryRun?: boolean | undefined;
}

const KINDS: readonly FeatureKind[] = ['flag', 'segment'];

/** The use case that takes flags and segments from one environment to another. */
export class FeaturePromotion {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /**
   * All in one transaction; what is the same already is left as it is, and nothing is deleted.
   *
   * @throws ServiceError `invalid`, also for a reference to what `to` would not have; `not-found` for what `from` does not
   *   have, `too-large` for more than 40 that differ, `conflict` by deployment rules, `forbidden`
   */
  async promote(caller: Caller, request: FeaturePromotionRequest): Promise<FeaturesAnswer> {
    const { tenant, application, from, to } = request;
    const [source, target] = [from, to].map((environment) => ({ tenant, environment, application }));
    checkScope(source!);
    checkScope(target!);
    if (from === to) throw invalid({ field: 'to', message: 'is where they come from' });
    await this.#checkAccess(caller, request);
    return applyFeatureEdits(
      this.#context,
      caller,
      {
        operation: 'promote',
        tenant,
        options: request,
        body: request,
        promotedFrom: from,
        dryRun: request.dryRun,
      },
      () => this.#edits(request),
    );
  }

  async #checkAccess(caller: Caller, request: FeaturePromotionRequest): Promise<void> {
    const { access } = this.#context;
    const { tenant, application, from, to } = request;
    const named = namedIn(request);
    for (const [environment, mode] of [
      [from, 'read'],
      [to, 'write'],
    ] as const) {
      const scope = { tenant, environment, application };
      if (named === null) {
        for (const kind of KINDS) await checkScopeAccess(access, caller, { scope, kind, mode });
      } else {
        for (const { kind, key } of named) checkFeatureName({ kind, ...scope, key });
        await access.checkAll(
          caller,
          mode,
          named.map(({ kind, key }) => plainNameOf({ kind, ...scope, key })),
        );
      }
    }
  }

  #edits(request: FeaturePromotionRequest): readonly FeatureEdit[] {
    const { state } = this.#context.projection;
    const { tenant, application, from, to } = request;
    for (const [field, id] of [
      ['from', from],
      ['to', to],
    ] as const) {
      if (!hasEnvironment(state, tenant, id))
        throw invalid({ field, message: `there is no environment ${id}` });
    }
    const scope = { tenant, environment: from, application };
    const wanted = namedIn(request) ?? KINDS.flatMap((kind) => this.#allOf({ kind, ...scope }));
    return wanted.map(({ kind, key, field }) => {
      const source = state.features.find({ kind, ...scope, key });
      const name = { kind, tenant, environment: to, application, key };
      if (source !== undefined) {
        return { name, field: `${field}/`, before: storedFeature(state, name), content: source.row };
      }
      const message = `${application} has no ${kind} ${key} in ${from}`;
      throw new ServiceError('not-found', message, { problems: [{ field, message }] });
    });
  }

  #allOf({ kind, ...scope }: Omit<FeatureName, 'key'>): readonly Wanted[] {
    const keys = [...this.#context.projection.state.features.scope(kind, scope)].map(({ row }) => row.key);
    return keys.sort().map((key) => ({ kind, key, field: key }));
  }
}

interface Wanted {
  readonly kind: FeatureKind;
  readonly key: string;
  /** What names it in the request. */
  readonly field: string;
}

/** Null = nothing is named. */
function namedIn({ flags, segments }: FeaturePromotionRequest): readonly Wanted[] | null {
  if (flags === undefined && segments === undefined) return null;
  return [
    ...(flags ?? []).map((key, at): Wanted => ({ kind: 'flag', key, field: `flags/${at}` })),
    ...(segments ?? []).map((key, at): Wanted => ({ kind: 'segment', key, field: `segments/${at}` })),
  ];
}
