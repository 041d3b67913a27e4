import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WanNetwork } from '../../cluster/wan-proxy.ts';
import type { PeerIdentity } from '../../src/member/ports.ts';
import { encodeFrame, type Frame, frameKinds } from '../../src/member/transport/frame.ts';
import { encodeHello, encodeWelcome } from '../../src/member/transport/handshake.ts';
import { parsePeerUrl } from '../../src/member/transport/peer-url.ts';

/** Connections of one proof that nothing more can come. */
const ROUND_TRIPS = 5;

/** A member as the proxy sees it: welcomes whoever says hello, then tells what it hears. */
class Place {
  readonly id: number;
  readonly heard: string[] = [];
  readonly sockets: Socket[] = [];
  readonly #server: Server;

  private constructor(id: number, server: Server) {
    this.id = id;
    this.#server = server;
    server.on('connection', (socket) => {
      this.sockets.push(socket);
      socket.on('error', () => {});
      socket.once('data', () => {
        write(socket, encodeWelcome(identityOf(id)));
        socket.on('data', (chunk: Buffer) => this.heard.push(chunk.toString('latin1')));
      });
    });
  }

  static async open(id: number): Promise<Place> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Place(id, server);
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
    return `http://127.0.0.1:${address.port}`;
  }

  get text(): string {
    return this.heard.join('');
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** A connection as a member opens it. */
class Dialer {
  readonly socket: Socket;
  heardBytes = 0;
  text = '';
  closed = false;
  resets = 0;

  constructor(url: string, hello: Frame | null) {
    this.socket = connect(parsePeerUrl(url));
    this.socket.on('data', (chunk: Buffer) => {
      this.heardBytes += chunk.length;
      this.text += chunk.toString('latin1');
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') this.resets += 1;
    });
    this.socket.on('close', () => {
      this.closed = true;
    });
    if (hello !== null) write(this.socket, hello);
    dialers.push(this);
  }
}

const dialers: Dialer[] = [];
let network: WanNetwork;
let places: readonly Place[];
let urls: readonly string[];

beforeEach(async () => {
  network = new WanNetwork({ random: () => 0.5 });
  places = await Promise.all([1, 2, 3].map((id) => Place.open(id)));
  urls = await Promise.all(places.map((place) => network.expose(`n${place.id}`, { target: place.url })));
});
afterEach(async () => {
  for (const { socket } of dialers.splice(0)) socket.destroy();
  await network.close();
  await Promise.all(places.map((place) => place.close()));
});

test('members are told apart by their hello, once they have been welcomed anywhere', async () => {
  await introduceAll();
  const fromFirst = dial({ from: 1, to: 3 });
  const fromSecond = dial({ from: 2, to: 3 });
  await greeted(fromFirst, fromSecond);
  expect(network.connections({ from: 'n1', to: 'n3' })).toBe(1);
  expect(network.connections({ from: 'n2', to: 'n3' })).toBe(1);

  network.cut({ from: 'n1', to: 'n3' });
  fromFirst.socket.write('lost');
  fromSecond.socket.write('found');
  await until(() => places[2]!.text.includes('found'));
  expect(places[2]!.text).not.toContain('lost');
});

test('a hello that comes in pieces is understood, and passes unchanged', async () => {
  await introduceAll();
  const hello = Buffer.concat([...helloOf({ from: 1, to: 2 }).parts]);
  const dialer = new Dialer(urls[1]!, null);
  for (const byte of hello) {
    dialer.socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await greeted(dialer);
  expect(network.connections({ from: 'n1', to: 'n2' })).toBe(1);
});

test('a one-way cut holds bytes of one direction and lets the other pass; healing delivers them in order', async () => {
  await introduceAll();
  const dialer = dial({ from: 1, to: 2 });
  await greeted(dialer);
  network.cut({ from: 'n1', to: 'n2' });
  dialer.socket.write('one ');
  dialer.socket.write('two ');
  places[1]!.sockets.at(-1)!.write('answer');
  await until(() => dialer.text.includes('answer'));
  await roundTrip({ from: 3, to: 2 });
  expect(places[1]!.text).not.toContain('one');

  network.heal();
  dialer.socket.write('three');
  await until(() => places[1]!.text.includes('three'));
  expect(places[1]!.text).toContain('one two three');
});

test('while either direction is cut no connection is made; the end of one does not pass a cut', async () => {
  await introduceAll();
  const before = places[1]!.sockets.length;
  const established = dial({ from: 1, to: 2 });
  await greeted(established);
  network.cut({ from: 'n2', to: 'n1' });
  const late = dial({ from: 1, to: 2 });
  const closing = places[1]!.sockets.at(-1)!;
  closing.destroy();
  await roundTrip({ from: 3, to: 2 });
  expect(places[1]!.sockets.length).toBe(before + 1 + ROUND_TRIPS);
  expect(established.closed).toBe(false);
  expect(late.heardBytes).toBe(0);

  network.heal();
  await until(() => established.closed);
  await greeted(late);
});

test('a member that goes away while cut leaves a half-open connection behind until the cut ends', async () => {
  await introduceAll();
  const dialer = dial({ from: 1, to: 2 });
  await greeted(dialer);
  const far = places[1]!.sockets.at(-1)!;
  network.isolate('n1');
  dialer.socket.destroy();
  await roundTrip({ from: 3, to: 2 });
  expect(far.destroyed).toBe(false);
  network.heal();
  await until(() => far.destroyed);
});

test('a partition cuts both ways between groups and nothing within them', async () => {
  await introduceAll();
  const across = [dial({ from: 1, to: 3 }), dial({ from: 3, to: 2 })];
  await greeted(...across);
  network.partition(['n1', 'n2'], ['n3']);
  for (const { socket } of across) socket.write('across');
  await roundTrip({ from: 1, to: 2 });
  await roundTrip({ from: 2, to: 1 });
  expect(places[2]!.text + places[1]!.text).not.toContain('across');
  network.clear();
  await until(() => places[2]!.text.includes('across') && places[1]!.text.includes('across'));
});

test('what waits on a slow link goes at the new pace once the link is faster', async () => {
  await introduceAll();
  const dialer = dial({ from: 1, to: 2 });
  await greeted(dialer);
  // At this pace nothing of it would arrive while anybody looks.
  network.shape({ from: 'n1', to: 'n2' }, { bytesPerSecond: 0.001, delayMs: 3_600_000 });
  dialer.socket.write('one ');
  await roundTrip({ from: 3, to: 2 });
  expect(places[1]!.text).not.toContain('one');
  network.clear();
  dialer.socket.write('two');
  await until(() => places[1]!.text.includes('one two'));
});

test('whoever does not say who it is has links of its own', async () => {
  const probe = new Dialer(urls[0]!, encodeFrame(frameKinds.ping, Buffer.alloc(4)));
  await greeted(probe);
  network.isolate('n1');
  probe.socket.write('stranger');
  await roundTrip({ from: 2, to: 3 });
  expect(places[0]!.text).not.toContain('stranger');
});

test('bytes of another protocol pass, from a place that the address stands for', async () => {
  const url = await network.expose('n1', { target: places[0]!.url, dialer: 'clients' });
  const client = new Dialer(url, null);
  client.socket.write('PRI * HTTP/2.0\r\n\r\n');
  await greeted(client);
  expect(network.connections({ from: 'clients', to: 'n1' })).toBe(1);
  network.cut({ from: 'clients', to: 'n1' });
  client.socket.write('request');
  await roundTrip({ from: 2, to: 1 });
  expect(places[0]!.text).not.toContain('request');
  network.heal();
  await until(() => places[0]!.text.includes('request'));
});

test('delay, jitter and bandwidth hold bytes back for as long as they say', async () => {
  await introduceAll();
  const dialer = dial({ from: 1, to: 2 });
  await greeted(dialer);
  network.shape({ from: 'n1', to: 'n2' }, { delayMs: 40, jitterMs: 20 });
  const delayedMs = await timed(dialer, 'a');
  expect(delayedMs).toBeGreaterThanOrEqual(49);

  network.shape({ from: 'n1', to: 'n2' }, { delayMs: 0, jitterMs: 0, bytesPerSecond: 1_000_000 });
  const shapedMs = await timed(dialer, 'b'.repeat(100_000));
  expect(shapedMs).toBeGreaterThanOrEqual(99);
});

test('all connections of a direction share its bandwidth', async () => {
  await introduceAll();
  const bulk = dial({ from: 1, to: 2 });
  const small = dial({ from: 1, to: 2 });
  await greeted(bulk, small);
  network.shape({ from: 'n1', to: 'n2' }, { bytesPerSecond: 1_000_000 });
  const bulkBytes = 1_000_000;
  bulk.socket.write('b'.repeat(bulkBytes));
  // The other direction is free: once it has answered, the bulk bytes have been handed over before the small ones.
  await until(() => bulk.socket.bytesWritten > bulkBytes && bulk.socket.writableLength === 0);
  await roundTrip({ from: 3, to: 2 });
  small.socket.write('c');
  await until(() => places[1]!.text.includes('c'));
  // With a second of bytes before it. The last of them may come in the same moment.
  expect(places[1]!.text.indexOf('c')).toBeGreaterThan(0.9 * bulkBytes);
});

test('a sender that is not read any more is held back', async () => {
  await introduceAll();
  const dialer = dial({ from: 1, to: 2 });
  await greeted(dialer);
  network.cut({ from: 'n1', to: 'n2' });
  const chunk = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < 64; i++) dialer.socket.write(chunk);
  await roundTrip({ from: 3, to: 2 });
  expect(dialer.socket.writableLength).toBeGreaterThan(16 * chunk.length);
  network.heal();
  await until(() => places[1]!.text.length >= 64 * chunk.length);
});

test('reset breaks the connections of one direction at both ends', async () => {
  await introduceAll();
  const broken = dial({ from: 1, to: 2 });
  const kept = dial({ from: 2, to: 1 });
  await greeted(broken, kept);
  const far = places[1]!.sockets.at(-1)!;
  expect(network.reset({ from: 'n1', to: 'n2' })).toBeGreaterThan(0);
  await until(() => broken.closed && far.destroyed);
  expect(broken.resets).toBe(1);
  await roundTrip({ from: 2, to: 1 });
  expect(kept.closed).toBe(false);
});

test('a place that does not listen refuses connections', async () => {
  await places[1]!.close();
  const dialer = dial({ from: 1, to: 2 });
  await until(() => dialer.closed);
  places = places.filter((place) => place.id !== 2);
});

function identityOf(id: number): PeerIdentity {
  return { clusterId: 7, memberId: id, incarnation: 1, earlier: [], logSeq: 0, peerUrls: [] };
}

function helloOf(link: { readonly from: number; readonly to: number }): Frame {
  return encodeHello({ stream: 'append', sender: identityOf(link.from), to: link.to });
}

function write(socket: Socket, frame: Frame): void {
  for (const part of frame.parts) socket.write(part);
}

function dial(link: { readonly from: number; readonly to: number }): Dialer {
  return new Dialer(urls[link.to - 1]!, helloOf(link));
}

/** Every place has welcomed somebody: from now on the network knows who is who. */
async function introduceAll(): Promise<void> {
  await greeted(...places.map(({ id }) => dial({ from: (id % 3) + 1, to: id })));
  for (const { socket } of dialers.splice(0)) socket.destroy();
  await until(() => network.places.every((to) => network.places.every((from) => none({ from, to }))));
}

function none(direction: { readonly from: string; readonly to: string }): boolean {
  return network.connections(direction) === 0;
}

async function greeted(...those: readonly Dialer[]): Promise<void> {
  await until(() => those.every((dialer) => dialer.heardBytes > 0));
}

/** Proof that what could have arrived meanwhile has: bytes sent later have come and gone on another connection. */
async function roundTrip(link: { readonly from: number; readonly to: number }): Promise<void> {
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const dialer = dial(link);
    await greeted(dialer);
    dialer.socket.destroy();
  }
}

/** How long it takes until the place has all of `text` after what it has now. */
async function timed(dialer: Dialer, text: string): Promise<number> {
  const place = places[1]!;
  const before = place.text.length;
  const startedMs = performance.now();
  dialer.socket.write(text);
  await until(() => place.text.length >= before + text.length);
  return performance.now() - startedMs;
}

async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 60_000, interval: 2 });
}
