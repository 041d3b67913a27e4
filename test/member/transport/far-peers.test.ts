import { randomBytes } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type { LinkConditions } from '../../../cluster/wan-link.ts';
import { WanNetwork } from '../../../cluster/wan-proxy.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { Clock } from '../../../src/member/ports.ts';
import { systemClock } from '../../../src/member/system.ts';
import { encodeFrame, frameKinds } from '../../../src/member/transport/frame.ts';
import { encodeHello } from '../../../src/member/transport/handshake.ts';
import { defaultLimits, type TransportLimits } from '../../../src/member/transport/limits.ts';
import type { DeflatedBytes } from '../../../src/member/transport/outbox.ts';
import { TcpTransport } from '../../../src/member/transport/transport.ts';
import { ManualClock } from '../manual-clock.ts';
import {
  append,
  bytesOf,
  CLUSTER_ID,
  entry,
  eventually,
  heartbeat,
  never,
  seededRandom,
  TestMember,
  TurnClock,
} from './cast.ts';
import { RawClient, TcpProxy } from './tcp-proxy.ts';

const KIB = 1024;
const closing: { close(): unknown }[] = [];

afterEach(async () => {
  for (const item of closing.splice(0)) await item.close();
});

/** Two members with a link of its own conditions between them, and what the first has deflated. */
class Pair {
  readonly deflated: DeflatedBytes[] = [];
  readonly a: TestMember;
  readonly b: TestMember;

  private constructor(limits: Partial<TransportLimits>, clock: Clock) {
    this.a = new TestMember(this.#create(limits, clock), { memberId: 1 });
    this.b = new TestMember(this.#create(limits, clock), { memberId: 2 });
  }

  static async open(
    conditions: Partial<LinkConditions>,
    limits: Partial<TransportLimits> = {},
    clock: Clock = systemClock,
  ): Promise<Pair> {
    const pair = new Pair(limits, clock);
    const network = new WanNetwork();
    closing.push(network);
    for (const member of [pair.a, pair.b]) closing.push((await member.start()).transport);
    const expose = async (place: string, { address }: TestMember): Promise<string> =>
      network.expose(place, { target: address.peerUrls[0]! });
    pair.a.transport.setPeers([{ id: 2, peerUrls: [await expose('b', pair.b)] }]);
    pair.b.transport.setPeers([{ id: 1, peerUrls: [await expose('a', pair.a)] }]);
    network.shapeAll(conditions);
    await eventually(() => pair.a.transport.connected(2) && pair.b.transport.connected(1));
    return pair;
  }

  /** Sends appends until the first was deflated: the round trip is known from then on. */
  async becomeFar(): Promise<number> {
    let sent = 0;
    while (this.deflated.length === 0) {
      const seen = this.b.appends().length;
      this.a.transport.send([textAppend(sent++)]);
      await eventually(() => this.b.appends().length > seen);
    }
    return sent;
  }

  #create(limits: Partial<TransportLimits>, clock: Clock): TcpTransport {
    return new TcpTransport({
      listenUrls: ['http://127.0.0.1:0'],
      clock,
      random: seededRandom(1),
      logger: silentLogger,
      limits,
      deflated: (bytes) => this.deflated.push(bytes),
    });
  }
}

function transportOn(clock: Clock): TcpTransport {
  const random = seededRandom(1);
  return new TcpTransport({ listenUrls: ['http://127.0.0.1:0'], clock, random, logger: silentLogger });
}

async function openFar(
  limits: Partial<TransportLimits> = {},
): Promise<Pick<Pair, 'a' | 'b' | 'deflated'> & { readonly sent: number }> {
  const pair = await Pair.open({ delayMs: 12 }, limits);
  const sent = await pair.becomeFar();
  return { a: pair.a, b: pair.b, deflated: pair.deflated, sent };
}

function textAppend(number: number): ReturnType<typeof append> {
  const data = Buffer.from(`{"number":${number},"enabled":true}`.repeat(300));
  return append(1, 2, { prevIndex: number, prevTerm: 3, entries: [entry(number + 1, data)] });
}

describe('to a far member', () => {
  test('large appends are deflated and arrive as they were, in order with the small ones', async () => {
    const { a, b, deflated, ...pair } = await openFar();
    const sent = Array.from({ length: 60 }, (_, i) => {
      const number = pair.sent + i;
      if (i % 3 === 0) return append(1, 2, { prevIndex: number, entries: [] });
      if (i % 3 === 1) return textAppend(number);
      return append(1, 2, { prevIndex: number, entries: [entry(number + 1, randomBytes(20 * KIB))] });
    });
    const before = b.appends().length;
    for (const message of sent) a.transport.send([message]);
    await eventually(() => b.appends().length === before + sent.length);
    expect(b.appends().slice(before)).toEqual(sent);
    expect(deflated.some(({ before: plain, after }) => after < plain / 4)).toBe(true);
    expect(deflated.some(({ before: plain, after }) => after === plain)).toBe(true);
    expect(a.unreachable).toEqual([]);
  });

  test('what does not become smaller is soon tried no more', async () => {
    const { a, b, deflated, sent } = await openFar();
    const before = deflated.length;
    const seen = b.appends().length;
    for (let i = 0; i < 130; i++) {
      const number = sent + i;
      a.transport.send([
        append(1, 2, { prevIndex: number, entries: [entry(number + 1, randomBytes(5 * KIB))] }),
      ]);
    }
    await eventually(() => b.appends().length === seen + 130);
    // One, and then after 1, 2, 4, ... 64 that went untried.
    expect(deflated.length - before).toBeLessThanOrEqual(8);
  });

  test('requests and snapshots are deflated, too', async () => {
    const { a, b, deflated } = await Pair.open({ delayMs: 12 });
    const body = Buffer.from('{"owner":"team-7"}'.repeat(3_000));
    while (deflated.length === 0) {
      expect((await a.transport.request(2, body, never())).subarray(2).equals(body)).toBe(true);
    }
    const before = deflated.length;
    const frames = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? body : randomBytes(KIB)));
    await a.transport.sendSnapshot(2, each(frames), never());
    expect(deflated.length).toBeGreaterThan(before);
    expect(b.snapshots.map((bytes) => bytes.equals(Buffer.concat(frames)))).toEqual([true]);
  });

  test('over a line that crawls heartbeats overtake appends, and slowness is not taken for silence', async () => {
    const { a, b } = await Pair.open(
      { delayMs: 20, bytesPerSecond: 128 * KIB },
      { pingIntervalMs: 100, bulkPingTimeoutMs: 3_000, pingTimeoutMs: 3_000 },
    );
    for (let i = 0; i < 24; i++) {
      a.transport.send([append(1, 2, { prevIndex: i, entries: [entry(i + 1, randomBytes(32 * KIB))] })]);
    }
    await eventually(() => b.appends().length > 0);
    a.transport.send([heartbeat(1, 2)]);
    await eventually(() => b.heartbeats().length === 1);
    expect(b.appends().length).toBeLessThan(12);
    await eventually(() => b.appends().length === 24);
    expect(b.appends().map(({ prevIndex }) => prevIndex)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    expect(a.unreachable).toEqual([]);
  });
});

test('to a near member nothing is deflated', async () => {
  // On this clock every answer is there at once, however busy the machine is.
  const { a, b, deflated } = await Pair.open({}, {}, new ManualClock());
  for (let i = 0; i < 50; i++) {
    a.transport.send([textAppend(i)]);
    await eventually(() => b.appends().length === i + 1);
  }
  expect(deflated).toEqual([]);
});

describe('a member that is none any more', () => {
  test('gets what had been sent to it before the connection ends', async () => {
    const { a, b, sent } = await openFar({ lingerMs: 3_600_000 });
    const before = b.appends().length;
    // Far more than may be on its way at once, and some of it has yet to be deflated.
    const random = Array.from({ length: 40 }, (_, i) =>
      append(1, 2, { prevIndex: sent + i, entries: [entry(sent + i + 1, randomBytes(20 * KIB))] }),
    );
    const last = [textAppend(sent + 40), append(1, 2, { prevIndex: sent + 41, commit: sent + 41 })];
    const messages = [...random, ...last];
    a.transport.send(messages);
    a.transport.setPeers([]);
    await eventually(() => b.appends().length === before + messages.length);
    expect(b.appends().slice(before)).toEqual(messages);
    expect(a.transport.connected(2)).toBe(false);
  });

  test('that takes nothing is waited for no longer than the limit', async () => {
    const clock = new TurnClock();
    closing.push(clock);
    const [a, b] = [transportOn(clock), transportOn(clock)].map(
      (transport, i) => new TestMember(transport, { memberId: i + 1 }),
    ) as [TestMember, TestMember];
    for (const member of [a, b]) closing.push((await member.start()).transport);
    const proxy = await TcpProxy.before(b.address.peerUrls[0]!);
    closing.push(proxy);
    a.transport.setPeers([{ id: 2, peerUrls: [proxy.url] }]);
    await eventually(() => proxy.count('append') === 1 && a.transport.connected(2));
    proxy.pause('append');
    a.transport.send([append(1, 2, { entries: [entry(11, randomBytes(400 * KIB))] })]);
    a.transport.setPeers([]);
    const untilMs = clock.nowMs() + 2 * defaultLimits.lingerMs;
    await eventually(() => clock.nowMs() > untilMs);
    proxy.resume();
    await eventually(() => proxy.count('append') === 0);
    expect(b.appends()).toEqual([]);
  });
});

describe('a dialer that sends', () => {
  const sender = {
    clusterId: CLUSTER_ID,
    memberId: 1,
    incarnation: 1,
    earlier: [],
    logSeq: 0,
    peerUrls: [],
  };

  function deflatedBytes(kind: number, sizeBytes: number, plain: Buffer): Buffer {
    const head = Buffer.alloc(5);
    head[0] = kind;
    head.writeUInt32BE(sizeBytes, 1);
    return bytesOf(encodeFrame(frameKinds.deflated, head, deflateRawSync(plain)));
  }

  test.each<[string, readonly Buffer[]]>([
    ['a bomb', [deflatedBytes(frameKinds.append, 10_000, Buffer.alloc(32 * KIB * KIB))]],
    ['a deflated frame out of place', [deflatedBytes(frameKinds.request, 10_000, Buffer.alloc(10_000))]],
    ['a deflated frame of garbage', [deflatedBytes(frameKinds.append, 10_000, Buffer.alloc(10_000, 0xff))]],
    ['a report', [bytesOf(encodeFrame(frameKinds.received, Buffer.alloc(6)))]],
  ])('%s is shown out', async (_what, frames) => {
    const { b } = await Pair.open({});
    const client = new RawClient(b.address.peerUrls[0]!);
    closing.push({ close: () => client.end() });
    client.write(bytesOf(encodeHello({ stream: 'append', sender, to: 2 })));
    await eventually(() => client.frames.length === 1);
    client.write(...frames);
    await eventually(() => client.closed);
    expect(b.received).toEqual([]);
  });

  test('a deflated hello is shown out', async () => {
    const { b } = await Pair.open({});
    const client = new RawClient(b.address.peerUrls[0]!);
    closing.push({ close: () => client.end() });
    client.write(deflatedBytes(frameKinds.hello, 5_000, Buffer.alloc(5_000)));
    await eventually(() => client.closed);
    expect(client.frames).toEqual([]);
  });
});

async function* each(frames: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const frame of frames) yield frame;
}
