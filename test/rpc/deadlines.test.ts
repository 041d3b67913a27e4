import { afterEach, beforeEach, expect, test } from 'vitest';
import { errorCode, setting } from '../../src/rpc/http2/protocol.ts';
import { eventually } from '../support/eventually.ts';
import { Harness } from './harness.ts';
import { RawClient } from './http2/raw-client.ts';

/** Deadlines of calls whose client does not read, does not ask properly, or was refused. */

const LARGE = Buffer.alloc(100_000);

let harness: Harness;
let client: RawClient;

beforeEach(async () => {
  harness = await new Harness({ callLimits: { connectionRequestBytesMax: 64 * 1024 } }).start();
  harness.server.unary('/t.S/Large', async () => LARGE);
  harness.server.unary('/t.S/Never', () => new Promise<Buffer>(() => undefined));
});
afterEach(async () => {
  client.destroy();
  await harness[Symbol.asyncDispose]();
  expect(harness.bugs).toEqual([]);
});

test('an answer that nobody took by the deadline is given up', async () => {
  let over = false;
  harness.server.unary('/t.S/Large-and-over', async (_, call) => {
    call.onOver(() => {
      over = true;
    });
    return LARGE;
  });
  client = await RawClient.open(harness.portNumber, [[setting.initialWindowSize, 1_000]]);
  client.call(1, '/t.S/Large-and-over', { fields: [['grpc-timeout', '30m']] });
  expect(await client.resetCode(1)).toBe(errorCode.cancel);
  expect(over).toBe(true);
  // Nothing of it comes any more.
  client.windowUpdate(1, 1_000_000);
  await client.handled();
  expect(client.data(1)).toHaveLength(1_000);
  expect(harness.server.callFigures.timed).toBe(0);
});

test('an answer without a deadline waits', async () => {
  client = await RawClient.open(harness.portNumber, [[setting.initialWindowSize, 1_000]]);
  client.call(1, '/t.S/Large');
  client.call(3, '/t.S/Large', { fields: [['grpc-timeout', '30m']] });
  expect(await client.resetCode(3)).toBe(errorCode.cancel);
  client.windowUpdate(1, 1_000_000);
  client.windowUpdate(0, 1_000_000);
  expect((await client.answer(1)).data).toHaveLength(LARGE.length + 5);
});

test('calls that were refused are not kept until their deadline', async () => {
  client = await RawClient.open(harness.portNumber);
  // Five fit.
  for (let i = 0; i < 20; i++) {
    client.call(1 + 2 * i, '/t.S/Never', { fields: [['grpc-timeout', '1H']] });
  }
  expect((await client.answer(39)).trailers).toContain('too many requests');
  expect(harness.server.callFigures).toMatchObject({ open: 5, timed: 5 });
  client.destroy();
  await eventually('the end', () => harness.server.callFigures.open === 0 || undefined);
  expect(harness.server.callFigures.timed).toBe(0);
});

test('a timeout that is none is refused, as by grpc-go', async () => {
  client = await RawClient.open(harness.portNumber);
  for (const [at, text] of ['soon', '123456789S', '5', '-1S'].entries()) {
    client.call(1 + 2 * at, '/t.S/Large', { fields: [['grpc-timeout', text]] });
    const { trailers } = await client.answer(1 + 2 * at);
    expect(trailers).toContain(`malformed grpc-timeout: "${text}"`);
  }
});
