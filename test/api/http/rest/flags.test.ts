import { describe, expect, test } from 'vitest';
import { expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const CHECKOUT = {
  key: 'new-checkout',
  application: 'shop',
  environment: 'PROD',
  description: 'The new checkout',
  enabled: true,
};

async function made({ post }: RestWorld, fields: object = {}) {
  const answer = await post('/feature-flags', { ...CHECKOUT, ...fields });
  expect(answer.status).toBe(201);
  return answer.body;
}

function check(parameters: object): string {
  const query = { key: 'new-checkout', application: 'shop', environment: 'PROD', ...parameters };
  return `/feature-flags/check?${new URLSearchParams(query as Record<string, string>).toString()}`;
}

describe('002', () => {
  test('makes a flag with every field, and shows it', async () => {
    await inRestWorld(async ({ post, get }) => {
      const rules = [
        { attribute: 'userId', operator: 'IN', values: ['ada', 'bob'], percentage: 100 },
        { attribute: 'region', operator: 'STARTS_WITH', values: ['eu-'], percentage: 25 },
      ];
      const body = { ...CHECKOUT, rules, value: { color: 'red' }, tags: ['web', 'a'] };
      const answer = await post('/feature-flags', body, { 'x-conclave-user': 'ada' });
      expect(answer.status).toBe(201);
      expect(answer.body).toMatchObject({
        ...body,
        tags: ['a', 'web'],
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        version: 1,
        createdBy: 'ada',
        createdAt: '2026-03-01T00:00:00.000Z',
        updatedBy: 'ada',
        updatedAt: '2026-03-01T00:00:00.000Z',
      });
      expect(answer.headers['location']).toBe(`/feature-flags/${answer.body.id}`);
      const read = await get(answer.headers['location']!);
      expect(read.body).toEqual(answer.body);
      expect(read.headers['etag']).toBe(answer.headers['etag']);
      const known = await get(answer.headers['location']!, { 'if-none-match': read.headers['etag']! });
      expect(known.status).toBe(304);
    });
  });

  test('is off unless it says otherwise, and updates what is said', async () => {
    await inRestWorld(async (world) => {
      const { put, get } = world;
      const { enabled: _, ...rest } = CHECKOUT;
      const created = await world.post('/feature-flags', rest);
      expect(created.body).toMatchObject({ enabled: false, rules: [], version: 1 });
      expect((await get(check({}))).body).toMatchObject({ enabled: false, reason: 'DISABLED' });
      const path = `/feature-flags/${created.body.id}`;
      const updated = await put(
        path,
        { enabled: true, reason: 'go' },
        { 'if-match': created.headers['etag']! },
      );
      expect(updated.body).toMatchObject({ enabled: true, description: 'The new checkout', version: 2 });
      expect((await get(check({}))).body).toEqual({
        key: 'new-checkout',
        enabled: true,
        reason: 'STATIC',
        variant: 'on',
      });
      const stale = await put(path, { enabled: false }, { 'if-match': created.headers['etag']! });
      expect(stale.status).toBe(412);
      const valued = await put(path, { value: { limit: 3 } });
      expect(valued.body.value).toEqual({ limit: 3 });
      expect((await get(check({}))).body).toMatchObject({ enabled: true, value: { limit: 3 } });
      const bare = await put(path, { value: null });
      expect(bare.body).not.toHaveProperty('value');
    });
  });

  test('checks whom rules let in: by user, by further parameters, and by percentage', async () => {
    await inRestWorld(async (world) => {
      const { get, post } = world;
      await made(world, {
        rules: [
          { attribute: 'userId', operator: 'EQUALS', values: ['ada'] },
          { attribute: 'region', operator: 'IN', values: ['eu', 'us'], percentage: 50 },
          { attribute: 'age', operator: 'GREATER_THAN', values: ['64'] },
        ],
      });
      const enabled = async (parameters: object) => (await get(check(parameters))).body.enabled;
      expect(await enabled({ userId: 'ada' })).toBe(true);
      expect(await enabled({ userId: 'bob' })).toBe(false);
      expect(await enabled({ userId: 'bob', age: '70' })).toBe(true);
      const inRegion = await Promise.all(
        Array.from({ length: 60 }, (_, at) => enabled({ userId: `u${at}`, region: 'eu' })),
      );
      expect(new Set(inRegion)).toEqual(new Set([true, false]));
      const byPost = await post('/feature-flags/check', {
        key: 'new-checkout',
        application: 'shop',
        environment: 'prod',
        userId: 'bob',
        context: { age: 70 },
      });
      expect(byPost.body).toMatchObject({ enabled: true, reason: 'TARGETING_MATCH' });
      const nobody = await get(check({ region: 'eu' }));
      expect(nobody.body).toMatchObject({ enabled: false, errorCode: 'TARGETING_KEY_MISSING' });
    });
  });

  test('percentages have two decimals as an extension, and the whole flag is there in its own words', async () => {
    await inRestWorld(async (world) => {
      const { put } = world;
      const { id } = await made(world, { rules: [{ exactPercentage: 12.34 }] });
      const read = await world.get(`/feature-flags/${id}`);
      expect(read.body.rules).toEqual([{ percentage: 12, exactPercentage: 12.34 }]);
      expect(read.body.definition.rules[0].rollout.share).toBe(1_234);
      const definition = {
        type: 'string',
        variants: { a: 'x', b: 'y' },
        fallthrough: { variant: 'a' },
        rules: [{ when: [{ any: [] }], serve: { variant: 'b' } }],
      };
      const updated = await put(`/feature-flags/${id}`, { definition });
      expect(updated.body).toMatchObject({ definition, rules: [], value: { value: 'y' } });
    });
  });

  test('lists are filtered and paged', async () => {
    await inRestWorld(async (world) => {
      const { get } = world;
      await made(world);
      await made(world, { key: 'b', environment: 'TEST', tags: ['web'] });
      const all = await get('/feature-flags');
      expect(all.body).toMatchObject({ page: 0, size: 20, totalElements: 2, totalPages: 1 });
      const some = await get('/feature-flags?application=shop&environment=TEST&tag=web');
      expect(some.body.content).toMatchObject([{ key: 'b', environment: 'TEST' }]);
    });
  });

  test('failures are told as its document says, with the fields of its own words', async () => {
    await inRestWorld(async (world) => {
      const { post, get, put } = world;
      const { id } = await made(world);
      const told = async (answered: Promise<{ status: number; body: { errors: { field: string }[] } }>) => {
        const { status, body } = await answered;
        return [status, body.errors.map(({ field }) => field)];
      };
      const rule = (rules: object) => post('/feature-flags', { ...CHECKOUT, key: 'x', rules: [rules] });
      expect(await told(post('/feature-flags', { key: 'x' }))).toEqual([
        400,
        ['application', 'environment', 'description'],
      ]);
      expect(await told(rule({ attribute: 'a', operator: 'ALMOST', values: [] }))).toEqual([
        400,
        ['rules/0/operator'],
      ]);
      expect(await told(rule({ attribute: 'a', operator: 'MATCHES', values: ['('] }))).toEqual([
        400,
        ['rules/0/values/0'],
      ]);
      expect(await told(rule({ attribute: 'a', operator: 'GREATER_THAN', values: ['1', '2'] }))).toEqual([
        400,
        ['rules/0/values'],
      ]);
      expect(await told(rule({ percentage: 101 }))).toEqual([400, ['rules/0/percentage']]);
      expect(await told(rule({ attribute: 'a' }))).toEqual([400, ['rules/0/operator']]);
      expect(await told(post('/feature-flags', CHECKOUT))).toEqual([409, ['key']]);
      expect(await told(put(`/feature-flags/${id}`, { definition: {}, value: {} }))).toEqual([
        400,
        ['definition'],
      ]);
      expect(await told(get('/feature-flags/unknown'))).toEqual([404, ['flagId']]);
      expect(await told(get(check({ key: 'unknown' })))).toEqual([404, ['key']]);
      expect(await told(get(check({ environment: 'nowhere' })))).toEqual([404, ['environment']]);
      expect((await get('/feature-flags/check')).status).toBe(400);
    });
  });
});

describe('001', () => {
  const PATH = '/api/v1/feature-flags';

  test('makes a flag of a service, raises its percentage, and lists what holds', async () => {
    await inRestWorld(async ({ put, get }) => {
      const created = await put(`${PATH}/beta?environment=PRODUCTION`, {
        service_name: 'shop',
        enabled: true,
        rollout_percentage: 12.34,
        target_services: ['web'],
        conditions: { plan: 'gold' },
        description: 'Beta',
        updated_by: 'eve',
      });
      expect(created.status).toBe(201);
      expect(created.headers['conclave-environment']).toBe('PRODUCTION');
      expect(created.body).toMatchObject({
        flag_name: 'beta',
        enabled: true,
        rollout_percentage: 12.34,
        target_services: ['web'],
        conditions: { plan: 'gold' },
        description: 'Beta',
      });
      const raised = await put(`${PATH}/beta?environment=PRODUCTION`, { rollout_percentage: 100 });
      expect(raised.status).toBe(200);
      expect(raised.body).toMatchObject({ rollout_percentage: 100, conditions: { plan: 'gold' } });
      const listed = await get(`${PATH}/shop?environment=PRODUCTION`);
      expect(listed.body).toEqual([{ ...raised.body, source: 'own' }]);
      const checked = (parameters: object) => get(check({ key: 'beta', ...parameters }));
      const whole = { userId: 'u', service: 'web', plan: 'gold' };
      expect((await checked(whole)).body.enabled).toBe(true);
      expect((await checked({ ...whole, plan: 'free' })).body.enabled).toBe(false);
      expect((await checked({ ...whole, service: 'mail' })).body.enabled).toBe(false);
    });
  });

  test('an ambiguous name is a conflict, and an unknown one needs its service', async () => {
    await inRestWorld(async ({ put }) => {
      expectProblem(await put(`${PATH}/beta`, { enabled: true }), 404, ['service_name']);
      await put(`${PATH}/beta?service_name=shop`, {});
      await put(`${PATH}/beta?service_name=mail`, {});
      expectProblem(await put(`${PATH}/beta`, { enabled: true }), 409, ['service_name']);
      expectProblem(await put(`${PATH}/beta?service_name=mail`, { rollout_percentage: 0.001 }), 400, [
        'rollout_percentage',
      ]);
    });
  });
});

describe('000', () => {
  test('/features/manage is the collection of flags, with all its methods', async () => {
    await inRestWorld(async ({ post, get, put, del }) => {
      const created = await post('/features/manage', CHECKOUT);
      expect(created.status).toBe(201);
      const path = created.headers['location']!;
      expect(path).toBe(`/features/manage/${created.body.id}`);
      expect((await get(path)).body).toEqual(created.body);
      expect((await put(path, { enabled: false })).body.enabled).toBe(false);
      expect((await get('/features/manage')).body.totalElements).toBe(1);
      expect((await del(path)).status).toBe(204);
      expectProblem(await get(path), 404, ['key']);
    });
  });
});

describe('004', () => {
  test('flags of the application stand beside its values, and the tag is theirs, too', async () => {
    await inRestWorld(async (world) => {
      const { get, put } = world;
      const { id } = await made(world);
      await made(world, { key: 'limits', value: { max: 3 } });
      await made(world, {
        key: 'for-some',
        rules: [{ attribute: 'plan', operator: 'EQUALS', values: ['gold'] }],
      });
      const path = '/v1/config/services/shop?environment=prod';
      const first = await get(path);
      expect(first.body).toEqual({
        feature_flags: { 'for-some': false, limits: { max: 3 }, 'new-checkout': true },
      });
      const tag = { 'if-none-match': first.headers['etag']! };
      expect((await get(path, tag)).status).toBe(304);
      await put(`/feature-flags/${id}`, { enabled: false });
      const second = await get(path, tag);
      expect(second.body.feature_flags['new-checkout']).toBe(false);
    });
  });
});

describe('our own paths', () => {
  const ON_OFF = {
    type: 'boolean',
    variants: { on: true, off: false },
    offVariant: 'off',
    fallthrough: { variant: 'on' },
  };

  async function flag({ post }: RestWorld, key: string, more: object = {}) {
    const definition = { ...ON_OFF, ...more };
    const answer = await post('/api/v1/flags', {
      application: 'shop',
      environment: 'production',
      key,
      definition,
      tags: ['t'],
    });
    expect(answer.status).toBe(201);
    return answer;
  }

  test('flags have a life of their own: patch, switch, rollout, versions, comparison, rollback, undelete', async () => {
    await inRestWorld(async (world) => {
      const { get, post, call, del } = world;
      const created = await flag(world, 'a');
      const path = created.headers['location']!;
      expect((await get(path)).body).toEqual(created.body);
      const patched = await call('PATCH', path, {
        body: { definition: { metadata: { team: 'web' } } },
        headers: { 'if-match': created.headers['etag']! },
      });
      expect(patched.body).toMatchObject({ version: 2, definition: { metadata: { team: 'web' } } });
      expect((await post(`${path}/disable`, { reason: 'it burns' })).body.definition.enabled).toBe(false);
      expect((await post(`${path}/enable`)).body.definition.enabled).toBe(true);
      const rolled = await post(`${path}/rollout`, { percentage: 12.5 });
      expect(rolled.body.definition).toMatchObject({
        fallthrough: { variant: 'off' },
        rules: [{ when: [], rollout: { share: 1_250 }, serve: { variant: 'on' } }],
      });
      expectProblem(await post(`${path}/rollout`, { percentage: 12.345 }), 400, ['percentage']);
      const versions = await get(`${path}/versions`);
      expect(versions.body.items.map(({ version }: { version: number }) => version)).toEqual([5, 4, 3, 2, 1]);
      expect(versions.body.items[2].reason).toBe('it burns');
      expect((await get(`${path}/versions/1`)).body).toMatchObject({ version: 1, deleted: false });
      const compared = await get(`${path}/compare?left=3&right=4`);
      expect(compared.body.diff.patch).toEqual([{ op: 'replace', path: '/definition/enabled', value: true }]);
      expect((await post(`${path}/rollback`, { version: 1 })).body).toMatchObject({ version: 6 });
      expect((await del(path)).status).toBe(204);
      expect((await post(`${path}/undelete`)).body.version).toBe(8);
      const put = await world.put(path, { description: 'words' });
      expect(put.body).toMatchObject({ description: 'words', tags: ['t'] });
    });
  });

  test('segments are resources beside them', async () => {
    await inRestWorld(async (world) => {
      const { post, get } = world;
      const scope = { application: 'shop', environment: 'production' };
      const segment = await post('/api/v1/segments', {
        ...scope,
        key: 'beta',
        definition: { included: ['ada'] },
      });
      expect(segment.body).toMatchObject({
        kind: 'segment',
        definition: { included: ['ada'], excluded: [] },
      });
      await flag(world, 'a', {
        fallthrough: { variant: 'off' },
        rules: [{ name: 'testers', when: [{ segment: 'beta' }], serve: { variant: 'on' } }],
      });
      const explained = await post('/api/v1/flags/explain', {
        ...scope,
        key: 'a',
        context: { targetingKey: 'ada' },
      });
      expect(explained.body).toMatchObject({
        value: true,
        variant: 'on',
        reason: 'TARGETING_MATCH',
        matched: { kind: 'rule', index: 0, name: 'testers' },
      });
      expect(explained.body.lines.length).toBeGreaterThan(1);
      expectProblem(await post('/api/v1/flags/explain', { ...scope, key: 'no' }), 404, ['key']);
      const listed = await get('/api/v1/segments?application=shop');
      expect(listed.body).toMatchObject({ total: 1, items: [{ key: 'beta' }] });
      const effective = await get('/api/v1/flags/effective?application=shop&environment=production');
      expect(effective.body.items).toMatchObject([{ key: 'a', source: 'own' }]);
    });
  });

  test('flags go over to flagd and come back the same', async () => {
    await inRestWorld(async (world) => {
      const { post, get } = world;
      await post('/api/v1/segments', {
        application: 'shop',
        environment: 'production',
        key: 'beta',
        definition: { when: [{ attribute: 'plan', operator: 'EQUALS', values: ['gold'] }] },
      });
      await flag(world, 'a', { rules: [{ when: [{ segment: 'beta' }], serve: { variant: 'off' } }] });
      const exported = await get('/api/v1/flags/export?application=shop&environment=production');
      expect(Object.keys(exported.body.document.flags)).toEqual(['a']);
      expect(exported.body.findings).toEqual([]);
      const target = '/api/v1/flags/import?application=other&environment=test';
      const dry = await post(`${target}&dryRun=true`, exported.body.document);
      expect(dry.body.items).toEqual([
        { kind: 'segment', key: 'beta', type: 'created' },
        { kind: 'flag', key: 'a', type: 'created' },
      ]);
      expect((await get('/api/v1/flags?application=other')).body.total).toBe(0);
      const imported = await post(target, exported.body.document);
      expect(imported.body).toEqual(dry.body);
      const again = await post(target, exported.body.document);
      expect(again.body.items.map(({ type }: { type: string }) => type)).toEqual(['unchanged', 'unchanged']);
      const there = await get('/api/v1/flags/export?application=other&environment=test');
      expect(there.body.document).toEqual(exported.body.document);
      const wrong = { flags: { x: { state: 'ENABLED', variants: {}, defaultVariant: 'on' } } };
      const refused = await post(target, wrong);
      expect(refused.status).toBe(400);
      expect(refused.body.errors[0].field).toMatch(/^flags\/x/);
      const partial = await post(`${target}&partial=true`, wrong);
      expect(partial.body).toMatchObject({
        items: [],
        findings: [{ field: refused.body.errors[0].field }, {}],
      });
    });
  });

  test('more than one change can take are imported all the same', async () => {
    await inRestWorld(async ({ post, get }) => {
      const names = Array.from({ length: 95 }, (_, at) => `flag-${at}`);
      const one = { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'on' };
      const flags = Object.fromEntries(names.map((name) => [name, one]));
      const path = '/api/v1/flags/import?application=shop&environment=test';
      const imported = await post(path, { flags }, { 'idempotency-key': 'k' });
      expect(imported.body.items).toHaveLength(95);
      expect((await get('/api/v1/flags?application=shop')).body.total).toBe(95);
      const again = await post(path, { flags }, { 'idempotency-key': 'k' });
      expect(again.status).toBe(200);
    });
  });

  test('the stale report names what may go, and why', async () => {
    await inRestWorld(async (world) => {
      const { get, clock } = world;
      await flag(world, 'done');
      await flag(world, 'off', { enabled: false });
      await flag(world, 'busy', {
        rules: [{ when: [{ attribute: 'a', operator: 'EXISTS', values: [] }], serve: { variant: 'off' } }],
      });
      await flag(world, 'over', {
        expiresAt: '2026-03-02T00:00:00Z',
        targets: [{ variant: 'off', keys: ['ada'] }],
      });
      expect((await get('/api/v1/flags/stale')).body.items).toEqual([]);
      clock.advance(31 * 86_400_000);
      const { items } = (await get('/api/v1/flags/stale?application=shop')).body;
      const found = items.map((item: { flag: { key: string }; reasons: string[] }) => [
        item.flag.key,
        item.reasons,
      ]);
      expect(found).toEqual([
        ['done', ['answers-everybody-alike']],
        ['off', ['disabled']],
        ['over', ['expired']],
      ]);
      expect(items[0].unchangedDays).toBe(31);
      expectProblem(await get('/api/v1/flags/stale?days=40000'), 400, ['days']);
    });
  });
});

describe('evaluations', () => {
  test('are counted and exported as lines of JSON and as CSV', async () => {
    await inRestWorld(async (world) => {
      const { get, post } = world;
      await made(world);
      await get(check({ userId: 'ada', service: 'web' }));
      await get(check({ userId: 'bob', service: 'web' }));
      const scope = { application: 'shop', environment: 'PROD' };
      const counts = [{ flag: 'new-checkout', variant: 'on', reason: 'STATIC', count: 3, service: '=cmd' }];
      expect((await post('/api/v1/flags/evaluations', { ...scope, counts })).status).toBe(204);
      const path = '/api/v1/feature-flags/shop/evaluations?environment=PROD';
      const lines = await get(path);
      expect(lines.headers['content-type']).toMatch(/^application\/x-ndjson/);
      expect(
        lines.text
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as object),
      ).toMatchObject([
        { hour: '2026-03-01T00:00:00Z', flag: 'new-checkout', service: '=cmd', count: 3 },
        { application: 'shop', environment: 'production', reason: 'STATIC', service: 'web', count: 2 },
      ]);
      const csv = await get(`${path}&format=csv&service=%3Dcmd`);
      expect(csv.text).toBe(
        'hour,application,environment,flag,variant,reason,service,count\r\n' +
          "2026-03-01T00:00:00Z,shop,production,new-checkout,on,STATIC,'=cmd,3\r\n",
      );
      expectProblem(await get(`${path}&from=yesterday`), 400, ['from']);
    });
  });
});
