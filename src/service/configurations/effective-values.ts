import type { ServiceContext } from '../context.ts';
import { chainOf } from '../environments/inheritance.ts';
import type { Application, Json, Scope } from '../model.ts';
import { MASK } from '../secrets/keyring.ts';
import type { Edit } from './content.ts';

/** A state that is not there yet: what is, with some things changed. */
export interface Overlay {
  readonly edits: readonly Edit[];
  /** An environment that will inherit from another one. */
  readonly parentOf?: { readonly id: string; readonly parent: string | null } | undefined;
  readonly application?: Application | undefined;
}

/** The environment and those that it would inherit from, nearest first. */
export function chainUnder(
  { projection }: ServiceContext,
  scope: Scope,
  { parentOf }: Overlay,
): readonly string[] {
  const { tenant, environment } = scope;
  const chain = chainOf(projection.state, tenant, environment);
  const at = parentOf === undefined ? -1 : chain.indexOf(parentOf.id);
  if (parentOf === undefined || at < 0) return chain;
  const rest = parentOf.parent === null ? [] : chainOf(projection.state, tenant, parentOf.parent);
  return [...chain.slice(0, at + 1), ...rest];
}

/** The values that would hold for an application in an environment, by key. Secrets are masked. */
export function valuesUnder(
  context: ServiceContext,
  { scope, nowMs, overlay }: { readonly scope: Scope; readonly nowMs: number; readonly overlay: Overlay },
): ReadonlyMap<string, Json> {
  const { state } = context.projection;
  const { tenant, application } = scope;
  const row = overlay.application ?? state.application(tenant, application)?.row;
  const values = new Map<string, Json>(Object.entries(row?.defaults ?? {}));
  for (const environment of chainUnder(context, scope, overlay).toReversed()) {
    for (const [key, json] of ownValues(context, { scope: { ...scope, environment }, nowMs, overlay })) {
      values.set(key, json);
    }
  }
  return values;
}

function ownValues(
  context: ServiceContext,
  { scope, nowMs, overlay }: { readonly scope: Scope; readonly nowMs: number; readonly overlay: Overlay },
): ReadonlyMap<string, Json> {
  const values = new Map<string, Json>();
  for (const entry of context.projection.state.configurations.scope(scope)) {
    if (!entry.isLive(nowMs)) continue;
    const { value } = entry.read();
    values.set(entry.key, value.type === 'secret' ? MASK : value.json);
  }
  for (const { name, content } of overlay.edits) {
    if (!isIn(name, scope)) continue;
    if (content === null) values.delete(name.key);
    else values.set(name.key, content.type === 'secret' ? MASK : (content.plain ?? null));
  }
  return values;
}

function isIn(name: Scope, { tenant, environment, application }: Scope): boolean {
  return name.tenant === tenant && name.environment === environment && name.application === application;
}
