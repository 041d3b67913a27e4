import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Kv, KvError, type KvEvent } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import type { Clock } from '../caller.ts';
import { PREFIXES } from '../keyspace.ts';
import type { Scope } from '../model.ts';
import { RowError } from '../rows.ts';
import { invalid, ServiceError } from '../service-error.ts';
import {
  decodeInstances,
  type Instance,
  type InstanceInfo,
  type InstanceRef,
  instanceKey,
  shortened,
} from './instance.ts';
import { InstanceTable } from './instance-table.ts';
import { SHARDS, Shards, shardOf } from './shards.ts';

/** Instances that one server keeps. */
export const INSTANCES_MAX = 20_000;

/** How often what has changed is written, at most. */
const WRITE_MS = 1_000;
/** How often the lease is renewed. */
const RENEW_MS = 5_000;
const RETRY_MS = 1_000;
/** This server's own instances, among the sources of the table. */
const OWN = '';

/** What an instance holds while it is connected. */
export interface Registration {
  /** It uses everything up to this revision. */
  applied(revision: number): void;
  /** It does not use what came with this revision, and why. */
  rejected(revision: number, reason: string): void;
  /** It is still there: one with a time to live lasts from now on again. */
  renew(): void;
  /** It is gone. */
  close(): void;
}

/** How long a registration lasts: as long as the watch it came with, or a time that begins anew with each word of it. */
export type Lifetime = { readonly signal: AbortSignal } | { readonly ttlMs: number };

interface Own {
  instance: Instance;
  /** Infinity = as long as its watch. */
  expiresAtMs: number;
  ttlMs: number;
}

/**
 * The instances of all servers, in memory: those that are connected here, and those of the others from their rows, which
 * each writes at most once a second, and only when something has changed.
 */
export class Instances {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #server = randomUUID();
  readonly #table = new InstanceTable();
  readonly #own = new Map<string, Own>();
  /** The keys of own instances, by their shard. */
  readonly #byShard = new Map<number, Set<string>>();
  readonly #shards: Shards;
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #isWriting = false;
  #following: Promise<void> = Promise.resolve();

  constructor(kv: Kv, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#kv = kv;
    this.#clock = clock;
    this.#logger = logger;
    this.#shards = new Shards(kv, this.#server);
  }

  /** Hears of the other servers' instances, and tells them of its own, until it is closed. */
  start(): void {
    this.#following = this.#follow();
    this.#timers.push(setInterval(() => void this.#tryWrite(), WRITE_MS).unref());
    this.#timers.push(setInterval(() => void this.#tryRenew(), RENEW_MS).unref());
  }

  /** An instance that registers again takes the place of what it was. @throws ServiceError `too-many-requests` */
  register(info: InstanceInfo, lifetime: Lifetime): Registration {
    const key = instanceKey(info);
    if (!this.#own.has(key) && this.#own.size >= INSTANCES_MAX) {
      throw new ServiceError('too-many-requests', `this server keeps ${INSTANCES_MAX} instances`);
    }
    const nowMs = this.#clock.nowMs();
    const { tenant, environment, application, id, version, region } = info;
    const ttlMs = 'ttlMs' in lifetime ? lifetime.ttlMs : Infinity;
    const own: Own = {
      instance: {
        tenant,
        environment,
        application,
        id,
        version,
        region,
        sinceMs: nowMs,
        applied: 0,
        rejected: null,
        reportedMs: nowMs,
      },
      expiresAtMs: nowMs + ttlMs,
      ttlMs,
    };
    this.#own.set(key, own);
    this.#put(own);
    return this.#registration(own, 'signal' in lifetime ? lifetime.signal : null);
  }

  /**
   * One that speaks now and then: registers it, or renews it; what it said before, to whichever server, stays. One that
   * came with a watch lasts as long as that.
   *
   * @throws ServiceError `too-many-requests`
   */
  keep(info: InstanceInfo, ttlMs: number): Registration {
    const own = this.#own.get(instanceKey(info));
    if (own === undefined) {
      const known = this.#table.get(info);
      const registration = this.register(info, { ttlMs });
      if (known !== null && known.applied > 0) registration.applied(known.applied);
      if (known?.rejected) registration.rejected(known.rejected.revision, known.rejected.reason);
      return registration;
    }
    if (own.ttlMs !== Infinity) own.ttlMs = ttlMs;
    this.#renewed(own);
    const { version, region } = info;
    if (version !== own.instance.version || region !== own.instance.region) {
      own.instance = { ...own.instance, version, region };
      this.#put(own);
    }
    return this.#registration(own, null);
  }

  /** What holds an instance that is connected here; null = it is not. */
  registrationOf(ref: InstanceRef): Registration | null {
    const own = this.#own.get(instanceKey(ref));
    return own === undefined ? null : this.#registration(own, null);
  }

  /** As it is known now, wherever it is connected; null = nobody knows it. */
  get(ref: InstanceRef): Instance | null {
    return this.#table.get(ref);
  }

  /** As they are known now, by id. */
  of(scope: Scope): readonly Instance[] {
    return this.#table.of(scope);
  }

  /** Their ids, in order. */
  idsOf(scope: Scope): readonly string[] {
    return this.#table.ids(scope);
  }

  scopes(): readonly Scope[] {
    return this.#table.scopes();
  }

  /** Ends what has expired, and writes what has changed. @throws KvError */
  async write(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    for (const own of this.#own.values()) if (own.expiresAtMs <= nowMs) this.#remove(own);
    if (!this.#shards.hasChanged) return;
    await this.#shards.write((shard) => this.#instancesOf(shard), this.#stop.signal);
    if (this.#own.size === 0 && !this.#shards.hasChanged) await this.#shards.clear(this.#stop.signal);
  }

  /** The rows of this server go at once. */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#following;
    // If it cannot be done now, the lease does it.
    await this.#shards.clear(AbortSignal.timeout(5_000)).catch(() => undefined);
  }

  #registration(own: Own, signal: AbortSignal | null): Registration {
    const close = (): void => {
      signal?.removeEventListener('abort', close);
      this.#remove(own);
    };
    signal?.addEventListener('abort', close);
    if (signal?.aborted === true) close();
    return {
      applied: (revision) => {
        checkRevision(revision);
        const { rejected } = own.instance;
        const stays = rejected !== null && rejected.revision > revision ? rejected : null;
        this.#report(own, { applied: Math.max(own.instance.applied, revision), rejected: stays });
      },
      rejected: (revision, reason) => {
        checkRevision(revision);
        if (revision <= own.instance.applied) return;
        this.#report(own, { rejected: { revision, reason: shortened(reason) } });
      },
      renew: () => this.#renewed(own),
      close,
    };
  }

  #report(own: Own, said: Partial<Instance>): void {
    this.#renewed(own);
    own.instance = { ...own.instance, ...said, reportedMs: this.#clock.nowMs() };
    // One that has ended, or whose place another one took, says nothing any more.
    if (this.#own.get(instanceKey(own.instance)) === own) this.#put(own);
  }

  #renewed(own: Own): void {
    own.expiresAtMs = this.#clock.nowMs() + own.ttlMs;
  }

  #put({ instance }: Own): void {
    const shard = shardOf(instance);
    const keys = this.#byShard.get(shard) ?? new Set();
    this.#byShard.set(shard, keys.add(instanceKey(instance)));
    this.#table.put(OWN, instance);
    this.#shards.changed(instance);
  }

  #remove(own: Own): void {
    const { instance } = own;
    const key = instanceKey(instance);
    if (this.#own.get(key) !== own) return;
    this.#own.delete(key);
    this.#byShard.get(shardOf(instance))?.delete(key);
    this.#table.remove(OWN, instance);
    this.#shards.changed(instance);
  }

  #instancesOf(shard: number): readonly Instance[] {
    return [...(this.#byShard.get(shard) ?? [])].map((key) => this.#own.get(key)!.instance);
  }

  async #tryWrite(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    try {
      await this.write();
    } catch (error) {
      this.#warn(error, 'the instances could not be written');
    } finally {
      this.#isWriting = false;
    }
  }

  async #tryRenew(): Promise<void> {
    try {
      await this.#shards.renew(this.#stop.signal);
    } catch (error) {
      this.#warn(error, 'the lease of the instances could not be renewed');
    }
  }

  #warn(error: unknown, message: string): void {
    if (!this.#stop.signal.aborted) this.#logger.warn({ error: String(error) }, message);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#watch(await this.#readAll());
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof KvError && error.code === 'compacted') continue;
        this.#warn(error, 'the instances of other servers cannot be watched');
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** @returns the revision that it reflects */
  async #readAll(): Promise<number> {
    const prefix = Buffer.from(PREFIXES.instance);
    const seen = new Set<string>();
    let key = prefix;
    let revision = 0;
    for (;;) {
      const page = await this.#kv.range(
        { key, rangeEnd: prefixEnd(prefix), revision, limit: SHARDS, consistency: { type: 'linearizable' } },
        { principal: { type: 'service' }, signal: this.#stop.signal },
      );
      if (revision === 0) revision = page.revision;
      for (const row of page.rows) {
        seen.add(row.key.toString());
        this.#takeRow(row.key.toString(), row.value);
      }
      const last = page.rows.at(-1);
      if (!page.more || last === undefined) break;
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
    for (const source of this.#table.sources()) {
      if (source !== OWN && !seen.has(source)) this.#table.replace(source, []);
    }
    return revision;
  }

  async #watch(revision: number): Promise<void> {
    const prefix = Buffer.from(PREFIXES.instance);
    const batches = this.#kv.watch(
      { key: prefix, rangeEnd: prefixEnd(prefix), startRevision: revision + 1 },
      { principal: { type: 'service' }, signal: this.#stop.signal },
    );
    for await (const { events } of batches) for (const event of events) this.#takeEvent(event);
  }

  #takeEvent({ type, row }: KvEvent): void {
    const key = row.key.toString();
    if (type === 'delete') this.#table.replace(key, []);
    else this.#takeRow(key, row.value);
  }

  #takeRow(key: string, value: Buffer): void {
    if (key.startsWith(`${PREFIXES.instance}${this.#server}/`)) return;
    try {
      this.#table.replace(key, decodeInstances(value));
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      this.#logger.error({ key, error: error.message }, 'a row of instances cannot be read and is left out');
    }
  }
}

function checkRevision(revision: number): void {
  if (!Number.isSafeInteger(revision) || revision < 0) {
    throw invalid({ field: 'revision', message: 'must be a whole number from 0' });
  }
}
