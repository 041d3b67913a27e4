import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { toRpcError } from '../../src/api/errors.ts';
import { Cancellation } from '../../src/lib/cancellation.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { MethodsServer } from '../../src/rpc/methods-server.ts';
import { RemoteMethods } from '../../src/rpc/remote-methods.ts';
import type {
  RpcCall,
  RpcServer,
  RpcWriter,
  ServerStreamHandler,
  UnaryHandler,
} from '../../src/rpc/server.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { AHEAD_MESSAGES_MAX, REMOTE_CALLS_MAX } from '../../src/rpc/thread-calls.ts';
import { eventually } from '../support/eventually.ts';

const SERVICE = 'config.v1.ConfigurationService';
const GET = `/${SERVICE}/GetConfiguration`;
const STREAM = `/${SERVICE}/StreamConfigurationUpdates`;

/** The client's side of a call, and what it was sent. */
class TestCall implements RpcCall, RpcWriter {
  readonly peer = '127.0.0.1:4711';
  readonly certificateName = 'ada';
  readonly signal = new Cancellation();
  readonly headers: (readonly [string, string])[] = [];
  readonly trailers: (readonly [string, string])[] = [];
  readonly written: string[] = [];
  readonly path: string;
  readonly deadlineMs: number;
  room = Infinity;
  #resume: () => void = () => undefined;

  constructor(path: string, timeoutMs = Infinity) {
    this.path = path;
    this.deadlineMs = performance.now() + timeoutMs;
  }

  metadata(name: string): string | undefined {
    return name === 'known' ? 'yes' : undefined;
  }

  onOver(): void {}

  onDrain(): void {}

  sendHeaders(fields: readonly (readonly [string, string])[]): void {
    this.headers.push(...fields);
  }

  setTrailer(name: string, value: string): void {
    this.trailers.push([name, value]);
  }

  get writable(): boolean {
    return this.written.length < this.room;
  }

  write(message: Buffer): void {
    this.written.push(message.toString());
  }

  drained(): Promise<void> {
    if (this.writable) return Promise.resolve();
    return new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(room: number): void {
    this.room = room;
    this.#resume();
  }
}

/** Keeps what is registered. */
class Handlers implements RpcServer {
  readonly unaries = new Map<string, UnaryHandler>();
  readonly streams = new Map<string, ServerStreamHandler>();

  unary(path: string, handler: UnaryHandler): void {
    this.unaries.set(path, handler);
  }

  serverStream(path: string, handler: ServerStreamHandler): void {
    this.streams.set(path, handler);
  }

  bidi(): void {}

  paths(): readonly string[] {
    return [...this.unaries.keys(), ...this.streams.keys()];
  }
}

const bugs: unknown[] = [];
const open: { close(): void }[] = [];

/** Both ends; the methods are registered with the server. */
function pair(): {
  readonly handlers: Handlers;
  readonly remote: RemoteMethods;
  readonly server: MethodsServer;
} {
  const { port1, port2 } = new MessageChannel();
  const remote = new RemoteMethods({ metadata: ['known', 'unknown'], absence: 'it is away' });
  const handlers = new Handlers();
  remote.register(handlers, SERVICE);
  remote.attach(port1);
  const server = new MethodsServer(port2, { errorStatus: toRpcError, onBug: (error) => bugs.push(error) });
  open.push(server, { close: () => remote.detach() });
  return { handlers, remote, server };
}

afterEach(() => {
  for (const end of open.splice(0)) end.close();
  bugs.length = 0;
});

test('a call brings its request and what is known of it there, and the answer with its trailers back', async () => {
  const { handlers, server } = pair();
  server.unary(GET, async (request, call) => {
    call.setTrailer('revision', '7');
    const left = call.deadlineMs - performance.now();
    const { peer, certificateName } = call;
    const seen = { peer, certificateName, known: call.metadata('known'), unknown: call.metadata('unknown') };
    return Buffer.from(
      JSON.stringify({ request: request.toString(), isTimed: left > 1_000 && left <= 60_000, ...seen }),
    );
  });
  const call = new TestCall(GET, 60_000);
  const answer = await handlers.unaries.get(GET)!(Buffer.from('hello'), call);
  expect(JSON.parse(String(answer))).toEqual({
    request: 'hello',
    isTimed: true,
    peer: '127.0.0.1:4711',
    certificateName: 'ada',
    known: 'yes',
  });
  expect(call.trailers).toEqual([['revision', '7']]);
});

test('a failure comes as the status that it is there; a bug tells nothing of itself', async () => {
  const { handlers, server } = pair();
  const failures: readonly unknown[] = [
    new RpcError(rpcStatus.notFound, 'no such thing'),
    new StoreError('compacted'),
    new Error('a secret'),
  ];
  let at = 0;
  server.unary(GET, () => Promise.reject(failures[at++]));
  const codes: unknown[] = [];
  for (const _ of failures) {
    codes.push(
      await handlers.unaries.get(GET)!(Buffer.alloc(0), new TestCall(GET)).catch((error: unknown) => error),
    );
  }
  expect(codes).toEqual([
    new RpcError(rpcStatus.notFound, 'no such thing'),
    new RpcError(rpcStatus.outOfRange, 'etcdserver: mvcc: required revision has been compacted'),
    new RpcError(rpcStatus.internal, 'etcdserver: internal error'),
  ]);
  expect(bugs).toEqual([failures[2]]);
  await expect(
    handlers.streams.get(STREAM)!(Buffer.alloc(0), new TestCall(STREAM), new TestCall(STREAM)),
  ).rejects.toEqual(new RpcError(rpcStatus.unimplemented, `unknown method ${STREAM}`));
});

test('a stream holds back while the client takes nothing, and ends when it goes', async () => {
  const { handlers, server } = pair();
  let made = 0;
  let over: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    over = resolve;
  });
  server.serverStream(STREAM, async (_request, call, out) => {
    call.sendHeaders([['begun', 'yes']]);
    while (!call.signal.aborted) {
      out.write(Buffer.from(String(made++)));
      if (!out.writable) await out.drained();
    }
    over();
  });
  const call = new TestCall(STREAM);
  call.room = 1;
  const stream = handlers.streams.get(STREAM)!(Buffer.alloc(0), call, call);
  await eventually('all that may be on its way', () => made > AHEAD_MESSAGES_MAX);
  expect({ made, headers: call.headers }).toEqual({
    made: AHEAD_MESSAGES_MAX + 1,
    headers: [['begun', 'yes']],
  });
  call.resume(Infinity);
  await eventually('more', () => made > 10 * AHEAD_MESSAGES_MAX);
  expect(call.written.slice(0, 500)).toEqual(Array.from({ length: 500 }, (_, at) => String(at)));
  call.signal.abort(new StoreError('canceled'));
  await expect(stream).rejects.toEqual(new StoreError('canceled'));
  await ended;
});

test('without the other thread calls fail at once, and so do those under way when it goes', async () => {
  const { handlers, remote, server } = pair();
  server.unary(GET, () => new Promise(() => undefined));
  const underWay = handlers.unaries.get(GET)!(Buffer.alloc(0), new TestCall(GET));
  server.close();
  const away = new RpcError(rpcStatus.unavailable, 'it is away');
  const canceled = await underWay.catch((error: unknown) => error);
  expect(canceled).toEqual(away);
  await expect(handlers.unaries.get(GET)!(Buffer.alloc(0), new TestCall(GET))).rejects.toEqual(away);

  const { port1, port2 } = new MessageChannel();
  const next = new MethodsServer(port2, { errorStatus: toRpcError, onBug: (error) => bugs.push(error) });
  open.push(next);
  next.unary(GET, async () => Buffer.from('again'));
  remote.attach(port1);
  expect(String(await handlers.unaries.get(GET)!(Buffer.alloc(0), new TestCall(GET)))).toBe('again');
  const closed = once(port2, 'close');
  remote.detach();
  await closed;
});

test('calls under way are bounded', async () => {
  const { handlers, server, remote } = pair();
  server.unary(GET, () => new Promise(() => undefined));
  const run = handlers.unaries.get(GET)!;
  const calls = Array.from({ length: REMOTE_CALLS_MAX }, () =>
    run(Buffer.alloc(0), new TestCall(GET)).catch((error: unknown) => (error as RpcError).code),
  );
  await expect(run(Buffer.alloc(0), new TestCall(GET))).rejects.toEqual(
    new RpcError(rpcStatus.resourceExhausted, 'too many calls are under way'),
  );
  remote.detach();
  expect(new Set(await Promise.all(calls))).toEqual(new Set([rpcStatus.unavailable]));
});
