/** What a load wants to know of a `WatchResponse`, read without decoding the rest. */
export interface WatchMessage {
  readonly created: boolean;
  readonly canceled: boolean;
  /** Of each event, in order; views of the message. */
  readonly values: readonly Buffer[];
}

/** Field numbers of etcdserverpb.WatchResponse, mvccpb.Event and mvccpb.KeyValue. */
const CREATED = 3;
const CANCELED = 4;
const EVENTS = 11;
const EVENT_KV = 2;
const KV_VALUE = 5;

const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;

/** Ten thousand watchers hear of each change: a whole decoder would be what is measured. @throws Error when malformed */
export function readWatchMessage(message: Buffer): WatchMessage {
  let created = false;
  let canceled = false;
  const values: Buffer[] = [];
  eachField(message, (field, value) => {
    if (field === CREATED) created = value === 1;
    else if (field === CANCELED) canceled = value === 1;
    else if (field === EVENTS) values.push(valueOf(value as Buffer));
  });
  return { created, canceled, values };
}

function valueOf(event: Buffer): Buffer {
  let value: Buffer = Buffer.alloc(0);
  eachField(event, (field, kv) => {
    if (field !== EVENT_KV) return;
    eachField(kv as Buffer, (kvField, bytes) => {
      if (kvField === KV_VALUE) value = bytes as Buffer;
    });
  });
  return value;
}

/** Fields of fixed width are passed over. */
function eachField(message: Buffer, take: (field: number, value: number | Buffer) => void): void {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new Error('a message ends within a number');
      value += (byte & 0x7f) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    const type = key & 7;
    if (type === VARINT) take(key >>> 3, varint());
    else if (type === BYTES) {
      const end = varint() + at;
      if (end > message.length) throw new Error('a message ends within a field');
      take(key >>> 3, message.subarray(at, end));
      at = end;
    } else if (type === FIXED_64) at += 8;
    else if (type === FIXED_32) at += 4;
    else throw new Error('a field of an unknown kind');
  }
}
