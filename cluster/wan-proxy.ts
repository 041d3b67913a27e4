import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { FrameDecoder, frameKinds, ProtocolError } from '../src/member/transport/frame.ts';
import { decodeHello, decodeWelcome } from '../src/member/transport/handshake.ts';
import { HANDSHAKE_FRAME_BYTES_MAX } from '../src/member/transport/limits.ts';
import { parsePeerUrl } from '../src/member/transport/peer-url.ts';
import { CLEAR, Lane, Link, type LinkConditions, type LinkPorts, type Parcel } from './wan-link.ts';

/** The place that whoever dials without saying who it is belongs to: probes of members that start, strangers. */
export const ANYBODY = 'anybody';

/** A directed pair of places. */
export interface Direction {
  readonly from: string;
  readonly to: string;
}

/** Where a proxy listens. */
export interface ListenAddress {
  readonly host: string;
  /** 0 = any that is free. */
  readonly port: number;
}

export interface WanNetworkOptions {
  /** Even over [0, 1); for the jitter. Default Math.random. */
  readonly random?: () => number;
}

/** Connections through one proxy, beyond which new ones are closed at once. */
const CONNECTIONS_MAX = 1024;
const HOST = '127.0.0.1';

/**
 * A wide-area network between processes of this machine. Each place stands behind a TCP proxy that the others are
 * told to dial. What happens to bytes is decided per directed pair of places: members are told apart by the hello
 * that begins each of their connections, so one advertised address serves any number of rules.
 */
export class WanNetwork implements AsyncDisposable {
  readonly #ports: LinkPorts;
  readonly #links = new Map<string, Map<string, Link>>();
  readonly #proxies: Proxy[] = [];
  /** Places by member id, learned from the welcomes that pass. */
  readonly #placeOf = new Map<number, string>();

  constructor(options: WanNetworkOptions = {}) {
    this.#ports = { nowMs: () => performance.now(), random: options.random ?? Math.random };
  }

  /** All places named so far. */
  get places(): readonly string[] {
    return [...new Set(this.#proxies.map((proxy) => proxy.place))];
  }

  /**
   * Puts a proxy in front of an address of `place`.
   *
   * @param options.target `http://host:port`
   * @param options.dialer the place of everybody who dials this address; without it members say who they are
   * @param options.listen where the proxy listens; a free port of the loopback address when absent
   * @returns the URL to be advertised
   * @throws Error with the system's code, such as EADDRINUSE, when nothing can listen there
   */
  async expose(
    place: string,
    options: { readonly target: string; readonly dialer?: string; readonly listen?: ListenAddress },
  ): Promise<string> {
    const proxy = new Proxy({
      place,
      target: options.target,
      dialer: options.dialer ?? null,
      listen: options.listen ?? { host: HOST, port: 0 },
      ports: this.#ports,
      link: (direction) => this.#link(direction),
      placeOf: (id) => this.#placeOf.get(id) ?? ANYBODY,
      learn: (id) => this.#placeOf.set(id, place),
    });
    const url = await proxy.listen();
    this.#proxies.push(proxy);
    return url;
  }

  /** Changes conditions of one directed link; what is not given stays. */
  shape(direction: Direction, conditions: Partial<LinkConditions>): void {
    const link = this.#link(direction);
    link.conditions = { ...link.conditions, ...conditions };
    this.#changed();
  }

  /** Changes conditions between all places, both ways. */
  shapeAll(conditions: Partial<LinkConditions>): void {
    for (const from of this.places) {
      for (const to of this.places) if (from !== to) this.shape({ from, to }, conditions);
    }
  }

  /** Lets nothing through in one direction; connections stay as they are. */
  cut(...directions: readonly Direction[]): void {
    for (const direction of directions) this.shape(direction, { cut: true });
  }

  /** Cuts both ways between places of different groups. Places in no group keep all their links. */
  partition(...groups: readonly (readonly string[])[]): void {
    for (const [at, group] of groups.entries()) {
      for (const other of groups.slice(at + 1).flat()) {
        for (const place of group) this.cut({ from: place, to: other }, { from: other, to: place });
      }
    }
  }

  /** Cuts a place from all others, and from those who do not say who they are. */
  isolate(place: string): void {
    const others = this.places.filter((other) => other !== place);
    this.partition([place], [...others, ANYBODY]);
  }

  /** Ends every cut. */
  heal(): void {
    for (const link of this.#allLinks()) link.conditions = { ...link.conditions, cut: false };
    this.#changed();
  }

  /** Makes every link clear again. */
  clear(): void {
    for (const link of this.#allLinks()) link.conditions = CLEAR;
    this.#changed();
  }

  /**
   * Resets connections that `from` has opened to `to`, at both ends, whatever is on its way.
   *
   * @returns how many there were
   */
  reset({ from, to }: Direction): number {
    return this.#proxies.reduce((sum, proxy) => sum + (proxy.place === to ? proxy.reset(from) : 0), 0);
  }

  /** Connections that `from` has open to `to` now. */
  connections({ from, to }: Direction): number {
    return this.#proxies.reduce((sum, proxy) => sum + (proxy.place === to ? proxy.count(from) : 0), 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map(async (proxy) => proxy.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #link({ from, to }: Direction): Link {
    let row = this.#links.get(from);
    if (row === undefined) this.#links.set(from, (row = new Map<string, Link>()));
    let link = row.get(to);
    if (link === undefined) row.set(to, (link = new Link(this.#ports)));
    return link;
  }

  #allLinks(): readonly Link[] {
    return [...this.#links.values()].flatMap((row) => [...row.values()]);
  }

  #changed(): void {
    for (const proxy of this.#proxies) proxy.changed();
  }
}

interface ProxyOptions {
  readonly place: string;
  readonly target: string;
  readonly dialer: string | null;
  readonly listen: ListenAddress;
  readonly ports: LinkPorts;
  readonly link: (direction: Direction) => Link;
  readonly placeOf: (memberId: number) => string;
  readonly learn: (memberId: number) => void;
}

/** The listener in front of one address. */
class Proxy {
  readonly #options: ProxyOptions;
  readonly #server: Server;
  readonly #wires = new Set<Wire>();

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.#accept(near));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  get place(): string {
    return this.#options.place;
  }

  async listen(): Promise<string> {
    this.#server.listen(this.#options.listen);
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
    return `http://${this.#options.listen.host}:${address.port}`;
  }

  changed(): void {
    for (const wire of this.#wires) wire.changed();
  }

  reset(from: string): number {
    const wires = [...this.#wires].filter((wire) => wire.from === from);
    for (const wire of wires) wire.destroy();
    return wires.length;
  }

  count(from: string): number {
    return [...this.#wires].filter((wire) => wire.from === from).length;
  }

  async close(): Promise<void> {
    for (const wire of this.#wires) wire.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(near: Socket): void {
    const wire = new Wire(this.#options, near, () => this.#wires.delete(wire));
    this.#wires.add(wire);
  }
}

/**
 * One proxied connection. The far end is dialed only when the first bytes arrive there and both directions are open:
 * a cut in either keeps TCP from connecting. While nobody has said who dials, nothing is passed on.
 */
class Wire {
  readonly #options: ProxyOptions;
  readonly #near: Socket;
  readonly #onEnd: () => void;
  readonly #there: Lane;
  readonly #back: Lane;
  readonly #greeting: FirstFrame | null;
  #far: Socket | null = null;
  /** Null until the first frame has come; 0 when it named nobody. */
  #dialerId: number | null = null;
  #gone = { near: false, far: false };

  constructor(options: ProxyOptions, near: Socket, onEnd: () => void) {
    this.#options = options;
    this.#near = near;
    this.#onEnd = onEnd;
    this.#greeting = options.dialer === null ? new FirstFrame(frameKinds.hello) : null;
    const { ports, link, place } = options;
    this.#there = new Lane({
      ports,
      link: () => link({ from: this.from, to: place }),
      open: () => this.#identified && (this.#far !== null || !this.#backLink.conditions.cut),
      deliver: (parcel) => this.#deliverThere(parcel),
      holdBack: (hold) => holdBack(near, hold),
    });
    this.#back = new Lane({
      ports,
      link: () => this.#backLink,
      open: () => true,
      deliver: (parcel) => hand(near, parcel),
      holdBack: (hold) => holdBack(this.#far, hold),
    });
    near.on('data', (chunk: Buffer) => this.#fromNear(chunk));
    follow(near, this.#there, () => {
      this.#gone.near = true;
      // What the far end would still say has no receiver; its own end comes when it has heard of this one.
      this.#back.close();
      if (this.#far === null) this.destroy();
      else this.#settle();
    });
    near.on('drain', () => this.#back.drained());
  }

  get from(): string {
    const { dialer, placeOf } = this.#options;
    return dialer ?? (this.#dialerId === null ? ANYBODY : placeOf(this.#dialerId));
  }

  changed(): void {
    this.#there.changed();
    this.#back.changed();
  }

  /** Ends both halves at once, with a reset. */
  destroy(): void {
    this.#there.close();
    this.#back.close();
    this.#near.resetAndDestroy();
    this.#far?.resetAndDestroy();
    this.#onEnd();
  }

  get #identified(): boolean {
    return this.#greeting === null || this.#dialerId !== null;
  }

  get #backLink(): Link {
    return this.#options.link({ from: this.#options.place, to: this.from });
  }

  #fromNear(chunk: Buffer): void {
    if (this.#identified || this.#greeting === null) {
      this.#there.push({ type: 'bytes', bytes: chunk });
      return;
    }
    const frame = this.#greeting.push(chunk);
    if (frame !== 'incomplete') this.#dialerId = senderOf(frame);
    this.#there.push({ type: 'bytes', bytes: chunk });
  }

  #deliverThere(parcel: Parcel): boolean {
    this.#far ??= this.#dial();
    return hand(this.#far, parcel);
  }

  #dial(): Socket {
    const far = connect({ ...parsePeerUrl(this.#options.target), allowHalfOpen: true, noDelay: true });
    const welcome = this.#options.dialer === null ? new FirstFrame(frameKinds.welcome) : null;
    far.on('data', (chunk: Buffer) => {
      const frame = welcome?.push(chunk) ?? null;
      if (frame !== null && frame !== 'incomplete') this.#learnFrom(frame);
      this.#back.push({ type: 'bytes', bytes: chunk });
    });
    far.on('drain', () => this.#there.drained());
    follow(far, this.#back, () => {
      this.#gone.far = true;
      this.#there.close();
      this.#settle();
    });
    return far;
  }

  #learnFrom(welcome: Buffer): void {
    const id = orNull(() => decodeWelcome(welcome).memberId);
    if (id !== null) this.#options.learn(id);
  }

  #settle(): void {
    if (this.#gone.near && this.#gone.far) this.#onEnd();
  }
}

/** Passes a socket's ends on, as parcels: they travel like bytes. */
function follow(socket: Socket, lane: Lane, closed: () => void): void {
  let ended = false;
  socket.on('end', () => {
    ended = true;
    lane.push({ type: 'end' });
  });
  socket.on('error', () => {});
  socket.on('close', (hadError: boolean) => {
    if (hadError || !ended) lane.push({ type: 'reset' });
    closed();
  });
}

function hand(socket: Socket, parcel: Parcel): boolean {
  switch (parcel.type) {
    case 'bytes':
      return socket.writable ? socket.write(parcel.bytes) : true;
    case 'end':
      socket.end();
      return true;
    case 'reset':
      socket.resetAndDestroy();
      return true;
  }
}

function holdBack(socket: Socket | null, hold: boolean): void {
  if (socket === null || socket.isPaused() === hold) return;
  if (hold) socket.pause();
  else socket.resume();
}

/** Reads the first frame of one direction and nothing after it. */
class FirstFrame {
  readonly #kind: number;
  #decoder: FrameDecoder | null = new FrameDecoder(HANDSHAKE_FRAME_BYTES_MAX);

  constructor(kind: number) {
    this.#kind = kind;
  }

  /** The frame's payload; null when it is not one of the kind expected, or was given before. */
  push(chunk: Buffer): Buffer | 'incomplete' | null {
    const decoder = this.#decoder;
    if (decoder === null) return null;
    let found: Buffer | null = null;
    const taken = orNull(() => {
      decoder.push(chunk, (kind, payload) => {
        if (this.#decoder === null) return;
        this.#decoder = null;
        if (kind === this.#kind) found = Buffer.from(payload);
      });
      return true;
    });
    if (taken === null) this.#decoder = null;
    return this.#decoder === null ? found : 'incomplete';
  }
}

/** The id in a hello; 0 when it names nobody or is none. */
function senderOf(hello: Buffer | null): number {
  if (hello === null) return 0;
  const decoded = orNull(() => decodeHello(hello));
  return decoded !== null && 'hello' in decoded ? decoded.hello.sender.memberId : 0;
}

/** Null for bytes that are not of the members' protocol: they are passed on all the same. */
function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}
