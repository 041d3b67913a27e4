import { describe, expect, test } from 'vitest';
import { environmentId, spellEnvironment } from '../../src/service/environments/spelling.ts';
import { failure } from './failure.ts';
import { interleaving } from './kv-wrappers.ts';
import { ada, inWorld, named, type World } from './world.ts';

const TENANT = 'default';

describe('spellings', () => {
  test.each([
    ['DEV', 'development'],
    ['Development', 'development'],
    ['TESTING', 'test'],
    ['test', 'test'],
    ['Staging', 'staging'],
    ['prod', 'production'],
    ['ENVIRONMENT_PROD', 'production'],
    ['PRODUCTION', 'production'],
    ['QA-1', 'qa-1'],
  ])('%s is %s', (spelling, id) => {
    expect(environmentId(spelling)).toBe(id);
  });

  test('each dialect writes them as its document does', () => {
    const all = ['development', 'test', 'staging', 'production', 'qa'];
    const write = (dialect: 'short' | 'long' | 'lower') => all.map((id) => spellEnvironment(id, dialect));
    expect(write('short')).toEqual(['DEV', 'TEST', 'STAGING', 'PROD', 'QA']);
    expect(write('long')).toEqual(['DEVELOPMENT', 'TEST', 'STAGING', 'PRODUCTION', 'QA']);
    expect(write('lower')).toEqual(['dev', 'test', 'staging', 'prod', 'qa']);
  });

  test('what is too long or no name is refused, with the field named', () => {
    expect(() => environmentId('x'.repeat(21))).toThrow(failure('invalid', 'environment'));
    expect(() => environmentId('a/b', 'to')).toThrow(failure('invalid', 'to'));
  });
});

async function make({ service }: World, id: string, parent: string | null = null) {
  return service.environments.create(ada, { tenant: TENANT, id, parent });
}

test('the standard ones are there, and can be changed', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await make(world, 'qa', 'staging');
    const list = await service.environments.list(ada, { tenant: TENANT });
    expect(list.result.map(({ id, isStandard, version }) => [id, isStandard, version])).toEqual([
      ['development', true, 0],
      ['test', true, 0],
      ['staging', true, 0],
      ['production', true, 0],
      ['qa', false, 1],
    ]);
    const changed = await service.environments.update(ada, {
      tenant: TENANT,
      id: 'production',
      parent: 'staging',
      rules: { reasonRequired: true },
      ifMatch: ['0'],
    });
    expect(changed.environment).toMatchObject({
      version: 1,
      inherits: ['staging'],
      rules: { locked: false, promoteOnlyFrom: null, reasonRequired: true },
      updatedBy: 'ada',
    });
    await expect(
      service.environments.update(ada, {
        tenant: TENANT,
        id: 'production',
        description: 'x',
        ifMatch: ['0'],
      }),
    ).rejects.toEqual(failure('precondition-failed'));
    expect((await service.environments.list(ada, { tenant: 'other' })).result).toHaveLength(4);
  });
});

test('refuses unknown parents, cycles and long chains', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await expect(make(world, 'qa', 'none')).rejects.toEqual(failure('invalid', 'parent'));
    await expect(make(world, 'test')).rejects.toEqual(failure('exists', 'environment'));
    await make(world, 'e1');
    for (let at = 2; at <= 10; at += 1) await make(world, `e${at}`, `e${at - 1}`);
    await expect(make(world, 'e11', 'e10')).rejects.toEqual(failure('invalid', 'parent'));
    const update = (id: string, parent: string) =>
      service.environments.update(ada, { tenant: TENANT, id, parent });
    await expect(update('e1', 'e1')).rejects.toEqual(failure('invalid', 'parent'));
    await expect(update('e1', 'e9')).rejects.toEqual(failure('invalid', 'parent'));
    await expect(update('e1', 'test')).rejects.toEqual(failure('invalid', 'parent'));
  });
});

test('two changes of parents at once make no cycle', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await make(world, 'a');
    await make(world, 'b');
    const both = await Promise.allSettled([
      service.environments.update(ada, { tenant: TENANT, id: 'a', parent: 'b' }),
      service.environments.update(ada, { tenant: TENANT, id: 'b', parent: 'a' }),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });
});

test('one is deleted only when nothing is in it, and nothing relies on it', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await make(world, 'qa');
    await make(world, 'qa2', 'qa');
    const remove = (id: string) => service.environments.delete(ada, { tenant: TENANT, id });
    await expect(remove('test')).rejects.toEqual(failure('conflict'));
    await expect(remove('qa')).rejects.toEqual(failure('conflict'));
    const name = named('a', { environment: 'qa2' });
    await service.configurations.create(ada, { name, value: { json: 1 } });
    await expect(remove('qa2')).rejects.toEqual(failure('conflict'));
    await service.configurations.delete(ada, { ref: name });
    await remove('qa2');
    await remove('qa');
    await expect(remove('qa')).rejects.toEqual(failure('not-found', 'environment'));
    await expect(service.configurations.undelete(ada, { ref: name })).rejects.toEqual(
      failure('invalid', 'environment'),
    );
  });
});

test('a configuration put while its environment is deleted ends up in neither', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await make(world, 'qa');
    const name = named('a', { environment: 'qa' });
    const [put, removed] = await Promise.allSettled([
      service.configurations.create(ada, { name, value: { json: 1 } }),
      service.environments.delete(ada, { tenant: TENANT, id: 'qa' }),
    ]);
    expect([put.status, removed.status].sort()).toEqual(['fulfilled', 'rejected']);
  });
});

describe('deployment rules', () => {
  const create = ({ service }: World, more: object = {}) =>
    service.configurations.create(ada, { name: named('a'), value: { json: 1 }, ...more });
  const rule = ({ service }: World, rules: object) =>
    service.environments.update(ada, { tenant: TENANT, id: 'production', rules });

  test('locked: nothing is changed', async () => {
    await inWorld(async (world) => {
      await create(world);
      await rule(world, { locked: true });
      await expect(create(world, { name: named('b') })).rejects.toEqual(failure('conflict'));
      await expect(
        world.service.history.rollback(ada, { ref: named('a'), version: 1 }),
      ).resolves.toMatchObject({ items: [{ type: 'unchanged' }] });
      await expect(world.service.configurations.delete(ada, { ref: named('a') })).rejects.toEqual(
        failure('conflict'),
      );
      await rule(world, { locked: false });
      await create(world, { name: named('b') });
    });
  });

  test('a reason is asked for', async () => {
    await inWorld(async (world) => {
      await rule(world, { reasonRequired: true });
      await expect(create(world, { reason: '  ' })).rejects.toEqual(failure('invalid', 'reason'));
      await create(world, { reason: 'because' });
    });
  });

  test('promotion only: from there, and back by a rollback', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await rule(world, { promoteOnlyFrom: 'staging' });
      await expect(create(world)).rejects.toEqual(failure('conflict'));
      const staged = named('a', { environment: 'staging' });
      await create(world, { name: staged });
      const promote = (from: string) =>
        service.promotion.promote(ada, { tenant: TENANT, application: 'pay', from, to: 'production' });
      await promote('staging');
      await service.configurations.update(ada, { ref: staged, value: { json: 2 } });
      await promote('staging');
      await create(world, { name: named('a', { environment: 'test' }), value: { json: 3 } });
      await expect(promote('test')).rejects.toEqual(failure('conflict'));
      const back = await service.history.rollback(ada, { ref: named('a'), version: 1 });
      expect(back.items[0]!.after).toMatchObject({ version: 3, value: { json: 1 } });
    });
  });
});

test('an environment is not promoted to from one that is just being deleted', async () => {
  const intruders: (() => Promise<unknown>)[] = [];
  await inWorld(
    async ({ service }) => {
      const { environments } = service;
      await environments.create(ada, { tenant: 'default', id: 'canary' });
      intruders.push(() => environments.delete(ada, { tenant: 'default', id: 'canary' }));
      await expect(
        environments.update(ada, {
          tenant: 'default',
          id: 'production',
          rules: { promoteOnlyFrom: 'canary' },
        }),
      ).rejects.toEqual(failure('invalid', 'rules/promoteOnlyFrom'));
    },
    { wrap: (kv) => interleaving(kv, intruders) },
  );
});
