import type { Caller } from '../caller.ts';
import type { ReadOptions } from '../configurations/reads.ts';
import type { ServiceContext } from '../context.ts';
import { isFeatureItem, plainNameOf } from '../flags/feature-access.ts';
import { serviceErrorOf } from '../kv-errors.ts';
import type { ChangeItem, ConfigurationName } from '../model.ts';
import { checkTenant } from '../names.ts';
import { invalid } from '../service-error.ts';
import { type AuditFilter, checkFilter, matchesRecord } from './audit-filter.ts';
import type { AuditIndex } from './audit-index.ts';
import { type AuditEntry, auditEntriesOf, type VisibleChange, versionCount } from './audit-view.ts';
import { idsBefore, readSealHead, readStanding, type StoredChange } from './change-log.ts';

/** Changes of one page. */
export const AUDIT_PAGE_MAX = 1_000;
const PAGE_DEFAULT = 100;
/** Changes that one request reads: beyond it the page ends early. */
export const AUDIT_SCANNED_MAX = 20_000;
/** Changes that are read together. */
const CHUNK = 100;
/** Versions that are read together, and a few more: some 11 MiB when all are as large as may be. */
const VERSIONS_AT_ONCE = 16;
/** About how much JSON one page holds: beyond it the page ends early. */
const PAGE_LENGTH_MAX = 8 * 1024 * 1024;

export interface AuditQuery extends AuditFilter, ReadOptions {
  /** Of the page before; default: from the newest change on. */
  readonly cursor?: number | undefined;
  /** From 1 to 1,000; default 100. */
  readonly size?: number | undefined;
}

/** Newest first. */
export interface AuditPage {
  /** Which the answer reflects. */
  readonly revision: number;
  readonly items: readonly AuditEntry[];
  /** The cursor of the next page, which may be empty; null = there is nothing older. */
  readonly next: number | null;
}

/** The end of the chain of hashes; it goes over all tenants. */
export interface SealStatus {
  /** Changes that it holds. */
  readonly count: number;
  /** Of the newest of them; 0 before the first. */
  readonly revision: number;
  /** Empty before the first. */
  readonly link: string;
}

/** The use cases about who did what: every change, and every secret that was shown. */
export class Audit {
  readonly #context: ServiceContext;
  readonly #index: AuditIndex;

  constructor(context: ServiceContext, index: AuditIndex) {
    this.#context = context;
    this.#index = index;
  }

  /**
   * Changes of the tenant as far as the caller may read what they changed.
   *
   * @throws ServiceError `invalid`, `unavailable`
   */
  async query(caller: Caller, query: AuditQuery): Promise<AuditPage> {
    checkFilter(query);
    const { size = PAGE_DEFAULT, cursor } = query;
    if (!Number.isInteger(size) || size < 1 || size > AUDIT_PAGE_MAX) {
      throw invalid({ field: 'size', message: `must be from 1 to ${AUDIT_PAGE_MAX}` });
    }
    if (cursor !== undefined && !(Number.isSafeInteger(cursor) && cursor >= 0)) {
      throw invalid({ field: 'cursor', message: 'is none that was given' });
    }
    const { projection } = this.#context;
    await projection.freshen(query.consistency ?? { type: 'strong' }, caller.signal);
    const { revision } = projection;
    // It goes on while this page is answered from what there is.
    void this.#index.load();
    try {
      const page = new Page(this.#context, { caller, filter: query, size });
      const next = await this.#fill(page, cursor ?? revision + 1);
      return { revision, items: page.entries, next };
    } catch (error) {
      throw serviceErrorOf(error);
    }
  }

  /**
   * Everything that a query finds, newest first, a page in memory at a time. What is changed meanwhile is not in it.
   *
   * @throws ServiceError as `query`
   */
  async *entries(caller: Caller, filter: AuditFilter & ReadOptions): AsyncGenerator<AuditEntry> {
    let cursor: number | undefined;
    for (;;) {
      const page = await this.query(caller, { ...filter, cursor, size: AUDIT_PAGE_MAX });
      yield* page.items;
      if (page.next === null) return;
      cursor = page.next;
    }
  }

  /**
   * How far the chain of hashes reaches: its end is what `verifyAudit` takes as an anchor.
   *
   * @throws ServiceError `forbidden` unless the caller may read the whole tenant
   */
  async sealed(caller: Caller, { tenant }: { readonly tenant: string }): Promise<SealStatus> {
    checkTenant(tenant);
    await this.#context.access.check(caller, 'read', { tenant });
    try {
      const { head } = await readSealHead(this.#context.kv, caller.signal);
      return { count: head.count, revision: head.revision, link: head.link };
    } catch (error) {
      throw serviceErrorOf(error);
    }
  }

  /** @returns the next cursor */
  async #fill(page: Page, before: number): Promise<number | null> {
    let cursor = before;
    for (let scanned = 0; scanned < AUDIT_SCANNED_MAX; scanned += CHUNK) {
      const { changes, isExhausted, after } = this.#index.search(page.filter, {
        before: cursor,
        limit: CHUNK,
      });
      const last = await page.take(await readStanding(this.#context.kv, changes, page.signal));
      if (last !== null) return last;
      cursor = changes.at(-1)?.revision ?? cursor;
      if (isExhausted) return after === 0 ? null : this.#scan(page, Math.min(cursor, after + 1));
    }
    return cursor;
  }

  /** What the index does not have, from the store. @returns the next cursor */
  async #scan(page: Page, before: number): Promise<number | null> {
    const { kv } = this.#context;
    let scanned = 0;
    for await (const ids of idsBefore(kv, before, page.signal)) {
      for (let at = 0; at < ids.length; at += CHUNK) {
        const chunk = ids.slice(at, at + CHUNK);
        const changes = await readStanding(kv, chunk, page.signal);
        const last = await page.take(changes.filter(({ record }) => matchesRecord(page.filter, record)));
        if (last !== null) return last;
        scanned += chunk.length;
        if (scanned >= AUDIT_SCANNED_MAX) return chunk.at(-1)!.revision;
      }
    }
    return null;
  }
}

/** A page as it fills with what its reader may see. */
class Page {
  readonly filter: AuditFilter;
  readonly signal: AbortSignal;
  readonly entries: AuditEntry[] = [];
  readonly #context: ServiceContext;
  readonly #caller: Caller;
  readonly #size: number;
  readonly #mayRead: (name: ConfigurationName) => Promise<boolean>;
  readonly #mayReadTarget = new Map<string, Promise<boolean>>();
  #length = 0;

  constructor(
    context: ServiceContext,
    {
      caller,
      filter,
      size,
    }: { readonly caller: Caller; readonly filter: AuditFilter; readonly size: number },
  ) {
    this.filter = filter;
    this.signal = caller.signal;
    this.#context = context;
    this.#caller = caller;
    this.#size = size;
    this.#mayRead = context.access.filter(caller, 'read');
  }

  /** @returns when it is full the revision of the last change that it took, else null */
  async take(changes: readonly StoredChange[]): Promise<number | null> {
    let waiting: VisibleChange[] = [];
    let versions = 0;
    for (const change of changes) {
      const items = await this.#visibleItems(change);
      if (items.length === 0) continue;
      waiting.push({ change, items });
      versions += versionCount(items);
      const isEnough = this.entries.length + waiting.length >= this.#size;
      if (!isEnough && versions < VERSIONS_AT_ONCE) continue;
      await this.#show(waiting);
      waiting = [];
      versions = 0;
      if (isEnough || this.#length >= PAGE_LENGTH_MAX) return change.revision;
    }
    await this.#show(waiting);
    return this.#length >= PAGE_LENGTH_MAX ? (changes.at(-1)?.revision ?? null) : null;
  }

  async #show(visible: readonly VisibleChange[]): Promise<void> {
    for (const entry of await auditEntriesOf(this.#context.kv, visible, this.signal)) {
      this.entries.push(entry);
      this.#length += lengthOf(entry);
    }
  }

  async #visibleItems({ record }: StoredChange): Promise<readonly ChangeItem[]> {
    const items: ChangeItem[] = [];
    for (const item of record.items) {
      if (item.tenant === this.filter.tenant && (await this.#isVisible(item))) items.push(item);
    }
    return items;
  }

  async #isVisible(item: ChangeItem): Promise<boolean> {
    if (item.kind === 'configuration') return this.#mayRead(item);
    if (isFeatureItem(item)) return this.#mayRead(plainNameOf(item));
    // An application is in all environments.
    const environment = item.kind === 'environment' ? item.name : '';
    const known =
      this.#mayReadTarget.get(environment) ??
      this.#context.access.permits(this.#caller, 'read', {
        tenant: item.tenant,
        environment: item.kind === 'environment' ? item.name : undefined,
      });
    this.#mayReadTarget.set(environment, known);
    return known;
  }
}

function lengthOf({ items }: AuditEntry): number {
  return items.reduce((sum, { oldValue, newValue, fields }) => {
    return sum + JSON.stringify([oldValue, newValue, fields]).length;
  }, 0);
}
