import { describe, expect, test } from 'vitest';
import { errorCode, frameFlag, frameType, PREFACE } from '../../../src/rpc/http2/protocol.ts';
import { ECHO, RawConnections, TAKE } from './fixture.ts';
import { frameBytes, headersBytes, requestFields } from './raw-client.ts';

const connections = new RawConnections();

const {
  data,
  headers,
  priority,
  rstStream,
  settings,
  pushPromise,
  ping,
  goaway,
  windowUpdate,
  continuation,
} = frameType;
const { ack, endHeaders, padded } = frameFlag;

/** @param payload its bytes, or how many zeros it has */
function frame(
  type: number,
  streamId: number,
  {
    flags = 0,
    payload = [],
  }: { readonly flags?: number; readonly payload?: readonly number[] | number } = {},
): Buffer {
  const bytes = typeof payload === 'number' ? Buffer.alloc(payload) : Buffer.from(payload);
  return frameBytes({ type, flags, streamId, payload: bytes });
}

/** What ends the connection, by the code that says so. */
const VIOLATIONS: Readonly<Partial<Record<keyof typeof errorCode, Readonly<Record<string, Buffer>>>>> = {
  protocolError: {
    'DATA without a stream': frame(data, 0),
    'DATA for a stream never opened': frame(data, 5),
    'HEADERS for an even stream': frame(headers, 2, { flags: endHeaders }),
    'HEADERS without a stream': frame(headers, 0, { flags: endHeaders }),
    'more padding than frame': frame(headers, 1, { flags: endHeaders | padded, payload: [9, 1] }),
    'CONTINUATION of nothing': frame(continuation, 1, { flags: endHeaders }),
    'PRIORITY without a stream': frame(priority, 0, { payload: 5 }),
    'RST_STREAM for a stream never opened': frame(rstStream, 7, { payload: 4 }),
    'SETTINGS with a stream': frame(settings, 1),
    'a frame size that cannot be': frame(settings, 0, { payload: [0, 5, 0, 0, 0, 1] }),
    'ENABLE_PUSH of 2': frame(settings, 0, { payload: [0, 2, 0, 0, 0, 2] }),
    PUSH_PROMISE: frame(pushPromise, 1, { flags: endHeaders }),
    'PING with a stream': frame(ping, 1, { payload: 8 }),
    'GOAWAY with a stream': frame(goaway, 1, { payload: 8 }),
    'WINDOW_UPDATE for a stream never opened': frame(windowUpdate, 9, { payload: [0, 0, 0, 1] }),
    'a window that grows by nothing': frame(windowUpdate, 0, { payload: 4 }),
    'a header block that another frame interrupts': Buffer.concat([
      headersBytes(1, requestFields(ECHO), 0),
      frame(ping, 0, { payload: 8 }),
    ]),
  },
  frameSizeError: {
    'HEADERS too short for its priority': frame(headers, 1, { flags: endHeaders | frameFlag.priority }),
    'padding that is missing': frame(headers, 1, { flags: endHeaders | padded }),
    'PRIORITY of another size': frame(priority, 1, { payload: 4 }),
    'RST_STREAM of another size': frame(rstStream, 1, { payload: 3 }),
    'SETTINGS cut short': frame(settings, 0, { payload: 5 }),
    'an acknowledgement that says something': frame(settings, 0, { flags: ack, payload: 6 }),
    'PING of another size': frame(ping, 0, { payload: 7 }),
    'WINDOW_UPDATE of another size': frame(windowUpdate, 0),
    'a frame larger than was allowed': frame(data, 1, { payload: 16_385 }),
  },
  compressionError: {
    'a malformed header block': frame(headers, 1, { flags: endHeaders, payload: [0x80] }),
  },
  flowControlError: {
    'a window that grows beyond what there can be': frame(windowUpdate, 0, {
      payload: [0x7f, 255, 255, 255],
    }),
    'windows of streams set to more than there can be': frame(settings, 0, {
      payload: [0, 4, 0x80, 0, 0, 0],
    }),
  },
};

describe('what breaks the protocol ends the connection with the code of RFC 9113', () => {
  test.each(
    Object.entries(VIOLATIONS).flatMap(([code, frames]) =>
      Object.entries(frames).map(
        ([what, bytes]) => [what, bytes, errorCode[code as keyof typeof errorCode]] as const,
      ),
    ),
  )('%s', async (_, bytes, code) => {
    const client = await connections.open();
    client.write(bytes);
    expect(await client.goaway()).toBe(code);
    await connections.expectServing();
  });

  test.each([
    ['a first frame that is not SETTINGS', Buffer.concat([PREFACE, headersBytes(1, requestFields(ECHO))])],
    ['a preface that is not quite one', Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n')],
  ])('%s', async (_, bytes) => {
    const client = await connections.dial();
    client.write(bytes);
    expect(await client.goaway()).toBe(errorCode.protocolError);
  });
});

describe('floods end their connection and harm nobody else', () => {
  const times = (count: number, bytes: (i: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => bytes(i)));
  const opened = headersBytes(1, requestFields(TAKE));
  const begun = headersBytes(1, requestFields(ECHO), 0);

  test.each<[string, Buffer]>([
    ['PING', times(40_000, () => frame(ping, 0, { payload: 8 }))],
    ['SETTINGS', times(40_000, () => frame(settings, 0))],
    ['PRIORITY', times(40_000, () => frame(priority, 1, { payload: 5 }))],
    ['WINDOW_UPDATE', times(40_000, () => frame(windowUpdate, 0, { payload: [0, 0, 0, 1] }))],
    ['unknown frames', times(40_000, () => frame(0xaa, 0))],
    ['empty DATA', Buffer.concat([opened, times(40_000, () => frame(data, 1))])],
    ['malformed requests', times(5_000, (i) => headersBytes(1 + 2 * i, [['a', 'b']]))],
    ['CONTINUATION (CVE-2024-27316)', Buffer.concat([begun, times(100, () => frame(continuation, 1))])],
    [
      'header fields sent',
      Buffer.concat([
        frame(headers, 1, { payload: 16_384 }),
        times(5, () => frame(continuation, 1, { payload: 16_384 })),
      ]),
    ],
    [
      // Each index stands for `:authority` and counts its overhead.
      'header fields meant',
      frame(headers, 1, { flags: endHeaders, payload: Array<number>(3_000).fill(0x81) }),
    ],
  ])('of %s', async (_, bytes) => {
    const client = await connections.open();
    client.write(bytes);
    expect(await client.goaway()).toBe(errorCode.enhanceYourCalm);
    await connections.expectServing();
  });

  test('of streams that are reset at once (CVE-2023-44487)', async () => {
    const client = await connections.open();
    const fields = requestFields(TAKE);
    client.write(
      times(5_000, (i) =>
        Buffer.concat([
          headersBytes(1 + 2 * i, fields),
          frame(rstStream, 1 + 2 * i, { payload: [0, 0, 0, 8] }),
        ]),
      ),
    );
    expect(await client.goaway()).toBe(errorCode.enhanceYourCalm);
    expect(connections.taking).toBeLessThan(2_100);
    await connections.expectServing();
  });
});
