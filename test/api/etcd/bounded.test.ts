import type grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import type { Member } from '../../../src/member/member.ts';
import type { MemberOptions } from '../../../src/member/member-options.ts';
import { type MemberObserver, SILENT_OBSERVER } from '../../../src/member/observer.ts';
import { context, eventually, type Place, put, TestCluster } from '../../member/test-cluster.ts';
import { failure, type TestStream } from '../../rpc/harness.ts';
import { FaceHarness } from './harness.ts';

/** Reads of bounded staleness, fresh progress and watches bound to leases, over gRPC and JSON, from real members. */

const bytes = (text: string): Buffer => Buffer.from(text);
const RANGE = '/etcdserverpb.KV/Range';
const TXN = '/etcdserverpb.KV/Txn';
const WATCH = '/etcdserverpb.Watch/Watch';
/** An hour: no test takes so long. */
const LONG = '3600000';
const NOT_BY_LEARNERS = 'etcdserver: rpc not supported for learner';

let cluster: TestCluster;
let faces: FaceHarness<Member>[] = [];
let reads: string[] = [];

async function start(size: number, overrides: Partial<MemberOptions> = {}): Promise<FaceHarness<Member>> {
  const observer: MemberObserver = { ...SILENT_OBSERVER, boundedRead: (how) => reads.push(how) };
  reads = [];
  cluster = await TestCluster.start(size, overrides, observer);
  return faceOf(cluster.places[0]!);
}

async function faceOf(place: Place): Promise<FaceHarness<Member>> {
  const face = new FaceHarness(place.member!);
  faces.push(face);
  return face.start();
}

afterEach(async () => {
  for (const face of faces) {
    expect(face.bugs).toEqual([]);
    await face[Symbol.asyncDispose]();
  }
  faces = [];
  await cluster.stopAll();
});

/** A range with metadata: what came, and what came after it. */
async function range(face: FaceHarness<Member>, metadata: Record<string, string>, key = 'k') {
  let status: Promise<grpc.StatusObject> | undefined;
  const answer = await face.unary(
    RANGE,
    { key: bytes(key) },
    {
      metadata,
      onCall: (call) => {
        status = new Promise((resolve) => call.on('status', resolve));
      },
    },
  );
  const { metadata: trailers } = await status!;
  const [ageMs] = trailers.get('age-ms');
  return {
    value: answer.kvs[0]?.value.toString(),
    ageMs: ageMs === undefined ? undefined : Number(ageMs),
    region: trailers.get('region')[0],
  };
}

/** Nobody hears this member, and it hears nobody. */
function cutOff(lone: Place): void {
  const others = cluster.places.filter((place) => place !== lone).map((place) => cluster.idOf(place));
  cluster.network.partition([cluster.idOf(lone)], others);
}

describe('a bounded read', () => {
  test('tells age and region; a read that does not ask for it tells nothing', async () => {
    const face = await start(1, { region: 'eu-1' });
    await face.backend.put(put('k', 'v'), context());
    const bounded = await range(face, { 'max-staleness-ms': LONG });
    expect(bounded).toMatchObject({ value: 'v', region: 'eu-1' });
    expect(bounded.ageMs).toBeGreaterThan(0);
    expect(await range(face, {})).toEqual({ value: 'v', ageMs: undefined, region: undefined });
    expect(reads).toEqual(['upgraded']);
    await range(face, { 'max-staleness-ms': LONG });
    await range(face, { 'max-staleness-ms': '0' });
    expect(reads).toEqual(['upgraded', 'local', 'upgraded']);
  });

  test('of a member cut off is served while its age is within the bound, and grows old', async () => {
    await start(3);
    const leader = await cluster.leader();
    await leader.member!.put(put('k', 'old'), context());
    const lone = cluster.places.find((place) => place !== leader)!;
    const face = await faceOf(lone);
    expect(await range(face, { 'max-staleness-ms': '0' })).toMatchObject({ value: 'old', region: undefined });
    cutOff(lone);
    await leader.member!.put(put('k', 'new'), context());
    const writtenMs = performance.now();
    const first = await range(face, { 'max-staleness-ms': LONG });
    expect(first.value).toBe('old');
    const sinceMs = performance.now() - writtenMs;
    const second = await range(face, { 'max-staleness-ms': LONG });
    expect(second.value).toBe('old');
    expect(second.ageMs).toBeGreaterThanOrEqual(first.ageMs!);
    // What was acknowledged while it was cut off is not in it: no age may say that it is.
    expect(second.ageMs).toBeGreaterThanOrEqual(sinceMs);
    const refused = face.unary(
      RANGE,
      { key: bytes('k') },
      { metadata: { 'max-staleness-ms': '1' }, deadlineMs: 300 },
    );
    expect((await failure(refused)).code).toBe(4);
    cluster.network.heal();
    expect(await range(face, { 'max-staleness-ms': '1' })).toMatchObject({ value: 'new' });
  });

  test('wins over serializable, and a transaction of reads has it too', async () => {
    const face = await start(1);
    await face.backend.put(put('k', 'v'), context());
    const trailers: Promise<grpc.StatusObject>[] = [];
    const onCall = (call: grpc.ClientUnaryCall): void => {
      trailers.push(new Promise((resolve) => call.on('status', resolve)));
    };
    const metadata = { 'max-staleness-ms': LONG };
    await face.unary(RANGE, { key: bytes('k'), serializable: true }, { metadata, onCall });
    const read = { request_range: { key: bytes('k') } };
    await face.unary(TXN, { success: [read] } as never, { metadata, onCall });
    const write = { request_put: { key: bytes('k'), value: bytes('w') } };
    await face.unary(TXN, { success: [write] } as never, { metadata, onCall });
    const told = (await Promise.all(trailers)).map((status) => status.metadata.get('age-ms').length);
    expect(told).toEqual([1, 1, 0]);
  });

  test.each(['', '-1', '1.5', '2147483649', 'soon', '1e3'])('of %j ms is refused', async (text) => {
    const face = await start(1);
    const refused = await failure(
      face.unary(RANGE, { key: bytes('k') }, { metadata: { 'max-staleness-ms': text } }),
    );
    expect(refused).toEqual({
      code: 3,
      details: `max-staleness-ms: '${text}' is not a whole number of milliseconds up to 2147483648`,
    });
  });

  test('over HTTP has headers for it', async () => {
    const face = await start(1, { region: 'eu-1' });
    await face.backend.put(put('k', 'v'), context());
    const body = { key: bytes('k').toString('base64') };
    const bounded = await face.post('/v3/kv/range', body, { 'Conclave-Max-Staleness-Ms': LONG });
    expect(bounded.status).toBe(200);
    expect(Number(bounded.headers.get('conclave-age-ms'))).toBeGreaterThan(0);
    expect(bounded.headers.get('conclave-region')).toBe('eu-1');
    const plain = await face.post('/v3/kv/range', body);
    expect(plain.headers.get('conclave-age-ms')).toBeNull();
    expect(plain.headers.get('conclave-region')).toBeNull();
    const wrong = await face.post('/v3/kv/range', body, { 'Conclave-Max-Staleness-Ms': 'soon' });
    expect(wrong.status).toBe(400);
    expect(await wrong.json()).toMatchObject({ code: 3 });
  });

  test('in pages tells it after the last', async () => {
    const face = await start(1, { region: 'eu-1' });
    await face.backend.put(put('k', 'v'), context());
    const stream = face.stream('/etcdserverpb.KV/RangeStream', { 'max-staleness-ms': LONG });
    stream.send({ key: bytes('k') });
    stream.call.end();
    expect((await stream.next()).range_response!.kvs).toHaveLength(1);
    await expect(stream.next()).rejects.toThrow('ended');
    const { metadata } = await stream.status;
    expect(Number(metadata.get('age-ms')[0])).toBeGreaterThan(0);
    expect(metadata.get('region')).toEqual(['eu-1']);
  });

  test('needs the permission that every read needs', async () => {
    const face = await start(1, { auth: { jwt: null, tokenTtlMs: 300_000, passwordCost: 4 } });
    await face.unary('/etcdserverpb.Auth/UserAdd', { name: 'root', password: 'p' });
    await face.unary('/etcdserverpb.Auth/UserGrantRole', { user: 'root', role: 'root' });
    await face.unary('/etcdserverpb.Auth/AuthEnable', {});
    const refused = await failure(
      face.unary(RANGE, { key: bytes('k') }, { metadata: { 'max-staleness-ms': LONG } }),
    );
    expect(refused.details).toBe('etcdserver: user name is empty');
  });
});

describe('a learner', () => {
  test.each([
    [false, NOT_BY_LEARNERS],
    [true, 'v'],
  ])(
    'serves bounded and serializable reads; linearizable ones only when told so (%s)',
    async (told, outcome) => {
      await start(1);
      const [first] = cluster.places;
      await first!.member!.put(put('k', 'v'), context());
      const place = cluster.addPlace('n2');
      await first!.member!.memberAdd({ peerUrls: [place.url], isLearner: true }, context());
      await cluster.start(place, { initialClusterState: 'existing', learnerLinearizableReads: told });
      const face = await faceOf(place);
      expect(await range(face, { 'max-staleness-ms': '0' })).toMatchObject({ value: 'v' });
      expect(await range(face, { 'max-staleness-ms': LONG })).toMatchObject({ value: 'v' });
      const plain = await range(face, {}).then(
        ({ value }) => value,
        (error: grpc.ServiceError) => error.details,
      );
      expect(plain).toBe(outcome);
      const { kvs } = await face.unary(RANGE, { key: bytes('k'), serializable: true });
      expect(kvs).toHaveLength(1);
    },
  );

  test('that is cut off refuses linearizable reads all the same', async () => {
    await start(1);
    const [first] = cluster.places;
    await first!.member!.put(put('k', 'v'), context());
    const place = cluster.addPlace('n2');
    await first!.member!.memberAdd({ peerUrls: [place.url], isLearner: true }, context());
    await cluster.start(place, { initialClusterState: 'existing' });
    const face = await faceOf(place);
    expect(await range(face, { 'max-staleness-ms': '0' })).toMatchObject({ value: 'v' });
    await cluster.stop(first!);
    await eventually(() => !place.member!.hasLeader());
    const request = { key: bytes('k') };
    expect((await failure(face.unary(RANGE, request))).details).toBe(NOT_BY_LEARNERS);
    const txn = { success: [{ request_range: request }] } as never;
    expect((await failure(face.unary(TXN, txn))).details).toBe(NOT_BY_LEARNERS);
  });
});

/** Opens a stream with one watch on `k`, whose id is 1. */
async function watch(face: FaceHarness<Member>, request: object = {}): Promise<TestStream<typeof WATCH>> {
  const stream = face.stream(WATCH);
  stream.send({ create_request: { key: bytes('k'), watch_id: 1, ...request } } as never);
  expect(await stream.next()).toMatchObject({ created: true });
  return stream;
}

function ask(stream: TestStream<typeof WATCH>, request: object): void {
  stream.send({ progress_request: request } as never);
}

describe('fresh progress', () => {
  test('comes after the events it covers, with its nonce and an age', async () => {
    const face = await start(1);
    const stream = await watch(face);
    await face.backend.put(put('k', 'v'), context());
    ask(stream, { nonce: 41, watch_id: 1 });
    expect(await stream.next()).toMatchObject({
      watch_id: 1,
      nonce: 0,
      events: [{ kv: { mod_revision: 2 } }],
    });
    const fresh = await stream.next();
    expect(fresh).toMatchObject({ watch_id: 1, nonce: 41, events: [] });
    expect(Number(fresh.header!.revision)).toBe(2);
    expect(Number(fresh.age_ms)).toBeGreaterThan(0);
    ask(stream, { nonce: 2n ** 64n - 1n });
    expect(await stream.next()).toMatchObject({ watch_id: -1, nonce: 2n ** 64n - 1n });
    stream.call.cancel();
  });

  test('without a nonce is as etcd has it, and for a watch that is not there there is none', async () => {
    const face = await start(1);
    const stream = await watch(face);
    ask(stream, { nonce: 5, watch_id: 99 });
    ask(stream, { watch_id: 1 });
    expect(await stream.next()).toMatchObject({ watch_id: -1, nonce: 0, age_ms: 0 });
    stream.call.cancel();
  });

  test('that is linearizable includes what was acknowledged elsewhere before it was asked for', async () => {
    await start(3);
    const leader = await cluster.leader();
    const other = cluster.places.find((place) => place !== leader)!;
    const stream = await watch(await faceOf(other));
    for (let nonce = 1; nonce <= 20; nonce += 1) {
      const { header } = await leader.member!.put(put('k', String(nonce)), context());
      ask(stream, { nonce, watch_id: 1, linearizable: true });
      expect(await stream.next()).toMatchObject({ events: [{ kv: { mod_revision: header.revision } }] });
      expect(await stream.next()).toMatchObject({ nonce, header: { revision: header.revision } });
    }
    stream.call.cancel();
  });

  test('of a member cut off waits when it must prove anew, else tells how old it is', async () => {
    await start(3);
    const leader = await cluster.leader();
    const lone = cluster.places.find((place) => place !== leader)!;
    const stream = await watch(await faceOf(lone));
    ask(stream, { nonce: 1, watch_id: 1 });
    const first = await stream.next();
    cutOff(lone);
    ask(stream, { nonce: 2, watch_id: 1, linearizable: true });
    ask(stream, { nonce: 3, watch_id: 1 });
    const second = await stream.next();
    expect([first.nonce, second.nonce]).toEqual([1, 3]);
    await leader.member!.put(put('k', 'v'), context());
    cluster.network.heal();
    expect(await stream.next()).toMatchObject({ events: [{ kv: { value: bytes('v') } }] });
    expect(await stream.next()).toMatchObject({ nonce: 2 });
    stream.call.cancel();
  });
});

describe('a watch bound to a lease', () => {
  const OVER = 'etcdserver: requested lease not found';

  test('is refused without that lease', async () => {
    const face = await start(1);
    const stream = face.stream(WATCH);
    stream.send({ create_request: { key: bytes('k'), lease: 77 } } as never);
    expect(await stream.next()).toMatchObject({
      created: true,
      canceled: true,
      watch_id: -1,
      cancel_reason: OVER,
    });
    stream.call.cancel();
  });

  test('ends with it, at every member, after the deletions that it brought', async () => {
    await start(3);
    const [granter] = cluster.places;
    const { result } = await granter!.member!.leaseGrant({ id: 0n, ttlSeconds: 600 }, context());
    const streams: TestStream<typeof WATCH>[] = [];
    for (const place of cluster.places) {
      streams.push(await watch(await faceOf(place), { lease: result.id }));
    }
    await granter!.member!.put(put('k', 'v', result.id), context());
    await granter!.member!.leaseRevoke({ id: result.id }, context());
    for (const stream of streams) {
      expect(await stream.next()).toMatchObject({ events: [{ kv: { value: bytes('v') } }] });
      expect(await stream.next()).toMatchObject({ events: [{ type: 1 }] });
      expect(await stream.next()).toMatchObject({ watch_id: 1, canceled: true, cancel_reason: OVER });
      stream.send({ create_request: { key: bytes('k'), lease: result.id } } as never);
      expect(await stream.next()).toMatchObject({ canceled: true, cancel_reason: OVER });
      stream.call.cancel();
    }
  });

  test('ends when that was granted anew while the member was away, and got a whole state', async () => {
    await start(3, { snapshotCount: 10, catchUpEntries: 5 });
    const leader = await cluster.leader();
    const lone = cluster.places.find((place) => place !== leader)!;
    const { backend } = await faceOf(leader);
    for (const id of [5n, 6n]) await backend.leaseGrant({ id, ttlSeconds: 600 }, context());
    const face = await faceOf(lone);
    const stream = await watch(face, { lease: 5n });
    stream.send({ create_request: { key: bytes('k'), watch_id: 2, lease: 6n } } as never);
    expect(await stream.next()).toMatchObject({ watch_id: 2, created: true, canceled: false });
    cutOff(lone);
    await backend.leaseRevoke({ id: 5n }, context());
    await backend.leaseGrant({ id: 5n, ttlSeconds: 600 }, context());
    for (let i = 0; i < 40; i++) await backend.put(put('other', String(i)), context());
    for (const place of cluster.places) if (place !== lone) await place.member!.defragment(context());
    cluster.network.heal();
    expect(await stream.next()).toMatchObject({ watch_id: 1, canceled: true, cancel_reason: OVER });
    await backend.put(put('k', 'v'), context());
    expect(await stream.next()).toMatchObject({ watch_id: 2, events: [{ kv: { value: bytes('v') } }] });
    stream.call.cancel();
  });

  test('that is unknown to a member cut off holds up nothing else on its stream', async () => {
    await start(3);
    const leader = await cluster.leader();
    const lone = cluster.places.find((place) => place !== leader)!;
    const stream = await watch(await faceOf(lone));
    cutOff(lone);
    const { result } = await leader.member!.leaseGrant({ id: 0n, ttlSeconds: 600 }, context());
    stream.send({ create_request: { key: bytes('k'), watch_id: 2, lease: result.id } } as never);
    ask(stream, {});
    expect(await stream.next()).toMatchObject({ watch_id: -1, created: false });
    cluster.network.heal();
    expect(await stream.next()).toMatchObject({ watch_id: 2, created: true, canceled: false });
    stream.call.cancel();
  });

  test('ends when it expires', async () => {
    const face = await start(1);
    const { result } = await face.backend.leaseGrant({ id: 0n, ttlSeconds: 1 }, context());
    const stream = await watch(face, { lease: result.id });
    expect(await stream.next()).toMatchObject({ canceled: true, cancel_reason: OVER });
    stream.call.cancel();
  });
});

test('a status tells the age once one is proven', async () => {
  const face = await start(1);
  expect((await face.unary('/etcdserverpb.Maintenance/Status', {})).ageMs ?? null).toBeNull();
  expect(face.backend.figures().stateAgeSeconds).toBeNaN();
  await range(face, { 'max-staleness-ms': '0' });
  await eventually(() => face.backend.figures().stateAgeSeconds > 0);
  expect(Number((await face.unary('/etcdserverpb.Maintenance/Status', {})).ageMs)).toBeGreaterThan(0);
});
