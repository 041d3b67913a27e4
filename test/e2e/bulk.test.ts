import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import type { KeyValue } from '../../src/client/types.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const KEYS = 100_000;
const VALUE_BYTES = 1024;
const WRITERS = 128;
const PAGE_KEYS = 1_000;
const SAMPLES = 500;
const CALL_TIMEOUT_MS = 20_000;
const PREFIX = Buffer.from('bulk/');

describe(`${KEYS} keys of ${VALUE_BYTES} bytes`, () => {
  let cluster: Cluster;

  beforeAll(async () => {
    const startMs = performance.now();
    cluster = await Cluster.start(3);
    report('start, empty', [performance.now() - startMs]);
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  test('are written', async () => {
    const clients = cluster.members.map(clientOf);
    const startMs = performance.now();
    let next = 0;
    const write = async (client: KvClient): Promise<void> => {
      for (let i = next++; i < KEYS; i = next++) await putOnce(client, i);
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, i) => write(clients[i % clients.length]!)));
    const seconds = (performance.now() - startMs) / 1000;
    for (const client of clients) client.close();
    say(`loaded in ${seconds.toFixed(1)} s, ${Math.round(KEYS / seconds)} puts/s; ${await memory()}`);
  });

  test('are all there with their values after every member was restarted, one after the other', async () => {
    const tookMs: number[] = [];
    for (const member of cluster.members) {
      const startMs = performance.now();
      await cluster.restart(member);
      tookMs.push(performance.now() - startMs);
    }
    report('stop and start of one', tookMs);
    say(await memory());
    for (const member of cluster.members) await expectEverything(member);
  });

  test('are all there after all members died at once and came back', async () => {
    await Promise.all(cluster.members.map(async (member) => member.process?.stop('SIGKILL')));
    const startMs = performance.now();
    await cluster.startAll();
    report('start of all after kill -9', [performance.now() - startMs]);
    say(await memory());
    for (const member of cluster.members) await expectEverything(member);
  });

  /** By count, by every page of the whole prefix, and by samples read one by one. */
  async function expectEverything(member: ClusterMember): Promise<void> {
    using client = clientOf(member);
    const counted = await client.range({ key: PREFIX, rangeEnd: prefixEnd(PREFIX), countOnly: true });
    expect(counted.count).toBe(KEYS);
    const wrong: string[] = [];
    let seen = 0;
    for await (const kv of pages(client, counted.header.revision)) {
      if (!isRight(kv, seen)) wrong.push(kv.key.toString());
      seen += 1;
    }
    expect({ member: member.name, seen, wrong }).toEqual({ member: member.name, seen: KEYS, wrong: [] });
    for (let sample = 0; sample < SAMPLES; sample++) {
      const i = (sample * 7919) % KEYS;
      const { kvs } = await client.range({ key: keyOf(i) });
      expect(kvs[0]?.value.equals(valueOf(i))).toBe(true);
    }
  }

  async function memory(): Promise<string> {
    const sizes = await Promise.all(cluster.members.map(async (member) => residentMib(member)));
    return `resident memory ${sizes.join(', ')} MiB`;
  }
});

function clientOf(member: ClusterMember): KvClient {
  return new KvClient({ endpoints: [member.clientUrl], timeoutMs: CALL_TIMEOUT_MS });
}

/** Once more, should an election come in between; an attempt whose answer was lost may have done it. */
async function putOnce(client: KvClient, i: number): Promise<void> {
  const key = keyOf(i);
  let isNew = true;
  await eventually(`the put of ${key.toString()}`, async () => {
    if (!isNew && (await client.range({ key })).count === 1) return true;
    isNew = false;
    await client.put({ key, value: valueOf(i) });
    return true;
  });
}

async function* pages(client: KvClient, revision: number): AsyncGenerator<KeyValue> {
  let key: Buffer = PREFIX;
  for (;;) {
    const page = await client.range({ key, rangeEnd: prefixEnd(PREFIX), limit: PAGE_KEYS, revision });
    yield* page.kvs;
    if (!page.more) return;
    key = Buffer.concat([page.kvs.at(-1)!.key, Buffer.alloc(1)]);
  }
}

function isRight(kv: KeyValue, i: number): boolean {
  return kv.key.equals(keyOf(i)) && kv.value.equals(valueOf(i)) && kv.version === 1;
}

/** Padded, so that the order of the keys is that of their numbers. */
function keyOf(i: number): Buffer {
  return Buffer.from(`${PREFIX.toString()}${String(i).padStart(8, '0')}`);
}

/** Different for every key, and not a repetition that a compressing store would make small. */
function valueOf(i: number): Buffer {
  const value = Buffer.alloc(VALUE_BYTES);
  let state = i + 1;
  for (let offset = 0; offset < VALUE_BYTES; offset += 4) {
    // Marsaglia's xorshift32.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    value.writeInt32LE(state | 0, offset);
  }
  return value;
}

async function residentMib(member: ClusterMember): Promise<number> {
  const status = await readFile(`/proc/${member.process!.pid}/status`, 'utf8');
  const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  return Math.round(kib / 1024);
}

function report(what: string, ms: readonly number[]): void {
  say(`${what}: ${ms.map((item) => `${(item / 1000).toFixed(2)} s`).join(', ')}`);
}

function say(line: string): void {
  process.stdout.write(`bulk: ${line}\n`);
}
