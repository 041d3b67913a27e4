import { expect, test } from 'vitest';
import type { Kv } from '../../src/kv/kv.ts';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { HEAD_KEY } from '../../src/service/keyspace.ts';
import { openService } from '../../src/service/service.ts';
import { ROOT_LOGIN } from '../contract/kv-auth.ts';
import { MemberWorld } from '../kv/member-world.ts';
import { Gate } from './events/gated-kv.ts';
import { failure } from './failure.ts';
import { withTxn } from './kv-wrappers.ts';
import { ada, inWorld, KEYRING, named } from './world.ts';

/** The store that tells its changes no sooner than somebody asks what the newest is. */
function laggard(kv: Kv, gate: Gate): Kv {
  const gated = gate.before(kv);
  return {
    ...gated,
    range: (request, call) => {
      if (request.key.equals(HEAD_KEY)) gate.open();
      return gated.range(request, call);
    },
  };
}

test('a server that is behind promotes and merges what was acknowledged elsewhere', async () => {
  const gate = new Gate();
  const staged = named('a', { environment: 'staging' });
  await inWorld(async ({ service, memory }) => {
    const put = (json: object) =>
      service.configurations.put(ada, { name: staged, value: { json: { ...json } } });
    await put({ n: 1 });
    await service.configurations.put(ada, { name: named('b'), value: { json: { m: 1 } } });
    await inWorld(
      async ({ service: behind }) => {
        gate.shut();
        await put({ n: 2 });
        const promoted = await behind.promotion.promote(ada, {
          tenant: 'default',
          application: 'pay',
          from: 'staging',
          to: 'production',
        });
        expect(promoted.items[0]!.after.value.json).toEqual({ n: 2 });
        gate.shut();
        await put({ n: 3 });
        const request = { ref: named('b'), base: 1, theirs: { ref: staged } };
        expect((await behind.merging.merge(ada, request)).merged).toEqual({ n: 3 });
      },
      { memory: memory.connect(), wrap: (kv) => laggard(kv, gate) },
    );
  });
});

test('a server that has not heard that authentication is on changes nothing for nobody', async () => {
  const world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  const kv = (await world.connect()) as LocalKv;
  const stale: Kv = {
    ...withTxn(kv, (perform, request, call) => perform(request, call)),
    authEnabled: () => Promise.resolve(false),
    permits: () => Promise.resolve({ user: null, permitted: true }),
  };
  const { signal } = ada;
  const options = { logger: silentLogger, keyring: KEYRING, sweeps: false, signal };
  const service = await openService({ kv: stale, ...options });
  try {
    await service.configurations.create(ada, {
      name: named('a'),
      type: 'secret',
      value: { json: 'hunter2' },
    });
    const { auth } = world.admin;
    await auth.userAdd({ name: ROOT_LOGIN.user, password: ROOT_LOGIN.password });
    await auth.roleAdd('root');
    await auth.userGrantRole({ user: 'root', role: 'root' });
    await auth.enable();
    await expect(
      service.configurations.update(ada, { ref: named('a'), value: { json: 'other' } }),
    ).rejects.toEqual(failure('unauthenticated'));
    await expect(service.reads.lookup(ada, { name: named('a'), reveal: true })).rejects.toEqual(
      failure('unauthenticated'),
    );
  } finally {
    await service.close();
    await kv.close();
    await world.stop();
  }
});
