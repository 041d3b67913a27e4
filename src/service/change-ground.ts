import type { KvOp } from '../kv/kv.ts';
import type { ChangeMeta, Guard } from './commit.ts';
import { chainOf, heirsOf } from './environments/inheritance.ts';
import { applicationKey, applicationOrderKey, environmentKey } from './keyspace.ts';
import type { Application, ChangeItem, Scope } from './model.ts';
import type { ProjectionState } from './projection-state.ts';
import { encodeApplication } from './rows.ts';

/** What a change of something in an application and environment stands on, whatever it is that it changes. */

/**
 * Of the environments that a change relied on: those that it changes, and those that they inherit from.
 *
 * @param reachesHeirs whether it relied on those that inherit from them, too
 */
export function environmentGuards(
  state: ProjectionState,
  scopes: readonly Scope[],
  reachesHeirs: (scope: Scope) => boolean,
): readonly Guard[] {
  const guards = new Map<string, Guard>();
  for (const scope of scopes) {
    const { tenant, environment } = scope;
    const heirs = reachesHeirs(scope) ? heirsOf(state, tenant, environment) : [];
    for (const id of [...chainOf(state, tenant, environment), ...heirs]) {
      const key = environmentKey(tenant, id);
      guards.set(key.toString(), { key, modRevision: state.environment(tenant, id)?.modRevision ?? 0 });
    }
  }
  return [...guards.values()];
}

export function applicationGuards(state: ProjectionState, scopes: readonly Scope[]): readonly Guard[] {
  return applicationsOf(scopes).map(({ tenant, application }) => ({
    key: applicationKey(tenant, application),
    modRevision: state.application(tenant, application)?.modRevision ?? 0,
  }));
}

/** What keeps the changes of these applications in one order: the change must put these keys, too. */
export function orderGuards(state: ProjectionState, scopes: readonly Scope[]): readonly Guard[] {
  return applicationsOf(scopes).map(({ tenant, application }) => ({
    key: applicationOrderKey(tenant, application),
    modRevision: state.orderRevision(tenant, application),
  }));
}

/** The applications that a change brings with it, since it is the first to put something there. */
export function newApplications(
  state: ProjectionState,
  meta: ChangeMeta,
  created: readonly Scope[],
): readonly { readonly op: KvOp; readonly item: ChangeItem }[] {
  return applicationsOf(created)
    .filter(({ tenant, application }) => state.application(tenant, application) === undefined)
    .map(({ tenant, application: name }) => {
      const by = meta.caller.actor.name;
      const row: Application = {
        format: 1,
        tenant,
        name,
        description: '',
        defaults: {},
        rules: [],
        createdBy: by,
        createdAt: meta.at,
        updatedBy: by,
        updatedAt: meta.at,
        version: 1,
      };
      const item = {
        kind: 'application',
        type: 'created',
        tenant,
        name,
        before: 0,
        after: 1,
        fields: [],
      } as const;
      return { op: { type: 'put', key: applicationKey(tenant, name), value: encodeApplication(row) }, item };
    });
}

function applicationsOf(scopes: readonly Scope[]): readonly Scope[] {
  return [...new Map(scopes.map((scope) => [`${scope.tenant}/${scope.application}`, scope])).values()];
}
