import type { Caller } from '../caller.ts';
import { isoTime } from '../caller.ts';
import type { ChangeMeta, ChangeOptions, Committed, Plan } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import type { ChangeItem, ChangeRecord, Configuration, Operation } from '../model.ts';
import type { Stored } from '../projection-state.ts';
import { MASK } from '../secrets/keyring.ts';
import { type ConfigurationView, viewOf } from '../views.ts';
import type { Edit } from './content.ts';
import { type Edited, type EditsResult, planEdits } from './edits.ts';
import type { Finding } from './findings.ts';
import { readVersions, type StoredVersion } from './versions.ts';

/** What became of one configuration. */
export interface WrittenItem {
  readonly type: Edited['type'];
  /** Null = there was none. */
  readonly before: ConfigurationView | null;
  /** As it is now; of a deleted one as it was, with the version of its deletion. */
  readonly after: ConfigurationView;
}

/** What a change did. */
export interface WriteAnswer {
  /** At which it was made; of one that changed nothing, the revision that showed so. */
  readonly revision: number;
  /** Null = nothing was changed. */
  readonly changeId: string | null;
  /** The same request was done before; this is its answer. */
  readonly isRepeated: boolean;
  /** In the order of the request; values of what the caller may not read are masked. */
  readonly items: readonly WrittenItem[];
  /** What is suspicious, but not wrong. */
  readonly findings: readonly Finding[];
}

/** A change of configurations: what is left out is none. */
export interface EditRequest {
  readonly operation: Operation;
  readonly tenant: string;
  readonly options: ChangeOptions;
  /** What tells this request from another one under the same idempotency key. */
  readonly body: unknown;
  readonly promotedFrom?: string | undefined;
  /** Check and answer, but change nothing. */
  readonly dryRun?: boolean | undefined;
  /** What else the transaction takes for granted and does. */
  readonly besides?: ((meta: ChangeMeta) => Besides) | undefined;
}
type Besides = Pick<Plan<unknown>, 'guards' | 'ops'> & Partial<Pick<Plan<unknown>, 'items'>>;

/**
 * Makes a change of configurations in one transaction.
 *
 * @param edits made anew for each attempt, from the projection as it is then
 * @throws ServiceError
 */
export async function applyEdits(
  context: ServiceContext,
  caller: Caller,
  request: EditRequest,
  edits: (meta: ChangeMeta) => readonly Edit[] | Promise<readonly Edit[]>,
): Promise<WriteAnswer> {
  const { operation, tenant, options, body } = request;
  const plan = async (meta: ChangeMeta) => {
    const deployment = { operation, reason: meta.reason, promotedFrom: request.promotedFrom ?? null };
    const planned = planEdits(context, meta, { edits: await edits(meta), deployment });
    const besides = request.besides?.(meta);
    return besides === undefined ? planned : joined(planned, besides);
  };
  if (request.dryRun === true)
    return visible(context, caller, await dryRun(context, caller, { options, plan }));
  const committed = await context.committer.commit(caller, { ...options, operation, tenant, body }, plan);
  return visible(context, caller, await answerOf(context, caller, committed));
}

/** Whoever may write but not read is not shown what was there. */
async function visible(context: ServiceContext, caller: Caller, answer: WriteAnswer): Promise<WriteAnswer> {
  const mayRead = context.access.filter(caller, 'read');
  const items: WrittenItem[] = [];
  for (const item of answer.items) {
    // The change was made: that it cannot be asked now does not make it fail.
    const isShown = await mayRead(item.after).catch(() => false);
    items.push(isShown ? item : { ...item, before: masked(item.before), after: masked(item.after) });
  }
  return { ...answer, items };
}

function masked<T extends ConfigurationView | null>(view: T): T {
  if (view === null) return view;
  return { ...view, value: { ...view.value, json: MASK, isMasked: true } };
}

/** Both at once; what both guard or put, in the same way, is there once. */
function joined<T>(plan: Plan<T>, { guards, ops, items = [] }: Besides): Plan<T> {
  return {
    ...plan,
    guards: distinct([...plan.guards, ...guards]),
    ops: distinct([...plan.ops, ...ops]),
    items: [...plan.items, ...items],
  };
}

function distinct<T extends { readonly key: Buffer }>(all: readonly T[]): readonly T[] {
  return [...new Map(all.map((each) => [each.key.toString('latin1'), each])).values()];
}

async function dryRun(
  context: ServiceContext,
  caller: Caller,
  {
    options,
    plan,
  }: {
    readonly options: ChangeOptions;
    readonly plan: (meta: ChangeMeta) => Promise<{ readonly result: EditsResult }>;
  },
): Promise<WriteAnswer> {
  await context.projection.catchUp(caller.signal);
  const atMs = context.clock.nowMs();
  const meta = { id: '', at: isoTime(atMs), atMs, reason: options.reason ?? '', caller };
  const { result } = await plan(meta);
  const { revision } = context.projection;
  return { revision, changeId: null, isRepeated: false, ...shownResult(result, revision) };
}

async function answerOf(
  context: ServiceContext,
  caller: Caller,
  committed: Committed<EditsResult>,
): Promise<WriteAnswer> {
  const { revision } = committed;
  switch (committed.type) {
    case 'unchanged':
      return { revision, changeId: null, isRepeated: false, ...shownResult(committed.result, revision) };
    case 'done':
      return {
        revision,
        changeId: committed.record.id,
        isRepeated: false,
        ...shownResult(committed.result, revision),
      };
    case 'repeated':
      return {
        revision,
        changeId: committed.record.id,
        isRepeated: true,
        items: await itemsOf(context, caller, committed.record),
        findings: [],
      };
  }
}

function shownResult(
  { edited, findings }: EditsResult,
  revision: number,
): Pick<WriteAnswer, 'items' | 'findings'> {
  const items = edited.map(({ type, before, after }): WrittenItem => {
    const afterRevision = type === 'unchanged' ? (before?.modRevision ?? revision) : revision;
    return { type, before: shownBefore(before), after: viewOf(after, afterRevision) };
  });
  return { items, findings };
}

function shownBefore(before: Stored<Configuration> | null): ConfigurationView | null {
  return before === null || before.row.isDeleted ? null : viewOf(before.row, before.modRevision);
}

type ConfigurationItem = Extract<ChangeItem, { kind: 'configuration' }>;

/** What a change did, from its record and the versions that it names. */
async function itemsOf(
  context: ServiceContext,
  caller: Caller,
  record: ChangeRecord,
): Promise<readonly WrittenItem[]> {
  const items = record.items.filter((item): item is ConfigurationItem => item.kind === 'configuration');
  const wanted = items.flatMap(({ id, before, after }) => [
    { id, version: before },
    { id, version: after },
  ]);
  const versions = await readVersions(context.kv, wanted, caller.signal);
  return items.flatMap((item, at) => {
    const before = versions[at * 2] ?? null;
    const after = versions[at * 2 + 1] ?? null;
    // Retention took it: nobody repeats a request after a year.
    if (after === null || item.type === 'revealed') return [];
    const shown = before === null || before.version.isDeleted ? null : viewOfVersion(context, item, before);
    return [{ type: item.type, before: shown, after: viewOfVersion(context, item, after) }];
  });
}

function viewOfVersion(
  { projection }: ServiceContext,
  item: ConfigurationItem,
  { version, revision }: StoredVersion,
): ConfigurationView {
  const { id, tenant, environment, application, key } = item;
  const current = projection.state.configurations.byId(id)?.read();
  const { reason: _, configurationId: __, createdBy, createdAt, ...content } = version;
  const row = {
    ...content,
    id,
    tenant,
    environment,
    application,
    key,
    createdBy: current?.createdBy ?? createdBy,
    createdAt: current?.createdAt ?? createdAt,
    updatedBy: createdBy,
    updatedAt: createdAt,
  };
  return viewOf(row, revision);
}
