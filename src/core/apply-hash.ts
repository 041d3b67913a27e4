import { LaneHash } from './lane-hash.ts';
import type { KeyValue, ResponseOp } from './mvcc/operations.ts';
import type { SetHash } from './mvcc/row.ts';
import type { CommandResult, Outcome } from './outcome.ts';
import type { Entry } from './raft/messages.ts';

/** The hash of a state to which nothing was applied. */
export const APPLY_HASH_START: SetHash = { a: 0, b: 0 };

/**
 * The next link of the running hash (RELIABILITY 4.5): over what was applied so far, the entry, and what came of it.
 * Members that compare it at an equal index find the first entry they disagree on.
 */
export function nextApplyHash(
  hash: SetHash,
  applied: { readonly entry: Entry; readonly outcome: Outcome; readonly revision: number },
): SetHash {
  const { entry, outcome, revision } = applied;
  const lanes = new LaneHash(hash)
    .word(hash.a)
    .word(hash.b)
    .integer(entry.index)
    .integer(entry.term)
    .name(entry.kind)
    .bytes(entry.data)
    .integer(revision);
  if (outcome.ok) {
    mixResult(lanes, outcome.result);
  } else {
    lanes.word(-1).name(outcome.code);
  }
  return lanes.digest();
}

function mixResult(lanes: LaneHash, result: CommandResult): void {
  lanes.name(result.type);
  switch (result.type) {
    case 'put':
    case 'delete-range':
    case 'txn':
      mixResponse(lanes, result);
      return;
    case 'lease-grant':
      lanes.int64(result.id).integer(result.ttlSeconds);
      return;
    case 'lease-expire':
      lanes.word(result.revoked.length);
      for (const id of result.revoked) lanes.int64(id);
      return;
    case 'alarm':
      lanes.word(result.alarms.length);
      for (const { member, alarm } of result.alarms) lanes.integer(member).name(alarm);
      return;
    case 'member':
      lanes.integer(result.id);
      return;
    case 'authenticate':
      lanes.integer(result.authRevision);
      return;
    case 'auth':
    case 'none':
    case 'compact':
    case 'lease-revoke':
    case 'lease-checkpoint':
      return;
  }
}

function mixResponse(lanes: LaneHash, response: ResponseOp): void {
  lanes.name(response.type).integer(response.revision);
  switch (response.type) {
    case 'put':
      mixKeyValues(lanes, response.prevKv === null ? [] : [response.prevKv]);
      return;
    case 'delete-range':
      lanes.integer(response.deleted);
      mixKeyValues(lanes, response.prevKvs);
      return;
    case 'range':
      lanes.integer(response.count).word(response.more ? 1 : 0);
      mixKeyValues(lanes, response.kvs);
      return;
    case 'txn':
      lanes.word(response.succeeded ? 1 : 0).word(response.responses.length);
      for (const each of response.responses) mixResponse(lanes, each);
      return;
  }
}

/** A key and its revisions name a row; its bytes are in the row set hash. */
function mixKeyValues(lanes: LaneHash, kvs: readonly KeyValue[]): void {
  lanes.word(kvs.length);
  for (const kv of kvs) {
    lanes
      .bytes(kv.key)
      .integer(kv.modRevision)
      .integer(kv.createRevision)
      .integer(kv.version)
      .int64(kv.lease);
  }
}
