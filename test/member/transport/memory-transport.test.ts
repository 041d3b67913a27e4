import { expect, test } from 'vitest';
import { systemClock } from '../../../src/member/system.ts';
import { MemoryNetwork } from '../../../src/member/transport/memory-network.ts';
import { MemoryTransport } from '../../../src/member/transport/memory-transport.ts';
import { transportContract } from '../../contract/transport.ts';
import { append, heartbeat, never, seededRandom, TestMember } from './cast.ts';

transportContract('the memory twin', () => {
  const network = new MemoryNetwork({ clock: systemClock });
  let next = 0;
  const createAt = (urls: readonly string[]): MemoryTransport => new MemoryTransport(network, urls);
  return { createAt, create: () => createAt([`http://member-${next++}:2380`]) };
});

async function connect(network: MemoryNetwork, count: number): Promise<TestMember[]> {
  const members: TestMember[] = [];
  for (let memberId = 1; memberId <= count; memberId++) {
    const transport = new MemoryTransport(network, [`http://member-${memberId}:2380`]);
    members.push(await new TestMember(transport, { memberId }).start());
  }
  for (const member of members) member.knows(...members);
  return members;
}

test('without a clock nothing arrives until it is delivered, then in the order it was sent', async () => {
  const network = new MemoryNetwork();
  const [a, b] = await connect(network, 2);
  a!.transport.send([heartbeat(1, 2, 1)]);
  b!.transport.send([heartbeat(2, 1, 2)]);
  a!.transport.send([append(1, 2)]);
  expect(network.pendingCount).toBe(3);
  expect(network.deliver(1)).toBe(1);
  expect([a!.received.length, b!.received.length]).toEqual([0, 1]);
  expect(network.deliver()).toBe(2);
  expect(b!.received).toEqual([heartbeat(1, 2, 1), append(1, 2)]);
  expect(a!.received).toEqual([heartbeat(2, 1, 2)]);
});

test('a cut of one direction leaves the other open', async () => {
  const network = new MemoryNetwork();
  const [a, b] = await connect(network, 2);
  a!.transport.send([heartbeat(1, 2, 1)]);
  network.cut({ from: 1, to: 2 });
  a!.transport.send([heartbeat(1, 2, 2)]);
  b!.transport.send([heartbeat(2, 1, 3)]);
  network.deliver();
  expect(b!.received).toEqual([]);
  expect(a!.received).toEqual([heartbeat(2, 1, 3)]);
  expect(a!.unreachable).toEqual([2]);
  expect(a!.transport.connected(2)).toBe(false);
  network.heal({ from: 1, to: 2 });
  a!.transport.send([heartbeat(1, 2, 4)]);
  network.deliver();
  expect(b!.received).toEqual([heartbeat(1, 2, 4)]);
});

test('a bridge: both sides reach the middle, not each other', async () => {
  const network = new MemoryNetwork();
  const [a, b, c] = await connect(network, 3);
  network.partition([1], [3]);
  a!.transport.send([heartbeat(1, 2), heartbeat(1, 3)]);
  c!.transport.send([heartbeat(3, 2), heartbeat(3, 1)]);
  network.deliver();
  expect(b!.received.map(({ from }) => from)).toEqual([1, 3]);
  expect([...a!.received, ...c!.received]).toEqual([]);
});

test('a partition makes a request under way ambiguous, and a new one surely unsent', async () => {
  const network = new MemoryNetwork();
  const [a, b] = await connect(network, 2);
  b!.request = async () => new Promise<Buffer>(() => {});
  const waiting = a!.transport.request(2, Buffer.from('x'), never());
  const outcome = expect(waiting).rejects.toMatchObject({ code: 'timeout-connection-lost' });
  await Promise.resolve();
  network.deliver();
  network.partition([1], [2]);
  await outcome;
  await expect(a!.transport.request(2, Buffer.from('x'), never())).rejects.toMatchObject({
    code: 'no-leader',
  });
});

test('rules drop and repeat messages, the same for the same seed', async () => {
  const run = async (): Promise<readonly number[]> => {
    const network = new MemoryNetwork({ random: seededRandom(7) });
    const [a, b] = await connect(network, 2);
    network.setRules({ dropPermille: 300, duplicatePermille: 300 }, { from: 1, to: 2 });
    for (let seq = 0; seq < 100; seq++) a!.transport.send([heartbeat(1, 2, seq)]);
    network.deliver();
    return b!.heartbeats().map(({ readSeq }) => readSeq);
  };
  const first = await run();
  const distinct = new Set(first).size;
  expect(distinct).toBeGreaterThan(40);
  expect(distinct).toBeLessThan(100);
  expect(first.length).toBeGreaterThan(distinct);
  expect(await run()).toEqual(first);
});

test('delays come from the clock; a stream keeps its order unless reordering is asked for', async () => {
  const order = async (reorder: boolean): Promise<readonly number[]> => {
    const timers: { atMs: number; callback: () => void }[] = [];
    let nowMs = 0;
    const clock = {
      nowMs: () => nowMs,
      uptimeMs: () => nowMs,
      setTimer: (callback: () => void, delayMs: number) => {
        timers.push({ atMs: nowMs + delayMs, callback });
        return { cancel: () => {} };
      },
      setImmediate: (callback: () => void) => timers.push({ atMs: nowMs, callback }),
    };
    const network = new MemoryNetwork({ clock, random: seededRandom(3) });
    const [a, b] = await connect(network, 2);
    network.setRules({ delayMsMin: 5, delayMsMax: 50, reorder });
    for (let seq = 0; seq < 20; seq++) a!.transport.send([heartbeat(1, 2, seq)]);
    while (timers.length > 0) {
      timers.sort((x, y) => x.atMs - y.atMs);
      const timer = timers.shift()!;
      nowMs = Math.max(nowMs, timer.atMs);
      timer.callback();
    }
    expect(nowMs).toBeGreaterThanOrEqual(5);
    return b!.heartbeats().map(({ readSeq }) => readSeq);
  };
  const sent = Array.from({ length: 20 }, (_, seq) => seq);
  expect(await order(false)).toEqual(sent);
  const reordered = await order(true);
  expect(reordered).not.toEqual(sent);
  expect(reordered.toSorted((x, y) => x - y)).toEqual(sent);
});

test('two transports cannot listen at one address', async () => {
  const network = new MemoryNetwork();
  await connect(network, 1);
  const second = new TestMember(new MemoryTransport(network, ['http://member-1:2380']), { memberId: 9 });
  await expect(second.start()).rejects.toMatchObject({ code: 'bad-options' });
});
