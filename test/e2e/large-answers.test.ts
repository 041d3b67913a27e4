import grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codec } from '../../src/rpc/codec.ts';
import type { TxnRequest } from '../../src/rpc/generated/etcdserverpb/rpc.ts';
import { Cluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';

const KEYS = 100_000;
const VALUE_BYTES = 1024;
const KEYS_PER_TXN = 128;
const WRITERS = 8;
const ATTEMPTS = 3;
const WHOLE_RANGE = { key: Buffer.from('large/'), range_end: Buffer.from('large0') };

const rangeRequest = codec('etcdserverpb.RangeRequest');
const rangeResponse = codec('etcdserverpb.RangeResponse');
const rangeStreamResponse = codec('etcdserverpb.RangeStreamResponse');
const txnRequest = codec('etcdserverpb.TxnRequest');
const txnResponse = codec('etcdserverpb.TxnResponse');
const statusResponse = codec('etcdserverpb.StatusResponse');

/** RELIABILITY: no answer, however large, may cost a leader its leadership. */
describe(`answers of ${KEYS} keys of ${VALUE_BYTES} bytes`, () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(3);
    using leader = clientOf((await leaderOf(cluster)).clientUrl);
    await load(leader.grpc);
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  /**
   * Does the work at the leader, which must lead in the same term afterwards. A machine that stands still for a second
   * ends a term too, but hardly at every attempt; an answer that keeps the leader from its heartbeats ends it each time.
   */
  async function inOneTerm(work: (leader: grpc.Client) => Promise<void>): Promise<void> {
    const terms: string[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      using leader = clientOf((await leaderOf(cluster)).clientUrl);
      const before = await termOf(leader.grpc);
      const [outcome] = await Promise.allSettled([work(leader.grpc)]);
      const after = await termOf(leader.grpc);
      if (after === before && outcome.status === 'rejected') throw outcome.reason;
      if (after === before) return;
      terms.push(`${before} became ${after}`);
    }
    expect.fail(`the answers cost the leader its term each time: ${terms.join(', ')}`);
  }

  test('two ranges at once leave the leader its term, and small requests go on', async () => {
    await inOneTerm(async (leader) => {
      const startMs = performance.now();
      const large = Promise.all([wholeRange(leader), wholeRange(leader)]);
      const delaysMs = await requestsWhile(leader, large);
      const answers = await large;
      report(`two ranges: ${seconds(startMs)}; meanwhile ${summary(delaysMs)}`);
      for (const answer of answers) expectEverything(rangeResponse.decode(answer));
    });
  });

  test('two transactions with a whole range each leave the leader its term', async () => {
    const request = txnRequest.encode({ success: [{ request_range: WHOLE_RANGE }] } as unknown as TxnRequest);
    await inOneTerm(async (leader) => {
      const startMs = performance.now();
      const answers = await Promise.all([1, 2].map(async () => call(leader, 'KV/Txn', request)));
      report(`two transactions: ${seconds(startMs)}`);
      for (const answer of answers) {
        const { responses } = txnResponse.decode(answer);
        expectEverything(responses[0]!.response_range!);
      }
    });
  });

  test('RangeStream gives the same answer in pieces', async () => {
    await inOneTerm(async (leader) => {
      const pieces = await stream(leader, rangeRequest.encode(WHOLE_RANGE));
      expect(pieces.length).toBeGreaterThan((KEYS * VALUE_BYTES) / (2 * 1024 * 1024));
      const parts = pieces.map((piece) => rangeStreamResponse.decode(piece).range_response!);
      expect(parts.slice(0, -1).every((part) => part.header === null && part.count === 0)).toBe(true);
      const last = parts.at(-1)!;
      expect(last.header).not.toBeNull();
      const kvs = parts.flatMap((part) => part.kvs);
      expectEverything({ kvs, count: Number(last.count), more: last.more });
    });
  });
});

function expectEverything(answer: {
  readonly kvs: readonly { readonly key: Buffer; readonly value: Buffer }[];
  readonly count: number | bigint;
  readonly more: boolean;
}): void {
  expect({ keys: answer.kvs.length, count: answer.count, more: answer.more }).toEqual({
    keys: KEYS,
    count: KEYS,
    more: false,
  });
  const wrong = answer.kvs.filter(({ key, value }, i) => {
    return !key.equals(keyOf(i)) || value.length !== VALUE_BYTES || value.readUInt32LE(0) !== i;
  });
  expect(wrong).toEqual([]);
}

/** Puts one after the other until `work` is done; how long each took, in ms. */
async function requestsWhile(client: grpc.Client, work: Promise<unknown>): Promise<number[]> {
  let going = true;
  const stop = (): void => {
    going = false;
  };
  work.then(stop, stop);
  const tookMs: number[] = [];
  const request = codec('etcdserverpb.PutRequest').encode({
    key: Buffer.from('other'),
    value: Buffer.from('v'),
  });
  while (going) {
    const startMs = performance.now();
    await call(client, 'KV/Put', request);
    tookMs.push(performance.now() - startMs);
  }
  return tookMs;
}

async function load(client: grpc.Client): Promise<void> {
  const startMs = performance.now();
  let next = 0;
  const write = async (): Promise<void> => {
    for (let first = next; first < KEYS; first = next) {
      next += KEYS_PER_TXN;
      const count = Math.min(KEYS_PER_TXN, KEYS - first);
      const success = Array.from({ length: count }, (_, i) => ({
        request_put: { key: keyOf(first + i), value: valueOf(first + i) },
      }));
      const request = txnRequest.encode({ success } as unknown as TxnRequest);
      // Again, should an election come in between.
      await eventually('a transaction', () => call(client, 'KV/Txn', request));
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  report(`loaded in ${seconds(startMs)}`);
}

async function termOf(client: grpc.Client): Promise<number> {
  const status = statusResponse.decode(await call(client, 'Maintenance/Status', Buffer.alloc(0)));
  return Number(status.raftTerm);
}

function wholeRange(client: grpc.Client): Promise<Buffer> {
  return call(client, 'KV/Range', rangeRequest.encode(WHOLE_RANGE));
}

function clientOf(url: string): Disposable & { readonly grpc: grpc.Client } {
  const client = new grpc.Client(new URL(url).host, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  });
  return { grpc: client, [Symbol.dispose]: () => client.close() };
}

const identity = (bytes: Buffer): Buffer => bytes;

function call(client: grpc.Client, method: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(`/etcdserverpb.${method}`, identity, identity, request, (error, answer) =>
      error === null ? resolve(answer!) : reject(error),
    );
  });
}

async function stream(client: grpc.Client, request: Buffer): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  const surface = client.makeServerStreamRequest('/etcdserverpb.KV/RangeStream', identity, identity, request);
  for await (const piece of surface) pieces.push(piece as Buffer);
  return pieces;
}

/** Padded, so that the order of the keys is that of their numbers. */
function keyOf(i: number): Buffer {
  return Buffer.from(`large/${String(i).padStart(8, '0')}`);
}

function valueOf(i: number): Buffer {
  const value = Buffer.alloc(VALUE_BYTES, `value ${i * 2654435761}`);
  value.writeUInt32LE(i, 0);
  return value;
}

function seconds(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(2)} s`;
}

function summary(tookMs: readonly number[]): string {
  const sorted = [...tookMs].sort((a, b) => a - b);
  const at = (part: number): string =>
    `${(sorted[Math.floor(part * (sorted.length - 1))] ?? 0).toFixed(0)} ms`;
  return `${sorted.length} puts, median ${at(0.5)}, slowest ${at(1)}`;
}

function report(line: string): void {
  process.stdout.write(`large answers: ${line}\n`);
}
