import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { aborted } from '../../../src/lib/cancellation.ts';
import { STREAMS_PER_SLICE, Turns } from '../../../src/rpc/http2/turns.ts';
import { eventually } from '../../support/eventually.ts';
import { Harness } from '../harness.ts';
import { headersBytes, RawClient, requestFields } from './raw-client.ts';

test('everybody has a slice before anybody has two, and a turn ends', async () => {
  const turns = new Turns();
  const log: string[] = [];
  const work = (name: string, slices: number): void => {
    log.push(name);
    for (let i = 0; i < STREAMS_PER_SLICE; i++) turns.count();
    if (slices > 1) turns.wait(() => work(name, slices - 1));
  };
  const names = Array.from({ length: 12 }, (_, i) => `${i}`);
  for (const name of names) turns.wait(() => work(name, 3));
  await setImmediate();
  expect(log).toHaveLength(4);
  expect(turns.isOver).toBe(true);
  for (let turn = 0; turn < 9; turn++) await setImmediate();
  expect(log).toEqual([...names, ...names, ...names]);
  expect(turns.isOver).toBe(false);
});

test('streams that begin or end by the thousand leave room for others', async () => {
  await using harness = await new Harness().start();
  let open = 0;
  let longest = 0;
  let inOneTurn = 0;
  let turn = 0;
  const counted = (): void => {
    inOneTurn += 1;
    longest = Math.max(longest, inOneTurn);
    turn ||= Number(
      globalThis.setImmediate(() => {
        turn = 0;
        inOneTurn = 0;
      }),
    );
  };
  harness.server.bidi('/t.S/Stay', async (_requests, call) => {
    open += 1;
    counted();
    await aborted(call.signal);
    open -= 1;
    counted();
  });
  const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.open(harness.portNumber)));
  const fields = requestFields('/t.S/Stay');
  const bytes = Buffer.concat(Array.from({ length: 1_500 }, (_, i) => headersBytes(1 + 2 * i, fields)));
  for (const client of clients) client.write(bytes);
  await eventually('all of them', () => open === 6_000 || undefined);
  for (const client of clients) client.destroy();
  await eventually('their end', () => open === 0 || undefined);
  // What was counted just before a turn ends adds to the next one's.
  expect(longest).toBeLessThanOrEqual(2 * 256);
  expect(harness.server.callFigures.open).toBe(0);
});
