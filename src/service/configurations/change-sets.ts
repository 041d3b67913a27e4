import type { Caller } from '../caller.ts';
import { type ChangeMeta, type ChangeOptions, type Plan, partKey } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { type FeatureView, featureViewOf } from '../flags/feature-apply.ts';
import { type EditedFeature, planFeatureEdits } from '../flags/feature-edits.ts';
import { changeSetKey } from '../keyspace.ts';
import type { ChangeSet, ConfigurationName, Feature, FeatureKind } from '../model.ts';
import { checkLabel, checkTenant } from '../names.ts';
import type { Stored } from '../projection-state.ts';
import { encodeChangeSet } from '../rows.ts';
import { ServiceError } from '../service-error.ts';
import { applyEdits, type WriteAnswer, type WrittenItem } from './apply.ts';
import { EDITS_MAX } from './edits.ts';
import type { Answer, ReadOptions } from './reads.ts';
import {
  checkUnchanged,
  configurationEdits,
  featureEdits,
  isBack,
  plainNameOn,
  type WayBack,
  waysBack,
} from './ways-back.ts';

/** A change set as a caller sees it. */
export interface ChangeSetView extends Omit<ChangeSet, 'format' | 'items'> {
  /** What the caller's tenant has; versions before the first change of the set and after the last. */
  readonly items: readonly (ConfigurationName & {
    readonly kind: 'configuration' | FeatureKind;
    readonly id: string;
    readonly before: number;
    readonly after: number;
  })[];
}

export interface ChangeSetRef {
  readonly tenant: string;
  readonly name: string;
}

export interface ChangeSetRollback extends ChangeSetRef, ChangeOptions {
  /** Also where somebody has changed something since. */
  readonly force?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

/** What the rolling back of a change set did. */
export interface ChangeSetAnswer {
  readonly revision: number;
  /** One, or one for each 40 configurations, flags and segments. */
  readonly changeIds: readonly string[];
  /** Configurations. */
  readonly items: readonly WrittenItem[];
  /** Flags and segments that were changed, as they are now. */
  readonly features: readonly FeatureView[];
}

type ChunkAnswer = WriteAnswer & Pick<ChangeSetAnswer, 'features'>;

/** The use cases about named releases. */
export class ChangeSets {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** The newest first. @throws ServiceError */
  async list(
    caller: Caller,
    { tenant, consistency }: ReadOptions & { readonly tenant: string },
  ): Promise<Answer<readonly ChangeSetView[]>> {
    checkTenant(tenant);
    await this.#context.projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    await this.#context.access.check(caller, 'read', { tenant });
    const { state, revision } = this.#context.projection;
    const sets = [...state.changeSets(tenant)].sort((left, right) => right.modRevision - left.modRevision);
    return { revision, result: sets.map((set) => this.#view(set)) };
  }

  /** @throws ServiceError `not-found` */
  async get(caller: Caller, ref: ReadOptions & ChangeSetRef): Promise<Answer<ChangeSetView>> {
    await this.#context.projection.freshen(ref.consistency ?? { type: 'strong' }, caller.signal);
    const stored = this.#stored(ref);
    await this.#context.access.check(caller, 'read', { tenant: ref.tenant });
    return { revision: this.#context.projection.revision, result: this.#view(stored) };
  }

  /**
   * Takes everything of the set back to what it was before it. Up to 40 in one transaction; more in several, one after
   * another, flags and segments first: when one of them fails, the same request goes on where it stopped.
   *
   * @throws ServiceError `not-found`, `conflict` when it was rolled back, somebody changed something since, or by what
   *   refers to a flag
   */
  async rollback(caller: Caller, request: ChangeSetRollback): Promise<ChangeSetAnswer> {
    await this.#context.projection.catchUp(caller.signal);
    const { row } = this.#stored(request);
    const ways = await waysBack(this.#context, row, caller.signal);
    await this.#context.access.checkAll(caller, 'write', ways.map(plainNameOn));
    const atMs = this.#context.clock.nowMs();
    // Of one that is closed each part says so, or what it did when this same request was made before.
    if (row.rolledBackAt === null && request.force !== true) {
      checkUnchanged(
        this.#context,
        ways.filter((way) => !isBack(this.#context, way, atMs)),
      );
    }
    // The same parts each time, so that a repetition finds their idempotency keys; what is back already is passed over.
    const chunks = Array.from({ length: Math.max(1, Math.ceil(ways.length / EDITS_MAX)) }, (_, at) =>
      ways.slice(at * EDITS_MAX, (at + 1) * EDITS_MAX),
    );
    const answers: ChunkAnswer[] = [];
    for (const [at, chunk] of chunks.entries()) {
      answers.push(await this.#rollBack(caller, request, { chunk, at, isLast: at === chunks.length - 1 }));
    }
    return {
      revision: answers.at(-1)!.revision,
      changeIds: answers.flatMap(({ changeId }) => (changeId === null ? [] : [changeId])),
      items: answers.flatMap(({ items }) => items),
      features: answers.flatMap(({ features }) => features),
    };
  }

  async #rollBack(
    caller: Caller,
    request: ChangeSetRollback,
    {
      chunk,
      at,
      isLast,
    }: { readonly chunk: readonly WayBack[]; readonly at: number; readonly isLast: boolean },
  ): Promise<ChunkAnswer> {
    const { tenant, name, reason, idempotencyKey, dryRun } = request;
    let features: readonly Feature[] = [];
    const answer = await applyEdits(
      this.#context,
      caller,
      {
        operation: 'rollback',
        tenant,
        options: { reason, idempotencyKey: partKey(idempotencyKey, at) },
        body: { changeSet: name, request },
        dryRun,
        besides: (meta) => {
          const closing = this.#closing(request, meta, isLast);
          const plan = this.#featuresBack(chunk, meta);
          features = plan.result.flatMap(({ type, after }) => (type === 'unchanged' ? [] : [after]));
          const guards = [...plan.guards, ...closing.guards];
          return { guards, ops: [...plan.ops, ...closing.ops], items: plan.items };
        },
      },
      (meta) => {
        const open = chunk.filter((way) => !isBack(this.#context, way, meta.atMs));
        if (request.force !== true) checkUnchanged(this.#context, open);
        return configurationEdits(this.#context, open, meta);
      },
    );
    const { revision } = answer;
    return { ...answer, features: features.map((row) => featureViewOf(row, revision)) };
  }

  #featuresBack(chunk: readonly WayBack[], meta: ChangeMeta): Plan<readonly EditedFeature[]> {
    const open = chunk.filter((way) => !isBack(this.#context, way, meta.atMs));
    const deployment = { operation: 'rollback', reason: meta.reason, promotedFrom: null } as const;
    return planFeatureEdits(this.#context, meta, { edits: featureEdits(this.#context, open), deployment });
  }

  /** Closes the set with the last of what it touched. @throws ServiceError `conflict` when it is closed */
  #closing(request: ChangeSetRollback, { at }: ChangeMeta, isLast: boolean) {
    const { row, modRevision } = this.#stored(request);
    if (row.rolledBackAt !== null) {
      throw new ServiceError('conflict', `the change set ${row.name} was rolled back already`);
    }
    if (!isLast) return { guards: [], ops: [] };
    const key = changeSetKey(row.tenant, row.name);
    const value = encodeChangeSet({ ...row, rolledBackAt: at, updatedAt: at });
    return { guards: [{ key, modRevision }], ops: [{ type: 'put' as const, key, value }] };
  }

  #stored({ tenant, name }: ChangeSetRef): Stored<ChangeSet> {
    checkTenant(tenant);
    checkLabel('changeSet', name);
    const stored = this.#context.projection.state.changeSet(tenant, name);
    if (stored !== undefined) return stored;
    const message = `there is no change set ${name}`;
    throw new ServiceError('not-found', message, { problems: [{ field: 'changeSet', message }] });
  }

  #view({ row }: Stored<ChangeSet>): ChangeSetView {
    const { format: _, items, ...rest } = row;
    const { configurations, features } = this.#context.projection.state;
    return {
      ...rest,
      items: items.flatMap((item) => {
        const feature = features.byId(item.id)?.row;
        const entry = feature ?? configurations.byId(item.id);
        if (entry === undefined) return [];
        const { tenant, environment, application, key } = entry;
        return [{ kind: feature?.kind ?? 'configuration', tenant, environment, application, key, ...item }];
      }),
    };
  }
}
