import { describe, expect, test } from 'vitest';
import type { Json, Scope } from '../../../src/service/model.ts';
import { failure } from '../failure.ts';
import { ada, inWorld, type World } from '../world.ts';

const SCOPE: Scope = { tenant: 'default', environment: 'staging', application: 'shop' };
const RELEASE = { tenant: 'default', name: 'release-1' };

function named(key: string, environment = 'staging') {
  return { kind: 'flag', ...SCOPE, environment, key } as const;
}

async function flag(
  { service }: World,
  key: string,
  more: { readonly enabled?: boolean; readonly prerequisites?: Json; readonly changeSet?: string } = {},
) {
  const { changeSet, ...definition } = more;
  await service.features.put(ada, {
    name: named(key),
    definition: {
      type: 'boolean',
      variants: { on: true, off: false },
      offVariant: 'off',
      fallthrough: { variant: 'on' },
      ...definition,
    },
    changeSet,
  });
}

function row({ service }: World, key: string, environment = 'staging') {
  return service.projection.state.features.find(named(key, environment))?.row;
}

describe('releases', () => {
  test('are rolled back with their flags and configurations in one change', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const name = { ...SCOPE, key: 'limit' };
      await service.configurations.put(ada, { name, value: { json: 1 } });
      await flag(world, 'a');
      await flag(world, 'a', { enabled: false, changeSet: 'release-1' });
      await flag(world, 'b', { changeSet: 'release-1' });
      await flag(world, 'c', {
        changeSet: 'release-1',
        prerequisites: [{ flag: 'b', variants: ['on'] }],
      });
      await service.configurations.put(ada, { name, value: { json: 2 }, changeSet: 'release-1' });
      const { result } = await service.changeSets.get(ada, RELEASE);
      expect(result.items.map(({ kind, key, before, after }) => [kind, key, before, after])).toEqual([
        ['flag', 'a', 1, 2],
        ['flag', 'b', 0, 1],
        ['flag', 'c', 0, 1],
        ['configuration', 'limit', 1, 2],
      ]);
      const tried = await service.changeSets.rollback(ada, { ...RELEASE, dryRun: true });
      expect(tried.features.map(({ key, version }) => [key, version])).toEqual([
        ['a', 3],
        ['b', 2],
        ['c', 2],
      ]);
      expect(row(world, 'b')).toBeDefined();
      const back = await service.changeSets.rollback(ada, RELEASE);
      expect(back.changeIds).toHaveLength(1);
      expect(back.features.map(({ key }) => key)).toEqual(['a', 'b', 'c']);
      expect(back.items.map(({ after }) => after.key)).toEqual(['limit']);
      expect(row(world, 'a')).toMatchObject({ version: 3, definition: { enabled: true } });
      expect(row(world, 'b')).toBeUndefined();
      expect((await service.reads.get(ada, { ref: name })).result.value.json).toBe(1);
      await expect(service.changeSets.rollback(ada, RELEASE)).rejects.toThrow(failure('conflict'));
    });
  });

  test('stay whole where a flag was changed since, or something refers to it', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const name = { ...SCOPE, key: 'limit' };
      await service.configurations.put(ada, { name, value: { json: 2 }, changeSet: 'release-1' });
      await flag(world, 'a', { changeSet: 'release-1' });
      await flag(world, 'b', { prerequisites: [{ flag: 'a', variants: ['on'] }] });
      await expect(service.changeSets.rollback(ada, { ...RELEASE, force: true })).rejects.toThrow(
        failure('conflict'),
      );
      await service.features.delete(ada, { ref: named('b') });
      await flag(world, 'a', { enabled: false });
      await expect(service.changeSets.rollback(ada, RELEASE)).rejects.toThrow(failure('conflict', 'a'));
      expect((await service.reads.get(ada, { ref: name })).result.value.json).toBe(2);
      await service.changeSets.rollback(ada, { ...RELEASE, force: true });
      expect(row(world, 'a')).toBeUndefined();
      await expect(service.reads.get(ada, { ref: name })).rejects.toThrow(failure('not-found'));
    });
  });
});

describe('promotions', () => {
  const to = { tenant: 'default', application: 'shop', from: 'staging', to: 'production' };

  test('take flags with their segments to another environment, together or not at all', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const promote = (more: object = {}) => service.featurePromotion.promote(ada, { ...to, ...more });
      await flag(world, 'a');
      await flag(world, 'b', { prerequisites: [{ flag: 'a', variants: ['on'] }] });
      await expect(promote({ flags: ['b'] })).rejects.toThrow(failure('invalid'));
      await expect(promote({ flags: ['a', 'none'] })).rejects.toThrow(failure('not-found', 'flags/1'));
      await expect(promote({ to: 'staging' })).rejects.toThrow(failure('invalid', 'to'));
      expect(row(world, 'a', 'production')).toBeUndefined();
      expect(await promote({ dryRun: true })).toMatchObject({ changeId: null });
      expect(row(world, 'a', 'production')).toBeUndefined();
      const { items } = await promote();
      expect(items.map(({ type, after }) => [type, after.environment, after.key])).toEqual([
        ['created', 'production', 'a'],
        ['created', 'production', 'b'],
      ]);
      expect(row(world, 'b', 'production')).toMatchObject({ version: 1 });
      expect(await promote()).toMatchObject({ changeId: null, items: [{ type: 'unchanged' }, {}] });
    });
  });

  test('obey the rules of the environment', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await service.environments.update(ada, {
        tenant: 'default',
        id: 'production',
        rules: { promoteOnlyFrom: 'test' },
      });
      await flag(world, 'a');
      await expect(service.featurePromotion.promote(ada, to)).rejects.toThrow(failure('conflict'));
      expect(row(world, 'a', 'production')).toBeUndefined();
    });
  });
});
