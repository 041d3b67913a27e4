import type { ConfigurationEntry } from '../configuration-index.ts';
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

/** A value that holds, or would. */
export interface HeldValue {
  /** Of a secret the mask. */
  readonly json: Json;
  readonly isSecret: boolean;
  /** False = it refers to no other key, which is known without reading it. */
  readonly mayRefer: boolean;
}

/** Where values are looked at, when, and under which changes. */
export interface Looking {
  readonly scope: Scope;
  readonly nowMs: number;
  readonly overlay: Overlay;
}

/** The values that would hold for an application in an environment, by key. */
export function valuesUnder(context: ServiceContext, looking: Looking): ReadonlyMap<string, HeldValue> {
  const { scope, overlay } = looking;
  const { tenant, application } = scope;
  const row = overlay.application ?? context.projection.state.application(tenant, application)?.row;
  const values = new Map<string, HeldValue>();
  for (const [key, json] of Object.entries(row?.defaults ?? {})) values.set(key, plainHeld(json));
  for (const environment of chainUnder(context, scope, overlay).toReversed()) {
    const own = ownValues(context, { ...looking, scope: { ...scope, environment } });
    for (const [key, value] of own) values.set(key, value);
  }
  return values;
}

/** Whether an environment has anything of the application itself, or inherits it; defaults do not count. */
export function hasConfigurations(context: ServiceContext, looking: Looking): boolean {
  const { scope, nowMs, overlay } = looking;
  return chainUnder(context, scope, overlay).some((environment) =>
    context.projection.state.configurations
      .scope({ ...scope, environment })
      .some((entry) => entry.isLive(nowMs)),
  );
}

function ownValues(
  context: ServiceContext,
  { scope, nowMs, overlay }: Looking,
): ReadonlyMap<string, HeldValue> {
  const values = new Map<string, HeldValue>();
  for (const entry of context.projection.state.configurations.scope(scope)) {
    if (entry.isLive(nowMs)) values.set(entry.key, new StoredHeld(entry));
  }
  for (const { name, content } of overlay.edits) {
    if (!isIn(name, scope)) continue;
    if (content === null) values.delete(name.key);
    else if (content.type === 'secret') values.set(name.key, SECRET);
    else values.set(name.key, plainHeld(content.plain ?? null));
  }
  return values;
}

const SECRET: HeldValue = { json: MASK, isSecret: true, mayRefer: false };

function plainHeld(json: Json): HeldValue {
  return { json, isSecret: false, mayRefer: true };
}

/** Read when it is asked for: most values are only there. */
class StoredHeld implements HeldValue {
  readonly #entry: ConfigurationEntry;

  constructor(entry: ConfigurationEntry) {
    this.#entry = entry;
  }

  get json(): Json {
    const { value } = this.#entry.read();
    return value.type === 'secret' ? MASK : value.json;
  }

  get isSecret(): boolean {
    return this.#entry.type === 'secret';
  }

  get mayRefer(): boolean {
    return !this.isSecret && this.#entry.mayRefer;
  }
}

function isIn(name: Scope, { tenant, environment, application }: Scope): boolean {
  return name.tenant === tenant && name.environment === environment && name.application === application;
}
