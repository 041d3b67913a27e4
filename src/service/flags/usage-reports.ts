import type { KvOp } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import type { Caller } from '../caller.ts';
import { checkKnownScope } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import { csvLine, csvText } from '../formats/csv.ts';
import { usageKey } from '../keyspace.ts';
import { asService } from '../kv-errors.ts';
import type { Scope } from '../model.ts';
import { Problems } from '../names.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { checkScopeAccess } from './feature-access.ts';
import { type FlagUsage, hourOf } from './flag-usage.ts';
import { decodeUsage, type UsageCount } from './usage-rows.ts';

/** Hours that one report spans. */
export const USAGE_HOURS_MAX = 31 * 24;
/** Servers whose counts of one hour are summed up. */
const SERVERS_MAX = 1_000;
/** Hours that are read at a time. */
const HOURS_AT_ONCE = 24;
/** Different counts that one report shows. */
export const USAGE_LINES_MAX = 100_000;
/** Counts that a client reports at once, and what each may count. */
export const REPORTED_COUNTS_MAX = 1_000;
const REPORTED_COUNT_MAX = 1_000_000_000;
const HOUR_MS = 3_600_000;
const NAME_LENGTH_MAX = 255;

/** What all servers counted in one hour, which begins at `hour`. */
export interface UsageLine extends UsageCount {
  readonly hour: string;
  readonly application: string;
  readonly environment: string;
}

export interface UsageRequest {
  readonly scope: Scope;
  readonly flag?: string | undefined;
  readonly service?: string | undefined;
  /** ISO 8601; default: 24 hours ago. */
  readonly from?: string | undefined;
  /** Default: now. */
  readonly to?: string | undefined;
}

export type UsageFormat = 'json-lines' | 'csv';

/** The use cases about how often flags answered what. */
export class UsageReports {
  readonly #context: ServiceContext;
  readonly #usage: FlagUsage;

  constructor(context: ServiceContext, usage: FlagUsage) {
    this.#context = context;
    this.#usage = usage;
  }

  /**
   * By hour, flag, variant, reason and service. Of other servers up to 30 s may be missing.
   *
   * @throws ServiceError `invalid`, `not-found`, `forbidden`, `too-large`
   */
  async report(caller: Caller, request: UsageRequest): Promise<readonly UsageLine[]> {
    const { scope } = request;
    await this.#check(caller, scope);
    const sums = new Map<string, UsageLine & { count: number }>();
    const hours = this.#hours(request);
    for (let at = 0; at < hours.length; at += HOURS_AT_ONCE) {
      const some = hours.slice(at, at + HOURS_AT_ONCE);
      const counts = await this.#counts(caller, scope, some);
      for (const [index, hour] of some.entries()) addAll(sums, { hour, request, counts: counts[index]! });
      if (sums.size > USAGE_LINES_MAX) {
        throw new ServiceError('too-large', `a report shows ${USAGE_LINES_MAX} counts: ask for less time`);
      }
    }
    return [...sums.values()].sort((left, right) => (orderOf(left) < orderOf(right) ? -1 : 1));
  }

  /** Takes what a client has counted itself. @throws ServiceError `invalid`, `not-found`, `forbidden` */
  async add(
    caller: Caller,
    { scope, counts }: { readonly scope: Scope; readonly counts: readonly UsageCount[] },
  ): Promise<void> {
    await this.#check(caller, scope);
    if (counts.length > REPORTED_COUNTS_MAX) {
      throw invalid({ field: 'counts', message: `are more than ${REPORTED_COUNTS_MAX}` });
    }
    const problems = new Problems();
    for (const [at, { flag, variant, reason, service, count }] of counts.entries()) {
      if (!Number.isInteger(count) || count < 1 || count > REPORTED_COUNT_MAX) {
        problems.add(`counts/${at}/count`, `must be a whole number from 1 to ${REPORTED_COUNT_MAX}`);
      }
      for (const [field, text] of Object.entries({ flag, variant, reason, service })) {
        if (text !== null && (text === '' || text.length > NAME_LENGTH_MAX)) {
          problems.add(`counts/${at}/${field}`, `must have 1 to ${NAME_LENGTH_MAX} characters`);
        }
      }
    }
    problems.check();
    for (const count of counts) this.#usage.count(scope, count);
  }

  async #check(caller: Caller, scope: Scope): Promise<void> {
    const { projection, access } = this.#context;
    await projection.catchUp(caller.signal);
    checkKnownScope(this.#context, scope);
    await checkScopeAccess(access, caller, { scope, kind: 'flag', mode: 'read' });
  }

  #hours({ from, to }: UsageRequest): readonly string[] {
    const nowMs = this.#context.clock.nowMs();
    const toMs = to === undefined ? nowMs : Date.parse(to);
    const fromMs = from === undefined ? toMs - 24 * HOUR_MS : Date.parse(from);
    const problems = new Problems();
    if (Number.isNaN(toMs)) problems.add('to', 'is no time in ISO 8601');
    if (from !== undefined && Number.isNaN(fromMs)) problems.add('from', 'is no time in ISO 8601');
    const first = Math.floor(fromMs / HOUR_MS);
    const count = Math.floor(toMs / HOUR_MS) - first + 1;
    if (count > USAGE_HOURS_MAX) problems.add('from', `is more than ${USAGE_HOURS_MAX} hours before the end`);
    problems.check();
    return Array.from({ length: Math.max(0, count) }, (_, at) => hourOf((first + at) * HOUR_MS));
  }

  async #counts(
    caller: Caller,
    scope: Scope,
    hours: readonly string[],
  ): Promise<readonly (readonly UsageCount[])[]> {
    const success = hours.map((hour): KvOp => {
      const key = usageKey(hour, scope, '');
      return { type: 'range', key, rangeEnd: prefixEnd(key), limit: SERVERS_MAX };
    });
    const { responses } = await asService(
      this.#context.kv.txn(
        { compare: [], success, failure: [] },
        { principal: { type: 'service' }, signal: caller.signal },
      ),
    );
    return responses.map((response, at) => {
      const hour = hours[at]!;
      const own = this.#usage.inMemory(hour, scope);
      const ownKey = usageKey(hour, scope, this.#usage.server);
      const rows = response.type === 'range' ? response.rows : [];
      // What this server wrote is a part of what it has in memory.
      const others = rows.filter(({ key }) => own === null || !key.equals(ownKey));
      return [...others.flatMap(({ value }) => decodeUsage(value)), ...(own ?? [])];
    });
  }
}

function addAll(
  sums: Map<string, UsageLine & { count: number }>,
  {
    hour,
    request,
    counts,
  }: { readonly hour: string; readonly request: UsageRequest; readonly counts: readonly UsageCount[] },
): void {
  const { application, environment } = request.scope;
  for (const { flag, variant, reason, service, count } of counts) {
    if ((request.flag ?? flag) !== flag || (request.service ?? service) !== service) continue;
    const line = { hour: `${hour}:00:00Z`, application, environment, flag, variant, reason, service, count };
    const known = sums.get(orderOf(line));
    if (known === undefined) sums.set(orderOf(line), line);
    else known.count += count;
  }
}

function orderOf({ hour, flag, variant, reason, service }: Omit<UsageLine, 'count'>): string {
  return JSON.stringify([hour, flag, variant, reason, service]);
}

const COLUMNS = ['hour', 'application', 'environment', 'flag', 'variant', 'reason', 'service', 'count'];

/** A report as text: one JSON object a line, or CSV with the names of its columns first. */
export function usageText(lines: readonly UsageLine[], format: UsageFormat): string {
  if (format === 'json-lines') return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const rows = lines.map(({ hour, application, environment, flag, variant, reason, service, count }) =>
    csvLine([
      hour,
      application,
      environment,
      csvText(flag),
      csvText(variant),
      csvText(reason),
      csvText(service),
      String(count),
    ]),
  );
  return [csvLine(COLUMNS), ...rows].join('');
}
