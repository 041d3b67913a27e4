import { expect, test } from 'vitest';
import { GrpcConnection } from '../../../bench/load/grpc-connection.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import { Harness } from '../../rpc/harness.ts';

const NOT_FOUND = 5;

async function connected(harness: Harness): Promise<GrpcConnection & AsyncDisposable> {
  await harness.start();
  const connection = await GrpcConnection.open(`http://${harness.address}`);
  const close = async (): Promise<void> => {
    connection.close();
    await harness[Symbol.asyncDispose]();
  };
  return Object.assign(connection, { [Symbol.asyncDispose]: close });
}

test('calls are answered each with its own, many at a time', async () => {
  const harness = new Harness();
  harness.server.unary('/a.B/Echo', async (request) => request);
  await using connection = await connected(harness);
  const messages = Array.from({ length: 500 }, (_, at) => Buffer.from(`message ${at}`));
  const answers = await Promise.all(messages.map((message) => connection.call('/a.B/Echo', message)));
  expect(answers.map(String)).toEqual(messages.map(String));
});

test('more is sent than the windows hold, and answers are larger than a frame', async () => {
  const harness = new Harness();
  harness.server.unary('/a.B/Eightfold', async (request) => Buffer.concat(Array(8).fill(request)));
  await using connection = await connected(harness);
  const message = Buffer.alloc(16_000, 'x');
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => connection.call('/a.B/Eightfold', message)),
  );
  for (const answer of answers) expect(answer.equals(Buffer.alloc(128_000, 'x'))).toBe(true);
});

test('a call that fails says with which status', async () => {
  const harness = new Harness();
  harness.server.unary('/a.B/Fail', async () => {
    throw new StoreError('lease-not-found');
  });
  await using connection = await connected(harness);
  await expect(connection.call('/a.B/Fail', Buffer.alloc(0))).rejects.toMatchObject({ status: NOT_FOUND });
  // Once the header block is known.
  await expect(connection.call('/a.B/Fail', Buffer.alloc(0))).rejects.toMatchObject({ status: NOT_FOUND });
});

test('a stream takes more messages than its window holds, and every answer arrives', async () => {
  const count = 3_000;
  const harness = new Harness();
  harness.server.bidi('/a.B/Each', async (requests, _call, out) => {
    for await (const request of requests) {
      out.write(request);
      if (!out.writable) await out.drained();
    }
  });
  await using connection = await connected(harness);
  let received = 0;
  await new Promise<void>((resolve, reject) => {
    const send = connection.stream('/a.B/Each', {
      message: (bytes) => {
        expect(bytes.readUInt32BE(0)).toBe(received);
        received += 1;
        if (received === count) resolve();
      },
      end: (status) => reject(new Error(`ended with ${status}`)),
    });
    for (let number = 0; number < count; number++) {
      const message = Buffer.alloc(100);
      message.writeUInt32BE(number);
      send(message);
    }
  });
  expect(received).toBe(count);
});

test('calls beyond the streams that the server takes wait for others to end', async () => {
  const harness = new Harness({ concurrentStreamsMax: 10 });
  let open = 0;
  let openMost = 0;
  harness.server.unary('/a.B/Count', async (request) => {
    open += 1;
    openMost = Math.max(openMost, open);
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
    return request;
  });
  await using connection = await connected(harness);
  // The server's settings are there with its first answer.
  await connection.call('/a.B/Count', Buffer.alloc(1));
  const calls = Array.from({ length: 100 }, () => connection.call('/a.B/Count', Buffer.alloc(1)));
  expect(await Promise.all(calls)).toHaveLength(100);
  expect(openMost).toBe(10);
});

test('when the connection ends, calls fail and streams end, and so do later ones', async () => {
  const harness = new Harness();
  harness.server.unary('/a.B/Never', () => new Promise(() => undefined));
  harness.server.bidi('/a.B/Stream', () => new Promise(() => undefined));
  await using connection = await connected(harness);
  const call = connection.call('/a.B/Never', Buffer.alloc(0));
  const ended = new Promise<number | null>((resolve) => {
    connection.stream('/a.B/Stream', { message: () => undefined, end: resolve });
  });
  connection.close();
  await expect(call).rejects.toMatchObject({ status: null });
  expect(await ended).toBeNull();
  expect(connection.isClosed).toBe(true);
  await expect(connection.call('/a.B/Never', Buffer.alloc(0))).rejects.toMatchObject({ status: null });
});

test('nobody there is an error', async () => {
  const harness = await new Harness().start();
  await harness[Symbol.asyncDispose]();
  await expect(GrpcConnection.open(`http://${harness.address}`)).rejects.toThrow('ECONNREFUSED');
});

test('a message larger than a frame is refused, not cut', async () => {
  await using connection = await connected(new Harness());
  await expect(connection.call('/a.B/C', Buffer.alloc(20_000))).rejects.toThrow('larger than a frame');
});
