import type { AppendRequest, Entry, Heartbeat, MemberId, Message } from '../../../src/core/raft/messages.ts';
import type {
  Clock,
  PeerAddress,
  PeerIdentity,
  Random,
  Timer,
  Transport,
  TransportHandlers,
} from '../../../src/member/ports.ts';
import type { Frame } from '../../../src/member/transport/frame.ts';

/** A transport that says where it listens, as both implementations do. */
export type ListeningTransport = Transport & { readonly listenUrls: readonly string[] };

export const CLUSTER_ID = 0x1234_5678_9abc;

/** A member reduced to its transport and what that told it. Behaviour is changed by assigning the handlers. */
export class TestMember {
  readonly transport: ListeningTransport;
  readonly identity: PeerIdentity;
  readonly received: Message[] = [];
  /** How many messages each call to the handler brought. */
  readonly batches: number[] = [];
  readonly requests: string[] = [];
  readonly unreachable: MemberId[] = [];
  readonly snapshots: Buffer[] = [];
  admit: TransportHandlers['admit'] = () => null;
  request: TransportHandlers['request'] = async (from, body) => Buffer.from(`${from}:${body.toString()}`);
  snapshot: TransportHandlers['snapshot'] = async (_from, frames) => {
    const parts: Buffer[] = [];
    for await (const frame of frames) parts.push(frame);
    this.snapshots.push(Buffer.concat(parts));
  };
  probe: TransportHandlers['probe'] = async (body) => Buffer.from(`probed ${body.toString()}`);

  constructor(
    transport: ListeningTransport,
    identity: Partial<PeerIdentity> & { readonly memberId: number },
  ) {
    this.transport = transport;
    this.identity = {
      clusterId: CLUSTER_ID,
      incarnation: 1,
      earlier: [],
      logSeq: 0,
      peerUrls: [],
      ...identity,
    };
  }

  async start(): Promise<this> {
    await this.transport.start(this.identity, {
      messages: (_from, messages) => {
        this.batches.push(messages.length);
        this.received.push(...messages);
      },
      request: async (from, body) => {
        this.requests.push(body.toString());
        return this.request(from, body);
      },
      snapshot: async (from, frames) => this.snapshot(from, frames),
      probe: async (body) => this.probe(body),
      admit: (identity) => this.admit(identity),
      unreachable: (id) => this.unreachable.push(id),
    });
    return this;
  }

  get id(): MemberId {
    return this.identity.memberId;
  }

  get address(): PeerAddress {
    return { id: this.id, peerUrls: this.transport.listenUrls };
  }

  knows(...others: readonly TestMember[]): void {
    this.transport.setPeers(others.map((other) => other.address));
  }

  heartbeats(): readonly Heartbeat[] {
    return this.received.filter((message): message is Heartbeat => message.type === 'heartbeat');
  }

  appends(): readonly AppendRequest[] {
    return this.received.filter((message): message is AppendRequest => message.type === 'append');
  }
}

/** What has not come about by then never will. */
const PATIENCE_MS = 60_000;

/** Lets the event loop turn until the condition holds. */
export async function eventually(condition: () => boolean, what = 'the condition'): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`never happened: ${what}`);
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}

export function heartbeat(from: MemberId, to: MemberId, readSeq = 0): Heartbeat {
  return { type: 'heartbeat', from, to, term: 3, commit: 7, readSeq };
}

export function append(from: MemberId, to: MemberId, options: Partial<AppendRequest> = {}): AppendRequest {
  return {
    type: 'append',
    from,
    to,
    term: 3,
    prevIndex: 10,
    prevTerm: 2,
    entries: [],
    commit: 9,
    ...options,
  };
}

export function entry(index: number, data: Buffer | string, term = 3): Entry {
  return { index, term, kind: 'normal', data: Buffer.from(data) };
}

export async function* framesOf(...frames: readonly (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const frame of frames) yield Buffer.from(frame);
}

/**
 * Time that is counted in turns of the event loop, each a millisecond: sockets keep pace with it however busy the
 * machine is, and seconds pass in a moment. Runs until `close`.
 */
export class TurnClock implements Clock {
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();
  #nowMs = 0;
  #closed = false;

  constructor() {
    this.#turn();
  }

  nowMs(): number {
    return this.#nowMs;
  }

  uptimeMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  setImmediate(callback: () => void): void {
    setImmediate(callback);
  }

  /** Timers that have neither called back nor been canceled. */
  get timerCount(): number {
    return this.#timers.size;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #turn(): void {
    this.#nowMs++;
    for (const timer of this.#timers) {
      if (timer.atMs <= this.#nowMs && this.#timers.delete(timer)) timer.callback();
    }
    if (!this.#closed) setImmediate(() => this.#turn());
  }
}

/** Never aborted. */
export function never(): AbortSignal {
  return new AbortController().signal;
}

/** Repeatable; good enough to spread delays. */
export function seededRandom(seed: number): Random {
  let state = seed;
  return {
    integer(bound) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((state / 2 ** 32) * bound);
    },
  };
}

/** A frame as it goes over the wire. */
export function bytesOf({ parts }: Frame): Buffer {
  return Buffer.concat(parts);
}
