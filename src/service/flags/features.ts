import type { FlagDefinition } from '../../evaluation/model.ts';
import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import { within } from '../configurations/requests.ts';
import { readVersion } from '../configurations/versions.ts';
import type { ServiceContext } from '../context.ts';
import type { FeatureName, FeatureVersion, Operation } from '../model.ts';
import { checkTenant } from '../names.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { applyFeatureEdits, type FeaturesAnswer } from './feature-apply.ts';
import {
  checkFeatureName,
  described,
  type FeatureContent,
  type FeatureInput,
  featureContentFrom,
} from './feature-content.ts';
import {
  FEATURE_EDITS_MAX,
  type FeatureEdit,
  featureNotFound,
  isThere,
  storedFeature,
} from './feature-edits.ts';
import type { StoredFeature } from './feature-index.ts';
import { type FeatureRef, featureNameOf } from './feature-refs.ts';
import { type RolloutInput, withRollout } from './rollout.ts';

/** What a change takes for granted of what it changes. */
export interface FeatureConditions {
  /** Entity tags of which one must be that of what is there; `*` is that of anything. */
  readonly ifMatch?: readonly string[] | undefined;
}

/** A new flag or segment: `definition` is required. */
export interface CreateFeature extends FeatureInput, ChangeOptions {
  readonly name: FeatureName;
}

export interface PutFeature extends CreateFeature, FeatureConditions {}

/** What it names must be there. */
export interface FeatureRequest extends FeatureConditions, ChangeOptions {
  readonly ref: FeatureRef;
}

export interface UpdateFeature extends FeatureRequest, FeatureInput {}

/** One of many changes that are made together. */
export interface BulkFeature extends FeatureInput, FeatureConditions {
  readonly action: Action;
  readonly name: FeatureName;
}

type Action = 'create' | 'update' | 'put' | 'delete';

/** The use cases that change flags and segments. Each is one transaction, checked with all that refers to it. */
export class Features {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** @throws ServiceError `exists`, `invalid`, `conflict` by deployment rules, `forbidden` */
  async create(caller: Caller, request: CreateFeature): Promise<FeaturesAnswer> {
    return this.#input(caller, { action: 'create', operation: 'create', ref: request.name, request });
  }

  /** @throws ServiceError `not-found`, `precondition-failed`, `invalid`, `conflict` */
  async update(caller: Caller, request: UpdateFeature): Promise<FeaturesAnswer> {
    return this.#input(caller, { action: 'update', operation: 'update', ref: request.ref, request });
  }

  /** Creates or updates, whichever it needs. @throws ServiceError as `update` and `create` */
  async put(caller: Caller, request: PutFeature): Promise<FeaturesAnswer> {
    return this.#input(caller, { action: 'put', operation: 'update', ref: request.name, request });
  }

  /** Leaves a tombstone: the versions stay. @throws ServiceError `not-found`, `conflict` while others refer to it */
  async delete(caller: Caller, request: FeatureRequest): Promise<FeaturesAnswer> {
    return this.#input(caller, { action: 'delete', operation: 'delete', ref: request.ref, request });
  }

  /** The kill switch and its opposite. @throws ServiceError as `update`; `invalid` for a segment */
  async enable(
    caller: Caller,
    request: FeatureRequest & { readonly enabled: boolean },
  ): Promise<FeaturesAnswer> {
    const { enabled } = request;
    return this.#flag(caller, request, (flag) => ({ ...flag, enabled }));
  }

  /** Lets a share of everybody in. @throws ServiceError as `update`; `invalid` */
  async rollout(caller: Caller, request: FeatureRequest & RolloutInput): Promise<FeaturesAnswer> {
    return this.#flag(caller, request, (flag) => withRollout(flag, request));
  }

  /**
   * Creates or updates by what is there now, which the input is made from: for those whose words are not the model's.
   *
   * @param request.body what tells this request from another one under the same idempotency key
   * @param input called for each attempt, with what is there or null
   * @throws ServiceError as `put`
   */
  async revise(
    caller: Caller,
    request: FeatureConditions &
      ChangeOptions & { readonly action: Action; readonly ref: FeatureRef; readonly body: unknown },
    input: (before: FeatureContent | null) => FeatureInput,
  ): Promise<FeaturesAnswer> {
    const { action, ref, body } = request;
    const name = await featureNameOf(this.#context, caller, { ref, mode: 'write' });
    return applyFeatureEdits(
      this.#context,
      caller,
      {
        operation: action === 'create' ? 'create' : 'update',
        tenant: name.tenant,
        options: request,
        body: { action, ref, body },
      },
      () => {
        const before = storedFeature(this.#context.projection.state, name);
        const asked = input(isThere(before) ? before.row : null);
        return [this.#edit({ ...asked, ifMatch: request.ifMatch, action, name, field: '' })];
      },
    );
  }

  /** Brings back what was deleted, as it was. @throws ServiceError `not-found`, `exists` when it is there */
  async undelete(
    caller: Caller,
    request: ChangeOptions & { readonly ref: FeatureRef },
  ): Promise<FeaturesAnswer> {
    return this.#change(caller, { operation: 'undelete', request }, ({ name, before }) => {
      if (before === null) throw featureNotFound(name);
      if (!before.row.isDeleted) throw new ServiceError('exists', `${described(name)} was not deleted`);
      return before.row;
    });
  }

  /**
   * Makes a new version that is what an old one was.
   *
   * @throws ServiceError `not-found`, `invalid` for the version of a deletion, `precondition-failed`, `conflict`
   */
  async rollback(
    caller: Caller,
    request: FeatureRequest & { readonly version: number },
  ): Promise<FeaturesAnswer> {
    return this.#change(caller, { operation: 'rollback', request }, async ({ name, before, meta }) => {
      if (!isThere(before)) throw featureNotFound(name);
      checkMatch(before, request);
      const wanted = { id: before.row.id, version: request.version };
      const { version } = await readVersion<FeatureVersion>(this.#context.kv, wanted, meta.caller.signal);
      if (!version.isDeleted) return version;
      throw invalid({ field: 'version', message: `version ${version.version} is that of a deletion` });
    });
  }

  /** Several changes in one transaction. @throws ServiceError `too-large` for more than 40; as the single ones */
  async bulk(
    caller: Caller,
    request: ChangeOptions & {
      readonly tenant: string;
      readonly items: readonly BulkFeature[];
      readonly dryRun?: boolean | undefined;
      /** Default: `bulk`. */
      readonly operation?: Operation | undefined;
      readonly promotedFrom?: string | undefined;
    },
  ): Promise<FeaturesAnswer> {
    const { tenant, items, dryRun, operation = 'bulk', promotedFrom } = request;
    checkTenant(tenant);
    if (items.length === 0) throw invalid({ field: 'items', message: 'must not be empty' });
    if (items.length > FEATURE_EDITS_MAX) {
      throw new ServiceError('too-large', `one change takes ${FEATURE_EDITS_MAX} flags and segments at most`);
    }
    for (const [at, { name }] of items.entries()) {
      const field = `items/${at}/`;
      if (name.tenant !== tenant) throw invalid({ field: `${field}tenant`, message: 'is another one' });
      within(field, () => checkFeatureName(name));
      await featureNameOf(this.#context, caller, { ref: name, mode: 'write' });
    }
    return applyFeatureEdits(
      this.#context,
      caller,
      { operation, tenant, options: request, body: request, dryRun, promotedFrom },
      () => items.map((item, at) => this.#edit({ ...item, field: `items/${at}/` })),
    );
  }

  async #input(
    caller: Caller,
    {
      action,
      operation,
      ref,
      request,
    }: {
      readonly action: Action;
      readonly operation: Operation;
      readonly ref: FeatureRef;
      readonly request: FeatureInput & FeatureConditions & ChangeOptions;
    },
  ): Promise<FeaturesAnswer> {
    const name = await featureNameOf(this.#context, caller, { ref, mode: 'write' });
    return applyFeatureEdits(
      this.#context,
      caller,
      { operation, tenant: name.tenant, options: request, body: { action, request } },
      () => [this.#edit({ ...request, action, name, field: '' })],
    );
  }

  #edit(item: BulkFeature & { readonly field: string }): FeatureEdit {
    const { action, name, field } = item;
    const before = storedFeature(this.#context.projection.state, name);
    const present = isThere(before) ? before : null;
    return within(field, () => {
      if (action === 'create' && present !== null) throw exists(name);
      if ((action === 'update' || action === 'delete') && present === null) throw featureNotFound(name);
      checkMatch(present, item);
      const content =
        action === 'delete' ? null : featureContentFrom(item, { name, before: present?.row ?? null });
      return { name, field, before, content };
    });
  }

  async #flag(
    caller: Caller,
    request: FeatureRequest,
    changed: (flag: FlagDefinition) => FlagDefinition,
  ): Promise<FeaturesAnswer> {
    return this.#change(caller, { operation: 'update', request }, ({ name, before }) => {
      if (!isThere(before)) throw featureNotFound(name);
      const { row } = before;
      if (row.kind !== 'flag') throw invalid({ field: 'key', message: 'is that of a segment' });
      checkMatch(before, request);
      const written = changed(row.definition) as unknown as NonNullable<FeatureInput['definition']>;
      return featureContentFrom({ definition: written }, { name, before: row });
    });
  }

  async #change(
    caller: Caller,
    {
      operation,
      request,
    }: {
      readonly operation: Operation;
      readonly request: ChangeOptions & { readonly ref: FeatureRef };
    },
    contentOf: (at: {
      readonly name: FeatureName;
      readonly before: StoredFeature | null;
      readonly meta: ChangeMeta;
    }) => FeatureContent | Promise<FeatureContent>,
  ): Promise<FeaturesAnswer> {
    const name = await featureNameOf(this.#context, caller, { ref: request.ref, mode: 'write' });
    return applyFeatureEdits(
      this.#context,
      caller,
      { operation, tenant: name.tenant, options: request, body: { operation, request } },
      async (meta) => {
        const before = storedFeature(this.#context.projection.state, name);
        return [{ name, field: '', before, content: await contentOf({ name, before, meta }) }];
      },
    );
  }
}

function checkMatch(present: StoredFeature | null, { ifMatch }: FeatureConditions): void {
  if (ifMatch === undefined) return;
  const isSame =
    present !== null && ifMatch.some((tag) => tag === '*' || tag === String(present.modRevision));
  if (isSame) return;
  throw new ServiceError('precondition-failed', 'If-Match names another revision than the present one');
}

function exists(name: FeatureName): ServiceError {
  const message = `${described(name)} is there already`;
  return new ServiceError('exists', message, { problems: [{ field: 'key', message }] });
}
