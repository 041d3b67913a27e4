import { randomBytes } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  DEFLATE_BYTES_MAX,
  DEFLATE_BYTES_MIN,
  deflateFrame,
  inflateFrame,
  isDeflatable,
} from '../../../src/member/transport/deflate.ts';
import { encodeFrame, type Frame, frameKinds, ProtocolError } from '../../../src/member/transport/frame.ts';
import { Inbox } from '../../../src/member/transport/inbox.ts';

const TEXT = Buffer.from('{"owner":"team-7","enabled":true}'.repeat(2_000));

function payloadOf({ parts }: Frame): Buffer {
  return Buffer.concat(parts).subarray(5);
}

async function deflated(kind: 5 | 7, payload: Buffer): Promise<Buffer> {
  const frame = await deflateFrame(encodeFrame(kind, payload));
  if (frame === null) throw new Error('not worth it');
  return payloadOf(frame);
}

/** A deflated frame that says of itself what it likes. */
function forged(announced: { readonly kind: number; readonly sizeBytes: number }, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head[0] = announced.kind;
  head.writeUInt32BE(announced.sizeBytes, 1);
  return Buffer.concat([head, body]);
}

describe('a deflated frame', () => {
  test('is inflated to the same kind and payload, whatever parts it was made of', async () => {
    const parts = [TEXT.subarray(0, 20_000), TEXT.subarray(20_000, 20_010), TEXT.subarray(20_010)];
    const frame = await deflateFrame(encodeFrame(frameKinds.append, ...parts));
    expect(frame?.sizeBytes).toBeLessThan(TEXT.length / 4);
    expect(Buffer.concat(frame!.parts)[4]).toBe(frameKinds.deflated);
    expect(await inflateFrame(payloadOf(frame!))).toEqual({ kind: frameKinds.append, payload: TEXT });
  });

  test('is not made of what hardly becomes smaller, nor of what is short or very long', async () => {
    expect(await deflateFrame(encodeFrame(frameKinds.append, randomBytes(20_000)))).toBeNull();
    const ofBytes = (bytes: number): Frame => ({ parts: [], sizeBytes: bytes + 5 });
    expect(isDeflatable(ofBytes(DEFLATE_BYTES_MIN - 1))).toBe(false);
    expect(isDeflatable(ofBytes(DEFLATE_BYTES_MIN))).toBe(true);
    expect(isDeflatable(ofBytes(DEFLATE_BYTES_MAX))).toBe(true);
    expect(isDeflatable(ofBytes(DEFLATE_BYTES_MAX + 1))).toBe(false);
  });

  test('that holds more or less than it announces is refused', async () => {
    const body = deflateRawSync(TEXT);
    const kind = frameKinds.append;
    for (const sizeBytes of [TEXT.length - 1, TEXT.length + 1, DEFLATE_BYTES_MIN, DEFLATE_BYTES_MAX]) {
      await expect(inflateFrame(forged({ kind, sizeBytes }, body))).rejects.toThrow(ProtocolError);
    }
    const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024));
    await expect(inflateFrame(forged({ kind, sizeBytes: 5_000 }, bomb))).rejects.toThrow(ProtocolError);
  });

  test('of a size that is never deflated, cut short, in another one or no deflated bytes at all is refused', async () => {
    const body = deflateRawSync(TEXT);
    const kind = frameKinds.append;
    for (const payload of [
      forged({ kind, sizeBytes: DEFLATE_BYTES_MIN - 1 }, deflateRawSync(Buffer.alloc(DEFLATE_BYTES_MIN - 1))),
      forged({ kind, sizeBytes: DEFLATE_BYTES_MAX + 1 }, body),
      forged({ kind, sizeBytes: TEXT.length }, body.subarray(0, body.length / 2)),
      forged({ kind, sizeBytes: TEXT.length }, TEXT),
      forged({ kind: frameKinds.deflated, sizeBytes: TEXT.length }, body),
      Buffer.of(5, 0, 0, 0),
    ]) {
      await expect(inflateFrame(payload)).rejects.toThrow(ProtocolError);
    }
  });
});

describe('an inbox', () => {
  function open(options: { readonly onFrame?: (payload: Buffer) => void } = {}) {
    const seen: string[] = [];
    let resolve: (outcome: unknown) => void = () => {};
    const ended = new Promise<unknown>((settle) => {
      resolve = settle;
    });
    const holds: boolean[] = [];
    const inbox = new Inbox({
      frame: (kind, payload) => {
        options.onFrame?.(payload);
        seen.push(`${kind}:${payload.length}`);
      },
      caughtUp: () => resolve('caught up'),
      holdBack: (hold) => holds.push(hold),
      failed: resolve,
    });
    return { inbox, seen, ended, holds };
  }

  test('gives frames in the order of their arrival, deflated ones among them', async () => {
    const { inbox, seen, ended } = open();
    const [first, second] = [await deflated(5, TEXT), await deflated(7, TEXT.subarray(0, 9_000))];
    inbox.take(frameKinds.ping, Buffer.alloc(4));
    expect(seen).toEqual(['6:4']);
    const borrowed = Buffer.alloc(10, 1);
    inbox.take(frameKinds.deflated, first);
    inbox.take(frameKinds.messages, borrowed);
    borrowed.fill(9);
    inbox.take(frameKinds.deflated, second);
    inbox.take(frameKinds.ping, Buffer.alloc(3));
    expect(seen).toEqual(['6:4']);
    expect(await ended).toBe('caught up');
    expect(seen).toEqual(['6:4', `5:${TEXT.length}`, '4:10', '7:9000', '6:3']);
  });

  test('keeps what waits as it was, and holds the sender back when that is much', async () => {
    const payloads: Buffer[] = [];
    const { inbox, ended, holds } = open({ onFrame: (payload) => payloads.push(payload) });
    inbox.take(frameKinds.deflated, await deflated(5, TEXT));
    const borrowed = Buffer.alloc(600 * 1024, 1);
    inbox.take(frameKinds.append, borrowed);
    expect(holds).toEqual([]);
    inbox.take(frameKinds.append, borrowed);
    borrowed.fill(9);
    expect(holds).toEqual([true]);
    await ended;
    expect(holds.at(-1)).toBe(false);
    expect(payloads.slice(1).every((payload) => payload.every((byte) => byte === 1))).toBe(true);
  });

  test('ends at the first frame that cannot be inflated', async () => {
    const { inbox, seen, ended } = open();
    expect(() => inbox.take(frameKinds.deflated, Buffer.alloc(30))).toThrow(ProtocolError);
    const spoiled = Buffer.from(await deflated(5, TEXT)).fill(0xff, 20);
    inbox.take(frameKinds.deflated, spoiled);
    inbox.take(frameKinds.ping, Buffer.alloc(4));
    expect(await ended).toBeInstanceOf(ProtocolError);
    expect(seen).toEqual([]);
  });

  test('gives nothing after it was closed', async () => {
    const { inbox, seen } = open();
    const frame = await deflated(5, TEXT);
    inbox.take(frameKinds.deflated, frame);
    inbox.close();
    // What runs behind it shows that its turn has passed.
    await inflateFrame(frame);
    await inflateFrame(frame);
    expect(seen).toEqual([]);
  });
});
