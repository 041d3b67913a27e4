import type { Operation } from '../../../src/core/command.ts';
import type {
  Compare,
  DeleteRangeRequest,
  KeyValue,
  PutRequest,
  RangeRequest,
  RequestOp,
  ResponseOp,
  TxnRequest,
} from '../../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../../src/lib/errors.ts';

/** What a key held from `revision` on; null value = deleted. */
interface Version {
  readonly revision: number;
  readonly createRevision: number;
  readonly version: number;
  readonly lease: bigint;
  readonly value: Buffer | null;
}

/** One change, as a watcher must hear of it. */
export interface ModelEvent {
  readonly type: 'put' | 'delete';
  readonly key: string;
  readonly kv: KeyValue | null;
  readonly previous: KeyValue | null;
}

/** What the model says of an operation; `unknown` where it does not look (membership). */
export type ModelOutcome =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly code: StoreErrorCode }
  | 'unknown';

const SORTED_LATIN1 = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * etcd's key-value semantics by the simplest means: every key's whole history in memory, no index, no rows, no
 * collection. Driven by the committed operations, it says what each must have answered, and what any read must see.
 */
export class Model {
  revision = 1;
  compacted = -1;
  /** Changes by revision, in order. */
  readonly history: { readonly revision: number; readonly events: readonly ModelEvent[] }[] = [];
  readonly leases = new Map<bigint, { readonly ttlSeconds: number }>();
  readonly #keys = new Map<string, Version[]>();
  readonly #alarms = new Map<string, 'no-space' | 'corrupt'>();
  #events: ModelEvent[] = [];

  /** Applies one committed operation of an entry of this term. */
  apply(operation: Operation, term: number): ModelOutcome {
    this.#events = [];
    const refusal = this.#alarmRefusal(operation);
    if (refusal !== null) return { ok: false, code: refusal };
    const outcome = this.#apply(operation, term);
    this.#close();
    return outcome;
  }

  /** What a range read at `revision` must return. */
  range(
    request: RangeRequest,
    revision: number,
  ): { readonly kvs: readonly KeyValue[]; readonly count: number } {
    const keys = [...this.#keys.keys()].filter((key) => within(key, request)).sort(SORTED_LATIN1);
    const kvs = keys.map((key) => this.at(key, revision)).filter((kv) => kv !== null);
    const limited = request.limit > 0 ? kvs.slice(0, request.limit) : kvs;
    return { kvs: request.countOnly ? [] : limited, count: kvs.length };
  }

  /** What a key held at a revision. */
  at(key: string, revision: number): KeyValue | null {
    const versions = this.#keys.get(key) ?? [];
    for (let i = versions.length - 1; i >= 0; i--) {
      const version = versions[i]!;
      if (version.revision <= revision) return toKeyValue(key, version);
    }
    return null;
  }

  /** Ends the revision that the last operation made, if it changed anything. */
  #close(): void {
    if (this.#events.length === 0) return;
    this.revision += 1;
    this.history.push({ revision: this.revision, events: this.#events });
    this.#events = [];
  }

  #apply(operation: Operation, term: number): ModelOutcome {
    switch (operation.type) {
      case 'put':
        return this.#checkPut(operation) ?? done(this.#put(operation));
      case 'delete-range':
        return done(this.#delete(operation));
      case 'txn':
        return this.#txn(operation);
      case 'compact':
        if (operation.revision <= this.compacted) return { ok: false, code: 'compacted' };
        if (operation.revision > this.revision) return { ok: false, code: 'future-revision' };
        this.compacted = operation.revision;
        return { ok: true, text: 'compact' };
      case 'lease-grant':
        if (this.leases.has(operation.id)) return { ok: false, code: 'lease-exists' };
        this.leases.set(operation.id, { ttlSeconds: operation.ttlSeconds });
        return { ok: true, text: `lease-grant ${operation.id} ${operation.ttlSeconds}` };
      case 'lease-revoke':
        if (!this.leases.has(operation.id)) return { ok: false, code: 'lease-not-found' };
        this.#revoke(operation.id);
        return { ok: true, text: 'lease-revoke' };
      case 'lease-expire':
        return this.#expire(operation, term);
      case 'lease-checkpoint':
        return { ok: true, text: 'lease-checkpoint' };
      case 'alarm':
        if (operation.action === 'activate')
          this.#alarms.set(`${operation.member} ${operation.alarm}`, operation.alarm);
        else this.#alarms.delete(`${operation.member} ${operation.alarm}`);
        return 'unknown';
      case 'member-add':
      case 'member-promote':
      case 'member-remove':
      case 'member-update':
      case 'member-publish':
        return 'unknown';
      default:
        // Users, roles and permissions.
        return 'unknown';
    }
  }

  #alarmRefusal(operation: Operation): StoreErrorCode | null {
    const raised = new Set(this.#alarms.values());
    const writes = ['put', 'delete-range', 'txn', 'compact', 'lease-grant', 'lease-revoke', 'lease-expire'];
    if (raised.has('corrupt') && writes.includes(operation.type)) return 'corrupt';
    if (!raised.has('no-space')) return null;
    if (operation.type === 'put' || operation.type === 'lease-grant') return 'no-space';
    const puts = (op: RequestOp): boolean =>
      op.type === 'put' || (op.type === 'txn' && [...op.success, ...op.failure].some(puts));
    return operation.type === 'txn' && puts(operation) ? 'no-space' : null;
  }

  #expire({ term: fence, ids }: Extract<Operation, { type: 'lease-expire' }>, term: number): ModelOutcome {
    const revoked = fence === term ? ids.filter((id) => this.leases.has(id)) : [];
    for (const id of revoked) this.#revoke(id);
    return { ok: true, text: `lease-expire ${revoked.join()}` };
  }

  /** Deletes a lease and its keys, all in one revision. */
  #revoke(id: bigint): void {
    this.leases.delete(id);
    const keys = [...this.#keys.keys()].filter((key) => this.at(key, this.revision)?.lease === id);
    for (const key of keys.sort(SORTED_LATIN1)) this.#write(key, null, 0n);
    this.#close();
  }

  #checkPut({ lease, key, ignoreLease, ignoreValue }: PutRequest): ModelOutcome | null {
    const isThere = this.#live(key.toString('latin1')) !== null;
    if ((ignoreLease || ignoreValue) && !isThere) return { ok: false, code: 'key-not-found' };
    if (lease !== 0n && !this.leases.has(lease)) return { ok: false, code: 'lease-not-found' };
    return null;
  }

  #put({ key, value, lease, prevKv, ignoreLease, ignoreValue }: PutRequest): ResponseOp {
    const name = key.toString('latin1');
    const old = this.#live(name);
    this.#write(name, ignoreValue ? old!.value : value, ignoreLease ? old!.lease : lease);
    return { type: 'put', revision: this.revision + 1, prevKv: prevKv ? old : null };
  }

  #delete(request: DeleteRangeRequest): ResponseOp {
    const keys = [...this.#keys.keys()].filter((key) => within(key, request)).sort(SORTED_LATIN1);
    const gone: KeyValue[] = [];
    for (const key of keys) {
      const old = this.#live(key);
      if (old === null) continue;
      gone.push(old);
      this.#write(key, null, 0n);
    }
    return {
      type: 'delete-range',
      revision: this.#now(),
      deleted: gone.length,
      prevKvs: request.prevKv ? gone : [],
    };
  }

  #txn(request: TxnRequest): ModelOutcome {
    const succeeded = request.compare.every((compare) => this.#holds(compare));
    const steps = succeeded ? request.success : request.failure;
    for (const step of steps) {
      const refusal = step.type === 'put' ? this.#checkPut(step) : this.#checkRange(step);
      if (refusal !== null) return refusal;
    }
    const responses = steps.map((step): ResponseOp => {
      if (step.type === 'put') return this.#put(step);
      if (step.type === 'delete-range') return this.#delete(step);
      if (step.type === 'txn') throw new Error('the workload has no nested transactions');
      const at = step.revision > 0 ? step.revision : this.#now();
      const { kvs, count } = this.range(step, at);
      return {
        type: 'range',
        revision: this.#now(),
        kvs,
        count,
        more: !step.countOnly && kvs.length < count,
      };
    });
    return done({ type: 'txn', revision: this.#now(), succeeded, responses });
  }

  #checkRange(step: RequestOp): ModelOutcome | null {
    if (step.type !== 'range' || step.revision <= 0) return null;
    if (step.revision > this.revision) return { ok: false, code: 'future-revision' };
    return step.revision < this.compacted ? { ok: false, code: 'compacted' } : null;
  }

  #holds(compare: Compare): boolean {
    const kv = this.#live(compare.key.toString('latin1'));
    let order: number;
    if (compare.target === 'value') {
      if (kv === null) return false;
      order = Buffer.compare(kv.value, compare.value);
    } else if (compare.target === 'lease') {
      order = Number((kv?.lease ?? 0n) - compare.lease);
    } else {
      const fields = { version: kv?.version, create: kv?.createRevision, mod: kv?.modRevision };
      order = (fields[compare.target] ?? 0) - compare.number;
    }
    const verdicts = { equal: order === 0, 'not-equal': order !== 0, less: order < 0, greater: order > 0 };
    return verdicts[compare.result];
  }

  /** The key as the operation under way sees it. */
  #live(key: string): KeyValue | null {
    return this.at(key, this.revision + 1);
  }

  #now(): number {
    return this.revision + (this.#events.length > 0 ? 1 : 0);
  }

  #write(key: string, value: Buffer | null, lease: bigint): void {
    const old = this.#live(key);
    const revision = this.revision + 1;
    const version: Version = {
      revision,
      createRevision: value === null ? 0 : (old?.createRevision ?? revision),
      version: value === null ? 0 : (old?.version ?? 0) + 1,
      lease,
      value,
    };
    const versions = this.#keys.get(key) ?? [];
    this.#keys.set(key, versions);
    const previous = this.at(key, this.revision);
    versions.push(version);
    const kv = toKeyValue(key, version);
    this.#events.push({ type: value === null ? 'delete' : 'put', key, kv, previous });
  }
}

/** Everything an answer says, as text, so that two answers are compared at once. */
export function responseText(response: ResponseOp): string {
  switch (response.type) {
    case 'put':
      return `put ${response.revision} ${response.prevKv === null ? '-' : kvText(response.prevKv)}`;
    case 'delete-range':
      return `delete ${response.revision} ${response.deleted} ${response.prevKvs.map(kvText).join()}`;
    case 'range':
      return `range ${response.revision} ${response.count} ${response.more} ${response.kvs.map(kvText).join()}`;
    case 'txn':
      return `txn ${response.revision} ${response.succeeded} [${response.responses.map(responseText).join('; ')}]`;
  }
}

export function kvText(kv: KeyValue): string {
  const { key, createRevision, modRevision, version, lease, value } = kv;
  return `${key.toString('latin1')}=${value.toString('latin1')}@${createRevision}/${modRevision}/${version}/${lease}`;
}

function done(response: ResponseOp): ModelOutcome {
  return { ok: true, text: responseText(response) };
}

function toKeyValue(key: string, version: Version): KeyValue | null {
  const { revision: modRevision, createRevision, version: count, lease, value } = version;
  if (value === null) return null;
  return { key: Buffer.from(key, 'latin1'), createRevision, modRevision, version: count, lease, value };
}

export function within(
  key: string,
  { key: from, rangeEnd }: { readonly key: Buffer; readonly rangeEnd: Buffer },
): boolean {
  const start = from.toString('latin1');
  const end = rangeEnd.toString('latin1');
  if (end === '') return key === start;
  return key >= start && (end === '\0' || key < end);
}
