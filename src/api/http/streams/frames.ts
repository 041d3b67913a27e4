import { SharedBytes } from '../../../lib/shared-bytes.ts';
import { spellEnvironment } from '../../../service/environments/spelling.ts';
import { cursorText } from '../../../service/events/cursor.ts';
import type { ConfigurationEvent } from '../../../service/events/event.ts';
import { SHARED_EVENTS_BYTES_MAX } from './limits.ts';

/** A whole text message of a server (RFC 6455, 5.2): the same bytes for every client, since only clients mask. */
const TEXT_MESSAGE = 0x81;

/** Events as they go out, made once for all clients that take the same kind of stream. */
export class EventBytes {
  /** `configuration_updated` in a message of a WebSocket. */
  readonly messages = shared((event) => textMessage(JSON.stringify(event.payload)));
  /** 001's ConfigurationUpdate in one. */
  readonly updates = shared((event) => textMessage(JSON.stringify(updateOf(event))));
  /** `configuration_updated` among server-sent events. */
  readonly blocks = shared(({ payload }) =>
    Buffer.from(`id: ${payload.cursor}\nevent: configuration_updated\ndata: ${JSON.stringify(payload)}\n\n`),
  );
}

function shared(make: (event: ConfigurationEvent) => Buffer): SharedBytes<ConfigurationEvent> {
  return new SharedBytes(make, SHARED_EVENTS_BYTES_MAX);
}

/** 001's ConfigurationUpdate, with what REQUIREMENTS adds, and what there is to go on from. */
function updateOf(event: ConfigurationEvent) {
  const { environment, application, key } = event.name;
  return {
    config_key: key,
    old_value: event.oldValue,
    new_value: event.newValue,
    updated_by: event.updatedBy,
    reason: event.reason,
    rollback_available: event.rollbackAvailable,
    service_name: application,
    environment: spellEnvironment(environment, 'long'),
    version: event.version,
    type: event.type,
    timestamp: event.timestamp,
    event_id: event.id,
    revision: event.revision,
    cursor: cursorText(event.cursor),
  };
}

function textMessage(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = headOf(length);
  const message = Buffer.allocUnsafe(head.length + length);
  head.copy(message);
  message.write(text, head.length);
  return message;
}

function headOf(length: number): Buffer {
  if (length < 126) return Buffer.from([TEXT_MESSAGE, length]);
  if (length < 65_536) return Buffer.from([TEXT_MESSAGE, 126, length >> 8, length & 0xff]);
  const head = Buffer.alloc(10);
  head[0] = TEXT_MESSAGE;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}
