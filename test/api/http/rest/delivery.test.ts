import { describe, expect, test } from 'vitest';
import { ada, named } from '../../../service/world.ts';
import { expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const POD = '/api/v1/instances/PROD/pay/pod-1';

async function changed({ service }: RestWorld, value: number): Promise<number> {
  const { revision } = await service.configurations.put(ada, {
    name: named('limit'),
    value: { json: value },
  });
  return revision;
}

describe('an instance', () => {
  test('registers, renews, says how far it is, and goes', async () => {
    await inRestWorld(async (world) => {
      const { put, get, post, del, clock } = world;
      const first = await changed(world, 1);
      const made = await put(POD, { version: '1.4', region: 'eu', ttlSeconds: 30 });
      expect(made.status).toBe(201);
      expect(made.body).toEqual({
        id: 'pod-1',
        environment: 'production',
        application: 'pay',
        version: '1.4',
        region: 'eu',
        since: '2026-03-01T00:00:00.000Z',
        applied: 0,
        rejected: null,
        reportedAt: '2026-03-01T00:00:00.000Z',
      });
      clock.advance(20_000);
      const renewed = await put(POD, { version: '1.5', region: 'eu', applied: first });
      expect(renewed.status).toBe(200);
      expect(renewed.body).toMatchObject({
        version: '1.5',
        since: '2026-03-01T00:00:00.000Z',
        applied: first,
        reportedAt: '2026-03-01T00:00:20.000Z',
      });
      const second = await changed(world, 2);
      const reason = 'must be odd';
      const told = await post(`${POD}/report`, { rejected: { revision: second, reason } });
      expect([told.status, told.body.rejected]).toEqual([200, { revision: second, reason }]);
      expect((await get(POD)).body).toEqual(told.body);
      expect((await get('/api/v1/instances?environment=prod')).body).toEqual({
        items: [told.body],
        next: null,
      });
      expect((await del(POD)).status).toBe(204);
      expectProblem(await get(POD), 404, ['id']);
      expectProblem(await del(POD), 404, ['id']);
      expectProblem(await post(`${POD}/report`, { applied: second }), 404, ['id']);
    });
  });

  test('that is not heard of for its time is gone', async () => {
    await inRestWorld(async ({ put, get, clock, service }) => {
      await put(POD, { ttlSeconds: 30 });
      await put('/api/v1/instances/PROD/pay/pod-2', {});
      clock.advance(59_999);
      await service.instances.write();
      const { items } = (await get('/api/v1/instances')).body;
      expect(items.map(({ id }: { id: string }) => id)).toEqual(['pod-2']);
      clock.advance(1);
      await service.instances.write();
      expect((await get('/api/v1/instances')).body.items).toEqual([]);
    });
  });

  test('that came with its stream reports over REST, and lasts as long as the stream', async () => {
    await inRestWorld(async (world) => {
      const { service, put, post, get, clock } = world;
      const revision = await changed(world, 1);
      const stream = new AbortController();
      const info = { ...named('x'), id: 'pod-1', version: '', region: '' };
      await service.delivery.register(ada, info, { signal: stream.signal });
      expect((await post(`${POD}/report`, { applied: revision })).body.applied).toBe(revision);
      await put(POD, { ttlSeconds: 1 });
      clock.advance(3_600_000);
      await service.instances.write();
      expect((await get(POD)).body.applied).toBe(revision);
      stream.abort();
      expectProblem(await get(POD), 404, ['id']);
    });
  });

  test.each([
    ['ttlSeconds', { ttlSeconds: 0.5 }, ['ttlSeconds']],
    ['ttlSeconds', { ttlSeconds: 3_601 }, ['ttlSeconds']],
    ['version', { version: 'v'.repeat(101) }, ['version']],
    ['region', { region: 'a\u0000' }, ['region']],
    ['applied', { applied: -1 }, ['applied']],
    ['applied', { applied: 1e6 }, ['applied']],
    ['rejected', { rejected: { revision: 1 } }, ['rejected/reason']],
    ['rejected', { rejected: { revision: 1e6, reason: 'no' } }, ['rejected/revision']],
    ['unknown', { color: 'red' }, ['color']],
  ])('with a wrong %s is refused: %j', async (_what, body, fields) => {
    await inRestWorld(async ({ put, get }) => {
      expectProblem(await put(POD, body), 400, fields);
      expect((await get('/api/v1/instances')).body.items).toEqual([]);
    });
  });

  test('has a name within bounds', async () => {
    await inRestWorld(async ({ put }) => {
      expectProblem(await put(`/api/v1/instances/PROD/pay/${'i'.repeat(201)}`, {}), 400, ['id']);
      expectProblem(await put('/api/v1/instances/PROD/p%20y/pod', {}), 400, ['application']);
      expectProblem(await put('/api/v1/instances/a%2Fb/pay/pod', {}), 400, ['environment']);
      expect((await put('/api/v1/instances/PROD/pay/a%2Fb', {})).body.id).toBe('a/b');
    });
  });

  test('is of one tenant, and comes in pages', async () => {
    await inRestWorld(async ({ put, get }) => {
      const other = { 'x-conclave-tenant': 'other' };
      for (const at of ['PROD/pay/b', 'PROD/pay/a', 'DEV/ship/z', 'DEV/pay/c', 'PROD/ship/a']) {
        await put(`/api/v1/instances/${at}`, {});
      }
      await put(POD, {}, other);
      expect((await get('/api/v1/instances', other)).body.items).toHaveLength(1);
      const seen: string[] = [];
      let cursor = '';
      for (;;) {
        const { body } = await get(`/api/v1/instances?size=2${cursor}`);
        expect(body.items.length).toBeLessThanOrEqual(2);
        for (const { environment, application, id } of body.items)
          seen.push(`${environment}/${application}/${id}`);
        if (body.next === null) break;
        cursor = `&cursor=${body.next}`;
      }
      expect(seen).toEqual([
        'development/pay/c',
        'development/ship/z',
        'production/pay/a',
        'production/pay/b',
        'production/ship/a',
      ]);
      expect((await get('/api/v1/instances?application=ship')).body.items).toHaveLength(2);
      for (const [query, field] of [
        ['size=0', 'size'],
        ['size=1001', 'size'],
        ['cursor=x', 'cursor'],
        ['environment=%2F', 'environment'],
      ] as const) {
        expectProblem(await get(`/api/v1/instances?${query}`), 400, [field]);
      }
    });
  });
});

describe('GET /api/v1/delivery', () => {
  test('says who has a change, who lags and who rejected it, by revision and by configuration', async () => {
    await inRestWorld(async (world) => {
      const { put, get, service } = world;
      const first = await changed(world, 1);
      const revision = await changed(world, 2);
      await put('/api/v1/instances/PROD/pay/has', { applied: revision });
      await put('/api/v1/instances/PROD/pay/lags', { applied: first, version: '2' });
      await put('/api/v1/instances/PROD/pay/rejects', {
        applied: first,
        rejected: { revision, reason: 'must be odd' },
      });
      await put('/api/v1/instances/PROD/ship/other', {});
      const { status, body, headers } = await get(`/api/v1/delivery?revision=${revision}`);
      expect([status, headers['conclave-revision']]).toEqual([200, String(revision)]);
      expect(body).toMatchObject({
        revision,
        operation: 'update',
        counts: { applied: 1, lagging: 1, rejected: 1 },
        instances: [
          { id: 'rejects', state: 'rejected', reason: 'must be odd', applied: first },
          { id: 'lags', state: 'lagging', version: '2', reason: null },
          { id: 'has', state: 'applied' },
        ],
      });
      const { result } = await service.reads.get(ada, { ref: named('limit') });
      expect((await get(`/api/v1/delivery?configuration=${result.id}`)).body).toEqual(body);
      const byName = '/api/v1/delivery?application=pay&environment=PROD&key=limit';
      expect((await get(byName)).body).toEqual(body);
      expect((await get(`/api/v1/delivery?revision=${first}`)).body.counts).toEqual({
        applied: 3,
        lagging: 0,
        rejected: 0,
      });
    });
  });

  test('of nothing, or of too much, is refused', async () => {
    await inRestWorld(async (world) => {
      const revision = await changed(world, 1);
      const ask = async (query: string) => world.get(`/api/v1/delivery?${query}`);
      expectProblem(await ask(''), 400, ['revision']);
      expectProblem(await ask('revision=0'), 400, ['revision']);
      expectProblem(await ask(`revision=${revision}&configuration=x`), 400, ['revision']);
      expectProblem(await ask('application=pay&key=limit'), 400, ['environment']);
      expectProblem(await ask('configuration=x&key=limit'), 400, ['configuration']);
      expectProblem(await ask('revision=1000000'), 404, ['revision']);
      expect((await ask('configuration=nothing')).status).toBe(404);
      const other = { 'x-conclave-tenant': 'other' };
      expectProblem(await world.get(`/api/v1/delivery?revision=${revision}`, other), 404, ['revision']);
    });
  });
});
