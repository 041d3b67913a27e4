import { afterEach, describe, expect, test } from 'vitest';
import { toRpcError } from '../../src/api/errors.ts';
import { DEFAULT_ETCD_LIMITS } from '../../src/api/etcd/limits.ts';
import { registerEtcd } from '../../src/api/etcd/register.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { ClientPort } from '../../src/rpc/client-port.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from '../client/small-store.ts';
import { Prng } from '../core/raft/prng.ts';
import { type Place, TestCluster } from '../member/test-cluster.ts';
import { blackBoxViolations, withExpiries } from './black-box.ts';
import type { CommittedRevision, HistoryEvent, HistoryOp, WatchHistory, WatchItem } from './history.ts';
import { RequestMaker } from './random-request.ts';
import { type RecordedClient, Recorder } from './recorder.ts';
import { EVERYTHING, putOf, rangeOf } from './requests.ts';
import { watchViolations } from './watch-validator.ts';
import { witnessViolations } from './witness.ts';

const OPS_PER_CLIENT = 80;
const CLIENTS_PER_MEMBER = 2;

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

describe('a cluster', () => {
  test('of one member and of three is linearizable, and its watches are right', async () => {
    for (const size of [1, 3]) {
      const { ops, committed, watch } = await load(await started(size), { leaderStops: false });
      expect(ops.filter(({ outcome }) => outcome.type === 'answered').length).toBeGreaterThan(OPS_PER_CLIENT);
      expectCorrect({ ops, committed, watch });
    }
  });

  test('is so while its leader stops', async () => {
    const evidence = await load(await started(3), { leaderStops: true });
    expectCorrect(evidence);
    expect(evidence.committed.length).toBeGreaterThan(20);
  });
});

describe('what becomes of a call', () => {
  test.each([
    [
      'a put that timed out',
      putOf('a', '1'),
      rpcStatus.unavailable,
      'etcdserver: request timed out',
      { type: 'unknown' },
    ],
    [
      'a read that timed out',
      rangeOf('a'),
      rpcStatus.deadlineExceeded,
      'etcdserver: request timed out',
      { type: 'refused', code: null },
    ],
    [
      'a put without its key',
      putOf('a', '1'),
      rpcStatus.invalidArgument,
      'etcdserver: key not found',
      { type: 'refused', code: 'key-not-found' },
    ],
    [
      'a put while there is no space',
      putOf('a', '1'),
      rpcStatus.resourceExhausted,
      'etcdserver: mvcc: database space exceeded',
      { type: 'refused', code: null },
    ],
    [
      'a read of what is gone',
      rangeOf('a', { revision: 1 }),
      rpcStatus.outOfRange,
      'etcdserver: mvcc: required revision has been compacted',
      { type: 'refused', code: 'compacted' },
    ],
  ] as const)('%s', async (_what, request, status, text, outcome) => {
    const { member, client, recorder } = await small();
    member.failing = () => new RpcError(status, text);
    expect(await client.perform(request)).toEqual(outcome);
    expect(recorder.ops).toMatchObject([{ client: 0, request, outcome }]);
    expect(recorder.ops[0]!.returnTime === Infinity).toBe(outcome.type === 'unknown');
  });

  test('nobody there: surely without effect', async () => {
    const { member, client } = await small();
    await member.stop();
    expect(await client.perform(putOf('a', '1'))).toEqual({ type: 'refused', code: null });
  });

  test('times enclose the call, and one client does one thing at a time', async () => {
    const { client, recorder } = await small();
    const before = performance.now();
    const first = client.perform(putOf('a', '1'));
    await expect(client.perform(putOf('a', '2'))).rejects.toThrow('do not overlap');
    await first;
    const [op] = recorder.ops;
    expect(recorder.ops.length).toBe(1);
    expect(op!.callTime).toBeGreaterThanOrEqual(before);
    expect(op!.returnTime).toBeLessThanOrEqual(performance.now());
    expect(op!.callTime).toBeLessThan(op!.returnTime);
  });
});

interface Evidence {
  readonly ops: readonly HistoryOp[];
  readonly committed: readonly CommittedRevision[];
  readonly watch: WatchHistory;
}

function expectCorrect({ ops, committed, watch }: Evidence): void {
  expect(witnessViolations({ ops, committed })).toEqual([]);
  expect(blackBoxViolations(withExpiries(ops))).toEqual([]);
  expect(watchViolations(watch, { committed, compactRevision: -1, headersPromise: true })).toEqual([]);
}

async function small(): Promise<{
  readonly member: SmallMember;
  readonly client: RecordedClient;
  readonly recorder: Recorder;
}> {
  const member = await new SmallMember(new SmallStore()).start();
  const remote = new KvClient({ endpoints: [member.address] });
  cleanups.push(
    () => member.stop(),
    () => remote.close(),
  );
  const recorder = new Recorder();
  return { member, client: recorder.client(remote), recorder };
}

interface Served {
  readonly cluster: TestCluster;
  readonly faces: readonly Face[];
}
/** The gRPC port of one member. */
interface Face {
  readonly place: Place;
  readonly address: string;
  readonly port: ClientPort;
}

/** A cluster in this process, behind the real gRPC face. */
async function started(size: number): Promise<Served> {
  const cluster = await TestCluster.start(size);
  cleanups.push(() => cluster.stopAll());
  return { cluster, faces: await Promise.all(cluster.places.map(serve)) };
}

async function serve(place: Place): Promise<Face> {
  const grpc = new GrpcServer({ errorStatus: toRpcError, onBug: (error) => expect.fail(String(error)) });
  registerEtcd(grpc, place.member!, DEFAULT_ETCD_LIMITS);
  const port = new ClientPort({ grpc, http: (_request, response) => response.end() });
  const [listening] = await port.listen(['http://127.0.0.1:0']);
  cleanups.push(() => port.close({ graceMs: 0 }));
  return { place, port, address: `127.0.0.1:${listening!.port}` };
}

async function stopLeader({ cluster, faces }: Served): Promise<void> {
  const leader = await cluster.leader();
  await faces.find(({ place }) => place === leader)!.port.close({ graceMs: 0 });
  await cluster.stop(leader);
}

/** Clients of every member, each with requests of its own; in the end all that they and a watch were told. */
async function load(served: Served, { leaderStops }: { readonly leaderStops: boolean }): Promise<Evidence> {
  const recorder = new Recorder();
  const addresses = served.faces.map(({ address }) => address);
  const watching = watchEverything(addresses);
  const stopping: Promise<void>[] = [];
  const run = async (id: number): Promise<void> => {
    // Each begins with another member.
    const first = id % addresses.length;
    const endpoints = [...addresses.slice(first), ...addresses.slice(0, first)];
    const remote = new KvClient({ endpoints, timeoutMs: 2_000 });
    cleanups.push(() => remote.close());
    const client = recorder.client(remote);
    const requests = new RequestMaker(new Prng(id + 1), {
      name: `${id}/`,
      tables: id % 2 === 0,
      nested: false,
    });
    for (let count = 0; count < OPS_PER_CLIENT; count++) {
      if (leaderStops && id === 0 && count === OPS_PER_CLIENT / 2) stopping.push(stopLeader(served));
      const request = requests.next();
      // What is compacted cannot be told to a watch that is behind, and here the watch is the history.
      const outcome = await client.perform(request.type === 'compact' ? rangeOf('a') : request);
      if (outcome.type === 'answered') requests.told(outcome.result.revision);
    }
  };
  await Promise.all(Array.from({ length: addresses.length * CLIENTS_PER_MEMBER }, (_, id) => run(id)));
  await Promise.all(stopping);
  return finish(recorder, { addresses, watching });
}

/** A last write and a last read, then the watch up to it. */
async function finish(
  recorder: Recorder,
  { addresses, watching }: { readonly addresses: readonly string[]; readonly watching: Watching },
): Promise<Evidence> {
  const remote = new KvClient({ endpoints: addresses });
  cleanups.push(() => remote.close());
  const last = recorder.client(remote);
  let revision = 0;
  for (let attempt = 0; revision === 0; attempt++) {
    const outcome = await last.perform(putOf('last', `${attempt}`));
    if (outcome.type === 'answered') revision = outcome.result.revision;
  }
  await last.perform(EVERYTHING);
  const items = await watching.until(revision);
  return {
    ops: recorder.ops,
    committed: committedOf(items),
    watch: { ...WHOLE, items, deliveredThrough: revision },
  };
}

const WHOLE = {
  key: EVERYTHING.key,
  rangeEnd: EVERYTHING.rangeEnd,
  startRevision: 1,
  prevKv: true,
  filters: [],
} as const;

interface Watching {
  until(revision: number): Promise<readonly WatchItem[]>;
}

/** A watch over all keys from the beginning. */
function watchEverything(addresses: readonly string[]): Watching {
  const remote = new KvClient({ endpoints: addresses });
  const abort = new AbortController();
  cleanups.push(
    () => remote.close(),
    () => abort.abort(),
  );
  const { signal } = abort;
  const { key, rangeEnd, startRevision, prevKv } = WHOLE;
  const batches = remote.watch({ key, rangeEnd, startRevision, prevKv, progressNotify: true, signal });
  return {
    until: async (revision) => {
      const items: WatchItem[] = [];
      for await (const { header, events } of batches) {
        if (events.length === 0) items.push({ type: 'progress', revision: header.revision });
        else items.push({ type: 'events', revision: header.revision, events, fragment: false });
        if ((events.at(-1)?.kv.modRevision ?? 0) >= revision) break;
      }
      return items;
    },
  };
}

function committedOf(items: readonly WatchItem[]): readonly CommittedRevision[] {
  const revisions = new Map<number, HistoryEvent[]>();
  for (const event of items.flatMap((item) => (item.type === 'events' ? item.events : []))) {
    const events = revisions.get(event.kv.modRevision) ?? [];
    revisions.set(event.kv.modRevision, [...events, event]);
  }
  return [...revisions].map(([revision, events]) => ({ revision, events }));
}
