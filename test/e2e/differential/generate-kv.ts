import type { Prng } from '../../core/raft/prng.ts';
import { type Fields, type FieldValue, Symbolic } from './operations.ts';

/** Requests on keys: mostly right, now and then wrong in one of the ways that a client can be wrong. */

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);
const EMPTY = Buffer.alloc(0);
/** Few, so that operations meet. */
const KEYS: readonly Buffer[] = [
  ...['a', 'a/1', 'a/2', 'a/3', 'a/4', 'b', 'b/1', 'b/2', 'c', 'd', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6'].map(
    (text) => Buffer.from(text),
  ),
  Buffer.from([0]),
  Buffer.from([0, 0]),
  Buffer.from([0xff]),
  Buffer.from([0xff, 0xff]),
];
const RANGE_ENDS: readonly Buffer[] = [
  Buffer.from([0]),
  Buffer.from('a0'),
  Buffer.from('a/3'),
  Buffer.from('b'),
  Buffer.from('b0'),
  Buffer.from('k4'),
  Buffer.from('k9'),
  Buffer.from('z'),
  Buffer.from([0xff, 0xff]),
  Buffer.from([0, 0]),
];
/** Chosen by the client over all of int64. */
export const LEASE_IDS: readonly bigint[] = [1n, 2n, 3n, 77n, -1n, -5n, INT64_MAX, INT64_MIN, 2n ** 53n + 1n];
const TO_END = Buffer.from([0]);
const ALMOST_END = Buffer.from([0xff, 0xff, 0xff]);
const TXN_DEPTH_MAX = 3;
const TXN_OPS_MAX = 128;

export function key(random: Prng): Buffer {
  return random.chance(2) ? EMPTY : random.pick(KEYS);
}

/** Empty: one key. */
export function rangeEnd(random: Prng): Buffer {
  if (random.chance(45)) return EMPTY;
  return random.chance(80) ? random.pick(RANGE_ENDS) : random.pick(KEYS);
}

export function leaseId(random: Prng): bigint {
  return random.chance(10) ? 4711n : random.pick(LEASE_IDS);
}

/** A revision to watch from. A negative one is left out: etcd reads from it whatever another watch made it read. */
export function startRevision(random: Prng): FieldValue {
  const found = revision(random);
  return found instanceof Symbolic || BigInt(found as number | bigint) >= 0n ? found : 0;
}

/** A revision to read at. */
export function revision(random: Prng): FieldValue {
  const kind = random.below(20);
  if (kind < 10) return new Symbolic('revision', -random.below(30));
  if (kind < 13) return new Symbolic('compacted', random.below(3) - 1);
  if (kind < 15) return new Symbolic('revision', 1 + random.below(3));
  return random.pick<FieldValue>([0, 1, -1, -7, 1_000_000, INT64_MAX, INT64_MIN, 2n ** 53n]);
}

/**
 * As `readRange`, rarely with an order that nobody defined: etcd 3.4 takes it, 3.6 and we refuse. A sort target that
 * nobody defined ends etcd 3.4.
 */
export function range(random: Prng): Fields {
  const request = readRange(random);
  if (!random.chance(2)) return request;
  return { ...request, sort_order: random.pick([5, -1, 99]) };
}

function readRange(random: Prng): Fields {
  return {
    key: key(random),
    range_end: rangeEnd(random),
    ...maybe(random, 40, { limit: random.pick<FieldValue>([1, 1, 2, 3, 5, 100, -1, INT64_MAX, INT64_MIN]) }),
    ...maybe(random, 30, { revision: revision(random) }),
    ...maybe(random, 40, { sort_order: random.below(3) }),
    ...maybe(random, 40, { sort_target: random.below(5) }),
    ...maybe(random, 20, { serializable: true }),
    ...maybe(random, 20, { keys_only: true }),
    ...maybe(random, 10, { count_only: true }),
    ...maybe(random, 10, { min_mod_revision: bound(random) }),
    ...maybe(random, 10, { max_mod_revision: bound(random) }),
    ...maybe(random, 10, { min_create_revision: bound(random) }),
    ...maybe(random, 10, { max_create_revision: bound(random) }),
  };
}

function bound(random: Prng): FieldValue {
  if (random.chance(80)) return new Symbolic('revision', -random.below(40));
  return random.pick<FieldValue>([0, 1, -1, INT64_MAX, INT64_MIN]);
}

export function put(random: Prng): Fields {
  const ignoresValue = random.chance(6);
  const ignoresLease = random.chance(6);
  return {
    key: key(random),
    ...maybe(random, ignoresValue ? 10 : 95, { value: value(random) }),
    ...maybe(random, ignoresLease ? 10 : 25, { lease: leaseId(random) }),
    ...maybe(random, 30, { prev_kv: true }),
    ...(ignoresValue ? { ignore_value: true } : {}),
    ...(ignoresLease ? { ignore_lease: true } : {}),
  };
}

function value(random: Prng): Buffer {
  if (random.chance(90))
    return Buffer.from(random.pick(['', 'v', 'w', 'x1', 'x2', '\0', 'ÿ', 'longer value']));
  return Buffer.alloc(random.below(2_000), random.below(256));
}

export function deleteRange(random: Prng): Fields {
  return {
    key: key(random),
    range_end: random.chance(70) ? EMPTY : rangeEnd(random),
    ...maybe(random, 40, { prev_kv: true }),
  };
}

export function txn(random: Prng, depth = 1): Fields {
  return {
    compare: several(random, 3, () => compare(random)),
    success: several(random, 4, () => requestOp(random, depth)),
    failure: several(random, 3, () => requestOp(random, depth)),
  };
}

/** At the bound of operations and one beyond it, in each of the three lists or in a nested one. */
export function manyOps(random: Prng): Fields {
  const count = TXN_OPS_MAX + random.below(2);
  const ops = Array.from({ length: count }, (_, i) => ({
    request_put: { key: Buffer.from(`many/${String(i % 3)}${String(i)}`), value: Buffer.from('m') },
  }));
  const compares = ops.map((op) => ({ key: op.request_put.key, target: 0, result: 0, version: 0 }));
  const nested = { request_txn: { success: ops.slice(1) } };
  return random.pick<Fields>([
    { success: ops },
    { failure: ops },
    { compare: compares, success: ops.slice(0, 1) },
    { success: [nested] },
  ]);
}

/** Around the limits on a request and on a message. */
export function largePut(random: Prng): Fields {
  const bytes = random.pick([1_400_000, 1_560_000, 1_580_000, 2_080_000, 2_200_000]);
  return { key: Buffer.from('large'), value: Buffer.alloc(bytes, 1), prev_kv: random.chance(20) };
}

function requestOp(random: Prng, depth: number): Fields {
  const kind = random.below(100);
  if (kind < 35) return { request_put: put(random) };
  if (kind < 65) return { request_range: readRange(random) };
  if (kind < 84) return { request_delete_range: boundedDelete(random) };
  if (kind < 99 && depth < TXN_DEPTH_MAX) return { request_txn: txn(random, depth + 1) };
  return kind === 99 ? {} : { request_put: put(random) };
}

/** To the end of all keys etcd overlooks that a put beside it is deleted; we do not. */
function boundedDelete(random: Prng): Fields {
  const request = deleteRange(random);
  return TO_END.equals(request['range_end'] as Buffer) ? { ...request, range_end: ALMOST_END } : request;
}

function compare(random: Prng): Fields {
  const target = random.below(5);
  return {
    key: key(random),
    ...maybe(random, 25, { range_end: rangeEnd(random) }),
    target,
    result: random.below(4),
    // Sometimes the union holds what the target does not name, or nothing.
    ...maybe(random, 95, operand(random, random.chance(4) ? random.below(5) : target)),
  };
}

function operand(random: Prng, target: number): Fields {
  switch (target) {
    case 0:
      return { version: random.below(5) - 1 };
    case 1:
      return { create_revision: bound(random) };
    case 2:
      return { mod_revision: bound(random) };
    case 3:
      return { value: value(random) };
    default:
      return { lease: random.chance(40) ? 0 : leaseId(random) };
  }
}

export function maybe(random: Prng, percent: number, fields: Fields): Fields {
  return random.chance(percent) ? fields : {};
}

function several<T>(random: Prng, countMax: number, make: () => T): T[] {
  return Array.from({ length: random.below(countMax + 1) }, make);
}
