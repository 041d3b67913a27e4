import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Unread, UnreadBudget } from '../../src/lib/unread-budget.ts';
import { setting } from '../../src/rpc/http2/protocol.ts';
import { eventually } from '../support/eventually.ts';
import { Harness } from './harness.ts';
import { headersBytes, RawClient, requestFields } from './http2/raw-client.ts';

const MIB = 1024 * 1024;

test('beyond the bound those end for whom most waits, and no more than it takes', async () => {
  const told: number[] = [];
  const budget = new UnreadBudget({ bytesMax: 100, onEnd: (bytes) => told.push(bytes) });
  const ended: string[] = [];
  const open = (name: string, bytes: number): Unread => {
    const client = budget.open(() => ended.push(name));
    client.add(bytes);
    return client;
  };
  open('small', 10);
  open('large', 50);
  open('middle', 40);
  await setImmediate();
  expect(ended).toEqual([]);
  open('next', 45);
  await setImmediate();
  expect(ended).toEqual(['large']);
  expect(budget.figures).toEqual({ bytes: 95, ended: 1 });
  expect(told).toEqual([50]);
});

test('what is taken in the same turn never counts', async () => {
  const budget = new UnreadBudget({ bytesMax: 100 });
  const client = budget.open(() => expect.unreachable('it reads'));
  client.add(1_000);
  client.add(-950);
  await setImmediate();
  client.close();
  expect(budget.figures).toEqual({ bytes: 0, ended: 0 });
});

test('connections that do not read are ended, those that do are served, and all memory is given back', async () => {
  const unread = new UnreadBudget({ bytesMax: 20 * MIB });
  await using harness = await new Harness({ unread }).start();
  harness.server.unary('/t.S/Large', async () => Buffer.alloc(MIB));
  harness.server.serverStream('/t.S/Flood', async (_request, _call, out) => {
    while (out.writable) out.write(Buffer.alloc(1_000));
    await new Promise(() => undefined);
  });
  const reader = await RawClient.open(harness.portNumber);
  const idle = await Promise.all(
    Array.from({ length: 6 }, () => RawClient.open(harness.portNumber, [[setting.initialWindowSize, 0]])),
  );
  for (const [index, client] of idle.entries()) {
    for (let i = 0; i < 5 - (index % 2); i++) client.call(1 + 2 * i, '/t.S/Large');
    await client.handled();
  }
  await eventually('an end', () => unread.figures.ended > 0 || undefined);
  expect(unread.figures.bytes).toBeLessThanOrEqual(20 * MIB);
  // Those with the most, and only them.
  await eventually('the end of it', () => idle.some((client) => client.closed) || undefined);
  for (const client of idle.filter((_, index) => index % 2 === 1)) expect(client.closed).toBe(false);
  // Streams count as well.
  for (let i = 0; i < 40; i++) {
    idle[1]!.write(headersBytes(101 + 2 * i, requestFields('/t.S/Flood'), 5));
    idle[1]!.call(201 + 2 * i, '/t.S/Large');
  }
  await idle[1]!.ended();
  reader.call(1, '/t.S/Large');
  reader.windowUpdate(0, 2 * MIB);
  reader.windowUpdate(1, 2 * MIB);
  expect((await reader.answer(1)).data).toHaveLength(MIB + 5);
  for (const client of idle) client.destroy();
  await eventually('memory', () => unread.figures.bytes === 0 || undefined);
  reader.destroy();
  expect(harness.bugs).toEqual([]);
});

test('what the system does not take from the socket counts, too', async () => {
  const unread = new UnreadBudget({ bytesMax: 100 * MIB });
  await using harness = await new Harness({ unread }).start();
  harness.server.unary('/t.S/Large', async () => Buffer.alloc(16 * MIB));
  const client = await RawClient.open(harness.portNumber, [[setting.initialWindowSize, 2 ** 31 - 1]]);
  client.windowUpdate(0, 2 ** 30);
  client.pause();
  client.call(1, '/t.S/Large');
  await eventually('some of it', () => unread.figures.bytes > 8 * MIB || undefined);
  client.resume();
  await client.answer(1);
  await eventually('all taken', () => unread.figures.bytes === 0 || undefined);
  client.destroy();
});
