import { describe, expect, test } from 'vitest';
import { type Answered, expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const SCOPE = 'application=pay&environment=prod';

async function imported(
  world: RestWorld,
  query: string,
  payload: string,
  type = 'text/plain',
): Promise<Answered> {
  return world.call('POST', `/api/v1/import?${SCOPE}&${query}`, {
    payload,
    headers: { 'content-type': type },
  });
}

async function valuesOf(world: RestWorld): Promise<unknown> {
  return (await world.get('/api/v1/config/pay?environment=production')).body;
}

describe('import', () => {
  test.each([
    ['', 'application/json', '{"db.pool": {"max": 5}, "db.url": "x", "n": 1.5}'],
    ['shape=nested&format=json', 'text/plain', '{"db": {"pool": {"max": 5}, "url": "x"}, "n": 1.5}'],
    ['', 'application/yaml', 'db.pool:\n  max: 5\ndb.url: x\nn: 1.5\n'],
    ['shape=nested', 'text/yaml; charset=UTF-8', 'db:\n  pool:\n    max: 5\n  url: x\nn: 1.5\n'],
    ['format=dotenv', 'text/plain', 'DB_POOL_MAX=5\nDB_URL=x # where\nN=1.5\n'],
    ['', 'text/x-java-properties', 'db.pool.max=5\ndb.url: x\nn = 1.5\n'],
  ])('takes ?%s %s', async (query, type, payload) => {
    await inRestWorld(async (world) => {
      const { status, body } = await imported(world, query, payload, type);
      expect(status).toBe(200);
      expect(body).toMatchObject({
        created: 3,
        updated: 0,
        deleted: 0,
        unchanged: 0,
        more: false,
        warnings: [],
      });
      expect(body.changeIds).toHaveLength(1);
      const flat = { 'db.pool.max': 5, 'db.url': 'x', n: 1.5 };
      const whole = { 'db.pool': { max: 5 }, 'db.url': 'x', n: 1.5 };
      expect(await valuesOf(world)).toEqual(query === '' && !type.includes('java') ? whole : flat);
    });
  });

  test('shows what would differ, and changes nothing, as a dry run', async () => {
    await inRestWorld(async (world) => {
      await imported(world, '', '{"a": 1, "b": {"x": 1}, "c": 3}', 'application/json');
      const text = '{"a": 1, "b": {"x": 2}, "d": 4}';
      const { body } = await imported(world, 'dryRun=true&deleteMissing=true', text, 'application/json');
      expect(body).toMatchObject({ created: 1, updated: 1, deleted: 1, unchanged: 1, changeIds: [] });
      expect(body.items).toEqual([
        {
          key: 'b',
          type: 'updated',
          before: { type: 'json', value: { x: 1 }, masked: false },
          after: { type: 'json', value: { x: 2 }, masked: false },
          diff: {
            changes: [{ type: 'changed', pointer: '/x', before: 1, after: 2, lines: null }],
            patch: [{ op: 'replace', path: '/x', value: 2 }],
          },
        },
        expect.objectContaining({ key: 'd', type: 'created', before: null }),
        expect.objectContaining({ key: 'c', type: 'deleted', after: null }),
      ]);
      expect(await valuesOf(world)).toEqual({ a: 1, b: { x: 1 }, c: 3 });
      const done = await imported(
        world,
        'deleteMissing=true&reason=sync&changeSet=r1',
        text,
        'application/json',
      );
      expect(done.body).toMatchObject({ created: 1, updated: 1, deleted: 1, unchanged: 1 });
      expect(await valuesOf(world)).toEqual({ a: 1, b: { x: 2 }, d: 4 });
      expect((await world.get('/api/v1/change-sets/r1')).body.items).toHaveLength(3);
      const again = await imported(world, 'deleteMissing=true', text, 'application/json');
      expect(again.body).toMatchObject({ created: 0, updated: 0, deleted: 0, unchanged: 3, changeIds: [] });
    });
  });

  test('text is what its configuration is', async () => {
    await inRestWorld(async (world) => {
      await imported(world, '', '{"port": "8080", "on": "yes", "list": [1]}', 'application/json');
      await imported(world, 'format=dotenv', 'PORT=9090\nON=true\nLIST=[1,2]\nFRESH=7\n');
      expect(await valuesOf(world)).toEqual({ port: '9090', on: 'true', list: [1, 2], fresh: 7 });
      expectProblem(await imported(world, 'format=dotenv', 'FRESH=x\n'), 400, ['fresh']);
    });
  });

  test('secrets are sealed, and their mask leaves them as they are', async () => {
    await inRestWorld(async (world) => {
      const text = 'DB_PASSWORD=hunter2\nURL=x\n';
      const first = await imported(world, 'format=dotenv&secretKeys=db.password', text);
      expect(first.body.items[0]).toMatchObject({
        key: 'db.password',
        after: { masked: true, value: '********' },
        diff: null,
      });
      const shown = await world.get(`/api/v1/export?${SCOPE}&format=dotenv`);
      expect(shown.text).toContain("DB_PASSWORD='********'");
      expect((await imported(world, 'format=dotenv', shown.text)).body).toMatchObject({
        unchanged: 2,
        updated: 0,
      });
      const revealed = await world.get(`/api/v1/export?${SCOPE}&format=dotenv&reveal=true`);
      expect(revealed.text).toBe('DB_PASSWORD=hunter2\nURL=x\n');
      expect(revealed.headers['cache-control']).toBe('no-store');
      expectProblem(await imported(world, 'format=dotenv&secretKeys=api.key', "API_KEY='********'\n"), 400, [
        'api.key',
      ]);
      expectProblem(await imported(world, 'format=dotenv&secretKeys=none', 'A=1\n'), 400, ['secretKeys']);
    });
  });

  test('many values are taken in parts, and the same text goes on where it stopped', async () => {
    await inRestWorld(async (world) => {
      const text = (count: number): string =>
        JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, at])));
      const half = await imported(world, '', text(50), 'application/json');
      expect([half.body.created, half.body.changeIds.length]).toEqual([50, 2]);
      const headers = { 'content-type': 'application/json', 'idempotency-key': 'import-1' };
      const sent = { payload: text(100), headers };
      const rest = await world.call('POST', `/api/v1/import?${SCOPE}`, sent);
      expect(rest.body).toMatchObject({ created: 50, unchanged: 50 });
      const again = await world.call('POST', `/api/v1/import?${SCOPE}`, sent);
      expect(again.body).toMatchObject({ created: 50, unchanged: 50, changeIds: rest.body.changeIds });
      const other = { payload: text(90).replace('"k1":1', '"k1":0'), headers };
      expectProblem(await world.call('POST', `/api/v1/import?${SCOPE}`, other), 422);
    });
  });

  test('large values are taken in parts, too', async () => {
    await inRestWorld(async (world) => {
      const text = JSON.stringify(
        Object.fromEntries(Array.from({ length: 6 }, (_, at) => [`k${at}`, `${at}`.repeat(200_000)])),
      );
      const { body } = await imported(world, '', text, 'application/json');
      expect([body.created, body.changeIds.length]).toEqual([6, 6]);
    });
  });

  test('nothing is made when a part of it is wrong', async () => {
    await inRestWorld(async (world) => {
      await world.post('/api/v1/configurations', {
        application: 'pay',
        environment: 'prod',
        key: 'k60',
        value: 1,
        schema: '{"maximum": 10}',
      });
      const values = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`k${at}`, at]));
      const answer = await imported(world, '', JSON.stringify(values), 'application/json');
      expectProblem(answer, 400, ['k60/value']);
      expect((await world.get('/api/v1/configurations')).body.total).toBe(1);
      const lines = await imported(world, '', 'a=1\nk60=11\n', 'text/x-java-properties');
      expectProblem(lines, 400, ['k60/value']);
      expect(lines.body.errors[0].message).toMatch(/^line 2: /);
    });
  });

  test.each<[string, string, string, number, readonly string[]]>([
    ['no format', '', 'a=1', 400, ['format']],
    ['a format that is none', 'format=toml', 'a=1', 400, ['format']],
    ['JSON that is none', 'format=json', '{"a": }', 400, ['text']],
    ['JSON that is no object', 'format=json', '[1]', 400, ['text']],
    ['a name that is there twice', 'format=json', '{"a": 1, "a": 2}', 400, ['text']],
    ['YAML that is none', 'format=yaml', 'a: [', 400, ['text']],
    ['a line that is none', 'format=dotenv', 'A=1\nB\n', 400, ['text']],
    ['a key that is none', 'format=json', '{"a b": 1, "c/d": 2}', 400, ['a b', 'c/d']],
    ['a shape that is none', 'format=json&shape=round', '{}', 400, ['shape']],
  ])('refuses %s', async (_, query, payload, status, fields) => {
    await inRestWorld(async (world) => {
      const answer = await imported(world, query, payload);
      expectProblem(answer, status, fields);
    });
  });

  test('refuses scopes and bodies that are none', async () => {
    await inRestWorld(async ({ call }) => {
      const sent = { payload: '{"a":1}', headers: { 'content-type': 'application/json' } };
      expectProblem(await call('POST', '/api/v1/import', sent), 400, ['application', 'environment']);
      expectProblem(await call('POST', '/api/v1/import?application=pay&environment=moon', sent), 400, [
        'environment',
      ]);
      expectProblem(await call('POST', '/api/v1/import?application=a%2Fb&environment=dev', sent), 400, [
        'application',
      ]);
      const bytes = { payload: Buffer.from([0xff, 0xfe]), headers: { 'content-type': 'text/plain' } };
      expectProblem(await call('POST', `/api/v1/import?${SCOPE}&format=json`, bytes), 400, ['']);
      const latin = { payload: 'A=1', headers: { 'content-type': 'text/plain; charset=latin1' } };
      expectProblem(await call('POST', `/api/v1/import?${SCOPE}&format=json`, latin), 400, ['Content-Type']);
      const xml = { payload: '<a/>', headers: { 'content-type': 'application/xml' } };
      expect((await call('POST', `/api/v1/import?${SCOPE}`, xml)).status).toBe(415);
    });
  });
});

describe('export', () => {
  test.each([
    ['json', 'application/json', '{\n  "db.pool": {\n    "max": 5\n  },\n  "n": 1.5\n}\n'],
    ['yaml', 'application/yaml', 'db.pool:\n  max: 5\n"n": 1.5\n'],
    ['dotenv', 'text/plain', 'DB_POOL=\'{"max":5}\'\nN=1.5\n'],
    ['properties', 'text/x-java-properties', 'db.pool={"max":5}\nn=1.5\n'],
  ])('prints %s, which is read back', async (format, type, text) => {
    await inRestWorld(async (world) => {
      await imported(world, '', '{"db.pool": {"max": 5}, "n": 1.5}', 'application/json');
      const url = `/api/v1/export?${SCOPE}&format=${format}`;
      const { text: printed, headers } = await world.get(url);
      expect(printed).toBe(text);
      expect(headers['content-type']).toBe(`${type}; charset=utf-8`);
      expect((await world.get(url, { 'if-none-match': headers['etag']! })).status).toBe(304);
      expect((await imported(world, `format=${format}`, printed)).body).toMatchObject({
        unchanged: 2,
        changeIds: [],
      });
    });
  });

  test('nests, and takes what is inherited, when asked to', async () => {
    await inRestWorld(async (world) => {
      await imported(world, '', '{"db.url": "x"}', 'application/json');
      await world.put('/api/v1/applications/pay', { defaults: { 'db.max': 3 } });
      const own = await world.get(`/api/v1/export?${SCOPE}&format=json&shape=nested`);
      expect(own.body).toEqual({ db: { url: 'x' } });
      const all = await world.get(`/api/v1/export?${SCOPE}&format=json&shape=nested&inherited=true`);
      expect(all.body).toEqual({ db: { url: 'x', max: 3 } });
    });
  });

  test('refuses what it cannot print', async () => {
    await inRestWorld(async (world) => {
      await imported(world, '', '{"a.b": 1, "a_b": 2}', 'application/json');
      expectProblem(await world.get(`/api/v1/export?${SCOPE}&format=dotenv`), 400, ['a_b']);
      expectProblem(await world.get('/api/v1/export'), 400, ['application', 'environment', 'format']);
      expectProblem(await world.get(`/api/v1/export?${SCOPE}&format=toml`), 400, ['format']);
      expectProblem(await world.get('/api/v1/export?application=x&environment=dev&format=json'), 404, [
        'application',
      ]);
    });
  });
});
