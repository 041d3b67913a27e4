import { describe, expect, test } from 'vitest';
import { failure } from './failure.ts';
import { ada, inWorld, named, type World } from './world.ts';

const TENANT = 'default';

/** development <- test <- staging: each inherits from the one before. */
async function chained({ service }: World): Promise<void> {
  await service.environments.update(ada, { tenant: TENANT, id: 'test', parent: 'development' });
  await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
}

async function put({ service }: World, environment: string, key: string, json: number): Promise<void> {
  await service.configurations.put(ada, { name: named(key, { environment }), value: { json } });
}

test('a lookup finds its own value, the nearest inherited one, or the default', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await chained(world);
    await put(world, 'development', 'a', 1);
    await put(world, 'test', 'a', 2);
    const lookup = async (key: string, environment = 'staging') =>
      (await service.reads.lookup(ada, { name: named(key, { environment }) })).result;
    expect(await lookup('a')).toMatchObject({ source: 'inherited', environment: 'test', value: { json: 2 } });
    const before = (await lookup('a')).etag;
    await put(world, 'staging', 'a', 3);
    expect(await lookup('a')).toMatchObject({ source: 'own', environment: 'staging', value: { json: 3 } });
    expect((await lookup('a')).etag).not.toBe(before);
    await service.configurations.delete(ada, { ref: named('a', { environment: 'staging' }) });
    expect((await lookup('a')).etag).toBe(before);
    await service.applications.update(ada, { tenant: TENANT, name: 'pay', defaults: { a: 0, z: 9 } });
    expect(await lookup('z')).toMatchObject({ source: 'default', environment: null, value: { json: 9 } });
    expect(await lookup('a', 'production')).toMatchObject({ source: 'default', value: { json: 0 } });
    await expect(lookup('none')).rejects.toEqual(failure('not-found'));
    await expect(lookup('a', 'qa')).rejects.toEqual(failure('not-found', 'environment'));
    await expect(service.reads.lookup(ada, { name: named('a', { application: 'none' }) })).rejects.toEqual(
      failure('not-found', 'application'),
    );
  });
});

test('the effective map has every key once, and its tag changes with any of them', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await chained(world);
    await put(world, 'development', 'a', 1);
    await put(world, 'development', 'b', 2);
    await put(world, 'staging', 'b', 3);
    const scope = { tenant: TENANT, environment: 'staging', application: 'pay' };
    const map = async () => (await service.reads.effective(ada, { scope })).result;
    const before = await map();
    expect(before.items.map(({ key, source, value }) => [key, source, value.json])).toEqual([
      ['a', 'inherited', 1],
      ['b', 'own', 3],
    ]);
    await put(world, 'production', 'b', 4);
    expect((await map()).etag).toBe(before.etag);
    await put(world, 'development', 'a', 5);
    expect((await map()).etag).not.toBe(before.etag);
    const many = await service.reads.getMany(ada, { scope, keys: ['b', 'none', 'a', 'a'] });
    expect(many.result.items.map(({ key, value }) => [key, value.json])).toEqual([
      ['b', 3],
      ['a', 5],
    ]);
  });
});

describe('schemas', () => {
  test('hold for the value, for what inherits them, and for what is there already', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await chained(world);
      const name = named('a', { environment: 'development' });
      const schema = JSON.stringify({ type: 'integer', maximum: 10 });
      await expect(service.configurations.create(ada, { name, value: { json: 11 }, schema })).rejects.toEqual(
        failure('invalid', 'value'),
      );
      await expect(
        service.configurations.create(ada, { name, value: { json: 1 }, schema: '{"type": 5}' }),
      ).rejects.toMatchObject({
        code: 'invalid',
        problems: expect.arrayContaining([expect.objectContaining({ field: 'schema/type' })]),
      });
      await service.configurations.create(ada, { name, value: { json: 1 }, schema });
      await expect(put(world, 'staging', 'a', 11)).rejects.toEqual(failure('invalid', 'value'));
      await put(world, 'staging', 'a', 9);
      const stricter = (maximum: number) =>
        service.configurations.update(ada, {
          ref: name,
          schema: JSON.stringify({ type: 'integer', maximum }),
        });
      await expect(stricter(0)).rejects.toEqual(failure('invalid', 'value', 'schema'));
      await expect(stricter(5)).rejects.toEqual(failure('invalid', 'schema'));
      await stricter(9);
    });
  });
});

describe('rules over several keys', () => {
  const rules = [{ name: 'order', expression: 'config.low <= config.high', message: 'low is above high' }];

  test('are kept by every change, in every environment that it reaches', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await chained(world);
      await put(world, 'development', 'low', 1);
      await put(world, 'development', 'high', 5);
      await service.applications.update(ada, { tenant: TENANT, name: 'pay', rules });
      // In development itself, and in both that inherit from it.
      await expect(put(world, 'development', 'low', 6)).rejects.toEqual(
        failure('invalid', 'value', 'value', 'value'),
      );
      await put(world, 'staging', 'low', 4);
      await expect(put(world, 'development', 'high', 3)).rejects.toEqual(failure('invalid', 'value'));
      await expect(
        service.applications.update(ada, {
          tenant: TENANT,
          name: 'pay',
          rules: [...rules, { name: 'far', expression: 'config.high > 100', message: 'too low' }],
        }),
      ).rejects.toMatchObject({
        code: 'invalid',
        problems: expect.arrayContaining([expect.objectContaining({ field: 'rules/1' })]),
      });
      await expect(
        service.applications.update(ada, {
          tenant: TENANT,
          name: 'pay',
          rules: [{ name: '', expression: 'config.', message: '' }],
        }),
      ).rejects.toEqual(failure('invalid', 'rules/0/name', 'rules/0/expression'));
      await put(world, 'development', 'high', 6);
      expect(
        await service.configurations.bulk(ada, {
          tenant: TENANT,
          items: [
            { action: 'update', ref: named('low', { environment: 'development' }), value: { json: 20 } },
            { action: 'update', ref: named('high', { environment: 'development' }), value: { json: 30 } },
          ],
        }),
      ).toMatchObject({ items: [{ type: 'updated' }, { type: 'updated' }] });
    });
  });

  test('two changes at once do not break one together', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await put(world, 'production', 'low', 1);
      await put(world, 'production', 'high', 5);
      await service.applications.update(ada, { tenant: TENANT, name: 'pay', rules });
      const both = await Promise.allSettled([
        put(world, 'production', 'low', 4),
        put(world, 'production', 'high', 2),
      ]);
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    });
  });

  test('another parent is refused where it would break one', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await put(world, 'test', 'low', 9);
      await put(world, 'test', 'high', 10);
      await put(world, 'production', 'low', 1);
      await put(world, 'production', 'high', 5);
      await service.applications.update(ada, { tenant: TENANT, name: 'pay', rules });
      await service.configurations.bulk(ada, {
        tenant: TENANT,
        items: [
          { action: 'put', ref: named('high', { environment: 'staging' }), value: { json: 7 } },
          { action: 'put', ref: named('low', { environment: 'staging' }), value: { json: 6 } },
        ],
      });
      await service.environments.create(ada, { tenant: TENANT, id: 'qa', parent: 'production' });
      await put(world, 'qa', 'high', 2);
      await expect(
        service.environments.update(ada, { tenant: TENANT, id: 'qa', parent: 'staging' }),
      ).rejects.toEqual(failure('invalid', 'parent'));
    });
  });
});

test('references: cycles are refused, unknown ones and ends of others are told', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    const make = (key: string, json: string) =>
      service.configurations.put(ada, { name: named(key), value: { json } });
    expect((await make('url', 'http://${host}/x')).findings).toMatchObject([
      { severity: 'warning', check: 'reference', field: 'value' },
    ]);
    expect((await make('host', 'a.example')).findings).toEqual([]);
    const lookup = async (key: string, resolve: boolean) =>
      (await service.reads.lookup(ada, { name: named(key), resolve })).result;
    expect((await lookup('url', true)).value.json).toBe('http://a.example/x');
    expect((await lookup('url', false)).value.json).toBe('http://${host}/x');
    const before = (await lookup('url', true)).etag;
    await make('host', 'b.example');
    expect((await lookup('url', true)).etag).not.toBe(before);
    await service.configurations.create(ada, {
      name: named('key'),
      type: 'secret',
      value: { text: 'hunter2' },
    });
    await make('leak', '${key}');
    expect((await lookup('leak', true)).value.json).toBe('${key}');
    await expect(make('host', '${url}')).rejects.toEqual(failure('invalid', 'value'));
    const deleted = await service.configurations.delete(ada, { ref: named('host') });
    expect(deleted.findings).toMatchObject([{ check: 'reference', message: 'url refers to it' }]);
  });
});

test('what looks like a secret in the clear is told, and not shown', async () => {
  await inWorld(async ({ service }) => {
    const json = 'postgres://app:hunter2secret@db.example/app';
    const made = await service.configurations.create(ada, { name: named('db.url'), value: { json } });
    expect(made.findings).toMatchObject([{ severity: 'warning', check: 'secret', field: 'value' }]);
    expect(JSON.stringify(made.findings)).not.toContain('hunter2secret');
  });
});

test('a change is tried without being made: problems, findings, and who would notice', async () => {
  await inWorld(
    async (world) => {
      const { service } = world;
      await chained(world);
      await put(world, 'development', 'a', 1);
      await service.configurations.create(ada, {
        name: named('b', { environment: 'development' }),
        value: { json: 'is ${a}' },
      });
      await put(world, 'test', 'c', 1);
      const name = named('a', { environment: 'development' });
      const good = await service.validations.validate(ada, { name, value: { json: 2 } });
      expect(good.result).toEqual({
        isValid: true,
        problems: [],
        findings: [],
        impact: {
          inheritedBy: ['test', 'staging'],
          referencedBy: ['b'],
          instances: ['pod-1'],
        },
      });
      const bad = await service.validations.validate(ada, { name, type: 'boolean', value: { json: 2 } });
      expect(bad.result).toMatchObject({ isValid: false, problems: [{ field: 'value' }] });
      expect((await service.reads.get(ada, { ref: name })).result.value.json).toBe(1);
      await put(world, 'test', 'a', 2);
      const own = await service.validations.validate(ada, { name, value: { json: 2 } });
      expect(own.result.impact.inheritedBy).toEqual([]);
    },
    { instancesOf: ({ environment }) => (environment === 'test' ? ['pod-1'] : []) },
  );
});
