import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GATEWAY_ROUTES } from '../../../src/api/etcd/gateway-routes.ts';
import { aborted, type CancelSignal } from '../../../src/lib/cancellation.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import { UnreadBudget } from '../../../src/lib/unread-budget.ts';
import { CallBudget, DEFAULT_CALL_LIMITS } from '../../../src/rpc/call-budget.ts';
import { serviceMethods } from '../../../src/rpc/codec.ts';
import { eventually } from '../../support/eventually.ts';
import { KV } from './fake-backend.ts';
import { EtcdHarness } from './harness.ts';

const HEADER = { cluster_id: '11', member_id: '22', revision: '33', raft_term: '44' };
const WIRE_KV = {
  key: 'aw==',
  create_revision: '5',
  mod_revision: '6',
  version: '2',
  value: 'dg==',
  lease: '4611686018427387904',
};

let etcd: EtcdHarness;
beforeEach(async () => {
  etcd = (await new EtcdHarness({}, { gatewayBytesMax: 1024 }).start()) as EtcdHarness;
});
afterEach(async () => {
  expect(etcd.bugs).toEqual([]);
  await etcd[Symbol.asyncDispose]();
});

async function lines(response: Response): Promise<unknown[]> {
  return (await response.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

describe('routes', () => {
  test('every method of etcd but RangeStream has one', () => {
    const services = ['KV', 'Watch', 'Lease', 'Cluster', 'Maintenance', 'Auth'].map(
      (name) => `etcdserverpb.${name}`,
    );
    const methods = [...services, 'v3lockpb.Lock', 'v3electionpb.Election'].flatMap(serviceMethods);
    const routed = new Set<string>(GATEWAY_ROUTES.values());
    expect(methods.map(({ path }) => path).filter((path) => !routed.has(path))).toEqual([
      '/etcdserverpb.KV/RangeStream',
    ]);
    expect(GATEWAY_ROUTES.size).toBe(methods.length - 1 + 3);
  });

  test('every unary route reaches its method', async () => {
    for (const [path, rpc] of GATEWAY_ROUTES) {
      if (/Watch|KeepAlive|Observe|Snapshot|Lock\/Lock|Campaign/.test(rpc)) continue;
      const response = await etcd.post(path, {});
      const body = (await response.json()) as { header?: unknown; error?: string };
      // These answer nothing at all, as in etcd.
      const answered = /(Defragment|MoveLeader)$/.test(rpc)
        ? isDeepStrictEqual(body, {})
        : body.header !== undefined || body.error !== undefined;
      expect({ path, answered }).toEqual({ path, answered: true });
      expect(response.headers.get('content-type')).toBe('application/json');
      expect(response.status).not.toBe(404);
    }
  });

  test('the old prefixes stand for the new one', async () => {
    for (const prefix of ['v3', 'v3beta', 'v3alpha']) {
      const response = await etcd.post(`/${prefix}/kv/range`, { key: 'aw==' });
      expect(await response.json()).toMatchObject({ count: '9' });
    }
    expect(await (await etcd.post('/v3gamma/kv/range', {})).text()).toBe('unclaimed');
    expect(await (await fetch(`http://${etcd.address}/version`)).text()).toBe('unclaimed');
  });

  test('a request may name the server in its target, as proxies are asked', async () => {
    const answer = async (target: string, headers = ''): Promise<string> => {
      const socket = connect(etcd.portNumber, '127.0.0.1');
      const body = '{"key":"aw=="}';
      const head = `POST ${target} HTTP/1.1\r\nhost: store\r\nconnection: close\r\n${headers}`;
      socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
      return (await socket.setEncoding('utf8').toArray()).join('');
    };
    for (const target of ['http://store/v3/kv/range', 'HTTP://store:2379/v3beta/kv/range?x=/v3/kv/put']) {
      expect(await answer(target)).toMatch(/^HTTP\/1\.1 200 [^]*"count":"9"/);
    }
    expect(await answer('http://store/v3/nothing')).toMatch(/^HTTP\/1\.1 404 [^]*Not Found/);
    expect(await answer('http://store/version')).toContain('unclaimed');
    expect(await answer('/http://store/v3/kv/range')).toContain('unclaimed');
    // That name takes the place of the header's, also for whose pages may ask.
    const page = 'origin: http://page.example\r\n';
    expect(await answer('http://page.example/v3/kv/range', page)).toContain('HTTP/1.1 200 ');
    expect(await answer('http://store/v3/kv/range', page)).toContain('HTTP/1.1 403 ');
  });

  test('what is not there is told as grpc-gateway does', async () => {
    const missing = await etcd.post('/v3/nothing', {});
    expect(missing.status).toBe(404);
    expect(await missing.json()).toEqual({ error: 'Not Found', message: 'Not Found', code: 5 });
    const get = await fetch(`http://${etcd.address}/v3/kv/range`);
    expect(get.status).toBe(501);
    expect(get.headers.get('allow')).toBe('POST');
    expect(await get.json()).toMatchObject({ code: 12, message: 'Method Not Allowed' });
  });
});

describe('messages', () => {
  test('a range: 64-bit integers are texts, bytes base64, names the definitions', async () => {
    const response = await etcd.post('/v3/kv/range', {
      key: 'aw==',
      rangeEnd: '_w',
      limit: '5',
      sort_order: 'DESCEND',
      sortTarget: 2,
      serializable: true,
      unknown: { deep: [1] },
    });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(
      JSON.stringify({ header: HEADER, kvs: [WIRE_KV], more: true, count: '9' }),
    );
    expect(etcd.backend.asked).toMatchObject([
      {
        serializable: true,
        request: {
          key: Buffer.from('k'),
          rangeEnd: Buffer.from([0xff]),
          limit: 5,
          sortOrder: 'descend',
          sortTarget: 'create',
        },
      },
    ]);
  });

  test('what has its default is left out', async () => {
    expect(await (await etcd.post('/v3/kv/put', { key: 'aw==' })).text()).toBe(
      JSON.stringify({ header: HEADER }),
    );
  });

  test('a transaction, with what is set to zero in a oneof', async () => {
    etcd.backend.txnResult = {
      type: 'txn',
      revision: 33,
      succeeded: true,
      responses: [
        { type: 'range', revision: 33, kvs: [], more: false, count: 0 },
        { type: 'put', revision: 33, prevKv: KV },
      ],
    };
    const response = await etcd.post('/v3/kv/txn', {
      compare: [{ key: 'aw==', target: 'CREATE', create_revision: '0' }],
      success: [{ request_range: { key: 'aw==' } }, { requestPut: { key: 'aw==', prev_kv: true } }],
    });
    expect(await response.json()).toEqual({
      header: HEADER,
      succeeded: true,
      responses: [
        { response_range: { header: { revision: '33' } } },
        { response_put: { header: { revision: '33' }, prev_kv: WIRE_KV } },
      ],
    });
  });

  test('base64 of either alphabet, with and without padding, and in lines', async () => {
    for (const key of ['+/8=', '-_8=', '-_8', '+/8', '+/\\r\\n8=\\n']) {
      expect((await etcd.post('/v3/kv/range', `{"key":"${key}"}`)).status).toBe(200);
      expect(etcd.backend.asked.at(-1)).toMatchObject({ request: { key: Buffer.from([0xfb, 0xff]) } });
    }
  });

  test('integers keep all their digits, as numbers and as texts', async () => {
    for (const id of ['-9223372036854775808', '9223372036854775807', '"9223372036854775807"']) {
      const response = await etcd.post('/v3/lease/revoke', `{"ID":${id}}`);
      expect(response.status).toBe(200);
    }
    expect(etcd.backend.asked).toEqual([
      { id: -(2n ** 63n) },
      { id: 2n ** 63n - 1n },
      { id: 2n ** 63n - 1n },
    ]);
  });

  test('an empty body is an empty request, and what follows the first object is ignored', async () => {
    expect(await (await etcd.post('/v3/kv/range', '')).json()).toMatchObject({
      message: 'etcdserver: key is not provided',
    });
    expect((await etcd.post('/v3/kv/range', '{"key":"aw=="} {"key":')).status).toBe(200);
  });

  test('what is no such message is refused, and says why', async () => {
    for (const [body, words] of [
      ['{"key":', 'unexpected EOF'],
      ['[]', 'must be an object'],
      ['7', 'must be an object'],
      ['{"key":7}', 'field key is not base64'],
      ['{"key":"?"}', 'field key is not base64'],
      ['{"key":"a"}', 'field key is not base64'],
      ['{"key":"YWJja"}', 'field key is not base64'],
      ['{"key":"aw="}', 'field key is not base64'],
      ['{"key":"YWJj=="}', 'field key is not base64'],
      ['{"key":"+_8="}', 'field key is not base64'],
      ['{"limit":"x"}', 'field limit is not an int64'],
      ['{"limit":9223372036854775808}', 'field limit is not an int64'],
      ['{"limit":1.5}', 'field limit is not an int64'],
      ['{"serializable":"yes"}', 'field serializable is not true or false'],
      ['{"sort_order":"UP"}', 'unknown value "UP" for enum etcdserverpb.RangeRequest.SortOrder'],
      ['{"sort_order":"2"}', 'unknown value "2" for enum etcdserverpb.RangeRequest.SortOrder'],
      ['{"sort_order":"toString"}', 'unknown value "toString" for enum etcdserverpb.RangeRequest.SortOrder'],
      ['{"range_end":"","rangeEnd":""}', 'given twice'],
      ['{"key" "x"}', 'JSON'],
    ] as const) {
      const response = await etcd.post('/v3/kv/range', body);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ code: 3, message: expect.stringContaining(words) });
    }
    const nested = (depth: number): string =>
      depth === 0 ? '{}' : `{"success":[{"request_txn":${nested(depth - 1)}}]}`;
    const tooDeep = (depth: number) => etcd.post('/v3/kv/txn', nested(depth)).then((told) => told.text());
    // Each of these is two messages; so many transactions are too many by another bound.
    expect(await tooDeep(50)).not.toContain('nested too deeply');
    expect(await tooDeep(51)).toContain('messages are nested too deeply');
    const twice = '{"compare":[{"version":"1","lease":"1"}]}';
    expect(await (await etcd.post('/v3/kv/txn', twice)).json()).toMatchObject({ code: 3 });
  });

  test('a request beyond the bound is refused, whether its text or its bytes are', async () => {
    for (const value of ['A'.repeat(1_500), 'A'.repeat(100_000)]) {
      const response = await etcd.post('/v3/kv/put', { key: 'aw==', value });
      expect(response.status).toBe(429);
      expect(await response.json()).toMatchObject({ code: 8 });
    }
    expect(etcd.backend.asked).toEqual([]);
  });

  test('a large answer comes whole', async () => {
    const kvs = Array.from({ length: 5_000 }, (_, i) => ({
      ...KV,
      key: Buffer.from(`key ${i}`),
      value: Buffer.alloc(200, i),
    }));
    etcd.backend.range = async () => ({
      header: { clusterId: 11, memberId: 22, revision: 33, raftTerm: 44 },
      result: { type: 'range', revision: 33, kvs, more: false, count: 5_000 },
    });
    const { kvs: got, ...rest } = (await (await etcd.post('/v3/kv/range', { key: 'aw==' })).json()) as {
      kvs: { key: string; value: string }[];
    };
    expect(rest).toEqual({ header: HEADER, count: '5000' });
    expect(got).toHaveLength(5_000);
    expect(
      got.every(({ key, value }, i) => {
        const expected = kvs[i]!;
        return key === expected.key.toString('base64') && value === expected.value.toString('base64');
      }),
    ).toBe(true);
  });
});

test('who does not read a large answer is ended when too much is unread', async () => {
  const unread = new UnreadBudget({ bytesMax: 24_000_000 });
  await using face = new EtcdHarness({}, { unread });
  face.backend.range = async () => ({
    header: { clusterId: 11, memberId: 22, revision: 33, raftTerm: 44 },
    result: {
      type: 'range',
      revision: 33,
      kvs: [{ ...KV, value: Buffer.alloc(16_000_000) }],
      more: false,
      count: 1,
    },
  });
  await face.start();
  const ended = Array.from({ length: 2 }, () => {
    const socket = connect(face.portNumber, '127.0.0.1');
    socket.pause();
    socket.on('error', () => undefined);
    const body = '{"key":"aw=="}';
    socket.write(`POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return socket;
  });
  await eventually('an end', () => unread.figures.ended === 1 || undefined);
  await eventually('the connections', () => face.port.figures.open === 1 || undefined);
  for (const socket of ended) socket.destroy();
  await eventually('memory', () => unread.figures.bytes === 0 || undefined);
  expect(face.bugs).toEqual([]);
});

test('who takes nothing of a large answer is cut off', async () => {
  await using face = new EtcdHarness({}, { answerStallMs: 50 });
  const kvs = [{ ...KV, value: Buffer.alloc(16_000_000) }];
  face.backend.range = async () => ({
    header: { clusterId: 11, memberId: 22, revision: 33, raftTerm: 44 },
    result: { type: 'range', revision: 33, kvs, more: false, count: 1 },
  });
  await face.start();
  const socket = connect(face.portNumber, '127.0.0.1');
  socket.on('error', () => undefined).pause();
  const body = '{"key":"aw=="}';
  socket.write(`POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await eventually('the connection', () => face.port.figures.open === 1 || undefined);
  await eventually('the end', () => face.port.figures.open === 0 || undefined);
  socket.destroy();
  expect(face.bugs).toEqual([]);
});

test('requests that do not end are held up to a bound; the largest gives way to a small one', async () => {
  const requests = new CallBudget({ ...DEFAULT_CALL_LIMITS, requestBytesMax: 200_000 });
  await using face = await new EtcdHarness({}, { requests }).start();
  const begin = (characters: number) => {
    const socket = connect(face.portNumber, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    socket.write(
      'POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n{"key":"aw==","value":"',
    );
    socket.write('A'.repeat(characters));
    return { socket, answer: () => answer, ended: once(socket, 'close') };
  };
  const large = begin(180_000);
  await eventually('the large one', () => requests.heldBytes > 180_000 || undefined);
  expect((await face.post('/v3/kv/range', { key: 'aw==' })).status).toBe(200);
  await large.ended;
  expect(large.answer()).toContain('HTTP/1.1 429');
  expect(large.answer()).toContain('"message":"etcdserver: too many requests"');
  await eventually('its room', () => requests.heldBytes === 0 || undefined);

  // Of two that are alike the later one is refused.
  const first = begin(120_000);
  await eventually('the first', () => requests.heldBytes > 120_000 || undefined);
  const later = begin(120_000);
  await later.ended;
  expect(later.answer()).toContain('HTTP/1.1 429');
  expect(first.answer()).toBe('');
  first.socket.destroy();
  await first.ended;
  await eventually('all room', () => requests.heldBytes === 0 || undefined);
  expect(face.bugs).toEqual([]);
});

test('what a stream of requests has handed over is not held against it', async () => {
  const requests = new CallBudget({ ...DEFAULT_CALL_LIMITS, requestBytesMax: 30_000 });
  await using face = await new EtcdHarness({}, { requests }).start();
  const value = JSON.stringify({ create_request: { key: 'A'.repeat(8_000) } });
  const request = httpRequest(`http://${face.address}/v3/watch`, { method: 'POST' });
  for (let i = 0; i < 10; i++) request.write(value);
  const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
  let created = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    created += chunk.toString().split('"created":true').length - 1;
    if (created === 10) break;
  }
  request.destroy();
  await face.backend.watchStreams.at(-1)!.closed;
  await eventually('its room', () => requests.heldBytes === 0 || undefined);
});

describe('failures', () => {
  test('have status, text and code in both forms', async () => {
    for (const [code, http, grpc, text] of [
      ['compacted', 400, 11, 'etcdserver: mvcc: required revision has been compacted'],
      ['no-leader', 503, 14, 'etcdserver: no leader'],
      ['no-space', 429, 8, 'etcdserver: mvcc: database space exceeded'],
      ['lease-not-found', 404, 5, 'etcdserver: requested lease not found'],
      ['corrupt', 500, 15, 'etcdserver: corrupt cluster'],
    ] as const) {
      etcd.backend.failure = new StoreError(code);
      const response = await etcd.post('/v3/kv/range', { key: 'aw==' });
      expect(response.status).toBe(http);
      expect(await response.json()).toEqual({ error: text, message: text, code: grpc });
    }
  });

  test('headers of a call are passed on: metadata, token, timeout', async () => {
    etcd.backend.leader = false;
    const insisting = { 'grpc-metadata-hasleader': 'true' };
    expect((await etcd.post('/v3/kv/range', { key: 'aw==' }, insisting)).status).toBe(503);
    etcd.backend.leader = true;
    etcd.backend.range = async () => new Promise(() => undefined);
    const timedOut = await etcd.post('/v3/kv/range', { key: 'aw==' }, { 'grpc-timeout': '1m' });
    expect(timedOut.status).toBe(504);
    expect(await timedOut.json()).toMatchObject({ code: 4 });
    const wrong = await etcd.post('/v3/kv/range', {}, { 'grpc-timeout': 'soon' });
    expect(await wrong.json()).toMatchObject({ code: 3, message: 'invalid grpc-timeout: soon' });
  });

  test('a client that goes away ends its call', async () => {
    const asked = new Promise<CancelSignal>((resolve) => {
      etcd.backend.range = async (_, { signal }) => {
        resolve(signal);
        return new Promise(() => undefined);
      };
    });
    const gone = httpRequest(`http://${etcd.address}/v3/kv/range`, { method: 'POST' });
    gone.on('error', () => undefined);
    gone.end('{"key":"aw=="}');
    const signal = await asked;
    gone.destroy();
    await aborted(signal);
    expect(signal.reason).toMatchObject({ code: 'canceled' });
  });

  test('a client that goes away within its body does no harm', async () => {
    const socket = connect(etcd.portNumber, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /v3/kv/range HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"key":');
    socket.end();
    await once(socket.resume(), 'close');
    expect((await etcd.post('/v3/kv/range', { key: 'aw==' })).status).toBe(200);
  });

  test('a connection serves on after a refused and an unread body', async () => {
    const socket = connect(etcd.portNumber, '127.0.0.1');
    const send = (body: string): void => {
      socket.write(`POST /v3/kv/range HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    };
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    send('{"limit":true}');
    send(`{"key":"aw=="} ${' '.repeat(500)}trailing`);
    send('{"key":"aw=="}');
    while ((text.match(/HTTP\/1\.1 200/g) ?? []).length < 2) await once(socket, 'data');
    expect(text).toContain('HTTP/1.1 400');
    socket.destroy();
  });
});

describe('streams', () => {
  test('a watch answers one result a line, also after its request is over', async () => {
    const response = await etcd.post('/v3/watch', { create_request: { key: 'aw==', watch_id: '7' } });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect(JSON.parse((await reader.read()).value!)).toEqual({
      result: { header: HEADER, watch_id: '7', created: true },
    });
    const hub = etcd.backend.watchStreams.at(-1)!;
    const row = {
      main: 6,
      sub: 0,
      tombstone: false,
      createRevision: 5,
      version: 2,
      lease: 0n,
      key: Buffer.from('k'),
      value: Buffer.from('v'),
    };
    hub.sink.deliver({
      type: 'events',
      watchId: 7n,
      revision: 6,
      events: [{ event: { type: 'put', row, previous: null, previousLease: 0n }, prevKv: null }],
    });
    expect(JSON.parse((await reader.read()).value!)).toMatchObject({
      result: { watch_id: '7', events: [{ kv: { key: 'aw==', value: 'dg==' } }] },
    });
    hub.sink.deliver({ type: 'canceled', watchId: 7n, reason: 'because', compactRevision: 9 });
    expect(JSON.parse((await reader.read()).value!)).toMatchObject({
      result: { canceled: true, compact_revision: '9', cancel_reason: 'because' },
    });
    expect((await reader.read()).done).toBe(true);
    await hub.closed;
  });

  test('requests are taken as they come', async () => {
    const request = httpRequest(`http://${etcd.address}/v3/watch`, { method: 'POST' });
    request.write('{"create_request":{"key":"aw=="}}');
    const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
    const answers = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    expect((await answers.next()).value.toString()).toContain('"created":true');
    request.write('{"progress_req');
    request.write('uest":{}}');
    expect((await answers.next()).value.toString()).toContain('"watch_id":"-1"');
    request.destroy();
    await etcd.backend.watchStreams.at(-1)!.closed;
  });

  test('keep-alives answer each and end', async () => {
    const response = await etcd.post('/v3/lease/keepalive', '{"ID":"7"} {"ID":"404"}');
    expect(await lines(response)).toEqual([
      { result: { header: HEADER, ID: '7', TTL: '60' } },
      { result: { header: HEADER, ID: '404' } },
    ]);
  });

  test('a snapshot comes in pieces', async () => {
    etcd.backend.frames = [Buffer.from('one'), Buffer.from('two')];
    etcd.backend.snapshotBytes = 6;
    const results = (await lines(await etcd.post('/v3/maintenance/snapshot', {}))) as {
      result: { blob: string; remaining_bytes?: string };
    }[];
    expect(results.map(({ result }) => [result.blob, result.remaining_bytes])).toEqual([
      ['b25l', '3'],
      ['dHdv', undefined],
    ]);
  });

  test('a failure before the first line has a status, a later one only its line', async () => {
    etcd.backend.failure = new StoreError('no-leader');
    const early = await etcd.post('/v3/lease/keepalive', '{"ID":"7"}');
    expect(early.status).toBe(503);
    expect(await early.json()).toEqual({
      error: {
        grpc_code: 14,
        http_code: 503,
        message: 'etcdserver: no leader',
        http_status: 'Service Unavailable',
        code: 14,
      },
    });
    const late = await etcd.post('/v3/watch', '{"create_request":{"key":"aw=="}} {"create_request":[]}');
    expect(late.status).toBe(200);
    const [, failure] = await lines(late);
    expect(failure).toMatchObject({ error: { code: 3 } });
  });

  test('a first request that cannot be read is told as that of any other method', async () => {
    for (const path of ['/v3/watch', '/v3/lease/keepalive', '/v3/election/observe', '/v3/kv/range']) {
      for (const body of ['[]', '{', 'x', '"text"']) {
        const response = await etcd.post(path, body);
        const told = (await response.json()) as { message: string };
        expect({ path, body, status: response.status, told }).toEqual({
          path,
          body,
          status: 400,
          told: { error: told.message, message: expect.stringMatching(/./), code: 3 },
        });
      }
    }
    const large = await etcd.post('/v3/watch', { create_request: { key: 'a'.repeat(5_000) } });
    expect(large.status).toBe(429);
    expect(await large.json()).toMatchObject({ error: expect.stringContaining('larger than max'), code: 8 });
  });

  test('a stop ends streams, and says so', async () => {
    const response = await etcd.post('/v3/watch', { create_request: { key: 'aw==' } });
    etcd.gateway.drain();
    const [, last] = await lines(response);
    expect(last).toMatchObject({ error: { message: 'etcdserver: server stopped', code: 14 } });
    await etcd.backend.watchStreams.at(-1)!.closed;
  });
});

describe('pages of other sites', () => {
  test('are refused unless allowed', async () => {
    const from = (origin: string) => etcd.post('/v3/kv/range', { key: 'aw==' }, { origin });
    const refused = await from('https://evil.example');
    expect(refused.status).toBe(403);
    expect(refused.headers.get('access-control-allow-origin')).toBeNull();
    expect((await from(`http://${etcd.address}`)).status).toBe(200);
    expect(etcd.backend.asked).toHaveLength(1);
  });

  test('are welcome when allowed', async () => {
    await using open = new EtcdHarness({}, { corsOrigins: ['https://console.example'] });
    await open.start();
    const allowed = await open.post('/v3/kv/range', { key: 'aw==' }, { origin: 'https://console.example' });
    expect(allowed.status).toBe(200);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://console.example');
    const preflight = await fetch(`http://${open.address}/v3/kv/range`, {
      method: 'OPTIONS',
      headers: { origin: 'https://console.example' },
    });
    expect(preflight.status).toBe(200);
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST');
  });
});
