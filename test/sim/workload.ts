import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from '../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../src/lib/errors.ts';
import type { Member } from '../../src/member/member.ts';
import type { AppliedLog } from './checkers/applied-log.ts';
import { outcomeText } from './checkers/applied-log.ts';
import type { LeaseSafety } from './checkers/lease-safety.ts';
import type { Call, Linearizability } from './checkers/linearizability.ts';
import { responseText } from './checkers/model.ts';
import { type Answer, type ClientPort, pause } from './client.ts';
import type { Place } from './place.ts';
import type { Plan } from './plan.ts';
import type { Prng } from './prng.ts';
import type { Scheduler } from './scheduler.ts';
import { type Report, Violation } from './violation.ts';

/** Leases one client keeps at a time. */
const LEASES_MAX = 4;
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

export interface WorkloadParts {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly port: ClientPort;
  readonly places: () => readonly Place[];
  readonly log: AppliedLog;
  readonly linearizability: Linearizability;
  readonly leases: LeaseSafety;
  readonly report: Report;
}

/** One client: one operation at a time, each at any member, with unique values, until it is stopped. */
export class WorkloadClient {
  stopped = false;
  /** Operations that got an answer that says what happened. */
  knownCount = 0;
  readonly #parts: WorkloadParts;
  readonly #name: string;
  readonly #leases: bigint[] = [];
  #opNumber = 0;
  #incarnation = 0;

  constructor(name: string, parts: WorkloadParts) {
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

  /** One write and one linearizable read at this place, tried until they succeed; `help` between the tries. */
  async prove(place: Place, help: () => Promise<void>): Promise<void> {
    const { scheduler } = this.#parts;
    await help();
    while (!(await this.#put(place, this.#aKey()))) {
      await pause(scheduler, 50);
      await help();
    }
    while (!(await this.#range(place, false))) await pause(scheduler, 50);
  }

  async #step(): Promise<void> {
    const { random, places } = this.#parts;
    const place = random.pick(places());
    const kind = random.weighted([
      ['put', 30],
      ['get', 15],
      ['serializable', 5],
      ['delete', 6],
      ['txn', 15],
      ['history', 4],
      ['grant', 3],
      ['keep-alive', 8],
      ['lease-put', 6],
      ['revoke', 2],
      ['compact', 1],
    ] as const)!;
    switch (kind) {
      case 'put':
        await this.#put(place, this.#aKey());
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
      case 'grant':
        if (this.#leases.length < LEASES_MAX) await this.#grant(place);
        return;
      case 'keep-alive':
        await this.#keepAlive(place);
        return;
      case 'lease-put':
        await this.#put(
          place,
          this.#aKey(),
          this.#leases[random.integer(Math.max(1, this.#leases.length))] ?? 0n,
        );
        return;
      case 'revoke':
        await this.#revoke(place);
        return;
      case 'compact':
        await this.#compact(place);
    }
  }

  async #put(place: Place, key: Buffer, lease = 0n): Promise<boolean> {
    const request = this.#putRequest(key, lease);
    return this.#write(place, async (member, context) => {
      const { header, result } = await member.put(request, context);
      return { text: responseText(result), revision: header.revision };
    });
  }

  async #delete(place: Place): Promise<void> {
    const { random } = this.#parts;
    const request: DeleteRangeRequest = {
      type: 'delete-range',
      key: this.#aKey(),
      rangeEnd: random.chance(30) ? this.#aKey() : NOTHING,
      prevKv: random.chance(50),
    };
    await this.#write(place, async (member, context) => {
      const { header, result } = await member.deleteRange(request, context);
      return { text: responseText(result), revision: header.revision };
    });
  }

  async #txn(place: Place): Promise<void> {
    const { random } = this.#parts;
    const keys = random.shuffle([...new Set([this.#aKey(), this.#aKey(), this.#aKey()].map(String))]);
    const put = (key: string): PutRequest => this.#putRequest(Buffer.from(key), 0n);
    const request: TxnRequest = {
      type: 'txn',
      compare: [this.#aCompare()],
      success: [...keys.map(put), this.#rangeRequest()],
      failure: random.chance(50) ? [put(keys[0]!)] : [this.#rangeRequest()],
    };
    await this.#write(place, async (member, context) => {
      const { header, result } = await member.txn(request, { ...context, serializable: false });
      return { text: responseText(result), revision: header.revision };
    });
  }

  async #compact(place: Place): Promise<void> {
    const { random, log } = this.#parts;
    const revision = Math.max(1, log.model.revision - random.integer(40));
    const physical = random.chance(30);
    await this.#write(place, async (member, context) => {
      await member.compact({ revision, physical }, context);
      return { text: 'compact', revision: null };
    });
  }

  async #grant(place: Place): Promise<void> {
    const { random, scheduler, leases } = this.#parts;
    const id = BigInt(random.integer(2 ** 40)) + 1n;
    const ttlSeconds = random.between(1, 4);
    const sentMs = scheduler.nowMs;
    this.#leases.push(id);
    await this.#write(place, async (member, context) => {
      const { result } = await member.leaseGrant({ id, ttlSeconds }, context);
      return {
        text: `lease-grant ${result.id} ${result.ttlSeconds}`,
        revision: null,
        acknowledge: () => leases.acknowledged(id, { sentMs, ttlSeconds: result.ttlSeconds }),
      };
    });
  }

  async #revoke(place: Place): Promise<void> {
    const id = this.#leases.shift();
    if (id === undefined) return;
    await this.#write(place, async (member, context) => {
      await member.leaseRevoke({ id }, context);
      return { text: 'lease-revoke', revision: null };
    });
  }

  async #keepAlive(place: Place): Promise<void> {
    const { random, scheduler, leases, port, log, report } = this.#parts;
    if (this.#leases.length === 0) return;
    const id = random.pick(this.#leases);
    const sentMs = scheduler.nowMs;
    const wasThere = log.model.leases.has(id);
    const answer = await port.call(place, this.#timeoutMs(), (member, signal) =>
      member.leaseKeepAlive({ id }, { signal }),
    );
    if (answer.type !== 'answered') return;
    const { ttlSeconds } = answer.value.result;
    if (ttlSeconds > 0) {
      leases.acknowledged(id, { sentMs, ttlSeconds });
      return;
    }
    if (wasThere && log.model.leases.has(id)) {
      report(
        new Violation('lease', `${id} was said to be gone at ${scheduler.nowMs.toFixed(3)}, but is there`),
      );
    }
    this.#leases.splice(this.#leases.indexOf(id), 1);
  }

  async #history(place: Place): Promise<void> {
    const { random, log } = this.#parts;
    const revision = Math.max(1, log.model.revision - random.integer(60));
    await this.#range(place, random.chance(50), revision);
  }

  /** @returns whether it was answered */
  async #range(place: Place, serializable: boolean, revision = 0): Promise<boolean> {
    const { linearizability, scheduler, port, report } = this.#parts;
    const call = linearizability.call(this.#nextOp(), scheduler.nowMs);
    const request = { ...this.#rangeRequest(), revision };
    const answer = await port.call(place, this.#timeoutMs(), (member, signal) =>
      member.range(request, { signal, serializable }),
    );
    if (answer.type === 'refused' && answer.code === 'compacted') {
      linearizability.readRefused(call, 'compacted', revision);
    }
    if (answer.type === 'refused' && answer.code === 'key-not-found') {
      report(new Violation('linearizability', `${call.opId}: a range was refused with ${answer.code}`));
    }
    if (answer.type !== 'answered') return false;
    this.knownCount += 1;
    const { header, result } = answer.value;
    linearizability.read(call, {
      request,
      result,
      revision: header.revision,
      serializable,
      servedBy: answer.process,
    });
    return true;
  }

  /** @returns whether it was answered */
  async #write(
    place: Place,
    request: (
      member: Member,
      context: { readonly signal: AbortSignal; readonly user: string },
    ) => Promise<{
      readonly text: string;
      readonly revision: number | null;
      readonly acknowledge?: () => void;
    }>,
  ): Promise<boolean> {
    const { linearizability, scheduler, port } = this.#parts;
    const user = this.#nextOp();
    const call = linearizability.call(user, scheduler.nowMs);
    const answer = await port.call(place, this.#timeoutMs(), (member, signal) =>
      request(member, { signal, user }),
    );
    if (answer.type === 'answered') {
      this.knownCount += 1;
      linearizability.wrote(call, answer.value);
      answer.value.acknowledge?.();
      return true;
    }
    this.#checkRefusal(call, answer);
    return false;
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
    if (APPLIED_REFUSALS.has(code) || (code === 'no-space' && entry !== undefined)) {
      const text = entry === undefined ? 'nothing' : outcomeText(entry.outcome);
      if (text !== `failed: ${code}`) fail(`was refused with ${code}, the log has ${text}`);
    }
    if (code === 'too-many-requests' && entry !== undefined)
      fail(`was refused as too many, but is at ${entry.index}`);
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

  #rangeRequest(): RangeRequest {
    const { random } = this.#parts;
    return {
      type: 'range',
      key: this.#aKey(),
      rangeEnd: random.pick([NOTHING, Buffer.from('\0'), this.#aKey()]),
      limit: 0,
      revision: 0,
      sortOrder: 'none',
      sortTarget: 'key',
      keysOnly: false,
      countOnly: random.chance(10),
      minModRevision: 0,
      maxModRevision: 0,
      minCreateRevision: 0,
      maxCreateRevision: 0,
    };
  }
}
