import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { changeSetKey } from '../keyspace.ts';
import type { ChangeSet, ConfigurationName } from '../model.ts';
import { checkLabel, checkTenant } from '../names.ts';
import type { Stored } from '../projection-state.ts';
import { encodeChangeSet } from '../rows.ts';
import { type FieldProblem, ServiceError } from '../service-error.ts';
import { applyEdits, type WriteAnswer, type WrittenItem } from './apply.ts';
import { type Content, contentOf, type Edit, sameContent } from './content.ts';
import { EDITS_MAX, isLive, storedOf } from './edits.ts';
import { restored } from './history.ts';
import type { Answer, ReadOptions } from './reads.ts';
import { readVersions, type StoredVersion } from './versions.ts';

/** A change set as a caller sees it. */
export interface ChangeSetView extends Omit<ChangeSet, 'format' | 'items'> {
  /** A configuration that the caller's tenant has; versions before the first change of the set and after the last. */
  readonly items: readonly (ConfigurationName & {
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
  /** Also where somebody has changed a configuration since. */
  readonly force?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

/** What the rolling back of a change set did. */
export interface ChangeSetAnswer {
  readonly revision: number;
  /** One, or one for each 40 configurations. */
  readonly changeIds: readonly string[];
  readonly items: readonly WrittenItem[];
}

/** One configuration on its way back. */
interface WayBack {
  readonly name: ConfigurationName;
  readonly after: number;
  /** Null = there was none before the set. */
  readonly version: StoredVersion | null;
}

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
   * Takes every configuration of the set back to what it was before it. Up to 40 in one transaction; more in several, one
   * after another: when one of them fails, the same request goes on where it stopped.
   *
   * @throws ServiceError `not-found`, `conflict` when it was rolled back, or somebody changed a configuration since
   */
  async rollback(caller: Caller, request: ChangeSetRollback): Promise<ChangeSetAnswer> {
    await this.#context.projection.catchUp(caller.signal);
    const { row } = this.#stored(request);
    const ways = await this.#waysBack(caller, row);
    await this.#context.access.checkAll(
      caller,
      'write',
      ways.map(({ name }) => name),
    );
    const atMs = this.#context.clock.nowMs();
    // What is as it was already, by a request that stopped halfway, is passed over.
    const open = ways.filter((way) => !this.#isBack(way, atMs));
    this.#checkUnchanged(open, request);
    const chunks = Array.from({ length: Math.max(1, Math.ceil(open.length / EDITS_MAX)) }, (_, at) =>
      open.slice(at * EDITS_MAX, (at + 1) * EDITS_MAX),
    );
    const answers: WriteAnswer[] = [];
    for (const [at, chunk] of chunks.entries()) {
      answers.push(await this.#rollBack(caller, request, { chunk, at, isLast: at === chunks.length - 1 }));
    }
    return {
      revision: answers.at(-1)!.revision,
      changeIds: answers.flatMap(({ changeId }) => (changeId === null ? [] : [changeId])),
      items: answers.flatMap(({ items }) => items),
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
  ): Promise<WriteAnswer> {
    const { tenant, name, reason, idempotencyKey, dryRun } = request;
    const key = (idempotencyKey ?? null) === null ? null : `${idempotencyKey}/${at}`;
    return applyEdits(
      this.#context,
      caller,
      {
        operation: 'rollback',
        tenant,
        options: { reason, idempotencyKey: key },
        body: { changeSet: name, request },
        dryRun,
        besides: (meta) => (isLast ? this.#closing(request, meta) : { guards: [], ops: [] }),
      },
      (meta) => {
        const open = chunk.filter((way) => !this.#isBack(way, meta.atMs));
        this.#checkUnchanged(open, request);
        return open.map((way) => this.#edit(way, meta));
      },
    );
  }

  /** Closes the set with the last of its configurations. */
  #closing(request: ChangeSetRollback, { at }: ChangeMeta) {
    const { row, modRevision } = this.#stored(request);
    if (row.rolledBackAt !== null) {
      throw new ServiceError('conflict', `the change set ${row.name} was rolled back already`);
    }
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
    const { configurations } = this.#context.projection.state;
    return {
      ...rest,
      items: items.flatMap((item) => {
        const entry = configurations.byId(item.id);
        if (entry === undefined) return [];
        const { tenant, environment, application, key } = entry;
        return [{ tenant, environment, application, key, ...item }];
      }),
    };
  }

  async #waysBack(caller: Caller, { items }: ChangeSet): Promise<readonly WayBack[]> {
    const wanted = items.map(({ id, before }) => ({ id, version: before }));
    const versions = await readVersions(this.#context.kv, wanted, caller.signal);
    return items.map(({ id, before, after }, at) => {
      const entry = this.#context.projection.state.configurations.byId(id);
      const version = versions[at] ?? null;
      if (entry === undefined || (version === null && before > 0)) {
        throw new ServiceError('gone', `version ${before} of ${entry?.key ?? id} was not kept`);
      }
      const { tenant, environment, application, key } = entry;
      return { name: { tenant, environment, application, key }, after, version };
    });
  }

  /** What the configuration is to be; null = nothing. */
  #target({ version }: WayBack, meta: Pick<ChangeMeta, 'atMs'>): Content | null {
    if (version === null || version.version.isDeleted) return null;
    return restored(this.#context, version, meta);
  }

  #isBack(way: WayBack, atMs: number): boolean {
    const stored = storedOf(this.#context.projection.state, way.name);
    const target = this.#target(way, { atMs });
    if (stored === null || !isLive(stored, atMs)) return target === null;
    return target !== null && sameContent(contentOf(this.#context, stored.row, stored.row.id), target);
  }

  #checkUnchanged(ways: readonly WayBack[], { force }: ChangeSetRollback): void {
    if (force === true) return;
    const problems = ways.flatMap(({ name, after }): readonly FieldProblem[] => {
      const version = storedOf(this.#context.projection.state, name)?.row.version ?? 0;
      if (version === after) return [];
      return [{ field: name.key, message: `is at version ${version}, where the change set left ${after}` }];
    });
    if (problems.length === 0) return;
    throw new ServiceError('conflict', 'configurations were changed since', { problems });
  }

  #edit(way: WayBack, meta: ChangeMeta): Edit {
    const before = storedOf(this.#context.projection.state, way.name);
    return { name: way.name, field: '', before, content: this.#target(way, meta) };
  }
}
