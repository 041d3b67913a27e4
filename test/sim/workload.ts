import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  RangeRequest,
  TxnRequest,
  TxnResult,
} from '../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../src/lib/errors.ts';
import type { Credentials } from '../../src/member/auth/access.ts';
import type { Member } from '../../src/member/member.ts';
import { describe } from '../linearizability/findings.ts';
import {
  type HistoryOutcome,
  type HistoryRequest,
  type HistoryResult,
  STATE_CODES,
} from '../linearizability/history.ts';
import type { Acknowledgements } from './checkers/acknowledgements.ts';
import { type AppliedLog, isDecidedAnew, outcomeText } from './checkers/applied-log.ts';
import type { ClientHistory } from './checkers/client-history.ts';
import type { LeaseSafety } from './checkers/lease-safety.ts';
import type { Call, Linearizability } from './checkers/linearizability.ts';
import { responseText } from './checkers/model.ts';
import type { Permissions, Reading } from './checkers/permissions.ts';
import { type Answer, type ClientPort, pause } from './client.ts';
import type { Place } from './place.ts';
import type { Plan } from './plan.ts';
import type { Prng } from './prng.ts';
import type { Scheduler } from './scheduler.ts';
import { nameRequest } from './spy.ts';
import type { Trace } from './trace.ts';
import { type Report, Violation } from './violation.ts';

/** Leases one client keeps at a time. */
const LEASES_MAX = 4;
/** Leases that one lapse lets run out, and how long after their end a client still tries to keep one, in ms. */
const LAPSE_LEASES = 12;
const LAPSE_LATE_MS_MAX = 400;
/** Writes of a burst, and the time between them, in ms. */
const BURST_WRITES_MAX = 8;
const BURST_PAUSE_MS_MAX = 4;
/** Puts of a large transaction, and the keys they are for. */
const BULK_PUTS = 120;
const BULK_KEYS_MAX = 200;
const NOTHING = Buffer.alloc(0);

/** Refusals that the state machine makes: the operation is in the log and changed nothing. */
const APPLIED_REFUSALS: ReadonlySet<StoreErrorCode> = new Set([
  'compacted',
  'future-revision',
  'lease-not-found',
  'lease-exists',
  'key-not-found',
  'corrupt',
]);

/** Refusals of a request that was never proposed, or that the state machine refused for every state alike. */
const SURELY_NOTHING: ReadonlySet<StoreErrorCode> = new Set([
  'no-space',
  'corrupt',
  'too-many-requests',
  'permission-denied',
  'user-empty',
  'auth-revision-old',
]);

export interface WorkloadParts {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly port: ClientPort;
  readonly places: () => readonly Place[];
  readonly log: AppliedLog;
  readonly linearizability: Linearizability;
  readonly history: ClientHistory;
  readonly leases: LeaseSafety;
  readonly acknowledgements: Acknowledgements;
  readonly permissions: Permissions;
  readonly report: Report;
  readonly trace: Trace;
}

interface WriteContext {
  readonly signal: AbortSignal;
  readonly user: string;
  readonly credentials: Credentials;
}

/** What an acknowledged write was told. */
interface Written {
  /** In the model's words. */
  readonly text: string;
  readonly result: HistoryResult;
  readonly acknowledge?: () => void;
}

/** One client: one operation at a time, each at any member, with unique values, until it is stopped. */
export class WorkloadClient {
  stopped = false;
  /** Operations that got an answer that says what happened. */
  knownCount = 0;
  readonly #parts: WorkloadParts;
  readonly #name: string;
  readonly #user: string;
  readonly #credentials: Credentials;
  readonly #leases: bigint[] = [];
  #opNumber = 0;
  #incarnation = 0;
  #lapsing = false;

  /** `user`: who it signs in as, where authentication is on. */
  constructor(name: string, parts: WorkloadParts, user = name) {
    this.#credentials = { certificateName: user };
    this.#user = user;
    this.#name = name;
    this.#parts = parts;
  }

  async run(): Promise<void> {
    const { random, scheduler, plan } = this.#parts;
    while (!this.stopped) {
      await pause(scheduler, random.fraction() * plan.thinkMsMax);
      if (!this.stopped) await this.#step();
    }
  }

  /**
   * One write and one linearizable read at this place, tried until they succeed or are no longer wanted; `help` before
   * each try to write.
   */
  async prove(
    place: Place,
    { help, isWanted }: { readonly help: () => Promise<void>; readonly isWanted: () => boolean },
  ): Promise<void> {
    const { scheduler } = this.#parts;
    const write = async (): Promise<boolean> => {
      await help();
      return this.put(place);
    };
    for (const attempt of [write, () => this.#range(place, false)]) {
      while (isWanted() && !(await attempt())) await pause(scheduler, 50);
    }
  }

  /** One write. @returns whether it was answered */
  put(place: Place, timeoutMs = this.#timeoutMs()): Promise<boolean> {
    return this.#put(place, this.#aKey(), { timeoutMs });
  }

  /** One transaction that puts all of these keys. @returns whether it was answered */
  putMany(place: Place, keys: readonly string[], value = Buffer.from('b')): Promise<boolean> {
    const puts = keys.map((key) => {
      const request = this.#putRequest(Buffer.from(key), 0n);
      return { ...request, value, prevKv: false, ignoreLease: false };
    });
    return this.#change(place, { type: 'txn', compare: [], success: puts, failure: [] });
  }

  /** One linearizable read. @returns whether it was answered */
  read(place: Place, timeoutMs = this.#timeoutMs()): Promise<boolean> {
    return this.#range(place, false, { timeoutMs });
  }

  /** A lease of its own. @returns its id, or null when the answer did not come */
  async grant(
    place: Place,
    ttlSeconds: number,
  ): Promise<{ readonly id: bigint; readonly ttlSeconds: number } | null> {
    const { random, scheduler, leases } = this.#parts;
    const id = BigInt(random.integer(2 ** 40)) + 1n;
    const sentMs = scheduler.nowMs;
    let granted: number | null = null;
    await this.#write(place, { type: 'lease-grant', id }, async (member, context) => {
      const { header, result } = await member.leaseGrant({ id, ttlSeconds }, context);
      return {
        text: `lease-grant ${result.id} ${result.ttlSeconds}`,
        result: { type: 'lease-grant', revision: header.revision },
        acknowledge: () => {
          granted = result.ttlSeconds;
          leases.acknowledged(id, { sentMs, ttlSeconds: result.ttlSeconds });
        },
      };
    });
    return granted === null ? null : { id, ttlSeconds: granted };
  }

  /** @returns whether it was answered */
  revoke(place: Place, id: bigint): Promise<boolean> {
    return this.#write(place, { type: 'lease-revoke', id }, async (member, context) => {
      const { header } = await member.leaseRevoke({ id }, context);
      return { text: 'lease-revoke', result: { type: 'lease-revoke', revision: header.revision } };
    });
  }

  /** @returns whether the lease was said to be gone */
  async keepAlive(place: Place, id: bigint, timeoutMs = this.#timeoutMs()): Promise<boolean> {
    const { scheduler, leases, port, log, report } = this.#parts;
    const sentMs = scheduler.nowMs;
    const wasThere = log.model.leases.has(id);
    const traced = this.#trace(this.#name, place, { type: 'lease-keep-alive', id });
    const answer = await port.call(place, timeoutMs, (member, signal) =>
      member.leaseKeepAlive({ id }, { signal, credentials: this.#credentials }),
    );
    traced(answer, ({ result }) => `${result.ttlSeconds} s of ${id}`);
    if (answer.type !== 'answered') return false;
    const { ttlSeconds } = answer.value.result;
    if (ttlSeconds > 0) {
      leases.acknowledged(id, { sentMs, ttlSeconds });
      return false;
    }
    if (wasThere && log.model.leases.has(id)) {
      report(
        new Violation('lease', `${id} was said to be gone at ${scheduler.nowMs.toFixed(3)}, but is there`),
      );
    }
    return true;
  }

  async #step(): Promise<void> {
    const { random, places, plan } = this.#parts;
    const place = random.pick(places());
    const kind = random.weighted([
      ['put', 30],
      ['get', 15],
      ['serializable', 5],
      ['delete', 6],
      ['txn', 15],
      ['history', 4],
      ['read-txn', 5],
      ['bulk', plan.bulk ? 6 : 0],
      ['grant', 3],
      ['keep-alive', 8],
      ['lease-put', 6],
      ['revoke', 2],
      ['compact', 1],
      ['burst', 2],
      ['lapse', 1],
    ] as const)!;
    switch (kind) {
      case 'put':
        await this.put(place);
        return;
      case 'get':
        await this.#range(place, false);
        return;
      case 'serializable':
        await this.#range(place, true);
        return;
      case 'delete':
        await this.#delete(place);
        return;
      case 'txn':
        await this.#txn(place);
        return;
      case 'history':
        await this.#history(place);
        return;
      case 'read-txn':
        await this.#readTxn(place);
        return;
      case 'bulk':
        await this.#bulk(place);
        return;
      case 'grant':
        if (this.#leases.length < LEASES_MAX) await this.#grant(place);
        return;
      case 'keep-alive':
        await this.#keepAlive(place);
        return;
      case 'lease-put':
        await this.#put(place, this.#aKey(), {
          lease: this.#leases[random.integer(Math.max(1, this.#leases.length))] ?? 0n,
        });
        return;
      case 'revoke':
        await this.#revoke(place);
        return;
      case 'compact':
        await this.#compact(place);
        return;
      case 'burst':
        await this.#burst();
        return;
      case 'lapse':
        if (!this.#lapsing) void this.#lapse(place);
    }
  }

  /** Writes close behind each other; each, once acknowledged, is looked for at every member at once. */
  async #burst(): Promise<void> {
    const { random, scheduler, places } = this.#parts;
    const timeoutMs = random.pick([100, 400]);
    const one = async (): Promise<void> => {
      if (!(await this.put(random.pick(places()), timeoutMs)) || this.stopped) return;
      for (const place of places()) if (place.running) void this.read(place, timeoutMs);
    };
    for (let left = random.between(3, BURST_WRITES_MAX); left > 0 && !this.stopped; left--) {
      void one();
      await pause(scheduler, random.fraction() * BURST_PAUSE_MS_MAX);
    }
  }

  /** Leases that are let run out, and then each kept alive once, at about the time when they expire. */
  async #lapse(place: Place): Promise<void> {
    const { random, scheduler, places } = this.#parts;
    this.#lapsing = true;
    const one = async (): Promise<void> => {
      const lease = await this.grant(place, 1);
      if (lease === null) return;
      await pause(scheduler, lease.ttlSeconds * 1_000 + random.fraction() * LAPSE_LATE_MS_MAX);
      const leader = places().find((each) => each.member?.isLeader() === true);
      if (!this.stopped) await this.keepAlive(leader ?? place, lease.id);
    };
    await Promise.all(Array.from({ length: LAPSE_LEASES }, one));
    this.#lapsing = false;
  }

  #put(
    place: Place,
    key: Buffer,
    {
      lease = 0n,
      timeoutMs = this.#timeoutMs(),
    }: { readonly lease?: bigint; readonly timeoutMs?: number } = {},
  ): Promise<boolean> {
    const request = this.#putRequest(key, lease);
    const put = async (member: Member, context: WriteContext): Promise<Written> =>
      written(await member.put(request, context));
    return this.#write(place, request, put, timeoutMs);
  }

  async #delete(place: Place): Promise<void> {
    const { random } = this.#parts;
    const request: DeleteRangeRequest = {
      type: 'delete-range',
      key: this.#aKey(),
      rangeEnd: random.chance(30) ? this.#aKey() : NOTHING,
      prevKv: random.chance(50),
    };
    await this.#write(place, request, async (member, context) =>
      written(await member.deleteRange(request, context)),
    );
  }

  async #txn(place: Place): Promise<void> {
    const { random } = this.#parts;
    const keys = random.shuffle([...new Set([this.#aKey(), this.#aKey(), this.#aKey()].map(String))]);
    const put = (key: string): PutRequest => this.#putRequest(Buffer.from(key), 0n);
    await this.#change(place, {
      type: 'txn',
      compare: [this.#aCompare()],
      success: [...keys.map(put), this.#pastRange()],
      failure: random.chance(50) ? [put(keys[0]!)] : [this.#rangeRequest()],
    });
  }

  /** As many changes as one transaction may have: a history of some of them is more than a slice of it. */
  async #bulk(place: Place): Promise<void> {
    const { random } = this.#parts;
    const first = random.integer(BULK_KEYS_MAX);
    const keyAt = (_: unknown, i: number): string =>
      `kb${String((first + i) % BULK_KEYS_MAX).padStart(4, '0')}`;
    await this.putMany(place, Array.from({ length: BULK_PUTS }, keyAt));
  }

  /** Ranges, of the present and of the past, all of one revision. */
  async #readTxn(place: Place): Promise<void> {
    const { random, port, linearizability, scheduler, history } = this.#parts;
    const serializable = random.chance(30);
    const request: TxnRequest = {
      type: 'txn',
      compare: random.chance(50) ? [this.#aCompare()] : [],
      success: [this.#rangeRequest(), this.#pastRange()],
      failure: [this.#rangeRequest()],
    };
    const call = linearizability.call(this.#nextOp(), scheduler.nowMs);
    // The history knows stale reads as ranges only.
    const settle = serializable ? null : history.call(request);
    const traced = this.#trace(call.opId, place, serializable ? { serializable, request } : request);
    const answer = await port.call(place, this.#timeoutMs(), (member, signal) =>
      member.txn(request, { signal, serializable, credentials: this.#credentials }),
    );
    traced(answer, ({ result }) => responseText(result));
    settle?.(readOutcome(answer, ({ result }) => result));
    if (answer.type === 'refused') {
      this.#checkReadRefusal(call, answer.code, { revision: lowestRevision(request), request, serializable });
    }
    if (answer.type !== 'answered') return;
    this.knownCount += 1;
    const { header, result } = answer.value;
    const { revision } = header;
    this.#parts.permissions.answered(call, { user: this.#user, request, serializable }, revision);
    linearizability.read(call, { request, result, revision, serializable, servedBy: answer.process });
  }

  #change(place: Place, request: TxnRequest): Promise<boolean> {
    return this.#write(place, request, async (member, context) =>
      written(await member.txn(request, { ...context, serializable: false })),
    );
  }

  async #compact(place: Place): Promise<void> {
    const { random, log } = this.#parts;
    const revision = Math.max(1, log.model.revision - random.integer(random.pick([1, 5, 40])));
    const physical = random.chance(30);
    await this.#write(place, { type: 'compact', revision }, async (member, context) => {
      const { header } = await member.compact({ revision, physical }, context);
      return { text: 'compact', result: { type: 'compact', revision: header.revision } };
    });
  }

  async #grant(place: Place): Promise<void> {
    const { random } = this.#parts;
    const lease = await this.grant(place, random.between(1, 4));
    if (lease !== null) this.#leases.push(lease.id);
  }

  async #revoke(place: Place): Promise<void> {
    const id = this.#leases.shift();
    if (id !== undefined) await this.revoke(place, id);
  }

  async #keepAlive(place: Place): Promise<void> {
    if (this.#leases.length === 0) return;
    const id = this.#parts.random.pick(this.#leases);
    const isGone = await this.keepAlive(place, id);
    if (isGone) this.#leases.splice(this.#leases.indexOf(id), 1);
  }

  async #history(place: Place): Promise<void> {
    const { random, log } = this.#parts;
    const revision = Math.max(1, log.model.revision - random.integer(60));
    await this.#range(place, random.chance(50), { revision });
  }

  /** @returns whether it was answered */
  async #range(
    place: Place,
    serializable: boolean,
    {
      revision = 0,
      timeoutMs = this.#timeoutMs(),
    }: { readonly revision?: number; readonly timeoutMs?: number } = {},
  ): Promise<boolean> {
    const { linearizability, scheduler, port, history } = this.#parts;
    const call = linearizability.call(this.#nextOp(), scheduler.nowMs);
    const request = { ...this.#rangeRequest(), revision };
    const settle = history.call(serializable ? { type: 'serializable-range', range: request } : request);
    const traced = this.#trace(call.opId, place, serializable ? { serializable, request } : request);
    const answer = await port.call(place, timeoutMs, (member, signal) =>
      member.range(request, { signal, serializable, credentials: this.#credentials }),
    );
    traced(answer, ({ result }) => responseText(result));
    settle(readOutcome(answer, ({ result }) => result));
    if (answer.type === 'refused')
      this.#checkReadRefusal(call, answer.code, { revision, request, serializable });
    if (answer.type !== 'answered') return false;
    this.knownCount += 1;
    const { header, result } = answer.value;
    this.#parts.permissions.answered(call, { user: this.#user, request, serializable }, header.revision);
    linearizability.read(call, {
      request,
      result,
      revision: header.revision,
      serializable,
      servedBy: answer.process,
    });
    return true;
  }

  #checkReadRefusal(
    call: Call,
    code: StoreErrorCode,
    read: Omit<Reading, 'user'> & { readonly revision: number },
  ): void {
    const { linearizability, report, permissions } = this.#parts;
    if (code === 'compacted') linearizability.readRefused(call, 'compacted', read.revision);
    if (code === 'permission-denied') permissions.refused(call, { ...read, user: this.#user });
    if (code === 'key-not-found')
      report(new Violation('linearizability', `${call.opId}: a range was refused with ${code}`));
  }

  /** @returns whether it was answered */
  async #write(
    place: Place,
    request: HistoryRequest,
    send: (member: Member, context: WriteContext) => Promise<Written>,
    timeoutMs = this.#timeoutMs(),
    credentials = this.#credentials,
  ): Promise<boolean> {
    const { linearizability, scheduler, port, history } = this.#parts;
    const user = this.#nextOp();
    const call = linearizability.call(user, scheduler.nowMs);
    const settle = history.call(request);
    const traced = this.#trace(user, place, request);
    const answer = await port.call(
      place,
      timeoutMs,
      (member, signal) => {
        nameRequest(signal, user);
        return send(member, { signal, user, credentials });
      },
      ({ result }) => this.#acknowledged(result),
    );
    traced(answer, ({ text }) => text);
    settle(writeOutcome(answer));
    if (answer.type === 'answered') {
      this.knownCount += 1;
      const { text, result, acknowledge } = answer.value;
      linearizability.wrote(call, { text, revision: isKv(result) ? result.revision : null });
      acknowledge?.();
      return true;
    }
    this.#checkRefusal(call, answer);
    return false;
  }

  #acknowledged(result: HistoryResult): void {
    const { acknowledgements, scheduler } = this.#parts;
    if (isKv(result)) acknowledgements.acknowledged(result.revision, scheduler.nowMs);
  }

  /** What was refused must have been refused in the log, or not be there at all. */
  #checkRefusal(call: Call, answer: Exclude<Answer<unknown>, { type: 'answered' }>): void {
    const { log, report } = this.#parts;
    const index = log.indexOfOp.get(call.opId);
    const fail = (message: string): void =>
      report(new Violation('linearizability', `${call.opId} ${message}`));
    if (answer.type === 'unreached' && index !== undefined)
      fail(`never reached a member, but is at ${index}`);
    if (answer.type !== 'refused') {
      // Nobody knows: the next operation is another client's as far as order goes.
      if (answer.type === 'unknown') this.#incarnation += 1;
      return;
    }
    const { code } = answer;
    const entry = index === undefined ? undefined : log.at(index);
    // Its first try may be there all the same: the next one was refused before it was an entry.
    const isThere = entry !== undefined && !isDecidedAnew(entry.outcome);
    if (APPLIED_REFUSALS.has(code) || (code === 'no-space' && isThere)) {
      const text = entry === undefined ? 'nothing' : outcomeText(entry.outcome);
      if (text !== `failed: ${code}`) fail(`was refused with ${code}, the log has ${text}`);
    }
    if (code === 'permission-denied' && entry?.outcome.ok === true)
      fail(`was refused with ${code}, but took effect at ${entry.index}`);
    if (code === 'too-many-requests' && isThere) fail(`was refused as too many, but is at ${entry.index}`);
  }

  /** What is asked and answered, for who reads the trace. @returns to be called with the answer */
  #trace(
    opId: string,
    place: Place,
    request: object,
  ): <T>(answer: Answer<T>, textOf: (value: T) => string) => void {
    const { trace } = this.#parts;
    trace.detail(this.#name, () => `${opId} asks ${place.name}: ${describe(request)}`);
    return (answer, textOf) => {
      trace.detail(this.#name, () => {
        if (answer.type === 'answered')
          return `${opId} is answered by ${answer.process}: ${textOf(answer.value)}`;
        return `${opId} is ${answer.type}${answer.type === 'refused' ? ` by ${answer.process}: ${answer.code}` : ''}`;
      });
    };
  }

  #timeoutMs(): number {
    return this.#parts.random.pick([400, 1_500, 4_000, 9_000]);
  }

  #nextOp(): string {
    this.#opNumber += 1;
    return `${this.#name}.${this.#incarnation}-${this.#opNumber}`;
  }

  #aKey(): Buffer {
    const { random, plan } = this.#parts;
    return Buffer.from(`k${String(random.integer(plan.keys)).padStart(2, '0')}`);
  }

  #aCompare(): Compare {
    const { random, log } = this.#parts;
    const key = this.#aKey();
    const kv = log.model.at(key.toString(), log.model.revision);
    const guess = random.chance(70);
    const common = {
      key,
      rangeEnd: NOTHING,
      result: random.pick(['equal', 'equal', 'greater', 'less'] as const),
    };
    switch (random.integer(4)) {
      case 0:
        return { ...common, target: 'version', number: guess ? (kv?.version ?? 0) : random.integer(3) };
      case 1:
        return { ...common, target: 'create', number: guess ? (kv?.createRevision ?? 0) : 0 };
      case 2:
        return { ...common, target: 'value', value: kv?.value ?? Buffer.from('x') };
      default:
        return { ...common, target: 'mod', number: guess ? (kv?.modRevision ?? 0) : log.model.revision };
    }
  }

  #putRequest(key: Buffer, lease: bigint): PutRequest {
    const { random, plan } = this.#parts;
    const length = 1 + random.integer(plan.valueBytesMax);
    const value = Buffer.from(`${this.#name}.${this.#opNumber}.${key.toString()} `.padEnd(length, '.'));
    return {
      type: 'put',
      key,
      value,
      lease,
      prevKv: random.chance(30),
      ignoreValue: false,
      ignoreLease: lease === 0n && random.chance(3),
    };
  }

  /** A range whose revision may be one of the past, compacted or not. */
  #pastRange(): RangeRequest {
    const { random, log } = this.#parts;
    const revision = random.chance(50) ? 0 : Math.max(1, log.model.revision - random.integer(20));
    return { ...this.#rangeRequest(), revision };
  }

  #rangeRequest(): RangeRequest {
    const { random, log } = this.#parts;
    const narrow = random.chance(40);
    const bound = (): number =>
      narrow && random.chance(20) ? Math.max(1, log.model.revision - random.integer(40)) : 0;
    return {
      type: 'range',
      key: this.#aKey(),
      rangeEnd: random.pick([NOTHING, Buffer.from('\0'), this.#aKey()]),
      limit: narrow ? random.integer(5) : 0,
      revision: 0,
      sortOrder: narrow ? random.pick(['none', 'ascend', 'descend'] as const) : 'none',
      sortTarget: narrow ? random.pick(['key', 'version', 'create', 'mod', 'value'] as const) : 'key',
      keysOnly: random.chance(5),
      countOnly: random.chance(10),
      minModRevision: bound(),
      maxModRevision: bound(),
      minCreateRevision: bound(),
      maxCreateRevision: bound(),
    };
  }
}

function isKv(
  result: HistoryResult,
): result is (PutResult | DeleteRangeResult | TxnResult) & { revision: number } {
  return result.type === 'put' || result.type === 'delete-range' || result.type === 'txn';
}

function written({
  header,
  result,
}: {
  readonly header: { readonly revision: number };
  readonly result: PutResult | DeleteRangeResult | TxnResult;
}): Written {
  return { text: responseText(result), result: { ...result, revision: header.revision } };
}

/** A read that was not answered did nothing. */
function readOutcome<T>(answer: Answer<T>, resultOf: (value: T) => HistoryResult): HistoryOutcome {
  if (answer.type === 'answered') return { type: 'answered', result: resultOf(answer.value) };
  const code = answer.type === 'refused' && STATE_CODES.has(answer.code) ? answer.code : null;
  return { type: 'refused', code };
}

function writeOutcome(answer: Answer<Written>): HistoryOutcome {
  switch (answer.type) {
    case 'answered':
      return { type: 'answered', result: answer.value.result };
    case 'unreached':
      return { type: 'refused', code: null };
    case 'unknown':
      return { type: 'unknown' };
    case 'refused':
      if (STATE_CODES.has(answer.code)) return { type: 'refused', code: answer.code };
      return SURELY_NOTHING.has(answer.code) ? { type: 'refused', code: null } : { type: 'unknown' };
  }
}

function lowestRevision({ success, failure }: TxnRequest): number {
  const revisions = [...success, ...failure].map((op) => (op.type === 'range' ? op.revision : 0));
  return Math.min(...revisions.filter((revision) => revision > 0));
}
