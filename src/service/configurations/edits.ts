import type { KvOp } from '../../kv/kv.ts';
import { applicationGuards, environmentGuards, newApplications, orderGuards } from '../change-ground.ts';
import type { ChangeMeta, Guard, Plan } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { checkDeployment, type Deployment } from '../environments/deployment-rules.ts';
import { hasEnvironment } from '../environments/inheritance.ts';
import { configurationId, configurationKey, plainKey, versionKey } from '../keyspace.ts';
import type { ChangeItem, Configuration, ConfigurationName, ConfigurationVersion, Scope } from '../model.ts';
import { CONFIGURATION_BYTES_MAX, CONFIGURATIONS_MAX } from '../projection-limits.ts';
import type { ProjectionState, Stored } from '../projection-state.ts';
import { encodeConfiguration, encodeVersion, valueBytes } from '../rows.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { checkEdits } from './checks.ts';
import { contentOf, type Edit, sameContent, storedValueOf } from './content.ts';
import type { Finding } from './findings.ts';

/** Configurations that one change may touch: three puts each stay below the 128 operations of a transaction. */
export const EDITS_MAX = 40;

/** What became of one configuration. */
export interface Edited {
  readonly type: 'created' | 'updated' | 'deleted' | 'unchanged';
  readonly before: Stored<Configuration> | null;
  /** As the row is now; of `unchanged` what it was. */
  readonly after: Configuration;
  readonly field: string;
}

export interface EditsResult {
  readonly edited: readonly Edited[];
  /** What is suspicious, but not wrong. */
  readonly findings: readonly Finding[];
}

/** The row of a configuration, deleted or not, or null. */
export function storedOf(state: ProjectionState, name: ConfigurationName): Stored<Configuration> | null {
  const entry = state.configurations.byId(configurationId(name));
  return entry === undefined ? null : { row: entry.read(), modRevision: entry.modRevision };
}

/** Whether the API has it: it is there, neither deleted nor expired. */
export function isLive(stored: Stored<Configuration> | null, nowMs: number): boolean {
  if (stored === null || stored.row.isDeleted) return false;
  return stored.row.expiresAt === null || nowMs < Date.parse(stored.row.expiresAt);
}

/**
 * The plan of a change of configurations: checked as a whole, all or nothing.
 *
 * @throws ServiceError `too-large` for more than 40, `invalid`, `conflict` by deployment rules, `no-space`
 */
export function planEdits(
  context: ServiceContext,
  meta: ChangeMeta,
  { edits, deployment }: { readonly edits: readonly Edit[]; readonly deployment: Deployment },
): Plan<EditsResult> {
  const { state } = context.projection;
  checkDistinct(edits);
  const decided = edits.map((edit) => decide(context, meta, edit));
  const changed = decided.filter(({ type }) => type !== 'unchanged');
  if (changed.length > EDITS_MAX) {
    throw new ServiceError('too-large', `one change takes ${EDITS_MAX} configurations at most`);
  }
  const findings = changed.length === 0 ? [] : checked(context, meta, { changed, deployment });
  const names = changed.map(({ edit }) => edit.name);
  const created = changed.filter(({ type }) => type === 'created').map(({ edit }) => edit.name);
  const applications = newApplications(state, meta, created);
  const orders = ordersOf(state, names);
  return {
    guards: [
      ...changed.map(({ edit }) => ({
        key: configurationKey(configurationId(edit.name)),
        modRevision: edit.before?.modRevision ?? 0,
      })),
      // Rules over several keys hold for those that inherit from what is changed, too.
      ...environmentGuards(state, names, (name) => hasRules(state, name)),
      ...applicationGuards(state, names),
      ...orders,
    ],
    ops: [
      ...changed.flatMap(opsOf),
      ...applications.map(({ op }) => op),
      ...orders.map(({ key }) => put(key, Buffer.from(meta.id))),
    ],
    items: [...changed.map(itemOf), ...applications.map(({ item }) => item)],
    result: {
      edited: decided.map(({ type, edit, after }) => ({
        type,
        before: edit.before,
        after,
        field: edit.field,
      })),
      findings,
    },
  };
}

interface Decided {
  readonly type: Edited['type'];
  readonly edit: Edit;
  readonly after: Configuration;
  readonly reason: string;
}

function checkDistinct(edits: readonly Edit[]): void {
  const seen = new Set<string>();
  for (const { name, field } of edits) {
    const id = configurationId(name);
    if (seen.has(id))
      throw invalid({ field: `${field}key`, message: 'names a configuration that is there before' });
    seen.add(id);
  }
}

function decide(context: ServiceContext, meta: ChangeMeta, edit: Edit): Decided {
  const { before, content } = edit;
  const wasLive = isLive(before, meta.atMs);
  const { reason } = meta;
  if (content === null) {
    if (before === null || before.row.isDeleted) throw notFound(edit.name);
    return { type: 'deleted', edit, reason, after: successor(before.row, meta, { isDeleted: true }) };
  }
  if (before !== null && wasLive && sameContent(contentOf(context, before.row, before.row.id), content)) {
    return { type: 'unchanged', edit, reason, after: before.row };
  }
  const { configType, description, schema, tags, expiresAt } = content;
  const value = storedValueOf(context, content, edit.name);
  const fields = { configType, description, schema, tags, expiresAt, value, isDeleted: false };
  if (before !== null && wasLive)
    return { type: 'updated', edit, reason, after: successor(before.row, meta, fields) };
  const created = { ...newborn(edit.name, meta), ...fields, version: (before?.row.version ?? 0) + 1 };
  return { type: 'created', edit, reason, after: created };
}

function successor(before: Configuration, meta: ChangeMeta, fields: Partial<Configuration>): Configuration {
  return {
    ...before,
    ...fields,
    version: before.version + 1,
    updatedBy: meta.caller.actor.name,
    updatedAt: meta.at,
    changeId: meta.id,
  };
}

function newborn({ tenant, environment, application, key }: ConfigurationName, meta: ChangeMeta) {
  const by = meta.caller.actor.name;
  return {
    format: 1 as const,
    id: configurationId({ tenant, environment, application, key }),
    tenant,
    environment,
    application,
    key,
    createdBy: by,
    createdAt: meta.at,
    updatedBy: by,
    updatedAt: meta.at,
    changeId: meta.id,
  };
}

function checked(
  context: ServiceContext,
  meta: ChangeMeta,
  { changed, deployment }: { readonly changed: readonly Decided[]; readonly deployment: Deployment },
): readonly Finding[] {
  const { state } = context.projection;
  for (const { edit } of changed) {
    const { tenant, environment } = edit.name;
    // What expires may lie in an environment that was deleted.
    if (deployment.operation !== 'expire' && !hasEnvironment(state, tenant, environment)) {
      throw unknownEnvironment(edit, environment);
    }
    checkDeployment(state, edit.name, deployment);
  }
  const grows = changed.some(({ type }) => type === 'created');
  const { size, bytes } = state.configurations;
  if (grows && (size >= CONFIGURATIONS_MAX || bytes >= CONFIGURATION_BYTES_MAX)) {
    throw new ServiceError('no-space', 'there are too many configurations');
  }
  // What was promised to end does, whatever it leaves.
  if (deployment.operation === 'expire') return [];
  return checkEdits(
    context,
    meta.atMs,
    changed.map(({ edit }) => edit),
  );
}

function unknownEnvironment({ field }: Edit, environment: string): ServiceError {
  return invalid({ field: `${field}environment`, message: `there is no environment ${environment}` });
}

/** Of applications with rules: what keeps their changes in one order. */
function ordersOf(state: ProjectionState, names: readonly Scope[]): readonly Guard[] {
  return orderGuards(
    state,
    names.filter((name) => hasRules(state, name)),
  );
}

function hasRules(
  state: ProjectionState,
  { tenant, application }: { readonly tenant: string; readonly application: string },
): boolean {
  return (state.application(tenant, application)?.row.rules ?? []).length > 0;
}

function opsOf({ after, reason }: Decided): readonly KvOp[] {
  const version: ConfigurationVersion = {
    format: 1,
    configurationId: after.id,
    version: after.version,
    configType: after.configType,
    description: after.description,
    value: after.value,
    schema: after.schema,
    tags: after.tags,
    expiresAt: after.expiresAt,
    isDeleted: after.isDeleted,
    createdBy: after.updatedBy,
    createdAt: after.updatedAt,
    changeId: after.changeId,
    reason,
  };
  const plain = plainKey(after);
  return [
    after.isDeleted ? { type: 'delete', key: plain } : put(plain, valueBytes(after.value)),
    put(configurationKey(after.id), encodeConfiguration(after)),
    put(versionKey(after.id, after.version), encodeVersion(version)),
  ];
}

function put(key: Buffer, value: Buffer): KvOp {
  return { type: 'put', key, value };
}

function itemOf({ type, edit, after }: Decided): ChangeItem {
  const { tenant, environment, application, key } = edit.name;
  return {
    kind: 'configuration',
    type: type === 'unchanged' ? 'updated' : type,
    tenant,
    environment,
    application,
    key,
    id: after.id,
    before: edit.before?.row.version ?? 0,
    after: after.version,
  };
}

/**
 * There is no configuration of this name.
 *
 * @param field what of the request named it: see `fieldOf`
 */
export function notFound({ environment, application, key }: ConfigurationName, field = 'key'): ServiceError {
  const message = `there is no configuration ${key} of ${application} in ${environment}`;
  return new ServiceError('not-found', message, { problems: [{ field, message }] });
}
