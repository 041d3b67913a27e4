import { timeOf } from '../caller.ts';
import type { ChangeItem, ChangeRecord, Operation } from '../model.ts';
import { checkTenant, Problems } from '../names.ts';

/** Which changes are meant: all conditions hold, and what is left out does not matter. */
export interface AuditFilter {
  readonly tenant: string;
  /** Who made them. */
  readonly actor?: string | undefined;
  /** From this time on, in ISO 8601. */
  readonly from?: string | undefined;
  /** Before this time. */
  readonly to?: string | undefined;
  readonly operation?: Operation | undefined;
  readonly changeSet?: string | undefined;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
  readonly key?: string | undefined;
  /** Keys that begin so. */
  readonly keyPrefix?: string | undefined;
}

/** What one item of a change is about; empty where there is no such thing. */
export interface Subject {
  readonly tenant: string;
  readonly environment: string;
  readonly application: string;
  readonly key: string;
}

export function subjectOf(item: ChangeItem): Subject {
  const { tenant } = item;
  switch (item.kind) {
    case 'configuration':
    case 'flag':
    case 'segment':
      return { tenant, environment: item.environment, application: item.application, key: item.key };
    case 'environment':
      return { tenant, environment: item.name, application: '', key: '' };
    case 'application':
      return { tenant, environment: '', application: item.name, key: '' };
  }
}

/** @throws ServiceError `invalid` */
export function checkFilter({ tenant, from, to }: AuditFilter): void {
  checkTenant(tenant);
  const problems = new Problems();
  for (const [field, time] of Object.entries({ from, to })) {
    if (time !== undefined && Number.isNaN(timeOf(time))) problems.add(field, 'is no time in ISO 8601');
  }
  problems.check();
}

/** Whether something of the subject is meant. */
export function matchesSubject(
  { tenant, environment, application, key, keyPrefix }: AuditFilter,
  subject: Subject,
): boolean {
  return (
    subject.tenant === tenant &&
    (environment === undefined || subject.environment === environment) &&
    (application === undefined || subject.application === application) &&
    (key === undefined || subject.key === key) &&
    (keyPrefix === undefined || subject.key.startsWith(keyPrefix))
  );
}

/** From `fromMs` on, before `toMs`. */
export function timesOf({ from, to }: AuditFilter): { readonly fromMs: number; readonly toMs: number } {
  return {
    fromMs: from === undefined ? -Infinity : timeOf(from),
    toMs: to === undefined ? Infinity : timeOf(to),
  };
}

export function matchesRecord(filter: AuditFilter, record: ChangeRecord): boolean {
  const { fromMs, toMs } = timesOf(filter);
  const atMs = Date.parse(record.at);
  return (
    atMs >= fromMs &&
    atMs < toMs &&
    (filter.actor === undefined || record.actor.name === filter.actor) &&
    (filter.operation === undefined || record.operation === filter.operation) &&
    (filter.changeSet === undefined || record.changeSet === filter.changeSet) &&
    record.items.some((item) => matchesSubject(filter, subjectOf(item)))
  );
}
