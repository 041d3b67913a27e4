import { describe, expect, test } from 'vitest';
import { expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const THRESHOLD = '/api/v1/config/portfolio/risk_threshold?environment=PRODUCTION';

describe('001: PUT /api/v1/config/{service_name}/{config_key}', () => {
  test('makes and changes a configuration, with every field', async () => {
    await inRestWorld(async ({ put, get, clock }) => {
      const first = await put(THRESHOLD, {
        new_value: 0.05,
        updated_by: 'risk_manager_001',
        reason: 'start',
      });
      expect(first.status).toBe(201);
      clock.advance(1_000);
      const update = {
        config_key: 'risk_threshold',
        old_value: 0.05,
        new_value: 0.04,
        updated_by: 'risk_manager_001',
        reason: 'Reduce risk exposure',
        rollback_available: true,
        description: 'A bound',
        config_type: 'BUSINESS_RULE',
        tags: ['risk'],
        schema: '{"maximum": 1}',
      };
      const second = await put(THRESHOLD, update, { 'x-conclave-user': 'ada' });
      expect(second.status).toBe(200);
      expect(second.headers['conclave-environment']).toBe('PRODUCTION');
      expect(second.body).toEqual({
        config_key: 'risk_threshold',
        config_value: 0.04,
        config_type: 'BUSINESS_RULE',
        environment: 'PRODUCTION',
        service_name: 'portfolio',
        description: 'A bound',
        is_encrypted: false,
        version: 2,
        created_at: '2026-03-01T00:00:00.000Z',
        updated_at: '2026-03-01T00:00:01.000Z',
      });
      const read = await get(THRESHOLD);
      expect(read.body).toEqual({ ...second.body, source: 'own' });
      expect(read.headers['etag']).toBe(second.headers['etag']);
      expect((await get(THRESHOLD, { 'if-none-match': read.headers['etag']! })).status).toBe(304);
      const found = await get('/configs?application=portfolio');
      const versions = await get(`/configs/${found.body.content[0].id}/versions`);
      expect(versions.body[0]).toMatchObject({ changeDescription: 'Reduce risk exposure', createdBy: 'ada' });
    });
  });

  test.each([[[1, 'a']], [{ a: null }], ['text'], [null], [true], [0]])(
    'takes %j as a value',
    async (value) => {
      await inRestWorld(async ({ put, get }) => {
        expect((await put(THRESHOLD, { new_value: value })).body.config_value).toEqual(value);
        expect((await get('/api/v1/config/portfolio?environment=production')).body).toEqual({
          risk_threshold: value,
        });
      });
    },
  );

  test('old_value is compared, and null is none', async () => {
    await inRestWorld(async ({ put }) => {
      expect((await put(THRESHOLD, { old_value: null, new_value: 1 })).status).toBe(201);
      expectProblem(await put(THRESHOLD, { old_value: null, new_value: 2 }), 409, ['old_value']);
      expectProblem(await put(THRESHOLD, { old_value: 2, new_value: 3 }), 409, ['old_value']);
      expect((await put(THRESHOLD, { old_value: 1, new_value: 3 })).body.config_value).toBe(3);
    });
  });

  test('conditions of headers hold', async () => {
    await inRestWorld(async ({ put }) => {
      const first = await put(THRESHOLD, { new_value: 1 }, { 'if-none-match': '*' });
      expect(first.status).toBe(201);
      expectProblem(await put(THRESHOLD, { new_value: 2 }, { 'if-none-match': '*' }), 409, ['config_key']);
      expectProblem(await put(THRESHOLD, { new_value: 2 }, { 'if-none-match': '"1"' }), 400, [
        'If-None-Match',
      ]);
      expectProblem(await put(THRESHOLD, { new_value: 2 }, { 'if-match': '"1"' }), 412);
      expect((await put(THRESHOLD, { new_value: 2 }, { 'if-match': first.headers['etag']! })).status).toBe(
        200,
      );
    });
  });

  test('the key may have its service before it', async () => {
    await inRestWorld(async ({ put, get }) => {
      const path = '/api/v1/config/portfolio_management_service';
      for (const prefix of ['portfolio_management_service.', 'portfolio_management.', '']) {
        const answer = await put(`${path}/${prefix}limit`, { new_value: 1, config_key: 'limit' });
        expect(answer.body).toMatchObject({ config_key: 'limit', version: 1 });
      }
      expect((await get(`${path}/portfolio_management.limit`)).body.config_key).toBe('limit');
    });
  });

  test('secrets are masked unless they are asked for', async () => {
    await inRestWorld(async ({ put, get }) => {
      const secret = await put(THRESHOLD, { new_value: 'hunter2', is_encrypted: true });
      expect(secret.body).toMatchObject({
        config_value: '********',
        is_encrypted: true,
        config_type: 'SECRET',
      });
      expect((await get(THRESHOLD)).body.config_value).toBe('********');
      expect((await get(`${THRESHOLD}&reveal=true`)).body.config_value).toBe('hunter2');
      const map = '/api/v1/config/portfolio?environment=production';
      expect((await get(map)).body).toEqual({ risk_threshold: '********' });
      const revealed = await get(`${map}&reveal=true`);
      expect(revealed.body).toEqual({ risk_threshold: 'hunter2' });
      const again = await get(`${map}&reveal=true`, { 'if-none-match': revealed.headers['etag']! });
      expect(again.status).toBe(304);
    });
  });

  test('without an environment it is the configured one, which is told', async () => {
    const run = async (world: RestWorld): Promise<string> => {
      const answer = await world.put('/api/v1/config/pay/limit', { new_value: 1 });
      expect(answer.headers['conclave-environment']).toBe(answer.body.environment);
      return answer.body.environment;
    };
    expect(await inRestWorld(run)).toBe('DEVELOPMENT');
    expect(await inRestWorld(run, { rest: { defaultEnvironment: 'staging' } })).toBe('STAGING');
  });

  test.each<[string, string, object, readonly string[]]>([
    ['no new value', THRESHOLD, {}, ['new_value']],
    ['another key', THRESHOLD, { config_key: 'other', new_value: 1 }, ['config_key']],
    ['a key that is none', '/api/v1/config/pay/a%20b', { new_value: 1 }, ['config_key']],
    ['a key too long', `/api/v1/config/pay/${'k'.repeat(256)}`, { new_value: 1 }, ['config_key']],
    ['a service that is none', '/api/v1/config/a%2Fb/k', { new_value: 1 }, ['service_name']],
    ['a service called watch', '/api/v1/config/watch/k', { new_value: 1 }, ['service_name']],
    ['a service called rollback', '/api/v1/config/rollback/k', { new_value: 1 }, ['service_name']],
    [
      'an environment that is none',
      '/api/v1/config/pay/k?environment=%21',
      { new_value: 1 },
      ['environment'],
    ],
    ['an unknown environment', '/api/v1/config/pay/k?environment=moon', { new_value: 1 }, ['environment']],
    ['a type that is none', THRESHOLD, { new_value: 1, config_type: 'X' }, ['config_type']],
    ['a type of secrets for none', THRESHOLD, { new_value: 1, is_encrypted: 'yes' }, ['is_encrypted']],
    ['a user who is no text', THRESHOLD, { new_value: 1, updated_by: 5 }, ['updated_by']],
    ['a user too long', THRESHOLD, { new_value: 1, updated_by: 'u'.repeat(101) }, ['updated_by']],
    ['a reason that is no text', THRESHOLD, { new_value: 1, reason: {} }, ['reason']],
    ['a value against its schema', THRESHOLD, { new_value: 1, schema: '{"maximum":0}' }, ['new_value']],
  ])('refuses %s', async (_, url, body, fields) => {
    await inRestWorld(async ({ put, get }) => {
      const answer = await put(url, body);
      expectProblem(answer, 400, fields);
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
      expect((await get('/configs')).body.totalElements).toBe(0);
    });
  });
});

describe('001: reads and rollback', () => {
  test('inherited and default values hold', async () => {
    await inRestWorld(async ({ put, get }) => {
      await put('/api/v1/config/pay/limit?environment=staging', { new_value: 1 });
      await put('/api/v1/environments/production', { parent: 'staging' });
      await put('/api/v1/applications/pay', { defaults: { 'retry.max': 3 } });
      expect((await get('/api/v1/config/pay?environment=PRODUCTION')).body).toEqual({
        limit: 1,
        'retry.max': 3,
      });
      expect((await get('/api/v1/config/pay/limit?environment=PRODUCTION')).body).toMatchObject({
        environment: 'PRODUCTION',
        source: 'inherited',
        inherited_from: 'STAGING',
      });
      expect((await get('/api/v1/config/pay/retry.max?environment=PRODUCTION')).body).toEqual({
        config_key: 'retry.max',
        config_value: 3,
        config_type: 'APPLICATION_CONFIG',
        environment: 'PRODUCTION',
        service_name: 'pay',
        description: '',
        is_encrypted: false,
        version: 0,
        created_at: null,
        updated_at: null,
        source: 'default',
      });
    });
  });

  test('refuses what is not there', async () => {
    await inRestWorld(async ({ put, get }) => {
      await put(THRESHOLD, { new_value: 1 });
      expectProblem(await get('/api/v1/config/none?environment=production'), 404, ['service_name']);
      expectProblem(await get('/api/v1/config/portfolio?environment=moon'), 404, ['environment']);
      expectProblem(await get('/api/v1/config/portfolio/none?environment=production'), 404, ['config_key']);
      expectProblem(await get('/api/v1/config/watch'), 400, ['service_name']);
      expectProblem(await get('/api/v1/config/portfolio?reveal=1'), 400, ['reveal']);
    });
  });

  test('a rollback brings an old version back', async () => {
    await inRestWorld(async ({ put, post }) => {
      await put(THRESHOLD, { new_value: 0.05 });
      await put(THRESHOLD, { new_value: 0.04 });
      const body = {
        service_name: 'portfolio',
        config_key: 'portfolio.risk_threshold',
        environment: 'PRODUCTION',
        target_version: 1,
        reason: 'too low',
      };
      const { status, body: result } = await post('/api/v1/config/rollback', body);
      expect(status).toBe(200);
      expect(result).toMatchObject({ success: true, previous_version: 2, restored_version: 1 });
      expect(result.configuration).toMatchObject({
        config_key: 'risk_threshold',
        config_value: 0.05,
        version: 3,
      });
      const fields = ['service_name', 'config_key', 'target_version'];
      expectProblem(await post('/api/v1/config/rollback', {}), 400, fields);
      expectProblem(await post('/api/v1/config/rollback', { ...body, target_version: 0 }), 400, [
        'target_version',
      ]);
      expectProblem(await post('/api/v1/config/rollback', { ...body, target_version: 9 }), 404, [
        'target_version',
      ]);
      expectProblem(await post('/api/v1/config/rollback', { ...body, service_name: 'none' }), 404, [
        'config_key',
      ]);
      expectProblem(await post('/api/v1/config/rollback', { ...body, service_name: 'watch' }), 400, [
        'service_name',
      ]);
      expectProblem(await post('/api/v1/config/rollback', { ...body, environment: '!' }), 400, [
        'environment',
      ]);
      expectProblem(await post('/api/v1/config/rollback', body, { 'if-match': '"1"' }), 412);
    });
  });
});

describe('000', () => {
  const NAME = { key: 'db.url', application: 'pay', environment: 'TEST' };
  const query = 'key=db.url&application=pay&environment=TEST';

  test('set, get and history', async () => {
    await inRestWorld(async ({ post, get }) => {
      const first = await post('/config/set', { ...NAME, value: 'a', reason: 'first' });
      expect([first.status, first.body.value, first.body.valueType]).toEqual([201, 'a', 'STRING']);
      const second = await post('/config/set', { ...NAME, value: 'b', tags: ['t'] });
      expect([second.status, second.body.version]).toEqual([200, 2]);
      expect((await get(`/config/get?${query}`)).body).toEqual({
        key: 'db.url',
        value: 'b',
        valueType: 'STRING',
        valueSubtype: 'STRING',
        version: 2,
        source: 'own',
        environment: 'TEST',
      });
      const { body } = await get(`/config/history?${query}`);
      expect(body).toMatchObject({
        versions: [{ version: 2 }, { version: 1, changeDescription: 'first' }],
        next: null,
      });
      const page = await get(`/config/history?${query}&size=1`);
      expect(page.body.next).toBe(2);
      expect((await get(`/config/history?${query}&before=2`)).body.versions).toHaveLength(1);
      expectProblem(await post('/config/set', { ...NAME, value: 'c' }, { 'if-match': '"1"' }), 412);
    });
  });

  test('validate tells what a change would meet, and changes nothing', async () => {
    await inRestWorld(async ({ post, get }) => {
      const bad = await post('/config/validate', { ...NAME, value: 'x', valueType: 'NUMBER' });
      expect(bad.status).toBe(200);
      expect(bad.body).toMatchObject({ valid: false, errors: [{ field: 'value' }], warnings: [] });
      const good = await post('/config/validate', { ...NAME, value: '${none}' });
      expect(good.body).toEqual({
        valid: true,
        errors: [],
        warnings: [{ field: 'value', message: expect.any(String) }],
        impact: { inheritedBy: [], referencedBy: [], instances: [] },
      });
      expect((await get('/configs')).body.totalElements).toBe(0);
      expectProblem(await post('/config/validate', { ...NAME, key: '', value: 'x' }), 400, ['key']);
    });
  });

  test.each([
    ['GET', '/config/get', ['key', 'application', 'environment']],
    ['GET', '/config/get?key=a&application=b&environment=%21', ['environment']],
    ['GET', '/config/history', ['key', 'application', 'environment']],
    ['GET', `/config/history?${query}&size=0`, ['size']],
    ['POST', '/config/set', ['key', 'application', 'environment']],
    ['POST', '/config/validate', ['key', 'application', 'environment']],
  ] as const)('%s %s is refused', async (method, url, fields) => {
    await inRestWorld(async ({ call }) => {
      expectProblem(await call(method, url, method === 'POST' ? { body: {} } : {}), 400, fields);
    });
  });

  test('refuses what is not there', async () => {
    await inRestWorld(async ({ get, post }) => {
      expectProblem(await post('/config/set', NAME), 400, ['value']);
      expectProblem(await get(`/config/get?${query}`), 404, ['application']);
      expectProblem(await get(`/config/history?${query}`), 404, ['key']);
      expect((await get(`/config/get?${query}&default=z`)).body).toMatchObject({
        value: 'z',
        source: 'default',
      });
    });
  });
});

describe.each(['/environments/control', '/api/v1/environments'])('%s', (path) => {
  test('lists, makes, changes and deletes environments', async () => {
    await inRestWorld(async ({ get, post, put, del }) => {
      const { body } = await get(path);
      expect(body.items.map(({ id, name }: { id: string; name: string }) => [id, name])).toEqual([
        ['development', 'DEV'],
        ['test', 'TEST'],
        ['staging', 'STAGING'],
        ['production', 'PROD'],
      ]);
      const wanted = {
        id: 'EU-West',
        description: 'Frankfurt',
        parent: 'PROD',
        rules: { locked: false, promoteOnlyFrom: 'STAGING', reasonRequired: true },
        reason: 'new region',
      };
      const made = await post(path, wanted);
      expect([made.status, made.headers['location']]).toEqual([201, `${path}/eu-west`]);
      expect(made.body).toEqual({
        id: 'eu-west',
        name: 'EU-WEST',
        description: 'Frankfurt',
        parent: 'production',
        inherits: ['production'],
        rules: { locked: false, promoteOnlyFrom: 'staging', reasonRequired: true },
        standard: false,
        version: 1,
        createdBy: 'anonymous',
        createdAt: '2026-03-01T00:00:00.000Z',
        updatedBy: 'anonymous',
        updatedAt: '2026-03-01T00:00:00.000Z',
      });
      const read = await get(`${path}/EU-WEST`);
      expect(read.body).toEqual(made.body);
      expect((await get(`${path}/eu-west`, { 'if-none-match': read.headers['etag']! })).status).toBe(304);
      const changed = await put(`${path}/eu-west`, {
        parent: null,
        rules: { reasonRequired: false, promoteOnlyFrom: null },
      });
      expect(changed.body).toMatchObject({
        parent: null,
        inherits: [],
        description: 'Frankfurt',
        version: 2,
      });
      expectProblem(
        await put(`${path}/eu-west`, { description: '' }, { 'if-match': read.headers['etag']! }),
        412,
      );
      expectProblem(await del(`${path}/eu-west`, { 'if-match': read.headers['etag']! }), 412);
      expect((await del(`${path}/eu-west`)).status).toBe(204);
      expectProblem(await get(`${path}/eu-west`), 404, ['id']);
    });
  });

  test.each<[string, object, number, readonly string[]]>([
    ['nothing', {}, 400, ['id']],
    ['a name too long', { id: 'x'.repeat(21) }, 400, ['id']],
    ['a name that is none', { id: 'a/b' }, 400, ['id']],
    ['a standard one', { id: 'dev' }, 409, ['id']],
    ['an unknown parent', { id: 'eu', parent: 'moon' }, 400, ['parent']],
    ['a parent that is none', { id: 'eu', parent: '!' }, 400, ['parent']],
    ['itself for a parent', { id: 'eu', parent: 'eu' }, 400, ['parent']],
    ['rules that are none', { id: 'eu', rules: { locked: 'yes' } }, 400, ['rules/locked']],
    ['an unknown rule', { id: 'eu', rules: { frozen: true } }, 400, ['rules/frozen']],
    ['an unknown source', { id: 'eu', rules: { promoteOnlyFrom: 'moon' } }, 400, ['rules/promoteOnlyFrom']],
    ['an unknown field', { id: 'eu', parnet: 'dev' }, 400, ['parnet']],
  ])('refuses %s', async (_, body, status, fields) => {
    await inRestWorld(async ({ post, get }) => {
      expectProblem(await post(path, body), status, fields);
      expect((await get(path)).body.items).toHaveLength(4);
    });
  });

  test('refuses a cycle, and a deletion of what is used', async () => {
    await inRestWorld(async ({ put, post, del }) => {
      await put(`${path}/staging`, { parent: 'test' });
      expectProblem(await put(`${path}/test`, { parent: 'staging' }), 400, ['parent']);
      expectProblem(await del(`${path}/staging`), 409);
      await post(path, { id: 'eu' });
      await put('/api/v1/config/pay/limit?environment=eu', { new_value: 1 });
      expectProblem(await del(`${path}/eu`), 409);
      expectProblem(await del(`${path}/none`), 404, ['id']);
      expectProblem(await put(`${path}/none`, {}), 404, ['id']);
    });
  });
});

describe('004: GET /v1/config/services/{name}', () => {
  test('nests the values at the dots of their keys', async () => {
    await inRestWorld(async ({ put, get }) => {
      const set = async (key: string, value: unknown) =>
        put(`/api/v1/config/payment-service/${key}?environment=dev`, { new_value: value });
      await set('database_url', 'postgres://db');
      await set('pool.max', 100);
      await set('pool.min', 1);
      await put('/api/v1/config/payment-service/key?environment=dev', { new_value: 'k', is_encrypted: true });
      const { body, headers } = await get('/v1/config/services/payment-service');
      expect(body).toEqual({
        database_url: 'postgres://db',
        pool: { max: 100, min: 1 },
        key: '********',
        feature_flags: {},
      });
      expect(headers['conclave-environment']).toBe('dev');
      const again = await get('/v1/config/services/payment-service', { 'if-none-match': headers['etag']! });
      expect(again.status).toBe(304);
      const revealed = await get('/v1/config/services/payment-service?environment=DEV&reveal=true');
      expect(revealed.body.key).toBe('k');
    });
  });

  test('refuses what is not there', async () => {
    await inRestWorld(async ({ get }) => {
      expectProblem(await get('/v1/config/services/none'), 404, ['name']);
      expectProblem(await get('/v1/config/services/a%2Fb'), 400, ['name']);
      expectProblem(await get('/v1/config/services/none?environment=%21'), 400, ['environment']);
      expectProblem(await get('/v1/config/services/none?consistency=x'), 400, ['consistency']);
    });
  });
});
