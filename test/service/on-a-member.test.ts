import { expect, test } from 'vitest';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openService, type Service } from '../../src/service/service.ts';
import { MemberWorld } from '../kv/member-world.ts';
import { failure } from './failure.ts';
import { ada, KEYRING, named } from './world.ts';

const open = (kv: LocalKv): Promise<Service> =>
  openService({ kv, logger: silentLogger, keyring: KEYRING, sweeps: false, signal: ada.signal });

test('on a real member: changes, strong reads, the longest values, races, compaction and another start', async () => {
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  const kv = (await world.connect()) as LocalKv;
  const service = await open(kv);
  const json = 'x'.repeat(512 * 1024 - 2);
  await service.configurations.create(ada, { name: named('long'), value: { json } });
  await service.configurations.create(ada, { name: named('sealed'), type: 'secret', value: { json } });
  const items = Array.from({ length: 40 }, (_, at) => ({
    action: 'create' as const,
    ref: named(`k${at}`),
    value: { json: { n: 0 } },
  }));
  await service.configurations.bulk(ada, { tenant: 'default', items, changeSet: 'release' });
  const writers = Array.from({ length: 8 }, (_, at) =>
    service.configurations.update(ada, { ref: named('k0'), mergePatch: { [`w${at}`]: at } }),
  );
  const done = await Promise.all(writers);
  const last = Math.max(...done.map(({ revision }) => revision));
  expect(await service.reads.get(ada, { ref: named('k0') })).toMatchObject({
    result: { version: 9, modRevision: last },
  });
  await world.compact(last);
  expect(
    (await service.history.asOf(ada, { ref: named('k0'), at: { revision: last - 1 } })).result.version,
  ).toBe(8);
  await expect(service.changeSets.rollback(ada, { tenant: 'default', name: 'release' })).rejects.toEqual(
    failure('conflict', 'k0'),
  );
  await service.changeSets.rollback(ada, { tenant: 'default', name: 'release', force: true });
  expect((await service.drifts.list(ada, { tenant: 'default' })).result.items).toEqual([]);
  await service.close();

  const again = await open(kv);
  const list = await again.reads.list(ada, { tenant: 'default' });
  expect(list.result.items.map(({ key }) => key)).toEqual(['long', 'sealed']);
  expect(list.result.items[0]!.value.json).toBe(json);
  const sealed = await again.reads.lookup(ada, { name: named('sealed'), reveal: true });
  expect(sealed.result.value.json).toBe(json);
  await again.close();
  await kv.close();
  await world.stop();
});
