import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { type Codec, codec, type MethodDescription, serviceMethods } from '../../../src/rpc/codec.ts';
import type { WatchResponse } from '../../../src/rpc/generated/etcdserverpb/rpc.ts';
import type { Messages } from '../../../src/rpc/generated/messages.ts';
import { type Identity, normalised, normalisedWatch } from './normalise.ts';
import { type Plain, plain } from './plain.ts';
import type { Server } from './server.ts';

/** How a call ended: the answer normalised, or exactly the status that the server sent. */
export type Outcome =
  | { readonly ok: true; readonly answer: Plain }
  | { readonly ok: false; readonly code: number; readonly text: string };

const DEADLINE_MS = 20_000;
/** Shows a token that nobody was given. */
export const NOBODY = 'nobody';
/** One address may guess a password every second: after this Conclave takes another. */
const GUESS_MS = 1_100;
const GUESSES_MAX = 30;

/** One of the two servers, asked by grpc-js with nothing in between. */
export class Side {
  readonly server: Server;
  readonly identity: Identity;
  readonly #client: Client;
  readonly #tokens = new Map<string, string>();
  readonly #streams = new Map<number, WatchTape>();

  private constructor(server: Server, client: Client, identity: Identity) {
    this.server = server;
    this.#client = client;
    this.identity = identity;
  }

  static async connect(server: Server): Promise<Side> {
    const client = new Client(new URL(server.clientUrl).host, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
    });
    const { header } = (await unary(client, method('Maintenance/Status'), {}, new Metadata())) as {
      readonly header: { cluster_id: number | bigint; member_id: number | bigint; raft_term: number };
    };
    return new Side(server, client, {
      cluster: String(header.cluster_id),
      member: header.member_id,
      term: String(header.raft_term),
      clientUrl: server.clientUrl,
      peerUrl: server.peerUrl,
      chosenLeases: new Set(),
    });
  }

  async call(path: string, request: object, as?: string): Promise<Outcome> {
    try {
      const answer = await unary(this.#client, method(path), request, this.#metadata(as));
      return { ok: true, answer: normalised(path, request, plain(answer), this.identity) };
    } catch (error) {
      return failure(error);
    }
  }

  /** The token is kept for calls in this name; of a failed login nothing is kept. */
  async login(name: string, password: string): Promise<Outcome> {
    for (let guess = 1; ; guess++) {
      const outcome = await this.#loginOnce(name, password);
      if (outcome.ok || outcome.code !== status.RESOURCE_EXHAUSTED || guess === GUESSES_MAX) return outcome;
      await new Promise((resolve) => setTimeout(resolve, GUESS_MS));
    }
  }

  async #loginOnce(name: string, password: string): Promise<Outcome> {
    try {
      const found = method('Auth/Authenticate');
      const answer = (await unary(this.#client, found, { name, password }, new Metadata())) as {
        readonly token: string;
      };
      this.#tokens.set(name, answer.token);
      return { ok: true, answer: normalised('Auth/Authenticate', {}, plain(answer), this.identity) };
    } catch (error) {
      return failure(error);
    }
  }

  /** One renewal on a stream of its own. */
  keepAlive(request: object, as?: string): Promise<Outcome> {
    const stream = this.#duplex('Lease/LeaseKeepAlive', as);
    return new Promise((resolve) => {
      stream.once('error', (error) => resolve(failure(error)));
      stream.once('data', (answer: object) => {
        stream.end();
        resolve({
          ok: true,
          answer: normalised('Lease/LeaseKeepAlive', request, plain(answer), this.identity),
        });
      });
      stream.write(request);
    });
  }

  /** The stream of that number; opened when it is not there, in the name of `as`. */
  watches(stream: number, as?: string): WatchTape {
    let found = this.#streams.get(stream);
    if (found === undefined) {
      found = new WatchTape(this.#duplex('Watch/Watch', as), this.identity);
      this.#streams.set(stream, found);
    }
    return found;
  }

  hasStream(stream: number): boolean {
    return this.#streams.has(stream);
  }

  get tapes(): ReadonlyMap<number, WatchTape> {
    return this.#streams;
  }

  closeStream(stream: number): void {
    this.#streams.get(stream)?.close();
    this.#streams.delete(stream);
  }

  close(): void {
    for (const stream of this.#streams.values()) stream.close();
    this.#client.close();
  }

  #metadata(as?: string): Metadata {
    const metadata = new Metadata();
    const token = as === NOBODY ? 'none' : this.#tokens.get(as ?? '');
    if (token !== undefined) metadata.set('token', token);
    return metadata;
  }

  #duplex(path: string, as?: string): Duplex {
    const found = method(path);
    return this.#client.makeBidiStreamRequest(
      found.path,
      (message: object) => encoderOf(found).encode(message),
      (bytes) => codec(found.response).decode(bytes),
      this.#metadata(as),
    );
  }
}

/** Items by watch id. */
export type Tape = { readonly [id: string]: readonly Plain[] };

type Duplex = ClientDuplexStream<object, object>;

/** What one watch stream delivered: for every watch id in order, whatever the messages it came in. */
export class WatchTape {
  readonly #stream: Duplex;
  readonly #byId = new Map<string, Plain[]>();
  readonly #open = new Set<string>();
  readonly #waiters = new Set<() => void>();
  #answers = 0;
  #hasEnded = false;
  #hasCompacted = false;
  #reason = '';

  constructor(stream: Duplex, identity: Identity) {
    this.#stream = stream;
    stream.on('data', (message: object) => {
      const { id, items, isAnswer } = normalisedWatch(plain(message), identity);
      this.#append(id, items);
      if (isAnswer) this.#answers += 1;
      const { created, canceled } = message as WatchResponse;
      if (canceled) this.#ended(id, message as WatchResponse);
      else if (created) this.#open.add(id);
      this.#wake();
    });
    stream.on('error', (error: Partial<ServiceError>) => {
      this.#append('stream', [{ ended: String(error.code), text: error.details ?? '' }]);
      this.#answers += 1;
      this.#hasEnded = true;
      this.#wake();
    });
  }

  /** Answers to what was asked on it: creations, cancels, progress, or its end. */
  get answers(): number {
    return this.#answers;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** A watch on it was ended by a compaction. */
  get hasCompacted(): boolean {
    return this.#hasCompacted;
  }

  /** Why the last watch that ended did. */
  get reason(): string {
    return this.#reason;
  }

  isOpen(id: string): boolean {
    return this.#open.has(id);
  }

  /** Drops what was delivered: it was compared. */
  forget(): void {
    this.#byId.clear();
  }

  send(request: object): void {
    this.#stream.write(request);
  }

  /** Everything delivered so far, by watch id. */
  items(): Tape {
    return Object.fromEntries(this.#byId);
  }

  count(id: string): number {
    return this.#byId.get(id)?.length ?? 0;
  }

  /** @returns false when `holds` did not come true in `patienceMs` */
  async until(holds: () => boolean, patienceMs = DEADLINE_MS): Promise<boolean> {
    const endMs = performance.now() + patienceMs;
    while (!holds()) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return false;
      await this.changed(leftMs);
    }
    return true;
  }

  close(): void {
    this.#stream.cancel();
  }

  #ended(id: string, response: WatchResponse): void {
    this.#open.delete(id);
    this.#reason = response.cancel_reason;
    if (Number(response.compact_revision) !== 0) this.#hasCompacted = true;
  }

  #append(id: string, items: readonly Plain[]): void {
    const tape = this.#byId.get(id) ?? [];
    tape.push(...items);
    this.#byId.set(id, tape);
  }

  /** Something more was delivered, or `patienceMs` passed. */
  changed(patienceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, patienceMs);
      this.#waiters.add(done);
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }
}

function failure(error: unknown): Outcome {
  const { code, details } = error as Partial<ServiceError>;
  if (code === undefined) throw error;
  return { ok: false, code, text: details ?? '' };
}

const methods = new Map<string, MethodDescription>();

function method(path: string): MethodDescription {
  const full = path.includes('.') ? `/${path}` : `/etcdserverpb.${path}`;
  let found = methods.get(full);
  if (found === undefined) {
    found = serviceMethods(full.slice(1, full.indexOf('/', 1))).find((item) => item.path === full);
    if (found === undefined) throw new Error(`there is no method ${full}`);
    methods.set(full, found);
  }
  return found;
}

function encoderOf(found: MethodDescription): { encode(message: object): Buffer } {
  return codec(found.request) as Codec<object>;
}

function unary(
  client: Client,
  found: MethodDescription,
  request: object,
  metadata: Metadata,
): Promise<Messages[keyof Messages]> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      found.path,
      (message: object) => encoderOf(found).encode(message),
      (bytes) => codec(found.response).decode(bytes),
      request,
      metadata,
      { deadline: Date.now() + DEADLINE_MS },
      (error: ServiceError | null, answer) => {
        if (error !== null) reject(error);
        else resolve(answer!);
      },
    );
  });
}
