import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import type { ConfigurationName, Operation } from '../model.ts';
import { checkName, checkTenant } from '../names.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { applyEdits, type WriteAnswer } from './apply.ts';
import { type ContentInput, contentOf, type Edit } from './content.ts';
import { EDITS_MAX, isLive, notFound, storedOf } from './edits.ts';
import { type ConfigurationRef, fieldOf, nameOf } from './refs.ts';
import {
  type Conditions,
  type CreateRequest,
  type DeleteRequest,
  editOf,
  type ItemAction,
  type PutRequest,
  type UpdateRequest,
  within,
} from './requests.ts';

/** One of many changes that are made together. */
export interface BulkItem extends ContentInput, Conditions {
  readonly action: ItemAction;
  readonly ref: ConfigurationRef;
}

/** At most 40 changes, all in one transaction or none. */
export interface BulkRequest extends ChangeOptions {
  readonly tenant: string;
  readonly items: readonly BulkItem[];
  /** Check and answer, but change nothing. */
  readonly dryRun?: boolean | undefined;
}

/** The use cases that change configurations one by one, or several at once. */
export class Configurations {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** @throws ServiceError `exists`, `invalid`, `conflict` by deployment rules; `not-found` never */
  async create(caller: Caller, request: CreateRequest): Promise<WriteAnswer> {
    return this.#one(caller, { action: 'create', operation: 'create', ref: request.name, request });
  }

  /** @throws ServiceError `not-found`, `precondition-failed`, `conflict` for another old value, `invalid` */
  async update(caller: Caller, request: UpdateRequest): Promise<WriteAnswer> {
    return this.#one(caller, { action: 'update', operation: 'update', ref: request.ref, request });
  }

  /** Creates or updates, whichever it needs. @throws ServiceError as `update` and `create` */
  async put(caller: Caller, request: PutRequest): Promise<WriteAnswer> {
    return this.#one(caller, { action: 'put', operation: 'update', ref: request.name, request });
  }

  /** Leaves a tombstone: the versions stay. @throws ServiceError `not-found`, `precondition-failed`, `conflict` */
  async delete(caller: Caller, request: DeleteRequest): Promise<WriteAnswer> {
    return this.#one(caller, { action: 'delete', operation: 'delete', ref: request.ref, request });
  }

  /** Brings back what was deleted, or has expired, as it was. @throws ServiceError `not-found`, `exists` when it is there */
  async undelete(
    caller: Caller,
    request: ChangeOptions & { readonly ref: ConfigurationRef },
  ): Promise<WriteAnswer> {
    const name = await nameOf(this.#context, caller, request.ref);
    await this.#context.access.check(caller, 'write', name);
    return applyEdits(
      this.#context,
      caller,
      { operation: 'undelete', tenant: name.tenant, options: request, body: { name, request } },
      (meta) => [this.#undeleted(name, request.ref, meta)],
    );
  }

  /** Several changes in one transaction. @throws ServiceError `too-large` for more than 40; as the single ones */
  async bulk(caller: Caller, request: BulkRequest): Promise<WriteAnswer> {
    const { tenant, items } = request;
    checkTenant(tenant);
    if (items.length === 0) throw invalid({ field: 'items', message: 'must not be empty' });
    if (items.length > EDITS_MAX) {
      throw new ServiceError('too-large', `one change takes ${EDITS_MAX} configurations at most`);
    }
    const named: (BulkItem & { readonly name: ConfigurationName; readonly field: string })[] = [];
    for (const [at, item] of items.entries()) {
      const field = `items/${at}/`;
      const name = await this.#itemName(caller, { tenant, item, field });
      named.push({ ...item, name, field });
    }
    await this.#context.access.checkAll(
      caller,
      'write',
      named.map(({ name }) => name),
    );
    return applyEdits(
      this.#context,
      caller,
      { operation: 'bulk', tenant, options: request, body: request, dryRun: request.dryRun },
      (meta) => named.map((item) => editOf(this.#context, meta, item)),
    );
  }

  async #itemName(
    caller: Caller,
    { tenant, item, field }: { readonly tenant: string; readonly item: BulkItem; readonly field: string },
  ): Promise<ConfigurationName> {
    if (item.ref.tenant !== tenant) {
      throw invalid({ field: `${field}tenant`, message: 'is another one than that of the request' });
    }
    if (!('id' in item.ref)) within(field, () => checkName(item.ref as ConfigurationName));
    return nameOf(this.#context, caller, item.ref, `${field}id`);
  }

  async #one(
    caller: Caller,
    {
      action,
      operation,
      ref,
      request,
    }: {
      readonly action: ItemAction;
      readonly operation: Operation;
      readonly ref: ConfigurationRef;
      readonly request: ContentInput & Conditions & ChangeOptions;
    },
  ): Promise<WriteAnswer> {
    const name = await nameOf(this.#context, caller, ref);
    await this.#context.access.check(caller, 'write', name);
    return applyEdits(
      this.#context,
      caller,
      { operation, tenant: name.tenant, options: request, body: { action, request } },
      (meta) => [editOf(this.#context, meta, { ...request, action, name, field: '' })],
    );
  }

  #undeleted(name: ConfigurationName, ref: ConfigurationRef, { atMs }: ChangeMeta): Edit {
    const before = storedOf(this.#context.projection.state, name);
    if (before === null) throw notFound(name, fieldOf(ref));
    if (isLive(before, atMs)) throw new ServiceError('exists', `${name.key} was not deleted`);
    const content = contentOf(this.#context, before.row, before.row.id);
    // Its time is over: it comes back to stay.
    const isOver = content.expiresAt !== null && Date.parse(content.expiresAt) <= atMs;
    return { name, field: '', before, content: isOver ? { ...content, expiresAt: null } : content };
  }
}
