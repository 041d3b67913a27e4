import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import type { ConfigurationName, Json } from '../model.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { type MergeConflict, type MergeStrategy, mergeJson } from '../values/merge.ts';
import { parseJson, parseText } from '../values/value-types.ts';
import { applyEdits, type WriteAnswer } from './apply.ts';
import { type Content, contentFrom, contentOf, type Edit, type ValueInput } from './content.ts';
import { isLive, notFound, storedOf } from './edits.ts';
import { type ConfigurationRef, fieldOf, nameOf } from './refs.ts';
import { type Conditions, checkConditions } from './requests.ts';
import { readVersion, type StoredVersion } from './versions.ts';

/** What is merged into the present value: a value, a version of the same configuration, or another configuration. */
export type MergeTheirs =
  | { readonly value: ValueInput }
  | { readonly version: number }
  | { readonly ref: ConfigurationRef };

export interface MergeRequest extends Conditions, ChangeOptions {
  readonly ref: ConfigurationRef;
  /** The version that both sides began with. */
  readonly base: number;
  readonly theirs: MergeTheirs;
  /** Which side wins where both changed the same; default `manual`: nothing is saved then. */
  readonly strategy?: MergeStrategy | undefined;
  readonly dryRun?: boolean | undefined;
}

/** What came of a merge. */
export interface MergeAnswer {
  /** Of the merge; with ours where there are conflicts, unless the strategy is `theirs`. */
  readonly merged: Json;
  /** All of them, also those that the strategy has decided. */
  readonly conflicts: readonly MergeConflict[];
  /** Null = there are conflicts that nobody has decided: nothing was saved. */
  readonly written: WriteAnswer | null;
}

/** Carries the conflicts out of a plan. */
class Undecided extends ServiceError {
  readonly merged: Json;
  readonly conflicts: readonly MergeConflict[];

  constructor(merged: Json, conflicts: readonly MergeConflict[]) {
    super('conflict', 'both sides changed the same');
    this.merged = merged;
    this.conflicts = conflicts;
  }
}

/** The use case that joins two changes of one value. */
export class Merging {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** @throws ServiceError `not-found` for a version that is not there, `invalid` for secrets */
  async merge(caller: Caller, request: MergeRequest): Promise<MergeAnswer> {
    // What is merged from another configuration is not guarded: it must be no older than the request.
    await this.#context.projection.catchUp(caller.signal);
    const name = await nameOf(this.#context, caller, request.ref);
    await this.#context.access.check(caller, 'write', name);
    // Conflicts show what is there.
    await this.#context.access.check(caller, 'read', name);
    let last: { readonly merged: Json; readonly conflicts: readonly MergeConflict[] } = {
      merged: null,
      conflicts: [],
    };
    const edits = async (meta: ChangeMeta): Promise<readonly Edit[]> => {
      const { edit, merged, conflicts } = await this.#edit({ name, request, caller, meta });
      last = { merged, conflicts };
      return [edit];
    };
    try {
      const { dryRun } = request;
      const { tenant } = name;
      const written = await applyEdits(
        this.#context,
        caller,
        { operation: 'merge', tenant, options: request, body: request, dryRun },
        edits,
      );
      const answered = written.isRepeated ? (written.items[0]?.after.value.json ?? null) : last.merged;
      return { merged: answered, conflicts: last.conflicts, written };
    } catch (error) {
      if (!(error instanceof Undecided)) throw error;
      return { merged: error.merged, conflicts: error.conflicts, written: null };
    }
  }

  async #edit({
    name,
    request,
    caller,
    meta,
  }: {
    readonly name: ConfigurationName;
    readonly request: MergeRequest;
    readonly caller: Caller;
    readonly meta: ChangeMeta;
  }): Promise<{ readonly edit: Edit; readonly merged: Json; readonly conflicts: readonly MergeConflict[] }> {
    const before = storedOf(this.#context.projection.state, name);
    if (before === null || !isLive(before, meta.atMs)) throw notFound(name, fieldOf(request.ref));
    checkConditions(this.#context, before, request);
    const { id } = before.row;
    const ours = contentOf(this.#context, before.row, id);
    const base = await readVersion(this.#context.kv, { id, version: request.base }, caller.signal);
    const theirs = await this.#theirs(request.theirs, { id, ours, caller, meta });
    const { strategy = 'manual' } = request;
    const sides = { base: plain(this.#versionContent(base)), ours: plain(ours), theirs };
    const { json, conflicts } = mergeJson(sides, strategy);
    const merged = json ?? null;
    if (conflicts.length > 0 && strategy === 'manual') throw new Undecided(merged, conflicts);
    const content = contentFrom(
      this.#context,
      { value: { json: merged } },
      { before: ours, nowMs: meta.atMs },
    );
    return { edit: { name, field: '', before, content }, merged, conflicts };
  }

  async #theirs(
    theirs: MergeTheirs,
    {
      id,
      ours,
      caller,
      meta,
    }: { readonly id: string; readonly ours: Content; readonly caller: Caller; readonly meta: ChangeMeta },
  ): Promise<Json> {
    if ('value' in theirs) {
      const { value } = theirs;
      return 'text' in value ? parseText(value.text, ours.type) : parseJson(value.json, 'json');
    }
    if ('version' in theirs) {
      const found = await readVersion(this.#context.kv, { id, version: theirs.version }, caller.signal);
      return plain(this.#versionContent(found));
    }
    const name = await nameOf(this.#context, caller, theirs.ref, 'theirs/ref/id');
    await this.#context.access.check(caller, 'read', name);
    const other = storedOf(this.#context.projection.state, name);
    if (other === null || !isLive(other, meta.atMs))
      throw notFound(name, `theirs/ref/${fieldOf(theirs.ref)}`);
    return plain(contentOf(this.#context, other.row, other.row.id));
  }

  #versionContent({ version }: StoredVersion): Content {
    return contentOf(this.#context, version, version.configurationId);
  }
}

/** @throws ServiceError `invalid`: a conflict would show what it holds */
function plain(content: Content): Json {
  if (content.type === 'secret') throw invalid({ field: 'ref', message: 'secrets are not merged' });
  return content.plain ?? null;
}
