import { describe, expect, test } from 'vitest';
import { expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const LIMIT = {
  key: 'db.pool.max',
  application: 'pay',
  environment: 'PROD',
  valueType: 'NUMBER',
  value: '10',
};

async function made(world: RestWorld, fields: object = {}): Promise<string> {
  const answer = await world.post('/configs', { ...LIMIT, ...fields });
  expect(answer.status).toBe(201);
  return answer.body.id;
}

describe('POST /configs', () => {
  test('makes a configuration, with every field', async () => {
    await inRestWorld(async ({ post, get }) => {
      const body = {
        ...LIMIT,
        description: 'Connections',
        schema: '{"type":"integer","maximum":100}',
        tags: ['db', 'capacity'],
        reason: 'first',
      };
      const answer = await post('/configs', body, { 'x-conclave-user': 'ada' });
      expect(answer.status).toBe(201);
      expect(answer.body).toEqual({
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        key: 'db.pool.max',
        application: 'pay',
        environment: 'PROD',
        description: 'Connections',
        valueType: 'NUMBER',
        valueSubtype: 'INTEGER',
        value: '10',
        schema: '{"type":"integer","maximum":100}',
        tags: ['capacity', 'db'],
        version: 1,
        createdBy: 'ada',
        createdAt: '2026-03-01T00:00:00.000Z',
        updatedBy: 'ada',
        updatedAt: '2026-03-01T00:00:00.000Z',
        configType: 'APPLICATION_CONFIG',
      });
      expect(answer.headers['location']).toBe(`/configs/${answer.body.id}`);
      expect(answer.headers['conclave-revision']).toMatch(/^\d+$/);
      const read = await get(answer.headers['location']!);
      expect(read.body).toEqual(answer.body);
      expect(read.headers['etag']).toBe(answer.headers['etag']);
      const versions = await get(`${answer.headers['location']}/versions`);
      expect(versions.body[0].changeDescription).toBe('first');
    });
  });

  test.each([
    ['STRING', 'a text', 'STRING', 'a text'],
    ['STRING', '', 'STRING', ''],
    ['NUMBER', '-0.5', 'FLOAT', '-0.5'],
    ['NUMBER', '1e3', 'FLOAT', '1000'],
    ['BOOLEAN', 'true', 'BOOLEAN', 'true'],
    ['JSON', ' {"a": [1]}', 'JSON', '{"a":[1]}'],
    ['JSON', '[1, 2]', 'ARRAY', '[1,2]'],
    ['JSON', '"text"', 'JSON', '"text"'],
    ['SECRET', 'hunter2', 'SECRET', '********'],
  ])('takes %s %s', async (valueType, value, valueSubtype, shown) => {
    await inRestWorld(async ({ post }) => {
      const { body } = await post('/configs', { ...LIMIT, valueType, value });
      expect(body).toMatchObject({ valueType, valueSubtype, value: shown });
    });
  });

  test.each(['DEV', 'dev', 'Development', 'ENVIRONMENT_DEV'])(
    'takes the environment as %s',
    async (environment) => {
      await inRestWorld(async ({ post }) => {
        const { body } = await post('/configs', { ...LIMIT, environment });
        expect(body.environment).toBe('DEV');
      });
    },
  );

  test.each<[string, object, readonly string[]]>([
    ['nothing', {}, ['key', 'application', 'environment', 'valueType', 'value']],
    ['no key', { ...LIMIT, key: undefined }, ['key']],
    ['an empty key', { ...LIMIT, key: '' }, ['key']],
    ['a key too long', { ...LIMIT, key: 'k'.repeat(256) }, ['key']],
    ['a key that is none', { ...LIMIT, key: 'a/b' }, ['key']],
    ['a number for a key', { ...LIMIT, key: 5 }, ['key']],
    ['an application too long', { ...LIMIT, application: 'a'.repeat(101) }, ['application']],
    ['an application that is none', { ...LIMIT, application: 'a/b' }, ['application']],
    ['an unknown environment', { ...LIMIT, environment: 'MOON' }, ['environment']],
    ['an environment that is none', { ...LIMIT, environment: 'a/b' }, ['environment']],
    ['a type that is none', { ...LIMIT, valueType: 'DATE' }, ['valueType']],
    ['a value that is no text', { ...LIMIT, value: 10 }, ['value']],
    ['a value of another type', { ...LIMIT, value: 'ten' }, ['value']],
    ['a number that cannot be kept', { ...LIMIT, value: '12345678901234567890' }, ['value']],
    ['a value that is no JSON', { ...LIMIT, valueType: 'JSON', value: '{a}' }, ['value']],
    ['a value against its schema', { ...LIMIT, schema: '{"maximum": 5}' }, ['value']],
    ['a schema that is none', { ...LIMIT, schema: '{"type": "whole"}' }, ['schema/type']],
    ['a schema that is no JSON', { ...LIMIT, schema: 'x' }, ['schema']],
    ['tags that are no list', { ...LIMIT, tags: 'a' }, ['tags']],
    ['a tag too long', { ...LIMIT, tags: ['x'.repeat(51)] }, ['tags/0']],
    ['a tag that is no text', { ...LIMIT, tags: ['a', 1] }, ['tags/1']],
    ['a description that is no text', { ...LIMIT, description: 1 }, ['description']],
    ['a subtype of another type', { ...LIMIT, valueSubtype: 'ARRAY' }, ['valueSubtype']],
    ['a time that is none', { ...LIMIT, expiresAt: 'soon' }, ['expiresAt']],
    ['a time in the past', { ...LIMIT, expiresAt: '2020-01-01T00:00:00Z' }, ['expiresAt']],
    ['a time to live that is none', { ...LIMIT, ttlSeconds: 0 }, ['ttlSeconds']],
    ['a reason that is no text', { ...LIMIT, reason: 1 }, ['reason']],
    ['several at once', { ...LIMIT, key: 1, value: 2 }, ['key', 'value']],
  ])('refuses %s', async (_, body, fields) => {
    await inRestWorld(async ({ post, get }) => {
      expectProblem(await post('/configs', body), 400, fields);
      expect((await get('/configs')).body.totalElements).toBe(0);
    });
  });

  test('refuses a value over the limit', async () => {
    await inRestWorld(async ({ post }) => {
      const body = { ...LIMIT, valueType: 'STRING', value: 'x'.repeat(512 * 1024) };
      expectProblem(await post('/configs', body), 413, ['value']);
    });
  });

  test('refuses a duplicate, and secrets without a key', async () => {
    await inRestWorld(async (world) => {
      await made(world);
      expectProblem(await world.post('/configs', LIMIT), 409, ['key']);
    });
    await inRestWorld(
      async ({ post }) =>
        expectProblem(await post('/configs', { ...LIMIT, valueType: 'SECRET' }), 400, ['value']),
      { keyring: null },
    );
  });

  test('warns of what looks like a secret in the clear', async () => {
    await inRestWorld(async ({ post }) => {
      const body = { ...LIMIT, key: 'db.password', valueType: 'STRING', value: 'Xk29vQpa71LmWz04' };
      const answer = await post('/configs', body);
      expect(answer.status).toBe(201);
      expect(answer.body.warnings).toEqual([{ field: 'value', message: expect.any(String) }]);
    });
  });
});

describe('GET /configs', () => {
  test('pages, in order, and filters', async () => {
    await inRestWorld(async (world) => {
      for (const key of ['c', 'a', 'b']) await made(world, { key, tags: [`tag-${key}`] });
      await made(world, { application: 'ship', environment: 'DEV', description: 'Weight of parcels' });
      const all = await world.get('/configs');
      expect(all.body).toMatchObject({ page: 0, size: 20, totalElements: 4, totalPages: 1 });
      expect(all.body.content[0]).toEqual({
        id: expect.any(String),
        key: 'a',
        application: 'pay',
        environment: 'PROD',
        description: '',
        valueType: 'NUMBER',
        valueSubtype: 'INTEGER',
        tags: ['tag-a'],
        version: 1,
        createdAt: '2026-03-01T00:00:00.000Z',
        updatedAt: '2026-03-01T00:00:00.000Z',
      });
      const page = await world.get('/configs?page=1&size=3');
      expect(page.body).toMatchObject({ page: 1, size: 3, totalElements: 4, totalPages: 2 });
      expect(page.body.content).toHaveLength(1);
      const keys = async (query: string) =>
        (await world.get(`/configs?${query}`)).body.content.map(({ key }: { key: string }) => key);
      expect(await keys('application=pay')).toEqual(['a', 'b', 'c']);
      expect(await keys('environment=dev')).toEqual(['db.pool.max']);
      expect(await keys('tag=tag-b')).toEqual(['b']);
      expect(await keys('keyPrefix=db.')).toEqual(['db.pool.max']);
      expect(await keys('search=parcels')).toEqual(['db.pool.max']);
      expect(await keys('application=none')).toEqual([]);
      expect(await keys('page=9')).toEqual([]);
    });
  });

  test.each([
    ['page=-1', 'page'],
    ['page=x', 'page'],
    ['page=1&page=2', 'page'],
    ['page=1.5', 'page'],
    ['size=0', 'size'],
    ['size=1001', 'size'],
    ['environment=a%2Fb', 'environment'],
    [`search=${'x'.repeat(201)}`, 'search'],
    ['consistency=weak', 'consistency'],
    ['consistency=bounded&maxStalenessMs=-1', 'maxStalenessMs'],
    ['maxStalenessMs=10', 'maxStalenessMs'],
  ])('refuses ?%s', async (query, field) => {
    await inRestWorld(async ({ get }) => expectProblem(await get(`/configs?${query}`), 400, [field]));
  });

  test('answers 304 as long as nothing of the page changes', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      const { headers } = await world.get('/configs');
      const etag = headers['etag']!;
      expect(etag).toMatch(/^".+"$/);
      const again = await world.get('/configs', { 'if-none-match': `"x", ${etag}` });
      expect([again.status, again.text, again.headers['etag']]).toEqual([304, '', etag]);
      await world.put(`/configs/${id}`, { value: '11' });
      expect((await world.get('/configs', { 'if-none-match': etag })).status).toBe(200);
    });
  });

  test.each(['strong', 'bounded', 'eventual', 'bounded&maxStalenessMs=5000'])(
    'reads with consistency=%s, and tells the revision',
    async (consistency) => {
      await inRestWorld(async (world) => {
        await made(world);
        const { body, headers } = await world.get(`/configs?consistency=${consistency}`);
        expect(body.totalElements).toBe(1);
        expect(headers['conclave-revision']).toBe('2');
      });
    },
  );
});

describe('GET, PUT and DELETE /configs/{configId}', () => {
  test('an update changes what it names', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world, { tags: ['a'], description: 'old' });
      world.clock.advance(1_000);
      const { body } = await world.put(`/configs/${id}`, { value: '20' }, { 'x-conclave-user': 'bob' });
      expect(body).toMatchObject({ value: '20', tags: ['a'], description: 'old', version: 2 });
      expect(body).toMatchObject({
        createdBy: 'anonymous',
        updatedBy: 'bob',
        updatedAt: '2026-03-01T00:00:01.000Z',
      });
      const changed = { description: 'new', tags: [], schema: '{"minimum":1}', changeDescription: 'why' };
      const next = await world.put(`/configs/${id}`, changed);
      expect(next.body).toMatchObject({
        value: '20',
        tags: [],
        description: 'new',
        schema: '{"minimum":1}',
        version: 3,
      });
      const versions = await world.get(`/configs/${id}/versions`);
      expect(
        versions.body.map((version: { changeDescription: string }) => version.changeDescription),
      ).toEqual(['why', '', '']);
      expect((await world.put(`/configs/${id}`, {})).body.version).toBe(3);
    });
  });

  test('a number may get a fraction, and a list become an object', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      expect((await world.put(`/configs/${id}`, { value: '0.5' })).body).toMatchObject({
        value: '0.5',
        valueSubtype: 'FLOAT',
      });
      const list = await made(world, { key: 'list', valueType: 'JSON', value: '[1]' });
      expect((await world.put(`/configs/${list}`, { value: '{"a":1}' })).body.valueSubtype).toBe('JSON');
    });
  });

  test('a secret that is sent back as it was shown stays', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world, { valueType: 'SECRET', value: 'hunter2' });
      const { body } = await world.get(`/configs/${id}`);
      expect(body.value).toBe('********');
      await world.put(`/configs/${id}`, { value: body.value, description: 'a password' });
      const query = 'key=db.pool.max&application=pay&environment=PROD';
      expect((await world.get(`/configs/lookup?${query}`)).body.value).toBe('hunter2');
    });
  });

  test('If-Match guards against changes in between', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      const etag = (await world.get(`/configs/${id}`)).headers['etag']!;
      const first = await world.put(`/configs/${id}`, { value: '11' }, { 'if-match': etag });
      expect(first.status).toBe(200);
      expect(first.headers['etag']).not.toBe(etag);
      expectProblem(await world.put(`/configs/${id}`, { value: '12' }, { 'if-match': etag }), 412);
      expectProblem(
        await world.put(`/configs/${id}`, { value: '12' }, { 'if-match': `W/${first.headers['etag']}` }),
        412,
      );
      expectProblem(await world.del(`/configs/${id}`, { 'if-match': etag }), 412);
      expectProblem(await world.put(`/configs/${id}`, { value: '12' }, { 'if-match': 'latest' }), 400, [
        'If-Match',
      ]);
      expect((await world.put(`/configs/${id}`, { value: '13' }, { 'if-match': '*' })).status).toBe(200);
      const { value } = (await world.get(`/configs/${id}`)).body;
      expect(value).toBe('13');
    });
  });

  test('the same request under the same Idempotency-Key is done once', async () => {
    await inRestWorld(async (world) => {
      const headers = { 'idempotency-key': 'k-1' };
      const first = await world.post('/configs', LIMIT, headers);
      const again = await world.post('/configs', LIMIT, headers);
      expect([first.status, again.status]).toEqual([201, 201]);
      expect(again.body).toEqual(first.body);
      expect([first.headers['idempotency-replayed'], again.headers['idempotency-replayed']]).toEqual([
        undefined,
        'true',
      ]);
      expectProblem(await world.post('/configs', { ...LIMIT, value: '11' }, headers), 422);
      expectProblem(await world.post('/configs', LIMIT, { 'idempotency-key': 'x'.repeat(256) }), 400, [
        'Idempotency-Key',
      ]);
    });
  });

  test('what was deleted is gone, and its versions stay', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      const gone = await world.del(`/configs/${id}?reason=unused`);
      expect([gone.status, gone.text]).toEqual([204, '']);
      expectProblem(await world.get(`/configs/${id}`), 404, ['configId']);
      expectProblem(await world.del(`/configs/${id}`), 404, ['configId']);
      expectProblem(await world.put(`/configs/${id}`, { value: '1' }), 404, ['configId']);
      const versions = await world.get(`/configs/${id}/versions`);
      expect(versions.body).toMatchObject([
        { version: 2, deleted: true, changeDescription: 'unused' },
        { version: 1 },
      ]);
    });
  });

  test('refuses ids that nothing has, and bad bodies', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      const none = '00000000-0000-8000-8000-000000000000';
      expectProblem(await world.get(`/configs/${none}`), 404, ['configId']);
      expectProblem(await world.get('/configs/x'), 404, ['configId']);
      expectProblem(await world.put(`/configs/${none}`, { value: '1' }), 404, ['configId']);
      expectProblem(await world.del(`/configs/${none}`), 404, ['configId']);
      expectProblem(await world.get(`/configs/${none}/versions`), 404, ['configId']);
      expectProblem(await world.put(`/configs/${id}`, { value: 'x' }), 400, ['value']);
      expectProblem(await world.put(`/configs/${id}`, { valueType: 'NUMBER' }), 400, ['valueType']);
      expectProblem(await world.put(`/configs/${id}`, [1]), 400, ['']);
      expectProblem(await world.call('PUT', `/configs/${id}`), 400, ['']);
      expectProblem(await world.get(`/configs/${id}`, { 'x-conclave-tenant': 'other' }), 404, ['configId']);
    });
  });
});

describe('versions', () => {
  test('are listed, got by number or id, and rolled back to', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      await world.put(`/configs/${id}`, { value: '20', reason: 'more' }, { 'x-conclave-user': 'bob' });
      const { body } = await world.get(`/configs/${id}/versions`);
      expect(body[0]).toEqual({
        id: expect.any(String),
        configId: id,
        version: 2,
        value: '20',
        valueType: 'NUMBER',
        valueSubtype: 'INTEGER',
        createdBy: 'bob',
        createdAt: '2026-03-01T00:00:00.000Z',
        changeDescription: 'more',
        deleted: false,
        revision: expect.any(Number),
      });
      expect(body[0].id).not.toBe(body[1].id);
      for (const name of ['1', body[1].id]) {
        expect((await world.get(`/configs/${id}/versions/${name}`)).body).toEqual(body[1]);
      }
      const back = await world.post(`/configs/${id}/rollback/${body[1].id}?reason=too+many`);
      expect(back.status).toBe(200);
      expect(back.body).toMatchObject({ value: '10', version: 3 });
      const again = await world.call('POST', `/configs/${id}/rollback/2`, {
        headers: { 'content-type': 'application/json' },
      });
      expect(again.body).toMatchObject({ value: '20', version: 4 });
      const newest = (await world.get(`/configs/${id}/versions?size=2`)).body;
      expect(newest.map(({ changeDescription }: { changeDescription: string }) => changeDescription)).toEqual(
        ['', 'too many'],
      );
    });
  });

  test('come in pages, with a link to the next', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      for (const value of ['11', '12', '13', '14']) await world.put(`/configs/${id}`, { value });
      const seen: number[] = [];
      for (let url: string | undefined = `/configs/${id}/versions?size=2`; url !== undefined; ) {
        const { body, headers } = await world.get(url);
        seen.push(...body.map(({ version }: { version: number }) => version));
        url = /^<([^>]+)>; rel="next"$/.exec(headers['link'] ?? '')?.[1];
      }
      expect(seen).toEqual([5, 4, 3, 2, 1]);
    });
  });

  test('refuses versions that are not there', async () => {
    await inRestWorld(async (world) => {
      const id = await made(world);
      for (const name of ['2', '0', '-1', 'x', '99999999999', '00000000-0000-8000-8000-000000000001']) {
        expectProblem(await world.get(`/configs/${id}/versions/${name}`), 404, ['versionId']);
        expectProblem(await world.post(`/configs/${id}/rollback/${name}`), 404, ['versionId']);
      }
      expectProblem(await world.get(`/configs/${id}/versions?size=0`), 400, ['size']);
      await world.del(`/configs/${id}`);
      await world.post('/configs', LIMIT);
      expectProblem(await world.post(`/configs/${id}/rollback/2`), 400, ['versionId']);
    });
  });
});

describe('GET /configs/lookup', () => {
  const query = 'key=db.pool.max&application=pay&environment=PROD';

  test('tells what holds, inherited values included', async () => {
    await inRestWorld(async (world) => {
      await made(world, { environment: 'STAGING' });
      expectProblem(await world.get(`/configs/lookup?${query}`), 404, ['key']);
      await world.put('/api/v1/environments/production', { parent: 'staging' });
      const inherited = await world.get(`/configs/lookup?${query}`);
      expect(inherited.body).toEqual({
        key: 'db.pool.max',
        value: '10',
        valueType: 'NUMBER',
        valueSubtype: 'INTEGER',
        version: 1,
        source: 'inherited',
        environment: 'STAGING',
      });
      await made(world, { value: '5' });
      expect((await world.get(`/configs/lookup?${query}`)).body).toMatchObject({ value: '5', source: 'own' });
      const etag = (await world.get(`/configs/lookup?${query}`)).headers['etag']!;
      expect((await world.get(`/configs/lookup?${query}`, { 'if-none-match': etag })).status).toBe(304);
    });
  });

  test('has a default where nothing holds', async () => {
    await inRestWorld(async (world) => {
      const { body, headers } = await world.get(`/configs/lookup?${query}&default=7`);
      expect(body).toMatchObject({ value: '7', version: 0, source: 'default' });
      expect(headers['etag']).toBeUndefined();
    });
  });

  test('reveals a secret, once for as long as it stays the same', async () => {
    await inRestWorld(async (world) => {
      await made(world, { valueType: 'SECRET', value: 'hunter2' });
      const before = world.service.status().revision;
      const { body, headers } = await world.get(`/configs/lookup?${query}`);
      expect(body).toMatchObject({ value: 'hunter2', valueType: 'SECRET' });
      expect(headers['cache-control']).toBe('no-store');
      const recorded = world.service.status().revision;
      expect(recorded).toBeGreaterThan(before);
      const again = await world.get(`/configs/lookup?${query}`, { 'if-none-match': headers['etag']! });
      expect(again.status).toBe(304);
      const masked = await world.get(`/configs/lookup?${query}&reveal=false`);
      expect(masked.body.value).toBe('********');
      expect(masked.headers['etag']).not.toBe(headers['etag']);
      expect(world.service.status().revision).toBe(recorded);
    });
  });

  test.each([
    ['', ['key', 'application', 'environment']],
    ['key=a&application=pay', ['environment']],
    ['key=&application=pay&environment=PROD', ['key']],
    ['key=a&application=a%2Fb&environment=PROD', ['application']],
    ['key=a&application=pay&environment=!', ['environment']],
    [`${query}&reveal=perhaps`, ['reveal']],
  ])('refuses ?%s', async (bad, fields) => {
    await inRestWorld(async ({ get }) => expectProblem(await get(`/configs/lookup?${bad}`), 400, fields));
  });

  test('an unknown application or environment is named', async () => {
    await inRestWorld(async (world) => {
      await made(world);
      const of = (environment: string, application: string) =>
        `/configs/lookup?key=a&application=${application}&environment=${environment}`;
      expectProblem(await world.get(of('PROD', 'none')), 404, ['application']);
      expectProblem(await world.get(of('moon', 'pay')), 404, ['environment']);
    });
  });
});

test('failures have the shape of the document, or that of RFC 9457 when it is asked for', async () => {
  await inRestWorld(async ({ get, post }) => {
    const plain = await get('/configs/none');
    expect(plain.headers['content-type']).toMatch(/^application\/json/);
    expect(Object.keys(plain.body)).toEqual(['message', 'errors']);
    const problem = await get('/configs/none', { accept: 'application/problem+json, application/json' });
    expect(problem.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(problem.body).toMatchObject({
      type: 'urn:conclave:problem:not-found',
      status: 404,
      code: 'not-found',
      title: expect.any(String),
      detail: expect.any(String),
      retryable: 'never',
      errors: [{ field: 'configId', message: 'there is no configuration with the id none' }],
    });
    const invalid = await post('/configs', {}, { accept: 'application/problem+json' });
    expect(invalid.body.errors).toContainEqual({ field: 'key', message: 'is missing' });
  });
});

test('tenants do not see each other', async () => {
  await inRestWorld(async (world) => {
    await made(world);
    const there = { 'x-conclave-tenant': 'quantivista' };
    expect((await world.get('/configs', there)).body.totalElements).toBe(0);
    expect((await world.post('/configs', LIMIT, there)).status).toBe(201);
    expect((await world.get('/configs')).body.totalElements).toBe(1);
    expectProblem(await world.get('/configs', { 'x-conclave-tenant': 'a/b' }), 400, ['X-Conclave-Tenant']);
    expectProblem(await world.get('/configs', { 'x-conclave-tenant': '_conclave' }), 400, [
      'X-Conclave-Tenant',
    ]);
  });
});
