import { expect, test } from 'vitest';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { verifyAudit } from '../../src/service/audit/verify.ts';
import { openService, type Service } from '../../src/service/service.ts';
import { MemberWorld } from '../kv/member-world.ts';
import { Reader } from './events/reader.ts';
import { ada, callerOf, KEYRING, named } from './world.ts';

const ALL = { tenant: 'default' };
const { signal } = ada;

const open = (kv: LocalKv): Promise<Service> =>
  openService({ kv, logger: silentLogger, keyring: KEYRING, sweeps: false, signal });

test('on a real member: events, the audit, its seal and instances, behind compaction and another start', async () => {
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  const kv = (await world.connect()) as LocalKv;
  const service = await open(kv);
  await service.environments.update(ada, { ...ALL, id: 'staging', parent: 'production' });
  const instance = {
    ...ALL,
    environment: 'staging',
    application: 'pay',
    id: 'pod-1',
    version: '1',
    region: '',
  };
  const registration = await service.delivery.register(ada, instance, { ttlMs: 60_000 });
  const reader = await Reader.open(service, { ...ALL, environment: 'staging' });
  const cursors: number[] = [];
  for (let json = 0; json < 130; json += 1) {
    const answer = await service.configurations.put(callerOf(json % 2 === 0 ? 'ada' : 'eve'), {
      name: named(`k${json % 3}`),
      value: { json },
    });
    cursors.push(answer.revision);
  }
  const last = cursors.at(-1)!;
  await reader.reach(last);
  const told = reader.events.map(({ id }) => id);
  expect(reader.events.map(({ newValue }) => newValue)).toEqual(Array.from({ length: 130 }, (_, at) => at));
  expect(reader.events.at(-1)).toMatchObject({ affectedInstances: ['pod-1'] });
  registration.applied(last);
  await service.instances.write();
  expect(await service.delivery.report(ada, { ...ALL, revision: last })).toMatchObject({
    counts: { applied: 1, lagging: 0, rejected: 0 },
  });
  expect(await service.sealer.seal(signal)).toBe(131);
  await service.configurations.put(ada, { name: named('k0'), value: { json: 'unsealed' } });
  await world.compact(last);
  await service.close();

  const again = await open(kv);
  for (const at of [0, 1, 64, 129]) {
    const late = await Reader.open(again, { ...ALL, environment: 'staging' }, cursors[at]! - 1);
    await late.reach(again.projection.revision);
    expect(late.events.slice(0, -1).map(({ id }) => id)).toEqual(told.slice(at));
    expect(late.events.at(-1)).toMatchObject({ newValue: 'unsealed' });
    await late.close();
  }
  const byEve = await again.audit.query(ada, { ...ALL, actor: 'eve', key: 'k1', size: 1_000 });
  expect(byEve.items.map(({ items: [item] }) => item?.newValue?.json)).toEqual(
    Array.from({ length: 130 }, (_, at) => at)
      .filter((json) => json % 2 === 1 && json % 3 === 1)
      .toReversed(),
  );
  expect(await verifyAudit(kv, { signal })).toMatchObject({ sealed: 131, unsealed: 1, findings: [] });
  await again.close();
  await kv.close();
  await world.stop();
});
