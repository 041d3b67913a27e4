import { expect, test } from 'vitest';
import type { Kv } from '../../src/kv/kv.ts';
import { failure } from './failure.ts';
import { withTxn } from './kv-wrappers.ts';
import { ada, inWorld, named } from './world.ts';

/** A store in which everybody may do so much: whole ranges below a prefix. */
function permitting(kv: Kv, prefixes: () => { readonly read: string; readonly write: string }): Kv {
  return {
    ...withTxn(kv, (perform, request, call) => perform(request, call)),
    permits: ({ key, access }) =>
      Promise.resolve({ user: 'ada', permitted: key.toString().startsWith(prefixes()[access]) }),
  };
}

test('a permission on plain keys is a permission on the configurations', async () => {
  let prefixes = { read: '/', write: '/' };
  await inWorld(
    async ({ service }) => {
      const create = (key: string, more: object = {}) =>
        service.configurations.create(ada, { name: named(key, more), value: { json: 1 } });
      await create('db.url');
      await create('db.user');
      await create('log.level');
      await create('db.url', { environment: 'test' });
      prefixes = { read: '/default/production/pay/db.', write: '/default/production/pay/db.u' };
      const keys = async (request: object) =>
        (await service.reads.list(ada, { tenant: 'default', ...request })).result.items.map(({ key }) => key);
      expect(await keys({})).toEqual(['db.url', 'db.user']);
      await expect(keys({ environment: 'test' })).rejects.toEqual(failure('forbidden'));
      const scope = { tenant: 'default', environment: 'production', application: 'pay' };
      const map = await service.reads.effective(ada, { scope });
      expect(map.result.items.map(({ key }) => key)).toEqual(['db.url', 'db.user']);
      await expect(service.reads.getMany(ada, { scope, keys: ['db.url', 'log.level'] })).rejects.toEqual(
        failure('forbidden'),
      );
      await expect(service.reads.get(ada, { ref: named('log.level') })).rejects.toEqual(failure('forbidden'));
      await expect(create('log.x')).rejects.toEqual(failure('forbidden'));
      await expect(service.history.versions(ada, { ref: named('log.level') })).rejects.toEqual(
        failure('forbidden'),
      );
      await expect(
        service.environments.update(ada, { tenant: 'default', id: 'production', description: 'x' }),
      ).rejects.toEqual(failure('forbidden'));
      await expect(
        service.configurations.bulk(ada, {
          tenant: 'default',
          items: ['db.url', 'log.level'].map((key) => ({
            action: 'delete' as const,
            ref: named(key),
          })),
        }),
      ).rejects.toEqual(failure('forbidden'));
      await service.configurations.delete(ada, { ref: named('db.url') });
    },
    { wrap: (kv) => permitting(kv, () => prefixes) },
  );
});

test('a reference does not show what its reader may not read', async () => {
  let prefixes = { read: '/', write: '/' };
  await inWorld(
    async ({ service }) => {
      await service.configurations.create(ada, { name: named('hidden'), value: { json: 'classified' } });
      prefixes = { read: '/default/production/pay/a', write: '/default/production/pay/a' };
      await service.configurations.create(ada, { name: named('a'), value: { json: '${hidden}' } });
      const r = await service.reads.lookup(ada, { name: named('a'), resolve: true });
      expect(r.result.value.json).toBe('${hidden}');
    },
    { wrap: (kv) => permitting(kv, () => prefixes) },
  );
});

test('a schema does not tell what is in the secrets of the environments that inherit it', async () => {
  let prefixes = { read: '/', write: '/' };
  await inWorld(
    async ({ service }) => {
      await service.environments.update(ada, { tenant: 'default', id: 'production', parent: 'development' });
      await service.configurations.create(ada, {
        name: named('pin'),
        type: 'secret',
        value: { json: '1234' },
      });
      prefixes = { read: '/default/development/', write: '/default/development/' };
      const probe = (pattern: string) =>
        service.validations.validate(ada, {
          name: named('pin', { environment: 'development' }),
          type: 'secret',
          value: { json: '1' },
          schema: JSON.stringify({ anyOf: [{ const: '1' }, { pattern }] }),
        });
      expect((await probe('^9')).result).toEqual((await probe('^1')).result);
    },
    { wrap: (kv) => permitting(kv, () => prefixes) },
  );
});

test('who may write but not read is not shown what was there', async () => {
  let prefixes = { read: '/', write: '/' };
  await inWorld(
    async ({ service }) => {
      await service.configurations.create(ada, { name: named('a'), value: { json: 'classified' } });
      prefixes = { read: '/none/', write: '/' };
      const answer = await service.configurations.update(ada, { ref: named('a'), description: 'x' });
      expect(JSON.stringify(answer)).not.toContain('classified');
    },
    { wrap: (kv) => permitting(kv, () => prefixes) },
  );
});
