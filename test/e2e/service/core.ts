import { expect, test } from 'vitest';
import { KvClient } from '../../../src/client/kv-client.ts';
import { rpcStatus } from '../../../src/rpc/status.ts';
import { configCall, configStream } from '../../support/config-call.ts';
import { etcdctl, skipWithoutEtcdctl } from '../../support/etcdctl.ts';
import { eventually } from '../../support/eventually.ts';
import { LINES_KEPT } from '../../support/server-process.ts';
import { EventReader, SocketReader } from '../../support/stream-readers.ts';
import type { Face } from './face.ts';
import { LeakSearch } from './leaks.ts';
import { idOf, MASK } from './operation-cases.ts';

/** A running service with its store: of a cluster, or gateways before one. */
export interface Place {
  /** At least two, of different processes. */
  readonly faces: readonly Face[];
  /** Of the same processes: where they serve gRPC. */
  readonly clientUrls: readonly string[];
  /** Client URLs of the store. */
  readonly storeUrls: readonly string[];
  /** What the processes logged, all of it. */
  readonly logs: () => readonly string[];
  /** Directories of the store whose files must not show secrets; none = they are not ours. */
  readonly directories: readonly string[];
}

const CONSISTENCIES = ['strong', 'bounded', 'bounded&maxStalenessMs=0', 'eventual'] as const;

/** What every service must do, whatever it stands on: tests of one place, made before they run. */
export function coreTests(place: () => Place): void {
  const face = (at: number): Face => place().faces[at % place().faces.length]!;
  const grpc = (at: number): string => place().clientUrls[at % place().clientUrls.length]!;

  test('what one face takes, all others tell at once', async () => {
    const scope = { application: 'core', environment: 'production' };
    for (const [turn, value] of ['first', 'second', 'third'].entries()) {
      const written = await face(turn).put('/api/v1/config/core/greeting?environment=PROD', {
        new_value: value,
      });
      expect([200, 201]).toContain(written.status);
      const revision = Number(written.headers['conclave-revision']);
      for (const [at, other] of place().faces.entries()) {
        const seen = await other.get('/api/v1/lookup?application=core&environment=PROD&key=greeting');
        expect(seen.body).toMatchObject({ value, version: turn + 1 });
        expect(Number(seen.headers['conclave-revision'])).toBeGreaterThanOrEqual(revision);
        const told = await configCall(grpc(at), 'GetConfiguration', { ...scope, key: 'greeting' });
        expect(told).toMatchObject({ ok: true, answer: { value, version: turn + 1, value_type: 1 } });
        for (const consistency of CONSISTENCIES) {
          await eventually(`${consistency} of ${at}`, async () => {
            const read = await other.get(
              `/v1/config/services/core?environment=prod&consistency=${consistency}`,
            );
            return read.body.greeting === value;
          });
        }
      }
      using store = new KvClient({ endpoints: [...place().storeUrls] });
      const { kvs } = await store.range({ key: '/default/production/core/greeting' });
      expect(kvs.map((row) => row.value.toString())).toEqual([JSON.stringify(value)]);
    }
  });

  test('who has it already is told so, at every face, until it changes', async () => {
    await face(0).put('/api/v1/config/tagged/k?environment=DEV', { new_value: 1 });
    const urls = [
      '/api/v1/config/tagged?environment=DEV',
      '/api/v1/config/tagged/k?environment=DEV',
      '/v1/config/services/tagged?environment=DEV',
      '/configs?application=tagged',
      '/configs/lookup?key=k&application=tagged&environment=DEV',
      `/api/v1/configurations/${idOf({ application: 'tagged', environment: 'development', key: 'k' })}`,
      '/api/v1/effective?application=tagged&environment=DEV',
      '/api/v1/export?application=tagged&environment=DEV&format=yaml',
    ];
    const tags = new Map<string, string>();
    for (const url of urls) {
      const { headers } = await face(0).get(url);
      tags.set(url, headers['etag']!);
      const again = await face(1).get(url, { 'if-none-match': headers['etag']! });
      expect({ url, status: again.status, text: again.text }).toEqual({ url, status: 304, text: '' });
    }
    await face(1).put('/api/v1/config/tagged/k?environment=DEV', { new_value: 2 });
    for (const [url, tag] of tags) {
      const changed = await face(0).get(url, { 'if-none-match': tag });
      expect({ url, status: changed.status }).toEqual({ url, status: 200 });
      expect(changed.headers['etag']).not.toBe(tag);
    }
  });

  test('of two changes that take the same state for granted one is made', async () => {
    const url = '/api/v1/config/raced/k?environment=DEV';
    const { headers } = await face(0).put(url, { new_value: 0 });
    const answers = await Promise.all(
      [0, 1].map((at) => face(at).put(url, { new_value: at + 1 }, { 'if-match': headers['etag']! })),
    );
    expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(['200', '412']);
    const winner = answers.findIndex(({ status }) => status === 200);
    expect((await face(0).get(url)).body).toMatchObject({ config_value: winner + 1, version: 2 });
  });

  test('a request under the same key is done once, wherever it comes again', async () => {
    const body = { application: 'once', environment: 'DEV', key: 'k', value: 1 };
    const headers = { 'idempotency-key': 'again and again' };
    const first = await face(0).post('/api/v1/configurations', body, headers);
    const again = await face(1).post('/api/v1/configurations', body, headers);
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.body).toEqual(first.body);
    expect([first, again].map((answer) => answer.headers['idempotency-replayed'])).toEqual([
      undefined,
      'true',
    ]);
    const other = await face(1).post('/api/v1/configurations', { ...body, value: 2 }, headers);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency-mismatch' } });
    const { body: versions } = await face(0).get(`/api/v1/configurations/${first.body.id}/versions`);
    expect(versions.items).toHaveLength(1);
  });

  test('the most that may be changed at once is, promoted, and rolled back whole', async () => {
    const items = Array.from({ length: 40 }, (_, n) => ({
      action: 'create',
      application: 'release',
      environment: 'STAGING',
      key: `k${n}`,
      value: n,
    }));
    expect((await face(0).post('/api/v1/bulk', { items })).status).toBe(200);
    const promotion = { application: 'release', from: 'STAGING', to: 'PROD', changeSet: 'core-release' };
    expect((await face(1).post('/api/v1/promotions', promotion)).status).toBe(200);
    const released = '/v1/config/services/release?environment=prod';
    const { feature_flags: _, ...values } = (await face(0).get(released)).body;
    expect(values).toEqual(Object.fromEntries(items.map(({ key, value }) => [key, value])));
    const back = await face(1).post('/api/v1/change-sets/core-release/rollback', {});
    expect(back).toMatchObject({ status: 200 });
    expect((await face(0).get(released)).body).toEqual({ feature_flags: {} });
    const kept = await face(0).get('/api/v1/configurations?application=release');
    expect(kept.body.total).toBe(40);
  });

  test.each([
    ['json', 'application/json', 'flat'],
    ['json', 'application/json', 'nested'],
    ['yaml', 'application/yaml', 'nested'],
    ['dotenv', 'text/plain', 'flat'],
    ['properties', 'text/x-java-properties', 'flat'],
  ])('what is exported as %s (%s, %s) is imported as it was', async (format, type, shape) => {
    const application = `texts-${format}-${shape}`;
    const values = { 'db.host': 'a "b" \\ ä#', 'db.pool.max': 20, 'db.tls': true, 'db.note': 'x=y: z' };
    const scope = (environment: string): string => `application=${application}&environment=${environment}`;
    const made = await face(0).post(`/api/v1/import?${scope('DEV')}`, values);
    expect(made.body).toMatchObject({ created: 4 });
    const form = `format=${format}&shape=${shape}`;
    const { text } = await face(1).get(`/api/v1/export?${scope('DEV')}&${form}`);
    const send = (query: string) =>
      face(1).call('POST', `/api/v1/import?${scope('TEST')}&${form}${query}`, {
        payload: text,
        headers: { 'content-type': type },
      });
    expect((await send('&dryRun=true')).body).toMatchObject({ created: 4, changeIds: [] });
    expect((await face(0).get(`/api/v1/configurations?${scope('TEST')}`)).body.total).toBe(0);
    expect((await send('')).body).toMatchObject({ created: 4 });
    expect((await send('')).body).toMatchObject({ created: 0, unchanged: 4 });
    const { body } = await face(0).get(`/api/v1/effective?${scope('TEST')}`);
    const read = Object.fromEntries(
      body.items.map((item: { key: string; value: unknown }) => [item.key, item.value]),
    );
    expect(read).toEqual(values);
  });

  test.skipIf(skipWithoutEtcdctl)('what etcdctl changes is shown, adopted and reverted', async () => {
    const name = { application: 'drift', environment: 'DEV', key: 'limit' };
    const plain = '/default/development/drift/limit';
    const ctl = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await etcdctl(place().storeUrls.join(','), ...words);
      expect({ words, code, stderr }).toEqual({ words, code: 0, stderr: '' });
      return stdout;
    };
    await face(0).put('/api/v1/config/drift/limit?environment=DEV', { new_value: 10 });
    expect(await ctl('get', plain, '--print-value-only')).toBe('10\n');
    expect((await face(1).get('/api/v1/drift?application=drift')).body.items).toEqual([]);

    await ctl('put', plain, '20');
    expect((await face(1).get('/api/v1/drift?application=drift')).body.items).toMatchObject([
      { key: 'limit', drift: 'changed', expected: { value: 10 }, actual: { value: 20 } },
    ]);
    // What the service tells is its own until somebody decides.
    expect((await face(0).get('/api/v1/config/drift/limit?environment=DEV')).body.config_value).toBe(10);
    const adopted = await face(1).post('/api/v1/drift/adopt', { names: [name], reason: 'by hand' });
    expect(adopted.body.items).toMatchObject([{ type: 'updated', after: { value: 20, version: 2 } }]);
    expect((await face(0).get('/api/v1/config/drift/limit?environment=DEV')).body.config_value).toBe(20);

    await ctl('del', plain);
    expect((await face(0).get('/api/v1/drift?application=drift')).body.items).toMatchObject([
      { drift: 'missing' },
    ]);
    expect((await face(0).post('/api/v1/drift/revert', { names: [name] })).body).toMatchObject({
      reverted: 1,
    });
    expect(await ctl('get', plain, '--print-value-only')).toBe('20\n');
    expect((await face(1).get('/api/v1/drift?application=drift')).body.items).toEqual([]);
  });

  test('a stream tells every change once and in order, and goes on elsewhere', async () => {
    const scope = { application: 'stream', environment: 'DEV' };
    await face(0).post('/api/v1/applications', { name: 'stream' });
    const stream = configStream(grpc(0), scope);
    const begun = await stream.begun;
    for (const [at, value] of ['a', 'b', 'c'].entries()) {
      await face(at).put(`/api/v1/config/stream/${value}?environment=DEV`, { new_value: value });
    }
    await eventually('three updates', () => stream.updates.length >= 3);
    stream.close();
    const shown = (updates: typeof stream.updates) =>
      updates.map(({ key, revision }) => [key, Number(revision)]);
    const all = shown(stream.updates);
    expect(all.map(([key]) => key)).toEqual(['a', 'b', 'c']);
    expect(begun).toBeLessThan(Number(all[0]![1]));
    for (const after of [begun, Number(all[0]![1]), Number(all[1]![1])]) {
      const rest = all.filter(([, revision]) => Number(revision) > after);
      const again = configStream(grpc(1), { ...scope, after_revision: after });
      expect(await again.begun).toBe(after);
      await eventually('the rest', () => again.updates.length >= rest.length);
      again.close();
      expect(shown(again.updates)).toEqual(rest);
    }
  });

  test('a secret is nowhere in the clear but where it is asked for', async () => {
    const [first, second] = ['zebra-quilt-4711-\\"vortex', 'omega-lantern-0815-käfer'];
    const name = { application: 'vault', environment: 'production', key: 'password' };
    const scope = 'application=vault&environment=PROD';
    const create = {
      ...name,
      environment: 'PROD',
      valueType: 'SECRET',
      value: first,
      description: 'of the database',
    };
    const made = await face(0).call('POST', '/configs', { body: create });
    expect(made).toMatchObject({ status: 201, body: { value: MASK, valueType: 'SECRET' } });
    const stream = configStream(grpc(1), { ...name, keys: [] });
    const socket = new SocketReader(`${face(0).url}/api/v1/config/watch/vault?environment=PROD`);
    const events = new EventReader(`${face(1).url}/api/v1/events?${scope}`);
    await Promise.all([stream.begun, socket.opened, events.opened]);
    const id = idOf(name);
    await face(1).call('PUT', `/api/v1/configurations/${id}`, { body: { value: second, oldValue: first } });
    await face(0).call('POST', '/api/v1/promotions', {
      body: { application: 'vault', from: 'PROD', to: 'TEST' },
    });
    await eventually('the update', () =>
      [stream.updates, socket.messages, events.events].every(({ length }) => length >= 1),
    );
    stream.close();
    events.close();
    await socket.close();
    expect(stream.updates[0]).toMatchObject({ key: 'password', value: MASK, value_type: 5 });

    // Every read there is, and failures that speak of the value.
    for (const url of [
      `/configs?application=vault`,
      `/configs/${id}`,
      `/configs/${id}/versions`,
      `/configs/${id}/versions/1`,
      `/configs/lookup?key=password&${scope}&reveal=false`,
      '/api/v1/config/vault?environment=PROD',
      '/api/v1/config/vault/password?environment=PROD',
      `/config/get?key=password&${scope}`,
      `/config/history?key=password&${scope}`,
      '/v1/config/services/vault?environment=PROD',
      `/api/v1/configurations?${scope}`,
      `/api/v1/configurations/${id}/versions`,
      `/api/v1/compare?left=${id}&leftVersion=1`,
      '/api/v1/compare/environments?application=vault&left=PROD&right=DEV',
      `/api/v1/effective?${scope}`,
      `/api/v1/export?${scope}&format=yaml`,
      '/api/v1/drift?application=vault',
      `/api/v1/as-of?${scope}&time=2999-01-01T00:00:00Z`,
      '/api/v1/audit?application=vault',
      '/api/v1/audit/export?application=vault',
      '/api/v1/audit/export?application=vault&format=csv',
      `/api/v1/delivery?key=password&${scope}`,
      `/api/v1/events?${scope}&revision=${made.headers['conclave-revision']}`,
      '/metrics',
    ]) {
      expect({ url, status: (await face(0).get(url)).status }).toEqual({ url, status: 200 });
    }
    const schema = '{"type":"string","maxLength":3}';
    const broken = await face(1).call('PUT', `/configs/${id}`, { body: { schema } });
    expect(broken).toMatchObject({ status: 400 });
    for (const [path, body] of [
      ['/config/validate', { ...create, schema }],
      [`/api/v1/configurations/${id}/merge`, { base: 1, theirs: { value: second } }],
      [`/api/v1/configurations/${id}/merge`, { base: 1, theirs: { version: 1 }, dryRun: true }],
      ['/configs', create],
    ] as const) {
      await face(0).call('POST', path, { body });
    }

    // Who asks for it has it.
    const asked = { ...name, environment: 'PROD' };
    expect(await configCall(grpc(0), 'GetConfiguration', asked)).toMatchObject({ answer: { value: second } });
    expect(
      await configCall(grpc(0), 'GetConfiguration', asked, { 'conclave-reveal': 'false' }),
    ).toMatchObject({ answer: { value: MASK } });
    const revealed = await face(1).call('GET', `/configs/lookup?key=password&${scope}`, { reveals: true });
    expect(revealed.body.value).toBe(second);
    const version = await face(1).call(
      'GET',
      `/config/get?key=password&application=vault&environment=TEST&reveal=true`,
      {
        reveals: true,
      },
    );
    expect(version.body.value).toBe(second);

    const search = new LeakSearch([first, second]);
    for (const { letOut } of place().faces) for (const { what, text } of letOut) search.look(what, text);
    for (const told of [...socket.messages, ...events.events]) search.look('a stream', JSON.stringify(told));
    for (const log of place().logs()) {
      search.look('a log', log);
      // Else its first lines are gone.
      expect(log.split('\n').length).toBeLessThan(LINES_KEPT);
    }
    for (const directory of place().directories) await search.lookInFiles(directory);
    using store = new KvClient({ endpoints: [...place().storeUrls] });
    const { kvs } = await store.range({ key: '\0', rangeEnd: '\0' });
    for (const { key, value } of kvs) search.look(key.toString(), value);
    expect(search.leaks).toEqual([]);
    expect(search.bytesSeen).toBeGreaterThan(10_000);
    // What is looked for would be found.
    const known = new LeakSearch(['of the database']);
    for (const { value } of kvs) known.look('the store', value);
    expect(known.leaks).not.toEqual([]);
  });

  test('wrong calls over gRPC are told what is wrong', async () => {
    const call = (request: object, headers = {}) => configCall(grpc(1), 'GetConfiguration', request, headers);
    const scope = { application: 'core', environment: 'PROD' };
    expect(await call({ ...scope, key: 'never.made' })).toMatchObject({ code: rpcStatus.notFound });
    expect(await call({ ...scope, application: 'nobody', key: 'k' })).toMatchObject({
      code: rpcStatus.notFound,
    });
    expect(await call({ ...scope, environment: 'moon', key: 'k' })).toMatchObject({
      code: rpcStatus.notFound,
    });
    expect(await call({ ...scope, key: 'a b' })).toMatchObject({ code: rpcStatus.invalidArgument });
    expect(await call({ ...scope, key: 'k' }, { 'conclave-consistency': 'weak' })).toMatchObject({
      code: rpcStatus.invalidArgument,
    });
    expect(await call({ ...scope, key: 'greeting' }, { 'x-conclave-tenant': 'acme' })).toMatchObject({
      code: rpcStatus.notFound,
    });
  });
}
