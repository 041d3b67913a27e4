import { changeIds, readStanding, type StoredChange } from '../audit/change-log.ts';
import type { Caller } from '../caller.ts';
import { notFound } from '../configurations/edits.ts';
import { type ConfigurationRef, fieldOf, nameOf } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import { chainOf, environmentsOf, heirsOf } from '../environments/inheritance.ts';
import { isFeatureItem, plainNameOf } from '../flags/feature-access.ts';
import { changeKey, configurationId, HEAD_KEY } from '../keyspace.ts';
import { asService } from '../kv-errors.ts';
import type { ChangeItem, ConfigurationName, Operation, Scope } from '../model.ts';
import { checkTenant } from '../names.ts';
import { decodeChange } from '../rows.ts';
import { invalid, ServiceError } from '../service-error.ts';
import {
  checkInstance,
  type Instance,
  type InstanceInfo,
  type InstanceRef,
  type InstanceReport,
} from './instance.ts';
import { byPlace, comparePlaces, cursorOf, placeIn, placeOf } from './instance-places.ts';
import type { Instances, Lifetime, Registration } from './instances.ts';

/** Instances that one answer names; all are counted. */
export const DELIVERY_INSTANCES_MAX = 1_000;
/** The longest a registration without a watch lasts without a word. */
export const TTL_MS_MAX = 3_600_000;
const TTL_MS_MIN = 1_000;
/** Instances of one page. */
export const INSTANCES_PAGE_MAX = 1_000;
const PAGE_DEFAULT = 100;

/** How an instance stands to a change. */
export type DeliveryState = 'applied' | 'lagging' | 'rejected';

export interface InstanceDelivery {
  readonly id: string;
  readonly environment: string;
  readonly application: string;
  readonly version: string;
  readonly region: string;
  readonly state: DeliveryState;
  /** What it has applied; 0 = it has not said. */
  readonly applied: number;
  /** Why it rejected the change, or a later one before it had this one; else null. */
  readonly reason: string | null;
  readonly reportedAt: string;
}

/** Who has a change. */
export interface DeliveryReport {
  readonly revision: number;
  readonly changeId: string;
  readonly at: string;
  readonly operation: Operation;
  readonly counts: Readonly<Record<DeliveryState, number>>;
  /** The rejecting ones first, then those that lag; the first 1,000. */
  readonly instances: readonly InstanceDelivery[];
}

/** A change by its revision, or the last one of a configuration. */
export type DeliveryRequest =
  | { readonly tenant: string; readonly revision: number }
  | { readonly configuration: ConfigurationRef };

/** Which instances are listed; what is left out means all. */
export interface InstancesRequest {
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  /** Of the page before. */
  readonly cursor?: string | undefined;
  /** From 1 to 1,000; default 100. */
  readonly size?: number | undefined;
}
export interface InstancesPage {
  readonly items: readonly Instance[];
  /** The cursor of the next page; null = there is none. */
  readonly next: string | null;
}

/** The use cases about instances: who runs what, and how far each is. */
export class Delivery {
  readonly #context: ServiceContext;
  readonly #instances: Instances;

  constructor(context: ServiceContext, instances: Instances) {
    this.#context = context;
    this.#instances = instances;
  }

  /**
   * An instance that runs an application here. It lasts as long as its watch, or as the time it names.
   *
   * @throws ServiceError `invalid`, `forbidden` unless the caller may read the application there, `too-many-requests`
   */
  async register(caller: Caller, instance: InstanceInfo, lifetime: Lifetime): Promise<Registration> {
    checkInstance(instance);
    if ('ttlMs' in lifetime) checkTtl(lifetime.ttlMs);
    await this.#mayRun(caller, instance);
    return this.#instances.register(instance, lifetime);
  }

  /**
   * Registers an instance without a watch, or renews it, and takes what it says: it lasts for `ttlMs` from now on.
   *
   * @throws ServiceError as `register`; `invalid` for a revision that there is not yet
   */
  async keep(
    caller: Caller,
    instance: InstanceInfo,
    said: InstanceReport & { readonly ttlMs: number },
  ): Promise<{ readonly instance: Instance; readonly isNew: boolean }> {
    checkInstance(instance);
    checkTtl(said.ttlMs);
    await this.#mayRun(caller, instance);
    await this.#checkReport(said, caller.signal);
    const isNew = this.#instances.get(instance) === null;
    take(this.#instances.keep(instance, said.ttlMs), said);
    return { instance: this.#known(instance), isNew };
  }

  /**
   * Takes what an instance says that is connected to this server, by a watch or without one.
   *
   * @throws ServiceError `not-found` when it is not connected here, `forbidden`, `invalid`
   */
  async told(caller: Caller, ref: InstanceRef, said: InstanceReport): Promise<Instance> {
    checkInstance({ ...ref, version: '', region: '' });
    await this.#mayRun(caller, ref);
    await this.#checkReport(said, caller.signal);
    take(this.#connected(ref), said);
    return this.#known(ref);
  }

  /** Ends it before its time. @throws ServiceError `not-found` when it is not connected to this server, `forbidden` */
  async deregister(caller: Caller, ref: InstanceRef): Promise<void> {
    checkInstance({ ...ref, version: '', region: '' });
    await this.#mayRun(caller, ref);
    this.#connected(ref).close();
  }

  /** One of any server. @throws ServiceError `not-found`, `forbidden` */
  async instance(caller: Caller, ref: InstanceRef): Promise<Instance> {
    checkInstance({ ...ref, version: '', region: '' });
    await this.#mayRun(caller, ref);
    return this.#known(ref);
  }

  /**
   * Those of all servers as they are known now, by environment, application and id, as far as the caller may read the
   * application there.
   *
   * @throws ServiceError `invalid`
   */
  async instances(caller: Caller, request: InstancesRequest): Promise<InstancesPage> {
    const { tenant, environment, application, cursor, size = PAGE_DEFAULT } = request;
    checkTenant(tenant);
    if (!Number.isInteger(size) || size < 1 || size > INSTANCES_PAGE_MAX) {
      throw invalid({ field: 'size', message: `must be from 1 to ${INSTANCES_PAGE_MAX}` });
    }
    const after = cursor === undefined ? null : placeOf(cursor);
    const scopes = this.#instances
      .scopes()
      .filter(
        (scope) =>
          scope.tenant === tenant &&
          (environment === undefined || scope.environment === environment) &&
          (application === undefined || scope.application === application),
      );
    const items: Instance[] = [];
    for (const scope of scopes.toSorted(byPlace)) {
      if (after !== null && comparePlaces([scope.environment, scope.application], after.slice(0, 2)) < 0)
        continue;
      if (!(await this.#context.access.permits(caller, 'read', scopeIn(scope)))) continue;
      const found = this.#instances.of(scope);
      items.push(...found.filter((each) => after === null || comparePlaces(placeIn(each), after) > 0));
      if (items.length > size) break;
    }
    const page = items.slice(0, size);
    return { items: page, next: items.length > size ? cursorOf(page.at(-1)!) : null };
  }

  async #mayRun(caller: Caller, scope: Scope): Promise<void> {
    await this.#context.access.check(caller, 'read', scopeIn(scope));
  }

  #connected(ref: InstanceRef): Registration {
    const registration = this.#instances.registrationOf(ref);
    if (registration === null) throw unknown(ref, 'is not registered at this server');
    return registration;
  }

  #known(ref: InstanceRef): Instance {
    const instance = this.#instances.get(ref);
    if (instance === null) throw unknown(ref, 'is not registered');
    return instance;
  }

  /** What is said of a revision that the store has not reached is wrong: it would hold of all that comes. */
  async #checkReport({ applied, rejected }: InstanceReport, signal: AbortSignal): Promise<void> {
    const { kv, projection } = this.#context;
    const said = { applied, 'rejected/revision': rejected?.revision };
    const ahead = Object.entries(said).filter(([, revision]) => (revision ?? 0) > projection.revision);
    if (ahead.length === 0) return;
    const { revision: reached } = await asService(
      kv.range(
        { key: HEAD_KEY, keysOnly: true, consistency: { type: 'linearizable' } },
        { principal: { type: 'service' }, signal },
      ),
    );
    const wrong = ahead.filter(([, revision]) => (revision ?? 0) > reached);
    if (wrong.length === 0) return;
    throw invalid(
      ...wrong.map(([field]) => ({ field, message: `is beyond ${reached}, where the store is` })),
    );
  }

  /**
   * Which instances have a change, which lag, and which rejected it: of all environments that it reached.
   *
   * @throws ServiceError `not-found` when nothing was changed at the revision, or the configuration is not there
   */
  async report(caller: Caller, request: DeliveryRequest): Promise<DeliveryReport> {
    await this.#context.projection.catchUp(caller.signal);
    const { change, items } = await this.#changeOf(caller, request);
    const { revision, record } = change;
    const found = this.#reached(items)
      .flatMap((scope) => this.#instances.of(scope))
      .map((instance) => deliveryOf(instance, revision));
    const counts = { applied: 0, lagging: 0, rejected: 0 };
    for (const { state } of found) counts[state] += 1;
    const order: readonly DeliveryState[] = ['rejected', 'lagging', 'applied'];
    return {
      revision,
      changeId: record.id,
      at: record.at,
      operation: record.operation,
      counts,
      instances: order
        .flatMap((state) => found.filter((each) => each.state === state))
        .slice(0, DELIVERY_INSTANCES_MAX),
    };
  }

  async #changeOf(
    caller: Caller,
    request: DeliveryRequest,
  ): Promise<{ readonly change: StoredChange; readonly items: readonly ChangeItem[] }> {
    if ('revision' in request) {
      const { tenant, revision } = request;
      const change = await this.#changeAt(revision, caller.signal);
      const items = (change?.record.items ?? []).filter((item) => item.tenant === tenant);
      if (change === null || items.length === 0) throw noChange(revision);
      for (const item of items) await this.#mayRead(caller, item);
      return { change, items };
    }
    const { configuration } = request;
    const name = await nameOf(this.#context, caller, configuration, 'configuration');
    await this.#context.access.check(caller, 'read', name);
    const entry = this.#context.projection.state.configurations.byId(configurationId(name));
    if (entry === undefined) throw notFound(name, fieldOf(configuration, 'configuration'));
    // Its row may have been put again since, without another version.
    const { changeId } = entry.read();
    const change = await this.#changeOfVersion(
      name,
      { changeId, modRevision: entry.modRevision },
      caller.signal,
    );
    const items = change.record.items.filter((item) => item.kind === 'configuration' && item.id === entry.id);
    return { change, items };
  }

  async #changeAt(revision: number, signal: AbortSignal): Promise<StoredChange | null> {
    if (!Number.isSafeInteger(revision) || revision < 1) {
      throw invalid({ field: 'revision', message: 'must be a whole number from 1' });
    }
    const ids = await asService(changeIds(this.#context.kv, { after: revision - 1, upTo: revision }, signal));
    const [change] = await asService(readStanding(this.#context.kv, ids, signal));
    return change ?? null;
  }

  async #changeOfVersion(
    name: ConfigurationName,
    { changeId, modRevision }: { readonly changeId: string; readonly modRevision: number },
    signal: AbortSignal,
  ): Promise<StoredChange> {
    const answer = await asService(
      this.#context.kv.range(
        { key: changeKey(changeId), consistency: { type: 'linearizable' } },
        { principal: { type: 'service' }, signal },
      ),
    );
    const [row] = answer.rows;
    if (row === undefined) throw new ServiceError('gone', `the record of the change of ${name.key} is gone`);
    return {
      id: changeId,
      revision: Math.min(row.modRevision, modRevision),
      record: decodeChange(row.value),
    };
  }

  async #mayRead(caller: Caller, item: ChangeItem): Promise<void> {
    const { tenant } = item;
    if (item.kind === 'configuration') return this.#context.access.check(caller, 'read', item);
    if (isFeatureItem(item)) return this.#context.access.check(caller, 'read', plainNameOf(item));
    const environment = item.kind === 'environment' ? item.name : undefined;
    return this.#context.access.check(caller, 'read', { tenant, environment });
  }

  /** Where instances use what was changed: each place once. */
  #reached(items: readonly ChangeItem[]): readonly Scope[] {
    const scopes = new Map<string, Scope>();
    for (const scope of items.flatMap((item) => this.#scopesOf(item))) {
      scopes.set(`${scope.tenant}/${scope.environment}/${scope.application}`, scope);
    }
    return [...scopes.values()];
  }

  #scopesOf(item: ChangeItem): readonly Scope[] {
    const { state } = this.#context.projection;
    const { tenant } = item;
    switch (item.kind) {
      case 'configuration':
        return this.#environmentsUsing(item).map((environment) => ({ ...item, environment }));
      case 'flag':
      case 'segment':
        return [item.environment, ...heirsOf(state, tenant, item.environment)].map((environment) => ({
          tenant,
          environment,
          application: item.application,
        }));
      case 'application':
        return environmentsOf(state, tenant).map((environment) => ({
          tenant,
          environment,
          application: item.name,
        }));
      case 'environment': {
        const environments = new Set([item.name, ...heirsOf(state, tenant, item.name)]);
        return this.#instances
          .scopes()
          .filter((scope) => scope.tenant === tenant && environments.has(scope.environment));
      }
    }
  }

  /** Its own environment, and those that inherit from it without having something nearer. */
  #environmentsUsing(name: ConfigurationName): readonly string[] {
    const { projection, clock } = this.#context;
    const { state } = projection;
    const nowMs = clock.nowMs();
    const heirs = heirsOf(state, name.tenant, name.environment).filter((heir) => {
      const chain = chainOf(state, name.tenant, heir);
      return !chain
        .slice(0, chain.indexOf(name.environment))
        .some((environment) => state.configurations.find({ ...name, environment })?.isLive(nowMs) === true);
    });
    return [name.environment, ...heirs];
  }
}

function deliveryOf(instance: Instance, revision: number): InstanceDelivery {
  const { id, environment, application, version, region, applied, rejected, reportedMs } = instance;
  const refused = applied < revision && rejected !== null && rejected.revision >= revision ? rejected : null;
  return {
    id,
    environment,
    application,
    version,
    region,
    state: applied >= revision ? 'applied' : refused === null ? 'lagging' : 'rejected',
    applied,
    reason: refused?.reason ?? null,
    reportedAt: new Date(reportedMs).toISOString(),
  };
}

function take(registration: Registration, { applied, rejected }: InstanceReport): void {
  if (applied !== undefined) registration.applied(applied);
  if (rejected !== undefined) registration.rejected(rejected.revision, rejected.reason);
}

function checkTtl(ttlMs: number): void {
  if (ttlMs >= TTL_MS_MIN && ttlMs <= TTL_MS_MAX) return;
  throw invalid({ field: 'ttlMs', message: `must be from ${TTL_MS_MIN} to ${TTL_MS_MAX}` });
}

function scopeIn({ tenant, environment, application }: Scope): Scope {
  return { tenant, environment, application };
}

function unknown({ id }: InstanceRef, what: string): ServiceError {
  const message = `the instance ${id} ${what}`;
  return new ServiceError('not-found', message, { problems: [{ field: 'id', message }] });
}

function noChange(revision: number): ServiceError {
  const message = `nothing was changed at revision ${revision}`;
  return new ServiceError('not-found', message, { problems: [{ field: 'revision', message }] });
}
