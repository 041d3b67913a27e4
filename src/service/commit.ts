import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Kv,
  type KvCall,
  type KvCompare,
  KvError,
  type KvOp,
  type KvRow,
  type KvTxnAnswer,
} from '../kv/kv.ts';
import { type Caller, type Clock, isoTime } from './caller.ts';
import { extended } from './change-set-row.ts';
import { changeKey, changeSetKey, HEAD_KEY, idOf } from './keyspace.ts';
import { asService, serviceErrorOf } from './kv-errors.ts';
import type { ChangeItem, ChangeRecord, Operation } from './model.ts';
import { checkLabel, checkText } from './names.ts';
import type { Projection } from './projection.ts';
import { decodeChange, encodeChange, encodeChangeSet } from './rows.ts';
import { ServiceError } from './service-error.ts';

/** How often a change is planned anew because others came first. */
export const ATTEMPTS_MAX = 30;
/** How often a transaction of unknown outcome is repeated. */
export const AMBIGUOUS_MAX = 3;
/** Lost races before the next attempt waits a little. */
const RACES_AT_ONCE = 3;
const WAIT_MS_MAX = 100;

/** What every change may say of itself. */
export interface ChangeOptions {
  /** Why. */
  readonly reason?: string | undefined;
  /** The named release that it belongs to. */
  readonly changeSet?: string | null | undefined;
  /** The same request under the same key is done once. */
  readonly idempotencyKey?: string | null | undefined;
}

/** One request for a change. */
export interface ChangeRequest extends ChangeOptions {
  readonly operation: Operation;
  readonly tenant: string;
  /** What was asked for: another one under the same idempotency key is refused. */
  readonly body: unknown;
}

/** That a row must not have changed since it was read; revision 0 = that it is not there. */
export interface Guard {
  readonly key: Buffer;
  readonly modRevision: number;
}

/** The change that a plan is part of. */
export interface ChangeMeta {
  readonly id: string;
  readonly at: string;
  readonly atMs: number;
  readonly reason: string;
  readonly caller: Caller;
}

/** What a change would do, made from what was read; guards name every row that it relied on. */
export interface Plan<T> {
  readonly guards: readonly Guard[];
  /** Puts and deletions, each key once. */
  readonly ops: readonly KvOp[];
  /** What is recorded. Without any, and without operations, there is nothing to do. */
  readonly items: readonly ChangeItem[];
  readonly result: T;
}

/** `repeated`: the same request was done before, or its outcome was unknown at first: the record tells what it did. */
export type Committed<T> =
  | { readonly type: 'done'; readonly revision: number; readonly record: ChangeRecord; readonly result: T }
  | { readonly type: 'repeated'; readonly revision: number; readonly record: ChangeRecord }
  | { readonly type: 'unchanged'; readonly revision: number; readonly result: T };

type Planner<T> = (meta: ChangeMeta) => Plan<T> | Promise<Plan<T>>;

/**
 * Makes changes: each in one transaction, with its record and the head, guarded by what it relied on. Plans are made from
 * the projection; one that lost a race is made anew from what the winner left.
 */
export class Committer {
  readonly #kv: Kv;
  readonly #projection: Projection;
  readonly #clock: Clock;

  constructor(kv: Kv, { projection, clock }: { readonly projection: Projection; readonly clock: Clock }) {
    this.#kv = kv;
    this.#projection = projection;
    this.#clock = clock;
  }

  /**
   * @param plan called for each attempt; what it throws is thrown, once it was made from what is newest
   * @throws ServiceError: of `plan`; `idempotency-mismatch`; `unavailable` when others always came first; `ambiguous`
   */
  async commit<T>(caller: Caller, request: ChangeRequest, plan: Planner<T>): Promise<Committed<T>> {
    checkOptions(request);
    const options = { projection: this.#projection, clock: this.#clock, caller, request };
    const attempt = new Attempt(this.#kv, options, plan);
    try {
      return await attempt.run();
    } catch (error) {
      const failure = serviceErrorOf(error);
      throw attempt.isSettled ? failure : asAmbiguous(failure);
    }
  }
}

interface AttemptOptions {
  readonly projection: Projection;
  readonly clock: Clock;
  readonly caller: Caller;
  readonly request: ChangeRequest;
}

/** One change on its way, however often it is tried. */
class Attempt<T> {
  readonly #kv: Kv;
  readonly #options: AttemptOptions;
  readonly #plan: Planner<T>;
  readonly #id: string;
  readonly #requestHash: string;
  /** Whether the projection is known to have everything acknowledged before the request. */
  #isFresh = false;
  /** Transactions whose outcome is unknown. */
  #ambiguous = 0;

  constructor(kv: Kv, options: AttemptOptions, plan: Planner<T>) {
    this.#kv = kv;
    this.#options = options;
    this.#plan = plan;
    const { caller, request } = options;
    const key = request.idempotencyKey ?? randomUUID();
    this.#id = idOf(['change', caller.actor.name, request.operation, key]);
    this.#requestHash = hashOf(key, request.body);
  }

  /** No earlier transaction of it may still be on its way. */
  get isSettled(): boolean {
    return this.#ambiguous === 0;
  }

  async run(): Promise<Committed<T>> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const answer = await this.#try();
      if (answer !== null) return answer;
      if (attempt > RACES_AT_ONCE) await delay(Math.random() * WAIT_MS_MAX);
    }
    throw new ServiceError('unavailable', 'others kept changing the same things');
  }

  /** @returns null to try again */
  async #try(): Promise<Committed<T> | null> {
    const { caller, request, clock } = this.#options;
    const atMs = clock.nowMs();
    const reason = request.reason ?? '';
    const meta = { id: this.#id, at: isoTime(atMs), atMs, reason, caller };
    let plan: Plan<T>;
    let record: ChangeRecord;
    let more: Pick<Plan<T>, 'guards' | 'ops'>;
    try {
      plan = await this.#plan(meta);
      record = this.#recordOf(meta, plan);
      more = this.#changeSetOp(record);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return this.#planFailed(error);
    }
    if (plan.ops.length === 0 && plan.items.length === 0 && !this.#mustBeRecorded)
      return this.#unchanged(plan);
    return this.#perform(record, plan, more);
  }

  /** A repetition under an idempotency key must find that nothing had to be done. */
  get #mustBeRecorded(): boolean {
    return (this.#options.request.idempotencyKey ?? null) !== null || this.#ambiguous > 0;
  }

  /** What a plan refuses holds only of what is newest, and only if it was not this change itself that made it so. */
  async #planFailed(error: ServiceError): Promise<Committed<T> | null> {
    if (!this.#isFresh) {
      await this.#catchUp();
      return null;
    }
    const known = this.#mustBeRecorded ? await this.#find() : null;
    if (known === null) throw error;
    return known;
  }

  async #unchanged(plan: Plan<T>): Promise<Committed<T> | null> {
    const { projection } = this.#options;
    if (this.#isFresh) return { type: 'unchanged', revision: projection.revision, result: plan.result };
    await this.#catchUp();
    return null;
  }

  async #catchUp(): Promise<void> {
    await this.#options.projection.catchUp(this.#options.caller.signal);
    this.#isFresh = true;
  }

  #recordOf({ at, reason }: ChangeMeta, { items }: Plan<T>): ChangeRecord {
    const { request, caller } = this.#options;
    return {
      format: 1,
      id: this.#id,
      at,
      actor: caller.actor,
      operation: request.operation,
      reason,
      changeSet: request.changeSet ?? null,
      requestHash: this.#requestHash,
      items,
    };
  }

  #changeSetOp(record: ChangeRecord): { readonly guards: readonly Guard[]; readonly ops: readonly KvOp[] } {
    const { tenant } = this.#options.request;
    const name = record.changeSet;
    if (name === null || record.items.length === 0) return { guards: [], ops: [] };
    const known = this.#options.projection.state.changeSet(tenant, name);
    const row = extended(known?.row ?? null, record, { tenant, name });
    const key = changeSetKey(tenant, name);
    return {
      guards: [{ key, modRevision: known?.modRevision ?? 0 }],
      ops: [{ type: 'put', key, value: encodeChangeSet(row) }],
    };
  }

  async #perform(
    record: ChangeRecord,
    plan: Plan<T>,
    more: { readonly guards: readonly Guard[]; readonly ops: readonly KvOp[] },
  ): Promise<Committed<T> | null> {
    const key = changeKey(record.id);
    const guards = [{ key, modRevision: 0 }, ...plan.guards, ...more.guards];
    const head: KvOp = { type: 'put', key: HEAD_KEY, value: Buffer.from(record.id) };
    const put: KvOp = { type: 'put', key, value: encodeChange(record) };
    try {
      const answer = await this.#kv.txn(
        {
          compare: guards.map(compareOf),
          success: [...plan.ops, ...more.ops, put, head],
          failure: [
            { type: 'range', key },
            { type: 'range', key: HEAD_KEY, keysOnly: true },
          ],
        },
        this.#changing,
      );
      if (answer.succeeded) return { type: 'done', revision: answer.revision, record, result: plan.result };
      return await this.#lost(answer);
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'ambiguous') throw error;
      return this.#settle(error);
    }
  }

  /** Another change came first, or this one did before. */
  async #lost(answer: KvTxnAnswer): Promise<Committed<T> | null> {
    const [record, head] = answer.responses;
    const known = this.#repeated(record?.type === 'range' ? record.rows[0] : undefined);
    if (known !== null) return known;
    const revision = head?.type === 'range' ? (head.rows[0]?.modRevision ?? 0) : 0;
    await this.#options.projection.reach(revision, this.#options.caller.signal);
    this.#isFresh = true;
    return null;
  }

  /**
   * The outcome is unknown: the record tells, if it is there. If not, the transaction may still be on its way: repeating
   * it does no harm, since of all that carry this record's id one at most succeeds.
   */
  async #settle(error: KvError): Promise<Committed<T> | null> {
    this.#ambiguous += 1;
    try {
      const known = await this.#find();
      if (known !== null) return known;
      if (this.#ambiguous > AMBIGUOUS_MAX) throw error;
      await this.#catchUp();
      return null;
    } catch (failure) {
      const isRefusal = failure instanceof ServiceError && failure.code === 'idempotency-mismatch';
      throw isRefusal ? failure : unknownOutcome(failure);
    }
  }

  async #find(): Promise<Committed<T> | null> {
    const answer = await asService(
      this.#kv.range({ key: changeKey(this.#id), consistency: { type: 'linearizable' } }, this.#call),
    );
    return this.#repeated(answer.rows[0]);
  }

  /** @throws ServiceError `idempotency-mismatch` when it was another request */
  #repeated(row: KvRow | undefined): Committed<T> | null {
    if (row === undefined) return null;
    const record = decodeChange(row.value);
    if (record.requestHash !== this.#requestHash) {
      throw new ServiceError('idempotency-mismatch', 'this idempotency key was used for another request');
    }
    return { type: 'repeated', revision: row.modRevision, record };
  }

  /**
   * What nobody asks for, nobody does: this server may not have heard yet that the store wants to know who is asking, but
   * the store itself then refuses it.
   */
  get #changing(): KvCall {
    const { principal, signal } = this.#options.caller;
    return { principal: principal.type === 'anonymous' ? principal : { type: 'service' }, signal };
  }

  get #call(): KvCall {
    return { principal: { type: 'service' }, signal: this.#options.caller.signal };
  }
}

/** What says that nothing was done, to those who may try again. */
const NOTHING_DONE: ReadonlySet<string> = new Set(['unavailable', 'too-many-requests', 'no-space']);

/** It holds of the last transaction only: an earlier one may still be done. */
function asAmbiguous(failure: unknown): unknown {
  const isMeant = failure instanceof ServiceError && NOTHING_DONE.has(failure.code);
  return isMeant ? unknownOutcome(failure) : failure;
}

function unknownOutcome(cause: unknown): ServiceError {
  return new ServiceError('ambiguous', 'whether the change was made is not known', { cause });
}

/** The guard as the store compares it. */
export function compareOf({ key, modRevision }: Guard): KvCompare {
  if (modRevision === 0) return { key, target: 'create', result: 'equal', number: 0 };
  return { key, target: 'mod', result: 'equal', number: modRevision };
}

/**
 * The idempotency key of one part of a request that takes several transactions; null where there is none.
 *
 * @throws ServiceError `invalid`
 */
export function partKey(idempotencyKey: string | null | undefined, at: number): string | null {
  if (idempotencyKey === undefined || idempotencyKey === null) return null;
  checkLabel('idempotencyKey', idempotencyKey);
  return idOf(['part', idempotencyKey, String(at)]);
}

function checkOptions({ reason, changeSet, idempotencyKey }: ChangeOptions): void {
  if (reason !== undefined) checkText('reason', reason);
  if (changeSet !== undefined && changeSet !== null) checkLabel('changeSet', changeSet);
  if (idempotencyKey !== undefined && idempotencyKey !== null) checkLabel('idempotencyKey', idempotencyKey);
}

/**
 * SHA-256 of the request, in hex. The idempotency key, which is stored nowhere, goes into it: or else the hash would let
 * short secrets be guessed.
 */
function hashOf(key: string, body: unknown): string {
  return createHash('sha256').update(`${key.length}:${key}`).update(canonical(body)).digest('hex');
}

/** JSON with the fields of objects in order; what is undefined is left out. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`);
  return `{${fields.join()}}`;
}
