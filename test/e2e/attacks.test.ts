import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { callHeaders, FLAG, FRAME, headerBlock, RawHttp2 } from '../support/raw-http2.ts';

/** A real member under attack: it serves others meanwhile, and its memory stays within bounds. */

const MIB = 1024 * 1024;
/** What one attack may add to the member's resident memory; its bound for requests is 256 MiB. */
const GROWTH_BYTES_MAX = 600 * MIB;
/** Slowest answer that a bystander may get while an attack goes on. */
const ANSWER_MS_MAX = 10_000;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start(1);
});
afterAll(async () => cluster.destroy());

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const port = (): number => Number(new URL(cluster.members[0]!.clientUrl).port);

function attacker(greet = true): RawHttp2 {
  const client = new RawHttp2(port(), greet);
  cleanups.push(() => client.destroy());
  return client;
}

function residentBytes(): number {
  const status = readFileSync(`/proc/${cluster.members[0]!.process!.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

/** Runs the attack beside an ordinary client, which must be answered all the time. */
async function withstand(attack: () => Promise<void>): Promise<void> {
  const before = residentBytes();
  let peak = before;
  let slowestMs = 0;
  let over = false;
  using client = new KvClient({ endpoints: [cluster.members[0]!.clientUrl], timeoutMs: ANSWER_MS_MAX });
  const bystander = (async () => {
    for (let round = 0; !over || round < 10; round += 1) {
      const startMs = performance.now();
      await client.put({ key: 'k', value: String(round) });
      slowestMs = Math.max(slowestMs, performance.now() - startMs);
      peak = Math.max(peak, residentBytes());
    }
  })();
  await Promise.all([attack().finally(() => (over = true)), bystander]);
  expect(slowestMs).toBeLessThan(ANSWER_MS_MAX);
  expect(peak - before).toBeLessThan(GROWTH_BYTES_MAX);
  expect(cluster.members[0]!.process!.running).toBe(true);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('requests canceled as soon as they are made', async () => {
  await withstand(async () => {
    const payload = headerBlock(callHeaders('/etcdserverpb.KV/Range'));
    for (let connection = 0; connection < 20; connection += 1) {
      const client = attacker();
      for (let stream = 1; stream < 20_000 && !client.isClosed; stream += 2) {
        client.send(
          { type: FRAME.headers, flags: FLAG.endHeaders, stream, payload },
          { type: FRAME.reset, stream, payload: Buffer.of(0, 0, 0, 8) },
        );
        if (stream % 100 === 1) await turn();
      }
      await client.closed;
    }
  });
});

test('floods of pings and settings on connections that read nothing', async () => {
  await withstand(async () => {
    for (const frame of [{ type: FRAME.ping, payload: Buffer.alloc(8) }, { type: FRAME.settings }]) {
      const client = attacker();
      client.socket.pause();
      const flood = Array.from({ length: 500 }, () => frame);
      for (let sent = 0; sent < 200 && !client.isClosed && !client.socket.destroyed; sent += 1) {
        if (!client.send(...flood)) await turn();
      }
      client.socket.resume();
      await client.closed;
    }
  });
});

test('header blocks without an end, and headers as large as may be on every call', async () => {
  await withstand(async () => {
    const endless = attacker();
    endless.send({
      type: FRAME.headers,
      stream: 1,
      payload: headerBlock(callHeaders('/etcdserverpb.KV/Put')),
    });
    const more = headerBlock([['x', 'y'.repeat(16_000)]]);
    while (!endless.isClosed) {
      endless.send({ type: FRAME.continuation, stream: 1, payload: more });
      await turn();
    }
    const filler = [['x', 'y'.repeat(15_000)]] as const;
    for (let connection = 0; connection < 12; connection += 1) {
      const large = attacker();
      for (let stream = 1; stream < 4_000 && !large.isClosed; stream += 2) {
        large.open(stream, '/etcdserverpb.Watch/Watch', filler);
        await large.taken();
      }
    }
    await eventually('refusals', async () => (await refusals()) > 0 || undefined);
  });
});

test('thousands of requests that are sent in part and never finished', async () => {
  await withstand(async () => {
    const before = await refusals();
    const part = Buffer.alloc(16_384);
    part.writeUInt32BE(MIB, 1);
    for (let connection = 0; connection < 12; connection += 1) {
      const client = attacker();
      client.send({ type: FRAME.windowUpdate, payload: Buffer.of(0x3f, 0, 0, 0) });
      for (let stream = 1; stream < 4_000 && !client.isClosed; stream += 2) {
        client.open(stream, '/etcdserverpb.KV/Put');
        client.send(...Array.from({ length: 3 }, () => ({ type: FRAME.data, stream, payload: part })));
        await client.taken();
      }
    }
    expect(await refusals()).toBeGreaterThan(before);
  });
});

test('two thousand connections that stop after a few bytes', async () => {
  await withstand(async () => {
    const starts = [
      '',
      'PRI * HT',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET / HT',
      'POST / HTTP/1.1\r\nHost: a\r\n',
    ];
    for (let made = 0; made < 2_000; made += 1) {
      const socket = connect(port(), '127.0.0.1');
      cleanups.push(() => socket.destroy());
      socket.on('error', () => undefined);
      socket.write(starts[made % starts.length]!);
      if (made % 50 === 49) await turn();
    }
    await turn();
  });
});

async function refusals(): Promise<number> {
  const response = await fetch(`${cluster.members[0]!.httpUrl}/metrics`);
  const line = (await response.text())
    .split('\n')
    .find((text) => text.startsWith('conclave_client_calls_refused_total '));
  return Number(line?.split(' ')[1]);
}
