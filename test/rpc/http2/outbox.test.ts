import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Outbox } from '../../../src/rpc/http2/outbox.ts';

/** A socket that takes everything at once, or nothing until it is told to. */
function socketOf(taking: { now: boolean }): { readonly socket: Writable; readonly written: Buffer[] } {
  const written: Buffer[] = [];
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done): void {
      written.push(Buffer.from(chunk));
      if (taking.now) done();
    },
  });
  return { socket, written };
}

/** Pieces that tell their place by their bytes. */
function fill(outbox: Outbox, pieces: number, bytes: number): Buffer {
  const all: Buffer[] = [];
  for (let piece = 0; piece < pieces; piece++) {
    const start = outbox.reserve(bytes);
    outbox.room.fill(piece % 251, start, start + bytes);
    all.push(Buffer.alloc(bytes, piece % 251));
  }
  return Buffer.concat(all);
}

test('few bytes are written when the turn is over, in one piece', async () => {
  const { socket, written } = socketOf({ now: true });
  const expected = fill(new Outbox(socket), 10, 100);
  expect(written).toEqual([]);
  await turn();
  expect(written).toHaveLength(1);
  expect(written[0]!.equals(expected)).toBe(true);
});

test('many bytes are on their way before the turn is over', async () => {
  const { socket, written } = socketOf({ now: true });
  const expected = fill(new Outbox(socket), 1_000, 300);
  expect(written.length).toBeGreaterThan(2);
  await turn();
  expect(Buffer.concat(written).equals(expected)).toBe(true);
});

test('a socket that does not take what was written is given no more', async () => {
  const { socket, written } = socketOf({ now: false });
  const outbox = new Outbox(socket);
  fill(outbox, 1_000, 300);
  await turn();
  expect(written).toHaveLength(1);
  expect(outbox.backlogBytes).toBe(300_000);
});
