import { type ClientHttp2Stream, connect } from 'node:http2';
import { afterEach, expect, test } from 'vitest';
import { toRpcError } from '../../src/api/errors.ts';
import { aborted } from '../../src/lib/cancellation.ts';
import { ClientPort } from '../../src/rpc/client-port.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import type { RpcCall } from '../../src/rpc/server.ts';
import { failure, Harness } from './harness.ts';

const PATH = '/test.Test/Pieces';
const PIECES = Array.from({ length: 40 }, (_, i) => Buffer.alloc(100_000 + i, i));

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const item of open.splice(0)) await item[Symbol.asyncDispose]();
});

test('an answer in pieces is one message, and the call is over once it is sent', async () => {
  const server = new Harness();
  open.push(server);
  let over = (): void => undefined;
  const isOver = new Promise<void>((resolve) => {
    over = resolve;
  });
  server.server.unary(PATH, async (_, call: RpcCall) => {
    call.onOver(over);
    call.setTrailer('extra', 'yes');
    return PIECES;
  });
  await server.start();
  const answer = await server.unaryBytes(PATH, Buffer.alloc(0));
  expect(answer.equals(Buffer.concat(PIECES))).toBe(true);
  await isOver;
  expect(server.bugs).toEqual([]);
});

test('a deadline in the middle of an answer ends it', async () => {
  const server = new Harness();
  open.push(server);
  server.server.unary(PATH, async (_, call) => {
    await aborted(call.signal);
    return PIECES;
  });
  await server.start();
  const failed = await failure(server.unaryBytes(PATH, Buffer.alloc(0), { deadlineMs: 50 }));
  expect(failed.code).toBe(4);
  expect(server.bugs).toEqual([]);
});

test.each([
  ['nothing', PIECES],
  ['nothing of the last piece', [Buffer.alloc(10), Buffer.alloc(400_000)]],
])('a client that takes %s is cut off, and its room is free again', async (_case, pieces) => {
  const grpc = new GrpcServer({ errorStatus: toRpcError, onBug: () => undefined, answerStallMs: 50 });
  const ended = new Promise<void>((resolve) => {
    grpc.unary(PATH, async (_, call) => {
      call.onOver(resolve);
      return pieces;
    });
  });
  const port = new ClientPort({ grpc, http: (_request, response) => response.end() });
  open.push(port);
  const [address] = await port.listen(['http://127.0.0.1:0']);
  const session = connect(address!.url);
  const stream: ClientHttp2Stream = session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => undefined);
  stream.pause();
  stream.end(Buffer.alloc(5));
  await ended;
  session.destroy();
});
