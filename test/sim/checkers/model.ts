import { ANONYMOUS, type AuthOperation, type Principal } from '../../../src/core/auth/operations.ts';
import type { Operation } from '../../../src/core/command.ts';
import type {
  DeleteRangeRequest,
  KeyValue,
  PutRequest,
  RangeRequest,
  RequestOp,
  ResponseOp,
  TxnRequest,
} from '../../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../../src/lib/errors.ts';
import { execute, inSpan, type KvView } from '../../linearizability/kv-model.ts';
import { AuthModel, refusalIn } from './auth-model.ts';

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

/** For operations that nobody asked for. */
const NOBODY = { index: 0, principal: ANONYMOUS };

const SORTED_LATIN1 = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * The state by the simplest means: every key's whole history in memory, no index, no rows, no collection. What a
 * request does to it the model of test/linearizability says. Driven by the committed operations, it says what each
 * must have answered, and what any read must see.
 */
export class Model {
  revision = 1;
  compacted = -1;
  /** Changes by revision, in order. */
  readonly history: { readonly revision: number; readonly events: readonly ModelEvent[] }[] = [];
  readonly auth = new AuthModel();
  readonly leases = new Map<bigint, { readonly ttlSeconds: number }>();
  readonly #keys = new Map<string, Version[]>();
  readonly #alarms = new Map<string, 'no-space' | 'corrupt'>();
  #events: ModelEvent[] = [];

  /** Applies one committed operation of an entry of this term. */
  apply(
    operation: Operation,
    term: number,
    { index, principal }: { readonly index: number; readonly principal: Principal } = NOBODY,
  ): ModelOutcome {
    this.#events = [];
    const leaseKeys = (id: bigint): readonly string[] => this.#leaseKeys(id);
    const refusal =
      this.#alarmRefusal(operation) ?? refusalIn(this.auth.now, principal, { operation, leaseKeys });
    if (refusal !== null) return { ok: false, code: refusal };
    const outcome = isAuth(operation) ? this.#account(operation, index) : this.#apply(operation, term);
    this.#close();
    return outcome;
  }

  /** What a read must return at a revision, compacted or not: a range, or a transaction without writes. */
  read(request: RangeRequest | TxnRequest, revision: number): ResponseOp {
    const step = execute(this.#view(revision, -1), request);
    const isRead = step.type === 'done' && step.events.length === 0;
    if (!isRead) throw new Error(`not a read: ${request.type}`);
    return step.result as ResponseOp;
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

  #account(operation: AuthOperation, index: number): ModelOutcome {
    const code = this.auth.apply(operation, index);
    return code === null ? { ok: true, text: 'auth' } : { ok: false, code };
  }

  #apply(operation: Exclude<Operation, AuthOperation>, term: number): ModelOutcome {
    switch (operation.type) {
      case 'put':
      case 'delete-range':
      case 'txn':
        return this.#change(operation);
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
      case 'authenticate':
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
    for (const key of this.#leaseKeys(id)) this.#write(key, null, 0n);
    this.#close();
  }

  #leaseKeys(id: bigint): readonly string[] {
    const keys = [...this.#keys.keys()].filter((key) => this.at(key, this.revision)?.lease === id);
    return keys.sort(SORTED_LATIN1);
  }

  #change(request: PutRequest | DeleteRangeRequest | TxnRequest): ModelOutcome {
    const step = execute(this.#view(this.revision, this.compacted), request);
    if (step.type === 'refused') return { ok: false, code: step.code };
    for (const { type, kv } of step.events)
      this.#write(kv.key.toString('latin1'), type === 'put' ? kv.value : null, kv.lease);
    return { ok: true, text: responseText(step.result as ResponseOp) };
  }

  #view(revision: number, compactRevision: number): KvView {
    return {
      revision,
      compactRevision,
      get: (key) => this.at(key, revision) ?? undefined,
      scan: (span) =>
        [...this.#keys.keys()]
          .filter((key) => inSpan(key, span))
          .sort(SORTED_LATIN1)
          .map((key) => this.at(key, revision))
          .filter((kv) => kv !== null),
      at: (earlier) => this.#view(earlier, compactRevision),
      hasLease: (id) => this.leases.has(id),
    };
  }

  #write(key: string, value: Buffer | null, lease: bigint): void {
    const old = this.at(key, this.revision + 1);
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

function isAuth(operation: Operation): operation is AuthOperation {
  return /^(auth|user|role)-/.test(operation.type);
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
