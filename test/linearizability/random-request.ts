import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '../../src/core/mvcc/operations.ts';
import type { Prng } from '../core/raft/prng.ts';
import type { HistoryRequest } from './history.ts';
import { deleteOf, putOf, rangeOf } from './requests.ts';

/** The leases that requests name, granted or not. */
export const LEASES: readonly bigint[] = [7n, -9n];

const KEYS = ['a', 'b', 'c', 'd'];
const NO_END = Buffer.alloc(0);
const TO_THE_LAST = Buffer.from([0]);

/** Makes requests of every kind on few keys, so that they meet. No two of its values are equal. */
export class RequestMaker {
  readonly #random: Prng;
  readonly #name: string;
  readonly #tables: boolean;
  readonly #nested: boolean;
  #sequence = 0;
  #told = 1;

  /**
   * @param options.name begins every value; each maker has its own
   * @param options.tables leases and compactions too
   * @param options.nested transactions within transactions too
   */
  constructor(
    random: Prng,
    options: { readonly name: string; readonly tables: boolean; readonly nested: boolean },
  ) {
    this.#random = random;
    this.#name = options.name;
    this.#tables = options.tables;
    this.#nested = options.nested;
  }

  /** Someone was told of a revision: requests will be about it. */
  told(revision: number): void {
    this.#told = Math.max(this.#told, revision);
  }

  next(): HistoryRequest {
    const random = this.#random;
    const dice = random.below(this.#tables ? 100 : 84);
    if (dice < 26) return this.#put();
    if (dice < 34) return this.#delete();
    if (dice < 54) return this.#txn();
    if (dice < 78) return this.#range();
    if (dice < 84) return { type: 'serializable-range', range: this.#range() };
    if (dice < 90) return { type: 'lease-grant', id: random.pick(LEASES) };
    if (dice < 94) return { type: 'lease-revoke', id: random.pick(LEASES) };
    return { type: 'compact', revision: Math.max(1, this.#told - random.below(6)) };
  }

  #put(): PutRequest {
    const random = this.#random;
    const key = random.pick(KEYS);
    const prevKv = random.chance(40);
    if (random.chance(8)) return putOf(key, '', { prevKv, ignoreValue: true });
    const lease = this.#tables && random.chance(30) ? random.pick(LEASES) : 0n;
    this.#sequence++;
    return putOf(key, `${this.#name}${this.#sequence}`, { prevKv, lease });
  }

  #delete(): DeleteRangeRequest {
    const random = this.#random;
    const rangeEnd = random.chance(30) ? Buffer.from(random.pick(KEYS)) : NO_END;
    return deleteOf(random.pick(KEYS), { rangeEnd, prevKv: random.chance(40) });
  }

  #range(): RangeRequest {
    const random = this.#random;
    return rangeOf(random.pick(KEYS), {
      rangeEnd: random.chance(60) ? TO_THE_LAST : NO_END,
      revision: random.chance(20) ? Math.max(1, this.#told + 2 - random.below(5)) : 0,
      sortOrder: random.pick(['none', 'ascend', 'descend'] as const),
      sortTarget: random.pick(['key', 'version', 'create', 'mod', 'value'] as const),
      limit: random.chance(20) ? 1 + random.below(2) : 0,
      countOnly: random.chance(5),
      keysOnly: random.chance(5),
    });
  }

  #txn(): TxnRequest {
    const random = this.#random;
    const puts = new Map<string, PutRequest>();
    for (let count = 1 + random.below(3); count > 0; count--) {
      const put = this.#put();
      puts.set(put.key.toString(), put);
    }
    const success: RequestOp[] = [...puts.values(), this.#range()];
    const failure = [random.chance(50) ? this.#range() : this.#delete()];
    if (this.#nested && random.chance(20)) {
      // It may delete what was put before it, in the same revision.
      const inner = [puts.values().next().value!, deleteOf(random.pick(KEYS))];
      const put = { type: 'txn', compare: [], success: inner.slice(0, 1), failure: [] } as const;
      const other = {
        type: 'txn',
        compare: [this.#compare()],
        success: inner.slice(1),
        failure: [this.#range()],
      } as const;
      return { type: 'txn', compare: [], success: [put, other], failure };
    }
    return { type: 'txn', compare: [this.#compare()], success, failure };
  }

  #compare(): Compare {
    const random = this.#random;
    const head = {
      key: Buffer.from(random.pick(KEYS)),
      rangeEnd: random.chance(10) ? TO_THE_LAST : NO_END,
      result: random.pick(['equal', 'greater', 'less', 'not-equal'] as const),
    };
    const target = random.pick(['version', 'create', 'mod', 'value', 'lease'] as const);
    switch (target) {
      case 'value':
        return { ...head, target, value: Buffer.from(`${this.#name}${random.below(this.#sequence + 1)}`) };
      case 'lease':
        return { ...head, target, lease: random.pick([0n, ...LEASES]) };
      case 'version':
        return { ...head, target, number: random.below(3) };
      case 'create':
      case 'mod':
        return { ...head, target, number: random.below(this.#told + 1) };
    }
  }
}
