import type { Row } from '../../core/mvcc/row.ts';
import type { WatchEvent } from '../../core/watch/delivery.ts';
import type { Header } from '../../member/client-calls.ts';
import { codec } from '../../rpc/codec.ts';
import { Event_EventType as EventType, type KeyValue } from '../../rpc/generated/mvccpb/kv.ts';
import { headerField, watchBytes } from './small-answers.ts';
import { wireInteger, wireKeyValue } from './translate.ts';

const eventCodec = codec('mvccpb.Event');

/** `WatchResponse.events`, field 11, length-delimited: (11 << 3) | 2. */
const EVENTS_TAG = 0x5a;
/** A varint of 32 bits. */
const LENGTH_BYTES_MAX = 5;

const encodedEvents = new WeakMap<WatchEvent, Buffer>();
/** Of the last delivery: those of one revision all have the same. */
let lastHeader: { readonly header: Header; readonly bytes: Buffer } | null = null;

/**
 * Encodes events as one message, or as several when together they exceed `bytesMax`: all but the last are then
 * marked as fragments. An event that alone exceeds it is a message of its own. Each event is encoded once, however
 * many watchers it goes to.
 *
 * @param bytesMax Infinity: never split
 */
export function encodeEvents(
  response: { readonly header: Header; readonly watchId: bigint },
  events: readonly WatchEvent[],
  bytesMax: number,
): Buffer[] {
  const header = encodedHeader(response.header);
  const { watchId } = response;
  const encoded = events.map(encodedEvent);
  const groups = bytesMax === Number.POSITIVE_INFINITY ? [encoded] : split(encoded, bytesMax);
  return groups.map((group, index) =>
    watchBytes({ header, watchId, fragment: index < groups.length - 1, events: group }),
  );
}

function split(encoded: readonly Buffer[], bytesMax: number): Buffer[][] {
  let group: Buffer[] = [];
  let groupBytes = 0;
  const groups = [group];
  for (const bytes of encoded) {
    if (group.length > 0 && groupBytes + bytes.length > bytesMax) {
      group = [];
      groupBytes = 0;
      groups.push(group);
    }
    group.push(bytes);
    groupBytes += bytes.length;
  }
  return groups;
}

function encodedHeader(header: Header): Buffer {
  const last = lastHeader?.header;
  const isLast =
    last !== undefined &&
    last.revision === header.revision &&
    last.raftTerm === header.raftTerm &&
    last.memberId === header.memberId &&
    last.clusterId === header.clusterId;
  if (lastHeader === null || !isLast) lastHeader = { header, bytes: headerField(header) };
  return lastHeader.bytes;
}

/** The event as it stands in the response: tag, length, message. */
function encodedEvent(event: WatchEvent): Buffer {
  let bytes = encodedEvents.get(event);
  if (bytes === undefined) {
    bytes = framed(encodeEvent(event));
    encodedEvents.set(event, bytes);
  }
  return bytes;
}

function encodeEvent({ event, prevKv }: WatchEvent): Buffer {
  return eventCodec.encode({
    type: event.type === 'put' ? EventType.PUT : EventType.DELETE,
    kv: rowKeyValue(event.row),
    prev_kv: prevKv === null ? null : wireKeyValue(prevKv),
  });
}

/** Of a tombstone only the key and the revision of the deletion are left. */
function rowKeyValue(row: Row): KeyValue {
  return {
    key: row.key,
    create_revision: row.createRevision,
    mod_revision: row.main,
    version: row.version,
    value: row.value,
    lease: wireInteger(row.lease),
  };
}

function framed(message: Buffer): Buffer {
  const head = Buffer.allocUnsafe(1 + LENGTH_BYTES_MAX);
  let at = 0;
  head[at++] = EVENTS_TAG;
  let length = message.length;
  for (; length > 0x7f; length >>>= 7) head[at++] = (length & 0x7f) | 0x80;
  head[at++] = length;
  return Buffer.concat([head.subarray(0, at), message]);
}
