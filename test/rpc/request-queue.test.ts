import { expect, test } from 'vitest';
import { RequestQueue, WAITING_MESSAGE_BYTES } from '../../src/rpc/request-queue.ts';
import { eventually } from '../support/eventually.ts';
import { Harness } from './harness.ts';
import { headersBytes, prefixed, RawClient, requestFields } from './http2/raw-client.ts';

test('messages of no size fill it, too, and are given back as they are taken', async () => {
  const told: string[] = [];
  let givenBytes = 0;
  const queue = new RequestQueue({
    onFull: () => told.push('full'),
    onDrain: () => told.push('drain'),
    onTaken: (bytes) => (givenBytes += bytes),
  });
  const count = Math.ceil((1024 * 1024) / WAITING_MESSAGE_BYTES) + 1;
  for (let i = 0; i < count; i++) queue.push(Buffer.alloc(0));
  expect(told).toContain('full');
  queue.end();
  let taken = 0;
  for await (const message of queue) taken += 1 + message.length;
  expect(taken).toBe(count);
  expect(told.filter((word) => word === 'drain')).toEqual(['drain']);
  expect(givenBytes).toBe(count * WAITING_MESSAGE_BYTES);
});

test('what waits for a handler is counted by what it takes, not by its size alone', async () => {
  await using harness = await new Harness().start();
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  harness.server.bidi('/t.S/Slow', async (requests) => {
    await gate;
    for await (const _ of requests);
  });
  const client = await RawClient.open(harness.portNumber);
  client.write(headersBytes(1, requestFields('/t.S/Slow')));
  const messages = Buffer.concat(Array.from({ length: 1_000 }, () => prefixed(Buffer.alloc(0))));
  client.send({ type: 0, flags: 0, streamId: 1, payload: messages });
  await client.handled();
  expect(harness.server.callFigures.heldBytes).toBeGreaterThan(1_000 * WAITING_MESSAGE_BYTES);
  go();
  await eventually('them taken', () => harness.server.callFigures.heldBytes < 20_000 || undefined);
  client.destroy();
});
