import type { KeyValue, PutResult, RangeResult } from '../../core/mvcc/operations.ts';
import type { Header } from '../../member/client-calls.ts';

/**
 * The answers of the most frequent calls as bytes, put together by hand: the codec makes a message of every result
 * first, then a list of things to write, and that was more garbage than all else that an answer takes. The bytes are
 * those of the codec.
 */

const LENGTH_DELIMITED = 2;
const tag = (field: number, wire = 0): number => (field << 3) | wire;

/** Fields of etcd's messages; all numbers are below 16, so that each tag is one byte. */
const HEADER = {
  clusterId: tag(1),
  memberId: tag(2),
  revision: tag(3),
  raftTerm: tag(4),
};
const KEY_VALUE = {
  key: tag(1, LENGTH_DELIMITED),
  createRevision: tag(2),
  modRevision: tag(3),
  version: tag(4),
  value: tag(5, LENGTH_DELIMITED),
  lease: tag(6),
};
const RANGE = {
  header: tag(1, LENGTH_DELIMITED),
  kvs: tag(2, LENGTH_DELIMITED),
  more: tag(3),
  count: tag(4),
};
const PUT = { header: tag(1, LENGTH_DELIMITED), prevKv: tag(2, LENGTH_DELIMITED) };
const WATCH = { header: tag(1, LENGTH_DELIMITED), watchId: tag(2), fragment: tag(7) };

/** An `etcdserverpb.RangeResponse`, all at once: for answers that are not large. */
export function rangeBytes(result: RangeResult, header: Header): Buffer {
  const headLength = headerLength(header);
  let length = messageLength(headLength) + numberLength(result.count) + (result.more ? 2 : 0);
  for (const kv of result.kvs) length += messageLength(keyValueLength(kv));
  const out = new Output(length);
  out.length(RANGE.header, headLength);
  writeHeader(out, header);
  for (const kv of result.kvs) {
    out.length(RANGE.kvs, keyValueLength(kv));
    writeKeyValue(out, kv);
  }
  if (result.more) out.number(RANGE.more, 1);
  out.number(RANGE.count, result.count);
  return out.bytes;
}

/** An `etcdserverpb.PutResponse`. */
export function putBytes({ prevKv }: PutResult, header: Header): Buffer {
  const headLength = headerLength(header);
  const kvLength = prevKv === null ? 0 : messageLength(keyValueLength(prevKv));
  const out = new Output(messageLength(headLength) + kvLength);
  out.length(PUT.header, headLength);
  writeHeader(out, header);
  if (prevKv !== null) {
    out.length(PUT.prevKv, keyValueLength(prevKv));
    writeKeyValue(out, prevKv);
  }
  return out.bytes;
}

/**
 * An `etcdserverpb.WatchResponse` without refusals.
 *
 * @param response.header its field, from `headerField`: the same for all watches of a revision
 * @param response.events their fields, whole, which come last
 */
export function watchBytes(response: {
  readonly header: Buffer;
  readonly watchId: bigint;
  readonly fragment: boolean;
  readonly events: readonly Buffer[];
}): Buffer {
  const { header, watchId, fragment, events } = response;
  let length = header.length + int64Length(watchId) + (fragment ? 2 : 0);
  for (const event of events) length += event.length;
  const out = new Output(length);
  out.raw(header);
  out.int64(WATCH.watchId, watchId);
  if (fragment) out.number(WATCH.fragment, 1);
  for (const event of events) out.raw(event);
  return out.bytes;
}

/** The header of any answer, as the field that it is. */
export function headerField(header: Header): Buffer {
  const length = headerLength(header);
  const out = new Output(messageLength(length));
  out.length(WATCH.header, length);
  writeHeader(out, header);
  return out.bytes;
}

function headerLength({ clusterId, memberId, revision, raftTerm }: Header): number {
  return numberLength(clusterId) + numberLength(memberId) + numberLength(revision) + numberLength(raftTerm);
}

function writeHeader(out: Output, header: Header): void {
  out.number(HEADER.clusterId, header.clusterId);
  out.number(HEADER.memberId, header.memberId);
  out.number(HEADER.revision, header.revision);
  out.number(HEADER.raftTerm, header.raftTerm);
}

function keyValueLength({ key, createRevision, modRevision, version, value, lease }: KeyValue): number {
  return (
    (key.length === 0 ? 0 : messageLength(key.length)) +
    numberLength(createRevision) +
    numberLength(modRevision) +
    numberLength(version) +
    (value.length === 0 ? 0 : messageLength(value.length)) +
    int64Length(lease)
  );
}

function writeKeyValue(out: Output, kv: KeyValue): void {
  out.blob(KEY_VALUE.key, kv.key);
  out.number(KEY_VALUE.createRevision, kv.createRevision);
  out.number(KEY_VALUE.modRevision, kv.modRevision);
  out.number(KEY_VALUE.version, kv.version);
  out.blob(KEY_VALUE.value, kv.value);
  out.int64(KEY_VALUE.lease, kv.lease);
}

// ---- lengths of fields, their tags included; a default takes nothing --------------------------------------------

function messageLength(length: number): number {
  return 1 + varintLength(length) + length;
}

function numberLength(value: number): number {
  return value === 0 ? 0 : 1 + varintLength(value);
}

/** What is a number without loss is written as one. */
const SMALL_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** @param value any int64; negative ones take ten bytes */
function int64Length(value: bigint): number {
  if (value === 0n) return 0;
  if (value > 0n && value <= SMALL_MAX) return 1 + varintLength(Number(value));
  let length = 2;
  for (let rest = BigInt.asUintN(64, value); rest > 0x7fn; rest >>= 7n) length += 1;
  return length;
}

/** @param value a natural number up to 2^53 */
function varintLength(value: number): number {
  let length = 1;
  let rest = value;
  for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 0x80)) length += 1;
  for (; rest > 0x7f; rest >>>= 7) length += 1;
  return length;
}

/** Bytes of a known length, filled from the first to the last. */
class Output {
  readonly bytes: Buffer;
  #at = 0;

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafe(length);
  }

  length(head: number, length: number): void {
    this.bytes[this.#at++] = head;
    this.#varint(length);
  }

  number(head: number, value: number): void {
    if (value === 0) return;
    this.bytes[this.#at++] = head;
    this.#varint(value);
  }

  int64(head: number, value: bigint): void {
    if (value > 0n && value <= SMALL_MAX) return this.number(head, Number(value));
    if (value === 0n) return;
    this.bytes[this.#at++] = head;
    let rest = BigInt.asUintN(64, value);
    for (; rest > 0x7fn; rest >>= 7n) this.bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.bytes[this.#at++] = Number(rest);
  }

  blob(head: number, value: Buffer): void {
    if (value.length === 0) return;
    this.length(head, value.length);
    this.raw(value);
  }

  raw(bytes: Buffer): void {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 0x80)) this.bytes[this.#at++] = (rest % 0x80) | 0x80;
    for (; rest > 0x7f; rest >>>= 7) this.bytes[this.#at++] = (rest & 0x7f) | 0x80;
    this.bytes[this.#at++] = rest;
  }
}
