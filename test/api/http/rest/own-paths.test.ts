import { describe, expect, test } from 'vitest';
import { expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const PATH = '/api/v1/configurations';
const POOL = { application: 'pay', environment: 'production', key: 'db.pool', value: { max: 10, min: 1 } };

async function made(world: RestWorld, fields: object = {}): Promise<string> {
  const answer = await world.post(PATH, { ...POOL, ...fields });
  expect(answer.status, answer.text).toBe(201);
  return answer.body.id;
}

describe('configurations in JSON', () => {
  test('are made, read, changed and deleted, with every field', async () => {
    await inRestWorld(async ({ post, get, put, del }) => {
      const answer = await post(PATH, {
        ...POOL,
        type: 'json',
        configType: 'BUSINESS_RULE',
        description: 'Connections',
        schema: '{"type":"object"}',
        tags: ['db'],
        expiresAt: '2027-01-01T00:00:00Z',
        reason: 'first',
        changeSet: 'r1',
      });
      const { body } = answer;
      expect(body).toEqual({
        id: expect.any(String),
        tenant: 'default',
        application: 'pay',
        environment: 'production',
        key: 'db.pool',
        type: 'json',
        value: { max: 10, min: 1 },
        masked: false,
        configType: 'BUSINESS_RULE',
        description: 'Connections',
        schema: '{"type":"object"}',
        tags: ['db'],
        expiresAt: '2027-01-01T00:00:00.000Z',
        version: 1,
        createdBy: 'anonymous',
        createdAt: '2026-03-01T00:00:00.000Z',
        updatedBy: 'anonymous',
        updatedAt: '2026-03-01T00:00:00.000Z',
        changeId: expect.any(String),
        etag: expect.any(String),
        revision: expect.any(Number),
        warnings: [],
      });
      expect(answer.headers).toMatchObject({ etag: `"${body.etag}"`, location: `${PATH}/${body.id}` });
      const { warnings: _, ...shown } = body;
      expect((await get(`${PATH}/${body.id}`)).body).toEqual(shown);
      expect((await get(`${PATH}/${body.id}`, { 'if-none-match': `"${body.etag}"` })).status).toBe(304);
      const changed = await put(`${PATH}/${body.id}`, {
        value: 5,
        oldValue: POOL.value,
        schema: null,
        expiresAt: null,
      });
      expect(changed.body).toMatchObject({
        value: 5,
        type: 'json',
        schema: null,
        expiresAt: null,
        version: 2,
      });
      expectProblem(await put(`${PATH}/${body.id}`, { value: 6, oldValue: 4 }), 409, ['oldValue']);
      expect((await del(`${PATH}/${body.id}`, { 'if-match': changed.headers['etag']! })).status).toBe(204);
      expectProblem(await get(`${PATH}/${body.id}`), 404, ['id']);
    });
  });

  test.each<[string, object, readonly string[]]>([
    ['nothing', {}, ['application', 'environment', 'key', 'value']],
    ['an unknown field', { ...POOL, desciption: 'x' }, ['desciption']],
    ['a type that is none', { ...POOL, type: 'NUMBER' }, ['type']],
    ['a value of another type', { ...POOL, type: 'integer' }, ['value']],
    ['a type of secrets for none', { ...POOL, type: 'json', configType: 'SECRET' }, ['type']],
    ['tags that are no texts', { ...POOL, tags: [1] }, ['tags/0']],
    ['a change set that is none', { ...POOL, changeSet: 'a b' }, ['changeSet']],
    [
      'a time to live beside a time',
      { ...POOL, ttlSeconds: 5, expiresAt: '2027-01-01T00:00:00Z' },
      ['ttlSeconds'],
    ],
  ])('refuses %s', async (_, body, fields) => {
    await inRestWorld(async ({ post }) => expectProblem(await post(PATH, body), 400, fields));
  });

  test('null and other JSON are values', async () => {
    await inRestWorld(async (world) => {
      for (const [at, value] of [null, 0, '', false, [], 'x'].entries()) {
        const id = await made(world, { value, key: `k${at}` });
        expect((await world.get(`${PATH}/${id}`)).body.value).toEqual(value);
      }
    });
  });

  test('expire', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world, { ttlSeconds: 60 });
      expect((await world.get(`${PATH}/${id}`)).body.expiresAt).toBe('2026-03-01T00:01:00.000Z');
      world.clock.advance(60_000);
      expectProblem(await world.get(`${PATH}/${id}`), 404, ['id']);
      expect((await world.post(`${PATH}/${id}/undelete`)).body.expiresAt).toBeNull();
    });
  });

  test('are listed by all filters', async () => {
    await inRestWorld(async (world) => {
      await made(world);
      await made(world, { key: 'db.url', value: 'x', tags: ['t'] });
      const keys = async (query: string) =>
        (await world.get(`${PATH}?${query}`)).body.items.map(({ key }: { key: string }) => key);
      expect(await keys('')).toEqual(['db.pool', 'db.url']);
      expect(await keys('type=json')).toEqual(['db.pool']);
      expect(await keys('tag=t&application=pay&environment=PROD&keyPrefix=db&search=url')).toEqual([
        'db.url',
      ]);
      const page = await world.get(`${PATH}?size=1&page=1&consistency=bounded&maxStalenessMs=0`);
      expect(page.body).toMatchObject({ items: [{ key: 'db.url' }], page: 1, size: 1, total: 2 });
      expect(
        (await world.get(`${PATH}?size=1&page=1`, { 'if-none-match': page.headers['etag']! })).status,
      ).toBe(304);
      expectProblem(await world.get(`${PATH}?aplication=pay`), 400, ['aplication']);
      expectProblem(await world.get(`${PATH}?type=NUMBER`), 400, ['type']);
    });
  });
});

describe('PATCH', () => {
  const patch = async (world: RestWorld, id: string, body: unknown, headers = {}) =>
    world.call('PATCH', `${PATH}/${id}`, {
      payload: JSON.stringify(body),
      headers: { 'content-type': 'application/merge-patch+json', ...headers },
    });

  test('changes parts of the value and of what is said of it', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world, {
        tags: ['a'],
        description: 'x',
        schema: '{}',
        expiresAt: '2027-01-01T00:00:00Z',
      });
      const first = await patch(world, id, { value: { max: 20, min: null, idle: { ms: 5 } } });
      expect(first.body).toMatchObject({ value: { max: 20, idle: { ms: 5 } }, tags: ['a'], version: 2 });
      const second = await patch(world, id, { tags: null, description: null, schema: null, expiresAt: null });
      expect(second.body).toMatchObject({
        tags: [],
        description: '',
        schema: null,
        expiresAt: null,
        version: 3,
      });
      const third = await patch(world, id, { value: 5, oldValue: { max: 20, idle: { ms: 5 } } });
      expect(third.body.value).toBe(5);
      const asJson = await world.call('PATCH', `${PATH}/${id}`, { body: { description: 'y' } });
      expect(asJson.body.description).toBe('y');
    });
  });

  test('refuses what cannot be taken away, and stale tags', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      expectProblem(await patch(world, id, { value: null }), 400, ['value']);
      expectProblem(await patch(world, id, { type: null }), 400, ['type']);
      expectProblem(await patch(world, id, { configType: null }), 400, ['configType']);
      expectProblem(await patch(world, id, { key: 'x' }), 400, ['key']);
      expectProblem(await patch(world, id, { value: 1 }, { 'if-match': '"1"' }), 412);
      expectProblem(await patch(world, 'none', { value: 1 }), 404, ['id']);
    });
  });
});

describe('what was', () => {
  test('versions, rollback, undelete and as of', async () => {
    await inRestWorld(async (world) => {
      const { post, get, put, del, clock } = world;
      const id = await made(world, { value: 1 });
      const { revision } = (await get(`${PATH}/${id}`)).body;
      clock.advance(60_000);
      await put(`${PATH}/${id}`, { value: 2, reason: 'more' });
      const { body } = await get(`${PATH}/${id}/versions`);
      expect(body).toMatchObject({
        items: [{ version: 2, value: 2, reason: 'more' }, { version: 1 }],
        next: null,
      });
      expect((await get(`${PATH}/${id}/versions?size=1`)).body).toMatchObject({
        items: [{ version: 2 }],
        next: 2,
      });
      expect((await get(`${PATH}/${id}/versions?before=2`)).body.items).toHaveLength(1);
      expect((await get(`${PATH}/${id}/versions/1`)).body).toEqual(body.items[1]);
      expectProblem(await get(`${PATH}/${id}/versions/3`), 404, ['version']);
      expectProblem(await get(`${PATH}/${id}/versions/x`), 400, ['version']);
      expect((await get(`${PATH}/${id}/as-of?time=2026-03-01T00:00:30Z`)).body.value).toBe(1);
      expect((await get(`${PATH}/${id}/as-of?revision=${revision}`)).body.value).toBe(1);
      expectProblem(await get(`${PATH}/${id}/as-of?time=2025-01-01T00:00:00Z`), 404, ['id']);
      expectProblem(await get(`${PATH}/${id}/as-of`), 400, ['time']);
      expectProblem(await get(`${PATH}/${id}/as-of?time=yesterday`), 400, ['time']);
      expectProblem(await get(`${PATH}/${id}/as-of?revision=0`), 400, ['revision']);
      expect((await post(`${PATH}/${id}/rollback`, { version: 1, reason: 'back' })).body).toMatchObject({
        value: 1,
        version: 3,
      });
      expectProblem(await post(`${PATH}/${id}/rollback`, {}), 400, ['version']);
      expectProblem(await post(`${PATH}/${id}/rollback`, { version: 9 }), 404, ['version']);
      expectProblem(await post(`${PATH}/${id}/undelete`), 409);
      await del(`${PATH}/${id}`);
      expect((await post(`${PATH}/${id}/undelete`, { reason: 'mistake' })).body).toMatchObject({
        value: 1,
        version: 5,
      });
      expectProblem(await post(`${PATH}/none/undelete`), 404, ['id']);
    });
  });
});

test('an application as it was', async () => {
  await inRestWorld(async (world) => {
    const id = await made(world, { key: 'a', value: 1 });
    const gone = await made(world, { key: 'b', value: 2 });
    const { revision } = (await world.get(`${PATH}/${gone}`)).body;
    world.clock.advance(60_000);
    await world.put(`${PATH}/${id}`, { value: 3 });
    await world.del(`${PATH}/${gone}`);
    await made(world, { key: 'c', value: 4 });
    const values = async (query: string) =>
      (await world.get(`/api/v1/as-of?application=pay&environment=prod&${query}`)).body.items.map(
        ({ key, value }: { key: string; value: unknown }) => [key, value],
      );
    const before = [
      ['a', 1],
      ['b', 2],
    ];
    expect(await values('time=2026-03-01T00:00:30Z')).toEqual(before);
    expect(await values(`revision=${revision}`)).toEqual(before);
    expect(await values('time=2026-03-01T00:01:00Z')).toEqual([
      ['a', 3],
      ['c', 4],
    ]);
    expect(await values('time=2025-01-01T00:00:00Z')).toEqual([]);
    expect(await values(`revision=${revision}&keyPrefix=b`)).toEqual([['b', 2]]);
    const of = async (query: string) => world.get(`/api/v1/as-of?${query}`);
    expectProblem(await of(''), 400, ['application', 'environment']);
    expectProblem(await of('application=pay&environment=prod'), 400, ['time']);
    expectProblem(await of('application=pay&environment=prod&time=x'), 400, ['time']);
    expectProblem(await of('application=none&environment=prod&revision=1'), 404, ['application']);
  });
});

describe('many at once', () => {
  test('bulk get tells what holds, and what does not', async () => {
    await inRestWorld(async (world) => {
      await made(world, { value: 1, environment: 'staging' });
      await made(world, { key: 'secret', type: 'secret', value: 's' });
      await world.put('/api/v1/environments/production', { parent: 'staging' });
      const body = { application: 'pay', environment: 'PROD', keys: ['db.pool', 'secret', 'none', 'none'] };
      const answer = await world.post('/api/v1/bulk/get', body);
      expect(answer.body.items).toMatchObject([
        {
          key: 'db.pool',
          source: 'inherited',
          environment: 'staging',
          value: 1,
          type: 'integer',
          masked: false,
        },
        { key: 'secret', source: 'own', value: '********', masked: true },
      ]);
      expect(answer.body.missing).toEqual(['none']);
      expect((await world.post('/api/v1/bulk/get', { ...body, reveal: true })).body.items[1].value).toBe('s');
      expectProblem(await world.post('/api/v1/bulk/get', {}), 400, ['application', 'environment', 'keys']);
      expectProblem(await world.post('/api/v1/bulk/get', { ...body, keys: [1] }), 400, ['keys/0']);
      expectProblem(await world.post('/api/v1/bulk/get', { ...body, keys: ['a b'] }), 400, ['keys/0/key']);
      const many = Array.from({ length: 1_001 }, (_, at) => `k${at}`);
      expectProblem(await world.post('/api/v1/bulk/get', { ...body, keys: many }), 400, ['keys']);
      expectProblem(await world.post('/api/v1/bulk/get', { ...body, application: 'none' }), 404, [
        'application',
      ]);
    });
  });

  test('effective values say where they come from', async () => {
    await inRestWorld(async (world) => {
      await made(world, { value: 1 });
      await world.put('/api/v1/applications/pay', { defaults: { 'retry.max': 3 } });
      const url = '/api/v1/effective?application=pay&environment=prod';
      const { body, headers } = await world.get(url);
      expect(body.items).toEqual([
        {
          key: 'db.pool',
          source: 'own',
          environment: 'production',
          type: 'integer',
          value: 1,
          masked: false,
          configType: 'APPLICATION_CONFIG',
          description: '',
          id: expect.any(String),
          version: 1,
          createdAt: '2026-03-01T00:00:00.000Z',
          updatedAt: '2026-03-01T00:00:00.000Z',
          etag: expect.any(String),
        },
        expect.objectContaining({
          key: 'retry.max',
          source: 'default',
          environment: null,
          value: 3,
          id: null,
          version: null,
        }),
      ]);
      expect((await world.get(url, { 'if-none-match': headers['etag']! })).status).toBe(304);
      const one = await world.get('/api/v1/lookup?application=pay&environment=prod&key=retry.max');
      expect(one.body).toEqual(body.items[1]);
      expectProblem(await world.get('/api/v1/lookup?application=pay&environment=prod'), 400, ['key']);
      expectProblem(await world.get('/api/v1/effective'), 400, ['application', 'environment']);
    });
  });

  test('references are filled in when that is asked for', async () => {
    await inRestWorld(async (world) => {
      await made(world, { key: 'host', value: 'db1' });
      await made(world, { key: 'url', value: 'postgres://${host}/pay' });
      const scope = 'application=pay&environment=prod';
      const filled = 'postgres://db1/pay';
      const plain = await world.get(`/api/v1/lookup?${scope}&key=url`);
      expect(plain.body.value).toBe('postgres://${host}/pay');
      const one = await world.get(`/api/v1/lookup?${scope}&key=url&resolve=true`);
      expect([one.body.value, one.headers['etag'] === plain.headers['etag']]).toEqual([filled, false]);
      const of = async (url: string) => JSON.stringify((await world.get(`${url}&resolve=true`)).body);
      for (const url of [
        `/api/v1/effective?${scope}`,
        `/configs/lookup?${scope}&key=url`,
        `/config/get?${scope}&key=url`,
        '/api/v1/config/pay?environment=prod',
        '/api/v1/config/pay/url?environment=prod',
        '/v1/config/services/pay?environment=prod',
      ]) {
        expect(await of(url), url).toContain(filled);
      }
      const body = { application: 'pay', environment: 'prod', keys: ['url'], resolve: true };
      expect((await world.post('/api/v1/bulk/get', body)).body.items[0].value).toBe(filled);
    });
  });

  test('changes are made together or not at all', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      const other = await made(world, { key: 'old' });
      const name = { application: 'pay', environment: 'prod' };
      const items = [
        { action: 'create', ...name, key: 'a', value: 1, tags: ['x'] },
        { action: 'update', id, mergePatch: { max: 20 } },
        { action: 'put', ...name, key: 'b', value: 'text' },
        { action: 'delete', ...name, key: 'old' },
      ];
      const tried = await world.post('/api/v1/bulk', { items, dryRun: true });
      expect(tried.body).toMatchObject({
        changeId: null,
        items: [{ type: 'created' }, { type: 'updated' }, {}, {}],
      });
      expect((await world.get(PATH)).body.total).toBe(2);
      const { body } = await world.post('/api/v1/bulk', { items, reason: 'all', changeSet: 'r1' });
      expect(body).toMatchObject({
        revision: expect.any(Number),
        changeId: expect.any(String),
        warnings: [],
      });
      expect(body.items.map(({ type }: { type: string }) => type)).toEqual([
        'created',
        'updated',
        'created',
        'deleted',
      ]);
      expect(body.items[1]).toMatchObject({
        before: { value: { max: 10 } },
        after: { value: { max: 20, min: 1 } },
      });
      expectProblem(await world.get(`${PATH}/${other}`), 404, ['id']);
    });
  });

  test.each<[string, unknown, number, readonly string[]]>([
    ['no items', {}, 400, ['items']],
    ['none', { items: [] }, 400, ['items']],
    ['an item without an action', { items: [{ id: 'x' }] }, 400, ['items/0/action']],
    [
      'an item without a name',
      { items: [{ action: 'put', value: 1 }] },
      400,
      ['items/0/application', 'items/0/environment', 'items/0/key'],
    ],
    [
      'an item with id and name',
      { items: [{ action: 'put', id: 'x', key: 'k', value: 1 }] },
      400,
      ['items/0/id'],
    ],
    [
      'an item without a value',
      { items: [{ action: 'put', application: 'a', environment: 'dev', key: 'k' }] },
      400,
      ['items/0/value'],
    ],
    ['an unknown field', { items: [{ action: 'put', valeu: 1 }] }, 400, ['items/0/valeu']],
    [
      'a bad key',
      { items: [{ action: 'put', application: 'a', environment: 'dev', key: 'a b', value: 1 }] },
      400,
      ['items/0/key'],
    ],
    ['an unknown id', { items: [{ action: 'delete', id: 'x' }] }, 404, ['items/0/id']],
    [
      'too many',
      {
        items: Array.from({ length: 41 }, (_, at) => ({
          action: 'put',
          application: 'a',
          environment: 'dev',
          key: `k${at}`,
          value: 1,
        })),
      },
      413,
      [],
    ],
  ])('bulk refuses %s', async (_, body, status, fields) => {
    await inRestWorld(async ({ post, get }) => {
      expectProblem(await post('/api/v1/bulk', body), status, fields);
      expect((await get(PATH)).body.total).toBe(0);
    });
  });

  test('one bad item keeps all from being made', async () => {
    await inRestWorld(async (world) => {
      const name = { application: 'pay', environment: 'prod' };
      const items = [
        { action: 'put', ...name, key: 'a', value: 1 },
        { action: 'put', ...name, key: 'b', value: 'x', type: 'integer' },
      ];
      expectProblem(await world.post('/api/v1/bulk', { items }), 400, ['items/1/value']);
      const stale = [{ action: 'put', ...name, key: 'a', value: 1, ifMatch: ['7'] }];
      expectProblem(await world.post('/api/v1/bulk', { items: stale }), 412, ['items/0']);
      expect((await world.get(PATH)).body.total).toBe(0);
    });
  });
});

describe('compare and merge', () => {
  test('two versions, and two configurations', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      await world.put(`${PATH}/${id}`, { value: { max: 20, min: 1 }, description: 'more' });
      const { body } = await world.get(`/api/v1/compare?left=${id}&leftVersion=1`);
      expect(body).toEqual({
        left: expect.objectContaining({
          id,
          version: 1,
          key: 'db.pool',
          value: { max: 10, min: 1 },
          masked: false,
        }),
        right: expect.objectContaining({ id, version: 2 }),
        equal: false,
        valueEqual: false,
        diff: {
          changes: [{ type: 'changed', pointer: '/max', before: 10, after: 20, lines: null }],
          patch: [{ op: 'replace', path: '/max', value: 20 }],
        },
        fields: [{ name: 'description', before: '', after: 'more' }],
      });
      const other = await made(world, { key: 'other' });
      const between = await world.get(
        `/api/v1/compare?left=${id}&leftVersion=1&right=${other}&rightVersion=1`,
      );
      expect(between.body).toMatchObject({ equal: true, fields: [] });
      expectProblem(await world.get('/api/v1/compare'), 400, ['left']);
      expectProblem(await world.get(`/api/v1/compare?left=${id}&leftVersion=0`), 400, ['leftVersion']);
      expectProblem(await world.get(`/api/v1/compare?left=${id}&leftVersion=9`), 404, ['version']);
      expectProblem(await world.get('/api/v1/compare?left=none'), 404, ['left']);
    });
  });

  test('two environments', async () => {
    await inRestWorld(async (world) => {
      await made(world, { key: 'same', value: 1 });
      await made(world, { key: 'same', value: 1, environment: 'staging' });
      await made(world, { key: 'changed', value: 1 });
      await made(world, { key: 'changed', value: 2, environment: 'staging' });
      await made(world, { key: 'secret', value: 's', type: 'secret' });
      const { body } = await world.get(
        '/api/v1/compare/environments?application=pay&left=staging&right=prod',
      );
      expect(body).toMatchObject({
        items: [
          { key: 'changed', difference: 'changed', left: { value: 2 }, right: { value: 1 } },
          {
            key: 'secret',
            difference: 'added',
            left: null,
            right: { value: '********', masked: true },
            diff: null,
          },
        ],
        more: false,
      });
      expectProblem(await world.get('/api/v1/compare/environments'), 400, ['application', 'left', 'right']);
      expectProblem(await world.get('/api/v1/compare/environments?application=pay&left=!&right=prod'), 400, [
        'left',
      ]);
      expectProblem(await world.get('/api/v1/compare/environments?application=x&left=dev&right=prod'), 404, [
        'application',
      ]);
    });
  });

  test('a merge takes both changes, or shows where they are at odds', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      await world.put(`${PATH}/${id}`, { value: { max: 20, min: 1 } });
      const merge = async (body: object, headers = {}) =>
        world.post(`${PATH}/${id}/merge`, { base: 1, ...body }, headers);
      const tried = await merge({ theirs: { value: { max: 10, min: 5 } }, dryRun: true });
      expect(tried.body).toMatchObject({ merged: { max: 20, min: 5 }, conflicts: [], saved: false });
      const odds = await merge({ theirs: { value: { max: 30, min: 1 } } });
      expect(odds.status).toBe(409);
      expect(odds.body).toEqual({
        merged: { max: 20, min: 1 },
        conflicts: [{ pointer: '/max', base: 10, ours: 20, theirs: 30 }],
        saved: false,
        change: null,
      });
      expectProblem(await merge({ theirs: { value: 1 } }, { 'if-match': '"1"' }), 412);
      const done = await merge({ theirs: { value: { max: 30, min: 5 } }, strategy: 'theirs' });
      expect(done.body).toMatchObject({
        merged: { max: 30, min: 5 },
        saved: true,
        change: { items: [{ type: 'updated' }] },
      });
      expect((await world.get(`${PATH}/${id}`)).body).toMatchObject({
        value: { max: 30, min: 5 },
        version: 3,
      });
      const other = await made(world, { key: 'other', value: { max: 10, min: 1, idle: 2 } });
      expect((await merge({ theirs: { ref: { id: other } } })).body.merged).toEqual({
        max: 30,
        min: 5,
        idle: 2,
      });
      expect((await merge({ theirs: { version: 1 } })).body.saved).toBe(true);
      expectProblem(await merge({ theirs: {} }), 400, ['theirs']);
      expectProblem(await merge({ theirs: { value: 1, version: 1 } }), 400, ['theirs']);
      expectProblem(await merge({ theirs: { ref: { key: 'k' } } }), 400, [
        'theirs/ref/application',
        'theirs/ref/environment',
      ]);
      expectProblem(await merge({ theirs: { version: 99 } }), 404, ['version']);
      expectProblem(await merge({ base: 'x' }), 400, ['base', 'theirs']);
      expectProblem(await merge({ theirs: { value: 1 }, strategy: 'mine' }), 400, ['strategy']);
    });
  });
});

describe('promotion and releases', () => {
  test('takes configurations from one environment to another', async () => {
    await inRestWorld(async (world) => {
      await made(world, { key: 'a', value: 1, environment: 'staging' });
      await made(world, { key: 'b', value: 2, environment: 'staging' });
      await made(world, { key: 'c', value: 3 });
      const body = { application: 'pay', from: 'STAGING', to: 'PROD' };
      const tried = await world.post('/api/v1/promotions', { ...body, dryRun: true });
      expect(tried.body.items.map(({ type }: { type: string }) => type)).toEqual(['created', 'created']);
      expect((await world.get(PATH)).body.total).toBe(3);
      await world.post('/api/v1/promotions', { ...body, keys: ['a'], reason: 'release', changeSet: 'r1' });
      const { body: rest } = await world.post('/api/v1/promotions', { ...body, deleteMissing: true });
      expect(
        rest.items.map(({ type, after }: { type: string; after: { key: string } }) => `${type} ${after.key}`),
      ).toEqual(['unchanged a', 'created b', 'deleted c']);
      expectProblem(await world.post('/api/v1/promotions', {}), 400, ['application', 'from', 'to']);
      expectProblem(await world.post('/api/v1/promotions', { ...body, to: 'staging' }), 400, ['to']);
      expectProblem(await world.post('/api/v1/promotions', { ...body, to: 'moon' }), 400, ['to']);
      expectProblem(await world.post('/api/v1/promotions', { ...body, from: '!' }), 400, ['from']);
      expectProblem(await world.post('/api/v1/promotions', { ...body, keys: ['none'] }), 404, ['keys/0']);
    });
  });

  test('a release is shown, and rolled back whole', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world, { value: 1 });
      await world.put(`${PATH}/${id}`, { value: 2, changeSet: 'r1' });
      await made(world, { key: 'b', value: 1, changeSet: 'r1' });
      const { body } = await world.get('/api/v1/change-sets');
      expect(body.items).toMatchObject([
        { name: 'r1', changes: [expect.any(String), expect.any(String)], rolledBackAt: null },
      ]);
      const one = await world.get('/api/v1/change-sets/r1');
      expect(one.body).toEqual(body.items[0]);
      expect(one.body.items).toContainEqual({
        kind: 'configuration',
        id,
        tenant: 'default',
        application: 'pay',
        environment: 'production',
        key: 'db.pool',
        before: 1,
        after: 2,
      });
      const rollback = '/api/v1/change-sets/r1/rollback';
      expect((await world.post(rollback, { dryRun: true })).body.items).toHaveLength(2);
      await world.put(`${PATH}/${id}`, { value: 3 });
      expectProblem(await world.post(rollback), 409, ['db.pool']);
      const done = await world.post(rollback, { force: true, reason: 'broken' });
      expect(done.body).toMatchObject({ revision: expect.any(Number), changeIds: [expect.any(String)] });
      expect((await world.get(`${PATH}/${id}`)).body.value).toBe(1);
      expect((await world.get('/api/v1/change-sets/r1')).body.rolledBackAt).not.toBeNull();
      expectProblem(await world.get('/api/v1/change-sets/none'), 404, ['changeSet']);
      expectProblem(await world.post('/api/v1/change-sets/none/rollback'), 404, ['changeSet']);
      expectProblem(await world.post(rollback, { forse: true }), 400, ['forse']);
    });
  });
});

describe('applications', () => {
  const path = '/api/v1/applications';

  test('are made, changed and deleted, with every field', async () => {
    await inRestWorld(async ({ get, post, put, del }) => {
      const rules = [
        { name: 'bounds', expression: 'config["min"] <= config["max"]', message: 'min is above max' },
      ];
      const wanted = { name: 'pay', description: 'Payments', defaults: { min: 1, max: 2 }, rules };
      const answer = await post(path, { ...wanted, reason: 'new' });
      expect([answer.status, answer.headers['location']]).toEqual([201, `${path}/pay`]);
      expect(answer.body).toEqual({
        tenant: 'default',
        ...wanted,
        createdBy: 'anonymous',
        createdAt: '2026-03-01T00:00:00.000Z',
        updatedBy: 'anonymous',
        updatedAt: '2026-03-01T00:00:00.000Z',
        version: 1,
        etag: expect.any(String),
      });
      expect((await get(`${path}/pay`)).body).toEqual(answer.body);
      expect((await get(path)).body).toEqual({ items: [answer.body] });
      expect((await put(`${path}/pay`, { description: 'x' })).body).toMatchObject({
        description: 'x',
        rules,
      });
      expectProblem(
        await put(`${path}/pay`, { description: '' }, { 'if-match': answer.headers['etag']! }),
        412,
      );
      expectProblem(await post(path, { name: 'pay' }), 409, ['name']);
      expectProblem(await post(path, {}), 400, ['name']);
      expectProblem(await post(path, { name: 'a/b' }), 400, ['name']);
      expectProblem(await post(path, { name: 'x', rules: [{ name: 'n' }] }), 400, [
        'rules/0/expression',
        'rules/0/message',
      ]);
      expectProblem(await post(path, { name: 'x', owner: 'me' }), 400, ['owner']);
      expectProblem(await put(`${path}/none`, {}), 404, ['name']);
      expectProblem(await get(`${path}/none`), 404, ['name']);
      expect((await del(`${path}/pay`)).status).toBe(204);
      expectProblem(await del(`${path}/pay`), 404, ['name']);
    });
  });

  test('with configurations they stay', async () => {
    await inRestWorld(async (world) => {
      await made(world);
      expectProblem(await world.del(`${path}/pay`), 409);
    });
  });
});

describe('drift', () => {
  test('is shown, adopted and reverted', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world, { value: 1 });
      const plain = async (key: string, value: string) =>
        world.memory.txn(
          {
            compare: [],
            success: [{ type: 'put', key: Buffer.from(key), value: Buffer.from(value) }],
            failure: [],
          },
          { principal: { type: 'anonymous' }, signal: new AbortController().signal },
        );
      expect((await world.get('/api/v1/drift')).body).toEqual({ items: [], more: false });
      await plain('/default/production/pay/db.pool', '2');
      const { body } = await world.get('/api/v1/drift?application=pay&environment=prod');
      const name = { application: 'pay', environment: 'production', key: 'db.pool' };
      expect(body.items).toEqual([
        {
          ...name,
          drift: 'changed',
          expected: { type: 'integer', value: 1, masked: false },
          actual: { type: 'integer', value: 2, masked: false },
          revision: expect.any(Number),
        },
      ]);
      const reverted = await world.post('/api/v1/drift/revert', { names: [name] });
      expect(reverted.body).toMatchObject({ reverted: 1 });
      await plain('/default/production/pay/db.pool', '3');
      const adopted = await world.post('/api/v1/drift/adopt', { names: [name], reason: 'by hand' });
      expect(adopted.body.items).toMatchObject([{ type: 'updated', after: { value: 3, version: 2 } }]);
      expect((await world.get(`${PATH}/${id}`)).body.value).toBe(3);
      for (const action of ['adopt', 'revert']) {
        const path = `/api/v1/drift/${action}`;
        expectProblem(await world.post(path, {}), 400, ['names']);
        expectProblem(await world.post(path, { names: [] }), 400, ['names']);
        expectProblem(await world.post(path, { names: [{}] }), 400, [
          'names/0/application',
          'names/0/environment',
          'names/0/key',
        ]);
        expectProblem(await world.post(path, { names: [{ ...name, environment: '!' }] }), 400, [
          'names/0/environment',
        ]);
        expectProblem(await world.post(path, { names: Array.from({ length: 41 }, () => name) }), 413);
      }
      expectProblem(await world.get('/api/v1/drift?environment=!'), 400, ['environment']);
    });
  });
});

test('validate tells what a change would meet, and whom it would reach', async () => {
  await inRestWorld(
    async (world) => {
      await world.put('/api/v1/environments/test', { parent: 'dev' });
      await made(world, { environment: 'dev', key: 'url', value: 'x-${host}' });
      const body = { application: 'pay', environment: 'dev', key: 'host', value: 'localhost' };
      const good = await world.post('/api/v1/validate', body);
      expect(good.body).toEqual({
        valid: true,
        errors: [],
        warnings: [],
        impact: { inheritedBy: ['test'], referencedBy: ['url'], instances: ['pod-1'] },
      });
      const bad = await world.post('/api/v1/validate', { ...body, schema: '{"type":"integer"}' });
      expect(bad.body).toMatchObject({ valid: false, errors: [{ field: 'value' }] });
      expectProblem(await world.post('/api/v1/validate', {}), 400, ['application', 'environment', 'key']);
      expectProblem(await world.post('/api/v1/validate', { ...body, kye: 1 }), 400, ['kye']);
      expect((await world.get(PATH)).body.total).toBe(1);
    },
    { instancesOf: ({ environment }) => (environment === 'development' ? ['pod-1'] : []) },
  );
});
