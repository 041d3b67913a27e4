import { describe, expect, test } from 'vitest';
import type { Service } from '../../src/service/service.ts';
import { Behind } from './kv-wrappers.ts';
import { ada, inWorld, named, plainValue, type World } from './world.ts';

const TARGET = named('merged', { environment: 'test' });

/** Runs with a server that does not hear of a change that another one has acknowledged. */
async function afterUnheard(run: (world: World, behind: Service) => Promise<void>): Promise<void> {
  await inWorld(async (world) => {
    const { memory, service } = world;
    await service.configurations.create(ada, { name: TARGET, value: { json: 'base' } });
    const behind = new Behind(memory);
    await service.configurations.create(ada, { name: named('k'), value: { json: 'old' } });
    await inWorld(
      async ({ service: other }) => {
        behind.hold();
        await service.configurations.put(ada, { name: named('k'), value: { json: 'new' } });
        await run(world, other);
      },
      { memory, wrap: () => behind.kv },
    );
  });
}

describe('a server that is behind', () => {
  test('promotes what was acknowledged elsewhere', async () => {
    await afterUnheard(async ({ memory }, other) => {
      const scope = { tenant: 'default', application: 'pay', from: 'production', to: 'test' };
      await other.promotion.promote(ada, scope);
      expect(await plainValue(memory, '/default/test/pay/k')).toBe('new');
    });
  });

  test('merges what was acknowledged elsewhere', async () => {
    await afterUnheard(async ({ memory }, other) => {
      await other.merging.merge(ada, { ref: TARGET, base: 1, theirs: { ref: named('k') } });
      expect(await plainValue(memory, '/default/test/pay/merged')).toBe('new');
    });
  });
});
