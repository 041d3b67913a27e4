import { afterEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../../src/lib/errors.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { Clock, PeerIdentity } from '../../../src/member/ports.ts';
import { systemClock } from '../../../src/member/system.ts';
import { encodeFrame, frameKinds } from '../../../src/member/transport/frame.ts';
import { decodeRefusal, encodeHello, type StreamKind } from '../../../src/member/transport/handshake.ts';
import { defaultLimits, type TransportLimits } from '../../../src/member/transport/limits.ts';
import { TcpTransport } from '../../../src/member/transport/transport.ts';
import { transportContract } from '../../contract/transport.ts';
import {
  append,
  bytesOf,
  CLUSTER_ID,
  entry,
  eventually,
  framesOf,
  heartbeat,
  never,
  seededRandom,
  TestMember,
  TurnClock,
} from './cast.ts';
import { RawClient, TcpProxy } from './tcp-proxy.ts';

const FREE_PORT = 'http://127.0.0.1:0';
const MIB = 1024 * 1024;
const NEVER_MS = 1e9;

transportContract('TCP', () => {
  const createAt = (listenUrls: readonly string[]): TcpTransport =>
    new TcpTransport({ listenUrls, clock: systemClock, random: seededRandom(1), logger: silentLogger });
  return { createAt, create: () => createAt([FREE_PORT]) };
});

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const resource of closing.splice(0).reverse()) await resource.close();
});

async function start(
  options: Partial<PeerIdentity> & {
    readonly memberId: number;
    readonly limits?: Partial<TransportLimits>;
    readonly clock?: Clock;
    readonly listenUrls?: readonly string[];
  },
): Promise<TestMember> {
  const { limits, clock, listenUrls, ...identity } = options;
  const transport = new TcpTransport({
    listenUrls: listenUrls ?? [FREE_PORT],
    clock: clock ?? systemClock,
    random: seededRandom(identity.memberId),
    logger: silentLogger,
    ...(limits === undefined ? {} : { limits }),
  });
  closing.push(transport);
  return new TestMember(transport, identity).start();
}

/** Waits until a number above 0 has stood still for many turns of the event loop. */
async function turnsWithoutChange(read: () => number): Promise<void> {
  let last = 0;
  let turns = 0;
  await eventually(() => {
    turns = read() === last && last > 0 ? turns + 1 : 0;
    last = read();
    return turns > 2000;
  }, 'nothing changes');
}

function turnClock(): TurnClock {
  const clock = new TurnClock();
  closing.push(clock);
  return clock;
}

async function proxyBefore(member: TestMember): Promise<TcpProxy> {
  const proxy = await TcpProxy.before(member.address.peerUrls[0]!);
  closing.push(proxy);
  return proxy;
}

/** Member 1 reaches member 2 only through the proxy. */
async function proxiedPair(
  limits: Partial<TransportLimits> = {},
  clock: Clock = systemClock,
): Promise<{ readonly a: TestMember; readonly b: TestMember; readonly proxy: TcpProxy }> {
  const a = await start({ memberId: 1, limits, clock });
  const b = await start({ memberId: 2, limits, clock });
  const proxy = await proxyBefore(b);
  a.transport.setPeers([{ id: 2, peerUrls: [proxy.url] }]);
  b.knows(a);
  await eventually(() => a.transport.connected(2) && b.transport.connected(1));
  await a.transport.request(2, Buffer.from('warm-up'), never());
  a.transport.send([append(1, 2)]);
  await eventually(() => b.appends().length === 1);
  b.requests.length = 0;
  b.received.length = 0;
  return { a, b, proxy };
}

function raw(member: TestMember): RawClient {
  const client = new RawClient(member.address.peerUrls[0]!);
  closing.push({ close: async () => client.end() });
  return client;
}

function hello(stream: StreamKind, options: Partial<PeerIdentity> & { readonly to?: number } = {}): Buffer {
  const { to = 2, ...sender } = options;
  return bytesOf(
    encodeHello({
      stream,
      to,
      sender: {
        clusterId: CLUSTER_ID,
        memberId: 1,
        incarnation: 1,
        earlier: [],
        logSeq: 0,
        peerUrls: [],
        ...sender,
      },
    }),
  );
}

describe('streams', () => {
  test('what is sent in one turn arrives together', async () => {
    const a = await start({ memberId: 1 });
    const b = await start({ memberId: 2 });
    a.knows(b);
    await eventually(() => a.transport.connected(2));
    for (let seq = 0; seq < 50; seq++) a.transport.send([heartbeat(1, 2, seq)]);
    await eventually(() => b.batches.length > 0);
    expect(b.batches).toEqual([50]);
  });

  test('a huge append that the peer does not take delays no heartbeat and no request', async () => {
    const { a, b, proxy } = await proxiedPair();
    proxy.pause('append');
    const data = Buffer.alloc(16 * MIB, 1);
    a.transport.send([append(1, 2, { entries: [entry(11, data)] }), heartbeat(1, 2, 1)]);
    await eventually(() => b.heartbeats().length === 1, 'the heartbeat overtakes');
    expect(String(await a.transport.request(2, Buffer.from('r'), never()))).toBe('1:r');
    expect(b.appends()).toEqual([]);
    proxy.resume();
    await eventually(() => b.appends().length === 1, 'the append arrives');
    expect(b.appends()[0]!.entries[0]!.data.equals(data)).toBe(true);
  });

  test('over the queue messages are dropped and the peer is reported unreachable', async () => {
    const { a, b, proxy } = await proxiedPair({ appendQueueBytesMax: MIB });
    proxy.pause('append');
    const sendOne = (prevIndex: number): void =>
      a.transport.send([append(1, 2, { prevIndex, entries: [entry(prevIndex + 1, Buffer.alloc(MIB))] })]);
    let sent = 0;
    while (a.unreachable.length === 0) {
      sendOne(sent++);
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
    expect(a.unreachable).toEqual([2]);
    proxy.resume();
    await eventually(() => b.appends().length === sent - 1, 'all but the dropped one arrive');
    const indexes = b.appends().map(({ prevIndex }) => prevIndex);
    expect(indexes).toEqual(Array.from({ length: sent - 1 }, (_, index) => index));
  });

  test('a broken connection is dialed again and messages flow', async () => {
    const { a, b, proxy } = await proxiedPair();
    proxy.break('append');
    await eventually(() => a.unreachable.includes(2), 'the loss is reported');
    await eventually(() => {
      a.transport.send([append(1, 2, { prevIndex: 99 })]);
      return b.appends().length > 0;
    }, 'appends flow again');
    expect(b.appends()[0]).toEqual(append(1, 2, { prevIndex: 99 }));
  });

  test('a peer that dials in is dialed back at once, whatever delay was left', async () => {
    const b = await start({ memberId: 2 });
    const urls = b.address.peerUrls;
    await b.transport.close();
    const a = await start({ memberId: 1, limits: { backoffMsMin: 600_000, backoffMsMax: 600_000 } });
    a.transport.setPeers([{ id: 2, peerUrls: urls }]);
    await eventually(() => a.unreachable.includes(2));
    const again = await start({ memberId: 2, incarnation: 2, listenUrls: urls });
    again.knows(a);
    await eventually(() => a.transport.connected(2), 'dialed back');
  });

  test('a half-open peer is noticed by its silence', async () => {
    const { a, proxy } = await proxiedPair({ idleTimeoutMs: NEVER_MS }, turnClock());
    proxy.pause('heartbeat', 'append', 'request');
    await eventually(() => !a.transport.connected(2), 'the silence is noticed');
    await eventually(() => a.unreachable.includes(2));
    proxy.resume();
    await eventually(() => a.transport.connected(2), 'connected again');
  });

  test('silence on the heartbeat stream ends the waiting on the request stream', async () => {
    const { a, b, proxy } = await proxiedPair(
      { idleTimeoutMs: NEVER_MS, bulkPingTimeoutMs: NEVER_MS },
      turnClock(),
    );
    b.request = async () => new Promise<Buffer>(() => {});
    const waiting = a.transport.request(2, Buffer.from('x'), never());
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'timeout-connection-lost' });
    await eventually(() => b.requests.length === 1);
    proxy.pause('heartbeat', 'append', 'request');
    await outcome;
  });

  test('a peer that moves to another address is found there', async () => {
    const { a, b, proxy } = await proxiedPair();
    await proxy.close();
    const moved = await proxyBefore(b);
    a.transport.setPeers([{ id: 2, peerUrls: [moved.url] }]);
    await eventually(() => moved.count('heartbeat') === 1 && a.transport.connected(2));
    a.transport.send([heartbeat(1, 2, 4)]);
    await eventually(() => b.heartbeats().length === 1);
  });

  test('of several addresses one that works is found', async () => {
    const b = await start({ memberId: 2 });
    const gone = await start({ memberId: 3 });
    const deadUrl = gone.address.peerUrls[0]!;
    await gone.transport.close();
    const a = await start({ memberId: 1 });
    a.transport.setPeers([{ id: 2, peerUrls: [deadUrl, b.address.peerUrls[0]!] }]);
    await eventually(() => a.transport.connected(2));
  });

  test('a peer without a usable address is no reason to fall', async () => {
    const a = await start({ memberId: 1 });
    a.transport.setPeers([{ id: 2, peerUrls: ['https://127.0.0.1:1', 'nonsense'] }]);
    a.transport.send([heartbeat(1, 2)]);
    expect(a.transport.connected(2)).toBe(false);
  });
});

describe('requests', () => {
  test('are never sent again after a disconnect', async () => {
    const { a, b, proxy } = await proxiedPair();
    b.request = async (_from, body) =>
      String(body) === 'first' ? new Promise<Buffer>(() => {}) : Buffer.from('done');
    const first = a.transport.request(2, Buffer.from('first'), never());
    const outcome = expect(first).rejects.toMatchObject({ code: 'timeout-connection-lost' });
    await eventually(() => b.requests.length === 1);
    proxy.break('request');
    await outcome;
    await eventually(() => proxy.count('request') === 1, 'dialed again');
    expect(String(await a.transport.request(2, Buffer.from('second'), never()))).toBe('done');
    expect(b.requests).toEqual(['first', 'second']);
  });

  test('over the bound of unanswered ones are refused, and surely not sent', async () => {
    const { a, b } = await proxiedPair({ requestsInFlightMax: 3 });
    const release: (() => void)[] = [];
    b.request = async (_from, body) =>
      new Promise<Buffer>((resolve) => {
        release.push(() => resolve(body));
      });
    const waiting = ['1', '2', '3'].map(async (body) => a.transport.request(2, Buffer.from(body), never()));
    await expect(a.transport.request(2, Buffer.from('4'), never())).rejects.toMatchObject({
      code: 'too-many-requests',
    });
    await eventually(() => release.length === 3);
    for (const go of release) go();
    await Promise.all(waiting);
    expect(b.requests).toEqual(['1', '2', '3']);
  });

  test('longer than the bound are refused', async () => {
    const { a } = await proxiedPair();
    await expect(a.transport.request(2, Buffer.alloc(16 * MIB + 1), never())).rejects.toMatchObject({
      code: 'request-too-large',
    });
  });

  test('with bodies over the bound of bytes in flight are all served, a few at a time', async () => {
    const a = await start({ memberId: 1 });
    const b = await start({ memberId: 2, limits: { requestQueueBytesMax: MIB } });
    a.knows(b);
    await eventually(() => a.transport.connected(2));
    let open = false;
    const release: (() => void)[] = [];
    b.request = async (_from, body) => {
      if (!open) {
        await new Promise<void>((resolve) => {
          release.push(resolve);
        });
      }
      return body.subarray(0, 1);
    };
    const requests = Array.from({ length: 16 }, async () =>
      a.transport.request(2, Buffer.alloc(MIB), never()),
    );
    await turnsWithoutChange(() => b.requests.length);
    // Two go over the bound; one more may stand in what was read before the pause.
    expect(b.requests.length).toBeGreaterThan(0);
    expect(b.requests.length).toBeLessThanOrEqual(3);
    open = true;
    for (const go of release) go();
    expect((await Promise.all(requests)).length).toBe(16);
  });
});

describe('snapshots', () => {
  test('are read from the source only as fast as the receiver takes them', async () => {
    const a = await start({ memberId: 1 });
    const b = await start({ memberId: 2, limits: { snapshotReceiveBytesMax: MIB } });
    a.knows(b);
    let produced = 0;
    async function* source(): AsyncGenerator<Buffer> {
      for (; produced < 200; produced++) yield Buffer.alloc(MIB, produced);
    }
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let taken = 0;
    b.snapshot = async (_from, frames) => {
      for await (const frame of frames) {
        if (taken === 0) await gate;
        expect(frame[0]).toBe(taken % 256);
        taken++;
      }
    };
    const sending = a.transport.sendSnapshot(2, source(), never());
    await turnsWithoutChange(() => produced);
    expect(produced).toBeLessThan(100);
    release();
    await sending;
    expect([produced, taken]).toEqual([200, 200]);
  });

  test('do not delay appends, heartbeats and requests', async () => {
    const { a, b, proxy } = await proxiedPair();
    const snapshot = a.transport.sendSnapshot(
      2,
      framesOf(Buffer.alloc(8 * MIB), Buffer.alloc(8 * MIB)),
      never(),
    );
    proxy.pause('snapshot');
    a.transport.send([append(1, 2), heartbeat(1, 2)]);
    await a.transport.request(2, Buffer.from('r'), never());
    await eventually(() => b.received.length === 2);
    proxy.resume();
    await snapshot;
    expect(b.snapshots[0]!.length).toBe(16 * MIB);
  });

  test('broken midway fail at both ends', async () => {
    const { a, b, proxy } = await proxiedPair();
    let failure: unknown;
    b.snapshot = async (_from, frames) => {
      try {
        for await (const _frame of frames) proxy.break('snapshot');
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    async function* endless(): AsyncGenerator<Buffer> {
      yield Buffer.from('one');
      await new Promise<void>(() => {});
    }
    await expect(a.transport.sendSnapshot(2, endless(), never())).rejects.toMatchObject({
      code: 'timeout-connection-lost',
    });
    await eventually(() => failure !== undefined);
    expect(failure).toMatchObject({ code: 'timeout-connection-lost' });
  });

  test('fail when the receiver falls silent', async () => {
    const { a, proxy } = await proxiedPair({}, turnClock());
    proxy.pause('snapshot');
    await expect(a.transport.sendSnapshot(2, framesOf('one'), never())).rejects.toMatchObject({
      code: 'timeout-connection-lost',
    });
  });

  test('outlast the silence bound while the receiver installs and the source rests', async () => {
    const clock = turnClock();
    const { a, b } = await proxiedPair({}, clock);
    const restMs = 3 * defaultLimits.snapshotSilenceMs;
    const rest = async (): Promise<void> =>
      new Promise((resolve) => {
        clock.setTimer(resolve, restMs);
      });
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.from('one');
      await rest();
      yield Buffer.from('two');
    }
    b.snapshot = async (_from, frames) => {
      for await (const frame of frames) b.snapshots.push(frame);
      await rest();
    };
    await a.transport.sendSnapshot(2, slow(), never());
    expect(b.snapshots.map(String)).toEqual(['one', 'two']);
  });

  test('of one member are taken one at a time', async () => {
    const { a, b } = await proxiedPair();
    let release = (): void => {};
    b.snapshot = async () =>
      new Promise<void>((_resolve, reject) => {
        release = () => reject(new StoreError('stopped'));
      });
    let started = false;
    async function* first(): AsyncGenerator<Buffer> {
      started = true;
      yield Buffer.from('one');
      await new Promise<void>(() => {});
    }
    const one = expect(a.transport.sendSnapshot(2, first(), never())).rejects.toBeInstanceOf(StoreError);
    await eventually(() => started);
    await expect(a.transport.sendSnapshot(2, framesOf('two'), never())).rejects.toThrow(/earlier snapshot/);
    await one;
    release();
    b.snapshot = async (_from, frames) => {
      for await (const frame of frames) b.snapshots.push(frame);
    };
    await a.transport.sendSnapshot(2, framesOf('three'), never());
    expect(b.snapshots.map(String)).toEqual(['three']);
  });
});

describe('strangers', () => {
  async function refusalTo(bytes: Buffer): Promise<string> {
    const b = await start({ memberId: 2 });
    const client = raw(b);
    client.write(bytes);
    await eventually(() => client.closed);
    expect(b.received).toEqual([]);
    expect(client.frames.map(({ kind }) => kind)).toEqual([frameKinds.refusal]);
    return decodeRefusal(client.frames[0]!.payload);
  }

  test('are told why they are refused', async () => {
    expect(await refusalTo(hello('append', { clusterId: 5 }))).toMatch(/cluster ID mismatch/);
    expect(await refusalTo(hello('append', { to: 7 }))).toMatch(/this is member 2, not member 7/);
    expect(await refusalTo(hello('append', { memberId: 2 }))).toMatch(/meets itself/);
    const otherVersion = hello('append');
    otherVersion.writeUInt16BE(9, 13);
    expect(await refusalTo(otherVersion)).toMatch(/format version 9 is not spoken here/);
  });

  test('an older start of a member is refused while a later one is connected', async () => {
    const b = await start({ memberId: 2 });
    const later = raw(b);
    later.write(hello('append', { incarnation: 5 }));
    await eventually(() => later.frames.length === 1);
    const older = raw(b);
    older.write(hello('heartbeat', { incarnation: 4 }));
    await eventually(() => older.closed);
    expect(decodeRefusal(older.frames[0]!.payload)).toMatch(/later start/);
    expect(later.closed).toBe(false);
  });

  test('a newer connection for the same stream takes over; a newer start takes over all', async () => {
    const b = await start({ memberId: 2 });
    const connectRaw = async (bytes: Buffer): Promise<RawClient> => {
      const client = raw(b);
      client.write(bytes);
      await eventually(() => client.frames.length === 1);
      return client;
    };
    const first = await connectRaw(hello('append'));
    const other = await connectRaw(hello('heartbeat'));
    const second = await connectRaw(hello('append'));
    await eventually(() => first.closed);
    expect([other.closed, second.closed]).toEqual([false, false]);
    await connectRaw(hello('request', { incarnation: 2 }));
    await eventually(() => other.closed && second.closed);
  });

  test.each<[string, Buffer]>([
    ['an HTTP request', Buffer.from('GET /version HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a frame announced as longer than a hello may be', Buffer.from([0x7f, 0xff, 0xff, 0xff, 1])],
    ['another frame than a hello', bytesOf(encodeFrame(frameKinds.request, Buffer.alloc(20)))],
    ['a hello of garbage', bytesOf(encodeFrame(frameKinds.hello, Buffer.alloc(40, 0xc1)))],
    ['an empty hello', bytesOf(encodeFrame(frameKinds.hello))],
    ['a hello of an unknown stream', hello('append').fill(99, 16, 17)],
  ])('%s ends the connection', async (_what, bytes) => {
    const b = await start({ memberId: 2 });
    const client = raw(b);
    client.write(bytes);
    await eventually(() => client.closed);
    expect(client.frames).toEqual([]);
  });

  test.each<[string, StreamKind, Buffer]>([
    ['garbage messages', 'append', bytesOf(encodeFrame(frameKinds.messages, Buffer.from([0xc1, 1, 2])))],
    ['a cut append', 'append', bytesOf(encodeFrame(frameKinds.append, Buffer.alloc(10)))],
    ['a request on a message stream', 'heartbeat', bytesOf(encodeFrame(frameKinds.request, Buffer.alloc(9)))],
    [
      'a request out of order',
      'request',
      bytesOf(encodeFrame(frameKinds.request, Buffer.from([0, 0, 0, 0, 0, 2]))),
    ],
    [
      'a message on a request stream',
      'request',
      bytesOf(encodeFrame(frameKinds.messages, Buffer.from([0x90]))),
    ],
    ['an oversize frame', 'append', Buffer.from([0x04, 0x00, 0x00, 0x01, 5])],
    [
      'a chunk after the end',
      'snapshot',
      Buffer.concat([
        bytesOf(encodeFrame(frameKinds.snapshotEnd)),
        bytesOf(encodeFrame(frameKinds.snapshotChunk, Buffer.from('x'))),
      ]),
    ],
    ['a second hello', 'append', hello('append')],
  ])('%s from a welcomed peer ends only that connection', async (_what, stream, bytes) => {
    const b = await start({ memberId: 2 });
    b.snapshot = async (_from, frames) => {
      for await (const _frame of frames);
      await new Promise<void>(() => {});
    };
    const bystander = raw(b);
    bystander.write(hello('heartbeat', { memberId: 3 }));
    const client = raw(b);
    client.write(hello(stream));
    await eventually(() => client.frames.length === 1 && bystander.frames.length === 1);
    expect(client.frames[0]!.kind).toBe(frameKinds.welcome);
    client.write(bytes);
    await eventually(() => client.closed);
    expect(bystander.closed).toBe(false);
    expect([b.received, b.requests]).toEqual([[], []]);
  });

  test('who says nothing is shown out, before and after the handshake', async () => {
    const b = await start({ memberId: 2, clock: turnClock() });
    const mute = raw(b);
    const welcomed = raw(b);
    welcomed.write(hello('append'));
    const halfFrame = raw(b);
    halfFrame.write(hello('heartbeat'), Buffer.from([0, 1, 0]));
    await eventually(() => mute.closed && welcomed.closed && halfFrame.closed);
    expect([mute.frames.length, welcomed.frames.length, halfFrame.frames.length]).toEqual([0, 1, 1]);
  });

  test('more unfinished handshakes than the bound are not taken', async () => {
    const b = await start({ memberId: 2, limits: { pendingHandshakesMax: 2 } });
    const clients = [raw(b), raw(b), raw(b)];
    await eventually(() => clients.filter((client) => client.closed).length === 1);
    const open = clients.find((client) => !client.closed)!;
    open.write(hello('append'));
    await eventually(() => open.frames.length === 1);
  });

  test('more connections than the bound are not taken', async () => {
    const b = await start({ memberId: 2, limits: { connectionsMax: 2 } });
    const kinds = ['append', 'heartbeat'] as const;
    const taken = kinds.map(() => raw(b));
    for (const [i, client] of taken.entries()) client.write(hello(kinds[i]!));
    await eventually(() => taken.every((client) => client.frames.length === 1));
    const late = raw(b);
    await eventually(() => late.closed);
    expect(taken.some((client) => client.closed)).toBe(false);
    taken[0]!.end();
    const dial = (): RawClient => {
      const client = raw(b);
      client.write(hello('request'));
      return client;
    };
    let next = dial();
    await eventually(() => {
      if (next.closed) next = dial();
      return next.frames.length === 1;
    });
  });

  test('a dialer whose listener never answers gives up in time', async () => {
    const a = await start({ memberId: 1, clock: turnClock() });
    const b = await start({ memberId: 2 });
    const proxy = await proxyBefore(b);
    proxy.pause('append', 'heartbeat', 'request', 'probe');
    a.transport.setPeers([{ id: 2, peerUrls: [proxy.url] }]);
    await expect(a.transport.request(2, Buffer.from('x'), never())).rejects.toMatchObject({
      code: 'no-leader',
    });
    await expect(a.transport.probe(proxy.url, Buffer.from('x'), never())).rejects.toMatchObject({
      code: 'timeout-connection-lost',
    });
  });
});

describe('the listener', () => {
  test('names the address that is taken', async () => {
    const b = await start({ memberId: 2 });
    const url = b.address.peerUrls[0]!;
    await expect(start({ memberId: 3, listenUrls: [FREE_PORT, url] })).rejects.toMatchObject({
      code: 'bad-options',
      message: expect.stringContaining(`${url} is already in use`),
    });
  });

  test.each([
    'https://127.0.0.1:0',
    'unix:///x',
    'http://127.0.0.1:0/path',
    'nonsense',
    'http://203.0.113.1:0',
  ])('refuses %s', async (url) => {
    await expect(start({ memberId: 3, listenUrls: [url] })).rejects.toMatchObject({
      code: 'bad-options',
      message: expect.stringContaining('peer'),
    });
  });

  test('listens at every address given', async () => {
    const b = await start({ memberId: 2, listenUrls: [FREE_PORT, FREE_PORT] });
    expect(new Set(b.address.peerUrls).size).toBe(2);
    for (const url of b.address.peerUrls) {
      expect(String(await b.transport.probe(url, Buffer.from('x'), never()))).toBe('probed x');
    }
  });
});

test('close leaves no socket, no server and no timer, and calls no handler any more', async () => {
  const clock = turnClock();
  const sockets = (): number =>
    process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length;
  await eventually(() => sockets() === 0, 'the earlier tests are gone');
  const a = await start({ memberId: 1, clock });
  const b = await start({ memberId: 2, clock });
  const gone = await start({ memberId: 3, clock });
  a.knows(b, gone);
  b.knows(a, gone);
  await eventually(() => a.transport.connected(2) && a.transport.connected(3));
  await gone.transport.close();
  let snapshotRuns = false;
  b.snapshot = async (_from, frames) => {
    for await (const _frame of frames) snapshotRuns = true;
  };
  b.request = async () => new Promise<Buffer>(() => {});
  b.probe = b.request.bind(b, 1);
  async function* endless(): AsyncGenerator<Buffer> {
    yield Buffer.from('one');
    await new Promise<void>(() => {});
  }
  const failing = Promise.allSettled([
    a.transport.sendSnapshot(2, endless(), never()),
    a.transport.request(2, Buffer.from('x'), never()),
    a.transport.probe(b.address.peerUrls[0]!, Buffer.from('x'), never()),
  ]);
  await eventually(() => snapshotRuns && b.requests.length === 1 && !a.transport.connected(3));
  await Promise.all([a.transport.close(), b.transport.close()]);
  const seen = a.unreachable.length + b.unreachable.length;
  expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  await eventually(() => sockets() === 0, 'all sockets are gone');
  expect(clock.timerCount).toBe(0);
  expect(a.unreachable.length + b.unreachable.length).toBe(seen);
});
