import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wireHeader } from '../../../src/api/etcd/translate.ts';
import { encodeEvents } from '../../../src/api/etcd/watch-encoding.ts';
import type { WatchEvent } from '../../../src/core/watch/delivery.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import { createDeferred, type Deferred } from '../../../src/member/transport/deferred.ts';
import { codec } from '../../../src/rpc/codec.ts';
import type { WatchCreateRequest, WatchResponse } from '../../../src/rpc/generated/etcdserverpb/rpc.ts';
import type { TestStream } from '../../rpc/harness.ts';
import { type FakeWatchStream, KV, WIRE_HEADER } from './fake-backend.ts';
import { EtcdHarness } from './harness.ts';

const WATCH = '/etcdserverpb.Watch/Watch';
const REQUEST_BYTES_MAX = 1024;
const FRAGMENT_BYTES_MAX = REQUEST_BYTES_MAX + 512 * 1024;
const HUGE = 2n ** 60n;
const bytes = (text: string): Buffer => Buffer.from(text);

let etcd: EtcdHarness;
beforeEach(async () => {
  etcd = new EtcdHarness({ requestBytesMax: REQUEST_BYTES_MAX });
  await etcd.start();
});
afterEach(async () => {
  expect(etcd.bugs).toEqual([]);
  await etcd[Symbol.asyncDispose]();
});

type Stream = TestStream<typeof WATCH>;
const create = (stream: Stream, request: Partial<WatchCreateRequest>): void =>
  stream.send({ create_request: request as WatchCreateRequest });

/** A stream with one watch, and the backend's side of it. */
async function openWatch(
  request: Partial<WatchCreateRequest> = {},
  metadata: Record<string, string> = {},
): Promise<{ stream: Stream; hub: FakeWatchStream }> {
  const stream = etcd.stream(WATCH, metadata);
  create(stream, { key: bytes('k'), ...request });
  expect(await stream.next()).toMatchObject({ created: true, canceled: false });
  return { stream, hub: etcd.backend.watchStreams.at(-1)! };
}

function putEvent(options: { key?: string; valueBytes?: number; main?: number } = {}): WatchEvent {
  const row = {
    main: options.main ?? 6,
    sub: 0,
    tombstone: false,
    createRevision: 5,
    version: 2,
    lease: 2n ** 62n,
    key: bytes(options.key ?? 'k'),
    value: Buffer.alloc(options.valueBytes ?? 1, 'v'),
  };
  return { event: { type: 'put', row, previous: null, previousLease: 0n }, prevKv: null };
}

function deleteEvent(): WatchEvent {
  const row = {
    main: 7,
    sub: 0,
    tombstone: true,
    createRevision: 0,
    version: 0,
    lease: 0n,
    key: bytes('k'),
    value: Buffer.alloc(0),
  };
  return { event: { type: 'delete', row, previous: { main: 6, sub: 0 }, previousLease: 0n }, prevKv: KV };
}

describe('creating', () => {
  test('passes every option', async () => {
    const { hub } = await openWatch({
      key: bytes('a'),
      range_end: bytes('b'),
      start_revision: HUGE,
      progress_notify: true,
      filters: [0, 1],
      prev_kv: true,
      watch_id: -HUGE,
      fragment: true,
    });
    expect(hub.created).toEqual([
      {
        watchId: -HUGE,
        key: bytes('a'),
        rangeEnd: bytes('b'),
        startRevision: Number.MAX_SAFE_INTEGER,
        noPut: true,
        noDelete: true,
        prevKv: true,
        progressNotify: true,
        lease: 0n,
      },
    ]);
  });

  test('ids are given from 0, around those that clients chose', async () => {
    const stream = etcd.stream(WATCH);
    const ids: unknown[] = [];
    for (const watch_id of [0, 1, 0, 0, HUGE]) {
      create(stream, { key: bytes('k'), watch_id });
      ids.push((await stream.next()).watch_id);
    }
    expect(ids).toEqual([0, 1, 2, 3, HUGE]);
  });

  test('a refusal is told in the stream, and its id stays free', async () => {
    const { stream, hub } = await openWatch({ watch_id: 5 });
    hub.refusal = 'mvcc: watcher range is empty';
    create(stream, { key: bytes('k'), watch_id: 6 });
    expect(await stream.next()).toMatchObject({
      watch_id: -1,
      created: true,
      canceled: true,
      header: WIRE_HEADER,
      cancel_reason: 'mvcc: watcher range is empty',
    });
    hub.refusal = null;
    create(stream, { key: bytes('k'), watch_id: 6 });
    expect(await stream.next()).toMatchObject({ watch_id: 6, created: true, canceled: false });
  });

  test('a refused watch without an id of its own takes none away', async () => {
    const { stream, hub } = await openWatch({ watch_id: 0 });
    create(stream, { key: bytes('k'), watch_id: 1 });
    await stream.next();
    hub.refusal = 'mvcc: watcher range is empty';
    create(stream, { key: bytes('k'), watch_id: 0 });
    expect(await stream.next()).toMatchObject({ watch_id: -1, canceled: true });
    hub.refusal = null;
    // Nor does it pass over one that becomes free.
    stream.send({ cancel_request: { watch_id: 1 } });
    expect(await stream.next()).toMatchObject({ watch_id: 1, canceled: true });
    create(stream, { key: bytes('k'), watch_id: 0 });
    expect(await stream.next()).toMatchObject({ watch_id: 1, created: true, canceled: false });
  });

  test('the keys of all watches have so much room, a stream a part of it, and give it back', async () => {
    const limits = { watchKeyBytesMax: 30, streamWatchKeyBytesMax: 20 };
    await using face = await new EtcdHarness(limits).start();
    const [one, two] = [face.stream(WATCH), face.stream(WATCH)] as const;
    const refused = async (stream: Stream, keyBytes: number): Promise<string> => {
      create(stream, { key: Buffer.alloc(keyBytes - 2, 'k'), range_end: bytes('zz') });
      const { created, cancel_reason } = await stream.next();
      expect(created).toBe(true);
      return cancel_reason;
    };
    const full = 'etcdserver: too many requests';
    expect(await refused(one, 21)).toBe(full);
    expect(await refused(one, 20)).toBe('');
    expect(await refused(one, 3)).toBe(full);
    expect(await refused(two, 11)).toBe(full);
    expect(await refused(two, 10)).toBe('');
    one.send({ cancel_request: { watch_id: 0 } });
    expect(await one.next()).toMatchObject({ canceled: true });
    expect(await refused(one, 10)).toBe('');
    const [hub, other] = face.backend.watchStreams as [FakeWatchStream, FakeWatchStream];
    hub.sink.deliver({ type: 'canceled', watchId: 1n, reason: 'revoked', compactRevision: 0 });
    expect(await one.next()).toMatchObject({ cancel_reason: 'revoked' });
    // What the backend refuses takes no room.
    hub.refusal = 'mvcc: watcher range is empty';
    expect(await refused(one, 20)).toBe(hub.refusal);
    hub.refusal = null;
    expect(await refused(one, 20)).toBe('');
    one.call.cancel();
    await hub.closed;
    expect(await refused(two, 10)).toBe('');
    two.call.cancel();
    await other.closed;
    const three = face.stream(WATCH);
    expect(await refused(three, 20)).toBe('');
    three.call.cancel();
    await face.backend.watchStreams.at(-1)!.closed;
    expect(face.bugs).toEqual([]);
  });
});

describe('a watch bound to a lease that is unknown here', () => {
  const MISSING = 'etcdserver: request timed out';

  test('holds up nothing else on its stream, and its creation ends with an answer', async () => {
    const { stream, hub } = await openWatch({ watch_id: 1 });
    const asked = createDeferred();
    etcd.backend.settleLease = () => asked.promise;
    create(stream, { key: bytes('bound'), lease: 7n, watch_id: 2 });
    create(stream, { key: bytes('other'), watch_id: 3 });
    expect(await stream.next()).toMatchObject({ watch_id: 3, created: true, canceled: false });
    stream.send({ progress_request: { nonce: 0, watch_id: 0 } });
    expect(await stream.next()).toMatchObject({ watch_id: -1, created: false });
    stream.send({ cancel_request: { watch_id: 1 } });
    expect(await stream.next()).toMatchObject({ watch_id: 1, canceled: true });
    expect(hub.created.map(({ watchId }) => watchId)).toEqual([3n]);
    asked.resolve();
    expect(await stream.next()).toMatchObject({ watch_id: 2, created: true, canceled: false });
    expect(hub.created.map(({ watchId, lease }) => [watchId, lease])).toEqual([
      [3n, 0n],
      [2n, 7n],
    ]);
  });

  test('is refused when nobody can say, and watches of known leases are made at once', async () => {
    const stream = etcd.stream(WATCH);
    const asked = createDeferred();
    etcd.backend.settleLease = () => asked.promise;
    etcd.backend.leases.add(8n);
    create(stream, { key: bytes('k'), lease: 7n });
    create(stream, { key: bytes('k'), lease: 8n });
    expect(await stream.next()).toMatchObject({ watch_id: 0, created: true, canceled: false });
    asked.reject(new StoreError('timeout'));
    expect(await stream.next()).toMatchObject({ watch_id: -1, created: true, cancel_reason: MISSING });
  });

  test('can be canceled before it has begun', async () => {
    const stream = etcd.stream(WATCH);
    const asked = createDeferred();
    etcd.backend.settleLease = () => asked.promise;
    create(stream, { key: bytes('k'), lease: 7n, watch_id: 5 });
    stream.send({ cancel_request: { watch_id: 5 } });
    expect(await stream.next()).toMatchObject({ watch_id: -1, created: true, canceled: true });
    create(stream, { key: bytes('k'), watch_id: 5 });
    expect(await stream.next()).toMatchObject({ watch_id: 5, created: true, canceled: false });
    asked.resolve();
    stream.send({ progress_request: { nonce: 0, watch_id: 0 } });
    expect(await stream.next()).toMatchObject({ watch_id: -1, created: false });
    expect(etcd.backend.watchStreams[0]!.created).toHaveLength(1);
  });

  test('keeps its stream open when the client has said all it has to say', async () => {
    const stream = etcd.stream(WATCH);
    const asked = createDeferred();
    etcd.backend.settleLease = () => asked.promise;
    create(stream, { key: bytes('k'), lease: 7n });
    create(stream, { key: bytes('k'), watch_id: 1 });
    await stream.next();
    stream.send({ cancel_request: { watch_id: 1 } });
    await stream.next();
    stream.call.end();
    asked.reject(new StoreError('timeout'));
    expect(await stream.next()).toMatchObject({ cancel_reason: MISSING });
    expect((await stream.status).code).toBe(0);
  });

  test('waits with few others, and their keys have so much room', async () => {
    await using face = await new EtcdHarness({ waitingWatchesMax: 2, streamWatchKeyBytesMax: 20 }).start();
    const stream = face.stream(WATCH);
    const asked: Deferred[] = [];
    face.backend.settleLease = () => {
      asked.push(createDeferred());
      return asked.at(-1)!.promise;
    };
    const full = { watch_id: -1, canceled: true, cancel_reason: 'etcdserver: too many requests' };
    create(stream, { key: Buffer.alloc(15, 'k'), lease: 7n });
    create(stream, { key: Buffer.alloc(15, 'k'), lease: 7n });
    expect(await stream.next()).toMatchObject(full);
    create(stream, { key: bytes('k'), lease: 7n });
    create(stream, { key: bytes('k'), lease: 7n });
    expect(await stream.next()).toMatchObject(full);
    expect(asked).toHaveLength(2);
    asked[0]!.reject(new StoreError('timeout'));
    expect(await stream.next()).toMatchObject({ cancel_reason: MISSING });
    create(stream, { key: Buffer.alloc(15, 'k') });
    expect(await stream.next()).toMatchObject({ watch_id: 0, canceled: false });
    stream.call.cancel();
    await face.backend.watchStreams[0]!.closed;
    asked[1]!.resolve();
    expect(face.bugs).toEqual([]);
  });
});

describe('delivering', () => {
  test('events, with the previous value and the revision of the delivery', async () => {
    const { stream, hub } = await openWatch();
    hub.sink.deliver({ type: 'events', watchId: 0n, revision: 7, events: [putEvent(), deleteEvent()] });
    const answer = await stream.next();
    expect(answer).toMatchObject({ watch_id: 0, created: false, canceled: false, fragment: false });
    expect(answer.header).toMatchObject({ ...WIRE_HEADER, revision: 7 });
    const [put, removed] = answer.events;
    expect(put!.type).toBe(0);
    expect(put!.kv).toMatchObject({
      key: bytes('k'),
      create_revision: 5,
      mod_revision: 6,
      version: 2,
      value: bytes('v'),
      lease: 2n ** 62n,
    });
    expect(put!.prev_kv).toBeNull();
    expect(removed!.type).toBe(1);
    expect(removed!.kv).toMatchObject({ key: bytes('k'), mod_revision: 7, create_revision: 0, version: 0 });
    expect(removed!.prev_kv).toMatchObject({ key: KV.key, value: KV.value, mod_revision: 6 });
  });

  test('a large revision in fragments when the watch asked for them, else whole', async () => {
    const events = Array.from({ length: 3 }, (_, index) =>
      putEvent({ key: `k${index}`, valueBytes: FRAGMENT_BYTES_MAX / 2 }),
    );
    const { stream, hub } = await openWatch({ fragment: true });
    create(stream, { key: bytes('k'), watch_id: 1 });
    await stream.next();
    hub.sink.deliver({ type: 'events', watchId: 0n, revision: 6, events });
    hub.sink.deliver({ type: 'events', watchId: 1n, revision: 6, events });
    const answers = [await stream.next(), await stream.next(), await stream.next(), await stream.next()];
    expect(answers.map(({ watch_id, fragment, events: part }) => [watch_id, fragment, part.length])).toEqual([
      [0, true, 1],
      [0, true, 1],
      [0, false, 1],
      [1, false, 3],
    ]);
    expect(answers.slice(0, 3).map(({ events: part }) => String(part[0]!.kv!.key))).toEqual([
      'k0',
      'k1',
      'k2',
    ]);
  });

  test('progress of a watch and of the stream', async () => {
    const { stream, hub } = await openWatch({ watch_id: 3 });
    hub.sink.deliver({ type: 'progress', watchId: 3n, revision: 40, nonce: 0n });
    stream.send({ progress_request: { nonce: 0, watch_id: 0 } });
    const [own, all] = [await stream.next(), await stream.next()];
    expect(own).toMatchObject({ watch_id: 3, header: { revision: 40 }, events: [] });
    expect(all).toMatchObject({ watch_id: -1, header: { revision: 50 }, events: [] });
    expect(hub.progressRequests).toBe(1);
  });

  test('a watch that lost its history is canceled with the compact revision, its id free again', async () => {
    const { stream, hub } = await openWatch({ watch_id: 3, start_revision: 1 });
    hub.sink.deliver({ type: 'canceled', watchId: 3n, reason: 'gone', compactRevision: 20 });
    expect(await stream.next()).toMatchObject({
      watch_id: 3,
      created: false,
      canceled: true,
      compact_revision: 20,
      cancel_reason: 'gone',
    });
    create(stream, { key: bytes('k'), watch_id: 3 });
    expect(await stream.next()).toMatchObject({ watch_id: 3, created: true, canceled: false });
  });

  test('a client that does not read makes the sink unwritable; reading resumes it', async () => {
    const stream = etcd.stream(WATCH);
    create(stream, { key: bytes('k') });
    await stream.next();
    stream.call.pause();
    const hub = etcd.backend.watchStreams[0]!;
    let delivered = 0;
    for (; hub.sink.writable; delivered += 1) {
      hub.sink.deliver({
        type: 'events',
        watchId: 0n,
        revision: delivered,
        events: [putEvent({ valueBytes: 100_000 })],
      });
    }
    expect(delivered).toBeLessThan(20);
    expect(etcd.backend.watchResumes).toBe(0);
    for (let index = 0; index < delivered; index += 1) await stream.next();
    stream.send({ cancel_request: { watch_id: 0 } });
    stream.call.end();
    await stream.status;
    expect(etcd.backend.watchResumes).toBe(1);
  });
});

describe('ending', () => {
  test('a canceled watch is confirmed, one that is not there is not answered', async () => {
    const { stream, hub } = await openWatch({ watch_id: 5 });
    stream.send({ cancel_request: { watch_id: 77 } });
    stream.send({ cancel_request: { watch_id: 5 } });
    expect(await stream.next()).toMatchObject({
      watch_id: 5,
      canceled: true,
      created: false,
      cancel_reason: '',
    });
    expect(hub.created).toEqual([]);
    create(stream, { key: bytes('k'), watch_id: 5 });
    expect(await stream.next()).toMatchObject({ watch_id: 5, created: true });
  });

  test('the client closing its side goes on hearing, until its last watch is over', async () => {
    const { stream, hub } = await openWatch();
    stream.call.end();
    hub.sink.deliver({ type: 'events', watchId: 0n, revision: 6, events: [putEvent()] });
    expect((await stream.next()).events).toHaveLength(1);
    hub.sink.deliver({ type: 'canceled', watchId: 0n, reason: 'because', compactRevision: 9 });
    expect((await stream.next()).canceled).toBe(true);
    expect((await stream.status).code).toBe(0);
    await hub.closed;
  });

  test('the client closing its side without a watch ends the stream with OK', async () => {
    const stream = etcd.stream(WATCH);
    stream.call.end();
    expect((await stream.status).code).toBe(0);
    await etcd.backend.watchStreams[0]!.closed;
  });

  test('the client going away closes the watches', async () => {
    const { stream, hub } = await openWatch();
    stream.call.cancel();
    await hub.closed;
    hub.sink.deliver({ type: 'progress', watchId: 0n, revision: 1, nonce: 0n });
  });

  test('a server that stops ends the stream as stopped and closes the watches', async () => {
    const { stream, hub } = await openWatch();
    await etcd.port.close({ graceMs: 1000 });
    expect(await stream.status).toMatchObject({ code: 14, details: 'etcdserver: server stopped' });
    await hub.closed;
  });

  test('a lost leader ends the stream of a client that insists on one, and no other', async () => {
    const insisting = await openWatch({}, { hasleader: 'true' });
    const patient = await openWatch();
    etcd.backend.setLeader(false);
    expect(await insisting.stream.status).toMatchObject({ code: 14, details: 'etcdserver: no leader' });
    await insisting.hub.closed;
    patient.stream.send({ progress_request: { nonce: 0, watch_id: 0 } });
    expect((await patient.stream.next()).watch_id).toBe(-1);
    const late = etcd.stream(WATCH, { hasleader: 'true' });
    expect(await late.status).toMatchObject({ code: 14, details: 'etcdserver: no leader' });
  });
});

test('a leader that returns within the grace keeps the stream', async () => {
  await using patient = await new EtcdHarness({ leaderLossGraceMs: 60_000 }).start();
  const stream = patient.stream(WATCH, { hasleader: 'true' });
  stream.send({ create_request: { key: bytes('k') } as WatchCreateRequest });
  await stream.next();
  patient.backend.setLeader(false);
  patient.backend.setLeader(true);
  stream.send({ progress_request: { nonce: 0, watch_id: 0 } });
  expect((await stream.next()).watch_id).toBe(-1);
});

describe('encoding', () => {
  const decoded = (response: Parameters<typeof encodeEvents>[0]): WatchResponse =>
    codec('etcdserverpb.WatchResponse').decode(encodeEvents(response, [putEvent()], Infinity)[0]!);
  const header = { clusterId: 1, memberId: 2, revision: 3, raftTerm: 4 };

  test('equals what the codec makes of the whole message, for every length of an event', () => {
    const response = codec('etcdserverpb.WatchResponse');
    for (const valueBytes of [0, 1, 100, 127, 128, 16_383, 16_384, 2_100_000]) {
      const event = putEvent({ valueBytes });
      const { row } = event.event;
      const kv = {
        key: row.key,
        create_revision: 5,
        mod_revision: 6,
        version: 2,
        value: row.value,
        lease: row.lease,
      };
      const whole = response.encode({
        header: wireHeader(header),
        watch_id: 9,
        events: [
          { type: 0, kv, prev_kv: null },
          { type: 0, kv, prev_kv: null },
        ],
      });
      const [encoded, ...rest] = encodeEvents({ header, watchId: 9n }, [event, event], Infinity);
      expect(rest).toEqual([]);
      expect(encoded!.equals(whole)).toBe(true);
    }
  });

  test('a header is that of its own delivery, whatever was delivered before', () => {
    const { header: first } = decoded({ header, watchId: 1n });
    expect(first).toMatchObject(wireHeader(header));
    for (const change of [{ revision: 4 }, { raftTerm: 5 }, { memberId: 6 }, { clusterId: 7 }, {}]) {
      const changed = { ...header, ...change };
      expect(decoded({ header: changed, watchId: 1n }).header).toMatchObject(wireHeader(changed));
    }
  });

  test('an event is encoded once for all watchers', () => {
    let reads = 0;
    const event = putEvent();
    const counted: WatchEvent = {
      prevKv: null,
      get event() {
        reads += 1;
        return event.event;
      },
    };
    for (const watchId of [1n, 2n, 3n]) encodeEvents({ header, watchId }, [counted], Infinity);
    expect(reads).toBe(1);
  });
});
